/**
 * tsbpf: eBPF objects, the kernel that runs them, errors and types. The rooms behind it have their own entries:
 * `tsbpf/asm`, `tsbpf/btf`, `tsbpf/object`, `tsbpf/spec`, `tsbpf/verifier`, `tsbpf/kernel`, `tsbpf/libbpf`.
 */
export {
  asEthernet,
  isPerfData,
  isPerfScript,
  type PerfRecording,
  type PerfScript,
  parsePerfData,
  parsePerfScript,
  parseStrace,
  readPackets,
  type StraceRecording,
  streamPackets,
  writePcap,
} from './capture/index.ts';
export type * from './contracts.ts';
export { EmbeddedKernel, type EmbeddedKernelOptions } from './kernel/index.ts';
export {
  type AttachOptions,
  BpfLink,
  BpfMap,
  BpfObject,
  BpfProgram,
  type BtfInput,
  type BtfValue,
  type LoadFailure,
  type LoadOptions,
  type MapInput,
  type PerfBufferOptions,
  PerfBufferReader,
  type PerfSample,
  RingBufferReader,
} from './libbpf/index.ts';
export { type KernelChoice, type OpenedKernel, type OpenKernelOptions, openKernel } from './open-kernel.ts';
export { SYSCALLS } from './uapi/index.ts';
export {
  BpfError,
  type Counterexample,
  ERRNO,
  type ErrnoName,
  type Explanation,
  InternalError,
  ProgramFault,
  type SearchOptions,
  type SearchResult,
  type SourceLocation,
  VerifierError,
} from './util/index.ts';
export { VERSION } from './version.ts';
export { type WebWorker, webBackgroundThreads, webCpuThreads } from './web-cpu-threads.ts';
