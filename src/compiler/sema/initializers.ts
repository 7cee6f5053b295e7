/**
 * Initialisers (C11 6.7.9): braces, elided braces, designators, ranges and strings become a flat list of places and
 * values. A designator that comes back to a place replaces what stood there.
 */
import {
  type CType,
  core,
  type Expr,
  elementOf,
  type InitEntry,
  type Initializer,
  type RecordType,
  type StringExpr,
  type VarDecl,
} from '../ast/index.ts';
import {
  nearest,
  type SDesignator,
  type SExpr,
  type SInit,
  type SInitItem,
  type SInitList,
} from '../parse/index.ts';
import type { Location } from '../source/index.ts';
import { compatible, isInteger, sizeOf, unqualified } from './arithmetic-types.ts';
import { CallSema } from './calls.ts';
import { evaluate, evaluateInteger } from './evaluate.ts';
import { Entries } from './init-entries.ts';

/** Of an array whose initialiser was refused. */
const UNKNOWN_LENGTH = 1 << 20;
const INITIALIZE = { kind: 'initialize' } as const;

/** Items of one pair of braces, and how far they are used up. */
interface Items {
  readonly list: readonly SInitItem[];
  at: number;
  /** Index of the item whose designators are already followed, else -1. */
  designated: number;
  /** The typed value of the item at `cachedAt`, so that no expression is analysed twice. */
  cached: Expr | null;
  cachedAt: number;
}

type Step =
  | { readonly kind: 'field'; readonly index: number }
  | { readonly kind: 'index'; readonly low: number; readonly high: number };

export abstract class InitializerSema extends CallSema {
  /** Reads the initialiser of a variable; completes the variable's type where it is an array without length. */
  protected initialize(variable: VarDecl, init: SInit, loc: Location): void {
    const entries = new Entries();
    const type = variable.type;
    const at = core(type);
    if (at.kind === 'array' && at.variable) {
      this.error('variable-array', 'variable-sized object may not be initialized', loc);
      return;
    }
    if (init.kind === 'list') this.list(type, 0, init, entries);
    else {
      const errors = this.diagnostics.errors;
      this.single(type, 0, init, entries, loc);
      // What could not be read has some length: uses of it say nothing more.
      if (this.diagnostics.errors > errors || init.kind === 'error') entries.length = UNKNOWN_LENGTH;
    }
    if (at.kind === 'array' && at.length === null) {
      const element = elementOf(type);
      variable.type = { kind: 'array', element, length: entries.length, variable: false };
    }
    if (entries.full) this.error('too-large', 'the initializer has too many elements', loc);
    variable.init = {
      type: variable.type,
      entries: this.folded(variable, entries.sorted()),
      zero: entries.zero,
      loc,
    } satisfies Initializer;
    if (variable.storage !== 'local' && variable.storage !== 'parameter') this.checkConstant(variable.init);
  }

  /** The value of a constant integer is worked out once. */
  private folded(variable: VarDecl, entries: InitEntry[]): InitEntry[] {
    const entry = entries[0];
    if (
      entry === undefined ||
      entries.length > 1 ||
      !isInteger(variable.type) ||
      !this.isConst(variable.type)
    )
      return entries;
    const value = entry.value.kind === 'error' ? null : evaluateInteger(entry.value);
    return value === null
      ? entries
      : [{ ...entry, value: this.intExpr(value, entry.value.type, entry.value.loc) }];
  }

  /** What static storage starts with must be known before the program runs. */
  private checkConstant(init: Initializer): void {
    for (const { value, type } of init.entries) {
      if (value.kind === 'error' || value.kind === 'string' || value.kind === 'int') continue;
      if (core(type).kind === 'float' && value.kind === 'float') continue;
      if (evaluate(value) !== null) continue;
      if (this.constantRecord(value)) continue;
      this.error('constant', 'initializer element is not a compile-time constant', value.loc);
      return;
    }
  }

  /** `static struct s x = (struct s){ … }` */
  private constantRecord(value: Expr): boolean {
    let at = value;
    while (at.kind === 'cast' && at.how === 'load') at = at.operand;
    return at.kind === 'compound-literal' && at.decl.init !== null;
  }

  private add(entries: Entries, type: CType, bit: number, width: number | null, value: Expr): void {
    const bits = width === null ? null : { offset: bit, width };
    entries.add(bit, width ?? sizeOf(type) * 8, { offset: Math.floor(bit / 8), type, bits, value });
  }

  /** An initialiser without braces for a whole object. */
  private single(type: CType, bit: number, node: SExpr, entries: Entries, loc: Location): void {
    const at = core(type);
    const expr = this.expr(node);
    if (expr.kind === 'error') return;
    if (at.kind === 'array') {
      const text = stringOf(expr);
      if (text !== null && this.isCharArray(type, text)) {
        this.stringEntry(type, bit, text, entries);
        return;
      }
      if (expr.kind === 'compound-literal' && compatible(expr.type, type, false)) {
        // GNU: an array from a compound literal of the same type.
        for (const entry of expr.decl.init?.entries ?? [])
          entries.add(bit + entry.offset * 8, sizeOf(entry.type) * 8, {
            ...entry,
            offset: entry.offset + bit / 8,
          });
        const literal = core(expr.decl.type);
        entries.length = literal.kind === 'array' ? (literal.length ?? 0) : 0;
        entries.zero = true;
        return;
      }
      this.error('initializer', 'array initializer must be an initializer list or string literal', node.loc);
      return;
    }
    this.add(entries, unqualified(type), bit, null, this.assignConvert(expr, type, INITIALIZE, loc));
  }

  private isCharArray(type: CType, text: StringExpr): boolean {
    const element = core(elementOf(type));
    const from = core(elementOf(text.type));
    if (element.kind !== 'integer' || from.kind !== 'integer') return false;
    return from.char ? element.char : element.size === from.size && !element.char;
  }

  private stringEntry(type: CType, bit: number, text: StringExpr, entries: Entries): void {
    const at = core(type);
    if (at.kind !== 'array') return;
    const width = sizeOf(at.element);
    const have = text.bytes.length / width;
    if (at.length === null) entries.length = have;
    const length = at.length ?? have;
    if (have - 1 > length)
      this.warning('excess-initializers', 'initializer-string for char array is too long', text.loc);
    if (have < length) entries.zero = true;
    const whole: CType = { kind: 'array', element: at.element, length, variable: false };
    if (length > 0) this.add(entries, whole, bit, null, text);
  }

  // -------------------------------------------------------------------------------------------------------------

  /** `{ … }` for an object of `type`. */
  private list(type: CType, bit: number, list: SInitList, entries: Entries): void {
    entries.zero = true;
    const at = core(type);
    const items: Items = { list: list.items, at: 0, designated: -1, cached: null, cachedAt: -1 };
    if (at.kind === 'array' || at.kind === 'record') {
      const first = list.items[0];
      if (
        at.kind === 'array' &&
        list.items.length === 1 &&
        first!.designators.length === 0 &&
        first!.value.kind !== 'list'
      ) {
        const text = stringOf(this.typed(items));
        if (text !== null && this.isCharArray(type, text)) {
          this.stringEntry(type, bit, text, entries);
          return;
        }
      }
      if (at.kind === 'record' && !at.complete) {
        this.error(
          'incomplete',
          `variable has incomplete type ${this.quote(type)}`,
          list.loc,
          this.forwardNote(type),
        );
        return;
      }
      const length = this.fill(type, bit, items, true, entries, 0);
      if (at.kind === 'array' && at.length === null) entries.length = length;
    } else if (list.items.length > 0) {
      const item = list.items[0]!;
      if (item.designators.length > 0) {
        this.error('designator', `designator in initializer for scalar type ${this.quote(type)}`, item.loc);
        return;
      }
      if (item.value.kind === 'list') {
        this.warning('many-braces-around-scalar-init', 'too many braces around scalar initializer', item.loc);
        this.list(type, bit, item.value, entries);
      } else
        this.add(
          entries,
          unqualified(type),
          bit,
          null,
          this.assignConvert(this.typed(items), type, INITIALIZE, item.loc),
        );
      items.at = 1;
    }
    const left = list.items[items.at];
    if (left !== undefined) {
      const what =
        at.kind === 'array' ? 'array' : at.kind === 'record' ? (at.union ? 'union' : 'struct') : 'scalar';
      this.warning('excess-initializers', `excess elements in ${what} initializer`, left.loc);
    }
  }

  /** The typed value of the current item. */
  private typed(items: Items): Expr {
    if (items.cached === null || items.cachedAt !== items.at) {
      items.cached = this.expr(items.list[items.at]!.value as SExpr);
      items.cachedAt = items.at;
    }
    return items.cached;
  }

  /**
   * Fills members or elements from `start` on with items as long as there are some. `top`: the braces belong to this
   * object, so designators do, too. Gives the number of elements seen, for arrays.
   */
  private fill(
    type: CType,
    bit: number,
    items: Items,
    top: boolean,
    entries: Entries,
    start: number,
  ): number {
    const at = core(type);
    const record = at.kind === 'record' ? at : null;
    const element = at.kind === 'array' ? elementOf(type) : null;
    const room =
      record !== null
        ? record.union
          ? Math.min(1, record.fields.length)
          : record.fields.length
        : at.kind === 'array'
          ? (at.length ?? Number.POSITIVE_INFINITY)
          : 0;
    let position = start;
    let most = start;
    while (items.at < items.list.length && !entries.full) {
      const item = items.list[items.at]!;
      if (item.designators.length > 0 && items.designated !== items.at) {
        if (!top) return most;
        const steps = this.steps(type, item.designators);
        if (steps === null) {
          items.at++;
          continue;
        }
        position = this.designate(type, bit, steps, 0, items, entries) + 1;
        if (record?.union) position = room;
      } else {
        if (position >= room) return most;
        if (record !== null) {
          const field = record.fields[position]!;
          this.element(field.type, bit + field.offset, field.bitWidth, items, entries);
        } else if (element !== null)
          this.element(element, bit + position * sizeOf(element) * 8, null, items, entries);
        position++;
      }
      if (position > most) most = position;
    }
    return most;
  }

  /** The place of one item, which may open elided braces. */
  private element(type: CType, bit: number, width: number | null, items: Items, entries: Entries): void {
    const item = items.list[items.at]!;
    const at = core(type);
    if (item.value.kind === 'list') {
      items.at++;
      if (width !== null) {
        const inner = item.value.items[0]?.value;
        if (inner !== undefined && inner.kind !== 'list')
          this.add(entries, type, bit, width, this.assignConvert(this.expr(inner), type, INITIALIZE));
        return;
      }
      entries.clear(bit, bit + sizeOf(type) * 8);
      if (at.kind === 'array' && at.length === null) this.flexible(type, bit, item.value, entries);
      else this.list(type, bit, item.value, entries);
      return;
    }
    if (at.kind === 'array' || at.kind === 'record') {
      const value = this.typed(items);
      if (value.kind === 'error') {
        items.at++;
        return;
      }
      const text = at.kind === 'array' ? stringOf(value) : null;
      if (text !== null && this.isCharArray(type, text)) {
        items.at++;
        const length = entries.length;
        this.stringEntry(type, bit, text, entries);
        entries.length = length;
        return;
      }
      if (at.kind === 'record' && core(value.type) === at) {
        items.at++;
        this.add(entries, unqualified(type), bit, null, this.rvalue(value));
        return;
      }
      const empty = at.kind === 'record' ? at.fields.length === 0 : at.length === 0;
      if (empty) {
        // Nothing to put it into: an empty struct takes no item, and the next member is tried.
        return;
      }
      const before = items.at;
      this.fill(type, bit, items, false, entries, 0);
      if (items.at === before) items.at++;
      return;
    }
    const value = this.typed(items);
    items.at++;
    this.add(
      entries,
      unqualified(type),
      bit,
      width,
      this.assignConvert(value, type, INITIALIZE, this.beginOf(item.value)),
    );
  }

  /** A flexible array member with an initialiser of its own (GNU, static objects). */
  private flexible(type: CType, bit: number, list: SInitList, entries: Entries): void {
    const before = entries.length;
    this.list(type, bit, list, entries);
    entries.length = before;
  }

  /** Designators as steps; anonymous members on the way become steps of their own. Null after an error. */
  private steps(start: CType, designators: readonly SDesignator[]): Step[] | null {
    const steps: Step[] = [];
    let type = start;
    for (const designator of designators) {
      const at = core(type);
      if (designator.kind === 'field') {
        if (at.kind !== 'record') {
          this.error(
            'designator',
            `field designator cannot initialize a non-struct, non-union type ${this.quote(type)}`,
            designator.loc,
          );
          return null;
        }
        const path = this.designatedField(at, designator.name, designator.loc);
        if (path === null) return null;
        for (const field of path) steps.push({ kind: 'field', index: field.index });
        type = path.at(-1)!.type;
        continue;
      }
      if (at.kind !== 'array') {
        this.error(
          'designator',
          `array designator cannot initialize non-array type ${this.quote(type)}`,
          designator.loc,
        );
        return null;
      }
      const low = this.integerConstant(designator.low, 'integer constant expression');
      const high =
        designator.high === null ? low : this.integerConstant(designator.high, 'integer constant expression');
      if (low === null || high === null) return null;
      if (low < 0n) {
        this.error('designator', `array designator value '${low}' is negative`, designator.low.loc);
        return null;
      }
      if (high < low) {
        this.error('designator', `array designator range [${low}, ${high}] is empty`, designator.loc);
        return null;
      }
      if (at.length !== null && high >= BigInt(at.length)) {
        this.error(
          'designator',
          `array designator index (${high}) exceeds array bounds (${at.length})`,
          (designator.high ?? designator.low).loc,
        );
        return null;
      }
      if (high >= BigInt(2 ** 40)) {
        this.error('designator', 'array is too large', designator.loc);
        return null;
      }
      steps.push({ kind: 'index', low: Number(low), high: Number(high) });
      type = elementOf(type);
    }
    return steps;
  }

  private designatedField(record: RecordType, name: string, loc: Location) {
    if (this.findField(record, name) !== undefined) return this.findField(record, name)!;
    const near = nearest(name, record.lookup?.keys() ?? []);
    const path = near === null ? undefined : this.findField(record, near);
    this.error(
      'designator',
      `field designator '${name}' does not refer to any field in type ${this.quote(record)}${near === null ? '' : `; did you mean '${near}'?`}`,
      loc,
      path === undefined ? [] : [{ message: `'${near}' declared here`, location: path.at(-1)!.location }],
    );
    return path ?? null;
  }

  /** Follows `steps` from `k` on, gives the item to the last; returns the position at this level. */
  private designate(
    type: CType,
    bit: number,
    steps: readonly Step[],
    k: number,
    items: Items,
    entries: Entries,
  ): number {
    const step = steps[k]!;
    const at = core(type);
    if (step.kind === 'field') {
      const record = at as RecordType;
      const field = record.fields[step.index]!;
      if (record.union) {
        // Another member of the union than before: what it said is gone.
        const nested = k + 1 < steps.length;
        if (!nested) entries.clear(bit, bit + record.size * 8);
      }
      this.designated(field.type, bit + field.offset, field.bitWidth, steps, k, items, entries);
      return step.index;
    }
    const element = elementOf(type);
    const size = sizeOf(element) * 8;
    const from = items.at;
    for (let i = step.low; i <= step.high && !entries.full; i++) {
      items.at = from;
      this.designated(element, bit + i * size, null, steps, k, items, entries);
    }
    return step.high;
  }

  private designated(
    type: CType,
    bit: number,
    width: number | null,
    steps: readonly Step[],
    k: number,
    items: Items,
    entries: Entries,
  ): void {
    if (k + 1 === steps.length) {
      items.designated = items.at;
      this.element(type, bit, width, items, entries);
      return;
    }
    const position = this.designate(type, bit, steps, k + 1, items, entries);
    const record = core(type);
    if (record.kind === 'record' && record.union) return;
    this.fill(type, bit, items, false, entries, position + 1);
  }

  // -------------------------------------------------------------------------------------------------------------

  protected compoundLiteral(node: Extract<SExpr, { readonly kind: 'compound-literal' }>): Expr {
    const type = this.typeOfName(node.type);
    const at = core(type);
    if (at.kind === 'void' || at.kind === 'function' || (at.kind === 'record' && !at.complete)) {
      this.error(
        'incomplete',
        `variable has incomplete type ${this.quote(type)}`,
        node.loc,
        this.forwardNote(type),
      );
      return this.errorExpr(node.loc);
    }
    const decl: VarDecl = {
      kind: 'var',
      name: '.compoundliteral',
      id: this.nextId++,
      type,
      storage: this.function === null ? 'static' : 'local',
      register: false,
      threadLocal: false,
      attributes: {},
      init: null,
      owner: this.function?.decl ?? null,
      loc: node.loc,
      addressTaken: false,
      referenced: true,
    };
    if (this.function === null) this.variables.push(decl);
    this.initialize(decl, node.list, node.loc);
    return { kind: 'compound-literal', decl, type: decl.type, lvalue: true, loc: node.loc };
  }

  protected isIntegerType(type: CType): boolean {
    return isInteger(type);
  }
}

/** A string literal, in parentheses or not. */
function stringOf(expr: Expr): StringExpr | null {
  return expr.kind === 'string' ? expr : null;
}
