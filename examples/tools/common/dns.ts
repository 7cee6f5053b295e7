/** DNS messages (RFC 1035, section 4), as far as a look at the wire wants them. Any bytes may come: what is cut or wrong ends the parsing. */
import { ipv4, ipv6 } from './addresses.ts';

export interface DnsMessage {
  readonly id: number;
  readonly response: boolean;
  /** `NOERROR`, `NXDOMAIN` … */
  readonly rcode: string;
  readonly name: string;
  /** `A`, `AAAA` … */
  readonly type: string;
  /** Those that could be read: addresses, names, or `TYPE (n bytes)`. */
  readonly answers: readonly string[];
}

const HEADER = 12;
const RCODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];
const TYPES: Readonly<Record<number, string>> = {
  1: 'A',
  2: 'NS',
  5: 'CNAME',
  6: 'SOA',
  12: 'PTR',
  15: 'MX',
  16: 'TXT',
  28: 'AAAA',
  33: 'SRV',
  41: 'OPT',
  64: 'SVCB',
  65: 'HTTPS',
  255: 'ANY',
};
/** Types whose data is a name. */
const NAMES = new Set([2, 5, 12]);
/** A name has at most 255 bytes: more pointers than this are a loop. */
const MOST_JUMPS = 32;
const MOST_ANSWERS = 32;

/** Undefined for what is no message with a question. */
export function parseDns(bytes: Uint8Array): DnsMessage | undefined {
  if (bytes.length < HEADER) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const flags = view.getUint16(2);
  if (view.getUint16(4) === 0) return undefined;
  const question = readName(bytes, HEADER);
  if (question === undefined || question.end + 4 > bytes.length) return undefined;
  const rcode = flags & 0xf;
  const answers: string[] = [];
  let at = question.end + 4;
  for (let left = Math.min(view.getUint16(6), MOST_ANSWERS); left > 0; left--) {
    const owner = readName(bytes, at);
    if (owner === undefined || owner.end + 10 > bytes.length) break;
    const type = view.getUint16(owner.end);
    const length = view.getUint16(owner.end + 8);
    const data = owner.end + 10;
    if (data + length > bytes.length) break;
    answers.push(answer(bytes, type, data, length));
    at = data + length;
  }
  return {
    id: view.getUint16(0),
    response: (flags & 0x8000) !== 0,
    rcode: RCODES[rcode] ?? `RCODE${rcode}`,
    name: question.name,
    type: typeName(view.getUint16(question.end)),
    answers,
  };
}

const typeName = (type: number): string => TYPES[type] ?? `TYPE${type}`;

function answer(bytes: Uint8Array, type: number, at: number, length: number): string {
  if (type === 1 && length === 4) return ipv4(bytes.subarray(at, at + 4));
  if (type === 28 && length === 16) return ipv6(bytes.subarray(at, at + 16));
  const name = NAMES.has(type) ? readName(bytes, at)?.name : undefined;
  return name ?? `${typeName(type)} (${length} bytes)`;
}

/** A name with its compression; bytes that are no letters are shown as in zone files. */
function readName(bytes: Uint8Array, start: number): { name: string; end: number } | undefined {
  const labels: string[] = [];
  let at = start;
  let end = -1;
  for (let jumps = 0; ; ) {
    const length = bytes[at];
    if (length === undefined) return undefined;
    if (length >= 0xc0) {
      const low = bytes[at + 1];
      if (low === undefined || ++jumps > MOST_JUMPS) return undefined;
      if (end < 0) end = at + 2;
      at = ((length & 0x3f) << 8) | low;
      continue;
    }
    if (length >= 0x40 || at + 1 + length > bytes.length || labels.length > 127) return undefined;
    at += 1 + length;
    if (length === 0) return { name: labels.length === 0 ? '.' : labels.join('.'), end: end < 0 ? at : end };
    labels.push(label(bytes.subarray(at - length, at)));
  }
}

function label(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) =>
    byte > 0x20 && byte < 0x7f && byte !== 0x2e && byte !== 0x5c
      ? String.fromCharCode(byte)
      : `\\${String(byte).padStart(3, '0')}`,
  ).join('');
}
