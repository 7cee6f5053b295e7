/** Values of number, character and string tokens (C11 6.4.4, 6.4.5, GNU binary and separators left out). */
import type { IntegerType } from '../ast/index.ts';
import type { Token } from '../preprocess/index.ts';
import { fits, INT, LLONG, LONG, UINT, ULLONG, ULONG } from './arithmetic-types.ts';

export type NumberValue =
  | { readonly kind: 'int'; readonly value: bigint; readonly type: IntegerType }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'bad'; readonly message: string };

const INTEGER = /^(0[xX][0-9a-fA-F]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)([uUlL]*)$/;
const FLOAT =
  /^(?:[0-9]+\.[0-9]*(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)[fFlL]?$/;
const HEX_FLOAT = /^0[xX][0-9a-fA-F]*\.?[0-9a-fA-F]*[pP][+-]?[0-9]+[fFlL]?$/;
const SMALL = /^[0-9]{1,9}$/;
const CANDIDATES: Readonly<Record<string, readonly IntegerType[]>> = {
  '': [INT, LONG],
  hex: [INT, UINT, LONG, ULONG],
  u: [UINT, ULONG],
  l: [LONG],
  hexl: [LONG, ULONG],
  ul: [ULONG],
  ll: [LLONG],
  hexll: [LLONG, ULLONG],
  ull: [ULLONG],
};

export function readNumber(text: string): NumberValue {
  if (SMALL.test(text) && (text[0] !== '0' || text.length === 1))
    return { kind: 'int', value: BigInt(Number(text)), type: INT };
  const match = INTEGER.exec(text);
  if (match === null) {
    if (FLOAT.test(text)) return { kind: 'float', value: Number.parseFloat(text) };
    if (HEX_FLOAT.test(text)) return { kind: 'float', value: hexFloat(text) };
    return badNumber(text);
  }
  const digits = match[1]!;
  const suffix = match[2]!.toLowerCase();
  const key = suffix === 'lu' ? 'ul' : suffix === 'llu' ? 'ull' : suffix === 'lul' ? null : suffix;
  if (key === null || !['', 'u', 'l', 'ul', 'll', 'ull'].includes(key) || /lL|Ll/.test(match[2]!))
    return { kind: 'bad', message: `invalid suffix '${match[2]}' on integer constant` };
  const octal = digits.length > 1 && digits[0] === '0' && /^[0-7]+$/.test(digits);
  if (digits.length > 70)
    return { kind: 'bad', message: 'integer literal is too large to be represented in any integer type' };
  const value = BigInt(octal ? `0o${digits.slice(1)}` : digits);
  const decimal = digits[0] !== '0' || digits.length === 1;
  const list = CANDIDATES[decimal || key.startsWith('u') ? key : `hex${key}`] ?? CANDIDATES[key]!;
  for (const type of list) if (fits(value, type)) return { kind: 'int', value, type };
  // A decimal too large for long: clang makes it unsigned, with a warning.
  if (fits(value, ULONG)) return { kind: 'int', value, type: key.endsWith('ll') ? ULLONG : ULONG };
  return { kind: 'bad', message: 'integer literal is too large to be represented in any integer type' };
}

/** `0x1.8p3` */
function hexFloat(text: string): number {
  const [mantissa = '', exponent = '0'] = text.slice(2).split(/[pP]/);
  const [whole = '', fraction = ''] = mantissa.split('.');
  const digits = Number.parseInt(`${whole}${fraction}` || '0', 16);
  return digits * 2 ** (Number.parseInt(exponent, 10) - 4 * fraction.length);
}

function badNumber(text: string): NumberValue {
  const octal = /^0[0-9]*[89]/.exec(text);
  if (octal !== null && /^[0-9]+[uUlL]*$/.test(text))
    return { kind: 'bad', message: `invalid digit '${octal[0].at(-1)}' in octal constant` };
  const suffix = /^(?:0[xX][0-9a-fA-F]+|[0-9]+)(.+)$/.exec(text);
  return { kind: 'bad', message: `invalid suffix '${suffix?.[1] ?? text}' on integer constant` };
}

const SIMPLE: Readonly<Record<string, number>> = {
  n: 10,
  t: 9,
  r: 13,
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

const encoder = /* @__PURE__ */ new TextEncoder();

/** The units between the quotes. `width` in bytes: 1 gives UTF-8 bytes, 2 and 4 code units. */
function units(body: string, width: number, report: (message: string) => void): number[] {
  const result: number[] = [];
  const limit = 2 ** (8 * width);
  for (let i = 0; i < body.length; i++) {
    const code = body.codePointAt(i)!;
    if (code !== 92) {
      if (code < 0x80) result.push(code);
      else {
        if (code > 0xffff) i++;
        pushCodePoint(result, code, width);
      }
      continue;
    }
    const next = body[++i] ?? '';
    const simple = SIMPLE[next];
    if (simple !== undefined) result.push(simple);
    else if (next === 'x') {
      let value = 0;
      let digits = 0;
      while (/[0-9a-fA-F]/.test(body[i + 1] ?? '')) {
        value = value * 16 + Number.parseInt(body[++i]!, 16);
        digits++;
        if (value >= limit) {
          report('hex escape sequence out of range');
          value %= limit;
        }
      }
      if (digits === 0) report('\\x used with no following hex digits');
      result.push(value);
    } else if (/[0-7]/.test(next)) {
      let value = Number(next);
      for (let n = 0; n < 2 && /[0-7]/.test(body[i + 1] ?? ''); n++) value = value * 8 + Number(body[++i]);
      if (value >= limit) report('octal escape sequence out of range');
      result.push(value % limit);
    } else if (next === 'u' || next === 'U') {
      const count = next === 'u' ? 4 : 8;
      const digits = body.slice(i + 1, i + 1 + count);
      if (!/^[0-9a-fA-F]+$/.test(digits) || digits.length < count)
        report('incomplete universal character name');
      else {
        i += count;
        const point = Number.parseInt(digits, 16);
        if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) report('invalid universal character');
        else pushCodePoint(result, point, width);
      }
    } else {
      // clang: a warning, the backslash is ignored.
      pushCodePoint(result, next.codePointAt(0) ?? 92, width);
    }
  }
  return result;
}

function pushCodePoint(into: number[], point: number, width: number): void {
  if (width === 4 || (width === 2 && point < 0x10000)) into.push(point);
  else if (width === 2) {
    into.push(0xd800 + ((point - 0x10000) >> 10), 0xdc00 + ((point - 0x10000) & 0x3ff));
  } else for (const byte of encoder.encode(String.fromCodePoint(point))) into.push(byte);
}

interface Quoted {
  readonly body: string;
  readonly width: number;
}

function unquote(text: string): Quoted {
  const quote = text.search(/["']/);
  const prefix = text.slice(0, quote);
  const body = text.slice(quote + 1, -1);
  return { body, width: prefix === 'L' || prefix === 'U' ? 4 : prefix === 'u' ? 2 : 1 };
}

export interface CharValue {
  readonly value: bigint;
  readonly wide: boolean;
}

/** A character constant: an int, several characters as clang packs them. */
export function readChar(text: string, report: (message: string) => void): CharValue {
  const { body, width } = unquote(text);
  const list = units(body, width, report);
  if (list.length === 0) {
    report('empty character constant');
    return { value: 0n, wide: width > 1 };
  }
  if (width > 1) return { value: BigInt(list.at(-1)!), wide: true };
  if (list.length === 1) return { value: BigInt.asIntN(8, BigInt(list[0]!)), wide: false };
  if (list.length > 4) report('character constant too long for its type');
  let value = 0n;
  for (const unit of list.slice(-4)) value = (value << 8n) | BigInt(unit);
  return { value: BigInt.asIntN(32, value), wide: false };
}

/** Adjacent string tokens joined; `bytes` has no terminator, `width` is that of one character. */
export function readStrings(
  tokens: readonly Token[],
  report: (message: string, token: Token) => void,
): { bytes: Uint8Array; width: number } {
  const parts = tokens.map((token) => unquote(token.text));
  const width = Math.max(1, ...parts.map((part) => part.width));
  const all: number[] = [];
  parts.forEach((part, i) => {
    for (const unit of units(part.body, width, (message) => report(message, tokens[i]!))) all.push(unit);
  });
  const bytes = new Uint8Array(all.length * width);
  const view = new DataView(bytes.buffer);
  all.forEach((unit, i) => {
    if (width === 1) bytes[i] = unit;
    else if (width === 2) view.setUint16(i * 2, unit, true);
    else view.setUint32(i * 4, unit, true);
  });
  return { bytes, width };
}

/** The text of string tokens, for attributes and asm templates. */
export function stringText(tokens: readonly Token[]): string {
  const { bytes } = readStrings(tokens, () => {});
  return new TextDecoder().decode(bytes);
}
