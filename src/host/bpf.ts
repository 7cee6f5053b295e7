/**
 * bpf(2): values by field name in, -errno or a result out, errors with what is to be done about them.
 *
 * Invariant: no more of `union bpf_attr` is handed over than its last field that is not zero needs (and what the kernel writes
 * to), so an older kernel only meets a field that it does not know (E2BIG) when the caller has asked for it.
 */
import { getSystemErrorMap } from 'node:util';
import { BPF_CMD } from '../uapi/index.ts';
import { ERRNO, type ErrnoName, errnoName } from '../util/errno.ts';
import { BpfError, InternalError, UnsupportedFeatureError } from '../util/errors.ts';
import { Arena, type Frame } from './arena.ts';
import { type AttrField, type AttrRow, attrRow, type BpfCommand } from './attr.ts';
import { isTooNew, lackingOf } from './lacking.ts';
import { readUnsigned, viewOf, writeField } from './layout.ts';
import type { Native } from './native.ts';

/** Numbers, addresses of blocks, names. `undefined`, 0 and '' are the same: zero. */
export type AttrValues = Readonly<Record<string, number | bigint | string | undefined>>;

export interface Reply {
  /** What the system call returned: a descriptor, 0, or -errno. */
  readonly ret: number;
  /** A field as the kernel left it. */
  field(key: string): number;
  wideField(key: string): bigint;
}

const ATTR_SIZE = 168;

export class Bpf {
  readonly native: Native;
  readonly #arena: Arena;

  constructor(native: Native) {
    this.native = native;
    this.#arena = new Arena(native);
  }

  scope<T>(body: (frame: Frame) => T): T {
    return this.#arena.scope(body);
  }

  /** The command as it is: -errno in `ret` where the kernel refuses it. */
  try(frame: Frame, command: BpfCommand, values: AttrValues): Reply {
    const row = attrRow(command);
    const reply = this.#call(frame, row, values);
    if (reply.ret >= 0 || !isShapeError(reply.ret)) return reply;
    const without = this.#withoutOptional(row, values);
    return without === undefined ? reply : this.#call(frame, row, without);
  }

  /** As `try`; throws where the kernel refuses. `doing` says what was wanted, for the message. */
  run(frame: Frame, command: BpfCommand, values: AttrValues, doing?: string): Reply {
    const reply = this.try(frame, command, values);
    if (reply.ret < 0) throw this.error(command, reply.ret, values, doing);
    return reply;
  }

  /** As `run`, without memory of its own. */
  simple(command: BpfCommand, values: AttrValues, doing?: string): number {
    return this.scope((frame) => this.run(frame, command, values, doing).ret);
  }

  /** As `simple`, with null where there is no such thing (ENOENT). */
  find(frame: Frame, command: BpfCommand, values: AttrValues, doing?: string): Reply | null {
    const reply = this.try(frame, command, values);
    if (reply.ret === -ERRNO.ENOENT) return null;
    if (reply.ret < 0) throw this.error(command, reply.ret, values, doing);
    return reply;
  }

  error(command: BpfCommand, ret: number, values: AttrValues, doing?: string): BpfError {
    const code = errnoName(-ret);
    const lacking = isShapeError(ret) ? lackingOf(this.native.release, command, values) : undefined;
    if (lacking !== undefined) return new UnsupportedFeatureError(code, lacking, this.native.release);
    const what = doing === undefined ? command : `${command}: ${doing}`;
    return new BpfError(code, `${what}: ${errnoText(code)}`, hintFor(code));
  }

  #call(frame: Frame, row: AttrRow, values: AttrValues): Reply {
    const attr = frame.room(ATTR_SIZE);
    const view = viewOf(attr.bytes);
    let size = row.minSize;
    for (const key in values) {
      const value = values[key];
      if (value === undefined || value === 0 || value === 0n || value === '') continue;
      const field = row.fields.get(key);
      if (field === undefined) throw new InternalError(`${row.command} has no attribute ${key}`);
      writeField(view, field.layout, value);
      size = Math.max(size, field.layout.offset + field.layout.size);
    }
    const number = BPF_CMD[row.command as keyof typeof BPF_CMD];
    const ret = this.native.call('bpf', number, attr.address, Math.max(size, 4));
    const read = (key: string): bigint => readUnsigned(view, knownField(row, key).layout);
    return { ret, field: (key) => Number(read(key)), wideField: read };
  }

  /** Without the fields that this kernel is too old for and that may be missing; undefined where there are none. */
  #withoutOptional(row: AttrRow, values: AttrValues): AttrValues | undefined {
    const kept: Record<string, number | bigint | string | undefined> = {};
    let dropped = false;
    for (const [key, value] of Object.entries(values)) {
      const field = knownField(row, key);
      if (value && field.optional && isTooNew(this.native.release, field)) dropped = true;
      else kept[key] = value;
    }
    return dropped ? kept : undefined;
  }
}

function knownField(row: AttrRow, key: string): AttrField {
  const field = row.fields.get(key);
  if (field === undefined) throw new InternalError(`${row.command} has no attribute ${key}`);
  return field;
}

/** What a kernel answers that does not know a command, a type or a field. */
function isShapeError(ret: number): boolean {
  return ret === -ERRNO.E2BIG || ret === -ERRNO.EINVAL || ret === -ERRNO.ENOSYS;
}

/** `operation not permitted` */
export function errnoText(code: ErrnoName): string {
  const text = code === 'ENOTSUPP' ? undefined : getSystemErrorMap().get(-ERRNO[code])?.[1];
  return `${text ?? 'not supported'} (${code})`;
}

export function hintFor(code: ErrnoName): { hint?: string } {
  if (code !== 'EPERM' && code !== 'EACCES') return {};
  if (process.geteuid?.() !== 0)
    return { hint: 'run as root, or with CAP_BPF and what the program type needs' };
  return {};
}
