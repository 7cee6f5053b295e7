/**
 * The preprocessor as the parser sees it: translation phases 1 to 4, tokens one by one. On top of files, directives and macros stand
 * here the macros that compute their value, `_Pragma`, and pragmas.
 *
 * The built-in definitions and the command line are read as files of their own (`<built-in>`, `<command line>`) before the main file.
 */
import { type DiagnosticSink, type Location, makeSourceText, NO_LOCATION } from '../source/index.ts';
import { DirectiveReader } from './directives.ts';
import { FEATURE_TESTS } from './features.ts';
import { IdentifierTable } from './identifiers.ts';
import { HeaderSearch, type IncludePaths, type IncludeResolver } from './includes.ts';
import { Lexer } from './lexer.ts';
import { textValue } from './literals.ts';
import { type BuiltinMacro, type Macro, type Name, PPToken } from './macro.ts';
import { type PredefinedOptions, predefinedMacros } from './predefined.ts';
import type { PlainText, Token, TokenSource } from './token.ts';

export interface PreprocessorOptions {
  readonly resolver: IncludeResolver;
  readonly includes?: IncludePaths;
  /** Text of a built-in header by name (`linux/bpf.h`); none: there are no built-in headers. */
  readonly builtinHeader?: (name: string) => string | undefined;
  /** `-D NAME`, `-D NAME=VALUE`, `-U NAME`, in order. */
  readonly defines?: readonly (
    | { readonly define: string; readonly value?: string }
    | { readonly undefine: string }
  )[];
  /** `-include FILE`, in order. */
  readonly forced?: readonly string[];
  /** Default: v3, `-O2`. */
  readonly target?: PredefinedOptions;
}

/** `#pragma` words whose tokens are macro-expanded, as clang does. */
const EXPANDED_PRAGMAS = new Set(['unroll', 'nounroll', 'pack', 'clang', 'omp', 'loop']);
/** `__DATE__` and `__TIME__`: the same for every run, so that the same source gives the same object. */
const DATE = '"Jan  1 1970"';
const TIME = '"00:00:00"';

/** For text whose mistakes show in what becomes of it. */
const SILENT = { error() {}, warning() {} };

export class Preprocessor extends DirectiveReader implements TokenSource {
  private counter = 0;
  private readonly mainPath: string;
  private readonly pushedMacros = new Map<Name, (Macro | null)[]>();
  private ended: PPToken | null = null;

  /** `text` of the main file, and the path it is called by. Nothing is read until the first `next`. */
  constructor(sink: DiagnosticSink, mainPath: string, text: string, options: PreprocessorOptions) {
    super(
      sink.sources,
      sink,
      new IdentifierTable(),
      new HeaderSearch(options.resolver, options.includes ?? {}, options.builtinHeader ?? (() => undefined)),
    );
    this.mainPath = mainPath;
    this.defineBuiltins();
    this.readAside('<built-in>', predefinedMacros(options.target ?? { cpu: 3, optimize: 2 }));
    const { defines = [], forced = [] } = options;
    this.enterFile(makeSourceText(mainPath, text), NO_LOCATION, false, -1);
    const before = commandLine(defines, forced);
    if (before !== '') this.enterFile(makeSourceText('<command line>', before), NO_LOCATION, false, -1);
  }

  /** The next token for the parser. */
  next(): Token {
    if (this.ended !== null) return this.ended;
    for (;;) {
      const token = this.expanded();
      if (token.name !== null && token.text === '_Pragma') {
        const made = this.pragmaOperator(token);
        if (made !== null) return made;
        continue;
      }
      if (token.kind === 'eof') this.ended = token;
      return token;
    }
  }

  plainText(last: Token): PlainText | null {
    const file = this.files.at(-1);
    return this.untouched && file !== undefined && this.ended === null
      ? file.lexer.plainText(last as PPToken)
      : null;
  }

  resume(text: PlainText): void {
    this.files.at(-1)!.lexer.resume(text);
  }

  /** The definition of a macro, for those who ask after the text (`-dM`, the BCC dialect); null when it has none. */
  macro(name: string): Macro | null {
    return this.names.intern(name).macro;
  }

  /** Every identifier met so far, in no order. */
  *identifiers(): Iterable<string> {
    for (const name of this.names.all()) yield name.text;
  }

  /** All macros defined now, without those that compute their value. */
  *macros(): Iterable<Macro> {
    for (const name of this.names.all())
      if (name.macro !== null && name.macro.builtin === null) yield name.macro;
  }

  // -------------------------------------------------------------------------------------------------------------
  // Text beside the files

  private readAside(path: string, text: string): void {
    this.enterFile(makeSourceText(path, text), NO_LOCATION, true, -1);
    while (this.fileToken().kind !== 'eof');
    this.forgetFiles();
  }

  protected override lexOne(text: string, location: Location): PPToken | null {
    const token = this.lexText(text);
    if (token.length !== 1) return null;
    const [one] = token as [PPToken];
    if (one.kind === 'other') return null;
    one.location = location;
    return one;
  }

  /** Tokens of a piece of text that stands in no file; their locations mean nothing. */
  private lexText(text: string): PPToken[] {
    // Most pasted tokens are identifiers: no need to build a lexer for them.
    if (/^[A-Za-z_$][\w$]*$/.test(text)) {
      const name = this.names.intern(text);
      return [new PPToken('identifier', name.text, NO_LOCATION, false, false, name)];
    }
    const file = {
      source: makeSourceText('<scratch space>', text),
      base: 0,
      includedFrom: NO_LOCATION,
      system: true,
      lineDirectives: [],
    };
    const lexer = new Lexer(file, this.names, SILENT);
    lexer.directive = true;
    const tokens: PPToken[] = [];
    let end = 0;
    for (let token = lexer.lex(); token.kind !== 'eof'; token = lexer.lex()) {
      tokens.push(token);
      end = lexer.at;
    }
    // A comment is no token: `/` pasted to `/`.
    if (tokens.length <= 1 && end !== text.length && !/\s/.test(text)) return [];
    return tokens;
  }

  // -------------------------------------------------------------------------------------------------------------
  // Macros that compute their value

  /** The file that is read, by the name that `#line` gave it. */
  private presumedPath(): string {
    const file = this.file?.lexer.file;
    return file === undefined ? '' : (file.lineDirectives.at(-1)?.path ?? file.source.path);
  }

  private defineBuiltins(): void {
    const value = (name: string, make: (token: PPToken) => [kind: PPToken['kind'], text: string]): void =>
      this.builtin(name, (token) => {
        const [kind, text] = make(token);
        return new PPToken(kind, text, token.location, false, false, null);
      });
    value('__LINE__', (token) => ['number', String(this.lineOf(token))]);
    value('__FILE__', () => ['string', this.quoted(this.presumedPath())]);
    value('__FILE_NAME__', () => ['string', this.quoted(baseName(this.presumedPath()))]);
    value('__BASE_FILE__', () => ['string', this.quoted(this.mainPath)]);
    value('__COUNTER__', () => ['number', String(this.counter++)]);
    value('__INCLUDE_LEVEL__', () => ['number', String(this.includeDepth)]);
    value('__DATE__', () => ['string', DATE]);
    value('__TIME__', () => ['string', TIME]);
    value('__TIMESTAMP__', () => ['string', '"Thu Jan  1 00:00:00 1970"']);
    for (const [name, test] of Object.entries(FEATURE_TESTS))
      this.builtin(name, (token) => this.featureTest(token, test));
    for (const name of ['__has_include', '__has_include_next', '__has_embed'])
      this.builtin(name, (token) => this.hasInclude(token));
    this.builtin('__has_warning', (token) => this.operand(token, () => '1'));
    this.builtin('__building_module', (token) => this.operand(token, () => '0'));
    this.builtin('__is_identifier', (token) => this.operand(token, () => '1'));
  }

  private builtin(name: string, builtin: BuiltinMacro): void {
    this.names.intern(name).macro = {
      name,
      location: NO_LOCATION,
      parameters: null,
      variadic: false,
      body: [],
      tokens: [],
      builtin,
      plain: true,
      active: false,
      used: false,
    };
  }

  private lineOf(token: PPToken): number {
    return this.sources.line(this.sources.expansionEnd(token.location));
  }

  private quoted(path: string): string {
    return `"${path.replace(/["\\]/g, '\\$&')}"`;
  }

  private number(token: PPToken, text: string): PPToken {
    return new PPToken('number', text, token.location, false, false, null);
  }

  private featureTest(token: PPToken, test: (name: string) => string): PPToken {
    return this.operand(token, (tokens) => test(tokens.map((one) => one.text).join('')));
  }

  /** `NAME ( tokens )`: the tokens are not expanded. */
  private operand(token: PPToken, value: (tokens: readonly PPToken[]) => string): PPToken {
    if (!this.nextIsParenthesis()) {
      this.sink.error('feature-test', `missing '(' after '${token.text}'`, token.location);
      return this.number(token, '0');
    }
    const open = this.raw();
    const tokens: PPToken[] = [];
    let depth = 0;
    for (;;) {
      const one = this.raw();
      if (one.kind === 'eof') {
        this.sink.error('feature-test', `missing ')' after '${token.text}'`, token.location, {
          notes: [{ message: "to match this '('", location: open.location }],
        });
        return this.number(token, '0');
      }
      if (one.kind === 'punct' && one.text === '(') depth++;
      if (one.kind === 'punct' && one.text === ')' && depth-- === 0) break;
      tokens.push(one);
    }
    if (tokens.length === 0) {
      this.sink.error(
        'feature-test',
        'builtin feature check macro requires a parenthesized identifier',
        token.location,
      );
      return this.number(token, '0');
    }
    return this.number(token, value(tokens));
  }

  private hasInclude(token: PPToken): PPToken | null {
    const { text } = token;
    if (!this.inCondition) {
      this.sink.error(
        'feature-test',
        `'${text}' must be used within a preprocessing directive`,
        token.location,
      );
      return this.number(token, '0');
    }
    const { file } = this;
    if (file === undefined || !this.nextIsParenthesis()) {
      // `defined(__has_include)` does not come here: a name alone is a mistake.
      this.sink.error('feature-test', `missing '(' after '${text}'`, token.location);
      return this.number(token, '0');
    }
    const open = this.raw();
    const name = this.headerName(file.lexer);
    if (name === null) return this.number(token, '0');
    const close = this.raw();
    if (close.kind !== 'punct' || close.text !== ')') {
      this.sink.error('feature-test', `missing ')' after '${text}'`, name.token.location, {
        notes: [{ message: "to match this '('", location: open.location }],
      });
      return this.number(token, '0');
    }
    const found =
      text !== '__has_embed' && this.hasHeader(name.path, name.angled, text === '__has_include_next');
    return this.number(token, found ? '1' : '0');
  }

  // -------------------------------------------------------------------------------------------------------------
  // Pragmas

  protected override pragma(lexer: Lexer, hash: PPToken): PPToken | null {
    const start = lexer.at;
    const text = lexer.restOfLine();
    lexer.at = start;
    const tokens: PPToken[] = [];
    const first = this.raw();
    if (first.kind !== 'eof') tokens.push(first);
    const expand = EXPANDED_PRAGMAS.has(first.text) && first.kind !== 'eof';
    for (let token = first; token.kind !== 'eof'; ) {
      token = expand ? this.expanded() : this.raw();
      if (token.kind !== 'eof') tokens.push(token);
    }
    return this.runPragma(text, tokens, hash.location);
  }

  /** `_Pragma("text")`. */
  private pragmaOperator(word: PPToken): PPToken | null {
    const fail = (): null => {
      this.sink.error('pragma', '_Pragma takes a parenthesized string literal', word.location);
      return null;
    };
    if (!this.nextIsParenthesis()) return fail();
    this.raw();
    const string = this.raw();
    if (string.kind !== 'string') return fail();
    const close = this.raw();
    if (close.kind !== 'punct' || close.text !== ')') return fail();
    const text = string.text
      .replace(/^(?:L|u8|u|U)/, '')
      .slice(1, -1)
      .replace(/\\(["\\])/g, '$1')
      .trim();
    const tokens = this.lexText(text);
    for (const token of tokens) token.location = string.location;
    return this.runPragma(text, tokens, word.location);
  }

  private runPragma(text: string, tokens: readonly PPToken[], location: Location): PPToken | null {
    const [first, second] = tokens;
    const namespace = first?.text === 'GCC' || first?.text === 'clang' ? first.text : '';
    const word = namespace === '' ? first?.text : second?.text;
    const rest = tokens.slice(namespace === '' ? 1 : 2);
    const handler = PRAGMAS.get(word ?? '');
    if (handler === undefined || (handler.scoped !== 'any' && handler.scoped !== (namespace !== '')))
      return this.pragmaToken(text, tokens, location);
    const { sink } = this;
    switch (handler.action) {
      case 'once':
        if (this.includeDepth === 0)
          sink.warning('pragma-once-outside-header', '#pragma once in main file', first!.location);
        else this.readOnce();
        return null;
      case 'ignore':
        return null;
      case 'poison':
        for (const token of rest) if (token.name !== null) token.name.poisoned = true;
        return null;
      case 'diagnostic':
        this.diagnosticPragma(rest, location);
        return null;
      case 'message':
        this.messagePragma(word!, rest, location);
        return null;
      case 'push_macro':
      case 'pop_macro':
        this.stackPragma(handler.action, rest, location);
        return null;
    }
  }

  private pragmaToken(text: string, tokens: readonly PPToken[], location: Location): PPToken {
    const token = new PPToken('pragma', text, location, false, true, null);
    token.tokens = tokens;
    return token;
  }

  /** `#pragma GCC diagnostic ignored "-Wname"` */
  private diagnosticPragma(tokens: readonly PPToken[], location: Location): void {
    const { sink } = this;
    const action = tokens[0]?.text;
    if (action === 'push') {
      sink.push();
      return;
    }
    if (action === 'pop') {
      if (!sink.pop())
        sink.warning('unknown-pragmas', 'pragma diagnostic pop could not pop, no matching push', location);
      return;
    }
    const level = { ignored: 'ignored', warning: 'warning', error: 'error', fatal: 'error' } as const;
    const chosen = level[action as keyof typeof level];
    const option = tokens
      .slice(1)
      .map((token) => token.text.slice(1, -1))
      .join('');
    if (chosen === undefined)
      sink.warning(
        'unknown-pragmas',
        "pragma diagnostic expected 'error', 'warning', 'ignored', 'fatal', 'push', or 'pop'",
        location,
      );
    else if (option.startsWith('-W')) sink.setLevel(option.slice(2), chosen);
  }

  private messagePragma(kind: string, tokens: readonly PPToken[], location: Location): void {
    const text = tokens
      .filter((token) => token.kind === 'string')
      .map((token) =>
        String.fromCharCode(...textValue(token.text, token.location, this.sink).units.slice(0, 4096)),
      )
      .join('');
    if (kind === 'error') this.sink.error('pragma-error', text, location);
    else this.sink.warning(kind === 'message' ? '#pragma-messages' : '#warnings', text, location);
  }

  private stackPragma(action: string, tokens: readonly PPToken[], location: Location): void {
    const [open, string, close] = tokens;
    if (open?.text !== '(' || string?.kind !== 'string' || close?.text !== ')') {
      this.sink.error('pragma', `pragma ${action} requires a parenthesized string`, location);
      return;
    }
    const name = this.names.intern(string.text.slice(1, -1));
    const stack = this.pushedMacros.get(name) ?? [];
    this.pushedMacros.set(name, stack);
    if (action === 'push_macro') stack.push(name.macro);
    else if (stack.length > 0) name.macro = stack.pop()!;
    else
      this.sink.warning(
        'ignored-pragmas',
        `pragma pop_macro could not pop '${name.text}', no matching push_macro`,
        location,
      );
  }
}

/** Pragmas that end here. `scoped`: behind GCC or clang; all others go to the parser. */
const PRAGMAS: ReadonlyMap<
  string,
  {
    readonly action: 'once' | 'ignore' | 'poison' | 'diagnostic' | 'message' | 'push_macro' | 'pop_macro';
    readonly scoped: boolean | 'any';
  }
> = new Map([
  ['once', { action: 'once', scoped: false }],
  ['mark', { action: 'ignore', scoped: false }],
  ['region', { action: 'ignore', scoped: false }],
  ['endregion', { action: 'ignore', scoped: false }],
  ['system_header', { action: 'ignore', scoped: true }],
  ['poison', { action: 'poison', scoped: 'any' }],
  ['diagnostic', { action: 'diagnostic', scoped: true }],
  ['message', { action: 'message', scoped: false }],
  ['warning', { action: 'message', scoped: true }],
  ['error', { action: 'message', scoped: true }],
  ['push_macro', { action: 'push_macro', scoped: false }],
  ['pop_macro', { action: 'pop_macro', scoped: false }],
]);

function commandLine(
  defines: NonNullable<PreprocessorOptions['defines']>,
  forced: readonly string[],
): string {
  const lines = defines.map((one) => {
    if ('undefine' in one) return `#undef ${one.undefine}`;
    // A newline would end the definition: clang cuts the value there too.
    return `#define ${one.define} ${(one.value ?? '1').split('\n')[0]}`;
  });
  for (const path of forced) lines.push(`#include "${path}"`);
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
