/**
 * Loops of one block over 32-bit elements, four elements at a time. What qualifies: a count that is known, loads and stores of
 * elements that follow one another (or of one place), sums and bit operations between them, and registers that are stepped by a
 * constant, collect (`+=`, `|=`, `&=`, `^=`), or do not matter behind the loop. Whatever is not understood leaves the loop as it is.
 *
 * The block is followed symbolically: a register's low half is a linear expression of what registers hold where a round begins,
 * or a vector. Four rounds at once read and write in the order of one round, so each store must be apart from every other access by
 * a vector, or be at the same place; where that depends on registers it is tested in front of the loop, which then runs as it was.
 */
import {
  ALU_OP,
  accessBytes,
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
import type { Insn } from '../contracts/insn.ts';
import { type Block, nextInsn } from './cfg.ts';
import type { FunctionContext } from './context.ts';
import { FORM } from './forms.ts';
import { KNOWN, type Known } from './known.ts';
import { OP } from './wasm/index.ts';
import { slotOf, VARIABLES } from './webs.ts';

export const LANES = 4;
const BYTES = 4;
const VECTOR = LANES * BYTES;
const MOST_INSNS = 64;
const MOST_CHECKS = 6;
const FEWEST_ROUNDS = 2 * LANES;

/** Low half of a number: constant plus registers (10: the frame pointer), each times a factor; `step`: what a round adds. */
export interface Linear {
  readonly kind: 'linear';
  readonly factors: ReadonlyMap<number, number>;
  readonly constant: number;
  readonly step: number;
}
/** Four low halves: the result of an operation of the list. */
interface Vector {
  readonly kind: 'vector';
  readonly at: number;
}
/** What a register that is carried from round to round holds where the round begins; `with`: put together with a vector since. */
interface Carried {
  readonly kind: 'carried';
  readonly variable: number;
  readonly op: number;
  readonly with: number;
}
type Value = Linear | Vector | Carried;

export type Operation =
  | { readonly kind: 'load' | 'load_one'; readonly place: Linear }
  | { readonly kind: 'number'; readonly value: Linear }
  | { readonly kind: 'binary'; readonly op: number; readonly a: number; readonly b: number }
  | { readonly kind: 'shift'; readonly op: number; readonly a: number; readonly by: number }
  | { readonly kind: 'store'; readonly place: Linear; readonly value: number }
  | { readonly kind: 'collect'; readonly op: number; readonly variable: number; readonly value: number };

export interface Induction {
  readonly step: number;
  readonly def: number;
  readonly wide: boolean;
}

export interface Collector {
  readonly op: number;
  /** Registers that hold the result behind the loop, by their last definition. */
  readonly to: ReadonlyMap<number, number>;
}

interface Access {
  readonly place: Linear;
  readonly bytes: number;
  readonly store: boolean;
}

/** Distance of `low`..`high` (bytes, of places with the factors of `to`) from a store that must not be met. */
export interface Check {
  readonly store: Linear;
  readonly to: Linear;
  low: number;
  high: number;
}

export interface VectorLoop {
  /** Rounds in vectors, four at a time; `whole`: none is left for the loop as it was. */
  readonly rounds: number;
  readonly whole: boolean;
  readonly operations: readonly Operation[];
  readonly inductions: ReadonlyMap<number, Induction>;
  readonly collectors: ReadonlyMap<number, Collector>;
  readonly checks: readonly Check[];
  /** Bytes that a store covers. */
  readonly span: number;
}

const LANE_OPS: Readonly<Record<number, number>> = {
  [ALU_OP.ADD]: OP.i32x4Add,
  [ALU_OP.SUB]: OP.i32x4Sub,
  [ALU_OP.MUL]: OP.i32x4Mul,
  [ALU_OP.AND]: OP.v128And,
  [ALU_OP.OR]: OP.v128Or,
  [ALU_OP.XOR]: OP.v128Xor,
};
export const COLLECTS: Readonly<
  Record<number, { readonly lanes: number; readonly one: number; readonly from: number }>
> = {
  [ALU_OP.ADD]: { lanes: OP.i32x4Add, one: OP.i32Add, from: 0 },
  [ALU_OP.OR]: { lanes: OP.v128Or, one: OP.i32Or, from: 0 },
  [ALU_OP.XOR]: { lanes: OP.v128Xor, one: OP.i32Xor, from: 0 },
  [ALU_OP.AND]: { lanes: OP.v128And, one: OP.i32And, from: -1 },
};

/** `node` loops to itself and goes on to `exit`; `entry`: what is known where the loop is entered. Undefined: it stays as it is. */
export function planVectorLoop(
  f: FunctionContext,
  block: Block,
  node: number,
  exit: number,
  entry: Known,
): VectorLoop | undefined {
  if (block.end - block.start > MOST_INSNS) return undefined;
  try {
    return new Planner(f, block, node, exit, entry).plan();
  } catch (error) {
    if (error === NOT_POSSIBLE) return undefined;
    throw error;
  }
}

/** Thrown where a loop turns out to be none of ours. */
const NOT_POSSIBLE = new Error('not a vector loop');
const give = (): never => {
  throw NOT_POSSIBLE;
};

const number = (constant: number): Linear => ({
  kind: 'linear',
  factors: new Map(),
  constant: constant | 0,
  step: 0,
});

function combined(a: Linear, b: Linear, sign: 1 | -1): Linear {
  const factors = new Map(a.factors);
  for (const [variable, factor] of b.factors) {
    const sum = ((factors.get(variable) ?? 0) + sign * factor) | 0;
    if (sum === 0) factors.delete(variable);
    else factors.set(variable, sum);
  }
  if (factors.size > 4) give();
  return {
    kind: 'linear',
    factors,
    constant: (a.constant + sign * b.constant) | 0,
    step: (a.step + sign * b.step) | 0,
  };
}

function times(a: Linear, by: number): Linear {
  return {
    kind: 'linear',
    factors: new Map([...a.factors].map(([variable, factor]) => [variable, Math.imul(factor, by)])),
    constant: Math.imul(a.constant, by),
    step: Math.imul(a.step, by),
  };
}

const moved = (a: Linear, by: number): Linear => ({ ...a, constant: (a.constant + by) | 0 });

function sameFactors(a: Linear, b: Linear): boolean {
  if (a.factors.size !== b.factors.size) return false;
  for (const [variable, factor] of a.factors) if (b.factors.get(variable) !== factor) return false;
  return true;
}

class Planner {
  readonly #f: FunctionContext;
  readonly #insns: readonly Insn[];
  readonly #block: Block;
  readonly #node: number;
  readonly #exit: number;
  readonly #entry: Known;
  readonly #operations: Operation[] = [];
  readonly #accesses: Access[] = [];
  readonly #inductions = new Map<number, Induction>();
  readonly #collected = new Map<number, { value: Carried; op: number; to: Map<number, number> }>();
  /** Carried registers that were put together with something: once is all they may be. */
  readonly #used = new Set<number>();
  readonly #lastDef = new Map<number, number>();
  readonly #values: (Value | undefined)[] = new Array(VARIABLES).fill(undefined);
  #written = 0;

  constructor(f: FunctionContext, block: Block, node: number, exit: number, entry: Known) {
    this.#f = f;
    this.#insns = f.module.program.insns;
    this.#block = block;
    this.#node = node;
    this.#exit = exit;
    this.#entry = entry;
  }

  plan(): VectorLoop {
    const { webs } = this.#f;
    const last = this.#scan();
    const live = webs.liveIn[this.#node]!;
    for (let v = 0; v < VARIABLES; v++) {
      if ((this.#written >>> v) & (live >>> v) & 1 && !this.#inductions.has(v))
        this.#values[v] = { kind: 'carried', variable: v, op: -1, with: -1 };
    }
    for (let i = this.#block.start; i < last; i = nextInsn(this.#insns, i)) this.#insn(i);
    for (let v = 0; v < VARIABLES; v++) {
      if (((this.#written >>> v) & 1) === 0 || this.#inductions.has(v)) continue;
      // Carried from round to round, or wanted behind the loop: other than what is collected the last lane would be needed.
      const isCarried = ((live >>> v) & 1) === 1;
      if (isCarried || (webs.liveIn[this.#exit]! >>> v) & 1) this.#collect(v, isCarried);
    }
    if (this.#operations.every(({ kind }) => kind !== 'store' && kind !== 'collect')) give();
    const count = this.#count(last);
    if (count < FEWEST_ROUNDS) give();
    const whole = count % LANES === 0;
    const span = count * BYTES;
    return {
      rounds: whole ? count / LANES : Math.floor((count - 1) / LANES),
      whole,
      operations: this.#operations,
      inductions: this.#inductions,
      collectors: this.#collected,
      checks: this.#checks(span),
      span,
    };
  }

  /** The variable is what was collected, from round to round or as a copy of that. */
  #collect(variable: number, isCarried: boolean): void {
    const found = this.#values[variable];
    const value = found?.kind === 'carried' && found.op >= 0 ? found : give();
    if (isCarried && value.variable !== variable) give();
    const known = this.#collected.get(value.variable);
    if (known !== undefined && known.value !== value) give();
    if (known === undefined) {
      const { op, with: vector } = value;
      this.#operations.push({ kind: 'collect', op, variable: value.variable, value: vector });
      this.#collected.set(value.variable, { value, op, to: new Map() });
    }
    this.#collected.get(value.variable)!.to.set(variable, this.#lastDef.get(variable)!);
  }

  /** Finds what steps; gives the jump at the end. */
  #scan(): number {
    const { webs } = this.#f;
    const defs = new Map<number, number[]>();
    let last = this.#block.start;
    for (let i = this.#block.start; i < this.#block.end; i = nextInsn(this.#insns, i)) {
      last = i;
      const written = webs.writes(i);
      if (written < 0) continue;
      this.#written |= 1 << written;
      const list = defs.get(written);
      if (list === undefined) defs.set(written, [i]);
      else list.push(i);
    }
    for (const [variable, list] of defs) {
      const def = list[list.length - 1]!;
      this.#lastDef.set(variable, def);
      const { code, imm } = this.#insns[def]!;
      const cls = insnClass(code);
      const adds = (cls === CLASS.ALU || cls === CLASS.ALU64) && insnOp(code) === ALU_OP.ADD;
      if (list.length === 1 && adds && insnSource(code) === SOURCE.K && variable < 10)
        this.#inductions.set(variable, { step: imm, def, wide: cls === CLASS.ALU64 });
    }
    return last;
  }

  /** What a variable holds: of what no instruction of the round has written, what it held where the round began. */
  #value(variable: number): Value {
    const value = this.#values[variable];
    if (value !== undefined) return value;
    const induction = this.#inductions.get(variable);
    if (induction === undefined && variable < 10 && (this.#written >>> variable) & 1) give();
    return {
      kind: 'linear',
      factors: new Map([[variable, 1]]),
      constant: 0,
      step: induction?.step ?? 0,
    };
  }

  #push(operation: Operation): Vector {
    return { kind: 'vector', at: this.#operations.push(operation) - 1 };
  }

  #vector(value: Value): number {
    if (value.kind === 'carried') return give();
    return value.kind === 'vector' ? value.at : this.#push({ kind: 'number', value }).at;
  }

  #place(variable: number, offset: number): Linear {
    const value = this.#value(variable);
    return value.kind === 'linear' ? moved(value, offset) : give();
  }

  #insn(i: number): void {
    const insn = this.#insns[i]!;
    const { program } = this.#f.module;
    // Rounds are paid for in front of the loop.
    const isBarrier = insnClass(insn.code) === CLASS.ST && insnMode(insn.code) === MODE.NOSPEC;
    if (isBarrier && insn.imm === BUDGET_CHECK_IMM && program.budgeted) return;
    if (program.arena?.accesses.has(i) || program.probeLoads.has(i)) give();
    switch (insnClass(insn.code)) {
      case CLASS.LD:
        if (insn.code !== LD_IMM64 || program.calls[i] !== undefined) give();
        this.#values[insn.dst] = number(insn.imm);
        break;
      case CLASS.ALU:
      case CLASS.ALU64:
        this.#alu(i, insn);
        break;
      case CLASS.LDX:
        this.#load(insn);
        break;
      case CLASS.ST:
      case CLASS.STX:
        this.#store(insn);
        break;
      default:
        give();
    }
  }

  #load(insn: Insn): void {
    const slot = slotOf(this.#f.webs.slots, insn);
    if (insnMode(insn.code) !== MODE.MEM) give();
    if (slot >= 0) {
      this.#values[insn.dst] = this.#value(slot);
      return;
    }
    if (accessBytes(insn.code) !== BYTES) give();
    const place = this.#place(insn.src, insn.off);
    const isOne = place.step === 0;
    if (!isOne && place.step !== BYTES) give();
    this.#accesses.push({ place, bytes: isOne ? BYTES : 0, store: false });
    this.#values[insn.dst] = this.#push({ kind: isOne ? 'load_one' : 'load', place });
  }

  #store(insn: Insn): void {
    if (insnMode(insn.code) !== MODE.MEM || accessBytes(insn.code) !== BYTES) give();
    if (slotOf(this.#f.webs.slots, insn) >= 0) give();
    const place = this.#place(insn.dst, insn.off);
    if (place.step !== BYTES) give();
    const stored = insnClass(insn.code) === CLASS.ST ? number(insn.imm) : this.#value(insn.src);
    const value = this.#vector(stored);
    this.#accesses.push({ place, bytes: 0, store: true });
    this.#operations.push({ kind: 'store', place, value });
  }

  #alu(i: number, insn: Insn): void {
    const op = insnOp(insn.code);
    const immediate = insnSource(insn.code) === SOURCE.K;
    const wide = insnClass(insn.code) === CLASS.ALU64;
    const { dst } = insn;
    if (insn.off !== 0) give();
    if (op === ALU_OP.MOV) {
      this.#values[dst] = immediate ? number(insn.imm) : this.#value(insn.src);
      return;
    }
    const a = this.#value(dst);
    const shiftBy = insn.imm & (wide ? 63 : 31);
    if (op === ALU_OP.LSH || op === ALU_OP.RSH || op === ALU_OP.ARSH) {
      if (!immediate || shiftBy > 31) give();
      if (op === ALU_OP.LSH && a.kind === 'linear') {
        this.#values[dst] = times(a, 1 << shiftBy);
        return;
      }
      // The upper half would come down.
      if (wide && op !== ALU_OP.LSH) give();
      const lanes = op === ALU_OP.LSH ? OP.i32x4Shl : op === ALU_OP.RSH ? OP.i32x4ShrU : OP.i32x4ShrS;
      this.#values[dst] = this.#push({ kind: 'shift', op: lanes, a: this.#vector(a), by: shiftBy });
      return;
    }
    const b = immediate ? number(insn.imm) : this.#value(insn.src);
    if (a.kind === 'carried' || b.kind === 'carried') {
      const isLow = !wide || this.#f.forms.form(i - this.#f.webs.start) === FORM.low;
      if (!isLow || COLLECTS[op] === undefined) give();
      this.#values[dst] =
        a.kind === 'carried' ? this.#together(op, a, b) : this.#together(op, b as Carried, a);
      return;
    }
    if ((op === ALU_OP.ADD || op === ALU_OP.SUB) && a.kind === 'linear' && b.kind === 'linear') {
      this.#values[dst] = combined(a, b, op === ALU_OP.ADD ? 1 : -1);
      return;
    }
    const lanes = LANE_OPS[op] ?? give();
    this.#values[dst] = this.#push({ kind: 'binary', op: lanes, a: this.#vector(a), b: this.#vector(b) });
  }

  /** What is carried, put together with one more value. */
  #together(op: number, carried: Carried, value: Value): Carried {
    const vector = this.#vector(value);
    if (carried.op < 0) {
      if (this.#used.has(carried.variable)) give();
      this.#used.add(carried.variable);
      return { ...carried, op, with: vector };
    }
    // (x + a) + b is x + (a + b); the value before must not be wanted as well, which only the register that holds it can tell.
    if (carried.op !== op || this.#values.filter((one) => one === carried).length > 1) give();
    const both = this.#push({ kind: 'binary', op: LANE_OPS[op]!, a: carried.with, b: vector });
    return { ...carried, with: both.at };
  }

  /** How often the loop is run, once entered. */
  #count(last: number): number {
    const insn = this.#insns[last]!;
    const goesOn = this.#block.succs[0] === this.#node;
    const variable = insn.dst;
    const induction = this.#inductions.get(variable) ?? give();
    const value = this.#value(variable);
    if (insnSource(insn.code) !== SOURCE.K || value.kind !== 'linear') return give();
    if (!sameFactors(value, { ...value, factors: new Map([[variable, 1]]) })) give();
    if (value.constant !== induction.step || induction.step <= 0) give();
    const { kind, low, high } = {
      kind: this.#entry.kind[variable],
      low: this.#entry.low[variable]!,
      high: this.#entry.high[variable]!,
    };
    // Signed where both halves say so; in 32 bits the low half is all there is.
    if (kind !== KNOWN.constant || (high !== low >> 31 && !(high === 0 && !induction.wide))) give();
    const distance = insn.imm - low;
    const isNot = JMP_OP.JNE === insnOp(insn.code) ? goesOn : JMP_OP.JEQ === insnOp(insn.code) && !goesOn;
    if (distance <= 0) give();
    if (isNot) {
      // It must be met, or the loop goes round all numbers.
      return distance % induction.step === 0 ? distance / induction.step : give();
    }
    const below =
      insnOp(insn.code) === JMP_OP.JLT || insnOp(insn.code) === JMP_OP.JSLT
        ? goesOn
        : (insnOp(insn.code) === JMP_OP.JGE || insnOp(insn.code) === JMP_OP.JSGE) && !goesOn;
    if (!below || low < 0 || insn.imm + induction.step > 0x7fff_ffff) give();
    return Math.ceil(distance / induction.step);
  }

  /** What must be true of registers for the stores to meet nothing. */
  #checks(span: number): Check[] {
    const checks: Check[] = [];
    const stores = this.#accesses.filter(({ store }) => store);
    for (const store of stores) {
      for (const other of this.#accesses) {
        if (other === store) continue;
        const bytes = other.bytes === 0 ? span : other.bytes;
        const distance = (other.place.constant - store.place.constant) | 0;
        if (sameFactors(store.place, other.place)) {
          const isApart = other.bytes === 0 ? Math.abs(distance) >= VECTOR || distance === 0 : false;
          if (!isApart && distance < span && distance > -bytes) give();
          continue;
        }
        const found = checks.find((c) => c.store === store.place && sameFactors(c.to, other.place));
        if (found === undefined) {
          checks.push({ store: store.place, to: other.place, low: distance, high: distance + bytes });
        } else {
          // Distances are from the store's own constant.
          found.low = Math.min(found.low, distance);
          found.high = Math.max(found.high, distance + bytes);
        }
      }
    }
    if (checks.length > MOST_CHECKS || checks.some(({ low, high }) => high - low > 0x1_0000)) give();
    return checks;
  }
}
