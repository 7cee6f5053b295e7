/**
 * BTF of the embedded kernel itself, for callers that give it none of a Linux: the functions that programs may call, and the structs
 * that these take. Loaders find functions by name in it, the verifier their parameters.
 */
import { type Btf, BtfBuilder, type BtfMember, type BtfParam, type BtfType } from '../btf/index.ts';
import { FUNCTIONS_ONLY, KFUNC_PROTOTYPES, KFUNC_STRUCTS } from '../spec/index.ts';
import { InternalError } from '../util/errors.ts';

/** Bytes and sign of the numbers that prototypes name. */
const INTS: Readonly<Record<string, { size: number; signed?: true; bool?: true }>> = {
  bool: { size: 1, bool: true },
  char: { size: 1, signed: true },
  int: { size: 4, signed: true },
  'long unsigned int': { size: 8 },
  u8: { size: 1 },
  u32: { size: 4 },
  __u32: { size: 4 },
  u64: { size: 8 },
  s64: { size: 8, signed: true },
  size_t: { size: 8 },
};

class Declarations {
  readonly builder = new BtfBuilder();
  readonly #ids = new Map<string, number>();

  #once(text: string, make: () => BtfType): number {
    let id = this.#ids.get(text);
    if (id === undefined) {
      id = this.builder.add(make());
      this.#ids.set(text, id);
    }
    return id;
  }

  /** Id of `const struct x *`, `u32`, `fn`; 0 for void. */
  type(text: string): number {
    if (text === 'void') return 0;
    if (text.endsWith('*')) {
      const target = this.type(text.slice(0, -1).trim());
      return this.#once(text, () => ({ kind: 'ptr', type: target }));
    }
    if (text.startsWith('const ')) {
      const target = this.type(text.slice(6));
      return this.#once(text, () => ({ kind: 'const', type: target }));
    }
    if (text === 'fn') return this.#once(text, () => ({ kind: 'func_proto', returnType: 0, params: [] }));
    if (text.startsWith('struct ')) return this.#struct(text.slice(7));
    const int = INTS[text];
    if (int === undefined) throw new InternalError(`prototype with the unknown type '${text}'`);
    return this.#once(text, () => ({
      kind: 'int',
      name: text,
      size: int.size,
      signed: int.signed === true,
      char: false,
      bool: int.bool === true,
      bitOffset: 0,
      bits: int.size * 8,
    }));
  }

  #struct(name: string): number {
    const key = `struct ${name}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const members: BtfMember[] = [];
    let size = 0;
    for (const text of KFUNC_STRUCTS[name] ?? []) {
      const [, type, member, count] = /^(.+) (\w+)(?:\[(\d+)\])?$/.exec(text)!;
      const element = this.type(type!);
      const times = count === undefined ? 1 : Number(count);
      const id =
        count === undefined
          ? element
          : this.builder.add({ kind: 'array', type: element, indexType: this.type('u32'), count: times });
      members.push({ name: member!, type: id, bitOffset: size * 8, bitSize: 0 });
      size += times * this.#sizeOf(type!);
    }
    return this.#once(key, () => ({ kind: 'struct', name, size, members }));
  }

  #sizeOf(text: string): number {
    if (!text.startsWith('struct ')) return INTS[text]?.size ?? 8;
    const struct = this.builder.get(this.type(text));
    return struct?.kind === 'struct' ? struct.size : 0;
  }

  /** `int *name(struct x *a, u64 b)`: the type ends with the last space or star before a name. */
  func(text: string): void {
    const [, result, name, params] = /^(.*?[ *])(\w+)\((.*)\)$/.exec(text)!;
    const split = (params === '' ? [] : params!.split(', ')).map((param): BtfParam => {
      const [, type, paramName] = /^(.*[ *])(\w+)$/.exec(param)!;
      return { name: paramName!, type: this.type(type!.trim()) };
    });
    const proto = this.builder.add({
      kind: 'func_proto',
      returnType: this.type(result!.trim()),
      params: split,
    });
    const id = this.builder.add({ kind: 'func', name: name!, type: proto, linkage: 'static' });
    this.builder.add({ kind: 'decl_tag', name: 'bpf_kfunc', type: id, componentIndex: -1, attribute: false });
  }
}

let made: Btf | undefined;

/** The same object every time. */
export function ownKernelBtf(): Btf {
  if (made === undefined) {
    const declarations = new Declarations();
    for (const prototype of KFUNC_PROTOTYPES) declarations.func(prototype);
    declarations.builder.add({ kind: 'typedef', name: FUNCTIONS_ONLY, type: declarations.type('int') });
    made = declarations.builder.build();
  }
  return made;
}
