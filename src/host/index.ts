/**
 * The real kernel: the `Kernel` contract over bpf(2), perf_event_open(2), ioctl(2) and mmap(2). Needs Linux on x86-64 or aarch64,
 * the optional dependency koffi, and for nearly everything root or capabilities.
 */
import { HostKernel } from './host-kernel.ts';
import { loadNative, whyNoNative } from './native.ts';

export { ATTR_COMMANDS, attrRow } from './attr.ts';
export { nodeBackgroundThreads, nodeCpuThreads } from './cpu-threads.ts';
export { HostKernel } from './host-kernel.ts';
export { parseTraceLines } from './trace-pipe.ts';
export { type ParsedLog, parseVerifierLog } from './verifier-log.ts';

/** The kernel of this machine. Rejects with BpfError where it cannot be reached: ENOSYS another platform, ENOENT no koffi. */
export async function createHostKernel(): Promise<HostKernel> {
  return new HostKernel(await loadNative());
}

/** Why programs cannot be loaded into the kernel of this machine, null where they can; asks with a map that is gone at once. */
export async function whyNoHostKernel(): Promise<string | null> {
  const why = whyNoNative();
  if (why !== null) return why;
  let kernel: HostKernel;
  try {
    kernel = await createHostKernel();
  } catch (error) {
    return (error as Error).message;
  }
  try {
    kernel.close(kernel.mapCreate({ mapType: 2, keySize: 4, valueSize: 4, maxEntries: 1 }));
    return null;
  } catch (error) {
    const { message, hint } = error as Error & { hint?: string };
    return hint === undefined ? message : `${message}: ${hint}`;
  } finally {
    kernel.shutdown();
  }
}
