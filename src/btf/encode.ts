/**
 * Turns JavaScript values into bytes as a BTF type says: the inverse of `formatValue`. Missing members are zero; a value
 * that does not fit is refused with the path to it.
 */
import { BpfError } from '../util/errors.ts';
import { BTF_MAX_DEPTH, type Btf } from './btf.ts';
import type { BtfComposite, BtfEnum, BtfInt } from './types.ts';

/** What `encodeValue` takes: numbers, text (enumerators, character arrays), arrays, objects, raw bytes. */
export type BtfInput =
  | number
  | bigint
  | boolean
  | string
  | null
  | undefined
  | Uint8Array
  | readonly BtfInput[]
  | { readonly [name: string]: BtfInput };

/** Where what a pointer points to is put: gives its address. `type` is the id of what it points to; called from the inside out. */
export type PointerTarget = (type: number, value: BtfInput, path: string) => bigint;

/**
 * The bytes of `value` as type `id`, little-endian; throws BpfError EINVAL or ERANGE naming the member. Pointers take addresses, and
 * with `pointTo` also the value that they point to.
 */
export function encodeValue(btf: Btf, id: number, value: BtfInput, pointTo?: PointerTarget): Uint8Array {
  const bytes = new Uint8Array(btf.sizeOf(id));
  const path = btf.name(id) || 'value';
  write({ btf, bytes, pointTo }, id, value, { bitOffset: 0, bits: 0, path, depth: 0 });
  return bytes;
}

interface Target {
  readonly btf: Btf;
  readonly bytes: Uint8Array;
  readonly pointTo: PointerTarget | undefined;
}

interface Place {
  readonly bitOffset: number;
  /** Width of a bit-field, 0: the type's own. */
  readonly bits: number;
  readonly path: string;
  readonly depth: number;
}

function write(target: Target, id: number, value: BtfInput, place: Place): void {
  if (place.depth > BTF_MAX_DEPTH) throw new BpfError('ELOOP', `${place.path}: types nest too deeply`);
  if (value === undefined || value === null) return;
  const type = target.btf.resolved(id);
  if (value instanceof Uint8Array && (type.kind !== 'ptr' || target.pointTo === undefined)) {
    const size = target.btf.sizeOf(id);
    if (value.length !== size)
      throw new BpfError('EINVAL', `${place.path} has ${size} bytes, not ${value.length}`);
    target.bytes.set(value, place.bitOffset / 8);
    return;
  }
  switch (type.kind) {
    case 'int':
      writeInt(target, type, value, place);
      return;
    case 'ptr': {
      const address =
        target.pointTo !== undefined && (typeof value === 'object' || isText(value))
          ? target.pointTo(type.type, value, place.path)
          : toBigint(value, place);
      writeBits(target, address, place.bits || 64, false, place);
      return;
    }
    case 'enum':
    case 'enum64':
      writeEnum(target, type, value, place);
      return;
    case 'float':
      writeFloat(target, type.size, value, place);
      return;
    case 'array':
      writeArray(target, { element: type.type, count: type.count }, value, place);
      return;
    case 'struct':
    case 'union':
      writeComposite(target, type, value, place);
      return;
    default:
      throw new BpfError('EINVAL', `${place.path}: a value of kind ${type.kind} cannot be written`);
  }
}

function writeInt(target: Target, type: BtfInt, value: BtfInput, place: Place): void {
  const bits = place.bits || type.bits;
  // A single character stands for its code, as in C.
  const char = type.char && typeof value === 'string' && value.length === 1 && !/\d/.test(value);
  writeBits(
    target,
    char ? BigInt((value as string).charCodeAt(0)) : toBigint(value, place),
    bits,
    type.signed,
    place,
  );
}

function writeEnum(target: Target, type: BtfEnum, value: BtfInput, place: Place): void {
  const bits = place.bits || type.size * 8;
  const named = typeof value === 'string' ? type.values.find((one) => one.name === value) : undefined;
  writeBits(target, named === undefined ? toBigint(value, place) : named.value, bits, type.signed, place);
}

function writeFloat(target: Target, size: number, value: BtfInput, place: Place): void {
  if (typeof value !== 'number') throw new BpfError('EINVAL', `${place.path} takes a number`);
  const view = new DataView(target.bytes.buffer);
  if (size === 4) view.setFloat32(place.bitOffset / 8, value, true);
  else if (size === 8) view.setFloat64(place.bitOffset / 8, value, true);
  else throw new BpfError('EINVAL', `${place.path}: floats of ${size} bytes cannot be written`);
}

function writeArray(
  target: Target,
  array: { element: number; count: number },
  value: BtfInput,
  place: Place,
): void {
  const size = target.btf.sizeOf(array.element);
  if (typeof value === 'string' && size === 1) {
    const text = new TextEncoder().encode(value);
    if (text.length > array.count)
      throw new BpfError(
        'ERANGE',
        `${place.path} has room for ${array.count} bytes, '${value}' has ${text.length}`,
      );
    target.bytes.set(text, place.bitOffset / 8);
    return;
  }
  if (!Array.isArray(value)) throw new BpfError('EINVAL', `${place.path} takes an array of ${array.count}`);
  if (value.length > array.count)
    throw new BpfError('ERANGE', `${place.path} has ${array.count} elements, not ${value.length}`);
  value.forEach((element: BtfInput, i) => {
    write(target, array.element, element, {
      bitOffset: place.bitOffset + i * size * 8,
      bits: 0,
      path: `${place.path}[${i}]`,
      depth: place.depth + 1,
    });
  });
}

function writeComposite(target: Target, type: BtfComposite, value: BtfInput, place: Place): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new BpfError(
      'EINVAL',
      `${place.path} takes an object with the members of ${type.kind} ${type.name}`,
    );
  }
  const given = value as Readonly<Record<string, BtfInput>>;
  const left = new Set(Object.keys(given));
  const visit = (composite: BtfComposite, base: number, depth: number): void => {
    if (depth > BTF_MAX_DEPTH) throw new BpfError('ELOOP', `${place.path}: types nest too deeply`);
    for (const member of composite.members) {
      const bitOffset = base + member.bitOffset;
      if (member.name === '') {
        const inner = target.btf.resolved(member.type);
        if (inner.kind === 'struct' || inner.kind === 'union') visit(inner, bitOffset, depth + 1);
        continue;
      }
      if (!left.delete(member.name)) continue;
      write(target, member.type, given[member.name], {
        bitOffset,
        bits: target.btf.bitfieldSize(member),
        path: `${place.path}.${member.name}`,
        depth: depth + 1,
      });
    }
  };
  visit(type, place.bitOffset, place.depth);
  const [unknown] = left;
  if (unknown !== undefined) {
    const names = type.members.map((member) => member.name).filter(Boolean);
    throw new BpfError('EINVAL', `${place.path} has no member '${unknown}'`, {
      hint: `it has ${names.join(', ')}`,
    });
  }
}

const INTEGER = /^-?(0x[0-9a-f]+|\d+)$/i;

const isText = (value: BtfInput): boolean => typeof value === 'string' && !INTEGER.test(value);

function toBigint(value: BtfInput, place: Place): bigint {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'boolean') return value ? 1n : 0n;
  if (typeof value === 'number' && Number.isInteger(value)) return BigInt(value);
  if (typeof value === 'string' && INTEGER.test(value)) {
    return value.startsWith('-') ? -BigInt(value.slice(1)) : BigInt(value);
  }
  throw new BpfError('EINVAL', `${place.path} takes an integer, not ${JSON.stringify(value)}`);
}

function writeBits(target: Target, value: bigint, bits: number, signed: boolean, place: Place): void {
  const low = signed ? -(1n << BigInt(bits - 1)) : 0n;
  // Unsigned fields take negative numbers that fit as two's complement, and signed ones their unsigned form, as C does.
  const fits = value >= low - (signed ? 0n : 1n << BigInt(bits - 1)) && value < 1n << BigInt(bits);
  if (!fits) throw new BpfError('ERANGE', `${place.path} has ${bits} bits: ${value} does not fit`);
  let rest = BigInt.asUintN(bits, value);
  let at = place.bitOffset;
  for (let left = bits; left > 0; ) {
    const shift = at % 8;
    const take = Math.min(8 - shift, left);
    const mask = ((1 << take) - 1) << shift;
    const index = Math.floor(at / 8);
    target.bytes[index] = (target.bytes[index] & ~mask) | ((Number(rest & 0xffn) << shift) & mask);
    rest >>= BigInt(take);
    at += take;
    left -= take;
  }
}
