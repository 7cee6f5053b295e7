/** `vmlinux.h` from a kernel's BTF: every type of that kernel, relocatable (what `bpftool btf dump … format c` writes). */
import { type Btf, dumpC, parseBtf } from '../../btf/index.ts';

/** Errors: EINVAL for bytes that are no BTF. */
export function vmlinuxHeader(btf: Btf | Uint8Array): string {
  return dumpC(btf instanceof Uint8Array ? parseBtf(btf) : btf, { header: true });
}
