/** Raw tracepoints by name (RAW_TRACEPOINT_OPEN): the arguments of the tracepoint as they are. */
import { BpfLink } from '../link.ts';
import { byTarget, targetOf } from './support.ts';
import type { AttachRow } from './types.ts';

export const RAW_TRACEPOINT: AttachRow = {
  ready: byTarget,
  attach(kernel, program, options) {
    const name = targetOf(program, options, 'raw tracepoint');
    const { cookie } = options;
    const fd = kernel.rawTracepointOpen({
      name,
      progFd: program.fd,
      ...(cookie === undefined ? {} : { cookie }),
    });
    return new BpfLink(kernel, fd, `raw tracepoint ${name}`);
  },
};
