/** An object into a fresh kernel, with what the verifier and the engine did for each program. */
import type { Btf } from '../btf/index.ts';
import type { Annotations } from '../contracts/annotations.ts';
import type { Fd, Kernel } from '../contracts/kernel.ts';
import type { BpfObject, BpfProgram } from '../libbpf/index.ts';
import { BpfError } from '../util/errors.ts';
import type { CliEnv, KernelChoice, OpenedKernel } from './environment.ts';
import { LOG_PATH, LOG_STATS, parseVerifierStats, type VerifierStats } from './verifier-stats.ts';

export type EngineName = 'jit' | 'interp';

/** A first guess for per-CPU maps: a small machine. */
export const DEFAULT_CPUS = 1;

export interface LoadRequest {
  /** Default `embedded`. */
  readonly kernel?: KernelChoice;
  /** Told which kernel `auto` has taken. */
  readonly onChosen?: (opened: OpenedKernel) => void;
  readonly engine?: EngineName;
  /** Sysctls of the embedded kernel, by name. */
  readonly sysctl?: ReadonlyMap<string, number>;
  readonly logLevel?: number;
  /** False: programs that are refused are reported, and the others are loaded. */
  readonly strict: boolean;
  readonly cpus?: number;
  /** The CPUs run at the same time. */
  readonly threads?: boolean;
  /** Program type for sections that do not say one. */
  readonly type?: string;
  /** BTF of the kernel to relocate and to verify for. */
  readonly kernelBtf?: Btf;
  /** Release of Linux that the embedded kernel is to be. */
  readonly release?: string;
  /** Kernel options, for `extern … __kconfig`. */
  readonly kconfig?: ReadonlyMap<string, string>;
  readonly onOops?: (message: string) => void;
  /** Called with the kernel before the object is loaded. */
  readonly before?: (kernel: Kernel, request: Omit<LoadRequest, 'kernel' | 'engine'>) => void;
  /** Told what was known and spent at each instruction of a program; the embedded kernel only. */
  readonly onAnnotations?: (program: string, annotations: Annotations) => void;
}

export interface ProgramReport {
  readonly program: BpfProgram;
  /** Undefined: loaded. */
  readonly error: unknown;
  readonly stats: VerifierStats | undefined;
  /** Milliseconds of PROG_LOAD. */
  readonly loadTime: number;
  /** What is left of `loadTime` after verification: rewriting and compiling. */
  readonly compileTime: number;
}

export interface LoadedObject {
  readonly kernel: Kernel;
  readonly chosen: OpenedKernel['chosen'];
  readonly object: BpfObject;
  readonly reports: readonly ProgramReport[];
  close(): void;
}

/** Sysctl that says whether programs are compiled. */
const JIT_SYSCTL = 'net.core.bpf_jit_enable';

/** The kernel that was asked for, with the engine that was asked for. */
export async function openKernel(env: CliEnv, request: Omit<LoadRequest, 'strict'>): Promise<OpenedKernel> {
  const opened = await env.openKernel({
    kernel: request.kernel ?? 'embedded',
    possibleCpus: request.cpus ?? DEFAULT_CPUS,
    ...(request.threads && request.cpus !== undefined ? { cpus: request.cpus } : {}),
    ...(request.onOops === undefined ? {} : { onOops: request.onOops }),
    ...(request.kernelBtf === undefined ? {} : { kernelBtf: request.kernelBtf }),
    ...(request.release === undefined ? {} : { release: request.release }),
  });
  const { kernel } = opened;
  if (request.engine !== undefined) {
    if (kernel.simulator === null) {
      kernel.shutdown();
      throw new BpfError('EOPNOTSUPP', 'the engine of the host kernel cannot be chosen', {
        hint: 'leave out --engine, or take --kernel embedded',
      });
    }
    kernel.simulator.setSysctl(JIT_SYSCTL, request.engine === 'jit' ? 1 : 0);
  }
  try {
    for (const [name, value] of request.sysctl ?? []) setSysctl(kernel, name, value);
  } catch (error) {
    kernel.shutdown();
    throw error;
  }
  if (request.kernel === 'auto') request.onChosen?.(opened);
  return opened;
}

function setSysctl(kernel: Kernel, name: string, value: number): void {
  if (kernel.simulator === null) {
    throw new BpfError('EOPNOTSUPP', 'sysctls of the host kernel are not set for a command', {
      hint: `leave out --sysctl, take --kernel embedded, or set it for all: sysctl -w ${name}=${value}`,
    });
  }
  kernel.simulator.setSysctl(name, value);
}

export async function loadObject(
  env: CliEnv,
  object: BpfObject,
  request: LoadRequest,
): Promise<LoadedObject> {
  const { kernel, chosen } = await openKernel(env, request);
  return loadInto(kernel, chosen, object, request);
}

/** Shuts the kernel down where the object cannot be loaded. */
export function loadInto(
  kernel: Kernel,
  chosen: OpenedKernel['chosen'],
  object: BpfObject,
  request: Omit<LoadRequest, 'kernel' | 'engine'>,
): LoadedObject {
  const times = new Map<Fd, number>();
  try {
    request.before?.(kernel, request);
    // With level 4 the log ends with what the verifier did, in one line or two. All that Linux says about a refusal is its log.
    object.load(timed(kernel, times, request.onAnnotations), {
      logLevel: (request.logLevel ?? 0) | LOG_STATS | (chosen === 'host' ? LOG_PATH : 0),
      strict: request.strict,
      ...(request.type === undefined ? {} : { defaultProgType: request.type }),
      ...(request.kernelBtf === undefined ? {} : { kernelBtf: request.kernelBtf }),
      ...(request.kconfig === undefined ? {} : { kconfig: request.kconfig }),
    });
  } catch (error) {
    kernel.shutdown();
    throw error;
  }
  const reports = object.programs
    .filter((program) => program.autoload)
    .map((program) => {
      const failure = object.failures.find((one) => one.program === program);
      const stats = parseVerifierStats(program.log);
      const loadTime = program.loaded ? (times.get(program.fd) ?? 0) : 0;
      const compileTime = Math.max(0, loadTime - (stats?.microseconds ?? 0) / 1000);
      return { program, error: failure?.error, stats, loadTime, compileTime };
    });
  return {
    kernel,
    chosen,
    object,
    reports,
    close: () => {
      object.close();
      kernel.shutdown();
    },
  };
}

/** The kernel with a stopwatch on PROG_LOAD. */
function timed(kernel: Kernel, times: Map<Fd, number>, onAnnotations: LoadRequest['onAnnotations']): Kernel {
  const progLoad: Kernel['progLoad'] = (attr) => {
    const start = performance.now();
    const name = attr.progName ?? '';
    const watched =
      onAnnotations === undefined
        ? attr
        : { ...attr, onAnnotations: (annotations: Annotations) => onAnnotations(name, annotations) };
    const fd = kernel.progLoad(watched);
    times.set(fd, performance.now() - start);
    return fd;
  };
  return new Proxy(kernel, {
    get(target, property) {
      if (property === 'progLoad') return progLoad;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
