/**
 * Accesses to map values and keys: inside the value, allowed by the map's flags, and not into special fields (locks,
 * timers, kptrs), of which only kptrs can be loaded and stored. Kernel 6.18: check_map_access, check_map_kptr_access.
 */
import { CLASS, insnClass, insnMode, MODE } from '../../asm/opcodes.ts';
import type { MapInfo, SpecialField } from '../../contracts/maps.ts';
import { constant, constNumber, isConst, sminNumber, umaxNumber } from '../domain/index.ts';
import type { Env } from '../env.ts';
import { fieldStruct, structIs } from '../kernel-types.ts';
import { BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG } from '../map-flags.ts';
import {
  BASE_MASK,
  isNull,
  MAYBE_NULL,
  MEM_ALLOC,
  MEM_PERCPU,
  MEM_RCU,
  NON_OWN_REF,
  PTR_TO_BTF_ID,
  PTR_TO_MEM,
  PTR_TRUSTED,
  PTR_UNTRUSTED,
  pointerReg,
  type Reg,
  type StructRef,
  scalarReg,
  typeName,
  UNKNOWN_REG,
} from '../registers.ts';
import { checkRegion, checkUnmodified } from './pointer-checks.ts';

const FIELD_NAMES: Readonly<Record<SpecialField['kind'], string>> = {
  spin_lock: 'bpf_spin_lock',
  res_spin_lock: 'bpf_res_spin_lock',
  task_work: 'bpf_task_work',
  uptr: 'uptr',
  timer: 'bpf_timer',
  kptr_untrusted: 'kptr',
  kptr_ref: 'kptr',
  kptr_percpu: 'percpu_kptr',
  list_head: 'bpf_list_head',
  list_node: 'bpf_list_node',
  rb_root: 'bpf_rb_root',
  rb_node: 'bpf_rb_node',
  workqueue: 'bpf_wq',
  refcount: 'bpf_refcount',
};

export function fieldName(kind: SpecialField['kind']): string {
  return FIELD_NAMES[kind];
}

export function isKptr(field: SpecialField): boolean {
  return field.kind.startsWith('kptr_') || field.kind === 'uptr';
}

/** Loads or stores that the map's flags forbid. */
export function checkMapFlags(env: Env, map: MapInfo, off: number, size: number, write: boolean): void {
  if (write && (map.flags & BPF_F_RDONLY_PROG) !== 0) {
    env.fail('EACCES', `write into map forbidden, value_size=${map.valueSize} off=${off} size=${size}`, {
      kind: 'read_only',
      map: map.name,
      region: 'map_value',
      offset: off,
      size,
      write: true,
    });
  }
  if (!write && (map.flags & BPF_F_WRONLY_PROG) !== 0) {
    env.fail('EACCES', `read from map forbidden, value_size=${map.valueSize} off=${off} size=${size}`, {
      kind: 'write_only',
      map: map.name,
      region: 'map_value',
      offset: off,
      size,
    });
  }
}

/** The access is inside the value and touches no special field it may not touch. `direct`: by an instruction. */
export function checkMapValue(
  env: Env,
  n: number,
  off: number,
  size: number,
  zeroSize: boolean,
  direct: boolean,
): void {
  const reg = env.reg(n);
  const map = reg.map!;
  checkRegion(env, n, off, size, map.valueSize, zeroSize);
  for (const field of map.specialFields ?? []) {
    const min = sminNumber(reg.v) + off;
    const max = umaxNumber(reg.v) + off + size;
    if (min >= field.offset + field.size || field.offset >= max) continue;
    const name = FIELD_NAMES[field.kind];
    if (!isKptr(field))
      env.fail('EACCES', `${name} cannot be accessed directly by load/store`, {
        kind: 'special_field',
        register: n,
        map: map.name,
        region: 'map_value',
        field: name,
        offset: off,
        size,
        detail: 'direct',
      });
    if (!direct)
      env.fail('EACCES', `${name} cannot be accessed indirectly by helper`, {
        kind: 'special_field',
        register: n,
        map: map.name,
        region: 'map_value',
        field: name,
        offset: off,
        size,
        detail: 'helper',
      });
    if (!isConst(reg.v))
      env.fail('EACCES', `${name} access cannot have variable offset`, {
        kind: 'special_field',
        register: n,
        map: map.name,
        region: 'map_value',
        field: name,
        offset: off,
        size,
        detail: 'variable offset',
      });
    const at = BigInt(off) + reg.v.tnum.value;
    if (BigInt(field.offset) !== at) {
      env.fail('EACCES', `${name} access misaligned expected=${field.offset} off=${at}`, {
        kind: 'special_field',
        register: n,
        map: map.name,
        region: 'map_value',
        field: name,
        offset: off,
        size,
        detail: 'other place',
      });
    }
    if (size !== 8)
      env.fail('EACCES', `${name} access size must be BPF_DW`, {
        kind: 'special_field',
        register: n,
        map: map.name,
        region: 'map_value',
        field: name,
        offset: off,
        size,
        detail: 'size',
      });
  }
}

export function inRcuSection(env: Env): boolean {
  return env.cur.activeRcuLock || env.cur.activeLocks > 0 || !env.cur.sleepable;
}

/** Structs whose objects are freed after an RCU grace period, so that a loaded kptr may be used inside of one. */
const RCU_STRUCTS = new Set([
  'prog_test_ref_kfunc',
  'cgroup',
  'bpf_cpumask',
  'task_struct',
  'bpf_crypto_ctx',
]);

function loadedKptrFlags(env: Env, field: SpecialField, struct: StructRef): number {
  const rcu =
    field.kind === 'kptr_percpu' ||
    (field.kind === 'kptr_ref' && (!struct.kernel || RCU_STRUCTS.has(struct.name)));
  if (!rcu || !inRcuSection(env)) return MAYBE_NULL | PTR_UNTRUSTED;
  const node = struct.fields?.some(({ kind }) => kind === 'list_node' || kind === 'rb_node') === true;
  const memory = field.kind === 'kptr_percpu' ? MEM_PERCPU : struct.kernel ? 0 : MEM_ALLOC;
  return MAYBE_NULL | MEM_RCU | memory | (node ? NON_OWN_REF : 0);
}

/** Refuses a pointer that does not match what the field holds. */
export function checkKptrType(env: Env, field: SpecialField, reg: Reg, n: number): void {
  const wanted = fieldStruct(env, field);
  const allowed =
    reg.struct?.kernel === false
      ? MAYBE_NULL | MEM_ALLOC | (field.kind === 'kptr_percpu' ? MEM_PERCPU : 0)
      : MAYBE_NULL | PTR_TRUSTED | MEM_RCU | (field.kind === 'kptr_untrusted' ? PTR_UNTRUSTED : 0);
  const target = field.target ?? '';
  const flags = reg.type & ~BASE_MASK;
  let name = '';
  if (reg.base === PTR_TO_BTF_ID && (flags & ~allowed) === 0) {
    name = reg.struct?.name ?? '';
    checkUnmodified(env, reg, n, true);
    const strict = field.kind !== 'kptr_untrusted';
    if (reg.struct !== null && structIs(reg.struct, reg.off, wanted, strict)) return;
  }
  const plain = typeName(PTR_TO_BTF_ID);
  const untrusted =
    field.kind === 'kptr_untrusted' ? ` or ${typeName(PTR_TO_BTF_ID | PTR_UNTRUSTED)}${target}` : '';
  env.verbose(
    `invalid kptr access, R${n} type=${typeName(reg.type)}${name} expected=${plain}${target}${untrusted}\n`,
  );
  env.refuse('EACCES', {
    kind: 'argument_type',
    register: n,
    given: typeName(reg.type) + name,
    expected: plain + target,
    field: 'kptr',
  });
}

function accessKptr(env: Env, field: SpecialField, value: number): void {
  const insn = env.insns[env.insn]!;
  const cls = insnClass(insn.code);
  if (insnMode(insn.code) !== MODE.MEM) {
    env.fail('EACCES', 'kptr in map can only be accessed using BPF_MEM instruction mode', {
      kind: 'kptr_access',
      detail: 'instruction',
    });
  }
  if (cls !== CLASS.LDX && field.kind !== 'kptr_untrusted') {
    const what = field.kind === 'uptr' ? 'uptr' : 'referenced kptr';
    env.fail('EACCES', `store to ${what} disallowed`, {
      kind: 'kptr_access',
      write: true,
      detail: 'store',
    });
  }
  if (cls === CLASS.LDX) {
    const struct = fieldStruct(env, field);
    if (field.kind === 'uptr') {
      const raw = struct.btf?.sizeOf(struct.id) ?? 0;
      env.setReg(value, pointerReg(PTR_TO_MEM | MAYBE_NULL, { raw, id: env.nextId() }));
      return;
    }
    const flags = loadedKptrFlags(env, field, struct);
    env.setReg(value, pointerReg(PTR_TO_BTF_ID | flags, { struct, id: env.nextId() }));
  } else if (cls === CLASS.STX) {
    const reg = env.reg(value);
    if (!isNull(reg)) checkKptrType(env, field, reg, value);
  } else if (cls === CLASS.ST) {
    if (insn.imm !== 0) {
      env.fail('EACCES', `BPF_ST imm must be 0 when storing to kptr at off=${field.offset}`, {
        kind: 'kptr_access',
        write: true,
        detail: 'not zero',
      });
    }
  } else {
    env.fail('EACCES', 'kptr in map can only be accessed using BPF_LDX/BPF_STX/BPF_ST', {
      kind: 'kptr_access',
      detail: 'instruction',
    });
  }
}

/** What a load from a frozen read-only map at a known offset gives. */
function constantLoad(map: MapInfo, at: number, size: number, signed: boolean): Reg | null {
  if ((map.flags & BPF_F_RDONLY_PROG) === 0 || map.frozen !== true || !map.type.directValue) return null;
  const raw = map.constant?.(at, size);
  if (raw === undefined) return null;
  return scalarReg(constant(signed ? BigInt.asIntN(size * 8, raw) : BigInt.asUintN(64, raw)));
}

/** A load or store through register `n`; `off` includes its fixed offset; `value` is the other register, or -1. */
export function accessMapValue(
  env: Env,
  n: number,
  off: number,
  size: number,
  write: boolean,
  value: number,
  signed: boolean,
): void {
  const reg = env.reg(n);
  const map = reg.map!;
  if (write && value >= 0 && env.isLeak(env.reg(value)))
    env.fail('EACCES', `R${value} leaks addr into map`, {
      kind: 'pointer_leak',
      register: value,
      detail: 'map',
    });
  checkMapFlags(env, map, off, size, write);
  checkMapValue(env, n, off, size, false, true);
  const known = isConst(reg.v);
  const at = off + constNumber(reg.v);
  const field = known ? map.specialFields?.find((f) => f.offset === at && isKptr(f)) : undefined;
  if (field !== undefined) {
    accessKptr(env, field, value);
  } else if (!write && value >= 0) {
    env.setReg(
      value,
      (known && env.release.has('constant_map_values') ? constantLoad(map, at, size, signed) : null) ??
        UNKNOWN_REG,
    );
  }
}
