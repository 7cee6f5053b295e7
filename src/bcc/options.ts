/** What the front end is told: the program and its kernel, and where a function is attached. Names are those of BCC's Python, in JavaScript's spelling. */
import type { Btf } from '../btf/index.ts';
import type { Fd, Kernel } from '../contracts/kernel.ts';
import type { BpfProgram } from '../libbpf/index.ts';
import { fromUtf8 } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import type { BccSource } from './compile.ts';
import type { USDT } from './usdt.ts';

export interface BpfOptions {
  /** The program; or `srcFile`, a path that the kernel's machine has. */
  readonly text?: string;
  readonly srcFile?: string;
  /** Where it runs: `new EmbeddedKernel()`, or what `openKernel` gives. */
  readonly kernel: Kernel;
  /** `-DNAME=1`, `-I DIR` … */
  readonly cflags?: readonly string[];
  /** Probes of programs and libraries that functions are enabled for; attached at once. */
  readonly usdtContexts?: readonly USDT[];
  /** Types of the kernel, where it shows none itself. */
  readonly kernelBtf?: Btf;
  /** Format files of tracepoints by `category/name`, where there is no tracefs. */
  readonly tracepointFormats?: Readonly<Record<string, string>>;
  /** Where tables and traces are printed. */
  readonly write?: (text: string) => void;
  /** Where lost events are told of that nobody asked about; default stderr. */
  readonly writeError?: (text: string) => void;
  /** Gets the compiler's warnings. */
  readonly onDiagnostics?: (text: string) => void;
  /** What is printed of the program on its way, to `writeError`: `DEBUG_SOURCE | DEBUG_BTF` and the like. */
  readonly debug?: number;
  /** How many kprobes and uprobes may be open at once; default 1000. */
  readonly probeLimit?: number;
  /** False: functions are not attached by their names. */
  readonly autoAttach?: boolean;
}

/** A loaded function. */
export interface LoadedFunction {
  readonly name: string;
  readonly fd: Fd;
  readonly program: BpfProgram;
}

export interface KprobeOptions {
  /** Function of the kernel, with `+offset`; `eventRe`: all that match instead. */
  readonly event?: string;
  readonly eventRe?: RegExp;
  readonly eventOff?: number;
  readonly fnName: string;
}

export interface KretprobeOptions extends Omit<KprobeOptions, 'eventOff'> {
  /** How many calls may be under way at once, those beyond are missed; default: the kernel's choice. The embedded kernel misses none. */
  readonly maxactive?: number;
}

export interface UprobeOptions {
  /** Program or library: `c`, `bash`, a path. */
  readonly name: string;
  readonly sym?: string;
  /** All functions of the file that match, from the start of their names on. */
  readonly symRe?: RegExp;
  /** Address as the file has it (of a relocatable file: from where it is loaded on), instead of a symbol. */
  readonly addr?: bigint;
  readonly symOff?: number;
  readonly fnName: string;
  readonly pid?: number;
}

export interface TracepointOptions {
  /** `category:name` */
  readonly tp?: string;
  readonly tpRe?: RegExp;
  readonly fnName: string;
}

export interface PerfEventOptions {
  /** PERF_TYPE_*, PERF_COUNT_* */
  readonly evType: number;
  readonly evConfig: number | bigint;
  readonly fnName: string;
  readonly samplePeriod?: number | bigint;
  readonly sampleFreq?: number;
  readonly pid?: number;
  readonly cpu?: number;
}

/** Errors: EINVAL without a program, ENOENT without its file. */
export function sourceOf(options: BpfOptions): BccSource {
  const { srcFile, kernel } = options;
  let { text } = options;
  if (text === undefined) {
    if (srcFile === undefined) throw new BpfError('EINVAL', 'a program needs its text or a srcFile');
    const bytes = kernel.files?.read(srcFile) ?? null;
    if (bytes === null)
      throw new BpfError('ENOENT', `there is no file ${srcFile}`, {
        hint:
          kernel.files === undefined ? 'the embedded kernel has no files: give the text' : 'check the path',
      });
    text = fromUtf8(bytes);
  }
  return {
    text,
    name: srcFile ?? '/virtual/main.c',
    usdt: (options.usdtContexts ?? []).length > 0,
    ...(options.cflags === undefined ? {} : { cflags: options.cflags }),
    ...(options.kernelBtf === undefined ? {} : { kernelBtf: options.kernelBtf }),
    ...(options.tracepointFormats === undefined ? {} : { tracepointFormats: options.tracepointFormats }),
    ...(options.onDiagnostics === undefined ? {} : { onDiagnostics: options.onDiagnostics }),
  };
}
