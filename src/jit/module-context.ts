/** What the functions of one module share: the program, indexes of imported and defined functions, the globals. */
import type { CallableFunction, ExecutableProgram } from '../contracts/engine.ts';

export interface ModuleContext {
  readonly program: ExecutableProgram;
  /** Wasm function index of each subprogram. */
  readonly functionOf: readonly number[];
  /** Mask of R1..R5 that each subprogram's function takes, in that order, before its frame pointer. */
  readonly parametersOf: readonly number[];
  /** Wasm function index of an imported function. */
  readonly imported: ReadonlyMap<CallableFunction, number>;
  /** Token of each callback subprogram: what the program holds as function pointer. */
  readonly tokenOf: ReadonlyMap<number, number>;
  /** Global that holds the frame on which a callback may build, or -1 where the program has no callbacks. */
  readonly callbackFrame: number;
  /** Type index of entries in the entry table, and whether `return_call_indirect` may be used. */
  readonly entryType: number;
  readonly tailCalls: boolean;
  /** Deepest nesting of scopes; beyond it control goes through tables, which no engine's limits forbid. */
  readonly maxNesting: number;
  /** The memory is shared with other threads: atomic instructions must be real ones. */
  readonly shared: boolean;
}
