/** bpf_strncmp, bpf_strtol, bpf_strtoul (kernel/bpf/helpers.c, lib/kstrtox.c). */
import { ERRNO, S64_MAX, U64_MAX } from '../util/index.ts';
import type { HelperContext, HelperFamily } from './types.ts';

/** Most characters of a number that are looked at. */
const MAX_DIGITS = 63;
const BASES = [0, 8, 10, 16];

interface Parsed {
  readonly magnitude: bigint;
  readonly negative: boolean;
  readonly consumed: number;
}

const isSpace = (c: number): boolean => (c >= 9 && c <= 13) || c === 32 || c === 160;
const lower = (c: number): number => (c >= 65 && c <= 90 ? c + 32 : c);

function digit(c: number): number {
  if (c >= 48 && c <= 57) return c - 48;
  const letter = lower(c);
  return letter >= 97 && letter <= 102 ? letter - 87 : 99;
}

/** White space, a minus sign, and digits of the base (0: C's prefixes decide). -EINVAL, -ERANGE beyond 64 bits. */
export function parseInteger(text: Uint8Array, flags: number, high: number): Parsed | number {
  let base = flags & 0x1f;
  if (text.length === 0 || !BASES.includes(base) || (flags & ~0x1f) !== 0 || high !== 0) return -ERRNO.EINVAL;
  let start = 0;
  while (start < text.length && isSpace(text[start])) start++;
  const negative = start < text.length && text[start] === 0x2d;
  if (negative) start++;
  if (start === text.length) return -ERRNO.EINVAL;
  const rest = text.subarray(start, start + MAX_DIGITS);
  const hexPrefix = rest[0] === 0x30 && lower(rest[1] ?? 0) === 0x78;
  if (base === 0) base = rest[0] !== 0x30 ? 10 : hexPrefix && digit(rest[2] ?? 0) < 16 ? 16 : 8;
  let at = base === 16 && hexPrefix ? 2 : 0;
  const first = at;
  let magnitude = 0n;
  for (; at < rest.length; at++) {
    const value = digit(rest[at]);
    if (value >= base) break;
    magnitude = magnitude * BigInt(base) + BigInt(value);
  }
  if (magnitude > U64_MAX) return -ERRNO.ERANGE;
  if (at === first) return -ERRNO.EINVAL;
  return { magnitude, negative, consumed: start + at };
}

function number(ctx: HelperContext, value: (parsed: Parsed) => bigint | number) {
  return (buffer: number, size: number, flags: number, high: number, result: number): number => {
    if (!ctx.valid(buffer, size) || !ctx.valid(result, 8)) return -ERRNO.EFAULT;
    ctx.memory.writeU64(result, 0n);
    const parsed = parseInteger(ctx.memory.read(buffer, size), flags, high);
    if (typeof parsed === 'number') return parsed;
    const converted = value(parsed);
    if (typeof converted === 'number') return converted;
    ctx.memory.writeU64(result, converted);
    return parsed.consumed;
  };
}

export const STRING_HELPERS: HelperFamily = {
  bpf_strncmp: ({ module }) => module.wasm.strncmp,
  bpf_strtol: (ctx) =>
    number(ctx, ({ magnitude, negative }) => {
      if (magnitude > S64_MAX + (negative ? 1n : 0n)) return -ERRNO.ERANGE;
      return negative ? -magnitude : magnitude;
    }),
  bpf_strtoul: (ctx) => number(ctx, ({ magnitude, negative }) => (negative ? -ERRNO.EINVAL : magnitude)),
};
