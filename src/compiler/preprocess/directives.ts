/**
 * Directives (C11 6.10): conditionals, includes, definitions, `#line`, `#error`. Pragmas are left to the class above.
 */

import { type Location, NO_LOCATION, type SourceText } from '../source/index.ts';
import { evaluateCondition } from './condition.ts';
import { readMacro, sameMacro } from './define.ts';
import { type Conditional, FileStack, type OpenFile } from './file-stack.ts';
import type { Lexer } from './lexer.ts';
import { type Name, PPToken } from './macro.ts';
import { similarName } from './similar.ts';

const DEEPEST_INCLUDE = 200;

const DIRECTIVES = [
  ...[
    'define',
    'undef',
    'include',
    'include_next',
    'import',
    'if',
    'ifdef',
    'ifndef',
    'elif',
    'elifdef',
    'elifndef',
  ],
  ...['else', 'endif', 'error', 'warning', 'line', 'pragma', 'ident', 'sccs', 'assert', 'unassert'],
] as const;
/** What conditional directives a misspelt word may have meant. */
const CONDITIONALS = ['if', 'ifdef', 'ifndef', 'elif', 'elifdef', 'elifndef', 'else', 'endif'];

export abstract class DirectiveReader extends FileStack {
  /** In the line of an `#if`: `__has_include` may be used. */
  protected inCondition = false;

  /** What follows the word pragma; may give a token for the parser. */
  protected abstract pragma(lexer: Lexer, hash: PPToken): PPToken | null;
  protected directive(lexer: Lexer, hash: PPToken): PPToken | null {
    const file = this.file!;
    const outside = file.outside;
    lexer.directive = true;
    let made: PPToken | null = null;
    const word = lexer.lex();
    if (word.kind === 'identifier') {
      made = this.named(word, lexer, hash, outside);
    } else if (word.kind === 'number') this.lineDirective(word, lexer);
    else if (word.kind !== 'eof') {
      this.sink.error('directive', 'invalid preprocessing directive', word.location);
    }
    if (word.kind !== 'identifier' || !CONDITIONALS.includes(word.text)) file.outside = true;
    this.dropMacros();
    lexer.skipLine();
    lexer.directive = false;
    this.enterPending();
    return made;
  }

  private named(word: PPToken, lexer: Lexer, hash: PPToken, outside: boolean): PPToken | null {
    switch (word.text) {
      case 'define':
        this.define(lexer);
        return null;
      case 'undef':
        this.undefine(lexer);
        return null;
      case 'include':
      case 'import':
        this.include(word, lexer, false);
        return null;
      case 'include_next':
        this.include(word, lexer, true);
        return null;
      case 'ifdef':
      case 'ifndef':
      case 'if':
        this.openConditional(word, lexer, hash, outside);
        return null;
      case 'elif':
      case 'elifdef':
      case 'elifndef':
      case 'else':
        this.otherBranch(word, lexer);
        return null;
      case 'endif':
        this.endif(word, lexer);
        return null;
      case 'error': {
        this.sink.error('#error', lexer.restOfLine(), word.location);
        return null;
      }
      case 'warning':
        this.sink.warning('#warnings', lexer.restOfLine(), word.location);
        return null;
      case 'line':
        this.lineDirective(null, lexer);
        return null;
      case 'pragma':
        return this.pragma(lexer, hash);
      case 'ident':
      case 'sccs':
      case 'assert':
      case 'unassert':
        lexer.restOfLine();
        return null;
      default:
        this.unknownDirective(word);
        return null;
    }
  }

  private unknownDirective(word: PPToken): void {
    const meant = similarName(word.text, DIRECTIVES);
    this.sink.error(
      'directive',
      `invalid preprocessing directive${meant === null ? '' : `, did you mean '#${meant}'?`}`,
      word.location,
      meant === null
        ? {}
        : { fixits: [{ range: { begin: word.location, end: word.location }, text: meant }] },
    );
  }

  // -------------------------------------------------------------------------------------------------------------
  // Definitions

  private macroName(lexer: Lexer): PPToken | null {
    const token = lexer.lex();
    if (token.kind === 'eof') this.sink.error('macro-name', 'macro name missing', token.location);
    else if (token.name === null)
      this.sink.error('macro-name', 'macro name must be an identifier', token.location);
    else if (token.text === 'defined')
      this.sink.error('macro-name', "'defined' cannot be used as a macro name", token.location);
    else return token;
    return null;
  }

  private define(lexer: Lexer): void {
    const token = this.macroName(lexer);
    if (token === null) return;
    const name = token.name!;
    if (name.poisoned) this.sink.error('poisoned', 'attempt to use a poisoned identifier', token.location);
    const macro = readMacro(token, () => lexer.lex(), this.sink);
    if (macro === null) return;
    const old = name.macro;
    if (old?.builtin != null)
      this.sink.warning('builtin-macro-redefined', 'redefining builtin macro', token.location);
    else if (old !== null && !sameMacro(old, macro))
      this.sink.warning('macro-redefined', `'${name.text}' macro redefined`, token.location, {
        notes: [{ message: 'previous definition is here', location: old.location }],
      });
    name.macro = macro;
  }

  private undefine(lexer: Lexer): void {
    const token = this.macroName(lexer);
    if (token === null) return;
    if (token.name!.macro?.builtin != null)
      this.sink.warning('builtin-macro-redefined', 'undefining builtin macro', token.location);
    token.name!.macro = null;
    this.noMoreTokens(lexer, 'undef');
  }

  /** A rest of the line that means nothing: a warning, as everywhere. */
  private noMoreTokens(lexer: Lexer, directive: string): void {
    const token = lexer.lex();
    if (token.kind !== 'eof')
      this.sink.warning('extra-tokens', `extra tokens at end of #${directive} directive`, token.location, {
        fixits: [{ range: { begin: token.location, end: 0 }, text: '//' }],
      });
  }

  // -------------------------------------------------------------------------------------------------------------
  // Conditionals

  private openConditional(word: PPToken, lexer: Lexer, hash: PPToken, outside: boolean): void {
    const file = this.file!;
    let value: boolean;
    let guard: Name | null = null;
    if (word.text === 'if') {
      const condition = this.condition(lexer);
      value = condition.value;
      guard = condition.guard;
    } else {
      const token = this.macroName(lexer);
      value = token !== null && (token.name!.macro !== null) === (word.text === 'ifdef');
      if (token !== null) {
        if (token.name!.macro !== null) token.name!.macro.used = true;
        this.noMoreTokens(lexer, word.text);
        if (word.text === 'ifndef') guard = token.name;
      }
    }
    const first = !outside && file.conditionals.length === 0 && file.guard === null;
    file.conditionals.push({
      location: hash.location,
      taken: value,
      sawElse: false,
      guard: first ? guard : null,
    });
    if (file.conditionals.length === 1) file.outside = !first || guard === null;
    if (!value) this.skip(lexer);
  }

  private otherBranch(word: PPToken, lexer: Lexer): void {
    const open = this.file!.conditionals.at(-1);
    if (open === undefined) {
      this.sink.error('conditional', `#${word.text} without #if`, word.location);
      lexer.restOfLine();
      return;
    }
    this.branch(word, open);
    if (word.text === 'else') this.noMoreTokens(lexer, 'else');
    else lexer.restOfLine();
    this.skip(lexer);
  }

  /** Checks the order of branches, which no guard has. */
  private branch(word: PPToken, open: Conditional): void {
    if (open.sawElse) this.sink.error('conditional', `#${word.text} after #else`, word.location);
    if (word.text === 'else') open.sawElse = true;
    // Text for both cases: no include guard.
    if (open.guard !== null) this.file!.outside = true;
    open.guard = null;
  }

  private endif(word: PPToken, lexer: Lexer): void {
    const file = this.file!;
    const open = file.conditionals.pop();
    if (open === undefined) this.sink.error('conditional', '#endif without #if', word.location);
    else this.closeConditional(file, open);
    this.noMoreTokens(lexer, 'endif');
  }

  private closeConditional(file: OpenFile, open: Conditional): void {
    if (open.guard === null) return;
    // What stood inside of the guard counts for nothing; what follows does.
    file.guard = open.guard;
    file.outside = false;
  }

  /** Leaves text out until a branch is taken or the conditional ends; the lexer is at the end of a directive's line. */
  private skip(lexer: Lexer): void {
    const file = this.file!;
    const depth = file.conditionals.length;
    for (;;) {
      lexer.skipLine();
      lexer.directive = false;
      const found = lexer.skipToDirective();
      lexer.directive = true;
      if (!found) return;
      const word = lexer.lex();
      if (word.kind !== 'identifier' || !CONDITIONALS.includes(word.text)) {
        if (word.kind === 'identifier' && similarConditional(word.text)) this.misspelt(word);
        continue;
      }
      if (word.text === 'if' || word.text === 'ifdef' || word.text === 'ifndef') {
        file.conditionals.push({ location: word.location, taken: true, sawElse: false, guard: null });
        continue;
      }
      const open = file.conditionals.at(-1)!;
      const own = file.conditionals.length === depth;
      if (word.text === 'endif') {
        file.conditionals.pop();
        if (own) {
          this.closeConditional(file, open);
          this.noMoreTokens(lexer, 'endif');
          return;
        }
        continue;
      }
      this.branch(word, open);
      if (!own || open.taken) continue;
      if (word.text === 'else') {
        this.noMoreTokens(lexer, 'else');
        open.taken = true;
        return;
      }
      let value: boolean;
      if (word.text === 'elif') value = this.condition(lexer).value;
      else {
        const token = this.macroName(lexer);
        value = token !== null && (token.name!.macro !== null) === (word.text === 'elifdef');
      }
      if (value) {
        open.taken = true;
        return;
      }
    }
  }

  private misspelt(word: PPToken): void {
    const meant = similarName(word.text, CONDITIONALS)!;
    this.sink.warning(
      'unknown-directives',
      `invalid preprocessing directive, did you mean '#${meant}'?`,
      word.location,
      { fixits: [{ range: { begin: word.location, end: word.location }, text: meant }] },
    );
  }

  /** The expression of `#if` or `#elif`; `guard` where it is `!defined X` and nothing else. */
  private condition(lexer: Lexer): { value: boolean; guard: Name | null } {
    const errors = this.sink.errors;
    const tokens: PPToken[] = [];
    this.inCondition = true;
    let guard: Name | null = null;
    let token = this.expanded();
    for (; token.kind !== 'eof'; token = this.expanded()) {
      if (token.kind === 'identifier' && token.text === 'defined') {
        const name = this.definedOperand(token);
        if (name === null) break;
        if (tokens.length === 1 && tokens[0]!.text === '!') guard = name;
        const value = name.macro === null ? '0' : '1';
        if (name.macro !== null) name.macro.used = true;
        tokens.push(new PPToken('number', value, token.location, false, false, null));
      } else tokens.push(token);
    }
    this.inCondition = false;
    if (this.sink.errors > errors) {
      // A macro's tokens may be left over: they belong to this line.
      while (token.kind !== 'eof') token = this.raw();
      return { value: false, guard: null };
    }
    const end = this.endToken(lexer);
    const value = evaluateCondition(tokens, end, this.sink);
    return { value, guard: tokens.length === 2 ? guard : null };
  }

  private definedOperand(word: PPToken): Name | null {
    let token = this.raw();
    const parenthesis = token.kind === 'punct' && token.text === '(';
    const open = token;
    if (parenthesis) token = this.raw();
    if (token.name === null) {
      const what = token.kind === 'eof' ? 'macro name missing' : 'macro name must be an identifier';
      this.sink.error('macro-name', what, token.location === NO_LOCATION ? word.location : token.location);
      return null;
    }
    const { name } = token;
    if (parenthesis) {
      const close = this.raw();
      if (close.kind !== 'punct' || close.text !== ')') {
        this.sink.error('condition', "missing ')' after 'defined'", close.location || word.location, {
          notes: [{ message: "to match this '('", location: open.location }],
        });
        return null;
      }
    }
    return name;
  }

  // -------------------------------------------------------------------------------------------------------------
  // Includes

  private pending: { source: SourceText; from: Location; system: boolean; directory: number } | null = null;

  private include(word: PPToken, lexer: Lexer, next: boolean): void {
    const name = this.headerName(lexer);
    if (name === null) return;
    if (name.direct) this.noMoreTokens(lexer, word.text);
    const file = this.file!;
    const { source, system } = file.lexer.file;
    const includer = { path: source.path, system };
    if (this.files.length > DEEPEST_INCLUDE) {
      this.sink.fatal('include-depth', '#include nested too deeply', name.token.location);
      return;
    }
    const after = next && file.directory >= 0 ? file.directory : undefined;
    if (next && this.files.length === 1)
      this.sink.warning(
        'include-next-outside-header',
        '#include_next in primary source file; will search from start of include path',
        word.location,
      );
    const found = this.search.find(name.path, name.angled, includer, after);
    if (found === null) {
      this.notFound(name, includer);
      return;
    }
    if (this.onlyOnce.has(found.source)) return;
    const guard = this.guards.get(found.source);
    if (guard !== undefined && guard.macro !== null) return;
    if (word.text === 'import') this.onlyOnce.add(found.source);
    this.pending = {
      source: found.source,
      from: name.token.location,
      system: found.system,
      directory: found.directory,
    };
  }

  private notFound(
    name: { path: string; angled: boolean; token: PPToken },
    includer: { path: string; system: boolean },
  ): void {
    if (name.angled && this.search.find(name.path, false, includer) !== null) {
      this.sink.error(
        'include-not-found',
        `'${name.path}' file not found with <angled> include; use "quotes" instead`,
        name.token.location,
        {
          fixits: [
            {
              range: { begin: name.token.location, end: name.token.location },
              text: `"${name.path}"`,
            },
          ],
        },
      );
      const found = this.search.find(name.path, false, includer)!;
      this.pending = {
        source: found.source,
        from: name.token.location,
        system: found.system,
        directory: found.directory,
      };
      return;
    }
    this.sink.fatal('include-not-found', `'${name.path}' file not found`, name.token.location);
  }

  /** A file is entered when the line of its `#include` is over. */
  private enterPending(): void {
    const { pending } = this;
    if (pending === null) return;
    this.pending = null;
    if (!this.sources.hasRoom(pending.source)) {
      this.sink.fatal('too-much-source', 'too much source text in one compilation', pending.from);
      return;
    }
    this.enterFile(pending.source, pending.from, pending.system, pending.directory);
  }

  /** The operand of `#include` and its kind: as written, or what its macros expand to. Null where there is none; reported. */
  protected headerName(
    lexer: Lexer,
  ): { path: string; angled: boolean; token: PPToken; direct: boolean } | null {
    const direct = this.atFile ? lexer.headerName() : null;
    if (direct !== null) return this.header(direct, direct.text, true);
    const first = this.expanded();
    if (first.kind === 'string' && first.text[0] === '"') return this.header(first, first.text, false);
    if (first.kind === 'punct' && first.text === '<') {
      let text = '<';
      for (;;) {
        const token = this.expanded();
        if (token.kind === 'eof') {
          this.sink.error('include', "expected '>'", token.location || first.location, {
            notes: [{ message: "to match this '<'", location: first.location }],
          });
          return null;
        }
        if (token.leadingSpace) text += ' ';
        text += token.text;
        if (token.kind === 'punct' && token.text === '>') break;
      }
      return this.header(first, text, false);
    }
    this.sink.error('include', 'expected "FILENAME" or <FILENAME>', first.location);
    return null;
  }

  private header(
    token: PPToken,
    text: string,
    direct: boolean,
  ): { path: string; angled: boolean; token: PPToken; direct: boolean } | null {
    const path = text.slice(1, -1);
    if (path === '') {
      this.sink.error('include', 'empty filename', token.location);
      return null;
    }
    return { path, angled: text[0] === '<', token, direct };
  }

  /** What `__has_include` answers. */
  protected hasHeader(path: string, angled: boolean, next: boolean): boolean {
    const file = this.file!;
    const { source, system } = file.lexer.file;
    const after = next && file.directory >= 0 ? file.directory : undefined;
    return this.search.find(path, angled, { path: source.path, system }, after) !== null;
  }

  // -------------------------------------------------------------------------------------------------------------
  // Lines

  /** `#line 5 "file"`, or a line marker `# 5 "file" 1` of preprocessed text, whose number has been read. */
  private lineDirective(marker: PPToken | null, lexer: Lexer): void {
    const number = marker ?? this.expanded();
    if (number.kind !== 'number' || !/^[0-9]+$/.test(number.text)) {
      this.sink.error('line', '#line directive requires a positive integer argument', number.location);
      return;
    }
    const line = Number(number.text);
    if (line > 0x7fff_ffff) {
      this.sink.error('line', '#line number is too large', number.location);
      return;
    }
    const file = lexer.file;
    let path = file.lineDirectives.at(-1)?.path ?? file.source.path;
    const name = this.expanded();
    if (name.kind === 'string' && name.text[0] === '"')
      path = name.text.slice(1, -1).replace(/\\(["\\])/g, '$1');
    else if (name.kind !== 'eof') {
      this.sink.error('line', 'invalid filename for #line directive', name.location);
      return;
    }
    file.lineDirectives.push({ offset: number.location - file.base, line, path });
  }
}

function similarConditional(word: string): boolean {
  const meant = similarName(word, CONDITIONALS);
  return meant !== null && !(DIRECTIVES as readonly string[]).includes(word);
}
