/**
 * Writes BTF as C declarations that a compiler lays out the same way: definitions in the order C needs them, explicit padding,
 * packed structs, unique names. What `bpftool btf dump … format c` does.
 *
 * Work is bounded: nesting by BTF_MAX_NESTING, output by `limit`; a hostile BTF ends in BpfError EINVAL or E2BIG.
 */
import { BpfError } from '../util/index.ts';
import type { Btf } from './btf.ts';
import type { BtfComposite, BtfEnum, BtfMember, BtfType } from './types.ts';

/** Deepest chain of types of which one needs the other's definition. */
const BTF_MAX_NESTING = 256;

/** Longest single declarator, in characters. */
const MAX_DECLARATION = 65_536;

export interface DumpCOptions {
  /** Ids of the types to dump with all they need. Default: every type. */
  readonly roots?: readonly number[];
  /** Wrap in an include guard and make every record relocatable (`preserve_access_index`), as vmlinux.h is. */
  readonly header?: boolean;
  /** Whether the reader has the struct, union or typedef of that name already: it is not defined again. */
  readonly declared?: (name: string) => boolean;
  /** Most characters of output. Default 64 Mi. */
  readonly limit?: number;
}

/** Text of C identifiers: what C cannot spell becomes `_`. */
function identifier(name: string): string {
  const text = name.replace(/[^A-Za-z0-9_$]/g, '_');
  return /^[0-9]/.test(text) ? `_${text}` : text;
}

/** Names that are C's own. */
const BUILTIN_TYPEDEFS: ReadonlySet<string> = new Set(['__builtin_va_list']);

const ENUM_MODES: ReadonlyMap<number, string> = new Map([
  [1, ' __attribute__((mode(byte)))'],
  [2, ' __attribute__((mode(HI)))'],
  [8, ' __attribute__((mode(DI)))'],
]);

class CDumper {
  private readonly btf: Btf;
  private readonly limit: number;
  private readonly out: string[] = [];
  private length = 0;
  /** Types that are fully written, or being written. */
  private readonly defined = new Map<number, 'open' | 'done'>();
  private readonly forwarded = new Set<number>();
  private readonly visited = new Set<number>();
  /** Names in use: tags of structs, unions and enums in one space, all other identifiers in the other. */
  private readonly tagNames = new Map<string, number>();
  private readonly identifiers = new Map<string, number>();
  private readonly chosen = new Map<number, string>();
  private readonly forwardNames = new Set<string>();

  constructor(btf: Btf, limit: number) {
    this.btf = btf;
    this.limit = limit;
  }

  leaveOut(declared: (name: string) => boolean): void {
    for (let id = 1; id < this.btf.typeCount; id++) {
      const kind = this.btf.kind(id);
      if (kind !== 'struct' && kind !== 'union' && kind !== 'typedef') continue;
      const name = this.btf.name(id);
      if (name !== '' && declared(name)) this.defined.set(id, 'done');
    }
  }

  private fail(id: number, what: string): never {
    throw new BpfError('EINVAL', `BTF type id ${id}: ${what}`);
  }

  private write(text: string): void {
    this.length += text.length;
    if (this.length > this.limit)
      throw new BpfError('E2BIG', `BTF as C is longer than ${this.limit} characters`);
    this.out.push(text);
  }

  text(): string {
    return this.out.join('');
  }

  private unique(space: Map<string, number>, name: string): string {
    const count = (space.get(name) ?? 0) + 1;
    space.set(name, count);
    return count === 1 ? name : `${name}___${count}`;
  }

  /** The C name of a named type; the second of two types with one name gets a suffix. */
  private nameOf(id: number, type: BtfType): string {
    const known = this.chosen.get(id);
    if (known !== undefined) return known;
    const raw = identifier('name' in type ? type.name : '');
    const name = this.unique(type.kind === 'typedef' ? this.identifiers : this.tagNames, raw);
    this.chosen.set(id, name);
    return name;
  }

  /** Writes the definition of a top-level type, and before it what it needs. */
  root(id: number): void {
    const type = this.btf.type(id);
    switch (type.kind) {
      case 'struct':
      case 'union':
      case 'enum':
      case 'enum64':
        if (type.name !== '') this.define(id, type, 0);
        break;
      case 'typedef':
        this.typedef(id, 0);
        break;
      default:
        break;
    }
  }

  /** An enum without name or user, for its constants. */
  looseEnum(id: number, type: BtfEnum): void {
    if (this.defined.has(id)) return;
    this.defined.set(id, 'done');
    this.write(`${this.enumBody(type, 'enum', 0)};\n\n`);
  }

  /**
   * Makes sure that C may use the type: `complete` with its definition, otherwise a declaration will do.
   */
  private need(id: number, complete: boolean, depth: number): void {
    if (depth > BTF_MAX_NESTING) this.fail(id, 'types are nested circularly or too deeply for C');
    const key = id * 2 + Number(complete);
    if (this.visited.has(key)) return;
    const type = this.btf.type(id);
    switch (type.kind) {
      case 'volatile':
      case 'const':
      case 'restrict':
      case 'type_tag':
        this.need(type.type, complete, depth + 1);
        break;
      case 'ptr':
        this.need(type.type, false, depth + 1);
        break;
      case 'array':
        this.need(type.type, true, depth + 1);
        break;
      case 'typedef':
        this.typedef(id, depth + 1);
        if (complete) this.need(type.type, true, depth + 1);
        break;
      case 'struct':
      case 'union':
        if (type.name === '') {
          for (const member of type.members) this.need(member.type, true, depth + 1);
        } else if (complete) {
          this.define(id, type, depth + 1);
        } else {
          this.forward(id, type);
        }
        break;
      case 'enum':
      case 'enum64':
        if (type.name === '') this.defined.set(id, 'done');
        else this.define(id, type, depth + 1);
        break;
      case 'fwd':
        this.forwardFwd(id, type.of, type.name);
        break;
      case 'func_proto':
        this.need(type.returnType, false, depth + 1);
        for (const param of type.params) this.need(param.type, false, depth + 1);
        break;
      default:
        break;
    }
    this.visited.add(key);
  }

  private forward(id: number, type: BtfComposite): void {
    if (this.defined.has(id) || this.forwarded.has(id)) return;
    this.forwarded.add(id);
    this.write(`${type.kind} ${this.nameOf(id, type)};\n\n`);
  }

  private forwardFwd(id: number, kind: string, name: string): void {
    const text = `${kind} ${identifier(name)};\n\n`;
    if (this.forwarded.has(id) || this.forwardNames.has(text)) return;
    this.forwarded.add(id);
    this.forwardNames.add(text);
    this.write(text);
  }

  private define(id: number, type: BtfComposite | BtfEnum, depth: number): void {
    const state = this.defined.get(id);
    if (state === 'done') return;
    if (state === 'open') this.fail(id, `${type.kind} '${type.name}' contains itself`);
    this.defined.set(id, 'open');
    if ('values' in type) {
      this.write(`${this.enumBody(type, `enum ${this.nameOf(id, type)}`, 0)};\n\n`);
    } else {
      for (const member of type.members) this.need(member.type, true, depth + 1);
      this.write(`${this.compositeBody(id, type, `${type.kind} ${this.nameOf(id, type)}`, 0, depth)};\n\n`);
    }
    this.defined.set(id, 'done');
  }

  private typedef(id: number, depth: number): void {
    if (this.defined.has(id)) return;
    this.defined.set(id, 'open');
    const type = this.btf.type(id);
    if (type.kind !== 'typedef' || BUILTIN_TYPEDEFS.has(type.name)) return;
    this.need(type.type, false, depth + 1);
    this.write(`typedef ${this.declare(type.type, this.nameOf(id, type), '', 0, depth)};\n\n`);
    this.defined.set(id, 'done');
  }

  /** `type inner`: C declarations are read from the inside out. */
  private declare(id: number, inner: string, qualifiers: string, indent: number, depth: number): string {
    if (depth > BTF_MAX_NESTING) this.fail(id, 'types are nested circularly or too deeply for C');
    if (inner.length > MAX_DECLARATION) this.fail(id, 'a declaration is too long for C');
    const type = this.btf.type(id);
    const base = (text: string): string => `${qualifiers}${text}${inner === '' ? '' : ` ${inner}`}`;
    switch (type.kind) {
      case 'void':
        return base('void');
      case 'int':
      case 'float':
        return base(type.name.replace(/[^A-Za-z0-9_ ]/g, '_') || 'int');
      case 'const':
      case 'volatile':
      case 'restrict':
        return this.declare(type.type, inner, `${type.kind} ${qualifiers}`, indent, depth + 1);
      case 'type_tag': {
        const tag = type.attribute ? type.name : `btf_type_tag("${type.name.replace(/["\\\n]/g, '_')}")`;
        return this.declare(type.type, inner, `__attribute__((${tag})) ${qualifiers}`, indent, depth + 1);
      }
      case 'ptr': {
        const star = `*${qualifiers}${inner}`;
        const wrapped = this.isArrayOrFunction(type.type) ? `(${star.trimEnd()})` : star.trimEnd();
        return this.declare(type.type, wrapped, '', indent, depth + 1);
      }
      case 'array':
        return this.declare(type.type, `${inner}[${type.count}]`, qualifiers, indent, depth + 1);
      case 'func_proto':
        return this.declare(type.returnType, `${inner}(${this.params(type, depth)})`, '', indent, depth + 1);
      case 'typedef':
        return base(this.nameOrBuiltin(id, type.name));
      case 'struct':
      case 'union':
        if (type.name !== '') return base(`${type.kind} ${this.nameOf(id, type)}`);
        return base(this.compositeBody(id, type, type.kind, indent, depth + 1));
      case 'enum':
      case 'enum64':
        if (type.name !== '') return base(`enum ${this.nameOf(id, type)}`);
        return base(this.enumBody(type, 'enum', indent));
      case 'fwd':
        return base(`${type.of} ${identifier(type.name)}`);
      default:
        return this.fail(id, `a ${type.kind} cannot be the type of anything`);
    }
  }

  private nameOrBuiltin(id: number, name: string): string {
    return BUILTIN_TYPEDEFS.has(name) ? name : this.nameOf(id, this.btf.type(id));
  }

  private isArrayOrFunction(id: number): boolean {
    let type = this.btf.type(id);
    for (let depth = 0; depth < BTF_MAX_NESTING; depth++) {
      switch (type.kind) {
        case 'const':
        case 'volatile':
        case 'restrict':
        case 'type_tag':
          type = this.btf.type(type.type);
          break;
        default:
          return type.kind === 'array' || type.kind === 'func_proto';
      }
    }
    return false;
  }

  private params(type: Extract<BtfType, { kind: 'func_proto' }>, depth: number): string {
    if (type.params.length === 0) return 'void';
    if (type.params.length === 1 && type.params[0]!.type === 0) return 'void';
    let text = '';
    type.params.forEach((param, i) => {
      const variadic = param.type === 0 && i === type.params.length - 1;
      const one = variadic ? '...' : this.declare(param.type, identifier(param.name), '', 0, depth + 1);
      text += i === 0 ? one : `, ${one}`;
      // Prototypes within prototypes may double with each level.
      if (text.length > MAX_DECLARATION)
        throw new BpfError('E2BIG', 'a BTF function prototype is too long for C');
    });
    return text;
  }

  private enumBody(type: BtfEnum, head: string, indent: number): string {
    if (type.values.length === 0) return head === 'enum' ? 'enum {}' : head;
    const pad = '\t'.repeat(indent + 1);
    let fitsInt = true;
    const lines = type.values.map(({ name, value }) => {
      if (value > 0xffff_ffffn || value < -0x8000_0000n) fitsInt = false;
      const suffix =
        value > 0x7fff_ffffn ? (value > 0xffff_ffffn ? 'ULL' : 'U') : value < -0x8000_0000n ? 'LL' : '';
      return `${pad}${this.unique(this.identifiers, identifier(name))} = ${value}${type.signed ? suffix.replace('U', '') : suffix},\n`;
    });
    const mode = type.size === 8 && !fitsInt ? '' : (ENUM_MODES.get(type.size) ?? '');
    return `${head} {\n${lines.join('')}${'\t'.repeat(indent)}}${mode}`;
  }

  /** Whether C would lay the members out in another way without `packed`. */
  private isPacked(type: BtfComposite): boolean {
    let largest = 1;
    for (const member of type.members) {
      const alignment = this.btf.alignOf(member.type);
      const bits = this.btf.bitfieldSize(member);
      const unit = 8 * (bits === 0 ? alignment : this.btf.sizeOf(member.type));
      largest = Math.max(largest, alignment);
      if (bits === 0 ? member.bitOffset % unit !== 0 : member.bitOffset % unit > unit - bits) return true;
    }
    return type.size % largest !== 0;
  }

  private compositeBody(id: number, type: BtfComposite, head: string, indent: number, depth: number): string {
    const packed = this.isPacked(type);
    const inside = '\t'.repeat(indent + 1);
    let text = `${head} {\n`;
    let at = 0;
    for (const member of type.members) {
      const bits = this.btf.bitfieldSize(member);
      if (type.kind === 'struct') {
        text += this.padding(id, this.natural(member, bits, at, packed), member.bitOffset, at, inside);
        at = member.bitOffset + (bits || this.btf.sizeOf(member.type) * 8);
      } else {
        at = Math.max(at, bits || this.btf.sizeOf(member.type) * 8);
      }
      const name = identifier(member.name);
      const declaration = this.declare(
        member.type,
        member.name === '' ? '' : name,
        '',
        indent + 1,
        depth + 1,
      );
      text += `${inside}${declaration}${bits === 0 ? '' : `: ${bits}`};\n`;
      if (text.length > this.limit)
        throw new BpfError('E2BIG', `BTF as C is longer than ${this.limit} characters`);
    }
    const alignment = packed ? 8 : 8 * this.btf.alignOf(id);
    const end = Math.ceil(at / alignment) * alignment;
    if (type.kind === 'struct') text += this.padding(id, end, type.size * 8, at, inside);
    else if (end < type.size * 8) text += `${inside}char _pad[${type.size}];\n`;
    return `${text}${'\t'.repeat(indent)}}${packed ? ' __attribute__((packed))' : ''}`;
  }

  /** Where C places the next member by itself, in bits. */
  private natural(member: BtfMember, bits: number, at: number, packed: boolean): number {
    if (bits === 0) {
      const alignment = packed ? 8 : 8 * this.btf.alignOf(member.type);
      return Math.ceil(at / alignment) * alignment;
    }
    if (packed) return at;
    const unit = 8 * this.btf.sizeOf(member.type);
    return (at % unit) + bits > unit ? Math.ceil(at / unit) * unit : at;
  }

  /** Unnamed bit-fields from `at` to `target`, unless C gets there by itself. */
  private padding(id: number, natural: number, target: number, at: number, indent: string): string {
    if (natural === target) return '';
    if (target < at) this.fail(id, `its members overlap at bit ${target}`);
    let text = '';
    let left = at;
    while (left < target) {
      const room = target - left;
      const [unit, bits] =
        left % 8 !== 0
          ? ['char', Math.min(8 - (left % 8), room)]
          : left % 64 === 0 && room >= 64
            ? ['long', 64]
            : left % 32 === 0 && room >= 32
              ? ['int', 32]
              : left % 16 === 0 && room >= 16
                ? ['short', 16]
                : ['char', Math.min(8, room)];
      text += `${indent}${unit}: ${bits};\n`;
      left += bits as number;
      if (text.length > this.limit)
        throw new BpfError('E2BIG', `BTF as C is longer than ${this.limit} characters`);
    }
    return text;
  }
}

const HEADER_START = `#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

`;

const HEADER_END = `#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
`;

/** The types of `btf` as C declarations. Errors: EINVAL for types that C cannot hold, E2BIG beyond `limit`. */
export function dumpC(btf: Btf, options: DumpCOptions = {}): string {
  const dumper = new CDumper(btf, options.limit ?? 64 * 1024 * 1024);
  const roots = options.roots ?? Array.from({ length: btf.typeCount - 1 }, (_, i) => i + 1);
  if (options.declared !== undefined) dumper.leaveOut(options.declared);
  for (const id of roots) dumper.root(id);
  for (const id of roots) {
    const type = btf.type(id);
    if ((type.kind === 'enum' || type.kind === 'enum64') && type.name === '') dumper.looseEnum(id, type);
  }
  return options.header === true ? HEADER_START + dumper.text() + HEADER_END : dumper.text();
}
