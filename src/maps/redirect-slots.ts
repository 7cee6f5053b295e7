/**
 * What DEVMAP and CPUMAP share: an array of {u32 target, u32 program}, where target 0 is an empty slot. User space empties a
 * slot by writing 0 or deleting it. Programs on entries are not implemented: naming one is EINVAL.
 */
import type { MapCreateParams } from '../contracts/maps.ts';
import { alignUp, ERRNO } from '../util/index.ts';
import { IndexedMap } from './array.ts';
import type { MapBlocks, MapContext } from './base.ts';

const NOEXIST = 1;
const EXIST = 2;

/** The program fd of a value of 8 bytes; only positive ones name a program. */
export function namesProgram(i32: Int32Array, value: number, valueSize: number): boolean {
  return valueSize === 8 && i32[(value >>> 2) + 1] > 0;
}

export abstract class RedirectSlots extends IndexedMap {
  #used = 0;

  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks) {
    super(params, ctx, blocks, alignUp(params.valueSize, 8));
  }

  /** 0, or why `target` (not 0) may not stand at `index`. */
  protected abstract check(index: number, target: number): number;

  override count(): number {
    return this.#used;
  }

  #store(index: number, target: number): void {
    const at = (this.values + index * this.stride) >>> 2;
    const { u32 } = this.ctx.memory;
    this.#used += (target === 0 ? 0 : 1) - (u32[at] === 0 ? 0 : 1);
    u32[at] = target;
  }

  protected override findForUser(key: number): number {
    return this.ctx.module.wasm.slot_lookup(this.address, key);
  }

  protected override updateFromUser(key: number, value: number, flags: number): number {
    const index = this.indexAt(key);
    if (flags > EXIST) return -ERRNO.EINVAL;
    if (index >= this.info.maxEntries) return -ERRNO.E2BIG;
    if (flags === NOEXIST) return -ERRNO.EEXIST;
    const { i32, u32 } = this.ctx.memory;
    const target = u32[value >>> 2];
    const program = namesProgram(i32, value, this.info.valueSize);
    const refused = this.checkEntry(index, target, program);
    if (refused < 0) return refused;
    this.#store(index, target);
    return 0;
  }

  protected checkEntry(index: number, target: number, program: boolean): number {
    if (program) return -ERRNO.EINVAL;
    return target === 0 ? 0 : this.check(index, target);
  }

  protected override deleteAt(key: number): number {
    const index = this.indexAt(key);
    if (index >= this.info.maxEntries) return -ERRNO.EINVAL;
    this.#store(index, 0);
    return 0;
  }
}
