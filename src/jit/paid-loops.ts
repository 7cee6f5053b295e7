/**
 * Loops whose rounds are paid for together (a run's budget, `rewrite/budget.ts`): where they are entered the budget is asked once
 * whether it has room for all of them, and a version of the loop without checks runs; where it has not, the loop runs as it was, and stops
 * where the budget ends. What was spent is taken off where the fast version is left, by how far the loop's variable has come.
 *
 * What qualifies: a register stepped by a constant exactly once a round, and compared once a round with something that stays; checks only
 * at places that every round passes; loops inside only with a count that is constant and one way out, so that a round costs the same
 * each time. Nothing inside may look at the budget: no tail calls, no functions with checks of their own.
 * Each loop is looked at once, with the loops inside it as one step: the work is linear.
 */
import {
  ALU_OP,
  BUDGET_CHECK_IMM,
  CLASS,
  insnClass,
  insnMode,
  insnOp,
  insnSource,
  JMP_OP,
  LD_IMM64,
  MODE,
  SOURCE,
} from '../asm/opcodes.ts';
import type { CallTarget } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import { type Block, nextInsn } from './cfg.ts';
import type { ModuleContext } from './module-context.ts';
import type { Layout } from './structure.ts';
import { mayCallBack, writeMask } from './usage.ts';

/** Longest loop, with all inside it, that is emitted twice. */
const MOST_INSNS = 400;
/** Longest round for each check where the count of rounds is not known before. */
const MOST_INSNS_UNKNOWN = 16;
/** Steps, costs and numbers at run time stay so small that nothing wraps. */
const MOST_STEP = 1 << 16;
const MOST_COST = 1 << 20;
const MOST_TOTAL = 0x7fff_ffff;
/** Blocks and instructions that are followed backwards in search of what a register holds. */
const MOST_STEPS_BACK = 8;
const MOST_INSNS_BACK = 64;

/** How the loop goes on: while variable `test` bound. */
type Test = 'ne' | 'lt' | 'le' | 'gt' | 'ge';

export interface PaidLoop {
  /** Positions of the layout. */
  readonly start: number;
  readonly end: number;
  /** Checks of one round, and of the last one until it is left at `exit`. */
  readonly cost: number;
  readonly lastCost: number;
  /** Node whose branch ends the counting. */
  readonly exit: number;
  readonly variable: number;
  readonly step: number;
  /** What the variable holds where the loop is entered (low half), where that is a constant. */
  readonly from: number | undefined;
  /** Rounds that are gone round completely before it is left at `exit`; undefined: known when it is entered. */
  readonly rounds: number | undefined;
  readonly test: Test;
  /** Of the comparison: whether it looks at both halves, and whether the variable has been stepped by then. */
  readonly wide: boolean;
  readonly stepped: boolean;
  readonly bound: { readonly imm: number } | { readonly register: number };
  /** The variable meets the bound whatever numbers lie between: addresses as well. */
  readonly meets: boolean;
  /** Of each node that is left for somewhere outside: what its round has cost so far, and whether the variable has been stepped. */
  readonly leaves: ReadonlyMap<number, { readonly cost: number; readonly stepped: boolean }>;
}

/** The jump that tells whether the loop goes on, at the end of a node. */
interface Decision {
  readonly node: number;
  readonly jump: number;
  readonly goesOn: boolean;
}

/** What the loop costs, where that is always the same. */
export function totalOf({ rounds, cost, lastCost, leaves }: PaidLoop): number | undefined {
  return rounds === undefined || leaves.size > 1 ? undefined : rounds * cost + lastCost;
}

/** What is known of a loop when the one around it is looked at. */
interface Seen {
  readonly end: number;
  readonly insns: number;
  /** Registers that are written at one place at most, and at several. */
  readonly once: number;
  readonly more: number;
  /** What it costs from its entry to its only exit; -1: that differs. */
  readonly total: number;
  /** Position that the only exit leads to. */
  readonly to: number;
}

/** By the position of their headers: the outermost loops that can be paid for at once. */
export function findPaidLoops(
  module: ModuleContext,
  blocks: readonly Block[],
  layout: Layout,
): Map<number, PaidLoop> {
  const found = new Map<number, PaidLoop>();
  if (!module.program.budgeted) return found;
  const seen = new Map<number, Seen>();
  const loops = layout.scopes.filter(({ kind }) => kind === 'loop');
  // Those inside come first.
  for (let i = loops.length - 1; i >= 0; i--) {
    const { start, end } = loops[i]!;
    const finder = new Finder(module, blocks, layout, seen, start, end);
    const paid = finder.find();
    seen.set(start, finder.seen(paid));
    if (paid !== undefined) found.set(start, paid);
  }
  // Of loops in one another the outermost is taken.
  let covered = 0;
  for (const { start, end } of loops) {
    if (!found.has(start)) continue;
    if (start < covered) found.delete(start);
    else covered = end;
  }
  return found;
}

class Finder {
  readonly #module: ModuleContext;
  readonly #insns: readonly Insn[];
  readonly #blocks: readonly Block[];
  readonly #layout: Layout;
  readonly #seen: ReadonlyMap<number, Seen>;
  readonly #start: number;
  readonly #end: number;
  #size = 0;
  #once = 0;
  #more = 0;
  #possible = true;
  /** Cost of a round. */
  #cost = 0;
  /** Nodes that are passed once a round, and what is spent when they are left; nodes with ways out, likewise. */
  readonly #passed = new Set<number>();
  readonly #costAt = new Map<number, number>();
  readonly #leaving: number[] = [];

  constructor(
    module: ModuleContext,
    blocks: readonly Block[],
    layout: Layout,
    seen: ReadonlyMap<number, Seen>,
    start: number,
    end: number,
  ) {
    this.#module = module;
    this.#insns = module.program.insns;
    this.#blocks = blocks;
    this.#layout = layout;
    this.#seen = seen;
    this.#start = start;
    this.#end = end;
  }

  find(): PaidLoop | undefined {
    this.#scan();
    if (!this.#possible || this.#cost === 0 || this.#cost > MOST_COST || this.#size > MOST_INSNS)
      return undefined;
    for (const node of this.#leaving) {
      const paid = this.#passed.has(node) ? this.#counted(node) : undefined;
      if (paid !== undefined) return paid;
    }
    return undefined;
  }

  seen(paid: PaidLoop | undefined): Seen {
    let total = -1;
    let to = -1;
    if (paid !== undefined && totalOf(paid) !== undefined) {
      total = totalOf(paid)!;
      for (const next of this.#layout.succs[paid.exit]!) {
        const position = this.#layout.position[next]!;
        if (!this.#isInside(position)) to = position;
      }
      if (total > MOST_COST) total = -1;
    }
    return { end: this.#end, insns: this.#size, once: this.#once, more: this.#more, total, to };
  }

  #isInside(position: number): boolean {
    return position >= this.#start && position < this.#end;
  }

  #writes(once: number, more: number): void {
    this.#more |= more | (this.#once & once);
    this.#once |= once;
  }

  /** Goes over what a round consists of, in order; loops inside are one step. */
  #scan(): void {
    const { order, position, succs } = this.#layout;
    // The farthest place that what came so far may jump to, past others.
    let reach = this.#start;
    let closed = false;
    for (let at = this.#start; at < this.#end; ) {
      const isPassed = reach <= at && !closed;
      const inner = at === this.#start ? undefined : this.#seen.get(at);
      if (inner !== undefined) {
        this.#size += inner.insns;
        this.#writes(inner.once, inner.more);
        if (inner.total < 0 || !isPassed || !this.#isInside(inner.to)) this.#possible = false;
        this.#cost += inner.total;
        if (inner.to === this.#start) closed = true;
        else reach = Math.max(reach, inner.to);
        at = inner.end;
        continue;
      }
      const node = order[at]!;
      const block = this.#blocks[node];
      if (block === undefined) this.#possible = false;
      else {
        const cost = this.#block(block);
        if (cost > 0 && !isPassed) this.#possible = false;
        this.#cost += cost;
      }
      if (isPassed) this.#passed.add(node);
      this.#costAt.set(node, this.#cost);
      let leaves = false;
      for (const next of succs[node]!) {
        const to = position[next]!;
        if (!this.#isInside(to)) leaves = true;
        else if (to === this.#start) closed = true;
        else reach = Math.max(reach, to);
      }
      if (leaves) this.#leaving.push(node);
      at++;
    }
  }

  /** Notes what the block does; gives how many checks it has. */
  #block(block: Block): number {
    let cost = 0;
    for (let i = block.start; i < block.end; i = nextInsn(this.#insns, i)) {
      const insn = this.#insns[i]!;
      this.#size++;
      this.#writes(writeMask(insn), 0);
      if (isBudgetCheck(insn)) cost++;
      else if (insn.code === (CLASS.JMP | JMP_OP.CALL)) cost += this.#call(this.#module.program.calls[i]);
    }
    return cost;
  }

  #call(target: CallTarget | undefined): number {
    switch (target?.kind) {
      case 'function':
        if (this.#module.callbackFrame >= 0 && mayCallBack(target)) this.#possible = false;
        return 0;
      case 'subprog':
        if (this.#module.keepsBudget[target.index] !== false) this.#possible = false;
        return 1;
      default:
        this.#possible = false;
        return 0;
    }
  }

  // -------------------------------------------------------------------------------------------------------------
  // How often

  /** The loop as counted by the branch at the end of the node. */
  #counted(node: number): PaidLoop | undefined {
    const block = this.#blocks[node]!;
    const { position, succs } = this.#layout;
    if (block.terminator !== 'branch') return undefined;
    const [taken, other] = succs[node]! as [number, number];
    if (this.#isInside(position[taken]!) === this.#isInside(position[other]!)) return undefined;
    const last = this.#lastOf(block);
    const goesOn = this.#isInside(position[taken]!);
    const paid = this.#countedBy(node, { node, jump: last, goesOn });
    if (paid !== undefined) return paid;
    const decision = this.#decisionBefore(node, last, goesOn);
    return decision === undefined ? undefined : this.#countedBy(node, decision);
  }

  /**
   * Compilers have `if (i == n) x = 1; else x = 0;` and, further on, `if (x != 1)` go on: where the branch at the end of the node only looks at
   * such an `x`, the one that it was set behind.
   */
  #decisionBefore(node: number, last: number, goesOn: boolean): Decision | undefined {
    const insn = this.#insns[last]!;
    const op = insnOp(insn.code);
    const isEqual = op === JMP_OP.JEQ;
    if ((!isEqual && op !== JMP_OP.JNE) || insnSource(insn.code) !== SOURCE.K) return undefined;
    const { preds } = this.#blocks[node]!;
    if (preds.length !== 2 || this.#lastWrite(node, insn.dst) >= 0) return undefined;
    const origins = preds.map((pred) => {
      const block = this.#blocks[pred]!;
      return block.terminator === 'branch' ? pred : block.preds.length === 1 ? block.preds[0]! : -1;
    });
    const from = origins[0]!;
    if (from < 0 || origins[1] !== from || !this.#passed.has(from)) return undefined;
    const { succs, terminator } = this.#blocks[from]!;
    if (terminator !== 'branch') return undefined;
    const leaves = succs.map((next) => {
      let write = next === node ? -1 : this.#lastWrite(next, insn.dst);
      if (write < 0) write = this.#lastWrite(from, insn.dst);
      const value = write < 0 ? undefined : this.#constantOf(write);
      if (value === undefined) return undefined;
      const wide = insnClass(insn.code) === CLASS.JMP;
      const isSame = value.low === insn.imm && (!wide || value.high === insn.imm >> 31);
      return (isSame === isEqual) !== goesOn;
    });
    if (leaves[0] === undefined || leaves[1] === undefined || leaves[0] === leaves[1]) return undefined;
    return { node: from, jump: this.#lastOf(this.#blocks[from]!), goesOn: !leaves[0] };
  }

  /** The last instruction of the block that writes the register; -1: none does. */
  #lastWrite(node: number, register: number): number {
    const block = this.#blocks[node]!;
    let found = -1;
    for (let i = block.start; i < block.end; i = nextInsn(this.#insns, i))
      if ((writeMask(this.#insns[i]!) >>> register) & 1) found = i;
    return found;
  }

  #countedBy(node: number, { node: decides, jump, goesOn }: Decision): PaidLoop | undefined {
    const insn = this.#insns[jump]!;
    const compared = this.#compared(insn, decides, this.#blocks[decides]!, jump);
    if (compared === undefined) return undefined;
    const { variable, step, def, narrow, stepped, bound, mirrored } = compared;
    const test = testOf(insnOp(insn.code), goesOn, mirrored);
    if (test === undefined) return undefined;
    if (test !== 'ne' && (test === 'lt' || test === 'le') !== step > 0) return undefined;
    const wide = insnClass(insn.code) === CLASS.JMP;
    // Unsigned comparisons, and 64 bits of what has 32, have negative numbers at the other end.
    const isSigned = test === 'ne' || SIGNED.has(insnOp(insn.code));
    const isNarrow = narrow || insnClass(this.#insns[def.insn]!.code) === CLASS.ALU;
    const positive = !isSigned || (wide && isNarrow);
    const from = this.#constantBefore(variable);
    const leaves = new Map<number, { cost: number; stepped: boolean }>();
    for (const leaving of this.#leaving) {
      const at = this.#layout.position[leaving]!;
      leaves.set(leaving, { cost: this.#costAt.get(leaving)!, stepped: at >= def.position });
    }
    const known = 'imm' in bound ? bound.imm : undefined;
    const rounds =
      from === undefined || known === undefined
        ? undefined
        : roundsOf({ from, step, stepped, bound: known, test, wide, positive });
    const cost = this.#cost;
    const lastCost = this.#costAt.get(node)!;
    if (rounds === undefined) {
      // What is worked out where it is entered is worth as much as some short rounds.
      if (this.#size > MOST_INSNS_UNKNOWN * cost) return undefined;
      // Counted where it is entered: only numbers that are neither negative nor great, of which all comparisons say the same.
      if (known !== undefined && (known < 0 || from !== undefined)) return undefined;
      // The last number may not be below zero either where that would be a great one.
      const least = Math.abs(step) - (test === 'ge' ? 0 : 1);
      if (positive && (test === 'gt' || test === 'ge') && (known ?? 0) < least) return undefined;
    } else if (rounds * cost + lastCost > MOST_TOTAL) return undefined;
    return {
      start: this.#start,
      end: this.#end,
      cost,
      lastCost,
      exit: node,
      variable,
      step,
      from: from?.low,
      rounds,
      test,
      wide,
      stepped,
      bound,
      meets: test === 'ne' && wide && !isNarrow,
      leaves,
    };
  }

  #lastOf(block: Block): number {
    let last = block.start;
    for (let i = block.start; i < block.end; i = nextInsn(this.#insns, i)) last = i;
    return last;
  }

  /** What is compared with what: the variable, by how much it is stepped, whether it has been by then. */
  #compared(insn: Insn, node: number, block: Block, jump: number) {
    const hasRegister = insnSource(insn.code) === SOURCE.X;
    for (const mirrored of hasRegister ? [false, true] : [false]) {
      const register = mirrored ? insn.src : insn.dst;
      const against = mirrored ? insn.dst : insn.src;
      if (hasRegister && (against > 9 || (this.#once >>> against) & 1)) continue;
      const bound = hasRegister ? { register: against } : { imm: insn.imm };
      let variable = register;
      let place = jump;
      let narrow = false;
      let def = this.#step(variable);
      if (def === undefined) {
        // It may be a copy, made in the same block.
        const copy = this.#copyIn(block, register, jump);
        if (copy === undefined) continue;
        ({ variable, place, narrow } = copy);
        def = this.#step(variable);
        if (def === undefined) continue;
      }
      const at = this.#layout.position[node]!;
      const stepped = def.position < at || (def.position === at && def.insn < place);
      return { variable, step: this.#insns[def.insn]!.imm, def, narrow, stepped, bound, mirrored };
    }
    return undefined;
  }

  #copyIn(block: Block, register: number, before: number) {
    let found: { variable: number; place: number; narrow: boolean } | undefined;
    for (let i = block.start; i < before; i = nextInsn(this.#insns, i)) {
      const insn = this.#insns[i]!;
      if (((writeMask(insn) >>> register) & 1) === 0) continue;
      found = undefined;
      const cls = insnClass(insn.code);
      if (cls !== CLASS.ALU && cls !== CLASS.ALU64) continue;
      if (insnOp(insn.code) !== ALU_OP.MOV || insnSource(insn.code) !== SOURCE.X || insn.off !== 0) continue;
      if (insn.src < 10) found = { variable: insn.src, place: i, narrow: cls === CLASS.ALU };
    }
    return found;
  }

  /** Where the register is stepped by a constant, if that is all that happens to it in a round. */
  #step(register: number): { insn: number; position: number } | undefined {
    if (register > 9 || ((this.#once >>> register) & 1) === 0 || (this.#more >>> register) & 1)
      return undefined;
    for (const node of this.#passed) {
      const block = this.#blocks[node]!;
      for (let i = block.start; i < block.end; i = nextInsn(this.#insns, i)) {
        const insn = this.#insns[i]!;
        if (((writeMask(insn) >>> register) & 1) === 0) continue;
        const cls = insnClass(insn.code);
        const adds =
          (cls === CLASS.ALU || cls === CLASS.ALU64) &&
          insnOp(insn.code) === ALU_OP.ADD &&
          insnSource(insn.code) === SOURCE.K;
        if (!adds || insn.imm === 0 || Math.abs(insn.imm) > MOST_STEP) return undefined;
        return { insn: i, position: this.#layout.position[node]! };
      }
    }
    return undefined;
  }

  /** The constant that the register holds wherever the loop is entered. */
  #constantBefore(register: number): Constant | undefined {
    const header = this.#layout.order[this.#start]!;
    let found: Constant | undefined;
    for (const pred of this.#blocks[header]!.preds) {
      if (this.#isInside(this.#layout.position[pred]!)) continue;
      const constant = this.#constantAtEnd(pred, register);
      if (constant === undefined) return undefined;
      if (found !== undefined && (found.low !== constant.low || found.high !== constant.high))
        return undefined;
      found = constant;
    }
    return found;
  }

  #constantAtEnd(from: number, register: number): Constant | undefined {
    let node = from;
    let looks = MOST_INSNS_BACK;
    for (let steps = 0; steps < MOST_STEPS_BACK; steps++) {
      const block = this.#blocks[node]!;
      for (let i = block.end - 1; i >= block.start; i--) {
        if (i > block.start && this.#insns[i - 1]!.code === LD_IMM64) i--;
        if ((writeMask(this.#insns[i]!) >>> register) & 1) return this.#constantOf(i);
        if (--looks < 0) return undefined;
      }
      if (block.preds.length !== 1) return undefined;
      node = block.preds[0]!;
    }
    return undefined;
  }

  #constantOf(i: number): Constant | undefined {
    const insn = this.#insns[i]!;
    if (insn.code === LD_IMM64) {
      if (this.#module.program.calls[i] !== undefined) return undefined;
      return { low: insn.imm, high: this.#insns[i + 1]?.imm ?? 0 };
    }
    const isMove = insnOp(insn.code) === ALU_OP.MOV && insnSource(insn.code) === SOURCE.K;
    const cls = insnClass(insn.code);
    if (!isMove || (cls !== CLASS.ALU && cls !== CLASS.ALU64)) return undefined;
    return { low: insn.imm, high: cls === CLASS.ALU64 ? insn.imm >> 31 : 0 };
  }
}

interface Constant {
  readonly low: number;
  readonly high: number;
}

export function isBudgetCheck(insn: Insn): boolean {
  return (
    insnClass(insn.code) === CLASS.ST && insnMode(insn.code) === MODE.NOSPEC && insn.imm === BUDGET_CHECK_IMM
  );
}

const SIGNED: ReadonlySet<number> = new Set([JMP_OP.JSGT, JMP_OP.JSGE, JMP_OP.JSLT, JMP_OP.JSLE]);
const TAKEN: Readonly<Record<number, Test>> = {
  [JMP_OP.JNE]: 'ne',
  [JMP_OP.JLT]: 'lt',
  [JMP_OP.JSLT]: 'lt',
  [JMP_OP.JLE]: 'le',
  [JMP_OP.JSLE]: 'le',
  [JMP_OP.JGT]: 'gt',
  [JMP_OP.JSGT]: 'gt',
  [JMP_OP.JGE]: 'ge',
  [JMP_OP.JSGE]: 'ge',
};
const NOT_TAKEN: Readonly<Record<number, Test>> = {
  [JMP_OP.JEQ]: 'ne',
  [JMP_OP.JLT]: 'ge',
  [JMP_OP.JSLT]: 'ge',
  [JMP_OP.JLE]: 'gt',
  [JMP_OP.JSLE]: 'gt',
  [JMP_OP.JGT]: 'le',
  [JMP_OP.JSGT]: 'le',
  [JMP_OP.JGE]: 'lt',
  [JMP_OP.JSGE]: 'lt',
};
const MIRROR: Readonly<Record<Test, Test>> = { ne: 'ne', lt: 'gt', le: 'ge', gt: 'lt', ge: 'le' };

function testOf(op: number, goesOn: boolean, mirrored: boolean): Test | undefined {
  const test = (goesOn ? TAKEN : NOT_TAKEN)[op];
  return test === undefined || !mirrored ? test : MIRROR[test];
}

interface Counting {
  readonly from: Constant;
  readonly step: number;
  readonly stepped: boolean;
  readonly bound: number;
  readonly test: Test;
  readonly wide: boolean;
  /** Negative numbers on the way would not be compared as such. */
  readonly positive: boolean;
}

/** Rounds until the test fails, where no number on the way wraps in any reading; undefined: it is not that simple. */
function roundsOf({ from, step, stepped, bound, test, wide, positive }: Counting): number | undefined {
  if (wide && from.high !== from.low >> 31) return undefined;
  const first = from.low + (stepped ? step : 0);
  const edge = test === 'le' ? bound + 1 : test === 'ge' ? bound - 1 : bound;
  const distance = step > 0 ? edge - first : first - edge;
  const size = Math.abs(step);
  if (test === 'ne' && (distance < 0 || distance % size !== 0)) return undefined;
  const rounds = distance <= 0 ? 0 : Math.ceil(distance / size);
  const last = first + rounds * step;
  const low = Math.min(from.low, first, last, bound, edge);
  const high = Math.max(from.low, first, last, bound, edge);
  if (low < -0x8000_0000 || high > 0x7fff_ffff) return undefined;
  return positive && low < 0 ? undefined : rounds;
}
