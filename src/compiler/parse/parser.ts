/** External declarations (C11 6.9): the outermost level, and the parser's entry. */
import type { Token, TokenSource } from '../preprocess/index.ts';
import type { DiagnosticSink } from '../source/index.ts';
import { ParseFailure } from './cursor.ts';
import { StatementParser } from './statements.ts';
import type { Attribute, SInitDeclarator, Specifiers, STopLevel } from './syntax.ts';

class Parser extends StatementParser {
  /** Hands every external declaration to `take` as soon as it is read. */
  translationUnit(take: (item: STopLevel) => void): void {
    while (this.tok.kind !== 'eof') {
      try {
        const item = this.external();
        if (item !== null) take(item);
      } catch (failure) {
        if (!(failure instanceof ParseFailure)) throw failure;
        this.nesting = 0;
        this.scopes.restore(1);
        this.skipExternal();
      }
    }
  }

  private external(): STopLevel | null {
    const token = this.tok;
    const loc = token.location;
    if (token.kind === 'pragma') return this.attributePragma(this.advance());
    if (token.kind === 'punct') {
      if (token.text === ';') {
        this.advance();
        return null;
      }
      if (token.text === '}') {
        this.error('expected', "extraneous closing brace ('}')");
        this.advance();
        return null;
      }
    }
    while (this.isWord('__extension__')) this.advance();
    if (this.isWord('_Static_assert')) return this.staticAssert();
    if (this.isWord('asm') || this.isWord('__asm__') || this.isWord('__asm')) return this.fileAsm();
    const { state } = this.diagnostics;
    this.startFunction();
    const record = this.plainRecord();
    if (record !== null) return { kind: 'declaration', specifiers: record, declarators: [], state, loc };
    const specifiers = this.specifiers('external');
    const declarators: SInitDeclarator[] = [];
    if (this.is(';')) {
      this.advance();
      return { kind: 'declaration', specifiers, declarators, state, loc };
    }
    const declarator = this.declarator('required');
    if (declarator.name !== null) this.declareName(declarator.name, specifiers.storage, declarator.loc);
    const first = declarator.steps[0];
    if (first?.kind === 'function' && this.is('{')) {
      this.scopes.push();
      for (const parameter of first.parameters)
        if (parameter.declarator.name !== null) this.scopes.declareOrdinary(parameter.declarator.name);
      const before = this.diagnostics.errors;
      const body = this.block();
      const errors = this.diagnostics.errors - before;
      this.scopes.pop();
      return { kind: 'function', specifiers, declarator, body, state, errors, loc };
    }
    if (first?.kind === 'function' && !this.tok.startOfLine && this.startsType(this.tok))
      this.fail(
        'k-and-r',
        'function definitions with parameter declarations outside of the parentheses (K&R) are not supported',
      );
    const init = this.accept('=') ? this.guardedInitializer() : null;
    declarators.push({ declarator, init });
    if (!this.recovered && this.accept(',')) this.initDeclarators(specifiers, declarators);
    if (this.recovered) this.recovered = false;
    else if (this.is(';')) this.advance();
    else if (first?.kind === 'function' && init === null && declarators.length === 1 && !this.tok.startOfLine)
      this.fail('expected', 'expected function body after function declarator');
    else this.expectSemicolon('after top level declarator');
    return { kind: 'declaration', specifiers, declarators, state, loc };
  }

  private plainRecord(): Specifiers | null {
    if (!this.isWord('struct') && !this.isWord('union')) return null;
    const text = this.plainText();
    const record = text === null ? null : this.plain.record(text, this.pack);
    if (record !== null) this.resume(text!, ';');
    return record;
  }

  private fileAsm(): STopLevel {
    const { location } = this.advance();
    const open = this.expect('(', " after 'asm'");
    if (!this.isString()) this.fail('expected', "expected string literal in 'asm'");
    const template = this.strings();
    this.close(open);
    this.expectSemicolon('after top-level asm block');
    return { kind: 'file-asm', template, loc: location };
  }

  /** `clang attribute push(__attribute__((a)), apply_to = record)` and `clang attribute pop`. */
  private attributePragma(pragma: Token): STopLevel | null {
    const tokens = pragma.tokens ?? [];
    if (tokens[0]?.text !== 'clang' || tokens[1]?.text !== 'attribute') return null;
    const loc = pragma.location;
    if (tokens[2]?.text === 'pop') return { kind: 'attribute-pragma', attributes: null, targets: [], loc };
    if (tokens[2]?.text !== 'push') return null;
    let at = 3;
    const eof: Token = { kind: 'eof', text: '', location: loc, leadingSpace: false, startOfLine: true };
    // What is a tag in there is none outside: its words are not those of the table.
    const next = (): Token => (at < tokens.length ? { ...tokens[at++]!, name: null } : eof);
    const inner = new Parser({ next }, this.diagnostics);
    try {
      return inner.pushedAttributes(pragma);
    } catch (failure) {
      if (!(failure instanceof ParseFailure)) throw failure;
      return null;
    }
  }

  private pushedAttributes(pragma: Token): STopLevel {
    this.expect('(');
    const attributes: Attribute[] = [];
    this.attributes(attributes);
    const targets: string[] = [];
    while (this.tok.kind !== 'eof') {
      const token = this.advance();
      if (token.kind === 'identifier' && !['apply_to', 'any', 'unless'].includes(token.text))
        targets.push(token.text);
    }
    return { kind: 'attribute-pragma', attributes, targets, loc: pragma.location };
  }
}

/**
 * Reads a whole translation unit. Errors go to `diagnostics`; what could be read is handed to `take` in order, so that
 * messages of later stages come in the order of the source. Never throws on any input.
 */
export function parse(
  source: TokenSource,
  diagnostics: DiagnosticSink,
  take: (item: STopLevel) => void,
): void {
  new Parser(source, diagnostics).translationUnit(take);
}
