/**
 * Global variables of an object, by name and with their C types: before load in what its data sections are made of, after it in
 * their maps. `const volatile` ones (`.rodata`) are fixed once the object is loaded.
 *
 * After load a variable is written by writing its whole section back: what a program changes in the same section at that moment may
 * be lost. Variables that both sides write belong in a map of their own.
 */
import { type Btf, type BtfInput, type BtfValue, encodeValue, formatValue } from '../btf/index.ts';
import { BpfError } from '../util/errors.ts';

/** Where the bytes of a section are. */
export interface SectionBytes {
  read(): Uint8Array;
  write(bytes: Uint8Array): void;
}

export interface GlobalVariable {
  readonly name: string;
  /** Id of its type in the object's BTF. */
  readonly typeId: number;
  readonly offset: number;
  readonly size: number;
}

export class DataSection {
  /** `.data`, `.bss`, `.rodata`, `.data.custom`, `.kconfig` */
  readonly name: string;
  readonly #btf: () => Btf | undefined;
  readonly #bytes: SectionBytes;

  constructor(name: string, btf: () => Btf | undefined, bytes: SectionBytes) {
    this.name = name;
    this.#btf = btf;
    this.#bytes = bytes;
  }

  /** Its variables, by offset. */
  get variables(): readonly GlobalVariable[] {
    const btf = this.#btf();
    const id = btf?.find(this.name, 'datasec');
    const datasec = id === undefined ? undefined : btf?.type(id);
    if (btf === undefined || datasec?.kind !== 'datasec') return [];
    return datasec.vars.flatMap((item) => {
      const variable = btf.type(item.type);
      if (variable.kind !== 'var') return [];
      return [{ name: variable.name, typeId: variable.type, offset: item.offset, size: item.size }];
    });
  }

  get bytes(): Uint8Array {
    return this.#bytes.read();
  }

  set bytes(bytes: Uint8Array) {
    this.#bytes.write(bytes);
  }

  has(name: string): boolean {
    return this.variables.some((variable) => variable.name === name);
  }

  get(name: string): BtfValue {
    const { typeId, offset, size } = this.#find(name);
    return formatValue(this.#typed, typeId, this.bytes.subarray(offset, offset + size));
  }

  /** Members that are left out become 0. */
  set(name: string, value: BtfInput): void {
    const { typeId, offset } = this.#find(name);
    const bytes = this.bytes.slice();
    bytes.set(encodeValue(this.#typed, typeId, value), offset);
    this.bytes = bytes;
  }

  get #typed(): Btf {
    const btf = this.#btf();
    if (btf === undefined)
      throw new BpfError('ENOENT', `section '${this.name}' has no BTF`, { hint: 'compile with -g' });
    return btf;
  }

  #find(name: string): GlobalVariable {
    const { variables } = this;
    const found = variables.find((variable) => variable.name === name);
    if (found !== undefined) return found;
    throw new BpfError('ENOENT', `section '${this.name}' has no variable '${name}'`, {
      hint: `it has ${variables.map((variable) => variable.name).join(', ') || 'none that BTF knows'}`,
    });
  }
}

/** All variables of all sections as properties: `globals.counter = 7`. Where two have one name, the first section's counts. */
export type Globals = Record<string, BtfValue>;

export function makeGlobals(sections: () => readonly DataSection[]): Globals {
  const owner = (name: string | symbol): DataSection | undefined =>
    typeof name === 'string' ? sections().find((section) => section.has(name)) : undefined;
  return new Proxy<Globals>(
    {},
    {
      get: (_target, name) => owner(name)?.get(name as string),
      set(_target, name, value: BtfInput) {
        const section = owner(name);
        if (section === undefined)
          throw new BpfError('ENOENT', `the object has no global variable '${String(name)}'`);
        section.set(name as string, value);
        return true;
      },
      has: (_target, name) => owner(name) !== undefined,
      ownKeys: () => [
        ...new Set(sections().flatMap((section) => section.variables.map((variable) => variable.name))),
      ],
      getOwnPropertyDescriptor(_target, name) {
        const section = owner(name);
        if (section === undefined) return undefined;
        return { value: section.get(name as string), writable: true, enumerable: true, configurable: true };
      },
    },
  );
}
