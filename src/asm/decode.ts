/**
 * Bytes to instructions and back (RFC 9669 section 3). One entry per 8-byte slot, so that indexes are the kernel's;
 * nothing is judged here but the length, so that `encodeProgram(decodeProgram(b))` equals `b` for every input.
 */
import type { Insn } from '../contracts/insn.ts';
import { BpfError } from '../util/index.ts';

export const INSN_SIZE = 8;

export interface ByteOrder {
  /** The bytes are those of a big-endian object: fields big-endian, register nibbles swapped. */
  readonly bigEndian?: boolean;
}

/** Decodes a program. Throws BpfError EINVAL where the length is not a multiple of 8 bytes. */
export function decodeProgram(bytes: Uint8Array, options: ByteOrder = {}): Insn[] {
  if (bytes.length % INSN_SIZE !== 0) {
    throw new BpfError(
      'EINVAL',
      `a program of ${bytes.length} bytes ends inside an instruction: byte ${bytes.length - (bytes.length % INSN_SIZE)}`,
      { hint: 'instructions are 8 bytes each; give a whole section or a multiple of 8 bytes' },
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = options.bigEndian !== true;
  const insns: Insn[] = new Array(bytes.length / INSN_SIZE);
  for (let i = 0; i < insns.length; i++) {
    const at = i * INSN_SIZE;
    const regs = view.getUint8(at + 1);
    insns[i] = {
      code: view.getUint8(at),
      dst: little ? regs & 0x0f : regs >> 4,
      src: little ? regs >> 4 : regs & 0x0f,
      off: view.getInt16(at + 2, little),
      imm: view.getInt32(at + 4, little),
    };
  }
  return insns;
}
