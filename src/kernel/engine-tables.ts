/** What all programs of one kernel share: the table of their entries (for tail calls) and the callbacks of helpers. */
import type { CallbackRegistry, EntryTable, PreparedProgram } from '../contracts/engine.ts';
import { BpfError, InternalError } from '../util/errors.ts';

const GROWTH = 64;

export class ProgramEntries implements EntryTable {
  readonly wasm = new WebAssembly.Table({ element: 'anyfunc', initial: GROWTH });
  /** Slot 0 stays empty: a 0 in a program array means "no program". */
  readonly #programs: (PreparedProgram | undefined)[] = [undefined];
  #free: number[] = [];
  readonly #callbacksOf: (readonly number[])[] = [];
  readonly #callbacks: Callbacks;

  /** `callbacks`: where programs register theirs before they reserve a number. */
  constructor(callbacks = new Callbacks()) {
    this.#callbacks = callbacks;
  }

  reserve(program: PreparedProgram): number {
    const entry = this.#free.pop() ?? this.#programs.length;
    this.#programs[entry] = program;
    this.#callbacksOf[entry] = this.#callbacks.takeNew();
    if (entry >= this.wasm.length) this.wasm.grow(GROWTH);
    return entry;
  }

  release(entry: number): void {
    if (this.#programs[entry] === undefined) throw new InternalError(`program entry ${entry} released twice`);
    this.#programs[entry] = undefined;
    this.wasm.set(entry, null);
    if (this.retire === undefined) this.#free.push(entry);
    else this.retire(entry, () => this.#free.push(entry));
  }

  /** Says when the number of a program that has gone may stand for another one; absent: at once. */
  retire: ((entry: number, reuse: () => void) => void) | undefined;

  /** Tokens of the callbacks of a program: every engine registers them in the order of the program. */
  callbacksOf(entry: number): readonly number[] {
    return this.#callbacksOf[entry] ?? [];
  }

  program(entry: number): PreparedProgram | undefined {
    return this.#programs[entry];
  }
}

export class Callbacks implements CallbackRegistry {
  readonly #byToken = new Map<number, (...words: number[]) => number>();
  #next = 1;
  #new: number[] = [];

  register(run: (...words: number[]) => number): number {
    if (this.#next >= 0x7fff_ffff) throw new BpfError('ENOMEM', 'too many callbacks');
    const token = this.#next++;
    this.#byToken.set(token, run);
    this.#new.push(token);
    return token;
  }

  release(token: number): void {
    this.#byToken.delete(token);
  }

  /** Tokens that were made since it was last asked, as far as they are still there. */
  takeNew(): readonly number[] {
    const tokens = this.#new.filter((token) => this.#byToken.has(token));
    this.#new = [];
    return tokens;
  }

  invoke(token: number, words: readonly number[]): number {
    const run = this.#byToken.get(token);
    if (run === undefined) throw new InternalError(`callback ${token} is not registered`);
    return run(...words);
  }
}
