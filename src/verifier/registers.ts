/**
 * What the verifier knows of one register or of one spilled slot: a kind of value with modifiers, a fixed offset, and a
 * scalar that is the number itself or the variable part of a pointer's offset.
 *
 * Invariant: a `Reg` never changes once made, so states share it freely; every transition makes a new one. Whether a
 * scalar is needed precisely is not part of it: that belongs to the explored state (state.ts), because it is learnt later.
 * Names and their order in text are those of the kernel's log (6.18).
 */
import type { Btf } from '../btf/index.ts';
import type { MapInfo, SpecialField } from '../contracts/maps.ts';
import { constant, isZero, type Link, type Scalar, unknown } from './domain/index.ts';

/** Base kinds: the low byte of `Reg.type`. */
export const NOT_INIT = 0;
export const SCALAR = 1;
export const PTR_TO_CTX = 2;
export const CONST_PTR_TO_MAP = 3;
export const PTR_TO_MAP_VALUE = 4;
export const PTR_TO_MAP_KEY = 5;
export const PTR_TO_STACK = 6;
export const PTR_TO_PACKET_META = 7;
export const PTR_TO_PACKET = 8;
export const PTR_TO_PACKET_END = 9;
export const PTR_TO_FLOW_KEYS = 10;
export const PTR_TO_SOCKET = 11;
export const PTR_TO_SOCK_COMMON = 12;
export const PTR_TO_TCP_SOCK = 13;
export const PTR_TO_TP_BUFFER = 14;
export const PTR_TO_XDP_SOCK = 15;
export const PTR_TO_BTF_ID = 16;
export const PTR_TO_MEM = 17;
export const PTR_TO_ARENA = 18;
export const PTR_TO_BUF = 19;
export const PTR_TO_FUNC = 20;
export const CONST_PTR_TO_DYNPTR = 21;

/** Modifiers: the bits above. */
export const MAYBE_NULL = 1 << 8;
export const MEM_RDONLY = 1 << 9;
export const MEM_RINGBUF = 1 << 10;
export const MEM_USER = 1 << 11;
export const MEM_PERCPU = 1 << 12;
export const MEM_RCU = 1 << 13;
export const PTR_UNTRUSTED = 1 << 14;
export const PTR_TRUSTED = 1 << 15;
export const MEM_ALLOC = 1 << 16;
/** The memory is a slice of a packet dynptr and dies with the packet pointers. */
export const DYNPTR_PACKET = 1 << 17;
/** A pointer into a list or tree that owns the object: good only while the lock is held. */
export const NON_OWN_REF = 1 << 18;
/** The memory is a slice of a dynptr of other memory. */
export const DYNPTR_MEMORY = 1 << 19;
export const DYNPTR_MASK = DYNPTR_PACKET | DYNPTR_MEMORY;

export const BASE_MASK = 0xff;

const BASE_NAMES: readonly string[] = [
  '?',
  'scalar',
  'ctx',
  'map_ptr',
  'map_value',
  'map_key',
  'fp',
  'pkt_meta',
  'pkt',
  'pkt_end',
  'flow_keys',
  'sock',
  'sock_common',
  'tcp_sock',
  'tp_buffer',
  'xdp_sock',
  'ptr_',
  'mem',
  'arena',
  'buf',
  'func',
  'dynptr_ptr',
];

const PREFIXES: readonly (readonly [number, string])[] = [
  [MEM_RDONLY, 'rdonly_'],
  [MEM_RINGBUF, 'ringbuf_'],
  [MEM_USER, 'user_'],
  [MEM_PERCPU, 'percpu_'],
  [MEM_RCU, 'rcu_'],
  [PTR_UNTRUSTED, 'untrusted_'],
  [PTR_TRUSTED, 'trusted_'],
];

/** `map_value_or_null`, `rdonly_mem`, `trusted_ptr_or_null_`: the kernel's reg_type_str. */
export function typeName(type: number): string {
  const base = type & BASE_MASK;
  let prefix = '';
  for (const [flag, text] of PREFIXES) if ((type & flag) !== 0) prefix += text;
  const postfix = (type & MAYBE_NULL) === 0 ? '' : base === PTR_TO_BTF_ID ? 'or_null_' : '_or_null';
  return `${prefix}${BASE_NAMES[base]}${postfix}`;
}

/** A struct of some BTF that a pointer points to. `btf` is absent where only the name is known (no kernel BTF given). */
export interface StructRef {
  readonly name: string;
  readonly btf?: Btf;
  readonly id: number;
  /** Of the kernel, not of the program. */
  readonly kernel: boolean;
  /** Special fields of objects of the program's own types. */
  readonly fields?: readonly SpecialField[];
}

export type DynptrType = 'local' | 'ringbuf' | 'skb' | 'xdp' | 'skb_meta';

/** What a stack slot holds of a dynptr, or the argument of a callback that is one. */
export interface DynptrInfo {
  readonly type: DynptrType;
  readonly firstSlot: boolean;
}

/** Set in an id: the register is its linked register plus the constant `off`, added in 64 or in 32 bits. */
export const ADD_CONST64 = 0x8000_0000;
export const ADD_CONST32 = 0x4000_0000;
/** Ids from here on have such a mark. */
export const ADD_CONST = ADD_CONST32;

/** The id without the mark of a constant distance. */
export function baseId(id: number): number {
  if (id < ADD_CONST) return id;
  return id >= ADD_CONST64 ? id - ADD_CONST64 : id - ADD_CONST32;
}

/** The mark alone: equal for ids that are linked in the same way. */
export function linkMark(id: number): number {
  return id - baseId(id);
}

/** The link of a scalar as the domain speaks of it. */
export function linkOf(reg: Reg): Link {
  const { id } = reg;
  if (id < ADD_CONST) return { id, width: 0, delta: 0 };
  return { id: baseId(id), width: id >= ADD_CONST64 ? 64 : 32, delta: reg.off };
}

/** A scalar with that link. */
export function linkedScalar(v: Scalar, link: Link): Reg {
  if (link.id === 0) return scalarReg(v);
  if (link.width === 0) return scalarReg(v, link.id);
  return scalarReg(v, link.id + (link.width === 64 ? ADD_CONST64 : ADD_CONST32), link.delta);
}

/** The range of a packet pointer that was compared with the end: at it, or at least one byte behind it. */
export const AT_PKT_END = -1;
export const BEYOND_PKT_END = -2;

export class Reg {
  readonly type: number;
  /** The number, or the variable part of the pointer's offset. */
  readonly v: Scalar;
  /** Fixed part of the offset; for a scalar with ADD_CONST in its id the constant distance. */
  readonly off: number;
  /** Links copies of one value; 0 for none. */
  readonly id: number;
  readonly refObjId: number;
  /** PTR_TO_STACK: whose frame. */
  readonly frameno: number;
  /** Packet: proven range in bytes. Memory: size. Function: subprogram. Dynptr slice: bytes. */
  readonly raw: number;
  readonly map: MapInfo | null;
  /** Tells inner maps of one outer map apart. */
  readonly mapUid: number;
  readonly struct: StructRef | null;
  readonly dynptr: DynptrInfo | null;
  /** The dynptr that a slice or a dynptr's data belongs to. */
  readonly dynptrId: number;

  constructor(
    type: number,
    v: Scalar,
    off: number,
    id: number,
    refObjId: number,
    frameno: number,
    raw: number,
    map: MapInfo | null,
    mapUid: number,
    struct: StructRef | null,
    dynptr: DynptrInfo | null,
    dynptrId: number,
  ) {
    this.type = type;
    this.v = v;
    this.off = off;
    this.id = id;
    this.refObjId = refObjId;
    this.frameno = frameno;
    this.raw = raw;
    this.map = map;
    this.mapUid = mapUid;
    this.struct = struct;
    this.dynptr = dynptr;
    this.dynptrId = dynptrId;
  }

  get base(): number {
    return this.type & BASE_MASK;
  }

  get maybeNull(): boolean {
    return (this.type & MAYBE_NULL) !== 0;
  }

  /** A copy with some fields changed. Not for hot paths: those have their own makers below. */
  with(change: Partial<Omit<Reg, 'base' | 'maybeNull' | 'with'>>): Reg {
    return new Reg(
      change.type ?? this.type,
      change.v ?? this.v,
      change.off ?? this.off,
      change.id ?? this.id,
      change.refObjId ?? this.refObjId,
      change.frameno ?? this.frameno,
      change.raw ?? this.raw,
      change.map === undefined ? this.map : change.map,
      change.mapUid ?? this.mapUid,
      change.struct === undefined ? this.struct : change.struct,
      change.dynptr === undefined ? this.dynptr : change.dynptr,
      change.dynptrId ?? this.dynptrId,
    );
  }
}

export const ZERO_SCALAR: Scalar = constant(0n);

/** Never written, or clobbered by a call. */
export const NOT_INIT_REG = new Reg(NOT_INIT, unknown(), 0, 0, 0, 0, 0, null, 0, null, null, 0);
/** Any number. */
export const UNKNOWN_REG = new Reg(SCALAR, unknown(), 0, 0, 0, 0, 0, null, 0, null, null, 0);
/** The number 0. */
export const ZERO_REG = new Reg(SCALAR, ZERO_SCALAR, 0, 0, 0, 0, 0, null, 0, null, null, 0);

/** A number of which `v` is known; `off` only together with ADD_CONST in `id`. */
export function scalarReg(v: Scalar, id = 0, off = 0): Reg {
  return new Reg(SCALAR, v, off, id, 0, 0, 0, null, 0, null, null, 0);
}

/** A pointer with no offset yet. */
export function pointerReg(
  type: number,
  fields: Partial<Omit<Reg, 'base' | 'maybeNull' | 'with'>> = {},
): Reg {
  return new Reg(
    type,
    fields.v ?? ZERO_SCALAR,
    fields.off ?? 0,
    fields.id ?? 0,
    fields.refObjId ?? 0,
    fields.frameno ?? 0,
    fields.raw ?? 0,
    fields.map ?? null,
    fields.mapUid ?? 0,
    fields.struct ?? null,
    fields.dynptr ?? null,
    fields.dynptrId ?? 0,
  );
}

/** The frame pointer of frame `frameno`. */
export function framePointer(frameno: number): Reg {
  return pointerReg(PTR_TO_STACK, { frameno });
}

export function isPacketPointer(type: number): boolean {
  return type === PTR_TO_PACKET || type === PTR_TO_PACKET_META;
}

export function isPacketPointerOrEnd(type: number): boolean {
  return type === PTR_TO_PACKET || type === PTR_TO_PACKET_META || type === PTR_TO_PACKET_END;
}

/** Pointers that dereference to a socket facade. */
export function isSockPointer(type: number): boolean {
  return (
    type === PTR_TO_SOCKET ||
    type === PTR_TO_SOCK_COMMON ||
    type === PTR_TO_TCP_SOCK ||
    type === PTR_TO_XDP_SOCK
  );
}

/** Kinds that may be spilled and filled without losing what is known. */
export function isSpillable(type: number): boolean {
  const base = type & BASE_MASK;
  return base !== NOT_INIT && base !== SCALAR && base !== PTR_TO_TP_BUFFER && base !== CONST_PTR_TO_DYNPTR;
}

export function isNull(reg: Reg): boolean {
  return reg.type === SCALAR && isZero(reg.v);
}

const TRUSTED_FLAGS = PTR_TRUSTED | MEM_ALLOC | NON_OWN_REF;

export function isTrusted(reg: Reg): boolean {
  if (reg.refObjId !== 0) return true;
  const flags = reg.type & ~BASE_MASK;
  const unsafe = (flags & ~TRUSTED_FLAGS) !== 0;
  const base = reg.base;
  if (
    !unsafe &&
    (base === PTR_TO_SOCKET ||
      base === PTR_TO_SOCK_COMMON ||
      base === PTR_TO_TCP_SOCK ||
      base === CONST_PTR_TO_MAP)
  ) {
    return true;
  }
  return (flags & TRUSTED_FLAGS) !== 0 && !unsafe;
}

/** Whether the pointer is known not to be NULL (kernel: reg_not_null). */
export function isNotNull(reg: Reg): boolean {
  if (reg.maybeNull) return false;
  switch (reg.base) {
    case PTR_TO_SOCKET:
    case PTR_TO_TCP_SOCK:
    case PTR_TO_MAP_VALUE:
    case PTR_TO_MAP_KEY:
    case PTR_TO_SOCK_COMMON:
    case CONST_PTR_TO_MAP:
      return true;
    case PTR_TO_MEM:
      return (reg.type & PTR_UNTRUSTED) === 0;
    case PTR_TO_BTF_ID:
      return isTrusted(reg);
    default:
      return false;
  }
}

export function hasSpecialField(map: MapInfo | null, ...kinds: readonly string[]): boolean {
  return map?.specialFields?.some((field) => kinds.includes(field.kind)) ?? false;
}

/** An object of the program's own type, from bpf_obj_new and its like. */
export function isAllocated(type: number): boolean {
  return (type & BASE_MASK) === PTR_TO_BTF_ID && (type & MEM_ALLOC) !== 0;
}

/** Special fields of what the pointer points to (kernel: reg_btf_record). */
export function fieldsBehind(reg: Reg): readonly SpecialField[] {
  if (reg.type === PTR_TO_MAP_VALUE) return reg.map?.specialFields ?? [];
  return isAllocated(reg.type) ? (reg.struct?.fields ?? []) : [];
}

/** Whether pointers to such a thing must be told apart, because of the lock in it. */
export function mayPointToSpinLock(reg: Reg): boolean {
  return fieldsBehind(reg).some(({ kind }) => kind === 'spin_lock' || kind === 'res_spin_lock');
}
