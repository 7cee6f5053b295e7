/** XDP on an interface, as a link. */
import { BPF_ATTACH_TYPE } from '../../uapi/index.ts';
import { BpfLink } from '../link.ts';
import { interfaceIndex } from './support.ts';
import type { AttachRow } from './types.ts';

/** XDP_FLAGS_*_MODE of linux/if_link.h. */
const MODES = { skb: 2, native: 4, hw: 8 } as const;

export const XDP: AttachRow = {
  ready: (options) => options.interface !== undefined,
  attach(kernel, program, options) {
    const targetIfindex = interfaceIndex(kernel, program, options);
    const flags = (options.flags ?? 0) | (options.xdpMode === undefined ? 0 : MODES[options.xdpMode]);
    const fd = kernel.linkCreate({
      progFd: program.fd,
      targetIfindex,
      attachType: BPF_ATTACH_TYPE.BPF_XDP,
      ...(flags === 0 ? {} : { flags }),
    });
    return new BpfLink(kernel, fd, `XDP on interface ${options.interface}`);
  },
};
