/**
 * BPF tokens (BPF_F_TOKEN_FD of PROG_LOAD, MAP_CREATE, BTF_LOAD). They are made from a bpffs that delegates, in a user namespace: there is
 * none here, so no descriptor is one, and what capabilities allow is for the caller's own. Answers are those of a kernel where
 * nobody mounted such a bpffs.
 */
import { BPF_MAP_FLAGS } from '../uapi/index.ts';
import { BpfError } from '../util/errors.ts';
import type { Machine } from './machine.ts';

export const TOKEN_FLAG = Number(BPF_MAP_FLAGS.BPF_F_TOKEN_FD);

/** Refuses the descriptor that a command names as its token: EBADF where it is not open, EINVAL where it is something else. */
export function checkToken(machine: Machine, flags: number, fd: number | undefined): void {
  if ((flags & TOKEN_FLAG) === 0) return;
  const object = machine.fds.object(fd ?? 0);
  if (object === undefined) throw new BpfError('EBADF', `the token's descriptor ${fd ?? 0} is not open`);
  throw new BpfError('EINVAL', `descriptor ${fd ?? 0} is no token but a ${object.what}`, {
    hint: 'the embedded kernel has no tokens: load without BPF_F_TOKEN_FD',
  });
}
