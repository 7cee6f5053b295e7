/**
 * Assembler text to tokens. Templates of the instruction table are split by the same function, so that a literal in a
 * template and in a program compare as strings. Every regular expression is sticky and without nested repetition:
 * the work is linear in the length of the text.
 */
import { BpfError } from '../util/index.ts';

export interface Token {
  readonly kind: 'word' | 'number' | 'punct';
  readonly text: string;
  /** Place in the source, both from 1. */
  readonly line: number;
  readonly column: number;
}

const SPACE = /[ \t\r\f\v]+/y;
/** Signed operators begin with a letter; they are looked for before words. */
const SIGNED_OPERATOR = /s(?:>>=|>=|<=|>|<|\/=|%=)/y;
const WORD = /[A-Za-z_.$][\w.$]*/y;
/** `1f` and `1b`: the next and the last definition of the label `1`. */
const LOCAL_LABEL = /\d+[bf](?!\w)/y;
const NUMBER = /0[xX][0-9a-fA-F]+|\d+/y;
const PUNCT = />>=|<<=|[-+*/|&%^=!<>]=|[-=<>&()[\]*+,:#!{}|^/%~]/y;

/** Throws BpfError EINVAL that names line, column and what was expected there. */
export function syntaxError(at: { line: number; column: number }, message: string, hint?: string): BpfError {
  return new BpfError(
    'EINVAL',
    `line ${at.line}, column ${at.column}: ${message}`,
    hint === undefined ? {} : { hint },
  );
}

/** Splits one statement. `line` and `column` say where its first character stands. */
export function tokenize(text: string, line = 1, column = 1): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  };
  while (at < text.length) {
    const space = take(SPACE);
    if (space !== undefined) {
      at += space.length;
      continue;
    }
    let kind: Token['kind'] = 'punct';
    let found = take(SIGNED_OPERATOR);
    if (found === undefined) {
      found = take(LOCAL_LABEL) ?? take(WORD);
      kind = 'word';
    }
    if (found === undefined) {
      found = take(NUMBER);
      kind = 'number';
    }
    if (found === undefined) {
      found = take(PUNCT);
      kind = 'punct';
    }
    const place = { line, column: column + at };
    if (found === undefined) {
      throw syntaxError(place, `unexpected character ${JSON.stringify(text.charAt(at))}`);
    }
    tokens.push({ kind, text: found, ...place });
    at += found.length;
    if (kind === 'number' && /[A-Za-z_]/.test(text.charAt(at)) && !/^ll\b/.test(text.slice(at, at + 3))) {
      throw syntaxError(
        place,
        `${JSON.stringify(found + text.charAt(at))} is not a number`,
        'write 10 or 0xa',
      );
    }
  }
  return tokens;
}
