/**
 * tp_btf, fentry, fexit, fmod_ret, LSM, freplace: what they attach to was said at load (attach_btf_id), or, for freplace, is said
 * here. RAW_TRACEPOINT_OPEN without a name serves every kernel since 5.5; LINK_CREATE is for what came later (cookies: 5.19).
 */
import { BpfError } from '../../util/errors.ts';
import { BpfLink } from '../link.ts';
import { programFunction } from '../symbols/program-functions.ts';
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
      targetBtfId: programFunction(kernel, replaced.fd, name),
    });
    return new BpfLink(kernel, fd, `function ${name}`);
  },
};
