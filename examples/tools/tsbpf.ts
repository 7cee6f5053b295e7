/** What the tools take from the package. Elsewhere these imports are from 'tsbpf', 'tsbpf/bcc', 'tsbpf/compiler' and 'tsbpf/libbpf'. */
export { BPF, log2Histogram, type Table } from '../../src/bcc/index.ts';
export { formatValue } from '../../src/btf/index.ts';
export { builtinHeader, compile, formatDiagnostics } from '../../src/compiler/index.ts';
export {
  asEthernet,
  BpfError,
  BpfObject,
  type BtfValue,
  ERRNO,
  isPerfData,
  isPerfScript,
  type Kernel,
  type KernelEvent,
  openKernel,
  PerfBufferReader,
  parsePerfData,
  parsePerfScript,
  parseStrace,
  RingBufferReader,
  readPackets,
  SYSCALLS,
  VerifierError,
} from '../../src/index.ts';
export { Symbolizer } from '../../src/libbpf/index.ts';
