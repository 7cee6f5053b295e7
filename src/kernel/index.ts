/** The embedded kernel: a whole eBPF kernel inside one JavaScript process. */

export { ownKernelBtf } from '../compiler/headers/own-types.ts';
export { serveBackground } from './background/serve.ts';
export { serveCpu } from './cpus/thread.ts';
export { ROOT, UNPRIVILEGED } from './credentials.ts';
export { EmbeddedKernel } from './embedded-kernel.ts';
export type { EmbeddedKernelOptions, Oops } from './machine.ts';
export { SYSCTLS, type SysctlName } from './sysctls.ts';
