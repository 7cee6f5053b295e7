/** A decoded program: what the interpreter runs. Types only; `decode.ts` makes it. */
import type {
  CallableFunction,
  ExecutableProgram,
  ExecutableSubprog,
  ValueRegion,
} from '../contracts/engine.ts';
import type { BpfMap } from '../contracts/maps.ts';

export interface Decoded {
  readonly program: ExecutableProgram;
  readonly op: Uint16Array;
  readonly dst: Uint8Array;
  readonly src: Uint8Array;
  /** Memory offset; of a jump the absolute target; of a 64-bit immediate its upper half; of movsx the width. */
  readonly off: Int32Array;
  readonly imm: Int32Array;
  /** Sets of registers that must have been written to, and that are by the instruction; the former empty if not strict. */
  readonly reads: Uint16Array;
  readonly writes: Uint16Array;
  readonly calls: readonly (CallPlan | undefined)[];
  readonly subprogs: readonly ExecutableSubprog[];
  /** Tokens of its callbacks, to be given back. */
  readonly tokens: readonly number[];
}

/** Memory that a helper touches through an argument: must lie inside the region of the pointer. */
export interface ArgumentCheck {
  /** Register that holds the pointer, 1..5. */
  readonly register: number;
  /** Bytes, or -1: in register `sizeRegister`. */
  readonly size: number;
  readonly sizeRegister: number;
  readonly write: boolean;
}

/** How the region of a returned pointer is found. */
export type ResultRegion =
  /** The block around the address. */
  | { readonly kind: 'block' }
  /** `size` bytes from the address on. */
  | { readonly kind: 'fixed'; readonly size: number }
  /** As many bytes from the address on as register `register` said at the call. */
  | { readonly kind: 'register'; readonly register: number }
  /** As many bytes from the address on as values of the map have that R1 points to. */
  | { readonly kind: 'value' };

export interface FunctionPlan {
  readonly kind: 'function';
  readonly callee: CallableFunction;
  readonly name: string;
  /** Two entries a word: register and 0 for its low half, 1 for its high half. */
  readonly words: Uint8Array;
  readonly wordCount: number;
  readonly checks: readonly ArgumentCheck[];
  readonly region: ResultRegion;
  /** Register whose region the program may not touch any longer after the call; 0: none. */
  readonly releases: number;
  /** Takes the lock that R1 points to. */
  readonly lock: boolean;
  /** bpf_loop. */
  readonly loops: boolean;
  readonly token: 0;
}

export type CallPlan =
  | FunctionPlan
  | { readonly kind: 'subprog'; readonly index: number; readonly token: 0 }
  | { readonly kind: 'callback'; readonly token: number }
  /** ld_imm64 of an address in a map's value. */
  | { readonly kind: 'value'; readonly region: ValueRegion; readonly token: 0 }
  | { readonly kind: 'tail_call'; readonly map: BpfMap | undefined; readonly token: 0 };

/** A call of bpf_loop in progress. */
export interface LoopState {
  readonly callee: Decoded;
  readonly index: number;
  readonly count: number;
  /** Round that runs. */
  round: number;
  /** R2 of the callback. */
  readonly ctxLow: number;
  readonly ctxHigh: number;
  readonly ctxFrom: number;
  readonly ctxUpto: number;
}
