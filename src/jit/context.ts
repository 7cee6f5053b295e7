/**
 * What the emitters of one function share: the writer, the registers as locals, and what is known about them.
 *
 * Registers R0..R9 and the promoted slots of the stack are locals, each an i64 and an i32 as far as needed: which of the two holds a
 * value is told by the form of its web (`forms.ts`), so it is known wherever code is made. R10 is kept as `frame`, the i32 offset of the lowest byte of the frame
 * (R10 - stackDepth), so that accesses to the stack need no subtraction and callees get it as their own R10.
 * Addresses are 32-bit offsets: a base is wrapped to its low half; a positive instruction offset goes into the memory
 * argument, a negative one is added in 32 bits, so that the address wraps as the guest's low half would. (A memory
 * argument does not wrap: base + offset beyond 4 GiB traps, where a wrapped address would read the NULL page.)
 */
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { BUDGET_SPENT, RUN_STATE } from '../memory/layout.ts';
import { FORM, type Forms } from './forms.ts';
import { KNOWN, type Known } from './known.ts';
import { type ModuleContext, pushRunState } from './module-context.ts';
import { type LocalGroup, OP, TYPE, type ValueType } from './wasm/index.ts';
import type { CodeWriter } from './wasm/writer.ts';
import { FIRST_SLOT, VARIABLES, type Webs } from './webs.ts';

export class FunctionContext {
  readonly w: CodeWriter;
  readonly module: ModuleContext;
  readonly known: Known;
  readonly webs: Webs;
  readonly forms: Forms;
  /** Locals of each variable by width; -1: none yet. */
  readonly #wide = new Int32Array(VARIABLES).fill(-1);
  readonly #narrow = new Int32Array(VARIABLES).fill(-1);
  /** Node of each variable at the instruction that code is made for; -1: it is dead. */
  readonly #current = new Int32Array(VARIABLES).fill(-1);
  /** The instruction that code is made for: what it sets, it defines. */
  at = 0;
  readonly #frame: number;
  /** Bytes between `frame` and R10. */
  readonly stackDepth: number;
  readonly #parameters: number;
  readonly #locals: ValueType[] = [];
  readonly #scratch = new Map<string, number>();
  /** i32 local with what is left of the run's budget; -1: the program has none. */
  readonly #budget: number;
  /** What is being emitted is paid for: there are no checks in it. */
  isPaid = false;
  /** R0 is NULL exactly where this i32 local is 0; -1: nothing is known. */
  nullTest = -1;

  constructor(
    module: ModuleContext,
    writer: CodeWriter,
    known: Known,
    options: { parameters: number; stackDepth: number; webs: Webs; forms: Forms; spends: boolean },
  ) {
    this.module = module;
    this.w = writer;
    this.known = known;
    this.stackDepth = options.stackDepth;
    this.webs = options.webs;
    this.forms = options.forms;
    let local = 0;
    for (let r = 1; r <= 5; r++) if ((options.parameters >> r) & 1) this.#wide[r] = local++;
    this.#frame = local++;
    this.#parameters = local;
    this.#budget = options.spends ? this.#newLocal(TYPE.i32) : -1;
  }

  #newLocal(type: ValueType): number {
    return this.#parameters + this.#locals.push(type) - 1;
  }

  /** Where the function starts: parameters whose webs are i32s become such. */
  enterFunction(): void {
    this.enterBlock(0);
    for (let r = 1; r <= 5; r++) {
      const local = this.#wide[r]!;
      if (local < 0 || this.#current[r]! < 0 || !this.isNarrow(r)) continue;
      this.w.get(local);
      this.w.op(OP.i32WrapI64);
      this.w.set(this.#narrowLocal(r));
    }
  }

  /** From here on the code of a block is made. */
  enterBlock(block: number): void {
    this.webs.enter(block, this.#current);
    this.nullTest = -1;
  }

  #wideLocal(variable: number): number {
    const local = this.#wide[variable]!;
    if (local >= 0) return local;
    this.#wide[variable] = this.#newLocal(TYPE.i64);
    return this.#wide[variable]!;
  }

  #narrowLocal(variable: number): number {
    const local = this.#narrow[variable]!;
    if (local >= 0) return local;
    this.#narrow[variable] = this.#newLocal(TYPE.i32);
    return this.#narrow[variable]!;
  }

  /** Whether the variable is an i32 at present. */
  isNarrow(variable: number): boolean {
    return this.forms.form(this.#current[variable]!) !== FORM.wide;
  }

  /** Whether what the instruction defines is an i32. */
  definesNarrow(): boolean {
    return this.forms.form(this.at - this.webs.start) !== FORM.wide;
  }

  /** Whether the upper half of the variable is known to be zero. */
  isZeroExtended(variable: number): boolean {
    return variable !== 10 && this.forms.isZero(this.#current[variable]!);
  }

  /** A local for a value that does not live beyond one instruction; the same one for the same purpose. */
  scratch(purpose: string, type: ValueType): number {
    let local = this.#scratch.get(purpose);
    if (local === undefined) {
      local = this.#newLocal(type);
      this.#scratch.set(purpose, local);
    }
    return local;
  }

  locals(): LocalGroup[] {
    const groups: { count: number; type: ValueType }[] = [];
    for (const type of this.#locals) {
      const last = groups[groups.length - 1];
      if (last !== undefined && last.type === type) last.count++;
      else groups.push({ count: 1, type });
    }
    return groups;
  }

  /** Pushes the address of a place of RUN_STATE of the CPU that runs. */
  runState(place: number): void {
    pushRunState(this.w, this.module, place);
  }

  /** The budget from memory: where the function starts, and after whatever else may have used it. */
  loadBudget(): void {
    if (this.#budget < 0) return;
    this.runState(RUN_STATE.budget);
    this.w.memory(OP.i32Load, 0);
    this.w.set(this.#budget);
  }

  /** The budget to memory, for whoever runs next. */
  storeBudget(): void {
    if (this.#budget < 0) return;
    this.runState(RUN_STATE.budget);
    this.w.get(this.#budget);
    this.w.memory(OP.i32Store, 0);
  }

  /** Whether what is being emitted has to pay. */
  get budgeted(): boolean {
    return this.#budget >= 0 && !this.isPaid;
  }

  /** Pushes what is left. */
  pushBudget(): void {
    this.w.get(this.#budget);
  }

  /** Takes the i32 on the stack off. */
  payPushed(): void {
    const spent = this.scratch('budget.spent', TYPE.i32);
    this.w.set(spent);
    this.w.get(this.#budget);
    this.w.get(spent);
    this.w.op(OP.i32Sub);
    this.w.set(this.#budget);
  }

  /** Pushes whether the budget has room for so many rounds. */
  hasBudget(rounds: number): void {
    this.w.get(this.#budget);
    this.w.i32(rounds);
    this.w.op(OP.i32GeS);
  }

  /** Takes off what there is room for. */
  payBudget(rounds: number): void {
    this.w.get(this.#budget);
    this.w.i32(rounds);
    this.w.op(OP.i32Sub);
    this.w.set(this.#budget);
  }

  /** Takes 1 off; traps where nothing is left. */
  spendBudget(): void {
    if (!this.budgeted) return;
    const { w } = this;
    w.get(this.#budget);
    w.i32(1);
    w.op(OP.i32Sub);
    w.tee(this.#budget);
    w.i32(0);
    w.op(OP.i32LtS);
    w.block(OP.if, TYPE.empty);
    this.runState(RUN_STATE.budget);
    w.i32(BUDGET_SPENT);
    w.memory(OP.i32Store, 0);
    w.op(OP.unreachable);
    w.op(OP.end);
  }

  /** Local with the address of the access that is being emitted, where it was worked out already; -1: not so. */
  place = -1;

  get frameLocal(): number {
    return this.#frame;
  }

  /** Pushes R`register`, or a slot, as i64. Of one whose upper half is nobody's concern that half is zero. */
  get(register: number): void {
    const { w } = this;
    if (register === 10) {
      this.frameAddress(0);
      return;
    }
    const node = this.#current[register]!;
    const form = this.forms.form(node);
    if (form === FORM.wide) {
      w.get(this.#wideLocal(register));
      return;
    }
    const local = this.#narrowLocal(register);
    w.get(local);
    w.op(OP.i64ExtendI32U);
    if (form !== FORM.pointer) return;
    this.kernelHalf();
    if (!this.forms.mayBeNull(node)) return;
    w.i64(0);
    w.get(local);
    w.op(OP.select);
  }

  /** Pops an i64 into R`register`, or a slot. */
  set(register: number): void {
    const { w } = this;
    if (this.#define(register) === FORM.wide) w.set(this.#wideLocal(register));
    else {
      w.op(OP.i32WrapI64);
      w.set(this.#narrowLocal(register));
    }
  }

  /** Pops the i32 that is the low half of what R`register`, or a slot, becomes; its upper half is zero, or nobody's concern. */
  setLow(register: number): void {
    const { w } = this;
    if (this.#define(register) !== FORM.wide) w.set(this.#narrowLocal(register));
    else {
      w.op(OP.i64ExtendI32U);
      w.set(this.#wideLocal(register));
    }
  }

  /** The variable has a new definition; gives its form. */
  #define(variable: number): number {
    const node = this.at - this.webs.start;
    this.#current[variable] = node;
    if (variable === 0) this.nullTest = -1;
    return this.forms.form(node);
  }

  /** Pushes the low half of R`register`, or of a slot, as i32. */
  getLow(register: number): void {
    const { w, known } = this;
    if (register < FIRST_SLOT) {
      if (known.isFrame(register)) {
        this.frameOffset(known.frameOffset(register));
        return;
      }
      if (known.kind[register] === KNOWN.constant) {
        w.i32(known.low[register]!);
        return;
      }
    }
    if (this.isNarrow(register)) w.get(this.#narrowLocal(register));
    else {
      w.get(this.#wideLocal(register));
      w.op(OP.i32WrapI64);
    }
  }

  /** Pushes the high half of R`register` as i32. */
  getHigh(register: number): void {
    const { w, known } = this;
    if (known.isFrame(register)) w.i32(KERNEL_HI_SIGNED);
    else if (known.kind[register] === KNOWN.constant) w.i32(known.high[register]!);
    else {
      this.get(register);
      w.i64(32);
      w.op(OP.i64ShrU);
      w.op(OP.i32WrapI64);
    }
  }

  /** Pushes the offset of R10 + `offset` as i32. */
  frameOffset(offset: number): void {
    const { w } = this;
    w.get(this.#frame);
    const delta = this.stackDepth + offset;
    if (delta === 0) return;
    w.i32(delta);
    w.op(OP.i32Add);
  }

  /** Pushes the address R10 + `offset` as i64. */
  frameAddress(offset: number): void {
    this.frameOffset(offset);
    this.w.op(OP.i64ExtendI32U);
    this.kernelHalf();
  }

  /** Sets the upper half of the zero-extended offset on the stack. */
  kernelHalf(): void {
    this.w.i64Halves(0, KERNEL_HI_SIGNED);
    this.w.op(OP.i64Or);
  }

  /**
   * Pushes the i32 base of an access to R`register` + `offset` and gives what remains for the memory argument.
   */
  address(register: number, offset: number): number {
    const { w, known } = this;
    if (this.place >= 0) {
      w.get(this.place);
      return 0;
    }
    if (known.isFrame(register)) {
      const delta = this.stackDepth + known.frameOffset(register) + offset;
      w.get(this.#frame);
      if (delta >= 0) return delta;
      w.i32(delta);
      w.op(OP.i32Add);
      return 0;
    }
    if (known.kind[register] === KNOWN.constant) {
      w.i32((known.low[register]! + offset) | 0);
      return 0;
    }
    this.getLow(register);
    if (offset >= 0) return offset;
    w.i32(offset);
    w.op(OP.i32Add);
    return 0;
  }
}
