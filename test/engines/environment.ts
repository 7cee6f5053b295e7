/** The least kernel that an engine runs in: memory, a table of entries, callbacks. */
import type { CallbackRegistry, EngineEnv, EntryTable, PreparedProgram } from '../../src/contracts/engine.ts';
import { GuestMemory } from '../../src/memory/index.ts';

class Entries implements EntryTable {
  readonly wasm = new WebAssembly.Table({ element: 'anyfunc', initial: 256 });
  readonly #programs: (PreparedProgram | undefined)[] = [undefined];

  reserve(program: PreparedProgram): number {
    this.#programs.push(program);
    if (this.#programs.length > this.wasm.length) this.wasm.grow(this.wasm.length);
    return this.#programs.length - 1;
  }

  release(entry: number): void {
    this.#programs[entry] = undefined;
    this.wasm.set(entry, null);
  }

  program(entry: number): PreparedProgram | undefined {
    return this.#programs[entry];
  }
}

class Callbacks implements CallbackRegistry {
  readonly #runs = new Map<number, (...words: number[]) => number>();
  #next = 1;

  register(run: (...words: number[]) => number): number {
    this.#runs.set(this.#next, run);
    return this.#next++;
  }

  release(token: number): void {
    this.#runs.delete(token);
  }

  invoke(token: number, words: readonly number[]): number {
    const run = this.#runs.get(token);
    if (run === undefined) throw new Error(`no callback ${token}`);
    return run(...words);
  }
}

export interface TestEnvironment extends EngineEnv {
  readonly memory: GuestMemory;
}

export function createTestEnvironment(extra: Partial<EngineEnv> = {}): TestEnvironment {
  return { memory: new GuestMemory(), entries: new Entries(), callbacks: new Callbacks(), ...extra };
}
