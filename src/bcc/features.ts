/** What a kernel has, as far as programs ask before they are written: types of programs, members of its structs, tracepoints. */
import { type Btf, parseBtf } from '../btf/index.ts';
import type { Kernel } from '../contracts/kernel.ts';
import { progTypeByName } from '../spec/index.ts';

export class Features {
  readonly #kernel: Kernel;
  #types: Btf | null | undefined;

  constructor(kernel: Kernel, types: Btf | undefined) {
    this.#kernel = kernel;
    this.#types = types;
  }

  get #btf(): Btf | null {
    if (this.#types === undefined) {
      const bytes = this.#kernel.kernelBtf();
      this.#types = bytes === null ? null : parseBtf(bytes);
    }
    return this.#types;
  }

  /** Programs of a type can be loaded: `tracing`. */
  has(type: string): boolean {
    const row = progTypeByName(type);
    return row !== undefined && this.#kernel.features().progTypes.has(row.id);
  }

  /** Members of anonymous structs and unions belong to it. Undefined: there is no such struct, or nobody tells. */
  structHasField(struct: string, field: string): boolean | undefined {
    const btf = this.#btf;
    const id = btf?.find(struct, 'struct');
    if (btf === null || id === undefined) return undefined;
    const look = (at: number): boolean => {
      const type = btf.type(at);
      if (type.kind !== 'struct' && type.kind !== 'union') return false;
      return type.members.some(
        (member) => member.name === field || (member.name === '' && look(member.type)),
      );
    };
    return look(id);
  }

  enumHasValue(name: string, value: string): boolean | undefined {
    const btf = this.#btf;
    const id = btf?.find(name, 'enum') ?? btf?.find(name, 'enum64');
    if (btf === null || id === undefined) return undefined;
    const type = btf.type(id);
    if (type.kind !== 'enum' && type.kind !== 'enum64') return undefined;
    return type.values.some((one) => one.name === value);
  }

  hasTracepoint(category: string, event: string): boolean {
    const { files } = this.#kernel;
    if (files?.readTracing(`events/${category}/${event}/format`)) return true;
    const list = files?.readTracing('available_events') ?? new Uint8Array();
    return new TextDecoder().decode(list).split('\n').includes(`${category}:${event}`);
  }
}
