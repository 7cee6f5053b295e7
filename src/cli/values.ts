/**
 * Keys and values as people type them: `--set MAP:KEY=VALUE`. A key or value is a number, text (enumerators, character arrays), JSON for
 * structs and arrays, an address or network (`10.66.0.0/16`, `fd00::/8`, `02:00:00:00:00:01`) or bytes (`hex:0a420000`).
 */
import type { BpfMap, BpfObject, BtfInput } from '../libbpf/index.ts';
import { concatBytes, fromHex } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import { UsageError } from './errors.ts';

export interface Assignment {
  readonly map: string;
  /** Empty for queues and stacks. */
  readonly key: string;
  readonly value: string;
}

export function parseAssignment(text: string): Assignment {
  const colon = text.indexOf(':');
  const equals = colon < 0 ? -1 : topLevel(text, '=', colon + 1);
  if (colon <= 0 || equals < 0) {
    throw new UsageError(
      `'${text}' is no map entry`,
      'write MAP:KEY=VALUE, such as counts:5=1 or blocked:10.66.0.0/16=1',
    );
  }
  return {
    map: text.slice(0, colon),
    key: text.slice(colon + 1, equals).trim(),
    value: text.slice(equals + 1).trim(),
  };
}

/** Position of a character outside of quotes and brackets. */
function topLevel(text: string, wanted: string, from: number): number {
  let depth = 0;
  let quoted = false;
  for (let i = from; i < text.length; i++) {
    const char = text[i];
    if (quoted) {
      if (char === '\\') i++;
      else if (char === '"') quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === '{' || char === '[') depth++;
    else if (char === '}' || char === ']') depth--;
    else if (char === wanted && depth === 0) return i;
  }
  return -1;
}

/** Writes one entry. What cannot be is refused with the text of the assignment. */
export function assign(object: BpfObject, { map: name, key, value }: Assignment): void {
  const map = object.findMap(name);
  try {
    const encoded = valueFor(object, map, value);
    if (map.definition.keySize === 0) map.push(encoded);
    else map.set(parseValue(key, map.definition.keySize), encoded);
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    throw new BpfError(error.code as never, `cannot set ${name}:${key}=${value}: ${error.message}`, {
      cause: error,
      hint: error.hint ?? 'structs and arrays are written as JSON, bytes as hex:…',
    });
  }
}

/** Slots of program arrays and maps of maps take the name of a program or map of the object. */
function valueFor(object: BpfObject, map: BpfMap, text: string): BtfInput {
  const fds = { prog: () => object.findProgram(text).fd, map: () => object.findMap(text).fd };
  const { holds } = map.type;
  if (holds === 'prog' || holds === 'map') return fds[holds]();
  return parseValue(text, map.definition.valueSize);
}

/** `size`: bytes of the key or value, which decides how an address is meant. */
export function parseValue(text: string, size: number): BtfInput {
  if (text.startsWith('hex:')) {
    const bytes = fromHex(text.slice(4));
    if (bytes === null) throw new UsageError(`'${text}' is not hexadecimal`);
    return bytes;
  }
  const network = /^([\da-fA-F.:]+)\/(\d{1,3})$/.exec(text);
  if (network !== null) return parseNetwork(text, network[1], Number(network[2]), size);
  const address = parseAddress(text);
  if (address !== undefined && address.length === size) return address;
  if (/^[[{"]/.test(text)) {
    try {
      return JSON.parse(text) as BtfInput;
    } catch (error) {
      throw new UsageError(`'${text}' is not JSON: ${(error as Error).message}`);
    }
  }
  if (/^-?(0x[\da-f]+|\d+)$/i.test(text)) return text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text);
  if (text === 'true' || text === 'false') return text === 'true';
  return text;
}

/** The key of an LPM trie: the length of the prefix in host byte order, then the address. */
function parseNetwork(text: string, addressText: string, length: number, size: number): Uint8Array {
  const address = parseAddress(addressText);
  if (address === undefined || length > address.length * 8)
    throw new UsageError(`'${text}' is no network`, 'write ADDRESS/LENGTH: 10.66.0.0/16 or fd00::/8');
  if (size !== 4 + address.length) {
    throw new BpfError(
      'EINVAL',
      `a network needs a key of ${4 + address.length} bytes, this map has keys of ${size}`,
    );
  }
  const prefix = new Uint8Array(4);
  new DataView(prefix.buffer).setUint32(0, length, true);
  return concatBytes([prefix, address]);
}

/** An IPv4, IPv6 or Ethernet address in network byte order; undefined where the text is none. */
export function parseAddress(text: string): Uint8Array | undefined {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) {
    const parts = text.split('.').map(Number);
    return parts.every((part) => part < 256) ? Uint8Array.from(parts) : undefined;
  }
  if (/^[\da-f]{2}(:[\da-f]{2}){5}$/i.test(text)) return fromHex(text) ?? undefined;
  return text.includes(':') ? parseIpv6(text) : undefined;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  const given = groups.flat();
  if (given.some((group) => !/^[\da-f]{1,4}$/i.test(group))) return undefined;
  if (halves.length === 2 ? given.length > 7 : given.length !== 8) return undefined;
  const middle = new Array<string>(8 - given.length).fill('0');
  const all = halves.length === 2 ? [...groups[0], ...middle, ...groups[1]] : given;
  return Uint8Array.from(
    all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]),
  );
}

/** 10.66.0.0 or fd00:0:… shortened; hex for other lengths. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return Array.from(bytes).join('.');
  if (bytes.length !== 16) return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] << 8) | bytes[2 * i + 1]).toString(16));
  const text = groups.join(':');
  const longest = [...text.matchAll(/(^|:)(0(:0)+)(?=:|$)/g)].sort((a, b) => b[0].length - a[0].length)[0];
  if (longest === undefined) return text;
  const before = text.slice(0, longest.index);
  const after = text.slice(longest.index + longest[0].length);
  return `${before}::${after.replace(/^:/, '')}`;
}
