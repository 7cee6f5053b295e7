/** struct, union and enum definitions: members, bit-fields, layout, enumerators (C11 6.7.2.1, 6.7.2.2). */
import {
  type CType,
  core,
  type Enumerator,
  type EnumType,
  type Field,
  type IntegerType,
  qualifiers,
  type RecordType,
} from '../ast/index.ts';
import type {
  Declarator,
  EnumSpecifier,
  MemberDeclaration,
  RecordSpecifier,
  SExpr,
  Specifiers,
} from '../parse/index.ts';
import type { Location } from '../source/index.ts';
import {
  fits,
  INT,
  integerOf,
  integerOfSize,
  isComplete,
  isInteger,
  LONG,
  SCHAR,
  SHORT,
  sizeOf,
  UCHAR,
  UINT,
  ULONG,
  USHORT,
} from './arithmetic-types.ts';
import { layoutRecord, MAX_OBJECT_SIZE, maxBitWidth, type Padding } from './layout.ts';
import { TypeSema } from './types.ts';

/** Records that lie inside each other. */
const MAX_RECORD_DEPTH = 256;

export abstract class TagSema extends TypeSema {
  /** While the members of a record with `preserve_access_index` are read. */
  private preservedOutside = false;

  // -------------------------------------------------------------------------------------------------------------
  // Records

  private newRecord(spec: RecordSpecifier): RecordType {
    const record: RecordType = {
      kind: 'record',
      union: spec.union,
      tag: spec.tag,
      id: this.nextId++,
      complete: false,
      defining: false,
      fields: [],
      size: 0,
      align: 1,
      flexible: false,
      attributes: {},
      typedefName: null,
      location: spec.loc,
      lookup: null,
    };
    this.records.push(record);
    if (spec.tag !== null) this.declareTag(spec.tag, record);
    return record;
  }

  protected record(spec: RecordSpecifier): RecordType {
    let record: RecordType | null = null;
    if (spec.tag !== null) {
      const found = spec.declares ? this.lookupTagHere(spec.tag) : this.lookupTag(spec.tag);
      if (found !== undefined) {
        if (found.kind === 'enum' || found.union !== spec.union)
          this.error(
            'tag-mismatch',
            `use of '${spec.tag}' with tag type that does not match previous declaration`,
            spec.loc,
            [{ message: 'previous use is here', location: found.location }],
          );
        else record = found;
      }
    }
    if (record === null) {
      if (this.inParameters && spec.tag !== null)
        this.warning(
          'visibility',
          `declaration of '${spec.union ? 'union' : 'struct'} ${spec.tag}' will not be visible outside of this function`,
          spec.loc,
        );
      record = this.newRecord(spec);
    }
    this.recordAttributes(spec.attributes, record.attributes);
    if (spec.members === null) return record;
    for (const pushed of this.pushedAttributes)
      if (pushed.targets.some((target) => target === 'record' || target === 'is_union'))
        this.recordAttributes(pushed.attributes, record.attributes);
    if (record.complete || record.defining) {
      this.error(
        'redefinition',
        record.defining ? `nested redefinition of '${spec.tag}'` : `redefinition of '${spec.tag}'`,
        spec.loc,
        [{ message: 'previous definition is here', location: record.location }],
      );
      record = this.newRecord(spec);
    }
    record.location = spec.loc;
    record.defining = true;
    // As clang has it: the attribute holds for the records that are defined inside, too.
    if (this.preservedOutside) record.attributes.preserveAccessIndex = true;
    const outside = this.preservedOutside;
    this.preservedOutside = record.attributes.preserveAccessIndex === true;
    this.members(record, spec);
    this.preservedOutside = outside;
    record.defining = false;
    record.complete = true;
    return record;
  }

  private members(record: RecordType, spec: RecordSpecifier): void {
    const members = new MemberList();
    for (const declaration of spec.members!) {
      if (declaration.staticAssert !== null) {
        this.staticAssert(declaration.staticAssert);
        continue;
      }
      if (record.flexible && !record.union) {
        const last = record.fields.at(-1);
        this.error(
          'flexible-array',
          `flexible array member '${last?.name}' with type ${this.quote(last!.type)} is not at the end of ${record.union ? 'union' : 'struct'}`,
          last!.location,
          [{ message: 'next field declaration is here', location: declaration.loc }],
        );
        record.flexible = false;
      }
      this.memberDeclaration(record, declaration, members);
    }
    // What was pushed to has room for more, and there are many records.
    record.fields = record.fields.slice();
    layoutRecord(record, members.paddings, spec.pack);
    this.limitNesting(record);
    if (record.size >= MAX_OBJECT_SIZE) {
      this.error('too-large', `type ${this.quote(record)} is too large`, spec.loc);
      record.size = 0;
    }
  }

  /** Records that have records inside, by how deep that goes. */
  private readonly recordDepths = new Map<RecordType, number>();

  private limitNesting(record: RecordType): void {
    let depth = 0;
    for (const field of record.fields) {
      let at = core(field.type);
      while (at.kind === 'array') at = core(at.element);
      if (at.kind === 'record') depth = Math.max(depth, 1 + (this.recordDepths.get(at) ?? 0));
    }
    if (depth > 0) this.recordDepths.set(record, depth);
    if (depth > MAX_RECORD_DEPTH)
      this.diagnostics.fatal(
        'nesting',
        `more than ${MAX_RECORD_DEPTH} structs inside each other`,
        record.location,
      );
  }

  private memberDeclaration(record: RecordType, declaration: MemberDeclaration, members: MemberList): void {
    const { specifiers } = declaration;
    const base = this.specifierType(specifiers);
    if (declaration.declarators.length === 0) {
      const at = core(base);
      const inline = specifiers.type.kind === 'record' && specifiers.type.tag === null;
      if (at.kind === 'record' && inline) {
        this.anonymousMember(record, base, at, declaration, members);
        return;
      }
      // `struct s { … };` and `enum e { … };` inside of a struct declare the tag only.
      if (specifiers.type.kind === 'enum') return;
      this.warning('missing-declarations', 'declaration does not declare anything', declaration.loc);
      return;
    }
    for (const { declarator, width } of declaration.declarators) {
      let type = declarator.steps.length > 0 ? this.declaratorType(base, declarator) : base;
      const own =
        specifiers.attributes.length > 0 || declarator.attributes.length > 0
          ? this.fieldAttributes([specifiers.attributes, declarator.attributes])
          : null;
      if (declarator.attributes.length > 0) type = this.typeAttributes(type, declarator.attributes);
      let aligned = own?.aligned ?? 0;
      for (const asked of specifiers.alignas) aligned = Math.max(aligned, this.alignasValue(asked));
      const bits = width === null ? null : this.bitWidth(width, type, declarator);
      if (declarator.name === null) {
        if (bits !== null)
          members.pad({ before: record.fields.length, type, width: bits, packed: own?.packed ?? false });
        continue;
      }
      if (members.has(declarator.name)) {
        this.duplicateMember(record, declarator.name, declarator.loc);
        continue;
      }
      members.add(declarator.name);
      type = this.memberType(record, type, declarator);
      const field: Field = {
        name: declarator.name,
        type,
        offset: 0,
        bitWidth: bits,
        index: record.fields.length,
        record,
        packed: own?.packed ?? false,
        alignAttribute: aligned,
        declTags: own?.declTags ?? NO_TAGS,
        location: declarator.loc,
      };
      record.fields.push(field);
    }
  }

  private duplicateMember(record: RecordType, name: string, loc: Location): void {
    const before = this.findField(record, name)?.at(-1);
    this.error(
      'duplicate-member',
      `duplicate member '${name}'`,
      loc,
      before === undefined ? [] : [{ message: 'previous declaration is here', location: before.location }],
    );
  }

  private anonymousMember(
    record: RecordType,
    type: CType,
    inner: RecordType,
    declaration: MemberDeclaration,
    members: MemberList,
  ): void {
    const { specifiers } = declaration;
    if (members.hasNoneOf(inner)) members.addAll(inner);
    else this.redeclared(inner, members);
    const own = this.fieldAttributes([specifiers.attributes]);
    if (inner.flexible) record.flexible = true;
    const field: Field = {
      name: null,
      type,
      offset: 0,
      bitWidth: null,
      index: record.fields.length,
      record,
      packed: own.packed,
      alignAttribute: own.aligned,
      declTags: own.declTags,
      location: specifiers.type.kind === 'record' ? specifiers.type.loc : declaration.loc,
    };
    record.fields.push(field);
  }

  /** An anonymous member has names that its record has already. */
  private redeclared(inner: RecordType, members: MemberList): void {
    this.findField(inner, '');
    for (const [name, path] of inner.lookup ?? []) {
      if (members.has(name))
        this.error(
          'duplicate-member',
          `member of anonymous ${inner.union ? 'union' : 'struct'} redeclares '${name}'`,
          path.at(-1)!.location,
        );
      members.add(name);
    }
  }

  /** Checks what may be a member; a type that may not is replaced. */
  private memberType(record: RecordType, type: CType, declarator: Declarator): CType {
    const at = core(type);
    if (at.kind === 'array' && at.length === null) {
      if (at.variable) {
        this.error(
          'variable-array',
          "fields must have a constant size: 'variable length array in structure' extension will never be supported",
          declarator.loc,
        );
        return { kind: 'array', element: at.element, length: 0, variable: false };
      }
      record.flexible = true;
      return type;
    }
    if (at.kind === 'record' && at.complete) {
      if (at.flexible && record.union) record.flexible = true;
      return type;
    }
    if (at.kind === 'function') {
      this.error('field-type', `field '${declarator.name}' declared as a function`, declarator.loc);
      return INT;
    }
    if (!isComplete(type)) {
      this.error(
        'incomplete',
        `field has incomplete type ${this.quote(type)}`,
        declarator.loc,
        this.forwardNote(type),
      );
      return INT;
    }
    return type;
  }

  private bitWidth(node: SExpr, type: CType, declarator: Declarator): number | null {
    const named = declarator.name === null ? 'anonymous bit-field' : `bit-field '${declarator.name}'`;
    if (!isInteger(type) || !isComplete(type)) {
      this.error('bit-field', `${named} has non-integral type ${this.quote(type)}`, declarator.loc);
      return null;
    }
    const value = this.integerConstant(node, 'integer constant expression');
    if (value === null) return 1;
    if (value < 0n) {
      this.error('bit-field', `${named} has negative width (${value})`, declarator.loc);
      return 1;
    }
    if (value === 0n && declarator.name !== null) {
      this.error('bit-field', `named ${named} has zero width`, declarator.loc);
      return 1;
    }
    const most = maxBitWidth(type);
    if (value > BigInt(sizeOf(type) * 8) || value > BigInt(most)) {
      this.error(
        'bit-field',
        `width of ${named} (${value} bits) exceeds the width of its type (${most} bit${most === 1 ? '' : 's'})`,
        declarator.loc,
      );
      return most;
    }
    return Number(value);
  }

  protected alignasValue(asked: Specifiers['alignas'][number]): number {
    if (asked.kind === 'type-name') {
      const type = core(this.typeOfName(asked));
      return type.kind === 'record' ? type.align : Math.max(1, sizeOf(type));
    }
    const value = this.integerConstant(asked, 'integer constant expression');
    if (value === null || value === 0n) return 0;
    if (value < 0n || (value & (value - 1n)) !== 0n) {
      this.error('alignment', 'requested alignment is not a power of 2', asked.loc);
      return 0;
    }
    return Number(value);
  }

  // -------------------------------------------------------------------------------------------------------------
  // Enums

  protected enumeration(spec: EnumSpecifier): EnumType {
    const defines = spec.enumerators !== null;
    if (spec.tag !== null) {
      const found = defines ? this.lookupTagHere(spec.tag) : this.lookupTag(spec.tag);
      if (found !== undefined) {
        if (found.kind !== 'enum') {
          this.error(
            'tag-mismatch',
            `use of '${spec.tag}' with tag type that does not match previous declaration`,
            spec.loc,
            [{ message: 'previous use is here', location: found.location }],
          );
        } else if (!defines) return found;
        else if (found.complete && found.enumerators.length > 0) {
          this.error('redefinition', `redefinition of '${spec.tag}'`, spec.loc, [
            { message: 'previous definition is here', location: found.location },
          ]);
        } else {
          this.enumerators(found, spec);
          return found;
        }
      }
    }
    const result: EnumType = {
      kind: 'enum',
      tag: spec.tag,
      id: this.nextId++,
      complete: spec.fixed !== null,
      enumerators: [],
      underlying: UINT,
      packed: false,
      declTags: [],
      typedefName: null,
      location: spec.loc,
    };
    this.enums.push(result);
    if (spec.tag !== null) this.declareTag(spec.tag, result);
    if (spec.fixed !== null) result.underlying = integerOf(this.typeOfName(spec.fixed));
    if (defines) this.enumerators(result, spec);
    return result;
  }

  private enumerators(type: EnumType, spec: EnumSpecifier): void {
    const attributes = this.fieldAttributes([spec.attributes]);
    type.packed = attributes.packed;
    type.declTags = attributes.declTags;
    type.location = spec.loc;
    const symbols: { kind: 'enumerator'; type: CType; value: bigint; loc: Location }[] = [];
    let next = 0n;
    let least = 0n;
    let most = 0n;
    for (const { name, value, loc } of spec.enumerators!) {
      let now = next;
      if (value !== null) {
        now = this.integerConstant(value, 'integer constant expression') ?? next;
      }
      if (now > most) most = now;
      if (now < least) least = now;
      next = now + 1n;
      const symbol = {
        kind: 'enumerator' as const,
        type: (fits(now, INT) ? INT : fits(now, UINT) ? UINT : fits(now, LONG) ? LONG : ULONG) as CType,
        value: now,
        loc,
      };
      const before = this.lookupHere(name);
      if (before !== undefined)
        this.error(
          'redefinition',
          before.kind === 'enumerator'
            ? `redefinition of enumerator '${name}'`
            : `redefinition of '${name}' as different kind of symbol`,
          loc,
          [{ message: 'previous definition is here', location: this.locationOf(before) }],
        );
      this.declare(name, symbol);
      symbols.push(symbol);
      type.enumerators.push({ name, value: now, location: loc } satisfies Enumerator);
    }
    if (spec.fixed === null) type.underlying = smallestFor(least, most, type.packed);
    for (const attribute of spec.attributes)
      if (attribute.name === 'mode') {
        const size = this.modeSize(attribute);
        if (size > 0) type.underlying = integerOfSize(size, type.underlying.signed);
      }
    if (spec.fixed !== null)
      for (const symbol of symbols)
        if (!fits(symbol.value, type.underlying))
          this.error(
            'enum',
            `enumerator value ${symbol.value} is not representable in the underlying type ${this.quote(type.underlying)}`,
            symbol.loc,
          );
    type.complete = true;
    // An enumerator that fits is an int; others have the type of the whole enum.
    for (const symbol of symbols)
      if (spec.fixed !== null) symbol.type = type.underlying;
      else if (!fits(symbol.value, INT)) symbol.type = type.underlying;
  }

  protected isConst(type: CType): boolean {
    return (qualifiers(type) & 1) !== 0;
  }
}

/** The members of a record while they are read: their names, those of anonymous members included, and what lies between them. */
class MemberList {
  paddings: Padding[] | null = null;
  private readonly names: string[] = [];
  /** A bit for each kind of name that is there: most names need not be compared with any. */
  private kinds = 0;
  /** The names of larger records. */
  private set: Set<string> | null = null;

  has(name: string): boolean {
    if (this.set !== null) return this.set.has(name);
    return (this.kinds & kindOf(name)) !== 0 && this.names.includes(name);
  }

  add(name: string): void {
    if (this.set !== null) {
      this.set.add(name);
      return;
    }
    this.kinds |= kindOf(name);
    this.names.push(name);
    if (this.names.length > SMALL_RECORD) this.set = new Set(this.names);
  }

  pad(padding: Padding): void {
    if (this.paddings === null) this.paddings = [padding];
    else this.paddings.push(padding);
  }

  /** Whether no field of an anonymous member, at any depth, has a name that is here. */
  hasNoneOf(record: RecordType): boolean {
    for (const { name, type } of record.fields) {
      if (name !== null) {
        if (this.has(name)) return false;
        continue;
      }
      const inner = core(type);
      if (inner.kind === 'record' && !this.hasNoneOf(inner)) return false;
    }
    return true;
  }

  addAll(record: RecordType): void {
    for (const { name, type } of record.fields) {
      if (name !== null) {
        this.add(name);
        continue;
      }
      const inner = core(type);
      if (inner.kind === 'record') this.addAll(inner);
    }
  }
}

const SMALL_RECORD = 24;

function kindOf(name: string): number {
  const { length } = name;
  return 1 << ((name.charCodeAt(0) + 7 * name.charCodeAt(length - 1) + 13 * length) & 31);
}

const NO_TAGS: readonly string[] = [];

function smallestFor(least: bigint, most: bigint, packed: boolean): IntegerType {
  const candidates: readonly IntegerType[] =
    least < 0n
      ? packed
        ? [SCHAR, SHORT, INT, LONG]
        : [INT, LONG]
      : packed
        ? [UCHAR, USHORT, UINT, ULONG]
        : [UINT, ULONG];
  return candidates.find((type) => fits(least, type) && fits(most, type)) ?? (least < 0n ? LONG : ULONG);
}
