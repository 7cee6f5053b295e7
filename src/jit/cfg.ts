/**
 * Basic blocks of one subprogram. Invariants: blocks are those reachable from the first instruction; block 0 is the
 * entry and has no predecessor (an empty block stands before the first instruction where a jump leads back to it);
 * `succs` holds block numbers in the order [taken, not taken], `preds` those they are among the `succs` of. Nothing here recurses: programs may have a million
 * instructions.
 */
import { CLASS, insnClass, insnOp, JMP_OP, LD_IMM64 } from '../asm/opcodes.ts';
import type { ExecutableSubprog } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import { BpfError } from '../util/errors.ts';

/** How a block ends. `fall_off` is the end of the subprogram without an exit, which no verified program has. */
export type Terminator = 'goto' | 'branch' | 'exit' | 'fall_off';

export interface Block {
  /** First instruction and one past the last; the terminating jump or exit is included. */
  readonly start: number;
  readonly end: number;
  readonly terminator: Terminator;
  readonly succs: number[];
  readonly preds: number[];
}

export function isJumpClass(code: number): boolean {
  const cls = insnClass(code);
  return cls === CLASS.JMP || cls === CLASS.JMP32;
}

/** Slot after the instruction at `at`: two further for a 64-bit immediate load. */
export function nextInsn(insns: readonly Insn[], at: number): number {
  return at + (insns[at]!.code === LD_IMM64 ? 2 : 1);
}

/** Target of the jump at `at`; `gotol` has its distance in the immediate. */
function jumpTarget(insn: Insn, at: number): number {
  const long = insn.code === (CLASS.JMP32 | JMP_OP.JA);
  return at + 1 + (long ? insn.imm : insn.off);
}

const isUnconditional = (insn: Insn): boolean => insnOp(insn.code) === JMP_OP.JA;
const isExit = (insn: Insn): boolean => insn.code === (CLASS.JMP | JMP_OP.EXIT);
const isCall = (insn: Insn): boolean => insnOp(insn.code) === JMP_OP.CALL;

/** Throws BpfError EINVAL where a jump leaves the subprogram. */
export function buildBlocks(insns: readonly Insn[], subprog: ExecutableSubprog): Block[] {
  const { start, end } = subprog;
  const size = end - start;
  const leader = new Uint8Array(size + 1);
  const lead = (target: number, from: number) => {
    if (target < start || target >= end) {
      throw new BpfError(
        'EINVAL',
        `jit: jump at ${from} to ${target} leaves ${subprog.name} (${start}..${end - 1})`,
      );
    }
    leader[target - start] = 1;
  };
  if (size <= 0) throw new BpfError('EINVAL', `jit: ${subprog.name} has no instructions`);
  leader[0] = 1;
  let loopsToStart = false;
  for (let i = start; i < end; i = nextInsn(insns, i)) {
    const insn = insns[i]!;
    if (!isJumpClass(insn.code) || isCall(insn)) continue;
    leader[i + 1 - start] = 1;
    if (isExit(insn)) continue;
    const target = jumpTarget(insn, i);
    lead(target, i);
    if (target === start) loopsToStart = true;
  }

  const blocks: Block[] = [];
  const numberOf = new Int32Array(size).fill(-1);
  const pending: number[] = [];
  const blockAt = (insn: number): number => {
    let n = numberOf[insn - start]!;
    if (n < 0) {
      n = blocks.length;
      numberOf[insn - start] = n;
      blocks.push(undefined as unknown as Block);
      pending.push(insn);
    }
    return n;
  };
  if (loopsToStart) blocks.push({ start, end: start, terminator: 'goto', succs: [1], preds: [] });
  blockAt(start);
  while (pending.length > 0) {
    const first = pending.pop()!;
    const n = numberOf[first - start]!;
    let at = first;
    let last = first;
    do {
      last = at;
      at = nextInsn(insns, at);
    } while (at < end && leader[at - start] === 0);
    const insn = insns[last]!;
    const jumps = isJumpClass(insn.code) && !isCall(insn);
    if (jumps && isExit(insn))
      blocks[n] = { start: first, end: at, terminator: 'exit', succs: [], preds: [] };
    else if (jumps && isUnconditional(insn)) {
      const target = blockAt(jumpTarget(insn, last));
      blocks[n] = { start: first, end: at, terminator: 'goto', succs: [target], preds: [] };
    } else if (at >= end) {
      if (jumps) blockAt(jumpTarget(insn, last));
      blocks[n] = { start: first, end: Math.min(at, end), terminator: 'fall_off', succs: [], preds: [] };
    } else if (jumps && jumpTarget(insn, last) !== at) {
      const taken = blockAt(jumpTarget(insn, last));
      blocks[n] = { start: first, end: at, terminator: 'branch', succs: [taken, blockAt(at)], preds: [] };
    } else {
      blocks[n] = { start: first, end: at, terminator: 'goto', succs: [blockAt(at)], preds: [] };
    }
  }
  for (let n = 0; n < blocks.length; n++) for (const next of blocks[n]!.succs) blocks[next]!.preds.push(n);
  return blocks;
}
