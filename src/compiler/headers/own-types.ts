/**
 * BTF of the embedded kernel, where it is given none of a Linux: the kernel objects that it models with the members that programs read
 * (`spec/generated/kernel-types`), the UAPI's records (contexts, headers of packets), the arguments of raw tracepoints and of functions
 * that programs are attached to, and the functions that programs may call. The built-in
 * vmlinux.h is made from it, and CO-RE relocates programs onto it; layouts are natural alignment of the members in order.
 */
import { type Btf, BtfBuilder, type BtfMember, type BtfParam, btfInt } from '../../btf/index.ts';
import {
  KERNEL_ENUMS,
  KERNEL_FUNCTIONS,
  KERNEL_OBJECTS,
  KERNEL_TRACEPOINTS,
  KERNEL_TYPEDEFS,
  type KernelMember,
  KFUNC_CALLBACKS,
  KFUNC_PROTOTYPES,
  KFUNC_STRUCTS,
} from '../../spec/index.ts';
import { InternalError } from '../../util/errors.ts';
import { UAPI_RECORD_NAMES, uapiRecord } from './uapi-types.ts';

/** Bytes and sign of C's numbers, by the names that compilers give them in BTF. */
const INTS: Readonly<Record<string, { size: number; signed?: true; bool?: true }>> = {
  _Bool: { size: 1, bool: true },
  char: { size: 1, signed: true },
  'signed char': { size: 1, signed: true },
  'unsigned char': { size: 1 },
  'short int': { size: 2, signed: true },
  'short unsigned int': { size: 2 },
  int: { size: 4, signed: true },
  'unsigned int': { size: 4 },
  'long int': { size: 8, signed: true },
  'long unsigned int': { size: 8 },
  'long long int': { size: 8, signed: true },
  'long long unsigned int': { size: 8 },
};

/** `const char *name[16]`: type, name, dimensions; `__u8 ihl: 4`: bits of a bit field. */
const DECLARATION = /^(.*?[ *])(\w+)((?:\[\d+\])*)(?:: (\d+))?$/;

/** Names of the UAPI for numbers that no member of a kernel object has. */
const UAPI_TYPEDEFS: Readonly<Record<string, string>> = {
  __kernel_time64_t: 'long long int',
  time64_t: '__s64',
};

class Declarations {
  readonly builder = new BtfBuilder();
  readonly #ids = new Map<string, number>();
  /** Bytes and alignment by id; what is not there are modifiers, typedefs and pointers. */
  readonly #shapes = new Map<number, { readonly size: number; readonly align: number }>();

  /** Id of `const struct x *`, `u32`, `less_fn`; 0 for void. */
  type(text: string): number {
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    if (text === 'void') return 0;
    const id = this.#make(text);
    this.#ids.set(text, id);
    return id;
  }

  #make(text: string): number {
    const { builder } = this;
    if (text.endsWith('*')) return builder.add({ kind: 'ptr', type: this.type(text.slice(0, -1).trim()) });
    if (text.startsWith('const ')) return builder.add({ kind: 'const', type: this.type(text.slice(6)) });
    const callback = KFUNC_CALLBACKS[text];
    if (callback !== undefined) return this.#prototype(callback).id;
    if (text.startsWith('struct ')) return this.#named('struct', text, text.slice(7));
    if (text.startsWith('union ')) return this.#named('union', text, text.slice(6));
    if (text.startsWith('enum ')) return this.#enum(text.slice(5));
    const typedef = KERNEL_TYPEDEFS[text] ?? UAPI_TYPEDEFS[text];
    if (typedef !== undefined) {
      const type = typeof typedef === 'string' ? this.type(typedef) : this.#composite('struct', '', typedef);
      return builder.add({ kind: 'typedef', name: text, type });
    }
    const int = INTS[text];
    if (int === undefined) throw new InternalError(`a declaration has the unknown type '${text}'`);
    return builder.add(btfInt(text, int.size, { signed: int.signed === true, bool: int.bool === true }));
  }

  #named(kind: 'struct' | 'union', text: string, name: string): number {
    const uapi = uapiRecord(name);
    const members =
      kind === 'union'
        ? uapi?.kind === kind && uapi.members
        : (KERNEL_OBJECTS[name] ?? (uapi?.kind === kind ? uapi.members : undefined) ?? KFUNC_STRUCTS[name]);
    if (!members) return this.builder.add({ kind: 'fwd', name, of: kind });
    // Members may point back to it.
    const id = this.builder.add({ kind, name, size: 0, members: [] });
    this.#ids.set(text, id);
    return this.#composite(kind, name, members, id);
  }

  #composite(
    kind: 'struct' | 'union',
    name: string,
    rows: readonly KernelMember[],
    reserved?: number,
  ): number {
    const members: BtfMember[] = [];
    let bits = 0;
    let align = 1;
    for (const row of rows) {
      const member = this.#member(row);
      const shape = this.#shapeOf(member.type);
      // A bit field follows the one before, unless it would cross a border of its own type.
      const unit = shape.align * 8;
      let at = kind === 'union' ? 0 : Math.ceil(bits / unit) * unit;
      if (member.bitSize > 0 && kind === 'struct' && (bits % unit) + member.bitSize <= unit) at = bits;
      members.push({ ...member, bitOffset: at });
      bits = Math.max(bits, at + (member.bitSize || shape.size * 8));
      align = Math.max(align, shape.align);
    }
    const size = Math.ceil(bits / 8 / align) * align;
    const type = { kind, name, size, members } as const;
    const id = reserved ?? this.builder.add(type);
    if (reserved !== undefined) this.builder.set(reserved, type);
    this.#shapes.set(id, { size, align });
    return id;
  }

  #member(row: KernelMember): { name: string; type: number; bitSize: number } {
    if (typeof row !== 'string') {
      const kind = 'union' in row ? 'union' : 'struct';
      const type = this.#composite(kind, '', 'union' in row ? row.union : row.struct);
      return { name: row.name, type, bitSize: 0 };
    }
    const [, text, name, dimensions, bits = '0'] = DECLARATION.exec(row)!;
    let type = this.type(text!.trim());
    for (const [, count] of [...dimensions!.matchAll(/\[(\d+)\]/g)].reverse()) {
      const shape = this.#shapeOf(type);
      type = this.builder.add({
        kind: 'array',
        type,
        indexType: this.type('unsigned int'),
        count: Number(count),
      });
      this.#shapes.set(type, { size: shape.size * Number(count), align: shape.align });
    }
    return { name: name!, type, bitSize: Number(bits) };
  }

  #shapeOf(id: number): { size: number; align: number } {
    const known = this.#shapes.get(id);
    if (known !== undefined) return known;
    const type = this.builder.get(id);
    switch (type?.kind) {
      case 'ptr':
        return { size: 8, align: 8 };
      case 'int':
      case 'enum':
        return { size: type.size, align: type.size };
      case 'const':
      case 'typedef':
        return this.#shapeOf(type.type);
      default:
        throw new InternalError(`a member has a type without a size: ${JSON.stringify(type)}`);
    }
  }

  #enum(name: string): number {
    const values = (KERNEL_ENUMS[name] ?? []).map((text) => {
      const [enumerator = '', value = ''] = text.split(' = ');
      return { name: enumerator, value: BigInt(value) };
    });
    return this.builder.add({ kind: 'enum', name, size: 4, signed: false, values });
  }

  #params(declarations: readonly string[]): BtfParam[] {
    return declarations.map((declaration): BtfParam => {
      const [, type, name] = DECLARATION.exec(declaration)!;
      return { name: name!, type: this.type(type!.trim()) };
    });
  }

  /** `int *name(struct x *a, u64 b)`: the type ends with the last space or star before a name. */
  #prototype(text: string): { id: number; name: string } {
    const [, result, name, params] = /^(.*?[ *])(\w+)\((.*)\)$/.exec(text)!;
    const id = this.builder.add({
      kind: 'func_proto',
      returnType: this.type(result!.trim()),
      params: this.#params(params === '' ? [] : params!.split(', ')),
    });
    return { id, name: name! };
  }

  func(text: string): number {
    const { id: type, name } = this.#prototype(text);
    return this.builder.add({ kind: 'func', name, type, linkage: 'static' });
  }

  /** A function that programs may call. */
  kfunc(text: string): void {
    const type = this.func(text);
    this.builder.add({ kind: 'decl_tag', name: 'bpf_kfunc', type, componentIndex: -1, attribute: false });
  }

  /** As Linux tells them: a pointer to a function whose first argument programs do not see. */
  tracepoint(name: string, params: readonly string[]): void {
    const proto = this.builder.add({
      kind: 'func_proto',
      returnType: 0,
      params: this.#params(['void *__data', ...params]),
    });
    const type = this.builder.add({ kind: 'ptr', type: proto });
    this.builder.add({ kind: 'typedef', name: `btf_trace_${name}`, type });
  }
}

let made: Btf | undefined;

/** The same object every time. */
export function ownKernelBtf(): Btf {
  if (made === undefined) {
    const declarations = new Declarations();
    for (const name of Object.keys(KERNEL_OBJECTS)) declarations.type(`struct ${name}`);
    for (const name of UAPI_RECORD_NAMES) declarations.type(`${uapiRecord(name)!.kind} ${name}`);
    for (const name of Object.keys(KERNEL_TYPEDEFS)) declarations.type(name);
    for (const [name, params] of Object.entries(KERNEL_TRACEPOINTS)) declarations.tracepoint(name, params);
    for (const prototype of Object.values(KERNEL_FUNCTIONS)) declarations.func(prototype);
    for (const prototype of KFUNC_PROTOTYPES) declarations.kfunc(prototype);
    made = declarations.builder.build();
  }
  return made;
}
