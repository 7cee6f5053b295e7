/** What the tests of attachments share: the objects of this directory, the record that their programs write, a process to be probed. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Kernel } from '../../src/contracts/kernel.ts';
import { BpfObject } from '../../src/libbpf/index.ts';

const OBJECTS = fileURLToPath(new URL('./objects/', import.meta.url));

/** Opens an object and leaves only the named programs to be loaded (none named: those that are not marked `?`). */
export function openObject(name: string, ...programs: string[]): BpfObject {
  const object = BpfObject.open(readFileSync(`${OBJECTS}${name}.bpf.o`), { name });
  if (programs.length > 0)
    for (const program of object.programs) program.autoload = programs.includes(program.name);
  return object;
}

const EMPTY = new Uint8Array(4);
const WORDS = 8;

/** struct watch of watch.h. */
export class Watch {
  readonly #object: BpfObject;

  constructor(object: BpfObject, pid = 0) {
    this.#object = object;
    const words = new BigUint64Array(WORDS);
    words[0] = BigInt(pid);
    object.findMap('watched').set(EMPTY, new Uint8Array(words.buffer));
  }

  #all(): BigInt64Array {
    const bytes = this.#object.findMap('watched').getBytes(EMPTY)!;
    return new BigInt64Array(bytes.slice().buffer);
  }

  get count(): number {
    return Number(this.#all()[1]);
  }

  get words(): bigint[] {
    return [...this.#all().slice(2)];
  }
}

/** Runs a test with a loaded object, which is closed whatever happens. */
export async function withObject(
  kernel: Kernel,
  object: BpfObject,
  body: (object: BpfObject) => Promise<void> | void,
): Promise<void> {
  try {
    await body(object.load(kernel));
  } finally {
    object.close();
  }
}

/** Path of victim.c, compiled, or as it came along compiled; what was made goes with `remove`. Null: there is no compiler. */
export function buildVictim(): { readonly path: string; remove(): void } | null {
  const prepared = `${OBJECTS}victim`;
  if (existsSync(prepared)) return { path: prepared, remove: () => {} };
  if (spawnSync('gcc', ['--version']).status !== 0) return null;
  const directory = mkdtempSync(join(tmpdir(), 'tsbpf-victim-'));
  const path = join(directory, 'victim');
  execFileSync('gcc', ['-O1', '-fno-omit-frame-pointer', '-o', path, `${OBJECTS}victim.c`], {
    stdio: 'pipe',
  });
  return { path, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

/** A running victim: does its work at each line that it is given, and says the state of its semaphore after it. */
export class Victim {
  readonly #process: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting: ((line: string) => void)[] = [];
  readonly #said: string[] = [];

  constructor(path: string) {
    this.#process = spawn(path, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#process.stdout! });
    this.#lines.on('line', (line) => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#said.push(line);
      else next(line);
    });
  }

  get pid(): number {
    return this.#process.pid!;
  }

  line(): Promise<string> {
    const said = this.#said.shift();
    return said === undefined ? new Promise((done) => this.#waiting.push(done)) : Promise.resolve(said);
  }

  /** What it says when it is done. */
  work(command = 'work'): Promise<string> {
    this.#process.stdin!.write(`${command}\n`);
    return this.line();
  }

  /** Starts on something without waiting for its end. */
  start(command: string): void {
    this.#process.stdin!.write(`${command}\n`);
  }

  stop(): void {
    this.#process.kill('SIGKILL');
  }
}
