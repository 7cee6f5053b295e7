/**
 * A WebAssembly module as sections (WebAssembly core specification section 5.5): types, imports, functions, globals,
 * exports, code, names. Function indexes: imports first, then the functions in the order in which they were added.
 */
import { InternalError } from '../../util/errors.ts';
import { TYPE, type ValueType } from './opcodes.ts';
import { ByteWriter } from './writer.ts';

export interface FuncType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

export interface LocalGroup {
  readonly count: number;
  readonly type: ValueType;
}

interface ImportedFunction {
  readonly module: string;
  readonly name: string;
  readonly type: number;
  readonly label: string;
}

interface DefinedFunction {
  readonly type: number;
  readonly label: string;
  locals: readonly LocalGroup[];
  code: Uint8Array | undefined;
}

export interface MemoryImport {
  readonly module: string;
  readonly name: string;
  /** Pages; a shared memory must state a maximum. */
  readonly minimum: number;
  readonly maximum?: number;
  readonly shared?: boolean;
}

const SECTION = { custom: 0, type: 1, import: 2, function: 3, global: 6, export: 7, code: 10 } as const;
const EXTERNAL = { function: 0, table: 1, memory: 2, global: 3 } as const;

export class ModuleBuilder {
  readonly #types: FuncType[] = [];
  readonly #typeIndex = new Map<string, number>();
  readonly #imports: ImportedFunction[] = [];
  readonly #functions: DefinedFunction[] = [];
  readonly #exports: { name: string; kind: number; index: number }[] = [];
  readonly #globals: { type: ValueType; value: number }[] = [];
  readonly #importedGlobals: { module: string; name: string; type: ValueType }[] = [];
  #memory: MemoryImport | undefined;
  #table: { module: string; name: string } | undefined;
  #name = '';

  /** The module's name in the names section. */
  name(text: string): void {
    this.#name = text;
  }

  type(type: FuncType): number {
    const key = `${type.params.join()}>${type.results.join()}`;
    let index = this.#typeIndex.get(key);
    if (index === undefined) {
      index = this.#types.push(type) - 1;
      this.#typeIndex.set(key, index);
    }
    return index;
  }

  typeAt(index: number): FuncType {
    return this.#types[index]!;
  }

  importMemory(memory: MemoryImport): void {
    this.#memory = memory;
  }

  importTable(module: string, name: string): void {
    this.#table = { module, name };
  }

  /** Must come before the first `addFunction`. Gives the function's index. */
  importFunction(module: string, name: string, type: FuncType, label: string): number {
    if (this.#functions.length > 0) throw new InternalError('functions are imported before any is defined');
    return this.#imports.push({ module, name, type: this.type(type), label }) - 1;
  }

  /** An immutable global. Must come before the first `addGlobal`. Gives its index. */
  importGlobal(module: string, name: string, type: ValueType): number {
    if (this.#globals.length > 0) throw new InternalError('globals are imported before any is defined');
    return this.#importedGlobals.push({ module, name, type }) - 1;
  }

  /** A mutable i32 global; gives its index. */
  addGlobal(type: ValueType, value: number): number {
    return this.#importedGlobals.length + this.#globals.push({ type, value }) - 1;
  }

  /** Declares a function, whose body follows with `defineFunction`; gives its index. */
  addFunction(type: FuncType, label: string): number {
    const row: DefinedFunction = { type: this.type(type), label, locals: [], code: undefined };
    return this.#imports.length + this.#functions.push(row) - 1;
  }

  /** `code`: the instructions without the final `end`. */
  defineFunction(index: number, locals: readonly LocalGroup[], code: Uint8Array): void {
    const row = this.#functions[index - this.#imports.length]!;
    row.locals = locals.filter((group) => group.count > 0);
    row.code = code;
  }

  exportFunction(name: string, index: number): void {
    this.#exports.push({ name, kind: EXTERNAL.function, index });
  }

  exportGlobal(name: string, index: number): void {
    this.#exports.push({ name, kind: EXTERNAL.global, index });
  }

  /** By function index. */
  functionLabels(): string[] {
    return [...this.#imports, ...this.#functions].map(({ label }) => label);
  }

  /** The module's bytes, and for each function index the offset of its first instruction in them. */
  encode(): { bytes: Uint8Array; codeOffsets: ReadonlyMap<number, number> } {
    const out = new ByteWriter(1024);
    out.bytes([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
    section(out, SECTION.type, this.#types.length, (w) => {
      for (const type of this.#types) {
        w.byte(TYPE.func);
        vector(w, type.params);
        vector(w, type.results);
      }
    });
    const imports =
      this.#imports.length + this.#importedGlobals.length + (this.#memory ? 1 : 0) + (this.#table ? 1 : 0);
    section(out, SECTION.import, imports, (w) => this.#writeImports(w));
    section(out, SECTION.function, this.#functions.length, (w) => {
      for (const f of this.#functions) w.u32(f.type);
    });
    section(out, SECTION.global, this.#globals.length, (w) => {
      for (const g of this.#globals) {
        w.bytes([g.type, 0x01, 0x41]);
        w.s32(g.value);
        w.byte(0x0b);
      }
    });
    section(out, SECTION.export, this.#exports.length, (w) => {
      for (const e of this.#exports) {
        w.name(e.name);
        w.byte(e.kind);
        w.u32(e.index);
      }
    });
    const codeOffsets = this.#writeCode(out);
    this.#writeNames(out);
    return { bytes: out.finish(), codeOffsets };
  }

  #writeImports(w: ByteWriter): void {
    for (const f of this.#imports) {
      w.name(f.module);
      w.name(f.name);
      w.byte(EXTERNAL.function);
      w.u32(f.type);
    }
    for (const g of this.#importedGlobals) {
      w.name(g.module);
      w.name(g.name);
      w.bytes([EXTERNAL.global, g.type, 0x00]);
    }
    if (this.#memory !== undefined) {
      const { module, name, minimum, maximum, shared } = this.#memory;
      w.name(module);
      w.name(name);
      w.byte(EXTERNAL.memory);
      w.byte((maximum === undefined ? 0 : 1) | (shared === true ? 2 : 0));
      w.u32(minimum);
      if (maximum !== undefined) w.u32(maximum);
    }
    if (this.#table !== undefined) {
      w.name(this.#table.module);
      w.name(this.#table.name);
      w.bytes([EXTERNAL.table, TYPE.funcref, 0x00, 0x00]);
    }
  }

  #writeCode(out: ByteWriter): Map<number, number> {
    const offsets = new Map<number, number>();
    const bodies = this.#functions.map((f) => {
      if (f.code === undefined) throw new InternalError(`function ${f.label} has no body`);
      const head = new ByteWriter(16);
      head.u32(f.locals.length);
      for (const group of f.locals) {
        head.u32(group.count);
        head.byte(group.type);
      }
      return { head: head.finish(), code: f.code, size: head.length + f.code.length + 1 };
    });
    const count = ulebSize(bodies.length);
    const size = bodies.reduce((sum, b) => sum + ulebSize(b.size) + b.size, count);
    out.byte(SECTION.code);
    out.u32(size);
    out.u32(bodies.length);
    bodies.forEach((body, i) => {
      out.u32(body.size);
      out.bytes(body.head);
      offsets.set(this.#imports.length + i, out.length);
      out.bytes(body.code);
      out.byte(0x0b);
    });
    return offsets;
  }

  /** Names for stack traces and debuggers (section 7.4.1): the module and its functions. */
  #writeNames(out: ByteWriter): void {
    const w = new ByteWriter();
    w.name('name');
    const subsection = (id: number, write: (w: ByteWriter) => void) => {
      const part = new ByteWriter();
      write(part);
      w.byte(id);
      w.u32(part.length);
      w.bytes(part.finish());
    };
    subsection(0, (part) => part.name(this.#name));
    subsection(1, (part) => {
      part.u32(this.#imports.length + this.#functions.length);
      [...this.#imports, ...this.#functions].forEach((f, i) => {
        part.u32(i);
        part.name(f.label);
      });
    });
    out.byte(SECTION.custom);
    out.u32(w.length);
    out.bytes(w.finish());
  }
}

function vector(w: ByteWriter, types: readonly ValueType[]): void {
  w.u32(types.length);
  w.bytes(types);
}

function section(out: ByteWriter, id: number, count: number, write: (w: ByteWriter) => void): void {
  if (count === 0) return;
  const w = new ByteWriter();
  w.u32(count);
  write(w);
  out.byte(id);
  out.u32(w.length);
  out.bytes(w.finish());
}

/** Bytes of a number as unsigned LEB128. */
export function ulebSize(value: number): number {
  let size = 1;
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) size++;
  return size;
}
