/** The BCC front end: programs as C text, tables as objects, on either kernel. */
export { BPF } from './bpf.ts';
export {
  BccCompileError,
  type BccObject,
  type BccSource,
  type CompileTarget,
  compileBcc,
  isBccSource,
  translateBcc,
} from './compile.ts';
export { PerfHWConfig, PerfSWConfig, PerfType } from './constants.ts';
export {
  DEBUG_BPF,
  DEBUG_BPF_REGISTER_STATE,
  DEBUG_BTF,
  DEBUG_LLVM_IR,
  DEBUG_PREPROCESSOR,
  DEBUG_SOURCE,
} from './debug.ts';
export { type HistogramOptions, linearHistogram, log2Histogram } from './histogram.ts';
export type {
  BpfOptions,
  KprobeOptions,
  KretprobeOptions,
  LoadedFunction,
  PerfEventOptions,
  TracepointOptions,
  UprobeOptions,
} from './options.ts';
export type { TraceFields } from './output.ts';
export type { SymbolOptions } from './symbols.ts';
export {
  BPF_EXIST,
  type EventCallback,
  type PerfBufferSettings,
  type RingBufferSettings,
  Table,
  type TableHistogramOptions,
} from './table.ts';
export { USDT, type UsdtLocation, type UsdtOptions, type UsdtProbe } from './usdt.ts';
