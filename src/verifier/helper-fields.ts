/** Arguments that point into map values: to a lock, a timer, a work queue, or to a constant string. */
import { isConst } from './domain/index.ts';
import type { Env } from './env.ts';
import { BPF_F_RDONLY_PROG } from './map-flags.ts';
import { acquireLock, dropNonOwning, findLock, releaseLock } from './references.ts';
import { fieldsBehind, PTR_TO_MAP_VALUE } from './registers.ts';
import { checkMapValue, fieldName } from './transfer/map-value.ts';

/** The pointer must point to the field of that kind of a map value. */
export function checkFieldPointer(env: Env, n: number, kind: 'timer' | 'workqueue' | 'task_work'): void {
  const reg = env.reg(n);
  const map = reg.map!;
  const what = fieldName(kind);
  if (!isConst(reg.v)) {
    env.fail('EINVAL', `R${n} doesn't have constant offset. ${what} has to be at the constant offset`, {
      kind: 'argument_offset',
      register: n,
      argument: n,
      field: what,
      detail: 'variable',
    });
  }
  if (!map.hasBtf)
    env.fail('EINVAL', `map '${map.name}' has to have BTF in order to use ${what}`, {
      kind: 'argument_field',
      register: n,
      argument: n,
      map: map.name,
      field: what,
      detail: 'no types',
    });
  const field = map.specialFields?.find((f) => f.kind === kind);
  if (field === undefined)
    env.fail('EINVAL', `map '${map.name}' has no valid ${what}`, {
      kind: 'argument_field',
      register: n,
      argument: n,
      map: map.name,
      field: what,
    });
  const at = BigInt.asIntN(64, reg.v.tnum.value) + BigInt(reg.off);
  if (BigInt(field.offset) !== at) {
    env.fail('EINVAL', `off ${at} doesn't point to 'struct ${what}' that is at ${field.offset}`, {
      kind: 'argument_field',
      register: n,
      argument: n,
      map: map.name,
      field: what,
      offset: Number(at),
      limit: field.offset,
      detail: 'other place',
    });
  }
}

export interface LockCall {
  readonly acquire: boolean;
  /** bpf_res_spin_lock. */
  readonly res?: boolean;
  readonly irq?: boolean;
}

/** The pointer must point to the lock of a map value or of an object; takes or releases it. */
export function checkSpinLock(env: Env, n: number, { acquire, res, irq }: LockCall): void {
  const reg = env.reg(n);
  const name = res ? 'bpf_res_spin' : 'bpf_spin';
  const field = `${name}_lock`;
  const common = { register: n, argument: n, field };
  if (!isConst(reg.v)) {
    env.fail('EINVAL', `R${n} doesn't have constant offset. ${field} has to be at the constant offset`, {
      kind: 'argument_offset',
      ...common,
      detail: 'variable',
    });
  }
  const map = reg.type === PTR_TO_MAP_VALUE ? reg.map : null;
  const mapName = map === null ? {} : { map: map.name };
  if (map !== null && !map.hasBtf)
    env.fail('EINVAL', `map '${map.name}' has to have BTF in order to use ${field}`, {
      kind: 'argument_field',
      ...common,
      ...mapName,
      detail: 'no types',
    });
  const lock = fieldsBehind(reg).find(({ kind }) => kind === (res ? 'res_spin_lock' : 'spin_lock'));
  if (lock === undefined) {
    const what = map === null ? `local 'kptr'` : `map '${map.name}'`;
    env.fail('EINVAL', `${what} has no valid ${field}`, { kind: 'argument_field', ...common, ...mapName });
  }
  const at = BigInt.asIntN(64, reg.v.tnum.value) + BigInt(reg.off);
  if (BigInt(lock.offset) !== at) {
    env.fail('EINVAL', `off ${at} doesn't point to 'struct ${field}' that is at ${lock.offset}`, {
      kind: 'argument_field',
      ...common,
      ...mapName,
      offset: Number(at),
      limit: lock.offset,
      detail: 'other place',
    });
  }
  const { cur } = env;
  const object: object = map ?? reg.struct?.btf ?? cur;
  const kind = !res ? 'lock' : irq ? 'res_lock_irq' : 'res_lock';
  if (acquire) {
    if (!res && cur.refs.some((ref) => ref.kind === 'lock'))
      env.fail('EINVAL', 'Locking two bpf_spin_locks are not allowed', { kind: 'lock_twice' });
    if (res && findLock(cur, ['res_lock', 'res_lock_irq'], reg.id, object) !== undefined)
      env.fail('EINVAL', 'Acquiring the same lock again, AA deadlock detected', { kind: 'lock_twice' });
    acquireLock(env, kind, reg.id, object);
    return;
  }
  if (cur.activeLocks === 0)
    env.fail('EINVAL', `${name}_unlock without taking a lock`, {
      kind: 'lock_mismatch',
      detail: 'none is held',
    });
  if (findLock(cur, [kind], reg.id, object) === undefined)
    env.fail('EINVAL', `${name}_unlock of different lock`, {
      kind: 'lock_mismatch',
      detail: 'another lock is held',
    });
  if (reg.id !== cur.activeLockId || object !== cur.activeLockObject) {
    env.fail('EINVAL', `${name}_unlock cannot be out of order`, {
      kind: 'lock_mismatch',
      detail: 'another lock was taken later',
    });
  }
  releaseLock(cur, kind, reg.id, object);
  dropNonOwning(env);
}

/** A string in a frozen read-only map, whose end is known. */
export function checkConstString(env: Env, n: number): void {
  const reg = env.reg(n);
  const map = reg.map!;
  if ((map.flags & BPF_F_RDONLY_PROG) === 0 || !map.frozen) {
    env.fail('EACCES', `R${n} does not point to a readonly map'`, {
      kind: 'argument_string',
      register: n,
      argument: n,
      map: map.name,
      detail: 'map not read-only',
    });
  }
  if (!isConst(reg.v))
    env.fail('EACCES', `R${n} is not a constant address'`, {
      kind: 'argument_string',
      register: n,
      argument: n,
      detail: 'address not constant',
    });
  if (!map.type.directValue || map.constant === undefined) {
    env.fail('EACCES', 'no direct value access support for this map type', {
      kind: 'argument_string',
      register: n,
      argument: n,
      map: map.name,
      detail: 'map without direct values',
    });
  }
  checkMapValue(env, n, reg.off, map.valueSize - reg.off, false, false);
  for (let at = reg.off + Number(reg.v.tnum.value); at < map.valueSize; at++) {
    if (map.constant(at, 1) === 0n) return;
  }
  env.fail('EINVAL', 'string is not zero-terminated', {
    kind: 'argument_string',
    register: n,
    argument: n,
    detail: 'no end',
  });
}
