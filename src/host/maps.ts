/**
 * Map commands over bpf(2). Sizes of keys and values are checked here, because the kernel reads as many bytes as the map says,
 * however many were given.
 */
import type {
  Fd,
  MapBatchAttr,
  MapBatchResult,
  MapCreateAttr,
  MapElemAttr,
  MapUpdateAttr,
} from '../contracts/kernel.ts';
import { mapTypeById } from '../spec/index.ts';
import { UAPI_LAYOUTS } from '../uapi/index.ts';
import { alignUp, concatBytes } from '../util/bytes.ts';
import { ERRNO } from '../util/errno.ts';
import { BpfError } from '../util/errors.ts';
import type { Block, Frame } from './arena.ts';
import type { BpfCommand } from './attr.ts';
import type { FdTable, MapShape } from './fds.ts';
import type { Host } from './host.ts';
import { Struct } from './layout.ts';

const NO_KEY = 0;
/** Room for what a command writes when the map's shape is unknown, which is when it will fail. */
const UNKNOWN_SHAPE: MapShape = { keySize: 4096, valueSize: 65_536 };

export function mapCreate(host: Host, attr: MapCreateAttr): Fd {
  const { exclProgHash, ...fields } = attr;
  return host.bpf.scope((frame) => {
    const hash = exclProgHash === undefined ? undefined : frame.put(exclProgHash);
    const type = mapTypeById(attr.mapType)?.name ?? `type ${attr.mapType}`;
    checkName(attr.mapName);
    const { ret } = host.bpf.run(
      frame,
      'BPF_MAP_CREATE',
      { ...fields, exclProgHash: hash?.address, exclProgHashSize: exclProgHash?.length },
      `a map of ${type}`,
    );
    return host.fds.own(ret, { kind: 'map' });
  });
}

/** BPF_OBJ_NAME_LEN counts the NUL. A longer name is refused, as the kernel would refuse it without its NUL. */
export function checkName(name: string | undefined): void {
  if (name !== undefined && new TextEncoder().encode(name).length > 15)
    throw new BpfError('EINVAL', `the name '${name}' is longer than 15 bytes`);
  if (name?.includes('\0')) throw new BpfError('EINVAL', 'a name has no NUL');
}

export function mapLookupElem(host: Host, attr: MapElemAttr): Uint8Array | null {
  return lookup(host, 'BPF_MAP_LOOKUP_ELEM', attr);
}

export function mapLookupAndDeleteElem(host: Host, attr: MapElemAttr): Uint8Array | null {
  return lookup(host, 'BPF_MAP_LOOKUP_AND_DELETE_ELEM', attr);
}

function lookup(host: Host, command: BpfCommand, attr: MapElemAttr): Uint8Array | null {
  const shape = shapeOf(host, attr.mapFd);
  return host.bpf.scope((frame) => {
    const value = frame.room(shape.valueSize);
    const found = host.bpf.find(frame, command, {
      mapFd: attr.mapFd,
      key: keyAddress(frame, attr.key, shape),
      value: value.address,
      flags: attr.flags,
    });
    return found === null ? null : value.bytes.slice();
  });
}

export function mapUpdateElem(host: Host, attr: MapUpdateAttr): void {
  const shape = shapeOf(host, attr.mapFd);
  checkSize('value', attr.value, shape.valueSize, shape);
  host.bpf.scope((frame) => {
    host.bpf.run(frame, 'BPF_MAP_UPDATE_ELEM', {
      mapFd: attr.mapFd,
      key: keyAddress(frame, attr.key, shape),
      value: frame.put(attr.value).address,
      flags: attr.flags,
    });
  });
}

export function mapDeleteElem(host: Host, attr: MapElemAttr): void {
  const shape = shapeOf(host, attr.mapFd);
  host.bpf.scope((frame) => {
    host.bpf.run(frame, 'BPF_MAP_DELETE_ELEM', {
      mapFd: attr.mapFd,
      key: keyAddress(frame, attr.key, shape),
      flags: attr.flags,
    });
  });
}

export function mapGetNextKey(
  host: Host,
  attr: { readonly mapFd: Fd; readonly key: Uint8Array | null },
): Uint8Array | null {
  const shape = shapeOf(host, attr.mapFd);
  return host.bpf.scope((frame) => {
    const next = frame.room(shape.keySize);
    const found = host.bpf.find(frame, 'BPF_MAP_GET_NEXT_KEY', {
      mapFd: attr.mapFd,
      key: attr.key === null ? NO_KEY : keyAddress(frame, attr.key, shape),
      nextKey: next.address,
    });
    return found === null ? null : next.bytes.slice();
  });
}

export function mapLookupBatch(host: Host, attr: MapBatchAttr): MapBatchResult {
  return lookupBatch(host, 'BPF_MAP_LOOKUP_BATCH', attr);
}

export function mapLookupAndDeleteBatch(host: Host, attr: MapBatchAttr): MapBatchResult {
  return lookupBatch(host, 'BPF_MAP_LOOKUP_AND_DELETE_BATCH', attr);
}

function lookupBatch(host: Host, command: BpfCommand, attr: MapBatchAttr): MapBatchResult {
  const { keySize, valueSize } = shapeOf(host, attr.mapFd);
  return host.bpf.scope((frame) => {
    // The token is a key, or a bucket number of 4 bytes.
    const tokenSize = Math.max(keySize, 4);
    const token = frame.room(tokenSize);
    const keys = frame.room(keySize * attr.count);
    const values = frame.room(valueSize * attr.count);
    const fields = {
      inBatch: attr.inBatch == null ? 0 : padded(frame, attr.inBatch, tokenSize).address,
      outBatch: token.address,
      keys: keys.address,
      values: values.address,
      count: attr.count,
      mapFd: attr.mapFd,
      elemFlags: attr.elemFlags,
      flags: attr.flags,
    };
    const reply = host.bpf.try(frame, command, fields);
    // ENOENT: the end; what there was has been delivered.
    const end = reply.ret === -ERRNO.ENOENT;
    if (reply.ret < 0 && !end) throw host.bpf.error(command, reply.ret, fields);
    const count = reply.field('count');
    return {
      keys: split(keys, keySize, count),
      values: split(values, valueSize, count),
      outBatch: end ? null : token.bytes.slice(),
    };
  });
}

export function mapUpdateBatch(
  host: Host,
  attr: {
    readonly mapFd: Fd;
    readonly keys: readonly Uint8Array[];
    readonly values: readonly Uint8Array[];
    readonly elemFlags?: number;
  },
): number {
  const shape = shapeOf(host, attr.mapFd);
  if (attr.keys.length !== attr.values.length)
    throw new BpfError('EINVAL', `${attr.keys.length} keys, but ${attr.values.length} values`);
  for (const value of attr.values) checkSize('value', value, shape.valueSize, shape);
  return changeBatch(host, 'BPF_MAP_UPDATE_BATCH', attr, shape, attr.values);
}

export function mapDeleteBatch(
  host: Host,
  attr: { readonly mapFd: Fd; readonly keys: readonly Uint8Array[]; readonly elemFlags?: number },
): number {
  return changeBatch(host, 'BPF_MAP_DELETE_BATCH', attr, shapeOf(host, attr.mapFd), []);
}

function changeBatch(
  host: Host,
  command: BpfCommand,
  attr: { readonly mapFd: Fd; readonly keys: readonly Uint8Array[]; readonly elemFlags?: number },
  shape: MapShape,
  values: readonly Uint8Array[],
): number {
  for (const key of attr.keys) checkSize('key', key, shape.keySize, shape);
  return host.bpf.scope((frame) => {
    const fields = {
      keys: frame.put(concatBytes(attr.keys)).address,
      values: values.length === 0 ? 0 : frame.put(concatBytes(values)).address,
      count: attr.keys.length,
      mapFd: attr.mapFd,
      elemFlags: attr.elemFlags,
    };
    const reply = host.bpf.try(frame, command, fields);
    if (reply.ret < 0) {
      throw host.bpf.error(
        command,
        reply.ret,
        fields,
        `${reply.field('count')} of ${attr.keys.length} elements done`,
      );
    }
    return reply.field('count');
  });
}

export function mapFreeze(host: Host, attr: { readonly mapFd: Fd }): void {
  host.bpf.simple('BPF_MAP_FREEZE', attr);
}

/** Sizes of key and value; a shape that is large enough for anything where the descriptor is no map. */
export function shapeOf(host: Host, fd: Fd): MapShape {
  const entry = host.fds.entry(fd);
  if (entry?.shape !== undefined) return entry.shape;
  const info = mapInfoStruct(host, fd, host.fds);
  if (info === null) return UNKNOWN_SHAPE;
  const valueSize = info.u32('value_size');
  const perCpu = mapTypeById(info.u32('type'))?.perCpu === true;
  const shape = {
    keySize: info.u32('key_size'),
    valueSize: perCpu ? alignUp(valueSize, 8) * host.possibleCpus() : valueSize,
  };
  if (entry !== undefined) entry.shape = shape;
  return shape;
}

/** `struct bpf_map_info`, null where `fd` is no map. */
export function mapInfoStruct(host: Host, fd: Fd, fds: FdTable): Struct | null {
  try {
    if (fds.kind(fd) !== 'map') return null;
  } catch {
    return null;
  }
  const layout = UAPI_LAYOUTS.bpf_map_info;
  return host.bpf.scope((frame) => {
    const info = frame.room(layout.size);
    const reply = host.bpf.try(frame, 'BPF_OBJ_GET_INFO_BY_FD', {
      bpfFd: fd,
      infoLen: layout.size,
      info: info.address,
    });
    return reply.ret < 0 ? null : new Struct(layout, info.bytes.slice(0, reply.field('infoLen')));
  });
}

function keyAddress(frame: Frame, key: Uint8Array, shape: MapShape): number {
  checkSize('key', key, shape.keySize, shape);
  return key.length === 0 ? NO_KEY : frame.put(key).address;
}

function checkSize(what: string, bytes: Uint8Array, expected: number, shape: MapShape): void {
  if (shape !== UNKNOWN_SHAPE && bytes.length !== expected)
    throw new BpfError('EINVAL', `the map has a ${what} of ${expected} bytes, this one has ${bytes.length}`);
}

function padded(frame: Frame, bytes: Uint8Array, size: number): Block {
  const block = frame.room(Math.max(size, bytes.length));
  block.bytes.set(bytes);
  return block;
}

function split(block: Block, size: number, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => block.bytes.slice(i * size, (i + 1) * size));
}
