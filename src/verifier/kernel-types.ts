/**
 * Structs of the kernel by name, and whether a pointer to one may pass for a pointer to another: the same struct, or one
 * that stands at the pointer's offset inside of it. Without kernel BTF only equal names match.
 */
import type { Btf } from '../btf/index.ts';
import type { Env } from './env.ts';
import type { StructRef } from './registers.ts';

const byEnv = new WeakMap<Env, Map<string, StructRef>>();

/** The struct of that name in the kernel's BTF; without BTF a reference by name alone. */
export function kernelStruct(env: Env, name: string): StructRef {
  let known = byEnv.get(env);
  if (known === undefined) {
    known = new Map();
    byEnv.set(env, known);
  }
  let ref = known.get(name);
  if (ref === undefined) {
    const btf = env.request.kernelBtf;
    const id = btf?.find(name, 'struct') ?? btf?.find(name, 'union');
    ref =
      btf !== undefined && id !== undefined ? { name, btf, id, kernel: true } : { name, id: 0, kernel: true };
    known.set(name, ref);
  }
  return ref;
}

/** The struct with that id in the kernel's BTF. */
export function kernelStructById(env: Env, btf: Btf, id: number): StructRef {
  const name = btf.name(id);
  const known = kernelStruct(env, name);
  return known.id === id && known.btf === btf ? known : { name, btf, id, kernel: true };
}

/** Structs that begin with a `struct sock_common`: what is known of sockets where no kernel BTF is given. */
const SOCKETS = new Set([
  'sock_common',
  'sock',
  'inet_sock',
  'inet_connection_sock',
  'tcp_sock',
  'tcp6_sock',
  'udp_sock',
  'udp6_sock',
  'unix_sock',
  'mptcp_sock',
  'inet_timewait_sock',
  'tcp_timewait_sock',
  'request_sock',
  'inet_request_sock',
  'tcp_request_sock',
]);

function innerStructAt(btf: Btf, id: number, off: number): { id: number; off: number } | null {
  const type = btf.resolved(id);
  if (type.kind !== 'struct' && type.kind !== 'union') return null;
  for (const member of type.members) {
    const start = member.bitOffset >> 3;
    if (member.bitSize !== 0 || off < start) continue;
    const inner = btf.resolve(member.type);
    const kind = btf.kind(inner);
    if (kind !== 'struct' && kind !== 'union') continue;
    if (off >= start + btf.sizeOf(inner)) continue;
    return { id: inner, off: off - start };
  }
  return null;
}

/** Whether a pointer to `struct` + `off` is one to the kernel's struct `target` (`strict`: without looking inside). */
export function structMatches(
  env: Env,
  struct: StructRef | null,
  off: number,
  target: string,
  strict: boolean,
): boolean {
  if (struct === null) return false;
  if (off === 0 && struct.name === target) return true;
  const { btf } = struct;
  if (strict) return false;
  if (btf === undefined) return off === 0 && target === 'sock_common' && SOCKETS.has(struct.name);
  const wanted = kernelStruct(env, target).id;
  let at: { id: number; off: number } | null = { id: struct.id, off };
  for (let depth = 0; depth < 32 && at !== null; depth++) {
    at = innerStructAt(btf, at.id, at.off);
    if (at !== null && at.off === 0 && at.id === wanted) return true;
  }
  return false;
}
