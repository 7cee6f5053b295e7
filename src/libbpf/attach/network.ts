/** Places of the network that are links with one target: tcx, netkit, namespaces (sk_lookup, flow dissector), netfilter. */
import type { Kernel } from '../../contracts/kernel.ts';
import { BPF_ATTACH_TYPE } from '../../uapi/index.ts';
import { BpfError } from '../../util/errors.ts';
import { BpfLink } from '../link.ts';
import { attachTypeOf, interfaceIndex, relativeTo, withDescriptor } from './support.ts';
import type { Attachable, AttachOptions, AttachRow } from './types.ts';

/** tcx and netkit: several programs in a row on one interface and direction. */
function onInterface(what: string): AttachRow {
  return {
    ready: (options) => options.interface !== undefined,
    attach(kernel, program, options) {
      const fd = kernel.linkCreate({
        progFd: program.fd,
        targetIfindex: interfaceIndex(kernel, program, options),
        attachType: attachTypeOf(program, options),
        ...relativeTo(options),
      });
      return new BpfLink(kernel, fd, `${what} on interface ${options.interface}`);
    },
  };
}

export const TCX = onInterface('tcx');
export const NETKIT = onInterface('netkit');

/** One program of a kind a network namespace. */
function onNamespace(what: string): AttachRow {
  return {
    ready: (options) => options.netns !== undefined,
    attach: (kernel, program, options) => inNamespace(kernel, program, options, what),
  };
}

function inNamespace(kernel: Kernel, program: Attachable, options: AttachOptions, what: string): BpfLink {
  const { netns } = options;
  if (netns === undefined)
    throw new BpfError('EINVAL', `program '${program.name}' needs a network namespace to be attached to`, {
      hint: `give 'netns': a descriptor or a path (/proc/self/ns/net)`,
    });
  return withDescriptor(kernel, netns, 'network namespace', (targetFd) => {
    const fd = kernel.linkCreate({
      progFd: program.fd,
      targetFd,
      attachType: attachTypeOf(program, options),
    });
    return new BpfLink(kernel, fd, `${what} of network namespace ${netns}`);
  });
}

export const SK_LOOKUP = onNamespace('socket lookup');
export const FLOW_DISSECTOR = onNamespace('flow dissector');

/** BPF_F_NETFILTER_IP_DEFRAG */
const IP_DEFRAG = 1;

export const NETFILTER: AttachRow = {
  ready: (options) => options.netfilter !== undefined,
  attach(kernel, program, options) {
    const { netfilter } = options;
    if (netfilter === undefined)
      throw new BpfError('EINVAL', `program '${program.name}' does not say which netfilter hook it is for`, {
        hint: `give 'netfilter': { pf, hooknum, priority }`,
      });
    const { pf, hooknum, priority, defrag } = netfilter;
    const fd = kernel.linkCreate({
      progFd: program.fd,
      attachType: BPF_ATTACH_TYPE.BPF_NETFILTER,
      netfilter: { pf, hooknum, priority, ...(defrag ? { flags: IP_DEFRAG } : {}) },
    });
    return new BpfLink(kernel, fd, `netfilter hook ${hooknum} of family ${pf}`);
  },
};
