/**
 * Arrays whose values are objects of the kernel: PROG_ARRAY, PERF_EVENT_ARRAY, ARRAY_OF_MAPS. User space writes an fd and reads
 * an id; a slot is a u32 (0: empty) and its object is held by a reference.
 */
import type { MapCreateParams } from '../contracts/maps.ts';
import { ERRNO } from '../util/index.ts';
import { IndexedMap } from './array.ts';
import type { MapBlocks, MapContext } from './base.ts';

/** What a slot holds: the word that programs see, the id that user space sees, and how to let go of it. */
export interface HeldObject {
  readonly word: number;
  readonly id: number;
  readonly put: () => void;
}

export abstract class FdArrayMap extends IndexedMap {
  readonly #held = new Map<number, HeldObject>();

  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks) {
    super(params, ctx, blocks, 4);
    this.setLayout({ values: this.values, stride: 4 });
  }

  /** Takes a reference to the object behind an fd, or gives -errno. */
  protected abstract resolve(fd: number): HeldObject | number;
  /** False: user space may not read the slots (ENOTSUPP). */
  protected readonly readable: boolean = true;

  override count(): number {
    return this.#held.size;
  }

  #put(index: number, object: HeldObject | undefined): boolean {
    const old = this.#held.get(index);
    if (object === undefined) this.#held.delete(index);
    else this.#held.set(index, object);
    // Other CPUs find whole what it stands for.
    Atomics.store(this.ctx.memory.u32, (this.values >>> 2) + index, object?.word ?? 0);
    old?.put();
    return old !== undefined;
  }

  override lookup(key: Uint8Array): Uint8Array | number {
    if (!this.readable) return -ERRNO.ENOTSUPP;
    const held = this.#held.get(new DataView(key.buffer, key.byteOffset).getUint32(0, true));
    if (held === undefined) return -ERRNO.ENOENT;
    const value = new Uint8Array(4);
    new DataView(value.buffer).setUint32(0, held.id, true);
    return value;
  }

  protected override updateFromUser(key: number, value: number, flags: number): number {
    if (flags !== 0) return -ERRNO.EINVAL;
    const index = this.indexAt(key);
    if (index >= this.info.maxEntries) return -ERRNO.E2BIG;
    const object = this.resolve(this.ctx.memory.i32[value >>> 2]);
    if (typeof object === 'number') return object;
    this.#put(index, object);
    return 0;
  }

  protected override deleteAt(key: number): number {
    const index = this.indexAt(key);
    if (index >= this.info.maxEntries) return -ERRNO.E2BIG;
    return this.#put(index, undefined) ? 0 : -ERRNO.ENOENT;
  }

  override releaseObjects(): void {
    for (const index of [...this.#held.keys()]) this.#put(index, undefined);
  }
}
