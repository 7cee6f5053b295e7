/**
 * One instruction as decoded from its 8 bytes (RFC 9669 section 3; linux/bpf.h: struct bpf_insn).
 *
 * A program is an array with one entry per 8-byte slot, so that indexes are the kernel's. The second slot of a 64-bit
 * immediate load is an entry with `code` 0 whose `imm` is the upper half.
 */
export interface Insn {
  /** Opcode, 0..255. */
  code: number;
  /** Destination register, 0..15 as encoded (valid: 0..10). */
  dst: number;
  /** Source register, 0..15 as encoded. */
  src: number;
  /** Signed 16-bit offset. */
  off: number;
  /** Signed 32-bit immediate. */
  imm: number;
}
