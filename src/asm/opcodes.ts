/**
 * The numbers of the instruction encoding (RFC 9669 sections 3 to 5; linux/bpf.h, linux/bpf_common.h).
 *
 * An opcode byte is class (low 3 bits) plus, for arithmetic and jumps, source bit 3 and operation (high 4 bits), or,
 * for loads and stores, size (bits 3–4) and mode (high 3 bits).
 */

/** Instruction classes: the low three bits. */
export const CLASS = { LD: 0, LDX: 1, ST: 2, STX: 3, ALU: 4, JMP: 5, JMP32: 6, ALU64: 7 } as const;

/** Source bit of arithmetic and jumps: the immediate, or the source register. */
export const SOURCE = { K: 0x00, X: 0x08 } as const;

/** Arithmetic operations: the high four bits. */
export const ALU_OP = {
  ADD: 0x00,
  SUB: 0x10,
  MUL: 0x20,
  DIV: 0x30,
  OR: 0x40,
  AND: 0x50,
  LSH: 0x60,
  RSH: 0x70,
  NEG: 0x80,
  MOD: 0x90,
  XOR: 0xa0,
  MOV: 0xb0,
  ARSH: 0xc0,
  END: 0xd0,
} as const;

/** Jump operations: the high four bits. */
export const JMP_OP = {
  JA: 0x00,
  JEQ: 0x10,
  JGT: 0x20,
  JGE: 0x30,
  JSET: 0x40,
  JNE: 0x50,
  JSGT: 0x60,
  JSGE: 0x70,
  CALL: 0x80,
  EXIT: 0x90,
  JLT: 0xa0,
  JLE: 0xb0,
  JSLT: 0xc0,
  JSLE: 0xd0,
  JCOND: 0xe0,
} as const;

/** Access sizes of loads and stores: bits 3 and 4. */
export const SIZE = { W: 0x00, H: 0x08, B: 0x10, DW: 0x18 } as const;

/** Immediate of a NOSPEC instruction that is a check of the run's budget. */
export const BUDGET_CHECK_IMM = 1;

/** Modes of loads and stores: the high three bits. NOSPEC is the kernel's own speculation barrier, never loaded. */
export const MODE = {
  IMM: 0x00,
  ABS: 0x20,
  IND: 0x40,
  MEM: 0x60,
  MEMSX: 0x80,
  ATOMIC: 0xc0,
  NOSPEC: 0xc0,
} as const;

/** The immediate of an atomic instruction. FETCH is a flag on ADD, OR, AND and XOR. */
export const ATOMIC = {
  ADD: 0x00,
  OR: 0x40,
  AND: 0x50,
  XOR: 0xa0,
  FETCH: 0x01,
  XCHG: 0xe1,
  CMPXCHG: 0xf1,
  LOAD_ACQ: 0x100,
  STORE_REL: 0x110,
} as const;

/** What the source register field of a 64-bit immediate load says about the immediate. */
export const PSEUDO = {
  NONE: 0,
  MAP_FD: 1,
  MAP_VALUE: 2,
  BTF_ID: 3,
  FUNC: 4,
  MAP_IDX: 5,
  MAP_IDX_VALUE: 6,
} as const;

/** What the source register field of a call says. */
export const CALL = { HELPER: 0, LOCAL: 1, KFUNC: 2 } as const;

/** Offsets of a 64-bit register move that turn it into another instruction. */
export const MOV_OFF = { ADDR_SPACE_CAST: 1, PERCPU: -1 } as const;

/** The opcode byte of a 64-bit immediate load: the only instruction of two slots. */
export const LD_IMM64 = CLASS.LD | SIZE.DW | MODE.IMM;

export const insnClass = (code: number): number => code & 0x07;
export const insnSource = (code: number): number => code & 0x08;
export const insnOp = (code: number): number => code & 0xf0;
export const insnSize = (code: number): number => code & 0x18;
export const insnMode = (code: number): number => code & 0xe0;

const SIZE_BYTES: readonly number[] = [4, 2, 1, 8];

/** Bytes that a load or store with this opcode moves: 1, 2, 4 or 8. */
export function accessBytes(code: number): number {
  return SIZE_BYTES[insnSize(code) >> 3]!;
}
