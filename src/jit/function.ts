/**
 * One subprogram to one Wasm function body: scopes from the layout, blocks in its order, branches by label depth.
 * Invariant: every instruction leaves the operand stack empty, so that blocks have no parameters and no results.
 */
import { CLASS, insnClass, insnMode, insnOp, JMP_OP, LD_IMM64, MODE } from '../asm/opcodes.ts';
import type { ExecutableSubprog } from '../contracts/engine.ts';
import { alignUp } from '../util/bytes.ts';
import { BpfError, InternalError } from '../util/errors.ts';
import { emitAlu } from './alu.ts';
import { emitArenaAccess, emitCast, isCast } from './arena.ts';
import { emitAtomic } from './atomic.ts';
import { emitCall } from './call.ts';
import { type Block, isJumpClass, nextInsn } from './cfg.ts';
import { emitCondition } from './compare.ts';
import { FunctionContext } from './context.ts';
import { Forms } from './forms.ts';
import { KNOWN, Known, KnownStates } from './known.ts';
import { emitLoad, emitStore } from './memory.ts';
import type { ModuleContext } from './module-context.ts';
import { emitHasRoom, emitSettle } from './paid-emit.ts';
import { findPaidLoops, isBudgetCheck, type PaidLoop, totalOf } from './paid-loops.ts';
import { findRotations, NO_ROTATIONS, type Rotations } from './rotates.ts';
import { promotedWebs } from './slots.ts';
import { emitStoreRun } from './store-runs.ts';
import { type Layout, type Scope, structure } from './structure.ts';
import { blockWrites, writeMask } from './usage.ts';
import { emitVectorLoop } from './vector-emit.ts';
import { planVectorLoop } from './vector-loop.ts';
import { CodeWriter, type LocalGroup, OP, TYPE } from './wasm/index.ts';

/** Where the code of an instruction starts: `offsets[i]` bytes into the body for instruction `insns[i]` of the program as given. */
export interface Marks {
  readonly offsets: number[];
  readonly insns: number[];
}

const NO_PAID_LOOPS: ReadonlyMap<number, PaidLoop> = new Map();

/** Of an open scope that is no target. */
const NOWHERE = -1;

export interface CompiledFunction {
  readonly locals: readonly LocalGroup[];
  readonly code: Uint8Array;
  readonly marks: Marks;
}

export function compileFunction(
  module: ModuleContext,
  subprog: ExecutableSubprog,
  index: number,
  blocks: readonly Block[],
): CompiledFunction {
  return new FunctionCompiler(module, subprog, index, blocks).compile();
}

class FunctionCompiler {
  readonly #module: ModuleContext;
  readonly #blocks: readonly Block[];
  readonly #layout: Layout;
  readonly #f: FunctionContext;
  readonly #w: CodeWriter;
  readonly #known = new Known();
  readonly #marks: Marks = { offsets: [], insns: [] };
  /** By position; and the one that is being emitted without checks, where what it spends shows when it is left. */
  #paidLoops: ReadonlyMap<number, PaidLoop> = NO_PAID_LOOPS;
  #paid: PaidLoop | undefined;
  /** Of the block that code is made for. */
  #rotations: Rotations = NO_ROTATIONS;
  /** i32 local by which dispatch nodes choose. */
  #selector = -1;
  /** Open scopes: position to which a branch to them leads. */
  readonly #open: number[] = [];
  /** Place in `#open` of the scope by which a position is reached forward, and as a loop header. */
  readonly #blockTo = new Map<number, number>();
  readonly #loopTo = new Map<number, number>();

  constructor(module: ModuleContext, subprog: ExecutableSubprog, index: number, blocks: readonly Block[]) {
    this.#module = module;
    this.#blocks = blocks;
    this.#layout = structure(blocks.map((block) => block.succs));
    const parameters = module.parametersOf[index]!;
    const webs = promotedWebs(module.program, subprog, blocks, module.parametersOf);
    const forms = new Forms(module.program, webs, parameters, module.parametersOf);
    this.#w = new CodeWriter(64 + (subprog.end - subprog.start) * 12);
    if (module.blinding !== undefined) this.#w.blindWith(module.blinding);
    const spends =
      module.program.budgeted === true && module.keepsBudget[index]! && spendsItself(module, blocks);
    if (spends) this.#paidLoops = findPaidLoops(module, blocks, this.#layout);
    this.#f = new FunctionContext(module, this.#w, this.#known, {
      spends,
      parameters,
      stackDepth: alignUp(subprog.stackDepth, 8),
      webs,
      forms,
    });
  }

  compile(): CompiledFunction {
    const w = this.#w;
    if (this.#f.stackDepth > 0) {
      w.get(this.#f.frameLocal);
      w.i32(this.#f.stackDepth);
      w.op(OP.i32Sub);
      w.set(this.#f.frameLocal);
    }
    this.#f.loadBudget();
    this.#f.enterFunction();
    if (this.#layout.depth > this.#module.maxNesting) this.#emitByTable();
    else this.#emitStructured();
    w.op(OP.unreachable);
    return { locals: this.#f.locals(), code: w.finish(), marks: this.#marks };
  }

  // -------------------------------------------------------------------------------------------------------------
  // Structured form

  #emitStructured(): void {
    const flow = new ForwardKnowledge(this.#module, this.#blocks, this.#layout);
    this.#emitRange(0, this.#layout.order.length, 0, flow, this.#paidLoops);
  }

  /** Emits the positions `from`..`to`, whose scopes are those from `next` on; gives the first scope behind them. */
  #emitRange(
    from: number,
    to: number,
    next: number,
    flow: ForwardKnowledge,
    paidLoops: ReadonlyMap<number, PaidLoop>,
  ): number {
    const w = this.#w;
    const { order, scopes, dispatch } = this.#layout;
    const closing: Scope[] = [];
    let scopeAt = next;
    for (let at = from; at < to; ) {
      while (closing.length > 0 && closing[closing.length - 1]!.end === at) this.#close(closing.pop()!);
      let end = at;
      for (; scopeAt < scopes.length && scopes[scopeAt]!.start === at; scopeAt++) {
        const scope = scopes[scopeAt]!;
        if (scope.kind === 'loop') {
          const isInVectors = scope.end === at + 1 && this.#emitInVectors(at, flow, closing);
          const paid = isInVectors ? undefined : paidLoops.get(at);
          if (paid !== undefined) {
            scopeAt = this.#emitPaid(paid, scopeAt, flow);
            end = scope.end;
            break;
          }
        }
        closing.push(scope);
        w.block(scope.kind === 'loop' ? OP.loop : OP.block, TYPE.empty);
        const map = scope.kind === 'loop' ? this.#loopTo : this.#blockTo;
        map.set(scope.kind === 'loop' ? scope.start : scope.end, this.#open.length);
        this.#open.push(scope.kind === 'loop' ? scope.start : scope.end);
      }
      if (end > at) {
        at = end;
        continue;
      }
      const node = order[at]!;
      flow.enter(at, this.#known);
      const selectors = dispatch.get(node);
      if (selectors !== undefined) this.#emitDispatch(node, at, selectors);
      else this.#emitBlock(node, at);
      flow.leave(at, this.#known);
      at++;
    }
    while (closing.length > 0) this.#close(closing.pop()!);
    return scopeAt;
  }

  /** Emits a loop twice: without checks where the budget has room for all of it, and as it is. */
  #emitPaid(loop: PaidLoop, scope: number, flow: ForwardKnowledge): number {
    const w = this.#w;
    const { start, end, order } = { ...loop, order: this.#layout.order };
    const header = order[start]!;
    flow.before(start, this.#known);
    this.#f.enterBlock(header);
    this.#mark(this.#blocks[header]!.start);
    emitHasRoom(this.#f, loop);
    w.block(OP.if, TYPE.empty);
    this.#open.push(NOWHERE);
    const total = totalOf(loop);
    if (total === undefined) this.#paid = loop;
    else this.#f.payBudget(total);
    this.#f.isPaid = true;
    this.#emitRange(start, end, scope, flow, NO_PAID_LOOPS);
    this.#paid = undefined;
    this.#f.isPaid = false;
    w.op(OP.else);
    const next = this.#emitRange(start, end, scope, flow, NO_PAID_LOOPS);
    w.op(OP.end);
    this.#open.pop();
    return next;
  }

  /** Whether the way from a node to a position leaves the loop that is paid for. */
  #leavesPaid(to: number): boolean {
    return this.#paid !== undefined && (to < this.#paid.start || to >= this.#paid.end);
  }

  /** Puts what can be done in vectors in front of the loop of the block at position `at`, and opens a block around both if need be. */
  #emitInVectors(at: number, flow: ForwardKnowledge, closing: Scope[]): boolean {
    const { order, position, succs } = this.#layout;
    const node = order[at]!;
    const block = this.#blocks[node];
    if (block?.terminator !== 'branch') return false;
    const exit = block.succs[0] === node ? block.succs[1]! : block.succs[0]!;
    const isPlain = succs[node]![0] === block.succs[0] && succs[node]![1] === block.succs[1];
    if (!isPlain || exit === node || position[exit] !== at + 1) return false;
    const entry = new Known();
    flow.before(at, entry);
    const loop = planVectorLoop(this.#f, block, node, exit, entry);
    if (loop === undefined) return false;
    flow.enter(at, this.#known);
    this.#f.enterBlock(node);
    this.#mark(block.start);
    if (loop.whole) {
      this.#w.block(OP.block, TYPE.empty);
      closing.push({ kind: 'block', start: at, end: at + 1 });
      // Nobody branches to it by its position.
      this.#open.push(NOWHERE);
    }
    emitVectorLoop(this.#f, loop);
    return true;
  }

  #mark(i: number): void {
    this.#marks.offsets.push(this.#w.length);
    this.#marks.insns.push(this.#module.source(i));
  }

  #close(scope: Scope): void {
    this.#w.op(OP.end);
    if (this.#open.pop() === NOWHERE) return;
    if (scope.kind === 'loop') this.#loopTo.delete(scope.start);
    else this.#blockTo.delete(scope.end);
  }

  #emitBlock(node: number, at: number): void {
    const block = this.#blocks[node]!;
    const last = this.#emitBody(node);
    switch (block.terminator) {
      case 'exit':
        this.#f.storeBudget();
        this.#f.get(0);
        this.#w.op(OP.return);
        break;
      case 'fall_off':
        this.#w.op(OP.unreachable);
        break;
      case 'goto':
        this.#select(node, 0);
        this.#jump(node, 0, at);
        break;
      case 'branch':
        this.#emitBranch(node, at, last);
        break;
    }
  }

  #emitBranch(node: number, at: number, jump: number): void {
    const { position, succs } = this.#layout;
    const insn = this.#module.program.insns[jump]!;
    const [taken, other] = succs[node]! as [number, number];
    if (taken === other) {
      // Both ways lead through one dispatch node: the condition chooses the selector.
      for (const target of this.#blocks[node]!.succs) this.#w.i32(this.#layout.selector[target]!);
      emitCondition(this.#f, insn, false, jump);
      this.#w.op(OP.select);
      this.#w.set(this.#selectorLocal());
      this.#jump(node, 0, at);
      return;
    }
    const inverted = position[taken] === at + 1;
    const first = inverted ? 1 : 0;
    this.#select(node, first);
    emitCondition(this.#f, insn, inverted, jump);
    const to = position[succs[node]![first]!]!;
    if (this.#leavesPaid(to)) {
      this.#w.block(OP.if, TYPE.empty);
      this.#open.push(NOWHERE);
      emitSettle(this.#f, this.#paid!, node);
      this.#w.index(OP.br, this.#label(to, at));
      this.#open.pop();
      this.#w.op(OP.end);
    } else this.#w.index(OP.brIf, this.#label(to, at));
    this.#select(node, 1 - first);
    this.#jump(node, 1 - first, at);
  }

  /** Goes to successor `which` of the node at position `at`, by falling through where it comes next. */
  #jump(node: number, which: number, at: number): void {
    const to = this.#layout.position[this.#layout.succs[node]![which]!]!;
    if (this.#leavesPaid(to)) emitSettle(this.#f, this.#paid!, node);
    if (to !== at + 1) this.#w.index(OP.br, this.#label(to, at));
  }

  #label(to: number, from: number): number {
    const place = to > from ? this.#blockTo.get(to) : this.#loopTo.get(to);
    if (place === undefined) throw new InternalError(`jit: no scope leads from block ${from} to ${to}`);
    return this.#open.length - 1 - place;
  }

  // -------------------------------------------------------------------------------------------------------------
  // Irreducible regions

  #needsSelector(node: number, which: number): boolean {
    return this.#layout.succs[node]![which] !== this.#blocks[node]!.succs[which];
  }

  /** Tells the dispatch node on the way which of its entries is meant. */
  #select(node: number, which: number): void {
    if (!this.#needsSelector(node, which)) return;
    this.#w.i32(this.#layout.selector[this.#blocks[node]!.succs[which]!]!);
    this.#w.set(this.#selectorLocal());
  }

  #selectorLocal(): number {
    if (this.#selector < 0) this.#selector = this.#f.scratch('selector', TYPE.i32);
    return this.#selector;
  }

  #emitDispatch(node: number, at: number, selectors: readonly number[]): void {
    const { position, succs } = this.#layout;
    let low = selectors[0]!;
    let high = low;
    for (const selector of selectors) {
      low = Math.min(low, selector);
      high = Math.max(high, selector);
    }
    const labels = succs[node]!.map((next) => this.#label(position[next]!, at));
    const table: number[] = new Array(high - low + 1).fill(labels[0]!);
    selectors.forEach((selector, i) => {
      table[selector - low] = labels[i]!;
    });
    this.#w.get(this.#selectorLocal());
    if (low > 0) {
      this.#w.i32(low);
      this.#w.op(OP.i32Sub);
    }
    this.#w.brTable(table, labels[0]!);
  }

  // -------------------------------------------------------------------------------------------------------------
  // Last resort: a program whose scopes would nest too deeply. Blocks are numbered; a loop around all of them goes to
  // the block whose number the selector holds, through a table of groups and a table in each group, so that nesting
  // grows with the square root of their number.

  #emitByTable(): void {
    const w = this.#w;
    const selector = this.#selectorLocal();
    const count = this.#blocks.length;
    const size = Math.ceil(Math.sqrt(count));
    const groups = Math.ceil(count / size);
    w.block(OP.loop, TYPE.empty);
    for (let g = 0; g < groups; g++) w.block(OP.block, TYPE.empty);
    w.get(selector);
    w.i32(size);
    w.op(OP.i32DivU);
    w.brTable(range(groups), 0);
    for (let g = 0; g < groups; g++) {
      const first = g * size;
      const inGroup = Math.min(size, count - first);
      w.op(OP.end);
      for (let i = 0; i < inGroup; i++) w.block(OP.block, TYPE.empty);
      w.get(selector);
      w.i32(first);
      w.op(OP.i32Sub);
      w.brTable(range(inGroup), 0);
      for (let i = 0; i < inGroup; i++) {
        w.op(OP.end);
        // Blocks still open: those of the group, those of the groups behind it; then the loop.
        this.#emitTableBlock(first + i, inGroup - 1 - i + (groups - 1 - g));
      }
    }
    w.op(OP.end);
  }

  #emitTableBlock(node: number, loop: number): void {
    const w = this.#w;
    const block = this.#blocks[node]!;
    const selector = this.#selectorLocal();
    this.#known.reset();
    const last = this.#emitBody(node);
    const go = (to: number, op: number, condition?: () => void) => {
      w.i32(to);
      w.set(selector);
      condition?.();
      w.index(op, loop);
    };
    switch (block.terminator) {
      case 'exit':
        this.#f.storeBudget();
        this.#f.get(0);
        w.op(OP.return);
        break;
      case 'fall_off':
        w.op(OP.unreachable);
        break;
      case 'branch':
        go(block.succs[0]!, OP.brIf, () =>
          emitCondition(this.#f, this.#module.program.insns[last]!, false, last),
        );
        go(block.succs[1]!, OP.br);
        break;
      case 'goto':
        go(block.succs[0]!, OP.br);
        break;
    }
  }

  // -------------------------------------------------------------------------------------------------------------
  // Instructions

  /** Emits a block but for its jump; gives the index of its last instruction. */
  #emitBody(node: number): number {
    const { insns } = this.#module.program;
    const block = this.#blocks[node]!;
    this.#f.enterBlock(node);
    this.#rotations = findRotations(insns, block);
    let last = block.start;
    for (let i = block.start; i < block.end; ) {
      const insn = insns[i]!;
      this.#mark(i);
      if (writeMask(insn) >> 10 !== 0 || insn.src > 10 || insn.dst > 10) {
        throw new BpfError('EINVAL', `jit: instruction ${i} has a register that cannot be used so`);
      }
      last = i;
      this.#f.at = i;
      const after = nextInsn(insns, i);
      if (isJumpClass(insn.code)) {
        if (insnOp(insn.code) === JMP_OP.CALL) emitCall(this.#f, this.#module.program.calls[i], i);
        i = after;
        continue;
      }
      i = this.#emitInsn(i, after, block.end);
    }
    return last;
  }

  /** Emits the instruction at `i`; gives the next one to emit. */
  #emitInsn(i: number, after: number, end: number): number {
    const { insns, probeLoads } = this.#module.program;
    const insn = insns[i]!;
    const f = this.#f;
    if (this.#module.program.arena?.accesses.has(i)) {
      emitArenaAccess(f, insn, () => {
        if (insnMode(insn.code) === MODE.ATOMIC) emitAtomic(f, insn, i);
        else if (insnClass(insn.code) === CLASS.LDX) emitLoad(f, insn, false, i);
        else emitStore(f, insn);
      });
      return after;
    }
    if (isCast(insn)) {
      emitCast(f, insn);
      return after;
    }
    switch (insnClass(insn.code)) {
      case CLASS.ALU:
      case CLASS.ALU64:
        this.#keepForRotation(i);
        if (this.#emitRotation(i)) return after;
        // Two shifts may be emitted as one, but not where the value between them is kept.
        return (
          i + emitAlu(f, insn, after < end && !this.#rotations.keep.has(after) ? insns[after] : undefined, i)
        );
      case CLASS.LDX:
        emitLoad(f, insn, probeLoads.has(i), i);
        return after;
      case CLASS.ST:
        if (insnMode(insn.code) === MODE.MEM) return this.#emitStores(i, after, end);
        if (insnMode(insn.code) !== MODE.NOSPEC) this.#unknown(i);
        else if (isBudgetCheck(insn)) f.spendBudget();
        return after;
      case CLASS.STX:
        if (insnMode(insn.code) === MODE.MEM) return this.#emitStores(i, after, end);
        if (insnMode(insn.code) === MODE.ATOMIC) emitAtomic(f, insn, i);
        else this.#unknown(i);
        return after;
      default:
        if (insn.code !== LD_IMM64) this.#unknown(i);
        this.#emitImmediate(i);
        return after;
    }
  }

  #emitStores(i: number, after: number, end: number): number {
    const { insns } = this.#module.program;
    const next = emitStoreRun(this.#f, insns, i, end);
    if (next !== i) return next;
    emitStore(this.#f, insns[i]!);
    return after;
  }

  #keepForRotation(i: number): void {
    const kept = this.#rotations.keep.get(i);
    if (kept === undefined) return;
    const { dst } = this.#module.program.insns[i]!;
    if (kept.wide) this.#f.get(dst);
    else this.#f.getLow(dst);
    this.#w.set(this.#keptLocal(kept.kept, kept.wide));
  }

  #keptLocal(kept: number, wide: boolean): number {
    return this.#f.scratch(`kept${wide ? 64 : 32}.${kept}`, wide ? TYPE.i64 : TYPE.i32);
  }

  /** Emits the instruction as a rotation, where it is one whose operand's upper half was kept. */
  #emitRotation(i: number): boolean {
    const rotation = this.#rotations.at.get(i);
    const f = this.#f;
    if (rotation === undefined || (rotation.wide && f.definesNarrow())) return false;
    const { dst } = this.#module.program.insns[i]!;
    this.#w.get(this.#keptLocal(rotation.kept, rotation.wide));
    if (rotation.wide) {
      this.#w.i64(rotation.by);
      this.#w.op(OP.i64Rotl);
      f.set(dst);
    } else {
      this.#w.i32(rotation.by);
      this.#w.op(OP.i32Rotl);
      f.setLow(dst);
    }
    this.#known.forget(dst);
    return true;
  }

  #emitImmediate(i: number): void {
    const { insns, calls } = this.#module.program;
    const insn = insns[i]!;
    const target = calls[i];
    if (target?.kind === 'callback') {
      const token = this.#module.tokenGlobal.get(target.index);
      if (token === undefined) throw new InternalError(`jit: no token for the callback at ${i}`);
      this.#w.index(OP.globalGet, token);
      this.#w.op(OP.i64ExtendI32U);
      this.#f.set(insn.dst);
      this.#known.set(insn.dst, KNOWN.callback, target.index);
      return;
    }
    const high = insns[i + 1]?.imm ?? 0;
    if (this.#f.definesNarrow()) {
      this.#w.i32(insn.imm);
      this.#f.setLow(insn.dst);
    } else {
      this.#w.i64Halves(insn.imm, high);
      this.#f.set(insn.dst);
    }
    this.#known.set(insn.dst, KNOWN.constant, insn.imm, high);
  }

  #unknown(i: number): never {
    const { code } = this.#module.program.insns[i]!;
    throw new BpfError('EOPNOTSUPP', `jit: no translation of instruction ${i}: code 0x${code.toString(16)}`);
  }
}

/** Whether the function takes anything off the budget, other than what functions that keep it themselves take. */
function spendsItself({ program, keepsBudget }: ModuleContext, blocks: readonly Block[]): boolean {
  for (const block of blocks) {
    for (let i = block.start; i < block.end; i = nextInsn(program.insns, i)) {
      if (isBudgetCheck(program.insns[i]!)) return true;
      const target = program.calls[i];
      if (target?.kind === 'subprog' && !keepsBudget[target.index]) return true;
      if (target?.kind === 'function' && target.row?.callbackShape === 'loop') return true;
    }
  }
  return false;
}

function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

/** Carries `Known` along the forward edges of the layout. */
class ForwardKnowledge {
  readonly #preds: number[][];
  readonly #exits: KnownStates;
  /** Registers that the loop with its header at a position writes; all of them for a dispatch loop. */
  readonly #loopWrites = new Map<number, number>();

  constructor(module: ModuleContext, blocks: readonly Block[], layout: Layout) {
    const { order, position, succs, scopes, dispatch } = layout;
    this.#preds = Array.from({ length: order.length }, () => []);
    this.#exits = new KnownStates(order.length);
    order.forEach((node, at) => {
      for (const next of succs[node]!) if (position[next]! > at) this.#preds[position[next]!]!.push(at);
    });
    const loops = scopes.filter((scope) => scope.kind === 'loop');
    if (loops.length === 0) return;
    const writes = Int32Array.from(order, (node) =>
      node < blocks.length ? blockWrites(module.program.insns, blocks[node]!) : 0,
    );
    // Deep nests would make this quadratic: past a budget nothing is known at a loop's header.
    let budget = order.length * 20 + 1000;
    for (const { start, end } of loops) {
      budget -= end - start;
      let mask = dispatch.has(order[start]!) || budget < 0 ? ~0 : 0;
      if (mask === 0) for (let at = start; at < end; at++) mask |= writes[at]!;
      this.#loopWrites.set(start, mask);
    }
  }

  /** What is known where a position is entered from in front of it; of a loop: where it is entered first. */
  before(at: number, known: Known): void {
    const preds = this.#preds[at]!;
    if (preds.length === 0) known.reset();
    else {
      this.#exits.load(preds[0]!, known);
      for (let i = 1; i < preds.length; i++) this.#exits.meet(preds[i]!, known);
    }
  }

  enter(at: number, known: Known): void {
    this.before(at, known);
    const writes = this.#loopWrites.get(at);
    if (writes !== undefined) known.forgetAll(writes);
  }

  leave(at: number, known: Known): void {
    this.#exits.save(at, known);
  }
}
