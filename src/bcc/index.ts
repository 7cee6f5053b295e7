/** The BCC front end: programs as C text, tables as objects, on either kernel. */
export {
  BPF,
  type BpfOptions,
  type KprobeOptions,
  type LoadedFunction,
  type PerfEventOptions,
  type TraceFields,
  type TracepointOptions,
  type UprobeOptions,
} from './bpf.ts';
export { BccCompileError, type BccObject, type BccSource, compileBcc } from './compile.ts';
export { type HistogramOptions, linearHistogram, log2Histogram } from './histogram.ts';
export { type EventCallback, type PerfBufferSettings, Table, type TableHistogramOptions } from './table.ts';
