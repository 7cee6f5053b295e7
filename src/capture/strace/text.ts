/** Reading strace's notation: nested brackets, quoted strings with C escapes, symbolic constants. Pure functions on text. */
import { SYSCALL_CONSTANTS } from '../../uapi/index.ts';

/** Brackets deeper than this are not looked into. */
const MAX_DEPTH = 64;
const CLOSING: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };

/** The entry of a table: names come from recordings, and must not find what all objects have. */
export function own<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/** Index behind the string literal that starts at `start` (at its opening quote), or -1 where it does not end. */
export function skipString(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '"') return i + 1;
  }
  return -1;
}

/**
 * Index of the bracket that closes the one at `start`; -1 where there is none. Brackets inside of strings and comments do
 * not count.
 */
export function closingBracket(text: string, start: number): number {
  const stack: string[] = [];
  for (let i = start; i < text.length; i++) {
    const character = text[i];
    if (character === '"') {
      const next = skipString(text, i);
      if (next < 0) return -1;
      i = next - 1;
    } else if (character === '/' && text[i + 1] === '*') {
      const end = text.indexOf('*/', i + 2);
      if (end < 0) return -1;
      i = end + 1;
    } else if (character === '\\') {
      // In the path of a descriptor (-y): 3</tmp/a\"b>.
      i++;
    } else if (CLOSING[character] !== undefined) {
      if (stack.length >= MAX_DEPTH) return -1;
      stack.push(CLOSING[character]);
    } else if (character === stack.at(-1)) {
      stack.pop();
      if (stack.length === 0) return i;
    }
  }
  return -1;
}

/** Splits at the commas that are in no bracket and no string; parts are trimmed, comments removed. */
export function splitArguments(text: string): string[] {
  const parts: string[] = [];
  let part = '';
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '"') {
      const next = skipString(text, i);
      const end = next < 0 ? text.length : next;
      part += text.slice(i, end);
      i = end - 1;
      continue;
    }
    if (character === '/' && text[i + 1] === '*') {
      const end = text.indexOf('*/', i + 2);
      i = end < 0 ? text.length : end + 1;
      continue;
    }
    if (character === '\\') {
      part += text.slice(i, i + 2);
      i++;
      continue;
    }
    if (CLOSING[character] !== undefined) depth++;
    else if (character === ')' || character === ']' || character === '}') depth--;
    if (character === ',' && depth === 0) {
      parts.push(part.trim());
      part = '';
    } else part += character;
  }
  if (part.trim() !== '' || parts.length > 0) parts.push(part.trim());
  return parts;
}

const ESCAPES: Readonly<Record<string, number>> = {
  n: 10,
  t: 9,
  r: 13,
  v: 11,
  f: 12,
  a: 7,
  b: 8,
  '\\': 92,
  '"': 34,
  "'": 39,
};

/** The bytes of the string literal at the start of `text`; null where there is none. `rest`: what follows it. */
export function readString(text: string): { bytes: Uint8Array; rest: string } | null {
  if (text[0] !== '"') return null;
  const end = skipString(text, 0);
  if (end < 0) return null;
  const body = text.slice(1, end - 1);
  const encoder = new TextEncoder();
  const bytes: number[] = [];
  for (let i = 0; i < body.length; i++) {
    if (body[i] !== '\\') {
      const point = body.codePointAt(i)!;
      if (point < 0x80) bytes.push(point);
      else {
        bytes.push(...encoder.encode(String.fromCodePoint(point)));
        if (point > 0xffff) i++;
      }
      continue;
    }
    const octal = /^[0-7]{1,3}/.exec(body.slice(i + 1, i + 4));
    const hex = /^x[0-9a-fA-F]{2}/.exec(body.slice(i + 1, i + 4));
    if (octal !== null) {
      bytes.push(Number.parseInt(octal[0], 8) & 0xff);
      i += octal[0].length;
    } else if (hex !== null) {
      bytes.push(Number.parseInt(hex[0].slice(1), 16));
      i += 3;
    } else {
      bytes.push(own(ESCAPES, body[i + 1]) ?? body.charCodeAt(i + 1) & 0xff);
      i++;
    }
  }
  return { bytes: Uint8Array.from(bytes), rest: text.slice(end) };
}

const FUNCTIONS: Readonly<Record<string, (value: bigint) => bigint>> = {
  htons: (value) => ((value & 0xffn) << 8n) | ((value >> 8n) & 0xffn),
  htonl: (value) =>
    BigInt.asUintN(
      32,
      ((value & 0xffn) << 24n) | ((value & 0xff00n) << 8n) | ((value >> 8n) & 0xff00n) | (value >> 24n),
    ),
};

/**
 * A number as strace writes it: decimal, octal, hexadecimal, symbolic constants joined by `|`, `a<<b`, `htons(n)`, a descriptor
 * with its path (`3</dev/null>`). Null where a part is not known.
 */
export function readNumber(text: string): bigint | null {
  let value = 0n;
  for (const part of text.split('|')) {
    const one = readTerm(part.trim());
    if (one === null) return null;
    value |= one;
  }
  return value;
}

function readTerm(text: string): bigint | null {
  if (text === 'NULL') return 0n;
  const call = /^(\w+)\(([^()]*)\)$/.exec(text);
  if (call !== null) {
    const inner = readTerm(call[2]);
    const apply = own(FUNCTIONS, call[1]);
    return inner === null || apply === undefined ? null : apply(inner);
  }
  const shift = /^(\w+)<<(\w+)$/.exec(text);
  if (shift !== null) {
    const left = readTerm(shift[1]);
    const right = readTerm(shift[2]);
    return left === null || right === null || right > 63n ? null : left << right;
  }
  const plain = /^(-?\w+)(?:<.*>)?$/.exec(text)?.[1];
  if (plain === undefined) return null;
  if (/^-?0[0-7]+$/.test(plain))
    return plain.startsWith('-') ? -BigInt(`0o${plain.slice(2)}`) : BigInt(`0o${plain.slice(1)}`);
  if (/^-?\d+$/.test(plain) || /^0x[0-9a-f]+$/i.test(plain)) return BigInt(plain);
  const constant = Object.hasOwn(SYSCALL_CONSTANTS, plain) ? SYSCALL_CONSTANTS[plain] : undefined;
  return constant === undefined ? null : BigInt(constant);
}
