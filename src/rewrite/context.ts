/**
 * Accesses to a context facade (`xdp_md`, `__sk_buff` …) become accesses to the modelled context, by the `backing` of the
 * field's row. Memory is little-endian, so that a narrow load is a load of those bytes; no shift and mask are needed.
 */
import { accessBytes, insnMode, insnSize, MODE, SIZE } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import type { CtxField, CtxLayout } from '../spec/types.ts';
import { InternalError } from '../util/errors.ts';

const SIZE_BITS: Readonly<Record<number, number>> = { 1: SIZE.B, 2: SIZE.H, 4: SIZE.W, 8: SIZE.DW };

function resized(insn: Insn, bytes: number, off: number): Insn {
  const code = (insn.code & ~insnSize(0xff)) | SIZE_BITS[bytes]!;
  return { ...insn, code, off };
}

/** Zero-extending form of a load, which is what a load of less than was asked for needs. */
function zeroExtended(insn: Insn): Insn {
  return insnMode(insn.code) === MODE.MEMSX ? { ...insn, code: (insn.code & 0x1f) | MODE.MEM } : insn;
}

function fieldAt(layout: CtxLayout, offset: number): CtxField | undefined {
  return layout.fields.find((field) => offset >= field.offset && offset < field.offset + field.size);
}

const isPointer = (field: CtxField): boolean => field.kind !== undefined && field.kind !== 'scalar';

/**
 * The load or store that stands for `insn`, which accesses the context at `ctxOffset`. Null: nothing is left of it (a
 * store to bytes that are not kept). A load of bytes that are not kept becomes a move of 0.
 */
export function convertContextAccess(
  layout: CtxLayout,
  insn: Insn,
  ctxOffset: number,
  write: boolean,
): Insn | null {
  if (layout.access === 'raw') return insn;
  const field = fieldAt(layout, ctxOffset);
  if (field === undefined)
    throw new InternalError(`verified access at offset ${ctxOffset} of ${layout.struct}, where no field is`);
  const { backing } = field;
  if (backing === undefined) return insn;
  // The base register may be the context plus a constant.
  const base = insn.off - ctxOffset;
  if (isPointer(field) && !write) return resized(zeroExtended(insn), backing.size, base + backing.offset);
  const asked = accessBytes(insn.code);
  const skip = ctxOffset - field.offset;
  // An access over two neighbouring fields, whose backings are neighbours as well.
  const wide = skip + asked > field.size ? fieldAt(layout, field.offset + field.size) : undefined;
  const joined = wide?.backing !== undefined && wide.backing.offset === backing.offset + backing.size;
  const kept = Math.min(asked, backing.size + (joined ? wide.backing.size : 0) - skip);
  if (kept <= 0) return write ? null : { code: 0xb7, dst: insn.dst, src: 0, off: 0, imm: 0 };
  if (kept === asked) return { ...insn, off: base + backing.offset + skip };
  return resized(write ? insn : zeroExtended(insn), kept, base + backing.offset + skip);
}
