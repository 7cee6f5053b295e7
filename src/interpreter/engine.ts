/** The engine: prepares programs, runs them, and lets helpers call back into them. */
import type { Engine, EngineEnv, ExecutableProgram, PreparedProgram } from '../contracts/engine.ts';
import type { InsnEvent, ProgramObserver } from '../contracts/observe.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { MAX_NESTED_RUNS, RUN_STATE } from '../memory/layout.ts';
import { BpfError, InternalError } from '../util/errors.ts';
import type { Surroundings } from './call.ts';
import { decode, type Strictness } from './decode.ts';
import { begin, execute, resume } from './execute.ts';
import { originOf } from './fault.ts';
import { type LaneState, Machine, type Observer, type Outcome, WRITTEN } from './machine.ts';
import type { Decoded } from './program.ts';
import { StackBytes } from './stack-bytes.ts';

export const DEFAULT_INSTRUCTION_LIMIT = 2 ** 28;

export interface InterpreterOptions {
  /** Instructions of one run (callbacks and tail calls included) after which it is stopped with a ProgramFault. */
  readonly instructionLimit?: number;
  /**
   * Reads of registers that nothing was written to are faults; 'stack': of bytes of the stack as well, as for programs without
   * CAP_PERFMON on Linux. The latter is slow.
   */
  readonly strict?: boolean | 'stack';
  /** Sees every instruction before it runs; see also `InterpretedProgram.observe`. What it throws ends the run. */
  readonly onInsn?: (event: InsnEvent) => void;
}

export interface InterpretedProgram extends PreparedProgram {
  /** Sets or takes away the observer of all programs of this engine and kernel; takes effect with the next run. */
  observe(onInsn: ((event: InsnEvent) => void) | null): void;
}

export interface Interpreter extends Engine {
  prepare(program: ExecutableProgram, env: EngineEnv): InterpretedProgram;
}

/** What this engine keeps for one kernel: its machines and the programs by entry. */
class Processor implements Surroundings {
  readonly env: EngineEnv;
  readonly limit: number;
  observer: Observer | null;
  /** Is told of whole runs. */
  watcher: ProgramObserver | null = null;
  readonly strictness: Strictness;
  readonly #programs = new Map<number, Decoded>();
  readonly #callbacks = new Map<number, { readonly program: Decoded; readonly index: number }>();
  readonly #machines: Machine[];
  /** The machine that runs at present: helpers call back into it. */
  #active: Machine | null = null;

  constructor(env: EngineEnv, options: InterpreterOptions) {
    this.env = env;
    this.limit = options.instructionLimit ?? DEFAULT_INSTRUCTION_LIMIT;
    const { strict = false } = options;
    this.strictness = strict === 'stack' ? strict : strict ? 'registers' : 'nothing';
    this.observer = options.onInsn ?? null;
    this.#machines = Array.from({ length: MAX_NESTED_RUNS }, (_, level) => {
      const machine = new Machine(env.memory, level);
      this.watchStack(machine);
      return machine;
    });
  }

  watchStack(machine: Machine): void {
    if (this.strictness === 'stack') machine.stackBytes ??= new StackBytes(machine.stackBottom);
  }

  programAt(entry: number): Decoded | undefined {
    const known = this.#programs.get(entry);
    // On another CPU than the one that loaded it a program is made when it is first called.
    if (known !== undefined || this.env.entries.bind?.(entry) !== true) return known;
    return this.#programs.get(entry);
  }

  add(entry: number, program: Decoded): void {
    this.#programs.set(entry, program);
  }

  remove(entry: number): void {
    this.#programs.delete(entry);
  }

  callbackAt(token: number): { readonly program: Decoded; readonly index: number } | undefined {
    return this.#callbacks.get(token);
  }

  /** A token for subprogram `index`. */
  addCallback(program: Decoded, index: number, params: readonly ('u32' | 'ptr')[]): number {
    const token = this.env.callbacks.register((...words) => this.callBack(program, index, params, words));
    this.#callbacks.set(token, { program, index });
    return token;
  }

  removeCallback(token: number): void {
    this.#callbacks.delete(token);
    this.env.callbacks.release(token);
  }

  run(program: Decoded, ctx: number, times: number, level: number): number {
    const machine = this.#machines[level];
    if (machine === undefined)
      throw new BpfError(
        'EBUSY',
        `runs nest more than ${MAX_NESTED_RUNS} deep (program ${program.program.name})`,
      );
    if (machine.busy) throw new InternalError(`two runs at nesting level ${level}`);
    const { memory } = this.env;
    const outer = this.#active;
    const tailCalls = memory.i32[(RUN_STATE.tailCallCount + memory.cpuDelta) >>> 2]!;
    machine.busy = true;
    machine.observer = this.observer;
    this.#active = machine;
    const { watcher } = this;
    const observed = { executable: program.program, level, ctx };
    try {
      for (let i = 0; i < times; i++) {
        memory.i32[(RUN_STATE.tailCallCount + memory.cpuDelta) >>> 2] = 0;
        memory.i32[(RUN_STATE.budget + memory.cpuDelta) >>> 2] =
          memory.i32[(RUN_STATE.budgetLimit + memory.cpuDelta) >>> 2]!;
        machine.fuel = this.limit;
        machine.start(ctx);
        watcher?.onRunBegin?.(observed);
        execute(machine, program, 0, machine.stackTop, this);
        watcher?.onRunEnd?.(observed);
      }
    } catch (error) {
      watcher?.onRunEnd?.(observed, error);
      throw error;
    } finally {
      machine.busy = false;
      machine.depth = 0;
      this.#active = outer;
      memory.i32[(RUN_STATE.tailCallCount + memory.cpuDelta) >>> 2] = tailCalls;
    }
    const low = machine.lo[0]!;
    const { i32 } = memory;
    const r0 = (RUN_STATE.r0 + memory.cpuDelta) >>> 2;
    i32[r0] = low;
    i32[r0 + 1] = machine.hi[0]!;
    return low >>> 0;
  }

  /** Does something while `machine` is the one that helpers call back into. */
  activate<T>(machine: Machine, use: () => T): T {
    const outer = this.#active;
    this.#active = machine;
    try {
      return use();
    } finally {
      this.#active = outer;
    }
  }

  /** Runs subprogram `index` below the frame that runs at present, or on a stack of its own where none does (timers). */
  callBack(program: Decoded, index: number, params: readonly ('u32' | 'ptr')[], words: number[]): number {
    const running = this.#active;
    const machine = running ?? this.#machines[0]!;
    if (running === null) {
      machine.depth = 0;
      machine.fuel = this.limit;
      machine.observer = this.observer;
      machine.setStack(machine.stackTop, machine.stackTop);
      this.#active = machine;
      machine.busy = true;
    }
    const caller = machine.program ?? program;
    const callerPc = machine.pc;
    machine.pushFrame(caller, callerPc);
    const depth = machine.depth;
    try {
      for (let r = 1; r <= 5; r++) machine.upto[r] = 0;
      for (let i = 0; i < params.length; i++) {
        const word = words[i] ?? 0;
        if (params[i] === 'ptr') {
          machine.setPointer(i + 1, word | 0);
        } else {
          machine.lo[i + 1] = word;
          machine.hi[i + 1] = 0;
        }
      }
      machine.written = WRITTEN.frame | WRITTEN.callerSaved;
      execute(machine, program, index, machine.from[10]!, this);
      return machine.lo[0]!;
    } finally {
      machine.depth = depth;
      machine.popFrame();
      machine.program = caller;
      machine.pc = callerPc;
      this.#active = running;
      if (running === null) machine.busy = false;
    }
  }
}

/** An instruction: its index in the program as loaded. */
export interface Place {
  readonly executable: ExecutableProgram;
  readonly insn: number;
}

export interface LaneOptions {
  readonly memory: GuestMemory;
  /** Its stack of STACK_BYTES. */
  readonly stackBottom: number;
  /** Nesting level that its runs count as. */
  readonly level: number;
  /** The run is about to take the lock at an offset; `held`: it is taken. True: the run has to wait. */
  waits(lock: number, held: boolean, place: Place): boolean;
}

class Interpreted implements InterpretedProgram {
  readonly engine = 'interpreter';
  readonly codeSize = 0;
  readonly entry: number;
  readonly processor: Processor;
  readonly decoded: Decoded;

  constructor(processor: Processor, program: ExecutableProgram) {
    this.processor = processor;
    const { env } = processor;
    this.decoded = decode(program, processor.strictness, (decoded, index, params) =>
      processor.addCallback(decoded, index, params),
    );
    this.entry = env.entries.reserve(this);
    processor.add(this.entry, this.decoded);
  }

  run(ctx: number, level = 0): number {
    return this.processor.run(this.decoded, ctx, 1, level);
  }

  runRepeated(ctx: number, times: number, level = 0): number {
    return this.processor.run(this.decoded, ctx, times, level);
  }

  observe(onInsn: ((event: InsnEvent) => void) | null): void {
    this.processor.observer = onInsn;
  }

  /** As `observe`, with the begin and end of runs. */
  watch(watcher: ProgramObserver | null): void {
    this.processor.watcher = watcher;
    this.processor.observer = watcher === null ? null : (event) => watcher.onInsn(event);
  }

  dump(): string {
    return '';
  }

  release(): void {
    for (const token of this.decoded.tokens) this.processor.removeCallback(token);
    this.processor.remove(this.entry);
    this.processor.env.entries.release(this.entry);
  }
}

/** Sets or takes away who watches all programs of the engine and kernel of `program`; false where another engine runs it. */
export function watch(program: PreparedProgram, watcher: ProgramObserver | null): boolean {
  if (!(program instanceof Interpreted)) return false;
  program.watch(watcher);
  return true;
}

/** A CPU of an interleaving: its runs can be left between two instructions and taken up again. */
export class Lane implements LaneState {
  overtime = 0;
  limit = DEFAULT_INSTRUCTION_LIMIT;
  readonly #machine: Machine;
  readonly #waits: LaneOptions['waits'];
  #processor: Processor | undefined;

  constructor({ memory, stackBottom, level, waits }: LaneOptions) {
    this.#machine = new Machine(memory, level, stackBottom);
    this.#machine.lane = this;
    this.#waits = waits;
  }

  /** Begins a run with R1 = `ctx`. False: another engine runs the program. */
  begin(program: PreparedProgram, ctx: number, observer: Observer | null = null): boolean {
    if (!(program instanceof Interpreted)) return false;
    this.#processor = program.processor;
    this.overtime = 0;
    this.limit = program.processor.limit;
    this.#machine.observer = observer;
    program.processor.watchStack(this.#machine);
    this.#machine.start(ctx);
    begin(this.#machine, program.decoded, this.#machine.stackTop);
    return true;
  }

  /** Runs at most so many instructions; what callbacks of helpers run comes on top. Throws ProgramFault. */
  step(instructions: number): Outcome {
    const machine = this.#machine;
    const processor = this.#processor;
    if (processor === undefined) throw new InternalError('no run has begun on this CPU');
    machine.fuel = instructions;
    return processor.activate(machine, () => resume(machine, processor));
  }

  /** Instructions of the last step that were not run. */
  get left(): number {
    return this.#machine.fuel;
  }

  get r0(): number {
    return this.#machine.lo[0]! >>> 0;
  }

  /** Where it stands: the instruction that runs next. */
  get place(): Place {
    const { program, pc } = this.#machine;
    return { executable: program!.program, insn: originOf(program!, pc) };
  }

  waits(lock: number, held: boolean, program: Decoded, pc: number): boolean {
    return this.#waits(lock, held, { executable: program.program, insn: originOf(program, pc) });
  }
}

/** The checked interpreter: the reference for what a program does. */
export function createInterpreter(options: InterpreterOptions = {}): Interpreter {
  const processors = new WeakMap<EngineEnv, Processor>();
  return {
    name: 'interpreter',
    prepare(program: ExecutableProgram, env: EngineEnv): InterpretedProgram {
      let processor = processors.get(env);
      if (processor === undefined) {
        processor = new Processor(env, options);
        processors.set(env, processor);
      }
      return new Interpreted(processor, program);
    },
  };
}
