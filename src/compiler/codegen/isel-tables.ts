/** Operations of the IR as codes of the machine, and small questions of the selector. */
import { ALU_OP, ATOMIC, JMP_OP, SIZE } from '../../asm/index.ts';
import type { Inst, MemType, Param, Predicate } from '../ir/index.ts';
import { MBlock, type MInst } from './mir.ts';

/** Ends the block of a select: where its jump goes. */
export const PSEUDO_LABEL = 0x103;

export const ALU: Readonly<Record<string, number>> = {
  add: ALU_OP.ADD,
  sub: ALU_OP.SUB,
  mul: ALU_OP.MUL,
  udiv: ALU_OP.DIV,
  sdiv: ALU_OP.DIV,
  urem: ALU_OP.MOD,
  srem: ALU_OP.MOD,
  and: ALU_OP.AND,
  or: ALU_OP.OR,
  xor: ALU_OP.XOR,
  shl: ALU_OP.LSH,
  lshr: ALU_OP.RSH,
  ashr: ALU_OP.ARSH,
};
export const COMMUTATIVE: ReadonlySet<string> = new Set(['add', 'mul', 'and', 'or', 'xor']);

export const JUMP: Readonly<Record<Predicate, number>> = {
  eq: JMP_OP.JEQ,
  ne: JMP_OP.JNE,
  ult: JMP_OP.JLT,
  ule: JMP_OP.JLE,
  ugt: JMP_OP.JGT,
  uge: JMP_OP.JGE,
  slt: JMP_OP.JSLT,
  sle: JMP_OP.JSLE,
  sgt: JMP_OP.JSGT,
  sge: JMP_OP.JSGE,
};

export const SIZES: Readonly<Record<MemType, number>> = {
  i8: SIZE.B,
  i16: SIZE.H,
  i32: SIZE.W,
  i64: SIZE.DW,
  ptr: SIZE.DW,
};

export const ATOMICS: Readonly<Record<string, number>> = {
  add: ATOMIC.ADD,
  sub: ATOMIC.ADD,
  or: ATOMIC.OR,
  and: ATOMIC.AND,
  xor: ATOMIC.XOR,
  xchg: ATOMIC.XCHG,
  cmpxchg: ATOMIC.CMPXCHG,
};

/** Whether all readers of a 32-bit value look at its lower half only. */
export function looksAt32(value: Inst | Param, seen: Set<Inst> = new Set()): boolean {
  for (const user of value.users) {
    switch (user.op) {
      case 'icmp':
      case 'trunc':
      case 'store':
      case 'sext':
      // The upper half of a 32-bit result is nobody's business: callers clean it.
      case 'ret':
        continue;
      case 'phi':
      case 'select':
        if (user.type !== 'i32' || seen.size > 16) return false;
        if (seen.has(user)) continue;
        seen.add(user);
        if (!looksAt32(user, seen)) return false;
        continue;
      case 'call':
      case 'zext':
      case 'asm':
      case 'atomic':
      case 'inttoptr':
        return false;
      default:
        if (user.type !== 'i32') return false;
    }
  }
  return true;
}

/** A run of instructions with jumps inside becomes blocks. */
export function split(first: MBlock, insts: readonly MInst[]): MBlock[] {
  const blocks = [first];
  const end = first.fallthrough;
  let current = first;
  first.fallthrough = undefined;
  insts.forEach((mi, i) => {
    if (mi.code === PSEUDO_LABEL) {
      const next = mi.target!;
      next.depth = first.depth;
      current.fallthrough = next;
      blocks.push(next);
      current = next;
      return;
    }
    current.insts.push(mi);
    if (mi.target !== undefined && i < insts.length - 1) {
      const next = new MBlock();
      next.depth = first.depth;
      current.fallthrough = next;
      blocks.push(next);
      current = next;
    }
  });
  current.fallthrough = end;
  for (const block of blocks) {
    const last = block.insts[block.insts.length - 1];
    block.succs = [];
    if (last?.target !== undefined) block.succs.push(last.target);
    for (const target of last?.asm?.targets ?? []) block.succs.push(target);
    if (block.fallthrough !== undefined && block.fallthrough !== last?.target)
      block.succs.push(block.fallthrough);
  }
  return blocks;
}
