/** sk_skb and sk_msg: programs of a sockmap. A link since Linux 6.10, before that PROG_ATTACH. */
import type { Fd } from '../../contracts/kernel.ts';
import { BpfError } from '../../util/errors.ts';
import { BpfLink } from '../link.ts';
import { attachTypeOf, isOlderThan } from './support.ts';
import type { AttachRow } from './types.ts';

export const SOCKMAP: AttachRow = {
  ready: (options) => options.map !== undefined,
  attach(kernel, program, options) {
    if (options.map === undefined)
      throw new BpfError('EINVAL', `program '${program.name}' needs a sockmap to be attached to`, {
        hint: `give 'map'`,
      });
    const targetFd: Fd = options.map.fd;
    const attachType = attachTypeOf(program, options);
    const target = `sockmap ${'name' in options.map ? options.map.name : targetFd}`;
    if (!isOlderThan(kernel, '6.10')) {
      const fd = kernel.linkCreate({ progFd: program.fd, targetFd, attachType });
      return new BpfLink(kernel, fd, target);
    }
    kernel.progAttach({ targetFd, attachBpfFd: program.fd, attachType });
    const onDestroy = () => kernel.progDetach({ targetFd, attachBpfFd: program.fd, attachType });
    return new BpfLink(kernel, undefined, target, { onDestroy });
  },
};
