/**
 * One file to preprocessing tokens (C11 6.4), translation phases 1 to 3: no trigraphs, spliced lines, comments as one space.
 * Works on character codes, with one branch on the first one; spliced lines inside a token take a slow path.
 *
 * In a directive the end of the line is a token of kind `eof`; the newline itself is read when the directive is over.
 */
import type { DiagnosticSink, Location, SourceFile } from '../source/index.ts';
import { HASH_SEED, hashStep, type IdentifierTable } from './identifiers.ts';
import { PPToken } from './macro.ts';
import { FileText } from './plain-text.ts';
import type { PlainText } from './token.ts';

const NL = 10;
const CR = 13;
const BACKSLASH = 92;
const SLASH = 47;
const STAR = 42;
const QUOTE = 34;
const APOSTROPHE = 39;

/** Bits of a character's class. */
const WORD = 1;
const DIGIT = 2;
const BLANK = 4;
const CLASS = new Uint8Array(128);
for (let code = 0; code < 128; code++) {
  const character = String.fromCharCode(code);
  if (/[A-Za-z_$]/.test(character)) CLASS[code] = WORD;
  else if (/[0-9]/.test(character)) CLASS[code] = WORD | DIGIT;
  else if (/[ \t\v\f]/.test(character)) CLASS[code] = BLANK;
}

function classOf(code: number): number {
  return code < 128 ? CLASS[code]! : 0;
}

/** Operators by their first character, longest first; digraphs with what they stand for. */
const OPERATORS = new Map<number, [spelling: string, text: string][]>();
for (const spelling of [
  ...[
    '...',
    '<<=',
    '>>=',
    '->',
    '++',
    '--',
    '<<',
    '>>',
    '<=',
    '>=',
    '==',
    '!=',
    '&&',
    '||',
    '*=',
    '/=',
    '%=',
  ],
  ...['+=', '-=', '&=', '^=', '|=', '##', '[', ']', '(', ')', '{', '}', '.', '&', '*', '+', '-', '~', '!'],
  ...['/', '%', '<', '>', '^', '|', '?', ':', ';', '=', ',', '#'],
])
  addOperator(spelling, spelling);
for (const [spelling, text] of [
  ['%:%:', '##'],
  ['<:', '['],
  [':>', ']'],
  ['<%', '{'],
  ['%>', '}'],
  ['%:', '#'],
] as const)
  addOperator(spelling, text);

function addOperator(spelling: string, text: string): void {
  const code = spelling.charCodeAt(0);
  const list = OPERATORS.get(code) ?? [];
  list.push([spelling, text]);
  list.sort((a, b) => b[0].length - a[0].length);
  OPERATORS.set(code, list);
}

/** Operators that are no prefix of a longer one: nothing after them needs to be looked at. */
const SINGLE: (string | undefined)[] = new Array(128);
for (const text of ['(', ')', '[', ']', '{', '}', ';', ',', '?', '~']) SINGLE[text.charCodeAt(0)] = text;

/** Whom the lexer tells what is wrong. */
export type LexerReports = Pick<DiagnosticSink, 'error' | 'warning'>;

export class Lexer {
  readonly file: SourceFile;
  private readonly text: string;
  private readonly names: IdentifierTable;
  private readonly sink: LexerReports;
  /** Offset of the next character. */
  at = 0;
  private lineStart = true;
  /** Inside a directive: newlines end it. */
  directive = false;
  private plain: FileText | null = null;

  constructor(file: SourceFile, names: IdentifierTable, sink: LexerReports) {
    this.file = file;
    this.text = file.source.text;
    this.names = names;
    this.sink = sink;
    if (this.text.charCodeAt(0) === 0xfeff) this.at = 1;
  }

  /** The text from the token `last` on, when that is what was read last; null when something else was. */
  plainText(last: PPToken): PlainText | null {
    const start = last.location - this.file.base;
    if (this.directive || start + last.text.length !== this.at) return null;
    this.plain ??= new FileText(this.text, this.file.base, this.names);
    this.plain.at = start;
    return this.plain;
  }

  /** Goes on where the text was read to, right behind a token. */
  resume(text: PlainText): void {
    this.at = text.at;
    this.lineStart = false;
  }

  location(offset: number): Location {
    return this.file.base + offset;
  }

  /** The next token; `eof` at the end of the file, and at the end of the line in a directive. */
  lex(): PPToken {
    const { text } = this;
    let space = false;
    for (;;) {
      const at = this.at;
      const code = text.charCodeAt(at);
      if (code < 128) {
        const kind = CLASS[code]!;
        if (kind === WORD) {
          if (code === 76 || code === 85 || code === 117) {
            const quoted = this.prefixedLiteral(at, space);
            if (quoted !== null) return quoted;
          }
          return this.word(at, space);
        }
        if (kind === BLANK) {
          space = true;
          this.at = at + 1;
          continue;
        }
        if (kind !== 0) return this.number(at, space);
        const single = SINGLE[code];
        if (single !== undefined) {
          this.at = at + 1;
          return this.make('punct', single, at, space);
        }
        switch (code) {
          case NL:
          case CR:
            if (this.directive) return this.make('eof', '', at, space);
            this.at = at + 1;
            this.lineStart = true;
            space = false;
            continue;
          case SLASH: {
            const next = this.peek(at + 1);
            if (next === SLASH) {
              this.lineComment(this.skipSplices(at + 1) + 1);
              space = true;
              continue;
            }
            if (next === STAR) {
              this.blockComment(at, this.skipSplices(at + 1) + 1);
              space = true;
              continue;
            }
            return this.operator(at, code, space);
          }
          case QUOTE:
          case APOSTROPHE:
            return this.literal(at, at, code, space);
          case BACKSLASH: {
            const after = this.spliceEnd(at);
            if (after > 0) {
              this.at = after;
              continue;
            }
            return this.word(at, space);
          }
          case 46: {
            if ((classOf(this.peek(at + 1)) & DIGIT) !== 0) return this.number(at, space);
            return this.operator(at, code, space);
          }
          case 0:
            // clang takes NUL characters for white space.
            space = true;
            this.at = at + 1;
            continue;
          default:
            return this.operator(at, code, space);
        }
      }
      if (at >= text.length) return this.make('eof', '', text.length, space);
      // U+00A0 and its like are no identifiers and no white space either.
      return this.word(at, space);
    }
  }

  private make(kind: PPToken['kind'], text: string, at: number, space: boolean): PPToken {
    const first = this.lineStart;
    this.lineStart = false;
    return new PPToken(kind, text, this.file.base + at, space, first, null);
  }

  /** The offset behind `\`, blanks and a newline at `at`; 0 when there is no spliced line. */
  private spliceEnd(at: number): number {
    const { text } = this;
    let end = at + 1;
    while (classOf(text.charCodeAt(end)) === BLANK) end++;
    const code = text.charCodeAt(end);
    if (code === NL) return end + 1;
    if (code === CR) return text.charCodeAt(end + 1) === NL ? end + 2 : end + 1;
    return 0;
  }

  /** The offset of the first character at or after `at` that is not part of a spliced line. */
  private skipSplices(at: number): number {
    let offset = at;
    while (this.text.charCodeAt(offset) === BACKSLASH) {
      const end = this.spliceEnd(offset);
      if (end === 0) break;
      offset = end;
    }
    return offset;
  }

  private peek(at: number): number {
    const code = this.text.charCodeAt(at);
    return code === BACKSLASH ? this.text.charCodeAt(this.skipSplices(at)) : code;
  }

  private lineComment(from: number): void {
    const { text } = this;
    let at = from;
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === NL || code === CR) break;
      if (code === BACKSLASH) {
        const end = this.spliceEnd(at);
        if (end > 0) at = end - 1;
      }
    }
    this.at = at;
  }

  private blockComment(start: number, from: number): void {
    const { text } = this;
    let at = from;
    for (;;) {
      at = text.indexOf('*', at);
      if (at < 0) {
        this.sink.error('unterminated-comment', 'unterminated /* comment', this.location(start));
        this.at = text.length;
        return;
      }
      const next = this.skipSplices(at + 1);
      if (text.charCodeAt(next) === SLASH) {
        this.at = next + 1;
        return;
      }
      at++;
    }
  }

  private word(start: number, space: boolean): PPToken {
    const { text } = this;
    let at = start;
    let hash = HASH_SEED;
    for (;;) {
      const code = text.charCodeAt(at);
      if (code < 128 && (CLASS[code]! & WORD) !== 0) {
        hash = hashStep(hash, code);
        at++;
        continue;
      }
      if (code >= 128 || code === BACKSLASH) return this.slowWord(start, space);
      break;
    }
    this.at = at;
    const first = this.lineStart;
    this.lineStart = false;
    const name = this.names.lookup(text, start, at, hash);
    return new PPToken('identifier', name.text, this.file.base + start, space, first, name);
  }

  /** An identifier with spliced lines, characters beyond ASCII, or `\u` names in it. */
  private slowWord(start: number, space: boolean): PPToken {
    const { text } = this;
    let at = start;
    let spelling = '';
    for (;;) {
      at = this.text.charCodeAt(at) === BACKSLASH ? this.skipSplices(at) : at;
      const point = text.codePointAt(at);
      if (point === undefined) break;
      if (point < 128 && (CLASS[point]! & WORD) !== 0) {
        spelling += text[at];
        at++;
        continue;
      }
      if (point >= 128 && /^[\p{XID_Continue}]$/u.test(String.fromCodePoint(point))) {
        spelling += String.fromCodePoint(point);
        at += point > 0xffff ? 2 : 1;
        continue;
      }
      if (point === BACKSLASH) {
        const ucn = /^\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/.exec(text.slice(at, at + 10));
        const value = ucn === null ? 0 : Number.parseInt((ucn[1] ?? ucn[2])!, 16);
        if (
          ucn !== null &&
          value >= 128 &&
          value <= 0x10ffff &&
          /^[\p{XID_Continue}]$/u.test(String.fromCodePoint(value))
        ) {
          spelling += String.fromCodePoint(value);
          at += ucn[0].length;
          continue;
        }
      }
      break;
    }
    if (spelling === '') return this.stray(start, space);
    this.at = at;
    const name = this.names.intern(spelling);
    const token = this.make('identifier', name.text, start, space);
    token.name = name;
    return token;
  }

  /** A character that no token begins with. */
  private stray(start: number, space: boolean): PPToken {
    const point = this.text.codePointAt(this.skipSplices(start))!;
    const character = String.fromCodePoint(point);
    this.at = this.skipSplices(start) + character.length;
    if (point >= 128)
      this.sink.error(
        'unexpected-character',
        // As the reader of files marks bytes that are no UTF-8.
        point >= 0xdc80 && point <= 0xdcff
          ? 'source file is not valid UTF-8'
          : `unexpected character <U+${point.toString(16).toUpperCase().padStart(4, '0')}>`,
        this.location(start),
      );
    return this.make('other', character, start, space);
  }

  private number(start: number, space: boolean): PPToken {
    const { text } = this;
    let at = start;
    let spelling = '';
    let from = start;
    for (;;) {
      const code = text.charCodeAt(at);
      if (code < 128) {
        if ((CLASS[code]! & WORD) !== 0 || code === 46) {
          at++;
          continue;
        }
        // e+ e- p+ p-
        if ((code === 43 || code === 45) && at > from && /[eEpP]/.test(text[at - 1]!)) {
          at++;
          continue;
        }
        if (code === BACKSLASH) {
          const end = this.spliceEnd(at);
          if (end > 0) {
            spelling += text.slice(from, at);
            at = end;
            from = end;
            continue;
          }
        }
      }
      break;
    }
    this.at = at;
    return this.make('number', spelling + text.slice(from, at), start, space);
  }

  /** `L"…"`, `u8'…'` and so on; null when the word at `start` is no such prefix. */
  private prefixedLiteral(start: number, space: boolean): PPToken | null {
    const { text } = this;
    let at = start + 1;
    if (text.charCodeAt(start) === 117 && text.charCodeAt(at) === 56) at++;
    const quote = text.charCodeAt(at);
    if (quote !== QUOTE && (quote !== APOSTROPHE || at - start > 1)) return null;
    return this.literal(start, at, quote, space);
  }

  private literal(start: number, open: number, quote: number, space: boolean): PPToken {
    const { text } = this;
    let at = open + 1;
    let spelling = '';
    let from = start;
    for (;;) {
      const code = text.charCodeAt(at);
      if (code === quote) break;
      if (code === BACKSLASH) {
        const end = this.spliceEnd(at);
        if (end > 0) {
          spelling += text.slice(from, at);
          at = end;
          from = end;
          continue;
        }
        // The escaped character may itself stand behind a spliced line.
        const next = this.skipSplices(at + 1);
        if (next !== at + 1) {
          spelling += text.slice(from, at + 1);
          from = next;
        }
        at = next;
        if (at < text.length && text.charCodeAt(at) !== NL && text.charCodeAt(at) !== CR) at++;
        continue;
      }
      if (code === NL || code === CR || at >= text.length) {
        this.at = at;
        const what = quote === QUOTE ? "'\"'" : "'";
        this.sink.warning('invalid-pp-token', `missing terminating ${what} character`, this.location(start));
        return this.make('other', spelling + text.slice(from, at), start, space);
      }
      at++;
    }
    this.at = at + 1;
    if (quote === APOSTROPHE && at === open + 1) {
      this.sink.warning('invalid-pp-token', 'empty character constant', this.location(start));
      return this.make('other', "''", start, space);
    }
    return this.make(quote === QUOTE ? 'string' : 'char', spelling + text.slice(from, at + 1), start, space);
  }

  private operator(start: number, code: number, space: boolean): PPToken {
    const candidates = OPERATORS.get(code);
    if (candidates === undefined) return this.stray(start, space);
    for (const [spelling, text] of candidates) {
      let at = start + 1;
      let i = 1;
      for (; i < spelling.length; i++) {
        if (this.text.charCodeAt(at) === BACKSLASH) at = this.skipSplices(at);
        if (this.text.charCodeAt(at) !== spelling.charCodeAt(i)) break;
        at++;
      }
      if (i < spelling.length) continue;
      this.at = at;
      return this.make('punct', text, start, space);
    }
    return this.stray(start, space);
  }

  /** After `#include`: the name between `<>` or quotes with its delimiters, or null when something else stands there. */
  headerName(): PPToken | null {
    const { text } = this;
    let start = this.at;
    for (;;) {
      const code = text.charCodeAt(start);
      if (classOf(code) === BLANK) start++;
      else if (code === BACKSLASH && this.spliceEnd(start) > 0) start = this.spliceEnd(start);
      else if (code === SLASH && text.charCodeAt(start + 1) === STAR) {
        this.blockComment(start, start + 2);
        start = this.at;
      } else break;
    }
    const open = text[start];
    if (open !== '<' && open !== '"') return null;
    const close = open === '<' ? '>' : '"';
    for (let at = start + 1; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === NL || code === CR) break;
      if (text[at] !== close) continue;
      this.at = at + 1;
      return this.make('string', text.slice(start, at + 1), start, false);
    }
    return null;
  }

  /** The rest of the directive's line as text, comments and all, splices taken out: for `#error` and `#pragma`. */
  restOfLine(): string {
    const { text } = this;
    let rest = '';
    let at = this.at;
    let from = at;
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === NL || code === CR) break;
      if (code !== BACKSLASH) continue;
      const end = this.spliceEnd(at);
      if (end === 0) continue;
      rest += text.slice(from, at);
      from = end;
      at = end - 1;
    }
    rest += text.slice(from, at);
    this.at = at;
    return rest.trim();
  }

  /** Reads to the end of the directive's line. */
  skipLine(): void {
    while (this.lex().kind !== 'eof');
  }

  /**
   * In a part that `#if` leaves out: goes to the next line that begins with `#`, and behind that character. False at the end of the file.
   * Comments count, literals end with their line at the latest; nothing is reported but an open comment.
   */
  skipToDirective(): boolean {
    const { text } = this;
    let fresh = this.lineStart;
    let at = this.at;
    while (at < text.length) {
      const code = text.charCodeAt(at);
      if (code === NL || code === CR) {
        fresh = true;
        at++;
      } else if (code < 128 && CLASS[code] === BLANK) at++;
      else if (code === SLASH && this.peek(at + 1) === STAR) {
        this.blockComment(at, this.skipSplices(at + 1) + 1);
        at = this.at;
      } else if (code === SLASH && this.peek(at + 1) === SLASH) {
        this.lineComment(at);
        at = this.at;
      } else if (code === BACKSLASH && this.spliceEnd(at) > 0) at = this.spliceEnd(at);
      else if (fresh && (code === 35 || (code === 37 && this.peek(at + 1) === 58))) {
        this.at = code === 35 ? at + 1 : this.skipSplices(at + 1) + 1;
        this.lineStart = false;
        return true;
      } else {
        fresh = false;
        if (code === QUOTE || code === APOSTROPHE) at = this.skipLiteral(at, code);
        else at++;
      }
    }
    this.at = text.length;
    return false;
  }

  private skipLiteral(start: number, quote: number): number {
    const { text } = this;
    let at = start + 1;
    while (at < text.length) {
      const code = text.charCodeAt(at);
      if (code === quote) return at + 1;
      if (code === NL || code === CR) return at;
      if (code === BACKSLASH) {
        const end = this.spliceEnd(at);
        at = end > 0 ? end : at + 2;
      } else at++;
    }
    return at;
  }

  /** Whether the next token is `(`, looking over white space and newlines, without reading anything. */
  nextIsParenthesis(): boolean {
    const { text } = this;
    let at = this.at;
    while (at < text.length) {
      const code = text.charCodeAt(at);
      if (code === NL || code === CR) {
        if (this.directive) return false;
        at++;
      } else if (code < 128 && CLASS[code] === BLANK) at++;
      else if (code === SLASH && this.peek(at + 1) === STAR) {
        const end = text.indexOf('*/', at + 2);
        if (end < 0) return false;
        at = end + 2;
      } else if (code === SLASH && this.peek(at + 1) === SLASH) {
        const saved = this.at;
        this.lineComment(at);
        at = this.at;
        this.at = saved;
      } else if (code === BACKSLASH && this.spliceEnd(at) > 0) at = this.spliceEnd(at);
      else return code === 40;
    }
    return false;
  }
}
