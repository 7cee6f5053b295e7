import type { EmbeddedKernel } from '../../src/kernel/index.ts';
import type { LoadOptions } from '../../src/libbpf/index.ts';
import type { LinuxKernel } from '../../test/host/linux-kernel.ts';
export function compareRuns(
  _b: Uint8Array,
  _n: string,
  _m: () => EmbeddedKernel,
  _l: LinuxKernel | undefined,
  _o: LoadOptions,
): { programs: number; equal: number; differences: string[] } {
  return { programs: 0, equal: 0, differences: [] };
}
