/**
 * struct_ops: what is attached is the map that holds the filled-in struct, not its programs. Maps with BPF_F_LINK get a link
 * (6.4); others are registered by writing their one element and unregistered by deleting it.
 */
import type { Kernel } from '../../contracts/kernel.ts';
import { BPF_ATTACH_TYPE } from '../../uapi/index.ts';
import { BpfError } from '../../util/errors.ts';
import { BpfLink } from '../link.ts';
import type { AttachRow } from './types.ts';

const BPF_F_LINK = 1 << 13;

export interface StructOpsMap {
  readonly fd: number;
  readonly name: string;
  readonly definition: { readonly flags: number };
}

export const STRUCT_OPS: AttachRow = {
  ready: () => false,
  attach(_kernel, program) {
    throw new BpfError('EINVAL', `program '${program.name}' is a function of a struct_ops map`, {
      hint: 'attach the map: attachStructOps',
    });
  },
};

/** `value`: the struct as the map takes it (`struct bpf_struct_ops_<name>`): functions are descriptors of programs. */
export function attachStructOps(kernel: Kernel, map: StructOpsMap, value: Uint8Array): BpfLink {
  const key = new Uint8Array(4);
  const linked = (map.definition.flags & BPF_F_LINK) !== 0;
  const target = `struct_ops ${map.name}`;
  kernel.mapUpdateElem({ mapFd: map.fd, key, value });
  if (!linked)
    return new BpfLink(kernel, undefined, target, {
      onDestroy: () => kernel.mapDeleteElem({ mapFd: map.fd, key }),
    });
  const fd = kernel.linkCreate({
    progFd: 0,
    mapFd: map.fd,
    attachType: BPF_ATTACH_TYPE.BPF_STRUCT_OPS,
  });
  return new BpfLink(kernel, fd, target);
}
