/** What the functions of one module share: the program, indexes of imported and defined functions, the globals. */
import type { CallableFunction, ExecutableProgram } from '../contracts/engine.ts';
import type { ArenaImports } from './arena-imports.ts';
import { type Blinding, type CodeWriter, OP } from './wasm/index.ts';

export interface ModuleContext {
  /** With small functions in place of their calls; `source`: the instruction of the program as given that one of it comes from. */
  readonly program: ExecutableProgram;
  readonly source: (insn: number) => number;
  /** Wasm function index of each subprogram. */
  readonly functionOf: readonly number[];
  /** Mask of R1..R5 that each subprogram's function takes, in that order, before its frame pointer. */
  readonly parametersOf: readonly number[];
  /** Which subprograms look at the run's budget themselves; callers of the others pay for the call, and that is all. */
  readonly keepsBudget: readonly boolean[];
  /** Wasm function index of an imported function. */
  readonly imported: ReadonlyMap<CallableFunction, number>;
  /** Imported global that holds the token of each callback subprogram: what the program holds as function pointer. */
  readonly tokenGlobal: ReadonlyMap<number, number>;
  /** Global that holds the frame on which a callback may build, or -1 where the program has no callbacks. */
  readonly callbackFrame: number;
  /** Type index of entries in the entry table, and whether `return_call_indirect` may be used. */
  readonly entryType: number;
  readonly tailCalls: boolean;
  /** Deepest nesting of scopes; beyond it control goes through tables, which no engine's limits forbid. */
  readonly maxNesting: number;
  /** Of a program with an arena. */
  readonly arena: ArenaImports | undefined;
  /** Constants are blinded. */
  readonly blinding: Blinding | undefined;
  /** The memory is shared with other threads: atomic instructions must be real ones. */
  readonly shared: boolean;
  /** Global with what the run state of this CPU is moved by (`GuestMemory.cpuDelta`), or -1: the places are as RUN_STATE says. */
  readonly cpuDelta: number;
}

/** Pushes the address of a place of RUN_STATE of the CPU that runs. Emitted code names none of them in another way. */
export function pushRunState(w: CodeWriter, module: Pick<ModuleContext, 'cpuDelta'>, place: number): void {
  if (module.cpuDelta < 0) {
    w.i32(place);
    return;
  }
  w.index(OP.globalGet, module.cpuDelta);
  w.i32(place);
  w.op(OP.i32Add);
}
