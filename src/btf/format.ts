/**
 * Turns bytes into JavaScript values as their BTF type says: structs and unions as objects, with members of anonymous ones
 * as C names them, arrays as arrays, character arrays that hold text as strings, enumerators by name.
 *
 * Work is bounded by a budget, so that a hostile type (an array of 4 G empty structs) ends in E2BIG.
 */
import { BpfError, fromUtf8 } from '../util/index.ts';
import { BTF_MAX_DEPTH, type Btf } from './btf.ts';
import type { BtfComposite, BtfInt, BtfMember } from './types.ts';

/** A formatted value. Integers that a number cannot hold exactly are bigint. */
export type BtfValue =
  | number
  | bigint
  | boolean
  | string
  | null
  | readonly BtfValue[]
  | { readonly [name: string]: BtfValue };

export interface FormatOptions {
  /** Byte order of the data, default little endian. */
  readonly littleEndian?: boolean;
  /** Show char arrays that hold text as strings. Default true. */
  readonly strings?: boolean;
  /** Keep anonymous structs and unions as objects under the name '', as bpftool shows them. Default: as C names them. */
  readonly nestAnonymous?: boolean;
  /** Most values that are made. Default 1 000 000. */
  readonly limit?: number;
}

interface State {
  readonly btf: Btf;
  readonly bytes: Uint8Array;
  readonly little: boolean;
  readonly strings: boolean;
  readonly nest: boolean;
  left: number;
}

/** The smallest exact representation of an integer. */
function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** `bits` bits from bit `bitOffset` of the data, as an unsigned integer. */
export function readBits(bytes: Uint8Array, bitOffset: number, bits: number, little = true): bigint {
  const first = Math.floor(bitOffset / 8);
  const last = Math.floor((bitOffset + bits - 1) / 8);
  let value = 0n;
  if (little) {
    for (let i = last; i >= first; i--) value = (value << 8n) | BigInt(bytes[i]!);
    value >>= BigInt(bitOffset % 8);
  } else {
    for (let i = first; i <= last; i++) value = (value << 8n) | BigInt(bytes[i]!);
    value >>= BigInt((last + 1) * 8 - bitOffset - bits);
  }
  return BigInt.asUintN(bits, value);
}

function formatInt(type: BtfInt, raw: bigint, bits: number): BtfValue {
  if (type.bool) return raw !== 0n;
  return exact(type.signed ? BigInt.asIntN(bits, raw) : raw);
}

function need(state: State, bitOffset: number, bits: number, id: number): void {
  if (bitOffset + bits > state.bytes.length * 8) {
    throw new BpfError(
      'EINVAL',
      `BTF type id ${id}: needs ${Math.ceil((bitOffset + bits) / 8)} bytes, ${state.bytes.length} are given`,
    );
  }
}

function formatMember(state: State, member: BtfMember, base: number, depth: number): BtfValue {
  const { btf } = state;
  const bitOffset = base + member.bitOffset;
  const bits = btf.bitfieldSize(member);
  if (bits === 0) return formatAt(state, member.type, bitOffset, depth);
  const type = btf.resolved(member.type);
  need(state, bitOffset, bits, member.type);
  const at = member.bitSize === 0 && type.kind === 'int' ? bitOffset + type.bitOffset : bitOffset;
  need(state, at, bits, member.type);
  const raw = readBits(state.bytes, at, bits, state.little);
  if (type.kind === 'int') return formatInt(type, raw, bits);
  if (type.kind === 'enum' || type.kind === 'enum64') {
    const value = type.signed ? BigInt.asIntN(bits, raw) : raw;
    return type.values.find((item) => item.value === value)?.name ?? exact(value);
  }
  return exact(raw);
}

function formatArray(state: State, id: number, bitOffset: number, depth: number): BtfValue {
  const { btf } = state;
  const array = btf.resolved(id);
  if (array.kind !== 'array') return null;
  const element = btf.resolved(array.type);
  const size = btf.sizeOf(array.type);
  need(state, bitOffset, array.count * size * 8, id);
  if (
    state.strings &&
    element.kind === 'int' &&
    element.size === 1 &&
    (element.char || element.name === 'char')
  ) {
    const start = bitOffset / 8;
    const chars = state.bytes.subarray(start, start + array.count);
    const end = chars.indexOf(0);
    const text = chars.subarray(0, Math.max(end, 0));
    if (end >= 0 && text.every((byte) => byte >= 0x20 && byte < 0x7f)) return fromUtf8(text);
  }
  const values: BtfValue[] = [];
  for (let i = 0; i < array.count; i++) {
    values.push(formatAt(state, array.type, bitOffset + i * size * 8, depth + 1));
  }
  return values;
}

/** Defines rather than assigns: a member may be called __proto__. */
function setField(fields: Record<string, BtfValue>, name: string, value: BtfValue): void {
  Object.defineProperty(fields, name, { value, enumerable: true, configurable: true, writable: true });
}

function addMembers(
  state: State,
  type: BtfComposite,
  bitOffset: number,
  depth: number,
  fields: Record<string, BtfValue>,
): void {
  for (const member of type.members) {
    const inner = member.name === '' && !state.nest ? state.btf.resolved(member.type) : undefined;
    if (inner !== undefined && (inner.kind === 'struct' || inner.kind === 'union')) {
      const at = bitOffset + member.bitOffset;
      countPart(state, member.type, depth + 1);
      need(state, at, inner.size * 8, member.type);
      addMembers(state, inner, at, depth + 1, fields);
    } else {
      setField(fields, member.name, formatMember(state, member, bitOffset, depth + 1));
    }
  }
}

/** Counts one part of the value. */
function countPart(state: State, id: number, depth: number): void {
  if (depth > BTF_MAX_DEPTH)
    throw new BpfError('EINVAL', `BTF type id ${id}: nested deeper than ${BTF_MAX_DEPTH}`);
  if (--state.left < 0) {
    throw new BpfError('E2BIG', `BTF type id ${id}: the value has too many parts to show`);
  }
}

function formatAt(state: State, id: number, bitOffset: number, depth: number): BtfValue {
  countPart(state, id, depth);
  const { btf } = state;
  const type = btf.resolved(id);
  switch (type.kind) {
    case 'int':
      need(state, bitOffset, type.size * 8, id);
      if (type.bits === 0) return 0;
      return formatInt(
        type,
        readBits(state.bytes, bitOffset + type.bitOffset, type.bits, state.little),
        type.bits,
      );
    case 'ptr':
      need(state, bitOffset, 64, id);
      return exact(readBits(state.bytes, bitOffset, 64, state.little));
    case 'enum':
    case 'enum64': {
      const bits = type.size * 8;
      need(state, bitOffset, bits, id);
      if (bits === 0) return 0;
      const raw = readBits(state.bytes, bitOffset, bits, state.little);
      const item = type.values.find((candidate) => BigInt.asUintN(bits, candidate.value) === raw);
      return item?.name ?? exact(type.signed ? BigInt.asIntN(bits, raw) : raw);
    }
    case 'float': {
      need(state, bitOffset, type.size * 8, id);
      const view = new DataView(state.bytes.buffer, state.bytes.byteOffset + bitOffset / 8);
      if (type.size === 8) return view.getFloat64(0, state.little);
      if (type.size === 4) return view.getFloat32(0, state.little);
      return null;
    }
    case 'array':
      return formatArray(state, id, bitOffset, depth);
    case 'struct':
    case 'union': {
      need(state, bitOffset, type.size * 8, id);
      const fields: Record<string, BtfValue> = {};
      addMembers(state, type, bitOffset, depth, fields);
      return fields;
    }
    case 'var':
      return formatAt(state, type.type, bitOffset, depth + 1);
    case 'datasec': {
      const fields: Record<string, BtfValue> = {};
      for (const item of type.vars) {
        setField(
          fields,
          btf.name(item.type),
          formatAt(state, item.type, bitOffset + item.offset * 8, depth + 1),
        );
      }
      return fields;
    }
    default:
      return null;
  }
}

/**
 * The value that `bytes` hold as type `id`: number or bigint, boolean, text, array or object. Bytes beyond the type's
 * size are ignored. Errors: EINVAL where the bytes are too short or the type is circular, E2BIG beyond `limit` parts.
 */
export function formatValue(btf: Btf, id: number, bytes: Uint8Array, options: FormatOptions = {}): BtfValue {
  const state: State = {
    btf,
    bytes,
    little: options.littleEndian ?? true,
    strings: options.strings ?? true,
    nest: options.nestAnonymous ?? false,
    left: options.limit ?? 1_000_000,
  };
  return formatAt(state, id, 0, 0);
}
