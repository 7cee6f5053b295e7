/** The headers that come with the compiler: libbpf's, the UAPI's, the C library's, and vmlinux.h from any BTF. */
export { BCC_HEADER, bccHeaders, bccPlainTypes } from './bcc.ts';
export { builtinHeader, builtinHeaderNames, headersWithVmlinux } from './builtin.ts';
export { ownKernelBtf } from './own-types.ts';
export { vmlinuxHeader, vmlinuxHeaderFor } from './vmlinux.ts';
