/**
 * rtnetlink(7): one request, its answers, in the wire format of linux/netlink.h. The socket lives for one exchange; the kernel
 * answers before write(2) returns, so reading does not wait.
 */
import { closeSync, readSync, writeSync } from 'node:fs';
import { concatBytes, readCString } from '../util/bytes.ts';
import { errnoName } from '../util/errno.ts';
import { BpfError } from '../util/errors.ts';
import { errnoText, hintFor } from './bpf.ts';
import type { Host } from './host.ts';
import { viewOf } from './layout.ts';

const AF_NETLINK = 16;
/** SOCK_RAW | SOCK_CLOEXEC */
const RAW_CLOEXEC = 3 | 0o2000000;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLMSGERR_ATTR_MSG = 1;
const HEADER = 16;
const RECEIVE = 1 << 16;
/** Nested attributes have this bit in their type. */
const NLA_TYPE_MASK = 0x3fff;

export const NLM_F = {
  REQUEST: 1,
  ACK: 4,
  ECHO: 8,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
} as const;

export interface NetlinkMessage {
  readonly type: number;
  readonly payload: Uint8Array;
}

/** The messages that came as answer, without acknowledgements. Throws what the kernel refused with, and its words. */
export function request(
  host: Host,
  what: string,
  message: { readonly type: number; readonly flags: number; readonly payload: Uint8Array },
): NetlinkMessage[] {
  const fd = host.native.call('socket', AF_NETLINK, RAW_CLOEXEC, 0);
  if (fd < 0) throw refused(-fd, what, '');
  try {
    // Older kernels without the options answer all the same, in fewer words.
    host.bpf.scope((frame) => {
      const one = frame.put(new Uint8Array([1, 0, 0, 0]));
      for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK])
        host.native.call('setsockopt', fd, SOL_NETLINK, option, one.address, 4);
    });
    const bytes = new Uint8Array(HEADER + message.payload.length);
    const view = viewOf(bytes);
    view.setUint32(0, bytes.length, true);
    view.setUint16(4, message.type, true);
    view.setUint16(6, message.flags | NLM_F.REQUEST, true);
    view.setUint32(8, 1, true);
    bytes.set(message.payload, HEADER);
    writeSync(fd, bytes);
    const dump = (message.flags & NLM_F.DUMP) === NLM_F.DUMP;
    const answers: NetlinkMessage[] = [];
    const chunk = new Uint8Array(RECEIVE);
    for (let done = false; !done; ) {
      const size = readSync(fd, chunk);
      if (size < HEADER) break;
      for (const answer of messagesIn(chunk.subarray(0, size))) {
        if (answer.type === NLMSG_ERROR) {
          checkAck(answer.payload, what);
          done ||= !dump;
        } else if (answer.type === NLMSG_DONE) done = true;
        else answers.push({ type: answer.type, payload: answer.payload.slice() });
      }
    }
    return answers;
  } finally {
    closeSync(fd);
  }
}

function* messagesIn(bytes: Uint8Array): Generator<NetlinkMessage> {
  const view = viewOf(bytes);
  for (let at = 0; at + HEADER <= bytes.length; ) {
    const length = view.getUint32(at, true);
    if (length < HEADER || at + length > bytes.length) return;
    yield { type: view.getUint16(at + 4, true), payload: bytes.subarray(at + HEADER, at + length) };
    at += (length + 3) & ~3;
  }
}

/** `struct nlmsgerr`: the error, the header of the request, then what the kernel says in words. */
function checkAck(payload: Uint8Array, what: string): void {
  const error = viewOf(payload).getInt32(0, true);
  if (error === 0) return;
  const words = attributes(payload.subarray(4 + HEADER)).get(NLMSGERR_ATTR_MSG);
  throw refused(-error, what, words === undefined ? '' : readCString(words));
}

function refused(errno: number, what: string, words: string): BpfError {
  const code = errnoName(errno);
  return new BpfError(code, `${what}: ${words === '' ? '' : `${words}: `}${errnoText(code)}`, hintFor(code));
}

/** Type → payload; of several of a type the last. */
export function attributes(bytes: Uint8Array): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  const view = viewOf(bytes);
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > bytes.length) break;
    found.set(view.getUint16(at + 2, true) & NLA_TYPE_MASK, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

/** One attribute: its length and type, its payload, padded to 4 bytes. */
export function attribute(type: number, ...payload: readonly Uint8Array[]): Uint8Array {
  const inner = concatBytes(payload);
  const bytes = new Uint8Array((4 + inner.length + 3) & ~3);
  viewOf(bytes).setUint16(0, 4 + inner.length, true);
  viewOf(bytes).setUint16(2, type, true);
  bytes.set(inner, 4);
  return bytes;
}

export function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value, true);
  return bytes;
}
