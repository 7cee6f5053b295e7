/** Attributes of declarations, fields and types: what each name does, as a table. */
import {
  type CType,
  core,
  type DeclAttributes,
  type FunctionDecl,
  qualify,
  type RecordAttributes,
} from '../ast/index.ts';
import type { Attribute, SExpr } from '../parse/index.ts';
import { integerOf, integerOfSize } from './arithmetic-types.ts';
import { SemaBase } from './base.ts';
import { evaluateInteger } from './evaluate.ts';
import { stringText } from './literals.ts';

/** Flags that are only noted. */
const FLAGS = {
  weak: 'weak',
  used: 'used',
  retain: 'used',
  unused: 'unused',
  maybe_unused: 'unused',
  always_inline: 'alwaysInline',
  noinline: 'noinline',
  naked: 'naked',
  noreturn: 'noreturn',
  hot: 'hot',
  cold: 'cold',
  pure: 'pure',
  const: 'const',
  optnone: 'optnone',
  no_builtin: 'noBuiltin',
  warn_unused_result: 'warnUnusedResult',
  nodiscard: 'warnUnusedResult',
} as const satisfies Record<string, keyof DeclAttributes>;

const REFUSED: Readonly<Record<string, string>> = {
  vector_size: 'vector types are not supported on BPF',
  ext_vector_type: 'vector types are not supported on BPF',
  overloadable: 'overloadable functions are not supported',
};

/** `mode` attribute: bytes. */
const MODES: Readonly<Record<string, number>> = {
  QI: 1,
  byte: 1,
  HI: 2,
  SI: 4,
  DI: 8,
  word: 8,
  pointer: 8,
  TI: 16,
};

export abstract class AttributeSema extends SemaBase {
  private text(attribute: Attribute): string | null {
    let arg: SExpr | undefined = attribute.args[0];
    while (arg?.kind === 'paren') arg = arg.inner;
    if (arg?.kind === 'string') return stringText(arg.tokens);
    this.error('attribute', `'${attribute.name}' attribute requires a string`, arg?.loc ?? attribute.loc);
    return null;
  }

  private integerArgument(attribute: Attribute): number | null {
    const arg = attribute.args[0];
    if (arg === undefined) return null;
    const value = evaluateInteger(this.rvalue(this.expr(arg)));
    if (value === null) {
      this.error('attribute', `'${attribute.name}' attribute requires an integer constant`, arg.loc);
      return null;
    }
    return Number(value);
  }

  /** Bytes that `aligned` asks for. */
  private alignment(attribute: Attribute): number {
    if (attribute.args.length === 0) return 8;
    const value = this.integerArgument(attribute);
    if (value === null) return 0;
    if (value <= 0 || (value & (value - 1)) !== 0 || value > 2 ** 28) {
      this.error('alignment', 'requested alignment is not a power of 2', attribute.args[0]!.loc);
      return 0;
    }
    return value;
  }

  protected declAttributes(list: readonly Attribute[], into: DeclAttributes): void {
    for (const attribute of list) {
      const flag = FLAGS[attribute.name as keyof typeof FLAGS];
      if (flag !== undefined && Object.hasOwn(FLAGS, attribute.name)) {
        into[flag] = true;
        continue;
      }
      switch (attribute.name) {
        case 'section': {
          const name = this.text(attribute);
          if (name !== null) into.section = name;
          break;
        }
        case 'aligned': {
          const value = this.alignment(attribute);
          if (value > (into.aligned ?? 0)) into.aligned = value;
          break;
        }
        case 'btf_decl_tag': {
          const tag = this.text(attribute);
          if (tag !== null && !into.declTags?.includes(tag)) into.declTags = [...(into.declTags ?? []), tag];
          break;
        }
        case 'alias': {
          const name = this.text(attribute);
          if (name !== null) into.alias = name;
          break;
        }
        case 'visibility': {
          const kind = this.text(attribute);
          if (kind === 'default' || kind === 'hidden' || kind === 'protected' || kind === 'internal')
            into.visibility = kind;
          else if (kind !== null) this.error('attribute', `invalid visibility '${kind}'`, attribute.loc);
          break;
        }
        case 'deprecated':
          into.deprecated = attribute.args.length > 0 ? (this.text(attribute) ?? '') : '';
          break;
        case 'cleanup':
          this.cleanup(attribute, into);
          break;
        default:
          if (Object.hasOwn(REFUSED, attribute.name))
            this.error('unsupported', REFUSED[attribute.name]!, attribute.loc);
      }
    }
  }

  private cleanup(attribute: Attribute, into: DeclAttributes): void {
    const arg = attribute.args[0];
    const found = arg?.kind === 'name' ? this.lookup(arg.name) : undefined;
    if (found?.kind !== 'function') {
      this.error('attribute', "'cleanup' argument is not a function", arg?.loc ?? attribute.loc);
      return;
    }
    (found as FunctionDecl).referenced = true;
    into.cleanup = found;
  }

  protected recordAttributes(list: readonly Attribute[], into: RecordAttributes): void {
    for (const attribute of list)
      switch (attribute.name) {
        case 'packed':
          into.packed = true;
          break;
        case 'aligned': {
          const value = this.alignment(attribute);
          if (value > (into.aligned ?? 0)) into.aligned = value;
          break;
        }
        case 'preserve_access_index':
          into.preserveAccessIndex = true;
          break;
        case 'preserve_static_offset':
          into.preserveStaticOffset = true;
          break;
        case 'transparent_union':
          into.transparentUnion = true;
          break;
        case 'deprecated':
          if (attribute.args.length > 0 && this.text(attribute) === 'packet') into.packet = true;
          break;
        case 'btf_decl_tag': {
          const tag = this.text(attribute);
          if (tag !== null) into.declTags = [...(into.declTags ?? []), tag];
          break;
        }
        default:
          if (Object.hasOwn(REFUSED, attribute.name))
            this.error('unsupported', REFUSED[attribute.name]!, attribute.loc);
      }
  }

  /** Attributes of a field or typedef. */
  protected fieldAttributes(lists: readonly (readonly Attribute[])[]): {
    packed: boolean;
    aligned: number;
    declTags: string[];
  } {
    const result = { packed: false, aligned: 0, declTags: [] as string[] };
    for (const list of lists)
      for (const attribute of list) {
        if (attribute.name === 'packed') result.packed = true;
        else if (attribute.name === 'aligned')
          result.aligned = Math.max(result.aligned, this.alignment(attribute));
        else if (attribute.name === 'btf_decl_tag') {
          const tag = this.text(attribute);
          if (tag !== null) result.declTags.push(tag);
        } else if (Object.hasOwn(REFUSED, attribute.name))
          this.error('unsupported', REFUSED[attribute.name]!, attribute.loc);
      }
    return result;
  }

  /** Bytes of `mode(DI)`; 0 after an error. */
  protected modeSize(attribute: Attribute): number {
    const arg = attribute.args[0];
    const name = arg?.kind === 'name' ? arg.name.replace(/^__(.*)__$/, '$1') : '';
    const size = Object.hasOwn(MODES, name) ? MODES[name]! : 0;
    if (size === 0) this.error('attribute', `unknown machine mode '${name}'`, attribute.loc);
    return size;
  }

  /** Attributes that change a type: `btf_type_tag`, `address_space`, `mode`. */
  protected typeAttributes(type: CType, list: readonly Attribute[]): CType {
    let result = type;
    for (const attribute of list)
      switch (attribute.name) {
        case 'btf_type_tag': {
          const tag = this.text(attribute);
          if (tag !== null) result = { kind: 'tagged', base: result, tag };
          break;
        }
        case 'address_space': {
          const space = this.integerArgument(attribute);
          if (space === null) break;
          if (space < 0 || space > 0x7fffff)
            this.error('attribute', 'address space is out of range', attribute.loc);
          else result = qualify(result, 0, space);
          break;
        }
        case 'mode': {
          const size = this.modeSize(attribute);
          if (size > 0 && core(type).kind === 'integer') result = integerOfSize(size, integerOf(type).signed);
          break;
        }
      }
    return result;
  }
}
