/**
 * The parser's place in the token stream: one token of look-ahead and more on demand, expectations, recovery.
 *
 * Errors that make a construct unreadable are reported and thrown as `ParseFailure`; statements, members and external
 * declarations catch it and go on behind the next `;`. Nesting is limited, so recursion is bounded by the input's limits.
 */
import type { PlainText, Token, TokenSource } from '../preprocess/index.ts';
import { type DiagnosticSink, isMacroLocation, type Location, type Note } from '../source/index.ts';
import { MAX_NESTING } from './syntax.ts';

/** Unwinds to the next place where parsing can go on. Never leaves the parser. */
export class ParseFailure extends Error {}

const CLOSERS: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };

export abstract class Cursor {
  tok: Token;
  protected prev: Token;
  protected readonly diagnostics: DiagnosticSink;
  private readonly source: TokenSource;
  private readonly ahead: Token[] = [];
  protected nesting = 0;
  /** `#pragma pack` in force, and those pushed. */
  protected pack = 0;
  private readonly packs: number[] = [];

  constructor(source: TokenSource, diagnostics: DiagnosticSink) {
    this.source = source;
    this.diagnostics = diagnostics;
    this.tok = this.pull();
    this.prev = this.tok;
  }

  private pull(): Token {
    for (;;) {
      const token = this.source.next();
      // After a fatal error nothing is reported any more, so nothing need be read.
      if (this.diagnostics.stopped && token.kind !== 'eof')
        return { kind: 'eof', text: '', location: token.location, leadingSpace: false, startOfLine: true };
      if (token.kind === 'pragma') {
        const first = token.tokens?.[0]?.text;
        if (first === 'pack') {
          this.packPragma(token.tokens!);
          continue;
        }
        if (first !== 'unroll' && first !== 'nounroll' && first !== 'clang' && first !== 'GCC') continue;
        return token;
      }
      return token;
    }
  }

  private packPragma(tokens: readonly Token[]): void {
    const words = tokens.slice(1).filter((token) => token.kind === 'identifier' || token.kind === 'number');
    let set = words.length === 0;
    let value = 0;
    for (const word of words) {
      if (word.text === 'push') this.packs.push(this.pack);
      else if (word.text === 'pop') this.pack = this.packs.pop() ?? 0;
      else if (word.kind === 'number') {
        set = true;
        value = Number(word.text);
      }
    }
    if (set) this.pack = [1, 2, 4, 8, 16].includes(value) ? value : 0;
  }

  /** The text from the current token on, where it can be read without tokens; deep inside of brackets it is not. */
  protected plainText(): PlainText | null {
    if (this.ahead.length > 0 || this.tok.kind !== 'identifier' || this.nesting > MAX_NESTING - 8)
      return null;
    return this.source.plainText?.(this.tok) ?? null;
  }

  /** `text` was read to behind `mark`: the token after that is the current one. */
  protected resume(text: PlainText, mark: string): void {
    this.prev = {
      kind: 'punct',
      text: mark,
      location: text.location - 1,
      leadingSpace: false,
      startOfLine: false,
    };
    this.source.resume!(text);
    this.tok = this.pull();
  }

  /** Consumes the current token and gives it. */
  protected advance(): Token {
    const token = this.tok;
    this.prev = token;
    this.tok = this.ahead.length > 0 ? this.ahead.shift()! : this.pull();
    return token;
  }

  /** The token `n` behind the current one, from 1. */
  protected peek(n = 1): Token {
    while (this.ahead.length < n) this.ahead.push(this.pull());
    return this.ahead[n - 1]!;
  }

  protected is(punct: string): boolean {
    return this.tok.kind === 'punct' && this.tok.text === punct;
  }

  protected isString(): boolean {
    return this.tok.kind === 'string';
  }

  protected isWord(word: string): boolean {
    return this.tok.kind === 'identifier' && this.tok.text === word;
  }

  protected accept(punct: string): boolean {
    if (this.tok.kind !== 'punct' || this.tok.text !== punct) return false;
    this.advance();
    return true;
  }

  protected error(
    code: string,
    message: string,
    location: Location = this.tok.location,
    notes: readonly Note[] = [],
  ): void {
    this.diagnostics.error(code, message, location, notes.length > 0 ? { notes } : {});
  }

  protected fail(
    code: string,
    message: string,
    location: Location = this.tok.location,
    notes: readonly Note[] = [],
  ): never {
    // The end of the file has no place of its own: clang points behind the last token.
    const at = this.tok.kind === 'eof' && location === this.tok.location ? this.behindPrevious() : location;
    this.error(code, message, at, notes);
    throw new ParseFailure(message);
  }

  /** Behind the last token consumed: where something is missing. */
  protected behindPrevious(): Location {
    const { location, text } = this.prev;
    return isMacroLocation(location) ? this.tok.location : location + text.length;
  }

  /** A missing `;` is reported behind the previous token and parsing goes on as if it were there. */
  protected expectSemicolon(where: string): void {
    if (this.accept(';')) return;
    const location = this.behindPrevious();
    this.diagnostics.error('expected', `expected ';' ${where}`, location, {
      fixits: [{ range: { begin: location, end: 0 }, text: ';' }],
    });
    if (this.prev.startOfLine || this.tok.startOfLine || this.is('}') || this.tok.kind === 'eof') return;
    throw new ParseFailure('expected ;');
  }

  protected expect(punct: string, after = ''): Token {
    if (this.tok.kind === 'punct' && this.tok.text === punct) return this.advance();
    return this.fail('expected', `expected '${punct}'${after}`);
  }

  /** The closing bracket of `open`; where it is missing, a note shows what was open. */
  protected close(open: Token): Token {
    const want = CLOSERS[open.text]!;
    if (this.tok.kind === 'punct' && this.tok.text === want) return this.advance();
    return this.fail('expected', `expected '${want}'`, this.tok.location, [
      { message: `to match this '${open.text}'`, location: open.location },
    ]);
  }

  /** Puts a `;` that is missing in front of the current token. */
  protected insertSemicolon(where: string): void {
    const location = this.behindPrevious();
    this.diagnostics.error('expected', `expected ';' ${where}`, location, {
      fixits: [{ range: { begin: location, end: 0 }, text: ';' }],
    });
    this.ahead.unshift(this.tok);
    this.tok = { kind: 'punct', text: ';', location, leadingSpace: false, startOfLine: false };
  }

  /** Counts brackets and statements inside each other. @throws ParseFailure after a fatal error past the limit. */
  protected enter(): void {
    if (++this.nesting <= MAX_NESTING) return;
    this.diagnostics.fatal(
      'nesting',
      `bracket nesting level exceeded maximum of ${MAX_NESTING}`,
      this.tok.location,
    );
    throw new ParseFailure('nesting');
  }

  protected leave(): void {
    this.nesting--;
  }

  /** Skips to behind the next `;` of this level, or to the `}` that ends it. */
  protected skipStatement(): void {
    let depth = 0;
    while (this.tok.kind !== 'eof') {
      if (this.tok.kind === 'punct') {
        const { text } = this.tok;
        if (text === '{' || text === '(' || text === '[') depth++;
        else if (text === '}' || text === ')' || text === ']') {
          if (depth === 0) {
            if (text === '}') return;
          } else if (--depth === 0 && text === '}') {
            // A block ended: what begins on a new line behind it is another statement.
            this.advance();
            if (this.tok.startOfLine) return;
            continue;
          }
        } else if (text === ';' && depth === 0) {
          this.advance();
          return;
        }
      }
      this.advance();
    }
  }

  /** Skips to behind the next `;`, or behind a `}` block, at file scope. */
  protected skipExternal(): void {
    let depth = 0;
    while (this.tok.kind !== 'eof') {
      if (this.tok.kind === 'punct') {
        const { text } = this.tok;
        if (text === '{') depth++;
        else if (text === '}') {
          depth--;
          if (depth <= 0) {
            this.advance();
            this.accept(';');
            return;
          }
        } else if (text === ';' && depth === 0) {
          this.advance();
          return;
        }
      }
      this.advance();
    }
  }

  /** Skips a bracketed group; the current token opens it. */
  protected skipGroup(): void {
    let depth = 0;
    do {
      if (this.tok.kind === 'punct') {
        const { text } = this.tok;
        if (text === '{' || text === '(' || text === '[') depth++;
        else if (text === '}' || text === ')' || text === ']') depth--;
      }
      this.advance();
    } while (depth > 0 && this.tok.kind !== 'eof');
  }
}
