/**
 * Which registers instructions read and write (RFC 9669; calls as `CallTarget` says), and which of R1..R5 a subprogram
 * really takes: only those become parameters of its Wasm function.
 */
import {
  ALU_OP,
  ATOMIC,
  CLASS,
  insnClass,
  insnMode,
  insnOp,
  insnSource,
  JMP_OP,
  MODE,
  SOURCE,
} from '../asm/opcodes.ts';
import type { CallTarget, ExecutableProgram } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import type { HelperRow } from '../spec/types.ts';
import { type Block, nextInsn } from './cfg.ts';

const bit = (register: number): number => 1 << register;
const ARGUMENTS = 0b111110;

/** Argument registers that a call reads; `parameters[i]` is the mask of subprogram i as far as it is known. */
function callReads(target: CallTarget | undefined, parameters: readonly number[]): number {
  switch (target?.kind) {
    case 'function':
      return ((1 << target.callee.params.length) - 1) << 1;
    case 'subprog':
      return parameters[target.index] ?? ARGUMENTS;
    case 'tail_call':
      return bit(1) | bit(2) | bit(3);
    default:
      return 0;
  }
}

/** Mask of registers that the instruction reads. */
export function readMask(insn: Insn, target: CallTarget | undefined, parameters: readonly number[]): number {
  const { code } = insn;
  switch (insnClass(code)) {
    case CLASS.LDX:
      return bit(insn.src);
    case CLASS.ST:
      // A barrier, or a check of the budget, looks at nothing.
      return insnMode(code) === MODE.NOSPEC ? 0 : bit(insn.dst);
    case CLASS.STX:
      if (insnMode(code) !== MODE.ATOMIC) return bit(insn.dst) | bit(insn.src);
      return bit(insn.dst) | bit(insn.src) | (insn.imm === ATOMIC.CMPXCHG ? bit(0) : 0);
    case CLASS.ALU:
    case CLASS.ALU64: {
      const source = insnSource(code) === SOURCE.X && insnOp(code) !== ALU_OP.END ? bit(insn.src) : 0;
      return insnOp(code) === ALU_OP.MOV ? source : source | bit(insn.dst);
    }
    case CLASS.JMP:
    case CLASS.JMP32: {
      const op = insnOp(code);
      if (op === JMP_OP.JA) return 0;
      if (op === JMP_OP.EXIT) return bit(0);
      if (op === JMP_OP.CALL) return callReads(target, parameters);
      return bit(insn.dst) | (insnSource(code) === SOURCE.X ? bit(insn.src) : 0);
    }
    default:
      return 0;
  }
}

/** Whether the helper gives the number of the CPU, which stands at RUN_STATE.cpu. */
export function givesCpu(row: HelperRow | undefined): boolean {
  return row !== undefined && row.args.length === 0 && row.ret.kind === 'integer' && row.ret.range === 'cpu';
}

/** Whether the function may call one of the program's; of kernel functions that is not known. */
export function mayCallBack({ row }: Extract<CallTarget, { kind: 'function' }>): boolean {
  return row === undefined || row.callbackShape !== undefined;
}

/** Mask of registers that the instruction writes. What a call leaves in R1..R5 cannot be read. */
export function writeMask(insn: Insn): number {
  const { code } = insn;
  switch (insnClass(code)) {
    case CLASS.LD:
    case CLASS.LDX:
    case CLASS.ALU:
    case CLASS.ALU64:
      return bit(insn.dst);
    case CLASS.STX:
      if (insnMode(code) !== MODE.ATOMIC) return 0;
      if (insn.imm === ATOMIC.CMPXCHG) return bit(0);
      if (insn.imm === ATOMIC.LOAD_ACQ) return bit(insn.dst);
      return (insn.imm & ATOMIC.FETCH) !== 0 ? bit(insn.src) : 0;
    case CLASS.JMP:
      return insnOp(code) === JMP_OP.CALL ? bit(0) : 0;
    default:
      return 0;
  }
}

/** Registers written by a block, for the kill sets of loops. */
export function blockWrites(insns: readonly Insn[], block: Block): number {
  let mask = 0;
  for (let i = block.start; i < block.end; i = nextInsn(insns, i)) mask |= writeMask(insns[i]!);
  return mask;
}

/** Every register that a subprogram names, as a mask with bit 10 for the frame pointer. */
export function namedRegisters(program: ExecutableProgram, blocks: readonly Block[]): number {
  let mask = 0;
  for (const block of blocks) {
    for (let i = block.start; i < block.end; i = nextInsn(program.insns, i)) {
      const insn = program.insns[i]!;
      mask |= writeMask(insn) | readMask(insn, program.calls[i], []);
    }
  }
  return mask;
}

/** For each subprogram the mask of R1..R5 that are live at its start. */
export function parameterMasks(
  program: ExecutableProgram,
  blocksOf: readonly (readonly Block[])[],
): number[] {
  const masks: number[] = new Array(blocksOf.length).fill(0);
  const callers: Set<number>[] = blocksOf.map(() => new Set<number>());
  blocksOf.forEach((blocks, caller) => {
    for (const block of blocks) {
      for (let i = block.start; i < block.end; i++) {
        const target = program.calls[i];
        if (target?.kind === 'subprog') callers[target.index]?.add(caller);
      }
    }
  });
  // Callees before their callers, so that each is looked at once; again only where functions call one another in circles. Masks only
  // grow, so that it ends.
  const pending = new Set(calleesFirst(callers));
  for (const index of pending) {
    pending.delete(index);
    const mask = liveAtStart(program, blocksOf[index]!, masks) & ARGUMENTS;
    if (mask === masks[index]) continue;
    masks[index] = mask;
    for (const caller of callers[index]!) pending.add(caller);
  }
  return masks;
}

/** Subprograms in an order in which callees stand before their callers, as far as there is one. */
function calleesFirst(callers: readonly ReadonlySet<number>[]): number[] {
  const order: number[] = [];
  const seen = new Uint8Array(callers.length);
  const path: { readonly index: number; readonly rest: Iterator<number> }[] = [];
  const enter = (index: number) => {
    seen[index] = 1;
    path.push({ index, rest: callers[index]!.values() });
  };
  for (let root = 0; root < callers.length; root++) {
    if (seen[root] === 0) enter(root);
    while (path.length > 0) {
      const { index, rest } = path[path.length - 1]!;
      const next = rest.next();
      if (next.done === true) {
        path.pop();
        order.push(index);
      } else if (seen[next.value] === 0) enter(next.value);
    }
  }
  return order.reverse();
}

function liveAtStart(program: ExecutableProgram, blocks: readonly Block[], masks: readonly number[]): number {
  const { insns, calls } = program;
  const uses = new Int32Array(blocks.length);
  const defs = new Int32Array(blocks.length);
  blocks.forEach((block, n) => {
    let used = 0;
    let defined = 0;
    for (let i = block.start; i < block.end; i = nextInsn(insns, i)) {
      const insn = insns[i]!;
      used |= readMask(insn, calls[i], masks) & ~defined;
      defined |= writeMask(insn);
    }
    uses[n] = used;
    defs[n] = defined;
  });
  spreadLive(uses, defs, blocks);
  return uses[0]!;
}

/** Variables that live at the start of each block: `live` begins as what the block reads before it writes it (bit sets). */
export function spreadLive(live: Int32Array, defs: Int32Array, blocks: readonly Block[]): void {
  const pending = Array.from(live.keys());
  while (pending.length > 0) {
    const n = pending.pop()!;
    const mask = live[n]!;
    for (const pred of blocks[n]!.preds) {
      const next = live[pred]! | (mask & ~defs[pred]!);
      if (next === live[pred]) continue;
      live[pred] = next;
      pending.push(pred);
    }
  }
}
