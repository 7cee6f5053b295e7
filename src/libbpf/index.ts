/** The libbpf-style front end: open, load, attach, find by name; maps as typed objects; rings as async iterators. */
export type { BtfInput, BtfValue } from '../btf/index.ts';
export {
  type AttachKind,
  type AttachOptions,
  attachStructOps,
  type IterOptions,
  iteratorText,
  type NetfilterOptions,
  readIterator,
  type SamplingOptions,
  type TcOptions,
} from './attach/index.ts';
export { openExecutable } from './attach/uprobe.ts';
export { DataSection, type Globals, type GlobalVariable } from './globals.ts';
export { parseKernelConfig } from './kconfig.ts';
export { BpfLink } from './link.ts';
export { BpfMap, type MapDefinition, type MapInput } from './map.ts';
export { MapSettings } from './map-settings.ts';
export { BpfObject, type LoadFailure, type LoadOptions } from './object.ts';
export { type PerfBufferOptions, PerfBufferReader, type PerfSample } from './perf-buffer.ts';
export { BpfProgram } from './program.ts';
export { type RecordVisitor, RingBufferReader } from './ring-buffer.ts';
export { Executable, type FunctionSymbol } from './symbols/executable.ts';
export { type KernelSymbol, KernelSymbols } from './symbols/kallsyms.ts';
export { type ProcessMapping, parseProcessMaps } from './symbols/process-maps.ts';
export { type Frame, Symbolizer } from './symbols/symbolizer.ts';
export { parseUsdtArguments, type UsdtArgument } from './symbols/usdt-arguments.ts';
export { type UsdtNote, usdtNotes } from './symbols/usdt-notes.ts';
