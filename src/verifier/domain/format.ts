/**
 * Text of scalars as the log of Linux 6.18 prints them: `5`, `scalar()`, `scalar(smin=0,smax=umax=255,var_off=(0x0;
 * 0xff))`. Numbers that fit 16 bits are decimal, others hex; only bounds that say something are printed, and equal
 * minima (or maxima) are printed as one.
 */
import { S32_MAX, S32_MIN, S64_MAX, S64_MIN, type Scalar, U32_MAX, U64_MAX } from './scalar.ts';
import { formatTnum, type Tnum, tnumIsConst, tnumIsUnknown } from './tnum.ts';

/** A signed 64-bit number: decimal within s16, else hex of its two's complement. */
export function formatSnum(n: bigint): string {
  const signed = BigInt.asIntN(64, n);
  return signed >= -32768n && signed <= 32767n
    ? signed.toString()
    : `0x${BigInt.asUintN(64, n).toString(16)}`;
}

/** An unsigned 64-bit number: decimal up to 65535, else hex. */
export function formatUnum(n: bigint): string {
  return n >= 0n && n <= 65535n ? n.toString() : `0x${BigInt.asUintN(64, n).toString(16)}`;
}

/** A tnum as a `var_off=` or in a message: a plain number where it is constant. */
export function formatVarOff(t: Tnum): string {
  return tnumIsConst(t) ? formatUnum(t.value) : formatTnum(t);
}

interface Bound {
  readonly name: string;
  readonly value: bigint;
  readonly negative: boolean;
  omit: boolean;
}

/** A negative 32-bit bound is sign-extended only where it prints as decimal, so that hex shows 32 bits. */
function bound32(n: number): bigint {
  return n >= -32768 && n <= 32767 ? BigInt(n) : BigInt(n >>> 0);
}

function bound(name: string, raw: bigint, omit: boolean): Bound {
  const value = BigInt.asUintN(64, raw);
  return { name, value, negative: name.startsWith('s') && BigInt.asIntN(64, raw) < 0n, omit };
}

/** Only the bounds: `smin=0,smax=umax=255`; '' where none says anything. */
export function formatBounds(s: Scalar): string {
  const bounds: Bound[] = [
    bound('smin', s.smin, s.smin === S64_MIN),
    bound('smax', s.smax, s.smax === S64_MAX),
    bound('umin', s.umin, s.umin === 0n),
    bound('umax', s.umax, s.umax === U64_MAX),
    bound('smin32', bound32(s.s32min), s.s32min === S32_MIN),
    bound('smax32', bound32(s.s32max), s.s32max === S32_MAX),
    bound('umin32', BigInt(s.u32min), s.u32min === 0),
    bound('umax32', BigInt(s.u32max), s.u32max === U32_MAX),
  ];
  const parts: string[] = [];
  for (let i = 0; i < bounds.length; i++) {
    const first = bounds[i]!;
    if (first.omit) continue;
    let text = `${first.name}=`;
    // Minima stand at even places, maxima at odd ones.
    for (let j = i + 2; j < bounds.length; j += 2) {
      const other = bounds[j]!;
      if (other.omit || other.value !== first.value || other.negative !== first.negative) continue;
      other.omit = true;
      text += `${other.name}=`;
    }
    parts.push(text + (first.name.startsWith('s') ? formatSnum(first.value) : formatUnum(first.value)));
  }
  return parts.join(',');
}

/**
 * What stands between the parentheses of a scalar or of a pointer with a variable offset:
 * `smin=0,smax=umax=255,var_off=(0x0; 0xff)`; '' where nothing is known. For scalars that are not constant.
 */
export function formatRanges(s: Scalar): string {
  const bounds = formatBounds(s);
  if (tnumIsUnknown(s.tnum)) return bounds;
  const varOff = `var_off=${formatVarOff(s.tnum)}`;
  return bounds === '' ? varOff : `${bounds},${varOff}`;
}

/**
 * The whole scalar: `5`, or `scalar(id=1,smax=…)` where `attrs` (`id=1`, `id=1+8`) come first between the parentheses.
 * The `P` of a precise one is the caller's.
 */
export function formatScalar(s: Scalar, attrs = ''): string {
  if (tnumIsConst(s.tnum)) return formatSnum(s.tnum.value);
  const ranges = formatRanges(s);
  return `scalar(${attrs}${attrs !== '' && ranges !== '' ? ',' : ''}${ranges})`;
}
