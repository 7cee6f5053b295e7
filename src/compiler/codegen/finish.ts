/** The last step: blocks in line, jumps with distances, symbols as relocations. Instructions are as the machine has them. */
import { ALU_OP, CLASS, JMP_OP, SOURCE } from '../../asm/index.ts';
import type { Insn } from '../../contracts/insn.ts';
import { BpfError, InternalError } from '../../util/index.ts';
import type { CoreInfo } from '../ir/index.ts';
import type { Location } from '../source/index.ts';
import { assembleAsm } from './asm-operands.ts';
import type { Complain } from './isel.ts';
import {
  FRAME_POINTER,
  LD_IMM64_CODE,
  type MBlock,
  type MFunc,
  type MInst,
  PSEUDO_ASM,
  PSEUDO_FRAME,
  PSEUDO_UNDEF,
  type SymbolRef,
} from './mir.ts';

export interface CompiledFunction {
  readonly insns: Insn[];
  readonly relocations: { readonly insn: number; readonly symbol: SymbolRef; readonly call: boolean }[];
  /** Where the source changes: slot and place. */
  readonly lines: { readonly insn: number; readonly loc: Location }[];
  readonly core: { readonly insn: number; readonly info: CoreInfo }[];
  readonly frame: number;
}

const INVERSE_JUMP: Readonly<Record<number, number>> = {
  [JMP_OP.JEQ]: JMP_OP.JNE,
  [JMP_OP.JNE]: JMP_OP.JEQ,
  [JMP_OP.JGT]: JMP_OP.JLE,
  [JMP_OP.JLE]: JMP_OP.JGT,
  [JMP_OP.JGE]: JMP_OP.JLT,
  [JMP_OP.JLT]: JMP_OP.JGE,
  [JMP_OP.JSGT]: JMP_OP.JSLE,
  [JMP_OP.JSLE]: JMP_OP.JSGT,
  [JMP_OP.JSGE]: JMP_OP.JSLT,
  [JMP_OP.JSLT]: JMP_OP.JSGE,
};
const isLess = (op: number): boolean =>
  op === JMP_OP.JLT || op === JMP_OP.JLE || op === JMP_OP.JSLT || op === JMP_OP.JSLE;

/** Through blocks that only go on. */
function finalTarget(block: MBlock): MBlock {
  let at = block;
  for (let steps = 0; at.insts.length === 0 && at.fallthrough !== undefined && steps < 1000; steps++)
    at = at.fallthrough;
  return at;
}

function lastJump(block: MBlock): MInst | undefined {
  const last = block.insts[block.insts.length - 1];
  return last?.target === undefined ? undefined : last;
}

/** The blocks that are reached, in the order of the instructions. Jumps to jumps go straight on. */
function order(fn: MFunc): MBlock[] {
  for (const block of fn.blocks) {
    const jump = lastJump(block);
    if (jump !== undefined) jump.target = finalTarget(jump.target!);
    if (block.fallthrough !== undefined) block.fallthrough = finalTarget(block.fallthrough);
    const asm = block.insts[block.insts.length - 1]?.asm;
    if (asm !== undefined) asm.targets = asm.targets.map(finalTarget);
    if (jump !== undefined && jump.target === block.fallthrough) block.insts.pop();
  }
  const reached = new Set<MBlock>();
  const first = fn.blocks[0]!;
  const entry = finalTarget(first);
  const work = [entry];
  while (work.length > 0) {
    const block = work.pop()!;
    if (reached.has(block)) continue;
    reached.add(block);
    const jump = lastJump(block);
    if (jump !== undefined) work.push(jump.target!);
    work.push(...(block.insts[block.insts.length - 1]?.asm?.targets ?? []));
    if (block.fallthrough !== undefined) work.push(block.fallthrough);
  }
  // Reverse postorder: bodies follow their conditions, joins come behind all that leads to them.
  return [entry, ...fn.blocks.filter((block) => reached.has(block) && block !== entry)];
}

/** Turns a conditional jump around so that the block that follows is the one it does not jump to. */
function turnJumps(blocks: readonly MBlock[], cpu: number): void {
  blocks.forEach((block, i) => {
    const jump = lastJump(block);
    if (jump === undefined || block.fallthrough === undefined) return;
    const next = blocks[i + 1];
    if (jump.target !== next || block.fallthrough === next) return;
    const inverse = INVERSE_JUMP[jump.code & 0xf0];
    if (inverse === undefined || (cpu < 2 && isLess(inverse))) return;
    jump.code = (jump.code & ~0xf0) | inverse;
    jump.target = block.fallthrough;
    block.fallthrough = next;
  });
}

const repeats = (block: MBlock): boolean =>
  block.insts.length === 1 && block.insts[0]!.code === (CLASS.JMP | JMP_OP.EXIT);

/** The blocks without ends of the function that everybody repeats instead of jumping there: Linux refuses code that nothing reaches. */
function withoutRepeated(blocks: readonly MBlock[]): MBlock[] {
  const needed = new Set<MBlock>(blocks.slice(0, 1));
  blocks.forEach((block, i) => {
    const jump = lastJump(block);
    if (jump !== undefined) needed.add(jump.target!);
    for (const target of block.insts[block.insts.length - 1]?.asm?.targets ?? []) needed.add(target);
    if (block.fallthrough !== undefined && block.fallthrough === blocks[i + 1]) needed.add(block.fallthrough);
  });
  return blocks.filter((block) => needed.has(block) || !repeats(block));
}

interface Placed {
  readonly at: number;
  readonly target: MBlock;
}

export function finish(fn: MFunc, cpu: number, frame: number, complain: Complain): CompiledFunction {
  const ordered = order(fn);
  turnJumps(ordered, cpu);
  const blocks = withoutRepeated(ordered);
  const insns: Insn[] = [];
  const relocations: CompiledFunction['relocations'] = [];
  const lines: CompiledFunction['lines'] = [];
  const core: CompiledFunction['core'] = [];
  const starts = new Map<MBlock, number>();
  const jumps: Placed[] = [];
  let lastLoc: Location | undefined;
  const push = (code: number, dst: number, src: number, off: number, imm: number): void => {
    insns.push({ code, dst: Math.max(0, dst), src: Math.max(0, src), off, imm: imm | 0 });
  };
  const mark = (loc: Location | undefined): void => {
    if (loc === undefined || loc === 0 || loc === lastLoc) return;
    lastLoc = loc;
    lines.push({ insn: insns.length, loc });
  };
  const emit = (mi: MInst): void => {
    if (mi.code === PSEUDO_UNDEF) return;
    mark(mi.loc);
    if (mi.core !== undefined) core.push({ insn: insns.length, info: mi.core });
    if (mi.code === PSEUDO_FRAME) {
      push(CLASS.ALU64 | ALU_OP.MOV | SOURCE.X, mi.dst, FRAME_POINTER, 0, 0);
      push(CLASS.ALU64 | ALU_OP.ADD, mi.dst, -1, 0, mi.slot!.offset + mi.imm);
      return;
    }
    if (mi.code === PSEUDO_ASM) {
      emitAsm(mi);
      return;
    }
    if (mi.code === LD_IMM64_CODE) {
      if (mi.symbol !== undefined) relocations.push({ insn: insns.length, symbol: mi.symbol, call: false });
      const low = mi.symbol === undefined ? Number(mi.wide & 0xffff_ffffn) : mi.symbol.addend;
      push(mi.code, mi.dst, -1, 0, low);
      push(0, 0, 0, 0, Number((mi.wide >> 32n) & 0xffff_ffffn));
      return;
    }
    if (mi.symbol !== undefined) relocations.push({ insn: insns.length, symbol: mi.symbol, call: true });
    if (mi.target !== undefined) jumps.push({ at: insns.length, target: mi.target });
    push(mi.code, mi.dst, mi.src, mi.off + (mi.slot?.offset ?? 0), mi.imm);
  };
  const emitAsm = (mi: MInst): void => {
    try {
      const text = assembleAsm(mi);
      for (const { insn, symbol } of text.symbols)
        relocations.push({
          insn: insns.length + insn,
          symbol,
          call: text.insns[insn]!.code !== LD_IMM64_CODE,
        });
      for (const { insn, label } of text.jumps)
        jumps.push({ at: insns.length + insn, target: mi.asm!.targets[label]! });
      for (const insn of text.insns) insns.push(insn);
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      complain('inline-asm', `inline assembly: ${error.message}`, mi.loc);
    }
  };
  blocks.forEach((block, i) => {
    starts.set(block, insns.length);
    for (const mi of block.insts) emit(mi);
    if (block.fallthrough === undefined || block.fallthrough === blocks[i + 1]) return;
    const target = block.fallthrough;
    // A short end of the function is repeated instead of jumped to.
    if (repeats(target)) {
      emit(target.insts[0]!);
      return;
    }
    jumps.push({ at: insns.length, target });
    push(CLASS.JMP | JMP_OP.JA, -1, -1, 0, 0);
  });
  for (const { at, target } of jumps) {
    const start = starts.get(target);
    if (start === undefined)
      throw new InternalError(`${fn.func.name}: a jump to a block that was not placed`);
    const distance = start - at - 1;
    const insn = insns[at]!;
    if (distance >= -0x8000 && distance <= 0x7fff) insn.off = distance;
    else if (insn.code === (CLASS.JMP | JMP_OP.JA) && cpu >= 4) {
      insn.code = CLASS.JMP32 | JMP_OP.JA;
      insn.imm = distance;
    } else {
      complain(
        'function-too-large',
        `the function is too large: a jump of ${distance} instructions does not fit 16 bits`,
        fn.func.loc,
      );
      break;
    }
  }
  return { insns, relocations, lines, core, frame };
}
