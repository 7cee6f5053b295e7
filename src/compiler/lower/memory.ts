/** Reads and writes of objects: scalars, bit-fields, initialisers. */
import type { CType, Initializer, VarDecl } from '../ast/index.ts';
import { constant, FLAG, intType, isConst, type MemType, type Value } from '../ir/index.ts';
import { aliasTag } from './alias.ts';
import type { LowerContext, Place } from './context.ts';
import {
  alignOf,
  isAggregate,
  isBool,
  isSigned,
  isVolatile,
  pointsToRecord,
  scalarType,
  sizeOf,
} from './types.ts';

export function plainPlace(address: Value, type: CType): Place {
  return { address, chain: undefined, type, volatile: isVolatile(type), bits: undefined };
}

/** The smallest aligned unit of memory that holds the bits: bytes from the start and size; undefined where none does. */
function unitOf(bits: {
  offset: number;
  width: number;
  recordSize: number;
}): { at: number; size: number } | undefined {
  for (const size of [1, 2, 4, 8]) {
    const at = Math.floor(bits.offset / 8 / size) * size;
    if (at * 8 + size * 8 >= bits.offset + bits.width && at + size <= bits.recordSize) return { at, size };
  }
  return undefined;
}

export function loadPlace(cx: LowerContext, place: Place): Value {
  const { builder } = cx;
  const type = scalarType(place.type);
  const address = cx.addressOf(place);
  const flags = (place.volatile ? FLAG.VOLATILE : 0) | (pointsToRecord(place.type) ? FLAG.RECORD : 0);
  if (type === undefined || type === 'void') return address;
  if (place.bits === undefined) {
    const inst = builder.load(type as MemType, address, flags);
    inst.alias = aliasTag(place);
    return inst;
  }
  const { offset, width } = place.bits;
  const unit = unitOf(place.bits);
  let value: Value;
  let shift: number;
  if (unit !== undefined) {
    value = builder.load(intType(unit.size * 8) as MemType, builder.ptradd(address, BigInt(unit.at)), flags);
    shift = offset - unit.at * 8;
  } else {
    value = loadBytes(cx, address, offset, width);
    shift = 0;
  }
  // Bits to the top, then down again with the sign.
  const work = width + shift > 32 || type === 'i64' ? 'i64' : 'i32';
  value = builder.resize(value, work, false);
  const total = work === 'i64' ? 64 : 32;
  if (isSigned(place.type)) {
    value = shiftBy(cx, 'shl', value, total - shift - width);
    value = shiftBy(cx, 'ashr', value, total - width);
  } else {
    value = shiftBy(cx, 'lshr', value, shift);
    if (width < total) value = builder.binary('and', value, constant(work, (1n << BigInt(width)) - 1n));
  }
  return builder.resize(value, type, isSigned(place.type));
}

function shiftBy(cx: LowerContext, op: 'shl' | 'lshr' | 'ashr', value: Value, by: number): Value {
  return by === 0 ? value : cx.builder.binary(op, value, constant(value.type, BigInt(by)));
}

/** Packed bit-fields that no aligned unit holds: byte by byte, shifted to bit 0. */
function loadBytes(cx: LowerContext, address: Value, offset: number, width: number): Value {
  const { builder } = cx;
  const first = Math.floor(offset / 8);
  const skip = offset - first * 8;
  let whole: Value = constant('i64', 0n);
  for (let i = 0; i * 8 < skip + width; i++) {
    const byte = builder.resize(builder.load('i8', builder.ptradd(address, BigInt(first + i))), 'i64', false);
    const to = i * 8 - skip;
    const moved = to >= 0 ? shiftBy(cx, 'shl', byte, to) : shiftBy(cx, 'lshr', byte, -to);
    whole = isConst(whole) ? moved : builder.binary('or', whole, moved);
  }
  return whole;
}

export function storePlace(cx: LowerContext, place: Place, value: Value): void {
  const { builder } = cx;
  const address = cx.addressOf(place);
  const flags = place.volatile ? FLAG.VOLATILE : 0;
  if (place.bits === undefined) {
    builder.store(value, address, flags).alias = aliasTag(place);
    return;
  }
  const { offset, width } = place.bits;
  const unit = unitOf(place.bits);
  if (unit === undefined) {
    storeBytes(cx, address, offset, width, value);
    return;
  }
  const at = builder.ptradd(address, BigInt(unit.at));
  const type = intType(unit.size * 8) as MemType;
  const shift = offset - unit.at * 8;
  if (width === unit.size * 8) {
    builder.store(builder.resize(value, type, false), at, flags);
    return;
  }
  const work = type === 'i64' ? 'i64' : 'i32';
  const mask = ((1n << BigInt(width)) - 1n) << BigInt(shift);
  const old = builder.resize(builder.load(type, at, flags), work, false);
  const kept = builder.binary('and', old, constant(work, ~mask));
  let added = builder.binary(
    'and',
    builder.resize(value, work, false),
    constant(work, mask >> BigInt(shift)),
  );
  if (shift > 0) added = builder.binary('shl', added, constant(work, BigInt(shift)));
  builder.store(builder.resize(builder.binary('or', kept, added), type, false), at, flags);
}

function storeBytes(cx: LowerContext, address: Value, offset: number, width: number, value: Value): void {
  const { builder } = cx;
  const wide = builder.resize(value, 'i64', false);
  for (let bit = 0; bit < width; ) {
    const byte = Math.floor((offset + bit) / 8);
    const skip = offset + bit - byte * 8;
    const take = Math.min(8 - skip, width - bit);
    const at = builder.ptradd(address, BigInt(byte));
    const mask = ((1n << BigInt(take)) - 1n) << BigInt(skip);
    let piece = shiftBy(cx, 'lshr', wide, bit);
    piece = builder.binary('and', piece, constant('i64', (1n << BigInt(take)) - 1n));
    piece = shiftBy(cx, 'shl', piece, skip);
    if (take < 8) {
      const old = builder.resize(builder.load('i8', at), 'i64', false);
      piece = builder.binary('or', builder.binary('and', old, constant('i64', ~mask)), piece);
    }
    builder.store(builder.resize(piece, 'i8', false), at);
    bit += take;
  }
}

/** The value that a bit-field holds after the store: what an assignment gives. */
export function truncateToField(cx: LowerContext, place: Place, value: Value): Value {
  const { bits } = place;
  if (bits === undefined) return value;
  const total = sizeOf(place.type) * 8;
  if (bits.width >= total || isBool(place.type)) return value;
  if (isSigned(place.type)) {
    const up = shiftBy(cx, 'shl', value, total - bits.width);
    return shiftBy(cx, 'ashr', up, total - bits.width);
  }
  return cx.builder.binary('and', value, constant(value.type, (1n << BigInt(bits.width)) - 1n));
}

/** `count` zero bytes. */
export function clear(cx: LowerContext, address: Value, count: number, align: number): void {
  if (count === 0) return;
  cx.builder.memory('memset', address, constant('i8', 0n), constant('i64', BigInt(count)), align);
}

export function copy(cx: LowerContext, to: Value, from: Value, type: CType): void {
  const size = sizeOf(type);
  if (size === 0 || to === from) return;
  const inst = cx.builder.memory('memcpy', to, from, constant('i64', BigInt(size)), alignOf(type));
  if (isVolatile(type)) inst.flags |= FLAG.VOLATILE;
}

const STORED_STRING = 64;

export function initialise(cx: LowerContext, decl: VarDecl, address: Value): void {
  if (decl.init !== null) initialiseObject(cx, decl.init, address);
}

export function initialiseObject(cx: LowerContext, init: Initializer, address: Value): void {
  const { builder } = cx;
  const size = sizeOf(init.type);
  if (init.zero) {
    const covered = init.entries.reduce(
      (sum, entry) => sum + (entry.bits === null && entry.value.kind !== 'string' ? sizeOf(entry.type) : 0),
      0,
    );
    if (covered < size) {
      builder.loc = init.loc;
      clear(cx, address, size, alignOf(init.type));
    }
  }
  for (const entry of init.entries) {
    const at = (): Value => builder.ptradd(address, BigInt(entry.offset));
    builder.loc = entry.value.loc;
    if (entry.value.kind === 'string') {
      const bytes = entry.value.bytes.subarray(0, sizeOf(entry.type));
      storeText(cx, entry.value, bytes, at());
    } else if (isAggregate(entry.type)) cx.evaluateInto(at(), entry.value);
    else if (entry.bits !== null) {
      const value = cx.value(entry.value);
      const place: Place = {
        ...plainPlace(address, entry.type),
        bits: { offset: entry.bits.offset, width: entry.bits.width, recordSize: size },
      };
      storePlace(cx, place, value);
    } else {
      const value = cx.value(entry.value);
      builder.store(value, at(), isVolatile(init.type) ? FLAG.VOLATILE : 0);
    }
  }
}

/** Short strings become constants in the instructions, longer ones are copied out of `.rodata`. */
function storeText(
  cx: LowerContext,
  expr: Extract<Initializer['entries'][number]['value'], { kind: 'string' }>,
  bytes: Uint8Array,
  address: Value,
): void {
  const { builder } = cx;
  if (bytes.length > STORED_STRING) {
    const from = cx.module.literal(expr);
    builder.memory('memcpy', address, from, constant('i64', BigInt(bytes.length)), 1);
    return;
  }
  for (let at = 0; at < bytes.length; ) {
    const left = bytes.length - at;
    const size = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i]!);
    builder.store(constant(intType(size * 8), value), builder.ptradd(address, BigInt(at)));
    at += size;
  }
}
