/** Values of `extern … __kconfig` variables: those that libbpf itself provides; kernel options are not known here. */
import type { KernelFeatures } from '../contracts/kernel.ts';
import type { KconfigSpec } from '../object/index.ts';
import { BpfError } from '../util/errors.ts';

/** libbpf's virtual externs. */
const VIRTUAL: Readonly<Record<string, (features: KernelFeatures) => bigint>> = {
  LINUX_KERNEL_VERSION: ({ release }) => {
    const [major = 0, minor = 0, patch = 0] = release.split(/[.-]/).map(Number);
    return BigInt((major << 16) + (minor << 8) + Math.min(Number.isNaN(patch) ? 0 : patch, 255));
  },
  LINUX_HAS_BPF_COOKIE: () => 1n,
  LINUX_HAS_SYSCALL_WRAPPER: () => 1n,
};

/** The contents of the `.kconfig` map. Throws ENOENT for a variable that is neither known nor weak. */
export function kconfigValues(
  variables: readonly KconfigSpec[],
  size: number,
  features: KernelFeatures,
): Uint8Array {
  const bytes = new Uint8Array(size);
  for (const variable of variables) {
    const value = VIRTUAL[variable.name]?.(features);
    if (value === undefined) {
      if (variable.weak) continue;
      throw new BpfError('ENOENT', `the kernel option ${variable.name} is not known`, {
        hint: 'declare the variable __weak: it is then 0',
      });
    }
    let rest = value;
    for (let i = 0; i < variable.size && i < 8; i++) {
      bytes[variable.offset + i] = Number(rest & 0xffn);
      rest >>= 8n;
    }
  }
  return bytes;
}
