/**
 * Struct and union layout as clang does it for the BPF target (the Itanium rules without bases): every field at its
 * alignment, bit-fields packed into the storage units of their declared types, zero-width ones end the unit.
 */
import { core, type Field, type IntegerType, type RecordType } from '../ast/index.ts';
import { alignOf, sizeOf } from './arithmetic-types.ts';

/** Largest object clang lets one have here, in bytes. */
export const MAX_OBJECT_SIZE = 2 ** 61;

/** An unnamed bit-field: no field, but it takes room in front of the field of that index. */
export interface Padding {
  readonly before: number;
  readonly type: Field['type'];
  readonly width: number;
  readonly packed: boolean;
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}

/** Sets the offsets of all fields, and size and alignment of the record. `paddings` in order; `pack`: from `#pragma pack`, in bytes, or 0. */
export function layoutRecord(record: RecordType, paddings: readonly Padding[] | null, pack: number): void {
  const { union, attributes, fields } = record;
  const recordPacked = attributes.packed === true;
  let align = 1;
  /** In bits. */
  let at = 0;
  let size = 0;
  let nextPadding = 0;
  for (let i = 0; ; ) {
    const padding =
      paddings !== null && paddings[nextPadding]?.before === i ? paddings[nextPadding++]! : null;
    if (padding === null && i === fields.length) break;
    const field = padding === null ? fields[i++]! : null;
    const member = padding ?? field!;
    const { type } = member;
    const packed = recordPacked || member.packed;
    const asked = field === null ? 0 : field.alignAttribute;
    const width = padding === null ? field!.bitWidth : padding.width;
    let natural = alignOf(type);
    if (width === null) {
      if (packed) natural = 1;
      if (asked > natural) natural = asked;
      if (pack > 0 && natural > pack) natural = pack;
      const bytes = sizeOf(type);
      if (union) {
        field!.offset = 0;
        if (bytes * 8 > size) size = bytes * 8;
      } else {
        at = roundUp(at, natural * 8);
        field!.offset = at;
        at += bytes * 8;
        if (at > size) size = at;
      }
      if (natural > align) align = natural;
      continue;
    }
    const unit = sizeOf(type) * 8;
    // In bits: a packed bit-field may stand anywhere; `#pragma pack` also lets it cross its unit.
    let unitAlign = packed && width > 0 ? 1 : natural * 8;
    if (asked > 0) unitAlign = Math.max(unitAlign, asked * 8);
    // Under `#pragma pack`, `packed` says nothing more (as clang has it).
    if (pack > 0 && width > 0) unitAlign = Math.min(Math.max(natural, asked), pack) * 8;
    let place = union ? 0 : at;
    if (width === 0 || (pack === 0 && (place % unitAlign) + width > unit)) place = roundUp(place, unitAlign);
    else if (asked > 0 && (pack === 0 || asked <= pack)) place = roundUp(place, asked * 8);
    if (field !== null) field.offset = place;
    if (union) {
      if (width > size) size = width;
    } else {
      at = place + width;
      if (at > size) size = at;
    }
    // Unnamed bit-fields do not raise the alignment of the record.
    if (field !== null && unitAlign / 8 > align) align = Math.max(align, Math.ceil(unitAlign / 8));
  }
  if (attributes.aligned !== undefined && attributes.aligned > align) align = attributes.aligned;
  record.align = align;
  record.size = roundUp(Math.ceil(size / 8), align);
}

/** The widest a bit-field of this type may be. */
export function maxBitWidth(type: Field['type']): number {
  const at = core(type);
  if (at.kind === 'enum') return at.underlying.size * 8;
  return (at as IntegerType).bool ? 1 : (at as IntegerType).size * 8;
}
