/** Reading and writing structures by the generated layouts: fields by their UAPI names, bit-fields included. */
import type { UapiField, UapiLayout } from '../uapi/index.ts';
import { readCString, utf8 } from '../util/bytes.ts';
import { BpfError, InternalError } from '../util/errors.ts';

export type FieldValue = number | bigint | string;

const HIGH_HALF = 2 ** 32;
const INDEXES = new WeakMap<UapiLayout, Map<string, UapiField>>();

export function fieldOf(layout: UapiLayout, name: string): UapiField {
  let index = INDEXES.get(layout);
  if (index === undefined) {
    index = new Map(layout.fields.map((field) => [field.name, field]));
    INDEXES.set(layout, index);
  }
  const field = index.get(name);
  if (field === undefined) throw new InternalError(`struct ${layout.name} has no field ${name}`);
  return field;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Numbers of up to 8 bytes, negative ones as two's complement; strings into character arrays, cut so that a NUL remains. */
export function writeField(view: DataView, field: UapiField, value: FieldValue): void {
  if (field.bits !== undefined) {
    const mask = ((1n << BigInt(field.bits)) - 1n) << BigInt(field.bit ?? 0);
    const old = readUnsigned(view, field);
    const shifted = (BigInt(value) << BigInt(field.bit ?? 0)) & mask;
    writeUnsigned(view, field, (old & ~mask) | shifted);
    return;
  }
  if (typeof value === 'string') {
    const place = new Uint8Array(view.buffer, view.byteOffset + field.offset, field.size).fill(0);
    place.set(utf8(value).subarray(0, field.size - 1));
  } else if (typeof value === 'number' && field.size === 4) {
    if (value >>> 0 !== value && (value | 0) !== value) throw doesNotFit(field, value);
    view.setUint32(field.offset, value, true);
  } else if (typeof value === 'number' && field.size === 8 && value >= 0) {
    // Most values are addresses: no bigint for them.
    if (!Number.isSafeInteger(value)) throw doesNotFit(field, value);
    view.setUint32(field.offset, value, true);
    view.setUint32(field.offset + 4, value / HIGH_HALF, true);
  } else {
    if (typeof value === 'number' && !Number.isSafeInteger(value)) throw doesNotFit(field, value);
    const wide = BigInt(value);
    const bits = 8 * field.size;
    if (BigInt.asUintN(bits, wide) !== wide && BigInt.asIntN(bits, wide) !== wide)
      throw doesNotFit(field, value);
    writeUnsigned(view, field, wide);
  }
}

function doesNotFit(field: UapiField, value: number | bigint): BpfError {
  return new BpfError('EINVAL', `${field.name} = ${value} does not fit into ${field.size} bytes`);
}

export function readUnsigned(view: DataView, field: UapiField): bigint {
  switch (field.size) {
    case 1:
      return BigInt(view.getUint8(field.offset));
    case 2:
      return BigInt(view.getUint16(field.offset, true));
    case 4:
      return BigInt(view.getUint32(field.offset, true));
    case 8:
      return view.getBigUint64(field.offset, true);
    default:
      throw new InternalError(`field ${field.name} of ${field.size} bytes is no number`);
  }
}

function writeUnsigned(view: DataView, field: UapiField, value: bigint): void {
  switch (field.size) {
    case 1:
      view.setUint8(field.offset, Number(BigInt.asUintN(8, value)));
      return;
    case 2:
      view.setUint16(field.offset, Number(BigInt.asUintN(16, value)), true);
      return;
    case 4:
      view.setUint32(field.offset, Number(BigInt.asUintN(32, value)), true);
      return;
    case 8:
      view.setBigUint64(field.offset, BigInt.asUintN(64, value), true);
      return;
    default:
      throw new InternalError(`field ${field.name} of ${field.size} bytes is no number`);
  }
}

/** A structure in bytes, read and written by field names. Fields behind the end of `bytes` read as 0 (older kernels). */
export class Struct {
  readonly layout: UapiLayout;
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(layout: UapiLayout, bytes: Uint8Array) {
    this.layout = layout;
    this.bytes = bytes;
    this.#view = viewOf(bytes);
  }

  set(values: Readonly<Record<string, FieldValue | undefined>>): this {
    for (const [name, value] of Object.entries(values)) {
      if (value !== undefined) writeField(this.#view, fieldOf(this.layout, name), value);
    }
    return this;
  }

  u64(name: string): bigint {
    const field = fieldOf(this.layout, name);
    if (field.offset + field.size > this.bytes.length) return 0n;
    const whole = readUnsigned(this.#view, field);
    if (field.bits === undefined) return whole;
    return (whole >> BigInt(field.bit ?? 0)) & ((1n << BigInt(field.bits)) - 1n);
  }

  u32(name: string): number {
    return Number(this.u64(name));
  }

  s32(name: string): number {
    return this.u32(name) | 0;
  }

  text(name: string): string {
    const field = fieldOf(this.layout, name);
    return readCString(this.bytes, field.offset, field.offset + field.size);
  }

  part(name: string): Uint8Array {
    const field = fieldOf(this.layout, name);
    return this.bytes.slice(field.offset, field.offset + field.size);
  }
}
