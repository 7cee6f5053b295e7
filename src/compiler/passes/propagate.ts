/**
 * Facts of all numbers of a function at once, along the edges that can be taken (sparse conditional propagation, Wegman and Zadeck
 * 1991, over bits and bounds), with what branches say about the values they compare. Then: what is constant becomes so, decided
 * branches go, operations with sign lose it, masks that change nothing go.
 *
 * Invariant for the kernel's verifier: where a fact is one that the verifier does not find itself (`soft`), neither a mask nor a
 * comparison of a number that a pointer or a call depends on is removed.
 */
import {
  type Block,
  bitsOf,
  constant,
  Dominators,
  detach,
  FLAG,
  type Func,
  findLoops,
  hasEffect,
  INVERSE,
  type Inst,
  isConst,
  type Predicate,
  replaceUses,
  SWAPPED,
  setArg,
  sweep,
  type Value,
} from '../ir/index.ts';
import {
  decide,
  exactly,
  type Facts,
  intersect,
  isKnown,
  isNonNegative,
  ofLeaf,
  refine,
  sameFacts,
  transfer,
  union,
  unknown,
  widen,
} from './facts.ts';
import type { Whole } from './interprocedural.ts';
import { maskOf } from './masks.ts';
import { reachesPointer } from './pointed.ts';
import { Said } from './said.ts';

const MAX_ROUNDS = 16;
/** Rounds after which phis that still move are let go. */
const WIDEN_AFTER = 3;

const isNumber = (value: Value): boolean => value.type !== 'ptr' && value.type !== 'void';

/** Operations between what a loop has of its last round and what it takes to the next one. */
const COUNTER_DEPTH = 6;

class Propagation {
  private readonly func: Func;
  private readonly dom: Dominators;
  /** By the number of an instruction. */
  private readonly known: (Facts | undefined)[] = [];
  /** When what is known of an instruction changed last, and when it was looked at last. */
  private readonly changedAt: number[] = [];
  private readonly lookedAt: number[] = [];
  /** Values that are no instructions. */
  private readonly leavesChangedAt = new Map<Value, number>();
  /** By block: when its branch was listened to, when an edge was found to lead there. */
  private readonly listenedAt = new Map<Block, number>();
  private readonly enteredAt = new Map<Block, number>();
  private now = 0;
  private readonly said = new Map<Value, Said>();
  private readonly reached = new Set<Block>();
  private readonly taken = new Map<Block, Set<Block>>();
  private readonly pointed = new Map<Value, boolean>();

  private readonly insts: Inst[] = [];
  private readonly whole: Whole;

  constructor(func: Func, whole: Whole) {
    this.func = func;
    this.whole = whole;
    this.dom = new Dominators(func);
    for (const block of func.blocks)
      for (const inst of block.insts) {
        inst.id = this.known.length;
        this.insts.push(inst);
        this.known.push(undefined);
        this.changedAt.push(0);
        this.lookedAt.push(-1);
      }
  }

  private hasChanged(value: Value, since: number): boolean {
    if (value.kind === 'inst') return this.changedAt[value.id]! > since;
    return value.kind !== 'const' && (this.leavesChangedAt.get(value) ?? 0) > since;
  }

  /** Whether `learn` may say something else of a condition than it did. */
  private conditionChanged(cond: Value, since: number, depth = 0): boolean {
    if (cond.kind !== 'inst' || depth > 4) return false;
    if (cond.op === 'and' || cond.op === 'or')
      return cond.args.some((arg) => this.conditionChanged(arg, since, depth + 1));
    if (cond.op !== 'icmp') return false;
    return cond.args.some(
      (arg) =>
        this.hasChanged(arg, since) ||
        (arg.kind === 'inst' && arg.args.length > 0 && this.hasChanged(arg.args[0]!, since)),
    );
  }

  /** Whether something that the facts of an instruction are made of changed since they were. */
  private isStale(inst: Inst, block: Block): boolean {
    const since = this.lookedAt[inst.id]!;
    if (since < 0) return true;
    const { args } = inst;
    for (let i = 0; i < args.length; i++) if (this.hasChanged(args[i]!, since)) return true;
    if (inst.op !== 'phi') return false;
    if (this.enteredAt.get(block)! > since) return true;
    for (const from of inst.targets) {
      const last = from.terminator!;
      if (last.op === 'condbr' && this.conditionChanged(last.args[0]!, since)) return true;
    }
    return false;
  }

  /** Facts of a value in a block; undefined: not computed yet. */
  private at(value: Value, block: Block): Facts | undefined {
    let facts: Facts | undefined;
    if (value.kind === 'param') {
      // Legal parameters are wider than what was said of them.
      facts = this.whole.params.get(value);
      if (facts?.bits !== bitsOf(value.type)) facts = ofLeaf(value);
    } else if (value.kind !== 'inst') facts = ofLeaf(value);
    else if (!isNumber(value)) facts = unknown(bitsOf(value.type));
    else facts = this.known[value.id];
    if (facts === undefined) return undefined;
    return this.said.get(value)?.refine(facts, block) ?? facts;
  }

  private reachesPointer(value: Value): boolean {
    return reachesPointer(value, this.pointed);
  }

  about(value: Value, block: Block): Facts | undefined {
    if (value.kind === 'inst' && this.insts[value.id] !== value) return undefined;
    return this.reached.has(block) && isNumber(value) ? this.at(value, block) : undefined;
  }

  /** Whether the comparison may be decided by what is known. */
  private mayDecide(inst: Inst, a: Facts, b: Facts): boolean {
    if (!a.soft && !b.soft) return true;
    return !this.reachesPointer(inst.args[0]!) && !this.reachesPointer(inst.args[1]!);
  }

  private truth(inst: Inst, block: Block): Facts | undefined {
    const a = this.at(inst.args[0]!, block);
    const b = this.at(inst.args[1]!, block);
    if (a === undefined || b === undefined) return undefined;
    if (a.bits === 64 && inst.args[0]!.type === 'ptr') return unknown(1);
    const decided = decide(inst.pred, a, b);
    if (decided === undefined || !this.mayDecide(inst, a, b)) return unknown(1);
    return exactly(1, decided ? 1n : 0n);
  }

  /** Facts where a condition has a truth value: calls `say` for each value that it tells something of. */
  private learn(
    cond: Value,
    truth: boolean,
    block: Block,
    say: (value: Value, facts: Facts) => void,
    depth = 0,
  ): void {
    if (cond.kind !== 'inst' || depth > 4) return;
    if (cond.op === 'and' || cond.op === 'or') {
      if ((cond.op === 'and') !== truth) return;
      for (const arg of cond.args) this.learn(arg, truth, block, say, depth + 1);
      return;
    }
    if (cond.op !== 'icmp') return;
    const [a, b] = cond.args as [Value, Value];
    if (!isNumber(a) || a.type === 'i1') return;
    const pred = truth ? cond.pred : INVERSE[cond.pred];
    const fa = this.at(a, block);
    const fb = this.at(b, block);
    if (fa === undefined || fb === undefined) return;
    this.tell(a, pred, fa, fb, say, block);
    if (!isConst(b)) this.tell(b, SWAPPED[pred], fb, fa, say, block);
  }

  private tell(
    value: Value,
    pred: Predicate,
    facts: Facts,
    other: Facts,
    say: (value: Value, facts: Facts) => void,
    block: Block,
  ): void {
    if (isConst(value)) return;
    const more = refine(pred, facts, other);
    say(value, more);
    if (value.kind !== 'inst') return;
    // What it was made of; the verifier sees another register there.
    const inner = value.args[0]!;
    if ((value.op === 'zext' || value.op === 'sext') && inner.type !== 'i1') {
      const narrow = transfer(
        { op: 'trunc', type: inner.type, args: [value] } as unknown as Inst,
        () => more,
      );
      say(inner, { ...narrow, soft: true });
    } else if (value.op === 'and' && isConst(value.args[1])) {
      const mask = value.args[1].value;
      const before = this.at(inner, block) ?? unknown(more.bits);
      say(
        inner,
        intersect(
          { ...before, soft: true },
          {
            ...unknown(more.bits),
            zero: more.zero & mask,
            one: more.one & mask,
            soft: true,
          },
        ),
      );
    }
  }

  private edge(from: Block, to: Block): boolean {
    let set = this.taken.get(from);
    if (set === undefined) {
      set = new Set();
      this.taken.set(from, set);
    }
    if (set.has(to)) return false;
    set.add(to);
    this.enteredAt.set(to, ++this.now);
    return true;
  }

  private phi(inst: Inst, block: Block): Facts | undefined {
    let facts: Facts | undefined;
    for (let i = 0; i < inst.args.length; i++) {
      const from = inst.targets[i]!;
      if (this.taken.get(from)?.has(block) !== true) continue;
      const arg = inst.args[i]!;
      if (arg.kind === 'undef') continue;
      let one = this.at(arg, from);
      if (one === undefined) continue;
      const last = from.terminator!;
      if (last.op === 'condbr' && last.targets[0] !== last.targets[1]) {
        let more: Facts | undefined;
        this.learn(last.args[0]!, last.targets[0] === block, from, (value, said) => {
          if (value === arg) more = said;
        });
        if (more !== undefined) one = intersect(one, more);
      }
      facts = facts === undefined ? one : union(facts, one);
    }
    return facts;
  }

  private result(call: Inst): Facts {
    const known = call.callee?.kind === 'function' ? this.whole.results.get(call.callee.func) : undefined;
    const none = unknown(bitsOf(call.type));
    return known === undefined || known.bits !== none.bits ? none : { ...known, soft: true };
  }

  /** Writes down what others want to know of this function. */
  private tellOthers(block: Block): void {
    for (const inst of block.insts) {
      if (inst.op !== 'call' || inst.callee?.kind !== 'function') continue;
      this.whole.arguments.set(
        inst,
        inst.args.map((arg) => this.at(arg, block) ?? unknown(bitsOf(arg.type))),
      );
    }
    const last = block.terminator!;
    const value = last.args[0];
    if (last.op !== 'ret' || value === undefined || !isNumber(value)) return;
    const one = this.at(value, block) ?? unknown(bitsOf(value.type));
    this.returned = this.returned === undefined ? one : union(this.returned, one);
  }

  private returned: Facts | undefined;

  /** True where a fixed point was found. */
  solve(): boolean {
    this.reached.add(this.func.entry);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      let changed = false;
      for (const block of this.dom.order) {
        if (!this.reached.has(block)) continue;
        changed = this.listen(block) || changed;
        for (const inst of block.insts) {
          if (!isNumber(inst) || !this.isStale(inst, block)) continue;
          this.lookedAt[inst.id] = this.now;
          let facts: Facts | undefined;
          if (inst.op === 'phi') facts = this.phi(inst, block);
          else if (inst.op === 'icmp') facts = this.truth(inst, block);
          else if (inst.op === 'call') facts = this.result(inst);
          else {
            let ready = true;
            facts = transfer(inst, (value) => {
              const one = this.at(value, block);
              if (one === undefined) ready = false;
              return one ?? unknown(bitsOf(value.type));
            });
            if (!ready) facts = undefined;
          }
          if (facts === undefined) continue;
          const before = this.known[inst.id];
          if (before !== undefined) {
            if (sameFacts(before, facts)) continue;
            if (round >= WIDEN_AFTER) facts = widen(before, union(before, facts));
            if (sameFacts(before, facts)) continue;
          }
          this.known[inst.id] = facts;
          this.changedAt[inst.id] = ++this.now;
          changed = true;
        }
        changed = this.leave(block) || changed;
      }
      if (!changed) return true;
    }
    return false;
  }

  /** What the branch into a block says. */
  private listen(block: Block): boolean {
    if (block.preds.length !== 1) return false;
    let changed = false;
    const [pred] = block.preds;
    const last = pred!.terminator!;
    const since = this.listenedAt.get(block);
    if (since !== undefined && (last.op !== 'condbr' || !this.conditionChanged(last.args[0]!, since)))
      return false;
    this.listenedAt.set(block, this.now);
    const say = (value: Value, facts: Facts): void => {
      let said = this.said.get(value);
      if (said === undefined) {
        said = new Said(this.dom);
        this.said.set(value, said);
      }
      const before = said.get(block);
      if (before !== undefined && sameFacts(before, facts)) return;
      said.set(block, facts);
      this.now++;
      if (value.kind === 'inst') this.changedAt[value.id] = this.now;
      else this.leavesChangedAt.set(value, this.now);
      changed = true;
    };
    if (last.op === 'condbr' && last.targets[0] !== last.targets[1])
      this.learn(last.args[0]!, last.targets[0] === block, pred!, say);
    else if (last.op === 'switch') {
      const value = last.args[0]!;
      const cases = last.cases.filter((_, i) => last.targets[i + 1] === block);
      if (last.targets[0] !== block && cases.length > 0 && value.kind !== 'const')
        say(value, cases.map((one) => exactly(bitsOf(value.type), one)).reduce(union));
    }
    return changed;
  }

  private leave(block: Block): boolean {
    const last = block.terminator;
    if (last === undefined) return false;
    let targets: readonly Block[] = last.targets;
    const cond = last.args[0];
    if ((last.op === 'condbr' || last.op === 'switch') && cond !== undefined) {
      const facts = cond.kind === 'undef' ? unknown(bitsOf(cond.type)) : this.at(cond, block);
      if (facts === undefined) return false;
      if (last.op === 'condbr') {
        if (isKnown(facts)) targets = [last.targets[facts.umin !== 0n ? 0 : 1]!];
      } else if (isKnown(facts)) targets = [last.targets[last.cases.indexOf(facts.umin) + 1]!];
    }
    let changed = false;
    for (const target of targets) {
      changed = this.edge(block, target) || changed;
      this.reached.add(target);
    }
    return changed;
  }

  /**
   * Tests that are known never to leave their loop, for reasons that the verifier may not find: they tell it that the loop ends,
   * and the unrolling how often it runs.
   */
  private findExits(counters: ReadonlySet<Value>): Set<Value> {
    const exits = new Set<Value>();
    for (const loop of findLoops(this.dom))
      for (const block of loop.blocks) {
        const last = block.terminator;
        if (last?.op !== 'condbr' || this.taken.get(block)?.size !== 1) continue;
        const cond = last.args[0]!;
        if (cond.kind !== 'inst' || cond.op !== 'icmp') continue;
        const [yes, no] = last.targets as [Block, Block];
        if (loop.blocks.has(yes) === loop.blocks.has(no)) continue;
        const stays = loop.blocks.has(yes) === this.taken.get(block)!.has(yes);
        const changes = cond.args.some((arg) => {
          const facts = this.at(arg, block);
          return facts !== undefined && (!isKnown(facts) || isMadeOf(arg, counters));
        });
        if (stays && changes) exits.add(cond);
      }
    return exits;
  }

  /**
   * What loops that go round again take from their last round, made of what they had then: counters. One that is known to be the same
   * each time, for reasons that the verifier may not find, would be to it a loop that goes nowhere.
   */
  private findCounters(): Set<Value> {
    const counters = new Set<Value>();
    for (const { header, blocks, latches } of findLoops(this.dom)) {
      const back = latches.filter((latch) => this.taken.get(latch)?.has(header) === true);
      if (back.length === 0) continue;
      const leads = (value: Value, depth: number): boolean => {
        if (value.kind !== 'inst' || !blocks.has(value.block!)) return false;
        if (value.op === 'phi') return value.block === header;
        if (depth === 0 || hasEffect(value)) return false;
        const found = value.args.filter((arg) => leads(arg, depth - 1)).length > 0;
        if (found) counters.add(value);
        return found;
      };
      for (const phi of header.insts) {
        if (phi.op !== 'phi') break;
        phi.args.forEach((arg, i) => {
          if (back.includes(phi.targets[i]!)) leads(arg, COUNTER_DEPTH);
        });
      }
    }
    return counters;
  }

  apply(): boolean {
    let changed = false;
    const counters = this.findCounters();
    const exits = this.findExits(counters);
    for (const block of this.dom.order) {
      if (!this.reached.has(block)) continue;
      this.tellOthers(block);
      for (const inst of block.insts) {
        if (!isNumber(inst) || inst.block === undefined) continue;
        const facts = this.known[inst.id];
        if (facts === undefined) continue;
        if (
          isKnown(facts) &&
          !hasEffect(inst) &&
          inst.op !== 'opaque' &&
          inst.op !== 'core' &&
          inst.op !== 'constant_p' &&
          !exits.has(inst) &&
          !counters.has(inst)
        ) {
          if (inst.users.size === 0) continue;
          replaceUses(inst, constant(inst.type, facts.umin));
          changed = true;
          continue;
        }
        changed = this.simplify(inst, block, facts) || changed;
      }
      const last = block.terminator!;
      const taken = this.taken.get(block);
      if (
        last.op === 'condbr' &&
        !isConst(last.args[0]) &&
        !exits.has(last.args[0]!) &&
        taken?.size === 1 &&
        last.targets[0] !== last.targets[1]
      ) {
        setArg(last, 0, constant('i1', taken.has(last.targets[0]!) ? 1n : 0n));
        changed = true;
      }
    }
    if (this.returned !== undefined) this.whole.results.set(this.func, this.returned);
    if (changed) sweep(this.func);
    return changed;
  }

  private simplify(inst: Inst, block: Block, facts: Facts): boolean {
    const [a, b] = inst.args;
    const of = (value: Value): Facts => this.at(value, block) ?? unknown(bitsOf(value.type));
    switch (inst.op) {
      case 'and': {
        if (inst.type === 'i1' || !isConst(b)) return false;
        const one = of(a!);
        if ((~one.zero & ~b.value & maskOf(facts.bits)) !== 0n) return false;
        if (one.soft && this.reachesPointer(inst)) return false;
        return this.become(inst, a!);
      }
      case 'or':
        if (inst.type === 'i1' || !isConst(b)) return false;
        return (b.value & ~of(a!).one) === 0n ? this.become(inst, a!) : false;
      case 'sext':
        if (a!.type === 'i1' || !isNonNegative(of(a!))) return false;
        inst.op = 'zext';
        inst.flags |= FLAG.NNEG;
        return true;
      case 'ashr':
      case 'lshr': {
        // Forth and back over bits that hold nothing.
        if (
          a!.kind === 'inst' &&
          a!.op === 'shl' &&
          isConst(b) &&
          isConst(a!.args[1]) &&
          a!.args[1].value === b.value
        ) {
          const inner = of(a!.args[0]!);
          const room = BigInt(inner.bits) - b.value;
          const fits =
            inst.op === 'lshr'
              ? inner.umax >> room === 0n
              : inner.smin >= -(1n << (room - 1n)) && inner.smax < 1n << (room - 1n);
          if (room > 0n && fits && !(inner.soft && this.reachesPointer(inst)))
            return this.become(inst, a!.args[0]!);
        }
        if (inst.op === 'lshr' || !isNonNegative(of(a!))) return false;
        inst.op = 'lshr';
        return true;
      }
      case 'sdiv':
      case 'srem':
        if (!isNonNegative(of(a!)) || !isNonNegative(of(b!))) return false;
        inst.op = inst.op === 'sdiv' ? 'udiv' : 'urem';
        return true;
      case 'urem':
        return of(a!).umax < of(b!).umin ? this.become(inst, a!) : false;
      default:
        return false;
    }
  }

  private become(inst: Inst, value: Value): boolean {
    replaceUses(inst, value);
    detach(inst);
    return true;
  }
}

/** Asks what is known of a number in a block. */
export type FactsOf = (value: Value, block: Block) => Facts | undefined;

/** What is known of the numbers of a function as it is now; of those that are made later nothing is. */
export function findFacts(func: Func, whole: Whole): FactsOf {
  const propagation = new Propagation(func, whole);
  return propagation.solve() ? (value, block) => propagation.about(value, block) : () => undefined;
}

/** True where something changed; the caller cleans up. */
export function propagate(func: Func, whole: Whole): boolean {
  const propagation = new Propagation(func, whole);
  return propagation.solve() && propagation.apply();
}

/** Operations that make another width or part of a number. */
const RESIZING: ReadonlySet<string> = new Set(['zext', 'sext', 'trunc', 'shl', 'ashr', 'lshr', 'and']);

/** One of the values, or extended, cut or shifted from one. */
function isMadeOf(value: Value, values: ReadonlySet<Value>): boolean {
  for (let at = value; at.kind === 'inst'; at = at.args[0]!) {
    if (values.has(at)) return true;
    if (!RESIZING.has(at.op)) return false;
  }
  return false;
}
