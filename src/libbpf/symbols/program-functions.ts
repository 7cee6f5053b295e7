/** Functions of loaded programs: what freplace, and fentry and fexit of programs, attach to. */
import { type Btf, parseBtf } from '../../btf/index.ts';
import type { Fd, Kernel } from '../../contracts/kernel.ts';
import { BpfError } from '../../util/errors.ts';

/** BTF id of a function of a loaded program (libbpf: libbpf_find_prog_btf_id). */
export function programFunction(kernel: Kernel, progFd: Fd, name: string): number {
  const id = programBtf(kernel, progFd)?.find(name, 'func');
  if (id !== undefined) return id;
  throw new BpfError('ESRCH', `the target program has no function '${name}' in its types`, {
    hint: 'it needs BTF, and the function must be global',
  });
}

function programBtf(kernel: Kernel, progFd: Fd): Btf | undefined {
  const info = kernel.objGetInfoByFd({ bpfFd: progFd });
  if (info.kind !== 'prog' || info.btfId === 0) return undefined;
  const fd = kernel.objGetFdById({ kind: 'btf', id: info.btfId });
  try {
    const btf = kernel.objGetInfoByFd({ bpfFd: fd });
    return btf.kind === 'btf' ? parseBtf(btf.data) : undefined;
  } finally {
    kernel.close(fd);
  }
}
