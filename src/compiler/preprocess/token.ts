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
  /** Of a `pragma` alone. */
  readonly tokens?: readonly Token[];
}

/** Where the parser gets its tokens from. After the end every call gives the `eof` token again. */
export interface TokenSource {
  next(): Token;
}
