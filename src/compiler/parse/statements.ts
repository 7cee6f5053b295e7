/** Statements and blocks (C11 6.8, GNU asm and loop pragmas). */
import type { Token } from '../preprocess/index.ts';
import type { DiagnosticState, Location } from '../source/index.ts';
import { ParseFailure } from './cursor.ts';
import { isReserved } from './keywords.ts';
import { RecordParser } from './records.ts';
import {
  type Attribute,
  MAX_TREE_DEPTH,
  type SAsmOperand,
  type SCompound,
  type SDeclaration,
  type SExpr,
  type SInit,
  type SInitDeclarator,
  type SLoopHint,
  type Specifiers,
  type SStmt,
} from './syntax.ts';

const NO_ATTRIBUTES: readonly Attribute[] = [];

export abstract class StatementParser extends RecordParser {
  /** `{ … }` with a scope of its own. */
  protected compound(): SCompound {
    this.scopes.push();
    const result = this.block();
    this.scopes.pop();
    return result;
  }

  /** `{ … }` in the current scope (the body of a function shares that of its parameters). */
  protected block(): SCompound {
    const open = this.advance();
    this.enter();
    const body: SStmt[] = [];
    while (!this.is('}')) {
      if (this.tok.kind === 'eof')
        this.fail('expected', "expected '}'", this.tok.location, [
          { message: "to match this '{'", location: open.location },
        ]);
      this.blockItem(body);
    }
    this.leave();
    const end = this.advance();
    return { kind: 'compound', body, loc: open.location, end: end.location };
  }

  private blockItem(into: SStmt[]): void {
    const { nesting } = this;
    const scopes = this.scopes.depth;
    this.noteState(into);
    try {
      // Labels of a block stand as statements of their own, so that `case 1: case 2: …` does not nest.
      for (;;) {
        const label = this.label();
        if (label === null) break;
        into.push(label);
        if (this.is('}')) return;
      }
      into.push(this.statement(true));
    } catch (failure) {
      if (!(failure instanceof ParseFailure)) throw failure;
      this.nesting = nesting;
      this.scopes.restore(scopes);
      this.skipStatement();
    }
  }

  private knownState: DiagnosticState | null = null;

  /** Pragmas take effect as tokens are read, statements are analysed later: the state goes with them. */
  private noteState(into: SStmt[]): void {
    const { state } = this.diagnostics;
    if (state === this.knownState) return;
    if (this.knownState !== null) into.push({ kind: 'diagnostic-state', state, loc: this.tok.location });
    this.knownState = state;
  }

  protected startFunction(): void {
    this.knownState = this.diagnostics.state;
  }

  /** `case x:`, `default:` or `name:` with an empty body; null where none stands here. */
  private label(): SStmt | null {
    const token = this.tok;
    if (token.kind !== 'identifier') return null;
    const loc = token.location;
    const empty: SStmt = { kind: 'null', attributes: NO_ATTRIBUTES, loc };
    if (token.text === 'case') {
      this.advance();
      const low = this.conditional();
      const high = this.accept('...') ? this.conditional() : null;
      if (!this.accept(':')) {
        const at = this.behindPrevious();
        this.error('expected', "expected ':' after 'case'", at);
      }
      return { kind: 'case', low, high, body: empty, loc };
    }
    if (token.text === 'default') {
      const next = this.peek();
      if (next.kind !== 'punct' || next.text !== ':')
        this.fail('expected', "expected ':' after 'default'", next.location);
      this.advance();
      this.advance();
      return { kind: 'default', body: empty, loc };
    }
    if (isReserved(token.text)) return null;
    const next = this.peek();
    if (next.kind !== 'punct' || next.text !== ':') return null;
    this.advance();
    this.advance();
    const attributes: Attribute[] = [];
    this.attributes(attributes);
    return { kind: 'label', name: token.text, body: empty, attributes, loc };
  }

  /** A statement, or in a block also a declaration. */
  protected statement(inBlock: boolean): SStmt {
    this.enter();
    const result = this.statementInside(inBlock);
    this.leave();
    return result;
  }

  private statementInside(inBlock: boolean): SStmt {
    const token = this.tok;
    const loc = token.location;
    if (token.kind === 'pragma') return this.pragma(inBlock);
    if (token.kind === 'punct') {
      if (token.text === '{') return this.compound();
      if (token.text === ';') {
        this.advance();
        return { kind: 'null', attributes: NO_ATTRIBUTES, loc };
      }
      if (token.text === '[' && this.startsBracketAttributes()) return this.attributed(inBlock);
    }
    if (token.kind === 'identifier') {
      const label = this.label();
      if (label !== null) {
        if (this.is('}')) {
          this.error('expected', 'expected statement');
          return label;
        }
        const body = this.statement(false);
        return { ...label, body } as SStmt;
      }
      const keyword = this.keywordStatement(token);
      if (keyword !== null) return keyword;
      if (token.text === '_Static_assert') return this.staticAssert();
      if (token.text === '__label__') return this.localLabels();
      if (token.text === '__attribute__') return this.attributed(inBlock);
      if (
        this.startsDeclaration(token) ||
        (token.text === '__extension__' && this.startsDeclaration(this.peek()))
      ) {
        if (!inBlock) this.fail('expected', 'expected expression');
        return this.declaration('block');
      }
      if (inBlock) {
        const declaration = this.misspelledDeclaration(token);
        if (declaration !== null) return declaration;
      }
    }
    const expr = this.expression();
    this.expectSemicolon('after expression');
    return { kind: 'expr', expr, loc };
  }

  /** `foo_t x`, `foo_t *x =` with an unknown foo_t. */
  private misspelledDeclaration(token: Token): SStmt | null {
    if (isReserved(token.text)) return null;
    const next = this.peek();
    if (next.kind !== 'identifier' || isReserved(next.text)) return null;
    const after = this.peek(2);
    if (after.kind !== 'punct' || ![';', '=', ',', '['].includes(after.text)) return null;
    return this.declaration('block');
  }

  /** `__attribute__((fallthrough));`, or attributes before a declaration or statement. */
  private attributed(inBlock: boolean): SStmt {
    const loc = this.tok.location;
    if (inBlock && !this.is('[') && this.startsAttributedDeclaration()) return this.declaration('block');
    const attributes: Attribute[] = [];
    this.attributes(attributes);
    if (this.is(';')) {
      this.advance();
      return { kind: 'null', attributes, loc };
    }
    return this.statement(inBlock);
  }

  private startsAttributedDeclaration(): boolean {
    let depth = 0;
    for (let n = 1; n < 200; n++) {
      const token = this.peek(n);
      if (token.kind === 'eof') return false;
      if (token.text === '(' && token.kind === 'punct') depth++;
      else if (token.text === ')' && token.kind === 'punct') depth--;
      else if (depth === 0 && token.text !== '__attribute__') return this.startsType(token);
    }
    return false;
  }

  private keywordStatement(token: Token): SStmt | null {
    const loc = token.location;
    switch (token.text) {
      case 'if':
        return this.ifChain();
      case 'while': {
        this.advance();
        this.scopes.push();
        const cond = this.condition('while');
        const body = this.statement(false);
        this.scopes.pop();
        return { kind: 'while', cond, body, hint: null, loc };
      }
      case 'do':
        return this.doWhile(null);
      case 'for':
        return this.forLoop(null);
      case 'switch': {
        this.advance();
        const value = this.condition('switch');
        const body = this.statement(false);
        return { kind: 'switch', value, body, loc };
      }
      case 'goto': {
        this.advance();
        if (this.is('*'))
          this.fail(
            'computed-goto',
            'computed goto is not supported on BPF: every jump must have a known target',
          );
        const name = this.tok;
        if (name.kind !== 'identifier' || isReserved(name.text)) this.fail('expected', 'expected identifier');
        this.advance();
        this.expectSemicolon('after goto statement');
        return { kind: 'goto', name: name.text, nameLoc: name.location, loc };
      }
      case 'break':
      case 'continue':
        this.advance();
        this.expectSemicolon(`after ${token.text} statement`);
        return { kind: token.text, loc };
      case 'return': {
        this.advance();
        const value = this.is(';') ? null : this.expression();
        this.expectSemicolon('after return statement');
        return { kind: 'return', value, loc };
      }
      case 'asm':
      case '__asm':
      case '__asm__':
        return this.asm();
      case 'else':
        return this.fail('expected', 'expected expression');
      default:
        return null;
    }
  }

  private condition(keyword: string): SExpr {
    const open = this.expect('(', ` after '${keyword}'`);
    const cond = this.expression();
    this.close(open);
    return cond;
  }

  /** `if … else if … else`, without recursion along the chain. */
  private ifChain(): SStmt {
    const links: { cond: SExpr; then: SStmt; loc: Location }[] = [];
    let otherwise: SStmt | null = null;
    for (;;) {
      const { location } = this.advance();
      const cond = this.condition('if');
      const then = this.statement(false);
      links.push({ cond, then, loc: location });
      if (links.length > MAX_TREE_DEPTH) {
        this.diagnostics.fatal('nesting', `more than ${MAX_TREE_DEPTH} times 'else if'`, location);
        throw new ParseFailure('nesting');
      }
      if (!this.isWord('else')) break;
      this.advance();
      if (this.isWord('if')) continue;
      otherwise = this.statement(false);
      break;
    }
    for (let i = links.length - 1; i >= 0; i--) otherwise = { kind: 'if', ...links[i]!, otherwise };
    return otherwise!;
  }

  private doWhile(hint: SLoopHint | null): SStmt {
    const { location } = this.advance();
    const body = this.statement(false);
    if (!this.isWord('while'))
      this.fail('expected', "expected 'while' in do/while loop", this.tok.location, [
        { message: "to match this 'do'", location },
      ]);
    this.advance();
    const cond = this.condition('while');
    this.expectSemicolon('after do/while statement');
    return { kind: 'do', cond, body, hint, loc: location };
  }

  private forLoop(hint: SLoopHint | null): SStmt {
    const { location } = this.advance();
    const open = this.expect('(', " after 'for'");
    this.scopes.push();
    let init: SDeclaration | SExpr | null = null;
    if (!this.accept(';')) {
      if (this.startsDeclaration(this.tok) || this.isWord('__extension__')) init = this.declaration('block');
      else {
        init = this.expression();
        this.forSemicolon();
      }
    }
    const cond = this.is(';') ? null : this.expression();
    this.forSemicolon();
    const step = this.is(')') ? null : this.expression();
    this.close(open);
    const body = this.statement(false);
    this.scopes.pop();
    return { kind: 'for', init, cond, step, body, hint, loc: location };
  }

  private forSemicolon(): void {
    if (!this.accept(';')) this.fail('expected', "expected ';' in 'for' statement specifier");
  }

  private localLabels(): SStmt {
    const { location } = this.advance();
    const names: { name: string; loc: Location }[] = [];
    do {
      if (this.tok.kind !== 'identifier') this.fail('expected', 'expected identifier');
      const name = this.advance();
      names.push({ name: name.text, loc: name.location });
    } while (this.accept(','));
    this.expectSemicolon('at end of declaration');
    return { kind: 'local-labels', names, loc: location };
  }

  // -------------------------------------------------------------------------------------------------------------

  private pragma(inBlock: boolean): SStmt {
    const hint = this.loopHint(this.advance());
    if (hint === null) {
      if (this.is('}')) return { kind: 'null', attributes: NO_ATTRIBUTES, loc: this.tok.location };
      return this.statement(inBlock);
    }
    // Several pragmas before one loop: the last one about unrolling counts.
    let last = hint;
    while (this.tok.kind === 'pragma') last = this.loopHint(this.advance()) ?? last;
    const loc = this.tok.location;
    if (this.isWord('for')) return this.forLoop(last);
    if (this.isWord('do')) return this.doWhile(last);
    if (this.isWord('while')) {
      const loop = this.keywordStatement(this.tok);
      if (loop !== null && loop.kind === 'while') return { ...loop, hint: last };
    }
    this.error('pragma-loop', "expected a for, while, or do-while loop to follow '#pragma unroll'", loc);
    return this.is('}') ? { kind: 'null', attributes: NO_ATTRIBUTES, loc } : this.statement(inBlock);
  }

  /** `unroll`, `unroll 4`, `unroll(4)`, `nounroll`, `GCC unroll 4`, `clang loop unroll(full|enable|disable)`, `unroll_count(4)`. */
  private loopHint(pragma: Token): SLoopHint | null {
    const words = (pragma.tokens ?? []).filter((token) => token.kind !== 'punct');
    let at = 0;
    if (words[0]?.text === 'clang') {
      if (words[1]?.text !== 'loop') return null;
      at = 2;
    } else if (words[0]?.text === 'GCC') at = 1;
    let result: SLoopHint | null = null;
    for (; at < words.length; at++) {
      const { text } = words[at]!;
      const argument = words[at + 1];
      if (text === 'nounroll') result = { unroll: 'disable', count: null };
      else if (text === 'unroll' || text === 'unroll_count') {
        if (argument?.kind === 'number')
          result = {
            unroll: 'count',
            count: { kind: 'number', text: argument.text, loc: argument.location, depth: 1 },
          };
        else if (argument?.text === 'full' || argument?.text === 'enable' || argument?.text === 'disable')
          result = { unroll: argument.text, count: null };
        else if (text === 'unroll_count' && argument !== undefined)
          result = {
            unroll: 'count',
            count: { kind: 'name', name: argument.text, loc: argument.location, depth: 1 },
          };
        else if (argument !== undefined && argument.kind === 'identifier')
          result = {
            unroll: 'count',
            count: { kind: 'name', name: argument.text, loc: argument.location, depth: 1 },
          };
        else result = { unroll: words[0]?.text === 'clang' ? 'enable' : 'full', count: null };
        at++;
      }
    }
    return result;
  }

  private asm(): SStmt {
    const { location } = this.advance();
    let volatile = false;
    let goto = false;
    while (this.tok.kind === 'identifier') {
      if (['volatile', '__volatile__', '__volatile'].includes(this.tok.text)) volatile = true;
      else if (this.tok.text === 'goto') goto = true;
      else if (this.tok.text !== 'inline' && this.tok.text !== '__inline__') break;
      this.advance();
    }
    const open = this.expect('(', " after 'asm'");
    if (!this.isString()) this.fail('expected', "expected string literal in 'asm'");
    const template = this.strings();
    const outputs: SAsmOperand[] = [];
    const inputs: SAsmOperand[] = [];
    const clobbers: Token[][] = [];
    const labels: { name: string; loc: Location }[] = [];
    let section = 0;
    let basic = true;
    while (this.is(':') || this.is('::')) {
      basic = false;
      section += this.advance().text.length;
      if (this.is(':') || this.is('::') || this.is(')')) continue;
      if (section === 1) this.asmOperands(outputs);
      else if (section === 2) this.asmOperands(inputs);
      else if (section === 3)
        do {
          if (!this.isString()) this.fail('expected', "expected string literal in 'asm'");
          clobbers.push(this.strings());
        } while (this.accept(','));
      else if (section === 4 && goto)
        do {
          if (this.tok.kind !== 'identifier') this.fail('expected', 'expected identifier');
          const name = this.advance();
          labels.push({ name: name.text, loc: name.location });
        } while (this.accept(','));
      else break;
    }
    this.close(open);
    this.expectSemicolon('after expression');
    return {
      kind: 'asm',
      template,
      outputs,
      inputs,
      clobbers,
      labels,
      volatile: volatile || outputs.length === 0,
      basic,
      loc: location,
    };
  }

  private asmOperands(into: SAsmOperand[]): void {
    do {
      const loc = this.tok.location;
      let name: string | null = null;
      if (this.is('[')) {
        const open = this.advance();
        if (this.tok.kind !== 'identifier') this.fail('expected', 'expected identifier');
        name = this.advance().text;
        this.close(open);
      }
      if (!this.isString()) this.fail('expected', "expected string literal in 'asm'");
      const constraint = this.strings();
      const open = this.expect('(', " after 'asm operand'");
      const expr = this.expression();
      this.close(open);
      into.push({ name, constraint, expr, loc });
    } while (this.accept(','));
  }

  // -------------------------------------------------------------------------------------------------------------

  /** A declaration in a block or `for`. */
  private declaration(context: 'block'): SDeclaration {
    const loc = this.tok.location;
    while (this.isWord('__extension__')) this.advance();
    const specifiers = this.specifiers(context);
    const declarators: SInitDeclarator[] = [];
    if (!this.is(';')) {
      this.initDeclarators(specifiers, declarators);
      if (this.is('{') && declarators.at(-1)?.declarator.steps[0]?.kind === 'function')
        this.fail('nested-function', 'function definition is not allowed here');
    }
    if (this.recovered) this.recovered = false;
    else this.expectSemicolon('at end of declaration');
    return { kind: 'declaration', specifiers, declarators, loc };
  }

  /** declarator [= init] { ',' … }; names are declared as soon as they stand. */
  protected initDeclarators(specifiers: Specifiers, into: SInitDeclarator[]): void {
    do {
      const more: Attribute[] = [];
      if (into.length > 0) this.attributes(more);
      let declarator = this.declarator('required');
      if (more.length > 0) declarator = { ...declarator, attributes: [...more, ...declarator.attributes] };
      if (declarator.name !== null) this.declareName(declarator.name, specifiers.storage, declarator.loc);
      let init: SInit | null = null;
      if (this.accept('=')) init = this.guardedInitializer();
      into.push({ declarator, init });
    } while (!this.recovered && this.accept(','));
  }

  /** An initialiser could not be read; everything up to the `;` is skipped. */
  protected recovered = false;

  /** What is declared stays declared, even when its initialiser makes no sense. */
  protected guardedInitializer(): SInit {
    const { nesting } = this;
    const scopes = this.scopes.depth;
    const loc = this.tok.location;
    try {
      return this.initializer();
    } catch (failure) {
      if (!(failure instanceof ParseFailure)) throw failure;
      this.nesting = nesting;
      this.scopes.restore(scopes);
      this.skipStatement();
      this.recovered = true;
      return { kind: 'error', loc, depth: 1 };
    }
  }
}
