/**
 * STACK_TRACE: call stacks under a number made of their hash (kernel/bpf/stackmap.c). Only bpf_get_stackid writes and only user
 * space reads, so the stacks do not lie in the memory of programs.
 */
import type { MapCreateParams } from '../contracts/maps.ts';
import { BPF_MAP_FLAGS } from '../uapi/index.ts';
import { ERRNO } from '../util/index.ts';
import { MapBase, type MapBlocks, type MapContext, type MapTypeImpl } from './base.ts';

/** struct bpf_stack_build_id, and its status for an address whose file is not known. */
const BUILD_ID_SIZE = 32;
const BUILD_ID_ADDRESS = 24;
const BPF_STACK_BUILD_ID_IP = 2;
const ADDRESS_SIZE = 8;

/** Compare by hash alone; replace another stack that has the same number. */
const BPF_F_FAST_STACK_CMP = 1 << 9;
const BPF_F_REUSE_STACKID = 1 << 10;

interface Bucket {
  readonly hash: number;
  readonly stack: readonly bigint[];
}

/** FNV-1a over the 32-bit halves. */
function hashOf(stack: readonly bigint[]): number {
  let hash = 0x811c_9dc5;
  for (const address of stack) {
    hash = Math.imul(hash ^ Number(address & 0xffff_ffffn), 0x0100_0193);
    hash = Math.imul(hash ^ Number((address >> 32n) & 0xffff_ffffn), 0x0100_0193);
  }
  // The low bits, which number the buckets, must depend on all.
  return (hash ^ (hash >>> 15)) >>> 0;
}

function roundUpToPowerOfTwo(value: number): number {
  let power = 1;
  while (power < value) power *= 2;
  return power;
}

export class StackTraceMap extends MapBase {
  readonly #buckets = new Map<number, Bucket>();
  readonly #count: number;
  readonly #elementSize: number;

  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks) {
    super(params, ctx, blocks);
    this.#count = roundUpToPowerOfTwo(params.maxEntries);
    const byBuildId = (params.flags & BPF_MAP_FLAGS.BPF_F_STACK_BUILD_ID) !== 0;
    this.#elementSize = byBuildId ? BUILD_ID_SIZE : ADDRESS_SIZE;
  }

  /** Most addresses of one stack. */
  get depth(): number {
    return this.info.valueSize / this.#elementSize;
  }

  /** The number of a stack, innermost address first: >= 0, or -EEXIST where another stack has its place. */
  record(stack: readonly bigint[], flags: number): number {
    const kept = stack.slice(0, this.depth);
    const hash = hashOf(kept);
    const id = hash % this.#count;
    const before = this.#buckets.get(id);
    if (before?.hash === hash) {
      if ((flags & BPF_F_FAST_STACK_CMP) !== 0) return id;
      if (before.stack.length === kept.length && kept.every((address, i) => address === before.stack[i]))
        return id;
    }
    if (before !== undefined && (flags & BPF_F_REUSE_STACKID) === 0) return -ERRNO.EEXIST;
    if (before === undefined && this.#buckets.size >= this.info.maxEntries) return -ERRNO.ENOMEM;
    this.#buckets.set(id, { hash, stack: kept });
    return id;
  }

  override lookup(key: Uint8Array): Uint8Array | number {
    const bucket = this.#buckets.get(idOf(key));
    if (bucket === undefined) return -ERRNO.ENOENT;
    const value = new Uint8Array(this.info.valueSize);
    const view = new DataView(value.buffer);
    bucket.stack.forEach((address, i) => {
      const at = i * this.#elementSize;
      if (this.#elementSize === ADDRESS_SIZE) {
        view.setBigUint64(at, address, true);
      } else {
        view.setInt32(at, BPF_STACK_BUILD_ID_IP, true);
        view.setBigUint64(at + BUILD_ID_ADDRESS, address, true);
      }
    });
    return value;
  }

  override update(): number {
    return this.frozen ? -ERRNO.EPERM : -ERRNO.EINVAL;
  }

  override delete(key: Uint8Array): number {
    if (this.frozen) return -ERRNO.EPERM;
    const id = idOf(key);
    if (id >= this.#count) return -ERRNO.E2BIG;
    return this.#buckets.delete(id) ? 0 : -ERRNO.ENOENT;
  }

  /** By rising number; after a key that cannot be, from the start. */
  override nextKey(key: Uint8Array | null): Uint8Array | number {
    const last = key === null ? -1 : idOf(key);
    const from = last >= this.#count ? 0 : last + 1;
    let next = this.#count;
    for (const id of this.#buckets.keys()) if (id >= from && id < next) next = id;
    if (next === this.#count) return -ERRNO.ENOENT;
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, next, true);
    return bytes;
  }

  override keyAfter(key: Uint8Array): Uint8Array | number {
    return this.nextKey(key);
  }

  override count(): number {
    return this.#buckets.size;
  }
}

function idOf(key: Uint8Array): number {
  return new DataView(key.buffer, key.byteOffset).getUint32(0, true);
}

export const STACK_TRACE: MapTypeImpl = {
  create: (params, ctx, blocks) => new StackTraceMap(params, ctx, blocks),
  ops: () => ({}),
};
