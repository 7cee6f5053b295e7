/**
 * The entry table of a thread that is another CPU. Numbers are those of the kernel; what stands behind one is made when it is first
 * run or tail-called here (jit/stubs).
 */
import type { PreparedProgram } from '../../contracts/engine.ts';
import { createStubs, type EntryStub } from '../../jit/index.ts';
import { progTypeById } from '../../spec/index.ts';
import { BpfError, InternalError, ProgramFault } from '../../util/errors.ts';
import { type Callbacks, ProgramEntries } from '../engine-tables.ts';
import type { Machine } from '../machine.ts';
import { ProgObject, type ProgramParts } from '../objects.ts';
import { ENTRIES, type ProgramDirectory } from './directory.ts';
import { executableOf, type ProgramImage } from './image.ts';

export class Bindings extends ProgramEntries {
  readonly #directory: ProgramDirectory;
  readonly #programs = new Map<number, { image: ProgramImage; program: ProgObject }>();
  readonly #callbacks: Callbacks;
  /** By token: whose callback it is, and the number that it has there. */
  readonly #callbackOf = new Map<number, { readonly progId: number; readonly callback: number }>();
  readonly #stubs: EntryStub[] = [];
  #machine: Machine | undefined;
  /** The number that the program which is being prepared has in the kernel. */
  #next = 0;

  constructor(directory: ProgramDirectory, callbacks: Callbacks) {
    super(callbacks);
    this.#directory = directory;
    this.#callbacks = callbacks;
  }

  callbackOf(token: number): { readonly progId: number; readonly callback: number } | undefined {
    return this.#callbackOf.get(token);
  }

  start(machine: Machine): void {
    this.#machine = machine;
    // All at once: another thread may put any number into a program array at any time.
    if (this.wasm.length < ENTRIES) this.wasm.grow(ENTRIES - this.wasm.length);
    this.#stubs.push(...createStubs(this.wasm, (at) => this.#bind(at), 0, ENTRIES));
    for (let at = 1; at < ENTRIES; at++) this.wasm.set(at, this.#stubs[at]!);
  }

  override reserve(program: PreparedProgram): number {
    if (this.#next === 0) throw new InternalError(`${program.engine} program without an image`);
    return this.#next;
  }

  override release(entry: number): void {
    this.wasm.set(entry, this.#stubs[entry]!);
  }

  /** The program behind a number. Throws BpfError: ENOENT where there is none, ENOTSUPP where it cannot run here. */
  programAt(entry: number): ProgObject {
    const known = this.#programs.get(entry);
    if (known !== undefined) return known.program;
    const image = this.#directory.read(entry);
    if (image === undefined) throw new BpfError('ENOENT', `there is no program with number ${entry}`);
    const program = this.#make(image);
    this.#programs.set(entry, { image, program });
    return program;
  }

  idOf(program: ProgObject): number {
    for (const known of this.#programs.values()) if (known.program === program) return known.image.id;
    throw new InternalError('a program without an image');
  }

  /** For the interpreter, which has no stubs. */
  bind(entry: number): boolean {
    if (entry === 0 || this.#programs.has(entry)) return false;
    this.#bind(entry);
    return true;
  }

  forget(entry: number): void {
    const known = this.#programs.get(entry);
    if (known === undefined) return;
    known.program.put();
    this.#programs.delete(entry);
    for (const [token, { progId }] of this.#callbackOf)
      if (progId === known.image.id) this.#callbackOf.delete(token);
  }

  #make(image: ProgramImage): ProgObject {
    const machine = this.#machine!;
    const executable = executableOf(image, machine);
    const outer = this.#next;
    this.#next = image.entry;
    let prepared: PreparedProgram;
    try {
      prepared = machine.engines[image.engine].prepare(executable, machine.engineEnv);
      const tokens = this.#callbacks.takeNew();
      for (const [callback, token] of tokens.entries())
        this.#callbackOf.set(token, { progId: image.id, callback });
    } finally {
      this.#next = outer;
    }
    const type = progTypeById(image.typeId)!;
    // What only commands look at is not there: threads have no commands.
    const parts = {
      type,
      expectedAttachType: image.expectedAttachType,
      name: image.executable.name,
      program: executable,
      executable: prepared,
      jited: image.engine === 'jit',
      entryArguments: -1,
      functions: [],
      lines: image.lines,
      traced: image.traced,
      maxCtxOffset: image.maxCtxOffset,
      movesPacket: image.movesPacket,
      btf: undefined,
      replaces: undefined,
      tracesTracing: false,
    } as unknown as ProgramParts;
    return new ProgObject(parts, [], machine.programs);
  }

  /** A tail call has come to a number that nothing was made for. */
  #bind(entry: number): void {
    try {
      this.programAt(entry);
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      throw new ProgramFault(`the program that it tail-calls is not there: ${error.message}`, {
        program: this.#machine?.running?.parts.name ?? '',
        insn: -1,
        cause: error,
        reason: 'access',
      });
    }
  }
}
