/**
 * What the emitters of one function share: the writer, the registers as locals, and what is known about them.
 *
 * Registers R0..R9 are i64 locals. R10 is kept as `frame`, the i32 offset of the lowest byte of the frame
 * (R10 - stackDepth), so that accesses to the stack need no subtraction and callees get it as their own R10.
 * Addresses are 32-bit offsets: a base is wrapped to its low half; a positive instruction offset goes into the memory
 * argument, a negative one is added in 32 bits, so that the address wraps as the guest's low half would. (A memory
 * argument does not wrap: base + offset beyond 4 GiB traps, where a wrapped address would read the NULL page.)
 */
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { BUDGET_SPENT, RUN_STATE } from '../memory/layout.ts';
import { KNOWN, type Known } from './known.ts';
import { type ModuleContext, pushRunState } from './module-context.ts';
import { type LocalGroup, OP, TYPE, type ValueType } from './wasm/index.ts';
import type { CodeWriter } from './wasm/writer.ts';

export class FunctionContext {
  readonly w: CodeWriter;
  readonly module: ModuleContext;
  readonly known: Known;
  /** Local of each register R0..R9; -1: the function does not name it. */
  readonly #registers: readonly number[];
  readonly #frame: number;
  /** Bytes between `frame` and R10. */
  readonly stackDepth: number;
  readonly #parameters: number;
  readonly #locals: ValueType[] = [];
  readonly #scratch = new Map<string, number>();
  /** i32 local with what is left of the run's budget; -1: the program has none. */
  readonly #budget: number;
  /** R0 is NULL exactly where this i32 local is 0; -1: nothing is known. */
  nullTest = -1;

  constructor(
    module: ModuleContext,
    writer: CodeWriter,
    known: Known,
    options: { parameters: number; named: number; stackDepth: number },
  ) {
    this.module = module;
    this.w = writer;
    this.known = known;
    this.stackDepth = options.stackDepth;
    const registers: number[] = new Array(10).fill(-1);
    let local = 0;
    for (let r = 1; r <= 5; r++) if ((options.parameters >> r) & 1) registers[r] = local++;
    this.#frame = local++;
    this.#parameters = local;
    for (let r = 0; r < 10; r++) {
      if (registers[r]! < 0 && ((options.named | 1) >> r) & 1) registers[r] = this.#newLocal(TYPE.i64);
    }
    this.#registers = registers;
    this.#budget = module.program.budgeted ? this.#newLocal(TYPE.i32) : -1;
  }

  #newLocal(type: ValueType): number {
    return this.#parameters + this.#locals.push(type) - 1;
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

  /** Takes 1 off; traps where nothing is left. */
  spendBudget(): void {
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

  get frameLocal(): number {
    return this.#frame;
  }

  /** Pushes R`register` as i64. */
  get(register: number): void {
    if (register === 10) this.frameAddress(0);
    else this.w.get(this.#registers[register]!);
  }

  /** Pops an i64 into R`register`. */
  set(register: number): void {
    this.w.set(this.#registers[register]!);
    if (register === 0) this.nullTest = -1;
  }

  tee(register: number): void {
    this.w.tee(this.#registers[register]!);
    if (register === 0) this.nullTest = -1;
  }

  /** Pushes the low half of R`register` as i32. */
  getLow(register: number): void {
    const { w, known } = this;
    if (known.isFrame(register)) this.frameOffset(known.frameOffset(register));
    else if (known.kind[register] === KNOWN.constant) w.i32(known.low[register]!);
    else {
      this.get(register);
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
    this.get(register);
    w.op(OP.i32WrapI64);
    if (offset >= 0) return offset;
    w.i32(offset);
    w.op(OP.i32Add);
    return 0;
  }
}
