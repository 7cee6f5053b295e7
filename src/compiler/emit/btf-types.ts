/**
 * C types as BTF: only what is used. A named struct that is reached through a pointer member of another struct alone becomes a
 * forward declaration, as in clang, so that vmlinux.h does not come along as a whole.
 */
import { BtfBuilder, type BtfType, btfInt } from '../../btf/index.ts';
import {
  type CType,
  core,
  type FunctionType,
  QUAL_CONST,
  QUAL_RESTRICT,
  QUAL_VOLATILE,
  type RecordType,
} from '../ast/index.ts';

interface Visit {
  readonly type: CType;
  /** Inside of a struct: pointers to named structs end the walk. */
  readonly prune: boolean;
  readonly behindPointer: boolean;
}

export class TypeWriter {
  readonly builder = new BtfBuilder();
  /** Records whose members are wanted. */
  private readonly complete = new Set<RecordType>();
  private readonly ids = new Map<string, number>();
  private readonly records = new Map<RecordType, number>();
  private readonly objects = new Map<CType, number>();
  private indexType = 0;

  /** First pass: says that a type is used. */
  need(type: CType): void {
    this.walk([{ type, prune: false, behindPointer: false }]);
  }

  /** The members of a map definition are used as a whole, and those of the maps inside of it. */
  needMap(type: CType): void {
    let is = core(type);
    while (is.kind === 'array') is = core(is.element);
    if (is.kind !== 'record') {
      this.need(type);
      return;
    }
    if (this.complete.has(is)) return;
    this.complete.add(is);
    for (const field of is.fields) {
      const inner = core(field.type);
      const target = inner.kind === 'array' ? core(inner.element) : undefined;
      if (field.name === 'values' && target?.kind === 'pointer') this.needMap(target.pointee);
      else this.need(field.type);
    }
  }

  private walk(work: Visit[]): void {
    const seen = new Set<string>();
    const objects = new Map<object, number>();
    while (work.length > 0) {
      const { type, prune, behindPointer } = work.pop()!;
      // A chain of sugar and pointers may come back to itself through records only; those are marked below.
      let number = objects.get(type);
      if (number === undefined) {
        number = objects.size;
        objects.set(type, number);
      }
      const key = `${number}${prune ? 'p' : ''}${behindPointer ? 'b' : ''}`;
      if (seen.has(key)) continue;
      seen.add(key);
      switch (type.kind) {
        case 'typedef':
          work.push({ type: type.underlying, prune, behindPointer });
          break;
        case 'qualified':
        case 'tagged':
          work.push({ type: type.base, prune, behindPointer });
          break;
        case 'pointer': {
          const tagged = type.pointee.kind === 'tagged';
          work.push({ type: type.pointee, prune, behindPointer: behindPointer || (prune && !tagged) });
          break;
        }
        case 'array':
          work.push({ type: type.element, prune: false, behindPointer: false });
          break;
        case 'function':
          work.push({ type: type.result, prune: false, behindPointer: false });
          for (const parameter of type.parameters)
            work.push({ type: parameter.type, prune: false, behindPointer: false });
          break;
        case 'record':
          if (!type.complete || this.complete.has(type)) break;
          if (behindPointer && type.tag !== null) break;
          this.complete.add(type);
          for (const field of type.fields) work.push({ type: field.type, prune: true, behindPointer: false });
          break;
        default:
      }
    }
  }

  private add(key: string, type: BtfType): number {
    const known = this.ids.get(key);
    if (known !== undefined) return known;
    const id = this.builder.add(type);
    this.ids.set(key, id);
    return id;
  }

  /** Second pass: the id of a type. What it is made of comes first, without recursion: typedefs of typedefs have no end. */
  id(type: CType): number {
    const known = this.objects.get(type);
    if (known !== undefined) return known;
    const path: CType[] = [];
    for (let at = innerOf(type); at !== null && !this.objects.has(at); at = innerOf(at)) path.push(at);
    while (path.length > 0) this.id(path.pop()!);
    const id = this.make(type);
    this.objects.set(type, id);
    return id;
  }

  private make(type: CType): number {
    switch (type.kind) {
      case 'void':
        return 0;
      case 'integer':
        return this.add(
          `int ${type.name}`,
          btfInt(type.name, type.size, { signed: type.signed && !type.bool, bool: type.bool }),
        );
      case 'float':
        return this.add(`float ${type.name}`, { kind: 'float', name: type.name, size: type.size });
      case 'va_list':
        return this.add('ptr 0', { kind: 'ptr', type: 0 });
      case 'pointer': {
        const target = this.id(type.pointee);
        return this.add(`ptr ${target}`, { kind: 'ptr', type: target });
      }
      case 'array': {
        const element = this.id(type.element);
        const count = type.length ?? 0;
        return this.add(`array ${element} ${count}`, {
          kind: 'array',
          type: element,
          indexType: this.arrayIndex(),
          count,
        });
      }
      case 'function':
        return this.proto(type, undefined);
      case 'typedef': {
        const target = this.id(type.underlying);
        const before = this.builder.typeCount;
        const id = this.add(`typedef ${type.name} ${target}`, {
          kind: 'typedef',
          name: type.name,
          type: target,
        });
        if (this.builder.typeCount !== before) for (const tag of type.declTags) this.tag(tag, id, -1);
        return id;
      }
      case 'qualified': {
        let at = this.id(type.base);
        if ((type.quals & QUAL_RESTRICT) !== 0)
          at = this.add(`restrict ${at}`, { kind: 'restrict', type: at });
        if ((type.quals & QUAL_VOLATILE) !== 0)
          at = this.add(`volatile ${at}`, { kind: 'volatile', type: at });
        if ((type.quals & QUAL_CONST) !== 0) at = this.add(`const ${at}`, { kind: 'const', type: at });
        return at;
      }
      case 'tagged': {
        const target = this.id(type.base);
        return this.add(`type_tag ${type.tag} ${target}`, {
          kind: 'type_tag',
          name: type.tag,
          type: target,
          attribute: false,
        });
      }
      case 'enum': {
        const signed = type.enumerators.some(({ value }) => value < 0n);
        const wide = type.underlying.size > 4;
        const id = this.add(`enum#${type.id}`, {
          kind: wide ? 'enum64' : 'enum',
          name: type.tag ?? '',
          size: type.underlying.size,
          signed,
          values: type.enumerators.map(({ name, value }) => ({ name, value })),
        });
        return id;
      }
      case 'record':
        return this.record(type);
    }
  }

  private record(type: RecordType): number {
    if (!this.complete.has(type) && (type.tag !== null || !type.complete)) {
      const of = type.union ? 'union' : 'struct';
      return this.add(`fwd ${of} ${type.tag ?? ''}`, { kind: 'fwd', name: type.tag ?? '', of });
    }
    const known = this.records.get(type);
    if (known !== undefined) return known;
    const kind = type.union ? 'union' : 'struct';
    const name = type.tag ?? '';
    // The id first: members may lead back here.
    const id = this.builder.add({ kind, name, size: type.size, members: [] });
    this.records.set(type, id);
    const members = type.fields.map((field) => ({
      name: field.name ?? '',
      type: this.id(field.type),
      bitOffset: field.offset,
      bitSize: field.bitWidth ?? 0,
    }));
    this.builder.set(id, { kind, name, size: type.size, members });
    for (const tag of type.attributes.declTags ?? []) this.tag(tag, id, -1);
    type.fields.forEach((field, i) => {
      for (const tag of field.declTags) this.tag(tag, id, i);
    });
    return id;
  }

  private arrayIndex(): number {
    if (this.indexType === 0) this.indexType = this.builder.add(btfInt('__ARRAY_SIZE_TYPE__', 4));
    return this.indexType;
  }

  /** `names`: of the parameters of a function that is defined. */
  proto(type: FunctionType, names: readonly string[] | undefined): number {
    const params = type.parameters.map((parameter, i) => ({
      name: names?.[i] ?? '',
      type: this.id(parameter.type),
    }));
    if (type.variadic) params.push({ name: '', type: 0 });
    const returnType = this.id(type.result);
    const key = `proto ${returnType} ${params.map((param) => `${param.name}:${param.type}`).join(',')}`;
    return this.add(key, { kind: 'func_proto', returnType, params });
  }

  tag(name: string, type: number, componentIndex: number): void {
    this.add(`decl_tag ${name} ${type} ${componentIndex}`, {
      kind: 'decl_tag',
      name,
      type,
      componentIndex,
      attribute: false,
    });
  }
}

/** The type that another one is sugar, a pointer or an array of, else null. */
function innerOf(type: CType): CType | null {
  switch (type.kind) {
    case 'typedef':
      return type.underlying;
    case 'qualified':
    case 'tagged':
      return type.base;
    case 'pointer':
      return type.pointee;
    case 'array':
      return type.element;
    default:
      return null;
  }
}
