/**
 * Structs of the kernel by name, and whether a pointer to one may pass for a pointer to another: the same struct, or one
 * that stands at the pointer's offset inside of it. Without kernel BTF only equal names match.
 */
import type { Btf } from '../btf/index.ts';
import type { SpecialField } from '../contracts/maps.ts';
import type { Env } from './env.ts';
import type { StructRef } from './registers.ts';
import { objectFields } from './special-fields.ts';

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

const localByEnv = new WeakMap<Env, Map<number, StructRef>>();

/** A struct of the program's own BTF. */
export function localStruct(env: Env, btf: Btf, id: number): StructRef {
  let known = localByEnv.get(env);
  if (known === undefined) {
    known = new Map();
    localByEnv.set(env, known);
  }
  let ref = known.get(id);
  if (ref === undefined || ref.btf !== btf) {
    const fields = objectFields(btf, id, env.request.kernelBtf);
    ref = { name: btf.name(id), btf, id, kernel: false, fields };
    known.set(id, ref);
  }
  return ref;
}

/** The struct that a kptr points to, or that a list or tree holds. */
export function fieldStruct(env: Env, field: SpecialField): StructRef {
  const { struct, target } = field;
  return struct === undefined || struct.kernel
    ? kernelStruct(env, target ?? '')
    : localStruct(env, struct.btf, struct.id);
}

function sameStruct(a: StructRef, b: StructRef): boolean {
  if (a.btf !== undefined && b.btf !== undefined) return a.btf === b.btf && a.id === b.id;
  return a.kernel === b.kernel && a.name === b.name;
}

/** Whether a pointer to `struct` + `off` is one to `wanted` (`strict`: without looking inside). */
export function structIs(struct: StructRef, off: number, wanted: StructRef, strict: boolean): boolean {
  if (off === 0 && sameStruct(struct, wanted)) return true;
  const { btf } = struct;
  if (strict) return false;
  if (btf === undefined) return off === 0 && wanted.name === 'sock_common' && SOCKETS.has(struct.name);
  let at: { id: number; off: number } | null = { id: struct.id, off };
  for (let depth = 0; depth < 32 && at !== null; depth++) {
    at = innerStructAt(btf, at.id, at.off);
    if (at === null) return false;
    if (wanted.btf === btf && at.id === wanted.id) return true;
    at = { id: at.id, off: 0 };
  }
  return false;
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
