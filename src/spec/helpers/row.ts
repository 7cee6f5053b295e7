/**
 * Short forms for the rows of the helper tables. Argument kinds, flags and return kinds are those of the kernel's
 * `struct bpf_func_proto`; names are those of the UAPI documentation.
 */
import type { ArgKind, HelperArg, HelperReturn, HelperRow } from '../types.ts';

export function helper(
  id: number,
  name: string,
  since: string,
  allowed: readonly string[],
  ret: HelperReturn,
  args: readonly HelperArg[],
  extra: Partial<HelperRow> = {},
): HelperRow {
  return { id, name: `bpf_${name}`, args, ret, allowed, since, ...extra };
}

export function arg(name: string, kind: ArgKind, extra: Partial<HelperArg> = {}): HelperArg {
  return { name, kind, ...extra };
}

/** A scalar or anything else, 64 bits wide. */
export const any = (name: string): HelperArg => ({ name, kind: 'anything' });
/** A scalar of which the helper reads the low 32 bits. */
export const u32 = (name: string): HelperArg => ({ name, kind: 'anything', abi: 'u32' });
/** Memory that the helper reads; the next argument is its size. */
export const input = (name: string): HelperArg => ({ name, kind: 'mem', rdonly: true });
/** Memory that the helper fills; the next argument is its size. */
export const output = (name: string): HelperArg => ({ name, kind: 'mem', uninit: true, write: true });
/** The size of the memory before it, at least 1. */
export const size = (name: string): HelperArg => ({ name, kind: 'const_size' });
export const sizeOrZero = (name: string): HelperArg => ({ name, kind: 'const_size_or_zero' });

export const CTX: HelperArg = { name: 'ctx', kind: 'ctx' };
export const MAP: HelperArg = { name: 'map', kind: 'const_map_ptr' };
export const KEY: HelperArg = { name: 'key', kind: 'map_key' };
export const FLAGS: HelperArg = { name: 'flags', kind: 'anything' };

/** An error code, a length or another value that fits in 32 signed bits. */
export const INT: HelperReturn = { kind: 'integer' };
/** An integer that needs all 64 bits, or 32 unsigned ones. */
export const U64: HelperReturn = { kind: 'integer', abi: 'u64' };
export const VOID: HelperReturn = { kind: 'void' };
export const VALUE_OR_NULL: HelperReturn = { kind: 'map_value', nullable: true };

/** Attach types whose return value the kernel does not use (cgroup_common_func_proto). */
export const NO_RETVAL: readonly string[] = [
  'CGROUP_INET_INGRESS',
  'CGROUP_INET_EGRESS',
  'CGROUP_SOCK_OPS',
  'CGROUP_UDP4_RECVMSG',
  'CGROUP_UDP6_RECVMSG',
  'CGROUP_UNIX_RECVMSG',
  'CGROUP_INET4_GETPEERNAME',
  'CGROUP_INET6_GETPEERNAME',
  'CGROUP_UNIX_GETPEERNAME',
  'CGROUP_INET4_GETSOCKNAME',
  'CGROUP_INET6_GETSOCKNAME',
  'CGROUP_UNIX_GETSOCKNAME',
];
