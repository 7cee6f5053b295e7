/** The values of literals: integers, characters and strings (C11 6.4.4, 6.4.5), for `#if` and for the parser. */
import type { DiagnosticSink, Location } from '../source/index.ts';

/** Where what is wrong with a literal is told. */
export type LiteralSink = Pick<DiagnosticSink, 'error' | 'warning'>;

export interface IntegerLiteral {
  readonly kind: 'integer';
  /** Not negative; up to 2^64 - 1, what is larger was reported and wraps. */
  readonly value: bigint;
  readonly unsigned: boolean;
  /** Number of `l` in the suffix. */
  readonly longs: 0 | 1 | 2;
  /** Decimal literals never become unsigned by their size alone. */
  readonly decimal: boolean;
}

export interface FloatLiteral {
  readonly kind: 'float';
  readonly value: number;
  readonly suffix: '' | 'f' | 'l';
}

const INTEGER =
  /^(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|([0-9]+))((?:[uU](?:ll|LL|[lL])?|(?:ll|LL|[lL])[uU]?)?)$/;
const FLOAT =
  /^((?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+)([fFlL]?)$/;

/** The value of a preprocessing number; null where it is none, which was reported. */
export function numberValue(
  text: string,
  location: Location,
  sink: LiteralSink,
): IntegerLiteral | FloatLiteral | null {
  const integer = INTEGER.exec(text);
  if (integer !== null) {
    const [, hex, binary, digits, suffix = ''] = integer;
    const octal = digits !== undefined && digits.length > 1 && digits[0] === '0';
    if (octal && /[89]/.test(digits)) {
      sink.error('bad-literal', `invalid digit '${/[89]/.exec(digits)![0]}' in octal constant`, location);
      return null;
    }
    const wide = BigInt(
      hex !== undefined ? `0x${hex}` : binary !== undefined ? `0b${binary}` : octal ? `0o${digits}` : digits!,
    );
    if (wide > 0xffff_ffff_ffff_ffffn)
      sink.error(
        'bad-literal',
        'integer literal is too large to be represented in any integer type',
        location,
      );
    const lower = suffix.toLowerCase();
    return {
      kind: 'integer',
      value: BigInt.asUintN(64, wide),
      unsigned: lower.includes('u'),
      longs: lower.includes('ll') ? 2 : lower.includes('l') ? 1 : 0,
      decimal: digits !== undefined && !octal,
    };
  }
  const float = FLOAT.exec(text);
  if (float !== null) {
    const suffix = float[2]!.toLowerCase() as '' | 'f' | 'l';
    return { kind: 'float', value: floatValue(float[1]!), suffix };
  }
  const suffix = /^(?:0[xX][0-9a-fA-F]*|0[bB][01]*|[0-9.]+(?:[eE][+-]?[0-9]+)?)(.*)$/.exec(text)?.[1] ?? text;
  const what = /[.eE]/.test(text) && !/^0[xX]/.test(text) ? 'floating' : 'integer';
  sink.error(
    'bad-literal',
    suffix === '' ? `invalid ${what} constant '${text}'` : `invalid suffix '${suffix}' on ${what} constant`,
    location,
  );
  return null;
}

function floatValue(text: string): number {
  if (!/^0[xX]/.test(text)) return Number(text);
  const [mantissa = '', exponent = '0'] = text.slice(2).split(/[pP]/);
  const [whole = '', fraction = ''] = mantissa.split('.');
  const digits = Number(BigInt(`0x${whole}${fraction}` || '0x0'));
  return digits * 2 ** (Number(exponent) - 4 * fraction.length);
}

/** Bytes a character of the encodings. */
export type CharacterSize = 1 | 2 | 4;

export interface TextLiteral {
  /** `u8` and no prefix have bytes of UTF-8; `u` UTF-16; `U` and `L` UTF-32. */
  readonly prefix: '' | 'u8' | 'u' | 'U' | 'L';
  readonly characterSize: CharacterSize;
  /** Code units of that size, without the terminating zero. */
  readonly units: readonly number[];
}

const PREFIX = /^(u8|u|U|L|)(["'])/;
const ESCAPES: Readonly<Record<string, number>> = {
  n: 10,
  t: 9,
  r: 13,
  '0': 0,
  a: 7,
  b: 8,
  f: 12,
  v: 11,
  e: 27,
  E: 27,
  '\\': 92,
  "'": 39,
  '"': 34,
  '?': 63,
};

/** Bytes a character of a literal as spelled. */
export function characterSizeOf(text: string): CharacterSize {
  const prefix = PREFIX.exec(text)?.[1];
  return prefix === 'u' ? 2 : prefix === 'U' || prefix === 'L' ? 4 : 1;
}

/**
 * The units of one string or character literal as spelled, with prefix and quotes. `size` is that of the strings that it is joined
 * with, where one of them is wider.
 */
export function textValue(
  text: string,
  location: Location,
  sink: LiteralSink,
  size?: CharacterSize,
): TextLiteral {
  const prefix = (PREFIX.exec(text)?.[1] ?? '') as TextLiteral['prefix'];
  const characterSize = size ?? characterSizeOf(text);
  const units: number[] = [];
  const end = text.length - 1;
  for (let at = prefix.length + 1; at < end; ) {
    if (text[at] !== '\\') {
      const point = text.codePointAt(at)!;
      appendPoint(units, point, characterSize);
      at += point > 0xffff ? 2 : 1;
      continue;
    }
    at = escapeSequence(text, at + 1, characterSize, units, location, sink);
  }
  return { prefix, characterSize, units };
}

/** One escape sequence; `at` is behind the backslash. Gives the offset after it. */
function escapeSequence(
  text: string,
  at: number,
  characterSize: CharacterSize,
  units: number[],
  location: Location,
  sink: LiteralSink,
): number {
  const letter = text[at]!;
  const largest = characterSize === 1 ? 0xff : characterSize === 2 ? 0xffff : 0xffff_ffff;
  const octal = /^[0-7]{1,3}/.exec(text.slice(at, at + 3));
  if (octal !== null) {
    const value = Number.parseInt(octal[0], 8);
    if (value > largest) sink.error('bad-escape', 'octal escape sequence out of range', location);
    units.push(value & largest);
    return at + octal[0].length;
  }
  if (letter === 'x') {
    let end = at + 1;
    let value = 0;
    let large = false;
    while (/[0-9a-fA-F]/.test(text[end] ?? '')) {
      value = value * 16 + Number.parseInt(text[end]!, 16);
      if (value > largest) {
        large = true;
        value %= largest + 1;
      }
      end++;
    }
    if (end === at + 1) sink.error('bad-escape', '\\x used with no following hex digits', location);
    if (large) sink.error('bad-escape', 'hex escape sequence out of range', location);
    units.push(value);
    return end;
  }
  if (letter === 'u' || letter === 'U') {
    const length = letter === 'u' ? 4 : 8;
    const digits = /^[0-9a-fA-F]*/.exec(text.slice(at + 1, at + 1 + length))![0];
    const point = Number.parseInt(digits || '0', 16);
    if (digits.length < length) sink.error('bad-escape', 'incomplete universal character name', location);
    else if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
      sink.error('bad-escape', 'invalid universal character', location);
    else appendPoint(units, point, characterSize);
    return at + 1 + digits.length;
  }
  const known = ESCAPES[letter];
  if (known === undefined) {
    sink.warning('unknown-escape-sequence', `unknown escape sequence '\\${letter}'`, location);
    const point = text.codePointAt(at)!;
    appendPoint(units, point, characterSize);
    return at + (point > 0xffff ? 2 : 1);
  }
  units.push(known);
  return at + 1;
}

/** A lone surrogate U+DC80 … U+DCFF stands for a byte of the source that is no UTF-8: strings keep it. */
function appendPoint(units: number[], point: number, characterSize: CharacterSize): void {
  if (characterSize === 4) units.push(point);
  else if (characterSize === 2) {
    if (point > 0xffff) units.push(0xd800 + ((point - 0x10000) >> 10), 0xdc00 + ((point - 0x10000) & 0x3ff));
    else units.push(point);
  } else if (point < 0x80) units.push(point);
  else if (point >= 0xdc80 && point <= 0xdcff) units.push(point & 0xff);
  else if (point < 0x800) units.push(0xc0 | (point >> 6), 0x80 | (point & 63));
  else if (point < 0x10000) units.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63));
  else
    units.push(
      0xf0 | (point >> 18),
      0x80 | ((point >> 12) & 63),
      0x80 | ((point >> 6) & 63),
      0x80 | (point & 63),
    );
}

/** The value of a character constant: `char` is signed on BPF; several characters make an `int`, the first one highest. */
export function characterValue(text: string, location: Location, sink: LiteralSink): bigint {
  const literal = textValue(text, location, sink);
  if (literal.characterSize > 1) {
    if (literal.units.length !== 1)
      sink.error('bad-literal', 'wide character literals may not contain multiple characters', location);
    const unit = BigInt(literal.units[0] ?? 0);
    return literal.prefix === 'L' ? BigInt.asIntN(32, unit) : unit;
  }
  if (literal.units.length === 1) return BigInt.asIntN(8, BigInt(literal.units[0]!));
  if (literal.units.length > 4)
    sink.warning('four-char-constants', 'character constant too long for its type', location);
  else sink.warning('multichar', 'multi-character character constant', location);
  let value = 0n;
  for (const unit of literal.units) value = (value << 8n) | BigInt(unit);
  return BigInt.asIntN(32, value);
}
