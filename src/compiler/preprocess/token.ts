/**
 * The contract between preprocessor and parser: a preprocessing token after all macros are expanded (C11 6.4, translation phase 4).
 * Keywords are identifiers here; the parser tells them apart. Adjacent strings are not joined.
 */
import type { Location } from '../source/index.ts';

/**
 * `pragma` is a whole `#pragma` or `_Pragma` that the parser has to know (`unroll`, `clang loop`, `clang attribute`, `pack`, …):
 * `text` is what follows the word pragma, `tokens` its tokens.
 * `other` is a character that C has no use for, already reported.
 */
export type TokenKind = 'identifier' | 'number' | 'char' | 'string' | 'punct' | 'pragma' | 'other' | 'eof';

/** A word as all its mentions share it. */
export interface Word {
  readonly text: string;
  /** What a parser remembers of the word, whatever that is; null before. The preprocessor does not look at it. */
  memo: object | null;
  /** The parser's, too: what the word is the tag of. */
  tag: 'struct' | 'union' | 'enum' | null;
}

export interface Token {
  readonly kind: TokenKind;
  /**
   * The spelling: one string object a spelling for identifiers and punctuation, so comparing is cheap. Literals with prefix and quotes
   * (`u8"a\n"`), as written; see `literals.ts` for their values. Digraphs are spelled as what they stand for. `''` for `eof`.
   */
  readonly text: string;
  readonly location: Location;
  /** White space or a comment stands before it. */
  readonly leadingSpace: boolean;
  /** It is the first of its line. */
  readonly startOfLine: boolean;
  /** Of identifiers, where the source of tokens has a table of them. */
  readonly name?: Word | null;
  /** Of a `pragma` alone. */
  readonly tokens?: readonly Token[];
}

/** Text that is read without making tokens; see `plain-text.ts` for what can be read so. */
export interface PlainText {
  /** Offset of the next character. */
  at: number;
  /** Of the next character. */
  readonly location: Location;
  /** The next character behind spaces and tabs; NaN at the end. */
  code(): number;
  /** The next character behind blanks and newlines. */
  lineCode(): number;
  /** The word that begins with the next character; null where it is none, or the preprocessor has to do with it. */
  word(): Word | null;
  /** A number of decimal digits alone; null where something else stands there. */
  number(): string | null;
}

/** Where the parser gets its tokens from. After the end every call gives the `eof` token again. */
export interface TokenSource {
  next(): Token;
  /**
   * The text of the file from `last` on, the token that `next` gave last: for reading on without tokens. Null where more than that
   * text stands behind the next tokens. Who reads it calls `resume`, or goes on with `next` as if nothing had been.
   */
  plainText?(last: Token): PlainText | null;
  /** `text` was read up to its place, right behind a token: `next` goes on there. */
  resume?(text: PlainText): void;
}
