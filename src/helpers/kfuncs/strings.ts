/** Strings in the kernel's memory: an address elsewhere is -ERANGE, unreadable memory -EFAULT, no end in 64 KiB -E2BIG. */
import { KERNEL_HI } from '../../memory/index.ts';
import { ERRNO } from '../../util/errno.ts';
import type { HelperContext } from '../types.ts';
import { type KfuncFamily, type KfuncImplementation, kfn } from './types.ts';

/** XATTR_SIZE_MAX */
const LIMIT = 65536;

/** Thrown inside of this file only. */
class Failure {
  readonly errno: number;
  constructor(errno: number) {
    this.errno = errno;
  }
}

/** The byte at `index` of the string. */
type Read = (index: number) => number;

function reader({ memory, valid }: HelperContext, low: number, high: number): Read {
  if (high >>> 0 !== KERNEL_HI >>> 0) throw new Failure(ERRNO.ERANGE);
  return (index) => {
    const at = (low >>> 0) + index;
    if (!valid(at, 1)) throw new Failure(ERRNO.EFAULT);
    return memory.u8[at]!;
  };
}

/** A function of one string and numbers. */
function one(params: string, fn: (s: Read, ...numbers: number[]) => number): KfuncImplementation {
  return kfn(`q${params}`, 's32', (ctx) => (low, high, ...numbers) => {
    try {
      return fn(reader(ctx, low, high), ...numbers);
    } catch (failure) {
      if (failure instanceof Failure) return -failure.errno;
      throw failure;
    }
  });
}

function two(params: string, fn: (a: Read, b: Read, ...numbers: number[]) => number): KfuncImplementation {
  return kfn(`qq${params}`, 's32', (ctx) => (aLow, aHigh, bLow, bHigh, ...numbers) => {
    try {
      return fn(reader(ctx, aLow, aHigh), reader(ctx, bLow, bHigh), ...numbers);
    } catch (failure) {
      if (failure instanceof Failure) return -failure.errno;
      throw failure;
    }
  });
}

/** A count of 64 bits, no greater than matters here. */
const bounded = (low: number, high: number): number => (high !== 0 ? LIMIT : Math.min(low >>> 0, LIMIT));

const lower = (c: number): number => (c >= 65 && c <= 90 ? c + 32 : c);

function compare(a: Read, b: Read, fold: (c: number) => number): number {
  for (let i = 0; i < LIMIT; i++) {
    const x = fold(a(i));
    const y = fold(b(i));
    if (x !== y) return x < y ? -1 : 1;
    if (x === 0) return 0;
  }
  return -ERRNO.E2BIG;
}

function find(s: Read, count: number, c: number): number {
  for (let i = 0; i < count; i++) {
    const at = s(i);
    if (at === (c & 0xff)) return i;
    if (at === 0) return -ERRNO.ENOENT;
  }
  return count === LIMIT ? -ERRNO.E2BIG : -ERRNO.ENOENT;
}

function length(s: Read, count: number): number {
  for (let i = 0; i < count; i++) if (s(i) === 0) return i;
  return count === LIMIT ? -ERRNO.E2BIG : count;
}

/** Bytes at the start of `s` that are in `set`, or that are not. */
function span(s: Read, set: Read, wanted: boolean): number {
  for (let i = 0; i < LIMIT; i++) {
    const c = s(i);
    if (c === 0) return i;
    let j = 0;
    for (; j < LIMIT; j++) {
      const member = set(j);
      if (member === 0 || member === c) break;
    }
    if (j === LIMIT) return -ERRNO.E2BIG;
    if ((set(j) === c) !== wanted) return i;
  }
  return -ERRNO.E2BIG;
}

function search(s: Read, part: Read, count: number): number {
  for (let i = 0; i < LIMIT; i++) {
    for (let j = 0; ; j++) {
      if (j === LIMIT) return -ERRNO.E2BIG;
      const wanted = part(j);
      if (wanted === 0) return i;
      // What has no room for the rest is not found, but an empty part is.
      if (i + j === count) return -ERRNO.ENOENT;
      const c = s(i + j);
      if (c === 0) return -ERRNO.ENOENT;
      if (c !== wanted) break;
    }
    if (i === count) return -ERRNO.ENOENT;
  }
  return -ERRNO.E2BIG;
}

export const STRING_KFUNCS: KfuncFamily = {
  bpf_strcmp: two('', (a, b) => compare(a, b, (c) => c)),
  bpf_strcasecmp: two('', (a, b) => compare(a, b, lower)),
  bpf_strnchr: one('qp', (s, low, high, c) => find(s, bounded(low!, high!), c!)),
  bpf_strchr: one('p', (s, c) => find(s, LIMIT, c!)),
  bpf_strchrnul: one('p', (s, c) => {
    for (let i = 0; i < LIMIT; i++) {
      const at = s(i);
      if (at === 0 || at === (c! & 0xff)) return i;
    }
    return -ERRNO.E2BIG;
  }),
  bpf_strrchr: one('p', (s, c) => {
    let last = -ERRNO.ENOENT;
    for (let i = 0; i < LIMIT; i++) {
      const at = s(i);
      if (at === (c! & 0xff)) last = i;
      if (at === 0) return last;
    }
    return -ERRNO.E2BIG;
  }),
  bpf_strnlen: one('q', (s, low, high) => length(s, bounded(low!, high!))),
  bpf_strlen: one('', (s) => length(s, LIMIT)),
  bpf_strspn: two('', (s, set) => span(s, set, true)),
  bpf_strcspn: two('', (s, set) => span(s, set, false)),
  bpf_strstr: two('', (s, part) => search(s, part, LIMIT)),
  bpf_strnstr: two('q', (s, part, low, high) => search(s, part, bounded(low!, high!))),
};
