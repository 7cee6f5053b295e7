/**
 * From the printed arguments of a system call to what lay in registers and user memory. Strings, argument vectors, socket
 * addresses, times and small integers behind pointers are laid out as Linux has them. A pointer whose contents strace did
 * not print becomes an address that cannot be read: a probe of it fails with -EFAULT and does not see made-up bytes.
 */
import type { SyscallArg } from '../../contracts/events.ts';
import { USER_HI } from '../../memory/address.ts';
import { concatBytes } from '../../util/bytes.ts';
import { closingBracket, own, readNumber, readString, splitArguments } from './text.ts';

/** In the user half, where no memory ever lies. */
const NOT_RECORDED = (BigInt(USER_HI) << 32n) | 0xffff_f000n;
const NUL = new Uint8Array(1);
const MAX_ARGS = 6;

/** System calls whose printed order is not that of their registers: name of the argument → register. */
const REGISTER_ORDER: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  clone: { flags: 0, child_stack: 1, parent_tid: 2, parent_tidptr: 2, child_tid: 3, child_tidptr: 3, tls: 4 },
};

const ZERO: SyscallArg = { kind: 'value', value: 0n };

export function readArguments(syscall: string, text: string): SyscallArg[] {
  const order = own(REGISTER_ORDER, syscall);
  const args: SyscallArg[] = [];
  for (const part of splitArguments(text)) {
    if (part === '') continue;
    const named = /^([a-z_]\w*)=(?!=)/.exec(part);
    const arg = readArgument(named === null ? part : part.slice(named[0].length));
    const at =
      (named !== null && order !== undefined ? own(order, named[1]) : undefined) ??
      (order === undefined ? args.length : undefined);
    if (at !== undefined && at < MAX_ARGS) args[at] = arg;
  }
  return Array.from({ length: args.length }, (_, i) => args[i] ?? ZERO);
}

function readArgument(text: string): SyscallArg {
  const string = readString(text);
  // Behind a pointer to text there is a NUL, but not where strace cut it.
  if (string !== null) {
    const cut = string.rest.startsWith('...');
    return { kind: 'memory', bytes: cut ? string.bytes : concatBytes([string.bytes, NUL]) };
  }
  if (text.startsWith('[')) return readList(text);
  if (text.startsWith('{')) {
    const bytes = readStruct(text);
    return bytes === null ? { kind: 'value', value: NOT_RECORDED } : { kind: 'memory', bytes };
  }
  const value = readNumber(text);
  return { kind: 'value', value: value ?? NOT_RECORDED };
}

/** `["a", "b"]` is a vector of strings, `[16]` and `[128 => 16]` point to integers. */
function readList(text: string): SyscallArg {
  const end = closingBracket(text, 0);
  const items = splitArguments(text.slice(1, end < 0 ? text.length : end)).filter(
    (item) => item !== '' && item !== '...',
  );
  const strings = items.map((item) => readString(item)?.bytes);
  if (items.length > 0 && strings.every((bytes) => bytes !== undefined))
    return { kind: 'strings', strings: strings as Uint8Array[] };
  const numbers = items.map((item) => readNumber(item.split('=>')[0].trim()));
  if (numbers.length === 0 || numbers.length > 1024 || numbers.some((number) => number === null)) {
    return { kind: 'value', value: NOT_RECORDED };
  }
  const bytes = new Uint8Array(4 * numbers.length);
  const view = new DataView(bytes.buffer);
  numbers.forEach((number, i) => {
    view.setUint32(4 * i, Number(BigInt.asUintN(32, number!)), true);
  });
  return { kind: 'memory', bytes };
}

function readStruct(text: string): Uint8Array | null {
  const end = closingBracket(text, 0);
  if (end < 0) return null;
  const fields = new Map<string, string>();
  const items = splitArguments(text.slice(1, end));
  for (const item of items) {
    const field = /^(\w+)=(.*)$/s.exec(item);
    if (field !== null) fields.set(field[1], field[2]);
  }
  const layout = STRUCTS.find((one) => fields.has(one.key));
  return layout?.read(fields, items) ?? null;
}

type Fields = ReadonlyMap<string, string>;

/** Structs that are laid out, by a field that only they have. */
const STRUCTS: readonly {
  key: string;
  read: (fields: Fields, items: readonly string[]) => Uint8Array | null;
}[] = [
  { key: 'sa_family', read: readSocketAddress },
  { key: 'tv_sec', read: readTime },
];

const FAMILIES: Readonly<Record<string, (fields: Fields, items: readonly string[]) => Uint8Array | null>> = {
  AF_INET: (fields) => {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, 2, true);
    view.setUint16(2, numberIn(fields.get('sin_port')), true);
    const address = /"([\d.]+)"/.exec(fields.get('sin_addr') ?? '')?.[1];
    address?.split('.').forEach((part, i) => {
      if (i < 4) bytes[4 + i] = Number(part);
    });
    return bytes;
  },
  AF_INET6: (fields, items) => {
    const bytes = new Uint8Array(28);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, 10, true);
    view.setUint16(2, numberIn(fields.get('sin6_port')), true);
    view.setUint32(4, numberIn(fields.get('sin6_flowinfo')), true);
    const address = /"([0-9a-fA-F:.]+)"/.exec(items.find((item) => item.includes('inet_pton')) ?? '')?.[1];
    if (address !== undefined) bytes.set(ipv6Bytes(address), 8);
    view.setUint32(24, numberIn(fields.get('sin6_scope_id')), true);
    return bytes;
  },
  AF_UNIX: (fields) => {
    const bytes = new Uint8Array(110);
    new DataView(bytes.buffer).setUint16(0, 1, true);
    const abstract = fields.get('sun_path')?.startsWith('@') === true;
    const path = readString((fields.get('sun_path') ?? '""').replace(/^@/, ''))?.bytes ?? new Uint8Array();
    bytes.set(path.subarray(0, 107), abstract ? 3 : 2);
    return bytes;
  },
};

function readSocketAddress(fields: Fields, items: readonly string[]): Uint8Array | null {
  return own(FAMILIES, fields.get('sa_family') ?? '')?.(fields, items) ?? null;
}

/** struct timespec and struct timeval: two 64-bit numbers. */
function readTime(fields: Fields): Uint8Array | null {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  const seconds = readNumber(fields.get('tv_sec') ?? '');
  const fraction = readNumber(fields.get('tv_nsec') ?? fields.get('tv_usec') ?? '');
  if (seconds === null || fraction === null) return null;
  view.setBigInt64(0, BigInt.asIntN(64, seconds), true);
  view.setBigInt64(8, BigInt.asIntN(64, fraction), true);
  return bytes;
}

function numberIn(text: string | undefined): number {
  return Number(BigInt.asUintN(32, readNumber(text ?? '0') ?? 0n));
}

/** The 16 bytes of an IPv6 address in text form; what is malformed reads as zeros. */
function ipv6Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  const words = (part: string) =>
    part === ''
      ? []
      : part.split(':').flatMap((word) => {
          const v4 = word.split('.').map(Number);
          return v4.length === 4
            ? [(v4[0] << 8) | v4[1], (v4[2] << 8) | v4[3]]
            : [Number.parseInt(word, 16) || 0];
        });
  const [head, tail] = text.split('::');
  const first = words(head);
  const last = tail === undefined ? [] : words(tail);
  const all = [...first, ...new Array(Math.max(0, 8 - first.length - last.length)).fill(0), ...last].slice(
    0,
    8,
  );
  all.forEach((word: number, i) => {
    bytes[2 * i] = word >> 8;
    bytes[2 * i + 1] = word & 0xff;
  });
  return bytes;
}
