/**
 * What a kernel says to every program of an object: verdict, errno, last line of the verifier's log, instructions processed.
 * Both kernels get the object through the same loader, so that a difference is one of the kernels.
 */
import type { Fd, Kernel, ProgLoadAttr } from '../../src/contracts/kernel.ts';
import { BpfObject, type LoadOptions } from '../../src/libbpf/index.ts';
import { type MapSpec, parseObject } from '../../src/object/index.ts';
import { mapTypeById, SECTIONS } from '../../src/spec/index.ts';
import { BpfError, VerifierError } from '../../src/util/index.ts';

/** Frames of a stack map whose object leaves it open. */
const STACK_DEPTH = 127;

/** Statistics only: the log of a refusal ends with the reason, and every log with what was processed. */
const LOG_STATS = 4;

export interface Verdict {
  /**
   * `accept` and `reject`: the kernel's verification; `refused`: PROG_LOAD failed before it; `loader`: the loader did not get
   * as far as PROG_LOAD (a kernel symbol that is missing).
   */
  readonly verdict: 'accept' | 'reject' | 'refused' | 'loader';
  /** Name, '' for an accepted program. */
  readonly errno: string;
  readonly message: string;
  /** Undefined where the log does not say. */
  readonly insns: number | undefined;
  /** Why a program that passed verification cannot run: what this kernel does not have. */
  readonly blocked?: string;
  /** Of PROG_LOAD. */
  readonly milliseconds: number;
  readonly log: string;
}

export interface ObjectVerdicts {
  /** Undefined: the object was loaded, maybe without some of its programs. */
  readonly error: BpfError | undefined;
  /** By name of program; no entries where there is an error. */
  readonly programs: ReadonlyMap<string, Verdict>;
  /** To be closed; undefined where there is an error. */
  readonly object: BpfObject | undefined;
}

interface Load {
  readonly log: string;
  readonly milliseconds: number;
  readonly fd: Fd | undefined;
  readonly error: unknown;
}

/** The kernel, with every PROG_LOAD written down. */
function recording(kernel: Kernel, loads: Load[]): Kernel {
  const progLoad = (attr: ProgLoadAttr): Fd => {
    let log = '';
    const start = performance.now();
    const note = (fd: Fd | undefined, error: unknown): void => {
      loads.push({ log, milliseconds: performance.now() - start, fd, error });
    };
    try {
      const fd = kernel.progLoad({
        ...attr,
        onLog: (text) => {
          log = text;
        },
      });
      note(fd, undefined);
      return fd;
    } catch (error) {
      note(undefined, error);
      throw error;
    }
  };
  return new Proxy(kernel, {
    get(target, property) {
      if (property === 'progLoad') return progLoad;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

const STATISTICS = /^(processed \d+ insns|verification time|stack depth|max_states)/;

/** The last line that is not statistics, and the count of instructions. */
export function readLog(log: string): { message: string; insns: number | undefined } {
  const lines = log
    .replace(/(?<=.)verification time/g, '\nverification time')
    .split('\n')
    .filter((line) => line !== '');
  const processed = /^processed (\d+) insns/m.exec(log)?.[1];
  return {
    message: lines.filter((line) => !STATISTICS.test(line)).at(-1) ?? '',
    insns: processed === undefined ? undefined : Number(processed),
  };
}

function verdictOf(load: Load | undefined, error: unknown): Verdict {
  if (load === undefined) {
    const { code, message } = asBpfError(error);
    return { verdict: 'loader', errno: code, message, insns: undefined, milliseconds: 0, log: '' };
  }
  const { message, insns } = readLog(load.log);
  const common = { insns, milliseconds: load.milliseconds, log: load.log };
  if (load.error === undefined) return { verdict: 'accept', errno: '', message: '', ...common };
  const failed = asBpfError(load.error);
  if (insns === undefined && message === '')
    return { verdict: 'refused', errno: failed.code, message: failed.message.split('\n')[0]!, ...common };
  // The verifier had nothing to say against it: what follows verification did.
  const passed = insns !== undefined && !(load.error instanceof VerifierError);
  if (passed)
    return { verdict: 'accept', errno: '', message: '', blocked: failed.message.split('\n')[0]!, ...common };
  return { verdict: 'reject', errno: failed.code, message, ...common };
}

function asBpfError(error: unknown): BpfError {
  return error instanceof BpfError
    ? error
    : new BpfError('EFAULT', `crash: ${String(error)}`, { cause: error });
}

/** What sections meant whose names merely began with a program type's, before libbpf 1.0; the rest is taken as a classifier. */
function oldType(object: BpfObject): string {
  const untyped = object.programs.find((program) => program.spec.progType === undefined);
  const row = SECTIONS.find(({ name }) => untyped?.spec.section.startsWith(name));
  return row?.progType ?? 'sched_cls';
}

/** Sizes that the object's user space would have set before it loads the object: any will do. */
function sized(given: MapSpec): MapSpec {
  const map = given.inner === undefined ? given : { ...given, inner: sized(given.inner) };
  const row = mapTypeById(map.type);
  const entries = row?.maxEntries.pageAlignedPowerOfTwo ? 4096 : 1;
  const unset = map.maxEntries === 0 && row?.holds !== 'perf_event' && row?.maxEntries.min !== undefined;
  const stack = map.valueSize === 0 && row?.valueSize.multipleOf === 8;
  if (!unset && !stack) return map;
  return {
    ...map,
    ...(unset ? { maxEntries: entries } : {}),
    ...(stack ? { valueSize: 8 * STACK_DEPTH } : {}),
  };
}

/** Whether an error is `outer` itself or what it explains. */
function isBehind(error: unknown, outer: unknown): boolean {
  if (error === undefined) return false;
  for (let at = outer; at !== undefined; at = at instanceof Error ? at.cause : undefined)
    if (at === error) return true;
  return false;
}

/** Loads all programs of an object, whatever its sections say about loading. */
export function loadVerdicts(
  bytes: Uint8Array,
  name: string,
  kernel: Kernel,
  options: LoadOptions,
): ObjectVerdicts {
  const loads: Load[] = [];
  let object: BpfObject;
  try {
    const spec = parseObject(bytes, { name });
    object = new BpfObject({ ...spec, maps: spec.maps.map(sized) });
    for (const program of object.programs) program.autoload = true;
    object.load(recording(kernel, loads), {
      logLevel: LOG_STATS,
      strict: false,
      defaultProgType: oldType(object),
      ...options,
    });
  } catch (error) {
    return { error: asBpfError(error), programs: new Map(), object: undefined };
  }
  // Refusals that the loader has put into its own words: in the order of the programs, as the loads are.
  const reworded = loads.filter(
    ({ error }) => error !== undefined && !object.failures.some((one) => isBehind(error, one.error)),
  );
  const programs = new Map<string, Verdict>();
  for (const program of object.programs) {
    const failure = object.failures.find((one) => one.program === program);
    let load = loads.find((one) =>
      failure === undefined ? one.fd === program.fd : isBehind(one.error, failure.error),
    );
    if (load === undefined && failure?.error instanceof VerifierError) load = reworded.shift();
    programs.set(program.name, verdictOf(load, failure?.error));
  }
  return { error: undefined, programs, object };
}
