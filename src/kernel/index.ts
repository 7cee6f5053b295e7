/** The embedded kernel: a whole eBPF kernel inside one JavaScript process. */
export { ROOT, UNPRIVILEGED } from './credentials.ts';
export { EmbeddedKernel } from './embedded-kernel.ts';
export type { EmbeddedKernelOptions, Oops } from './machine.ts';
export { ownKernelBtf } from './own-btf.ts';
export { SYSCTLS, type SysctlName } from './sysctls.ts';
