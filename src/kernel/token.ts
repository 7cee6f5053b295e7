/**
 * BPF tokens (TOKEN_CREATE; BPF_F_TOKEN_FD of PROG_LOAD, MAP_CREATE, BTF_LOAD, BTF_GET_FD_BY_ID; kernel/bpf/token.c). A token carries what
 * a bpffs of a user namespace delegates. With it the capabilities that its holder has in that namespace count as if they were of the
 * whole machine; a command, map type, program type or attach type that is not delegated is as without token.
 */
import type { TokenInfo } from '../contracts/kernel.ts';
import type { Credentials } from '../contracts/verify.ts';
import { BPF_ATTACH_TYPE, BPF_CMD, BPF_MAP_FLAGS, BPF_MAP_TYPE, BPF_PROG_TYPE } from '../uapi/index.ts';
import { BpfError } from '../util/errors.ts';
import { holds, UNPRIVILEGED } from './credentials.ts';
import { KernelObject } from './fd-table.ts';
import type { Machine } from './machine.ts';

export const TOKEN_FLAG = Number(BPF_MAP_FLAGS.BPF_F_TOKEN_FD);

/** Mount options of a bpffs: names without their prefix, numbers (bit sets), `any`, with colons between. */
export interface DelegationOptions {
  readonly delegateCmds?: string;
  readonly delegateMaps?: string;
  readonly delegateProgs?: string;
  readonly delegateAttachs?: string;
}

/** One bit each: commands, map types, program types, attach types. */
export type Delegation = TokenInfo;

type Names = Readonly<Record<string, number>>;

const ALL = (1n << 64n) - 1n;
const NUMBER = /^(0[xX][0-9a-fA-F]+|\d+)$/;

function mask(text: string | undefined, names: Names, prefix: string): bigint {
  let bits = 0n;
  for (const part of text === undefined ? [] : text.split(':')) {
    const wanted = (prefix + part).toUpperCase();
    const name = Object.keys(names).find((one) => one.toUpperCase() === wanted);
    if (part === 'any') bits = ALL;
    else if (name !== undefined) bits |= 1n << BigInt(names[name]!);
    else if (!NUMBER.test(part) || BigInt(part) > ALL)
      throw new BpfError('EINVAL', `'${part}' is nothing that a bpffs delegates`);
    // A number says all, also what came before it.
    else bits = BigInt(part);
  }
  return bits;
}

/** Throws BpfError EINVAL for text that is no mount option. */
export function parseDelegation(options: DelegationOptions): Delegation {
  return {
    allowedCmds: mask(options.delegateCmds, BPF_CMD, 'BPF_'),
    allowedMaps: mask(options.delegateMaps, BPF_MAP_TYPE, 'BPF_MAP_TYPE_'),
    allowedProgs: mask(options.delegateProgs, BPF_PROG_TYPE, 'BPF_PROG_TYPE_'),
    allowedAttachs: mask(options.delegateAttachs, BPF_ATTACH_TYPE, 'BPF_'),
  };
}

export function delegatesNothing(delegation: Delegation): boolean {
  return Object.values(delegation).every((bits) => bits === 0n);
}

/** A directory of a bpffs, opened. */
export class DirectoryObject extends KernelObject {
  readonly what = 'directory';
  readonly userNamespace: number;
  readonly delegation: Delegation;
  readonly isRoot: boolean;

  constructor(mount: Pick<DirectoryObject, 'userNamespace' | 'delegation' | 'isRoot'>) {
    super();
    this.userNamespace = mount.userNamespace;
    this.delegation = mount.delegation;
    this.isRoot = mount.isRoot;
  }

  protected destroy(): void {}
}

export class TokenObject extends KernelObject {
  readonly what = 'bpf-token';
  readonly userNamespace: number;
  readonly allowed: Delegation;

  constructor(userNamespace: number, allowed: Delegation) {
    super();
    this.userNamespace = userNamespace;
    this.allowed = allowed;
  }

  protected destroy(): void {}
}

/** TOKEN_CREATE */
export function createToken(machine: Machine, attr: { bpffsFd: number; flags?: number }): TokenObject {
  if (attr.flags) throw new BpfError('EINVAL', 'TOKEN_CREATE takes no flags');
  const directory = machine.fds.object(attr.bpffsFd);
  if (directory === undefined) throw new BpfError('EBADF', `descriptor ${attr.bpffsFd} is not open`);
  if (!(directory instanceof DirectoryObject) || !directory.isRoot)
    throw new BpfError('EINVAL', `descriptor ${attr.bpffsFd} is not the root directory of a bpffs`);
  const who = machine.credentials;
  const { userNamespace, delegation } = directory;
  if ((who.userNamespace ?? 0) !== userNamespace)
    throw new BpfError('EPERM', 'tokens are made in the user namespace that the bpffs belongs to');
  if (!holds({ ...who, userNamespace: 0 }, 'bpf'))
    throw new BpfError('EPERM', 'making a token needs CAP_BPF in its user namespace');
  if (userNamespace === 0)
    throw new BpfError('EOPNOTSUPP', 'there is no use for a token in the first user namespace');
  if (delegatesNothing(delegation))
    throw new BpfError('ENOENT', 'the bpffs delegates nothing', {
      hint: 'mount it with delegate_cmds, delegate_maps, delegate_progs, delegate_attachs',
    });
  return new TokenObject(userNamespace, delegation);
}

/** What a command would do, one bit each. */
export interface TokenUse {
  readonly command: number;
  readonly mapType?: number;
  readonly progType?: number;
  readonly attachType?: number;
}

const allows = (bits: bigint, bit: number | undefined): boolean =>
  bit === undefined || (bit >= 0 && bit < 64 && ((bits >> BigInt(bit)) & 1n) === 1n);

/**
 * The credentials that a command goes by: the caller's, with the token that it names. Throws EBADF where the descriptor is not open,
 * EINVAL where it is no token.
 */
export function credentialsWith(
  machine: Machine,
  flags: number,
  fd: number | undefined,
  use: TokenUse,
): Credentials {
  const who = machine.credentials;
  if ((flags & TOKEN_FLAG) === 0) return inFirstNamespace(who, undefined);
  const token = machine.fds.object(fd ?? 0);
  if (token === undefined) throw new BpfError('EBADF', `the token's descriptor ${fd ?? 0} is not open`);
  if (!(token instanceof TokenObject))
    throw new BpfError('EINVAL', `descriptor ${fd ?? 0} is no token but a ${token.what}`);
  const { allowed } = token;
  const delegated =
    allows(allowed.allowedCmds, use.command) &&
    allows(allowed.allowedMaps, use.mapType) &&
    allows(allowed.allowedProgs, use.progType) &&
    allows(allowed.allowedAttachs, use.attachType);
  return inFirstNamespace(who, delegated ? token : undefined);
}

/** Capabilities of a user namespace say nothing outside of it, but through its tokens. */
function inFirstNamespace(who: Credentials, token: TokenObject | undefined): Credentials {
  const { userNamespace = 0, uid } = who;
  if (userNamespace === 0) return who;
  if (token?.userNamespace !== userNamespace) return { ...UNPRIVILEGED, uid };
  return { ...who, userNamespace: 0 };
}
