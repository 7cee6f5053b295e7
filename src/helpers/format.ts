/**
 * The format strings of bpf_trace_printk, bpf_snprintf and their kin: what bpf_bprintf_prepare (kernel/bpf/helpers.c) lets
 * through, printed as bstr_printf (lib/vsprintf.c) does. Linux gathers the arguments in a buffer of 512 bytes first; its
 * size is felt (-ENOSPC, cut strings), so it is kept account of.
 */
import { ERRNO, utf8 } from '../util/index.ts';

const BIN_ARGS = 512;
/** Widths are 24-bit signed numbers. */
const MAX_WIDTH = (1 << 23) - 1;

export interface FormatAccess {
  /** Bytes of a kernel object, null on a fault. */
  kernelBytes(address: bigint, size: number): Uint8Array | null;
  /** Text before the NUL, at most `limit` - 1 bytes, null on a fault. `s` takes either kind of address. */
  text(kind: 's' | 'k' | 'u', address: bigint, limit: number): Uint8Array | null;
  /** Name of a kernel symbol for %ps, %pS and %pB. */
  symbol(kind: 's' | 'S' | 'B', address: bigint): string;
}

// The kernel's ctype is Latin-1.
const isSpace = (c: number): boolean => (c >= 9 && c <= 13) || c === 32 || c === 160;
const isDigit = (c: number): boolean => c >= 48 && c <= 57;
const isAlnum = (c: number): boolean =>
  isDigit(c) || (c >= 65 && c <= 90) || (c >= 97 && c <= 122) || (c >= 192 && c !== 215 && c !== 247);
const isPunct = (c: number): boolean =>
  (c > 32 && c < 127 && !isAlnum(c)) || (c >= 161 && c <= 191) || c === 215 || c === 247;
const endsWord = (c: number): boolean => c === 0 || isSpace(c) || isPunct(c);

/** Output of bounded size that counts what it would have been: the contract of vsnprintf. */
class Output {
  readonly bytes: Uint8Array;
  length = 0;

  constructor(room: number) {
    this.bytes = new Uint8Array(room);
  }
  push(byte: number): void {
    if (this.length < this.bytes.length) this.bytes[this.length] = byte;
    this.length++;
  }
  write(text: Uint8Array): void {
    if (this.length < this.bytes.length)
      this.bytes.set(text.subarray(0, this.bytes.length - this.length), this.length);
    this.length += text.length;
  }
  pad(byte: number, count: number): void {
    if (count <= 0) return;
    if (this.length < this.bytes.length)
      this.bytes.fill(byte, this.length, Math.min(this.bytes.length, this.length + count));
    this.length += count;
  }
}

interface Spec {
  left: boolean;
  plus: boolean;
  space: boolean;
  zero: boolean;
  /** -1: none given. */
  width: number;
}

const SPACE = 32;
const ZERO = 48;

function justified(out: Output, text: Uint8Array, spec: Spec): void {
  if (!spec.left) out.pad(SPACE, spec.width - text.length);
  out.write(text);
  if (spec.left) out.pad(SPACE, spec.width - text.length);
}

function number(out: Output, digits: string, sign: string, spec: Spec): void {
  const text = utf8(digits);
  const missing = spec.width - sign.length - text.length;
  const zero = spec.zero && !spec.left;
  if (!spec.left && !zero) out.pad(SPACE, missing);
  out.write(utf8(sign));
  if (zero) out.pad(ZERO, missing);
  out.write(text);
  if (spec.left) out.pad(SPACE, missing);
}

/** The conversions of %d %i %u %x %X of `bits` bits. */
function integer(out: Output, conversion: string, bits: number, value: bigint, spec: Spec): void {
  if (conversion === 'x' || conversion === 'X' || conversion === 'u') {
    const plain = BigInt.asUintN(bits, value);
    const digits = conversion === 'u' ? plain.toString() : plain.toString(16);
    number(out, conversion === 'X' ? digits.toUpperCase() : digits, '', spec);
    return;
  }
  const signed = BigInt.asIntN(bits, value);
  const sign = signed < 0n ? '-' : spec.plus ? '+' : spec.space ? ' ' : '';
  number(out, (signed < 0n ? -signed : signed).toString(), sign, spec);
}

function rawPointer(out: Output, value: bigint, spec: Spec): void {
  const whole = spec.width === -1 ? { ...spec, width: 16, zero: true } : spec;
  number(out, value.toString(16), '', whole);
}

/** %p hides the address: 32 bits that tell equal pointers from different ones. NULL and errors are shown as they are. */
export function hashedPointer(value: bigint): bigint {
  let x = BigInt.asUintN(64, (value ^ 0x5bd1_e995_9e37_79b9n) * 0xff51_afd7_ed55_8ccdn);
  x = BigInt.asUintN(64, (x ^ (x >> 33n)) * 0xc4ce_b9fe_1a85_ec53n);
  return (x ^ (x >> 29n)) & 0xffff_ffffn;
}

const isErrorOrNull = (value: bigint): boolean => value === 0n || value >= 0xffff_ffff_ffff_f001n;

function ipv4(bytes: Uint8Array, leadingZeros: boolean): string {
  return [...bytes].map((b) => (leadingZeros ? String(b).padStart(3, '0') : String(b))).join('.');
}

function ipv6(bytes: Uint8Array, colons: boolean): string {
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] << 8) | bytes[i + 1]).toString(16).padStart(4, '0'));
  return groups.join(colons ? ':' : '');
}

export interface Formatted {
  /** What fits in `room` - 1 bytes; the caller adds the NUL. */
  readonly text: Uint8Array;
  /** Length that the whole text has. */
  readonly length: number;
}

/**
 * Prints `args` as `fmt` (without its NUL) says, into `room` bytes. -EINVAL: a conversion that is not allowed or more
 * conversions than arguments; -ENOSPC: arguments do not fit the buffer of 512 bytes. Surplus arguments are ignored.
 */
export function bprintf(
  fmt: Uint8Array,
  args: readonly bigint[],
  room: number,
  access: FormatAccess,
): Formatted | number {
  const out = new Output(Math.max(0, room - 1));
  const at = (i: number): number => (i < fmt.length ? fmt[i] : 0);
  let used = 0;
  let next = 0;
  /** Accounts for `size` bytes of numbers. */
  const gather = (size: number): boolean => {
    used = (used + 3) & ~3;
    if (BIN_ARGS - used < size) return false;
    used += size;
    return true;
  };

  for (let i = 0; i < fmt.length; i++) {
    const c = fmt[i];
    if (c < 128 && (c < 32 || c === 127) && !isSpace(c)) return -ERRNO.EINVAL;
    if (c !== 0x25) {
      out.push(c);
      continue;
    }
    if (at(i + 1) === 0x25) {
      out.push(c);
      i++;
      continue;
    }
    if (next >= args.length) return -ERRNO.EINVAL;
    const value = BigInt.asUintN(64, args[next++]);
    i++;
    const spec: Spec = { left: false, plus: false, space: false, zero: false, width: -1 };
    for (; ; i++) {
      const flag = at(i);
      if (flag === 0x30) spec.zero = true;
      else if (flag === 0x2b) spec.plus = true;
      else if (flag === 0x2d) spec.left = true;
      else if (flag === 0x20) spec.space = true;
      else break;
    }
    if (isDigit(at(i))) {
      // A C int: it wraps, then is clamped.
      let width = 0;
      for (; isDigit(at(i)); i++) width = (Math.imul(width, 10) + at(i) - ZERO) | 0;
      spec.width = Math.max(-MAX_WIDTH, Math.min(MAX_WIDTH, width));
    }
    let conversion = String.fromCharCode(at(i));
    if (conversion === 'p') {
      const kind = String.fromCharCode(at(i + 1));
      if (endsWord(at(i + 1)) || kind === 'K' || kind === 'x' || kind === 's' || kind === 'S') {
        if (!gather(8)) return -ERRNO.ENOSPC;
        if (kind === 's' || kind === 'S') justified(out, utf8(access.symbol(kind, value)), spec);
        else rawPointer(out, kind === 'x' || isErrorOrNull(value) ? value : hashedPointer(value), spec);
      } else if ((kind === 'k' || kind === 'u') && at(i + 2) === 0x73) {
        if (!endsWord(at(i + 3))) return -ERRNO.EINVAL;
        if (used >= BIN_ARGS) return -ERRNO.ENOSPC;
        const text = access.text(kind, value, BIN_ARGS - used) ?? new Uint8Array(0);
        used += text.length + 1;
        out.write(text);
      } else if (kind === 'B') {
        const text = utf8(access.symbol('B', value));
        used += text.length + 1;
        out.write(text);
      } else if ((kind === 'i' || kind === 'I') && (at(i + 2) === 0x34 || at(i + 2) === 0x36)) {
        const size = at(i + 2) === 0x34 ? 4 : 16;
        if (BIN_ARGS - used < size) return -ERRNO.ENOSPC;
        const bytes = access.kernelBytes(value, size) ?? new Uint8Array(size);
        const text = utf8(size === 4 ? ipv4(bytes, kind === 'i') : ipv6(bytes, kind === 'I'));
        used += text.length + 1;
        out.write(text);
      } else return -ERRNO.EINVAL;
      // Letters and digits after a pointer belong to it, whether known or not.
      while (isAlnum(at(i + 1))) i++;
      continue;
    }
    if (conversion === 's') {
      if (!endsWord(at(i + 1))) return -ERRNO.EINVAL;
      if (used >= BIN_ARGS) return -ERRNO.ENOSPC;
      const text = access.text('s', value, BIN_ARGS - used) ?? new Uint8Array(0);
      used += text.length + 1;
      justified(out, text, spec);
      continue;
    }
    if (conversion === 'c') {
      if (used >= BIN_ARGS) return -ERRNO.ENOSPC;
      used++;
      justified(out, Uint8Array.of(Number(value & 0xffn)), spec);
      continue;
    }
    let bits = 32;
    for (let l = 0; l < 2 && conversion === 'l'; l++) {
      bits = 64;
      conversion = String.fromCharCode(at(++i));
    }
    if (!'diuxX'.includes(conversion)) return -ERRNO.EINVAL;
    if (!gather(bits / 8)) return -ERRNO.ENOSPC;
    integer(out, conversion, bits, value, spec);
  }
  return { text: out.bytes.subarray(0, Math.min(out.length, out.bytes.length)), length: out.length };
}
