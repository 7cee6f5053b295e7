/** Instructions to bytes (RFC 9669 section 3): the inverse of `decodeProgram`. */
import type { Insn } from '../contracts/insn.ts';
import { BpfError } from '../util/index.ts';
import { type ByteOrder, INSN_SIZE } from './decode.ts';

const FIELD_RANGES = [
  ['code', 0, 0xff],
  ['dst', 0, 0x0f],
  ['src', 0, 0x0f],
  ['off', -0x8000, 0x7fff],
  ['imm', -0x8000_0000, 0x7fff_ffff],
] as const;

function refuse(insn: Insn, i: number): never {
  for (const [field, min, max] of FIELD_RANGES) {
    const value = insn[field];
    if (Number.isInteger(value) && value >= min && value <= max) continue;
    throw new BpfError('EINVAL', `instruction ${i}: ${field} = ${value} does not fit`, {
      hint: `${field} is an integer from ${min} to ${max}`,
    });
  }
  throw new BpfError('EINVAL', `instruction ${i} does not fit`);
}

/** Encodes a program to 8 bytes a slot. Throws BpfError EINVAL where a field does not fit its bits. */
export function encodeProgram(insns: readonly Insn[], options: ByteOrder = {}): Uint8Array {
  const bytes = new Uint8Array(insns.length * INSN_SIZE);
  const view = new DataView(bytes.buffer);
  const little = options.bigEndian !== true;
  insns.forEach((insn, i) => {
    const { code, dst, src, off, imm } = insn;
    const fits =
      code === (code & 0xff) &&
      dst === (dst & 0x0f) &&
      src === (src & 0x0f) &&
      off === (off << 16) >> 16 &&
      imm === (imm | 0);
    if (!fits) refuse(insn, i);
    const at = i * INSN_SIZE;
    view.setUint8(at, code);
    view.setUint8(at + 1, little ? (src << 4) | dst : (dst << 4) | src);
    view.setInt16(at + 2, off, little);
    view.setInt32(at + 4, imm, little);
  });
  return bytes;
}
