/**
 * Instruction constructors, by operation, width and operands: `alu64('add', R1, imm(5))`. Every one looks its row up in
 * the instruction table, so what the table lacks cannot be made (BpfError EINVAL).
 */
import type { Insn } from '../contracts/insn.ts';
import { BpfError } from '../util/index.ts';
import { helperIdByName } from './helpers.ts';
import { rowByName } from './lookup.ts';
import type { InsnRow } from './table.ts';

/** A register number, 0 to 10. R10 is the read-only frame pointer. */
export type Reg = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10;

export const R0 = 0 as const;
export const R1 = 1 as const;
export const R2 = 2 as const;
export const R3 = 3 as const;
export const R4 = 4 as const;
export const R5 = 5 as const;
export const R6 = 6 as const;
export const R7 = 7 as const;
export const R8 = 8 as const;
export const R9 = 9 as const;
export const R10 = 10 as const;

export type AluOp =
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'or'
  | 'and'
  | 'lsh'
  | 'rsh'
  | 'mod'
  | 'xor'
  | 'mov'
  | 'arsh'
  | 'sdiv'
  | 'smod';

export type JumpOp =
  | 'jeq'
  | 'jgt'
  | 'jge'
  | 'jset'
  | 'jne'
  | 'jsgt'
  | 'jsge'
  | 'jlt'
  | 'jle'
  | 'jslt'
  | 'jsle';

/** Access sizes as the kernel names them: 1, 2, 4 and 8 bytes. */
export type MemSize = 'b' | 'h' | 'w' | 'dw';

export type AtomicOp =
  | 'add'
  | 'or'
  | 'and'
  | 'xor'
  | 'fetch_add'
  | 'fetch_or'
  | 'fetch_and'
  | 'fetch_xor'
  | 'xchg'
  | 'cmpxchg';

export type Width = 32 | 64;

const BITS: Readonly<Record<MemSize, number>> = { b: 8, h: 16, w: 32, dw: 64 };

export interface Operands {
  readonly dst?: number;
  readonly src?: number;
  readonly off?: number;
  /** Any 32 bits: -2^31 to 2^32-1. */
  readonly imm?: number;
}

function checked(value: number, min: number, max: number, what: string): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new BpfError('EINVAL', `${what}: ${value} is not an integer from ${min} to ${max}`);
}

function rowNamed(name: string): InsnRow {
  const row = rowByName(name);
  if (row !== undefined) return row;
  throw new BpfError('EINVAL', `there is no instruction ${name}`, {
    hint: 'the names of all instructions are those of INSN_ROWS: add64_imm, ldx8, jeq32_reg, …',
  });
}

/** The instruction of a row of the table by name: `insn('add64_imm', { dst: 1, imm: 5 })`. One slot. */
export function insn(name: string, operands: Operands = {}): Insn {
  const { code, fixed } = rowNamed(name);
  return {
    code,
    dst: checked(operands.dst ?? 0, 0, 10, `${name}: dst`),
    src: checked(operands.src ?? fixed.src ?? 0, 0, 15, `${name}: src`),
    off: checked(operands.off ?? fixed.off ?? 0, -0x8000, 0x7fff, `${name}: off`),
    imm: checked(operands.imm ?? fixed.imm ?? 0, -0x8000_0000, 0xffff_ffff, `${name}: imm`) | 0,
  };
}

// ---------------------------------------------------------------------------------------------------------------
// Arithmetic

/** `dst op= imm`; 32-bit forms clear the upper half. */
export const aluImm = (width: Width, op: AluOp, dst: Reg, imm: number): Insn =>
  insn(`${op}${width}_imm`, { dst, imm });
/** `dst op= src` */
export const aluReg = (width: Width, op: AluOp, dst: Reg, src: Reg): Insn =>
  insn(`${op}${width}_reg`, { dst, src });
export const alu64Imm = (op: AluOp, dst: Reg, imm: number): Insn => aluImm(64, op, dst, imm);
export const alu64Reg = (op: AluOp, dst: Reg, src: Reg): Insn => aluReg(64, op, dst, src);
export const alu32Imm = (op: AluOp, dst: Reg, imm: number): Insn => aluImm(32, op, dst, imm);
export const alu32Reg = (op: AluOp, dst: Reg, src: Reg): Insn => aluReg(32, op, dst, src);
export const mov64Imm = (dst: Reg, imm: number): Insn => aluImm(64, 'mov', dst, imm);
export const mov64Reg = (dst: Reg, src: Reg): Insn => aluReg(64, 'mov', dst, src);
export const mov32Imm = (dst: Reg, imm: number): Insn => aluImm(32, 'mov', dst, imm);
export const mov32Reg = (dst: Reg, src: Reg): Insn => aluReg(32, 'mov', dst, src);
export const neg = (width: Width, dst: Reg): Insn => insn(`neg${width}`, { dst });
/** `dst = (s8)src`; to 64 bits from 8, 16 or 32, to 32 bits from 8 or 16. */
export const movsx = (width: Width, from: 8 | 16 | 32, dst: Reg, src: Reg): Insn =>
  insn(`movsx${from}_${width}`, { dst, src });
/** `le` and `be` convert to that byte order, `bswap` always swaps. */
export const swap = (kind: 'le' | 'be' | 'bswap', bits: 16 | 32 | 64, dst: Reg): Insn =>
  insn(`${kind}${bits}`, { dst });
/** Moves a pointer from one address space to another (arenas). */
export const addrSpaceCast = (dst: Reg, src: Reg, to: number, from: number): Insn =>
  insn('addr_space_cast', { dst, src, imm: ((to << 16) | (from & 0xffff)) >>> 0 });

// ---------------------------------------------------------------------------------------------------------------
// Memory

/** `dst = *(size *)(src + off)`, zero-extended. */
export const ldx = (size: MemSize, dst: Reg, src: Reg, off = 0): Insn =>
  insn(`ldx${BITS[size]}`, { dst, src, off });
/** `dst = *(size *)(src + off)`, sign-extended. */
export const ldxs = (size: 'b' | 'h' | 'w', dst: Reg, src: Reg, off = 0): Insn =>
  insn(`ldxs${BITS[size]}`, { dst, src, off });
/** `*(size *)(dst + off) = src` */
export const stx = (size: MemSize, dst: Reg, src: Reg, off = 0): Insn =>
  insn(`stx${BITS[size]}`, { dst, src, off });
/** `*(size *)(dst + off) = imm` */
export const st = (size: MemSize, dst: Reg, off: number, imm: number): Insn =>
  insn(`st${BITS[size]}`, { dst, off, imm });
/** Atomic read-modify-write at `dst + off` with `src`; the fetching forms return the old value in `src` (cmpxchg: in R0). */
export const atomic = (op: AtomicOp, size: 'w' | 'dw', dst: Reg, src: Reg, off = 0): Insn =>
  insn(`atomic_${op}${BITS[size]}`, { dst, src, off });
export const loadAcquire = (size: MemSize, dst: Reg, src: Reg, off = 0): Insn =>
  insn(`load_acquire${BITS[size]}`, { dst, src, off });
export const storeRelease = (size: MemSize, dst: Reg, src: Reg, off = 0): Insn =>
  insn(`store_release${BITS[size]}`, { dst, src, off });
/** Legacy packet loads into R0, big-endian data to host order; R6 holds the context. */
export const ldAbs = (size: 'b' | 'h' | 'w', imm: number): Insn => insn(`ldabs${BITS[size]}`, { imm });
export const ldInd = (size: 'b' | 'h' | 'w', src: Reg, imm: number): Insn =>
  insn(`ldind${BITS[size]}`, { src, imm });

/** Two slots: `low` with the first, `high` in the immediate of the second. */
function wide(name: string, dst: Reg, low: number, high: number): Insn[] {
  return [insn(name, { dst, imm: low }), { code: 0, dst: 0, src: 0, off: 0, imm: high | 0 }];
}

/** `dst = value`, any 64 bits. Two slots. */
export const ldImm64 = (dst: Reg, value: bigint): Insn[] =>
  wide(
    'ld_imm64',
    dst,
    Number(BigInt.asUintN(32, value)),
    Number(BigInt.asUintN(32, BigInt.asUintN(64, value) >> 32n)),
  );
export const ldMapFd = (dst: Reg, fd: number): Insn[] => wide('ld_map_fd', dst, fd, 0);
/** The address of byte `off` of the first value of an array map. */
export const ldMapValue = (dst: Reg, fd: number, off = 0): Insn[] => wide('ld_map_value', dst, fd, off);
export const ldMapIdx = (dst: Reg, index: number): Insn[] => wide('ld_map_idx', dst, index, 0);
export const ldMapIdxValue = (dst: Reg, index: number, off = 0): Insn[] =>
  wide('ld_map_idx_value', dst, index, off);
export const ldBtfId = (dst: Reg, id: number, btfFd = 0): Insn[] => wide('ld_btf_id', dst, id, btfFd);
/** The address of the function `distance` slots behind the slot that follows the first one (as in a call). */
export const ldFunc = (dst: Reg, distance: number): Insn[] => wide('ld_func', dst, distance, 0);

// ---------------------------------------------------------------------------------------------------------------
// Jumps and calls; distances count from the next slot

export const jumpImm = (width: Width, op: JumpOp, dst: Reg, imm: number, off: number): Insn =>
  insn(`${op}${width === 32 ? '32' : ''}_imm`, { dst, imm, off });
export const jumpReg = (width: Width, op: JumpOp, dst: Reg, src: Reg, off: number): Insn =>
  insn(`${op}${width === 32 ? '32' : ''}_reg`, { dst, src, off });
export const ja = (off: number): Insn => insn('ja', { off });
export const gotol = (distance: number): Insn => insn('gotol', { imm: distance });
export const mayGoto = (off: number): Insn => insn('may_goto', { off });
export const exit = (): Insn => insn('exit');

/** A helper by number or by name. */
export function callHelper(helper: number | string): Insn {
  const id = typeof helper === 'number' ? helper : helperIdByName(helper);
  if (id === undefined) throw new BpfError('EINVAL', `there is no helper ${helper}`);
  return insn('call_helper', { imm: id });
}
export const callLocal = (distance: number): Insn => insn('call_local', { imm: distance });
/** A kernel function by BTF id; `fdIndex` names the module's BTF in the load's fd_array, 0 for the kernel itself. */
export const callKfunc = (btfId: number, fdIndex = 0): Insn =>
  insn('call_kfunc', { imm: btfId, off: fdIndex });
