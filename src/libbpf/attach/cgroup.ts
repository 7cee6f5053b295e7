/** All kinds of cgroup programs (also sockops and lsm_cgroup): a link on the descriptor of a cgroup. */
import { BpfError } from '../../util/errors.ts';
import { BpfLink } from '../link.ts';
import { attachTypeOf, relativeTo, withDescriptor } from './support.ts';
import type { AttachRow } from './types.ts';

export const CGROUP: AttachRow = {
  ready: (options) => options.cgroup !== undefined,
  attach(kernel, program, options) {
    const { cgroup } = options;
    if (cgroup === undefined)
      throw new BpfError('EINVAL', `program '${program.name}' needs a cgroup to be attached to`, {
        hint: `give 'cgroup': a directory of a cgroup2 mount or its descriptor`,
      });
    const attachType = attachTypeOf(program, options);
    return withDescriptor(kernel, cgroup, 'cgroup', (targetFd) => {
      const fd = kernel.linkCreate({ progFd: program.fd, targetFd, attachType, ...relativeTo(options) });
      return new BpfLink(kernel, fd, `cgroup ${cgroup}`);
    });
  },
};
