/**
 * A file's text from one place on, for a parser that reads the commonest declarations from characters and not from tokens.
 *
 * It knows only what needs no thought: words that are no macros, plain numbers, single characters, blanks. At anything else (comments,
 * spliced lines, directives, literals, characters beyond ASCII) the reader gives up and asks for tokens from where it began; until
 * then nothing has happened but that words came into the table of identifiers, which they would have done as tokens, too.
 */
import type { Location } from '../source/index.ts';
import { HASH_SEED, hashStep, type Identifier, type IdentifierTable } from './identifiers.ts';
import type { PlainText } from './token.ts';

const WORD = 1;
const DIGIT = 2;
const CLASS = new Uint8Array(256);
for (let code = 0; code < 128; code++) {
  const character = String.fromCharCode(code);
  if (/[A-Za-z_$]/.test(character)) CLASS[code] = WORD;
  else if (/[0-9]/.test(character)) CLASS[code] = DIGIT;
}

export class FileText implements PlainText {
  private readonly text: string;
  private readonly base: Location;
  private readonly names: IdentifierTable;
  at = 0;

  constructor(text: string, base: Location, names: IdentifierTable) {
    this.text = text;
    this.base = base;
    this.names = names;
  }

  get location(): Location {
    return this.base + this.at;
  }

  code(): number {
    const { text } = this;
    let { at } = this;
    let code = text.charCodeAt(at);
    while (code === 32 || code === 9) code = text.charCodeAt(++at);
    this.at = at;
    return code;
  }

  lineCode(): number {
    const { text } = this;
    let { at } = this;
    let code = text.charCodeAt(at);
    while (code === 32 || code === 9 || code === 10) code = text.charCodeAt(++at);
    this.at = at;
    return code;
  }

  word(): Identifier | null {
    const { text } = this;
    const start = this.at;
    let at = start;
    let code = text.charCodeAt(at);
    if (!(code < 128) || CLASS[code] !== WORD) return null;
    let hash = HASH_SEED;
    do {
      hash = hashStep(hash, code);
      code = text.charCodeAt(++at);
    } while (code < 128 && CLASS[code] !== 0);
    // A spliced line or a character beyond ASCII may go on with the word; quotes make it a prefix.
    if (code >= 128 || code === 92 || code === 34 || code === 39) return null;
    const name = this.names.lookup(text, start, at, hash);
    if (name.macro !== null || name.poisoned) return null;
    this.at = at;
    return name;
  }

  number(): string | null {
    const { text } = this;
    const start = this.at;
    let at = start;
    let code = text.charCodeAt(at);
    while (code >= 48 && code <= 57) code = text.charCodeAt(++at);
    // A suffix, a point, an exponent, a spliced line.
    if (at === start || code >= 128 || CLASS[code] === WORD || code === 46 || code === 92) return null;
    this.at = at;
    return at - start === 1 ? DIGITS[text.charCodeAt(start) - 48]! : text.slice(start, at);
  }
}

const DIGITS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
