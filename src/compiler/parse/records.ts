/** struct, union and enum specifiers with their bodies (C11 6.7.2.1, 6.7.2.2). */
import type { Token } from '../preprocess/index.ts';
import type { Location } from '../source/index.ts';
import { ParseFailure } from './cursor.ts';
import { DeclarationParser } from './declarations.ts';
import { isReserved } from './keywords.ts';
import { PlainReader } from './plain.ts';
import type {
  Attribute,
  Declarator,
  MemberDeclaration,
  SExpr,
  StaticAssert,
  TypeName,
  TypeSpecifier,
} from './syntax.ts';

const NO_NAME_STEPS: Declarator['steps'] = [];

export abstract class RecordParser extends DeclarationParser {
  protected readonly plain = new PlainReader(this.scopes);

  protected recordSpecifier(union: boolean, keyword: Token): TypeSpecifier {
    const attributes: Attribute[] = [];
    this.attributes(attributes);
    let tag: Token | null = null;
    if (this.tok.kind === 'identifier' && !isReserved(this.tok.text)) {
      tag = this.advance();
      this.scopes.declareTag(tag, union ? 'union' : 'struct');
    }
    let members: MemberDeclaration[] | null = null;
    const { pack } = this;
    if (this.is('{')) {
      members = this.members();
      this.attributes(attributes);
    } else if (tag === null)
      this.fail(
        'expected',
        `declaration of anonymous ${keyword.text} must be a definition`,
        keyword.location,
      );
    return {
      kind: 'record',
      union,
      tag: tag?.text ?? null,
      members,
      attributes,
      pack,
      loc: (tag ?? keyword).location,
      declares: members !== null || this.is(';'),
    };
  }

  private members(): MemberDeclaration[] {
    const open = this.advance();
    this.enter();
    const members: MemberDeclaration[] = [];
    while (!this.is('}') && this.tok.kind !== 'eof') {
      if (this.accept(';')) continue;
      if (this.tok.kind === 'pragma') {
        this.advance();
        continue;
      }
      const text = this.plainText();
      if (text !== null && this.plain.members(text, this.pack, members)) {
        this.resume(text, ';');
        continue;
      }
      const { nesting } = this;
      const scopes = this.scopes.depth;
      try {
        members.push(this.member());
      } catch (failure) {
        if (!(failure instanceof ParseFailure)) throw failure;
        this.nesting = nesting;
        this.scopes.restore(scopes);
        this.skipStatement();
      }
    }
    this.leave();
    this.close(open);
    return members;
  }

  private member(): MemberDeclaration {
    const loc = this.tok.location;
    if (this.isWord('_Static_assert')) {
      const staticAssert = this.staticAssert();
      return { specifiers: null as never, declarators: [], staticAssert, loc };
    }
    const specifiers = this.specifiers('member');
    const declarators: { declarator: Declarator; width: SExpr | null }[] = [];
    if (!this.is(';'))
      do {
        let declarator: Declarator;
        if (this.is(':'))
          declarator = {
            name: null,
            loc: this.tok.location,
            steps: NO_NAME_STEPS,
            attributes: [],
            asmLabel: null,
          };
        else declarator = this.declarator('required');
        let width: SExpr | null = null;
        if (this.accept(':')) {
          width = this.conditional();
          const more: Attribute[] = [];
          this.attributes(more);
          if (more.length > 0)
            declarator = { ...declarator, attributes: [...declarator.attributes, ...more] };
        }
        declarators.push({ declarator, width });
      } while (this.accept(','));
    if (this.is('}'))
      this.diagnostics.warning(
        'extra-semi',
        "expected ';' at end of declaration list",
        this.behindPrevious(),
      );
    else this.expectSemicolon('at end of declaration list');
    return { specifiers, declarators, staticAssert: null, loc };
  }

  /** `_Static_assert(cond, "text");` */
  protected staticAssert(): StaticAssert {
    const { location } = this.advance();
    const open = this.expect('(', " after '_Static_assert'");
    const cond = this.conditional();
    let message: Token[] = [];
    if (this.accept(',')) {
      if (!this.isString())
        this.fail('expected', 'expected string literal for diagnostic message in static_assert');
      message = this.strings();
    }
    this.close(open);
    this.expectSemicolon("after '_Static_assert'");
    return { kind: 'static-assert', cond, message, loc: location };
  }

  protected enumSpecifier(keyword: Token): TypeSpecifier {
    const attributes: Attribute[] = [];
    this.attributes(attributes);
    let tag: Token | null = null;
    if (this.tok.kind === 'identifier' && !isReserved(this.tok.text)) {
      tag = this.advance();
      this.scopes.declareTag(tag, 'enum');
    }
    let fixed: TypeName | null = null;
    if (this.is(':') && this.startsType(this.peek())) {
      this.advance();
      const { location } = this.tok;
      fixed = {
        kind: 'type-name',
        specifiers: this.specifiers('type-name'),
        declarator: { name: null, loc: location, steps: NO_NAME_STEPS, attributes: [], asmLabel: null },
        loc: location,
      };
    }
    let enumerators: { name: string; value: SExpr | null; loc: Location }[] | null = null;
    if (this.is('{')) {
      const open = this.advance();
      enumerators = [];
      while (!this.is('}')) {
        if (this.tok.kind === 'pragma') {
          this.advance();
          continue;
        }
        const text = this.plainText();
        if (text !== null && this.plain.enumerators(text, enumerators)) {
          this.resume(text, ',');
          continue;
        }
        const name = this.tok;
        if (name.kind !== 'identifier' || isReserved(name.text)) {
          if (this.tok.kind === 'eof') this.close(open);
          this.fail('expected', 'expected identifier');
        }
        this.advance();
        const ignored: Attribute[] = [];
        this.attributes(ignored);
        const value = this.accept('=') ? this.conditional() : null;
        this.scopes.declareOrdinary(name.text);
        enumerators.push({ name: name.text, value, loc: name.location });
        if (!this.accept(',')) {
          if (!this.is('}') && this.tok.kind === 'identifier') {
            const location = this.behindPrevious();
            this.error('expected', "missing ',' between enumerators", location);
            continue;
          }
          break;
        }
      }
      if (enumerators.length === 0 && this.is('}')) this.error('empty-enum', 'use of empty enum');
      if (!this.is('}'))
        this.fail(
          'expected',
          this.tok.kind === 'punct' || this.tok.kind === 'eof'
            ? "expected '}'"
            : "expected '= constant-expression' or end of enumerator definition",
          this.tok.location,
          [{ message: "to match this '{'", location: open.location }],
        );
      this.advance();
      this.attributes(attributes);
    } else if (tag === null) this.fail('expected', "expected identifier or '{'");
    return {
      kind: 'enum',
      tag: tag?.text ?? null,
      enumerators,
      fixed,
      attributes,
      loc: (tag ?? keyword).location,
    };
  }
}
