/**
 * Links between scalar registers: registers with one id differ by known constants, so what a branch teaches about one
 * holds for the others. A link survives one addition or subtraction of a constant, in 64 bits or, where the upper half
 * is zero, in 32 (Linux 6.18: BPF_ADD_CONST64, BPF_ADD_CONST32, adjust_reg_min_max_vals, sync_linked_regs). Which
 * registers share an id and are alive is the state's business.
 */
import { addUnsynced } from './alu.ts';
import { isConstWidth, S32_MIN, type Scalar } from './scalar.ts';
import { syncBounds, zextInPlace } from './sync.ts';

export interface Link {
  /** Equal ids are linked; 0 is none. */
  readonly id: number;
  /** Width of the addition that made `delta`; 0 where there was none. */
  readonly width: 0 | 32 | 64;
  /** The register's value minus that of a register of the same id with delta 0; signed 32-bit. */
  readonly delta: number;
}

export const NO_LINK: Link = { id: 0, width: 0, delta: 0 };

const ADD = 0x00;
const SUB = 0x10;

/**
 * The link of `dst` after `dst op= src`, for every op but moves, negation and byte swaps (these end the link; a swap
 * that changes nothing, `le64` on a little-endian machine, keeps it). `before` and `src` are the operands before it.
 */
export function linkAfterAlu(link: Link, op: number, before: Scalar, src: Scalar, is64: boolean): Link {
  if (link.id === 0 || (op !== ADD && op !== SUB) || !isConstWidth(src, !is64)) return NO_LINK;
  if (link.width !== 0) return NO_LINK;
  // A constant of 64 bits must fit 32.
  if (is64 ? src.tnum.valueHi !== src.tnum.valueLo >> 31 : before.umaxHi !== 0) return NO_LINK;
  let delta = src.tnum.valueLo;
  if (op === SUB) {
    if (delta === S32_MIN) return NO_LINK;
    delta = -delta + 0;
  }
  return { id: link.id, width: is64 ? 64 : 32, delta };
}

/** What a linked register becomes. */
export interface Followed {
  readonly scalar: Scalar;
  readonly link: Link;
  /** Whether the whole register is copied, its precision mark included. */
  readonly copied: boolean;
}

/**
 * What the register with `link` becomes after `known`, of the same id, was refined; null where the two are linked by
 * additions of different width and nothing can be said.
 */
export function followLink(known: Scalar, knownLink: Link, link: Link): Followed | null {
  if (link.width !== 0 && knownLink.width !== 0 && link.width !== knownLink.width) return null;
  if ((link.width === 0 && knownLink.width === 0) || link.delta === knownLink.delta) {
    return { scalar: known, link: knownLink, copied: true };
  }
  const b = addUnsynced(known, link.delta - knownLink.delta);
  if (link.width === 32 || knownLink.width === 32) zextInPlace(b);
  syncBounds(b);
  return { scalar: b, link, copied: false };
}

/** As the log prints it between the parentheses: `id=1`, `id=1+8`, `id=1-5`; '' where there is none. */
export function formatLink(link: Link): string {
  if (link.id === 0) return '';
  const sign = link.delta >= 0 ? '+' : '';
  return link.width === 0 ? `id=${link.id}` : `id=${link.id}${sign}${link.delta}`;
}
