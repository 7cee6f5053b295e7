/** Attributes in both spellings: `__attribute__((a, b(1)))` and `[[gnu::a]]`. Unknown ones keep their name only. */
import { isKnownAttribute, type Token } from '../preprocess/index.ts';
import { ExpressionParser } from './expressions.ts';
import type { Attribute, SExpr } from './syntax.ts';

/** Those whose arguments are read as expressions; the arguments of others are skipped. */
const WITH_ARGUMENTS: ReadonlySet<string> = new Set([
  'section',
  'aligned',
  'btf_decl_tag',
  'btf_type_tag',
  'address_space',
  'cleanup',
  'mode',
  'vector_size',
  'alias',
  'visibility',
  'deprecated',
  'unavailable',
  'error',
  'warning',
]);

export function plainAttributeName(spelling: string): string {
  return spelling.length > 4 && spelling.startsWith('__') && spelling.endsWith('__')
    ? spelling.slice(2, -2)
    : spelling;
}

export abstract class AttributeParser extends ExpressionParser {
  /** Appends all attribute groups that stand here. */
  protected attributes(into: Attribute[]): void {
    for (;;) {
      if (this.tok.kind === 'identifier') {
        if (this.tok.text !== '__attribute__' && this.tok.text !== '__attribute') return;
        this.gnuAttributes(into);
      } else if (this.startsBracketAttributes()) this.bracketAttributes(into);
      else return;
    }
  }

  protected startsBracketAttributes(): boolean {
    return this.is('[') && this.peek().kind === 'punct' && this.peek().text === '[';
  }

  private gnuAttributes(into: Attribute[]): void {
    this.advance();
    const outer = this.expect('(', " after 'attribute'");
    const inner = this.expect('(', " after '('");
    for (;;) {
      if (this.is(')')) break;
      if (this.accept(',')) continue;
      into.push(this.attribute(this.attributeName()));
      if (!this.is(',') && !this.is(')')) this.close(inner);
    }
    this.close(inner);
    this.close(outer);
  }

  private bracketAttributes(into: Attribute[]): void {
    const outer = this.advance();
    const inner = this.advance();
    for (;;) {
      if (this.is(']')) break;
      if (this.accept(',')) continue;
      let name = this.attributeName();
      if (this.is(':') && this.peek().text === ':') {
        this.advance();
        this.advance();
        name = this.attributeName();
      } else if (this.accept('::')) name = this.attributeName();
      into.push(this.attribute(name));
      if (!this.is(',') && !this.is(']')) this.close(inner);
    }
    this.close(inner);
    this.close(outer);
  }

  private attributeName(): Token {
    if (this.tok.kind !== 'identifier') this.fail('expected', 'expected identifier');
    return this.advance();
  }

  private attribute(token: Token): Attribute {
    const name = plainAttributeName(token.text);
    const args: SExpr[] = [];
    if (!isKnownAttribute(name))
      this.diagnostics.warning(
        'unknown-attributes',
        `unknown attribute '${token.text}' ignored`,
        token.location,
      );
    if (this.is('(')) {
      if (WITH_ARGUMENTS.has(name)) {
        const open = this.advance();
        this.enter();
        if (!this.is(')'))
          do args.push(this.assignment());
          while (this.accept(','));
        this.close(open);
        this.leave();
      } else this.skipGroup();
    }
    return { name, args, loc: token.location };
  }
}
