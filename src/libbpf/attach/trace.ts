/**
 * tp_btf, fentry, fexit, fmod_ret, LSM, freplace: what they attach to was said at load (attach_btf_id), or, for freplace, is said
 * here. RAW_TRACEPOINT_OPEN without a name serves every kernel since 5.5; LINK_CREATE is for what came later (cookies: 5.19).
 */
import type { Btf } from '../../btf/index.ts';
import { parseBtf } from '../../btf/index.ts';
import type { Fd, Kernel } from '../../contracts/kernel.ts';
import { BpfError } from '../../util/errors.ts';
import { BpfLink } from '../link.ts';
import { attachTypeOf, byTarget } from './support.ts';
import type { AttachRow } from './types.ts';

export const TRACE: AttachRow = {
  ready: byTarget,
  attach(kernel, program, options) {
    const what = `${program.attachType?.toLowerCase() ?? 'target'} ${program.attachTo ?? ''}`.trim();
    const { cookie } = options;
    const fd =
      cookie === undefined
        ? kernel.rawTracepointOpen({ name: null, progFd: program.fd })
        : kernel.linkCreate({
            progFd: program.fd,
            attachType: attachTypeOf(program, options),
            bpfCookie: cookie,
          });
    return new BpfLink(kernel, fd, what);
  },
};

export const FREPLACE: AttachRow = {
  ready: byTarget,
  attach(kernel, program, options) {
    const { replaced, target } = options;
    if (replaced === undefined) {
      const fd = kernel.rawTracepointOpen({ name: null, progFd: program.fd });
      return new BpfLink(kernel, fd, `function ${program.attachTo ?? ''}`.trim());
    }
    const name = target ?? program.attachTo;
    if (!name)
      throw new BpfError('EINVAL', `program '${program.name}' does not say which function it replaces`);
    const fd = kernel.linkCreate({
      progFd: program.fd,
      targetFd: replaced.fd,
      attachType: 0,
      targetBtfId: functionOf(kernel, replaced.fd, name),
    });
    return new BpfLink(kernel, fd, `function ${name}`);
  },
};

/** BTF id of a function of a loaded program (libbpf: libbpf_find_prog_btf_id). */
export function functionOf(kernel: Kernel, progFd: Fd, name: string): number {
  const id = programBtf(kernel, progFd)?.find(name, 'func');
  if (id !== undefined) return id;
  throw new BpfError('ESRCH', `the program to be replaced has no function '${name}' in its types`, {
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
