/** Declarators and initialisers (C11 6.7.6, 6.7.9). */
import { QUAL_ATOMIC } from '../ast/index.ts';
import type { Token } from '../preprocess/index.ts';
import { AttributeParser } from './attributes.ts';
import { isReserved, SPECIFIERS } from './keywords.ts';
import { TypedefScopes } from './scopes.ts';
import {
  type Attribute,
  type Declarator,
  type DeclaratorStep,
  MAX_NESTING,
  type SDesignator,
  type SExpr,
  type SInit,
  type SInitItem,
  type SInitList,
  type SParameter,
  type Specifiers,
} from './syntax.ts';

export const NO_ATTRIBUTES: readonly Attribute[] = [];

/** Where specifiers stand: it decides what an unknown name is taken for. */
export type SpecifierContext = 'external' | 'block' | 'member' | 'parameter' | 'type-name';

export abstract class DeclaratorParser extends AttributeParser {
  protected readonly scopes: TypedefScopes = new TypedefScopes();

  protected abstract specifiers(context: SpecifierContext): Specifiers;

  /** declarator: pointer? direct-declarator. `name`: `required`, `optional` (parameters) or `abstract` (none). */
  protected declarator(name: 'required' | 'optional' | 'abstract'): Declarator {
    const outer: DeclaratorStep[] = [];
    const steps: DeclaratorStep[] = [];
    const found = this.declaratorInto(steps, outer, name);
    const attributes: Attribute[] = [];
    let asmLabel: string | null = null;
    if (this.tok.kind === 'identifier' && name !== 'abstract') {
      if (this.isWord('asm') || this.isWord('__asm__') || this.isWord('__asm')) {
        this.advance();
        const open = this.expect('(', " after 'asm'");
        if (!this.isString()) this.fail('expected', "expected string literal in 'asm'");
        asmLabel = this.strings()
          .map((token) => token.text.slice(1, -1))
          .join('');
        this.close(open);
      }
      this.attributes(attributes);
    } else if (name !== 'abstract') this.attributes(attributes);
    return {
      name: found?.text ?? null,
      loc: found?.location ?? this.tok.location,
      steps,
      attributes: attributes.length > 0 ? attributes : NO_ATTRIBUTES,
      asmLabel,
    };
  }

  private declaratorInto(
    steps: DeclaratorStep[],
    pointers: DeclaratorStep[],
    name: 'required' | 'optional' | 'abstract',
  ): Token | null {
    this.enter();
    while (this.is('*') || this.is('^')) pointers.push(this.pointer());
    if (pointers.length > MAX_NESTING)
      this.fail('nesting', `more than ${MAX_NESTING} levels of pointers`, pointers[MAX_NESTING]!.loc);
    let found: Token | null = null;
    if (this.tok.kind === 'identifier' && name !== 'abstract' && !isReserved(this.tok.text)) {
      found = this.advance();
    } else if (this.is('(') && this.groups(name)) {
      const open = this.advance();
      const attributes: Attribute[] = [];
      this.attributes(attributes);
      found = this.declaratorInto(steps, [], name);
      this.close(open);
    } else if (name === 'required') {
      this.missingName();
    }
    this.suffixes(steps);
    for (let i = pointers.length - 1; i >= 0; i--) steps.push(pointers[i]!);
    this.leave();
    return found;
  }

  private missingName(): never {
    return this.fail('expected', "expected identifier or '('");
  }

  /** Whether `(` groups a declarator rather than opening parameters. */
  private groups(name: 'required' | 'optional' | 'abstract'): boolean {
    const next = this.peek();
    if (name === 'required') return true;
    if (next.kind === 'punct')
      return (
        next.text === '*' ||
        next.text === '(' ||
        next.text === '^' ||
        (next.text === '[' && name === 'abstract')
      );
    if (next.kind !== 'identifier') return false;
    if (next.text === '__attribute__') return true;
    return name === 'optional' && !this.startsType(next) && !isReserved(next.text);
  }

  private pointer(): DeclaratorStep {
    const { location } = this.advance();
    let quals = 0;
    let attributes: Attribute[] | null = null;
    while (this.tok.kind === 'identifier') {
      const word = SPECIFIERS.get(this.tok.text);
      if (word?.role === 'qualifier') {
        quals |= word.qual;
        this.advance();
      } else if (word?.role === 'atomic') {
        quals |= QUAL_ATOMIC;
        this.advance();
      } else if (word?.role === 'attribute') {
        attributes ??= [];
        this.attributes(attributes);
      } else break;
    }
    return { kind: 'pointer', quals, attributes: attributes ?? NO_ATTRIBUTES, loc: location };
  }

  private suffixes(steps: DeclaratorStep[]): void {
    while (this.tok.kind === 'punct') {
      if (steps.length > MAX_NESTING) this.fail('nesting', `a declarator of more than ${MAX_NESTING} parts`);
      if (this.tok.text === '[') {
        if (this.startsBracketAttributes()) return;
        steps.push(this.arraySuffix());
      } else if (this.tok.text === '(') steps.push(this.functionSuffix());
      else return;
    }
  }

  private arraySuffix(): DeclaratorStep {
    const open = this.advance();
    this.enter();
    let quals = 0;
    while (this.tok.kind === 'identifier') {
      const word = SPECIFIERS.get(this.tok.text);
      if (word?.role === 'qualifier') quals |= word.qual;
      else if (this.tok.text !== 'static') break;
      this.advance();
    }
    const star = this.is('*') && this.peek().text === ']' && this.peek().kind === 'punct';
    if (star) this.advance();
    const size = star || this.is(']') ? null : this.assignment();
    this.close(open);
    this.leave();
    return { kind: 'array', size, quals, star, loc: open.location };
  }

  private functionSuffix(): DeclaratorStep {
    const open = this.advance();
    this.enter();
    const parameters: SParameter[] = [];
    let variadic = false;
    let prototyped = true;
    this.scopes.push();
    if (this.is(')')) prototyped = false;
    else if (this.isWord('void') && this.peek().kind === 'punct' && this.peek().text === ')') this.advance();
    else {
      this.refuseKAndR();
      do {
        if (this.is('...')) {
          this.advance();
          variadic = true;
          break;
        }
        const specifiers = this.specifiers('parameter');
        const declarator = this.declarator('optional');
        if (declarator.name !== null) this.scopes.declareOrdinary(declarator.name);
        parameters.push({ specifiers, declarator });
      } while (this.accept(','));
    }
    this.scopes.pop();
    this.close(open);
    this.leave();
    return { kind: 'function', parameters, variadic, prototyped, loc: open.location };
  }

  /** `int f(a, b)`: names without types. */
  private refuseKAndR(): void {
    if (this.tok.kind !== 'identifier' || this.startsType(this.tok) || isReserved(this.tok.text)) return;
    const next = this.peek();
    if (next.kind !== 'punct' || (next.text !== ',' && next.text !== ')')) return;
    this.fail(
      'k-and-r',
      'a parameter list without types is only allowed in a function definition, and definitions in that style are not supported',
    );
  }

  // -------------------------------------------------------------------------------------------------------------
  // Initialisers

  protected initializer(): SInit {
    return this.is('{') ? this.initList() : this.assignment();
  }

  protected initList(): SInitList {
    const open = this.advance();
    this.enter();
    const items: SInitItem[] = [];
    while (!this.is('}')) {
      items.push(this.initItem());
      if (!this.accept(',')) break;
    }
    const end = this.close(open);
    this.leave();
    return { kind: 'list', items, loc: open.location, end: end.location };
  }

  private initItem(): SInitItem {
    const loc = this.tok.location;
    const designators: SDesignator[] = [];
    if (this.tok.kind === 'identifier' && this.peek().kind === 'punct' && this.peek().text === ':') {
      designators.push({ kind: 'field', name: this.advance().text, loc });
      this.advance();
      return { designators, value: this.initializer(), loc };
    }
    let range = false;
    for (;;) {
      if (this.is('.')) {
        this.advance();
        if (this.tok.kind !== 'identifier')
          this.fail('expected', "expected a field designator, such as '.field = 4'");
        const name = this.advance();
        designators.push({ kind: 'field', name: name.text, loc: name.location });
      } else if (this.is('[')) {
        const open = this.advance();
        const low = this.conditional();
        let high: SExpr | null = null;
        if (this.accept('...')) {
          high = this.conditional();
          range = true;
        }
        this.close(open);
        designators.push({ kind: 'index', low, high, loc: open.location });
      } else break;
      if (designators.length > MAX_NESTING) this.fail('nesting', 'too many designators');
    }
    if (designators.length > 0 && !this.accept('=')) {
      // GNU's old form `[3] value`.
      if (range || designators.length > 1 || designators[0]!.kind === 'field')
        this.fail('expected', "expected '=' or another designator");
    }
    return { designators, value: this.initializer(), loc };
  }
}
