/** The older tc: a classifier in direct action on the clsact qdisc of an interface, over netlink (libbpf: bpf_tc_attach). */
import type { Kernel } from '../../contracts/kernel.ts';
import { BpfError } from '../../util/errors.ts';
import { BpfLink } from '../link.ts';
import { interfaceIndex } from './support.ts';
import type { Attachable } from './types.ts';

export interface TcOptions {
  readonly interface: string | number;
  readonly direction: 'ingress' | 'egress';
  /** Default: the kernel's choice. */
  readonly handle?: number;
  readonly priority?: number;
  /** Takes the place of the filter with that handle and priority. */
  readonly replace?: boolean;
}

/**
 * Makes the qdisc where there is none; the qdisc goes with the link that made it. There is no link in the kernel: a process that dies
 * leaves filter and qdisc in place (tcx, Linux 6.6, does not).
 */
export function attachTc(kernel: Kernel, program: Attachable, options: TcOptions): BpfLink {
  const { tc } = kernel;
  if (tc === undefined)
    throw new BpfError('EOPNOTSUPP', `the ${kernel.features().kind} kernel has no traffic control`);
  const ifindex = interfaceIndex(kernel, program, options);
  const { direction, handle = 0, priority = 0, replace = false } = options;
  const made = tc.createQdisc(ifindex);
  const dropQdisc = () => {
    if (made) tc.destroyQdisc(ifindex);
  };
  try {
    const place = tc.attach({ ifindex, direction, handle, priority, progFd: program.fd, replace });
    return new BpfLink(kernel, undefined, `tc ${direction} of interface ${options.interface}`, {
      onDestroy() {
        tc.detach({ ifindex, direction, ...place });
        dropQdisc();
      },
    });
  } catch (error) {
    dropQdisc();
    throw error;
  }
}
