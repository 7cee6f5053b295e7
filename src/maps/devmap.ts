/** DEVMAP and DEVMAP_HASH: network interfaces that bpf_redirect_map sends frames to; a value is {u32 ifindex, u32 program}. */
import type { MapCreateParams } from '../contracts/maps.ts';
import { ERRNO } from '../util/index.ts';
import type { MapBlocks, MapContext, MapTypeImpl } from './base.ts';
import { HashMapBase } from './hash.ts';
import { namesProgram, RedirectSlots } from './redirect-slots.ts';

const NOEXIST = 1;
const EXIST = 2;

const isInterface = (ctx: MapContext, ifindex: number): boolean =>
  ctx.resolver.interfaceExists?.(ifindex) ?? ifindex !== 0;

class DevMap extends RedirectSlots {
  protected override check(_index: number, ifindex: number): number {
    return isInterface(this.ctx, ifindex) ? 0 : -ERRNO.EINVAL;
  }
}

class DevMapHash extends HashMapBase {
  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks) {
    super(params, ctx, blocks, { stride: 8, copies: 1 });
  }

  protected override updateFromUser(key: number, value: number, flags: number): number {
    const { memory } = this.ctx;
    const ifindex = memory.u32[value >>> 2];
    if (flags > EXIST || ifindex === 0) return -ERRNO.EINVAL;
    if ((flags & NOEXIST) !== 0 && this.findForUser(key) !== 0) return -ERRNO.EEXIST;
    if (!isInterface(this.ctx, ifindex) || namesProgram(memory.i32, value, this.info.valueSize))
      return -ERRNO.EINVAL;
    // The id of no program, whatever negative fd was given.
    if (this.info.valueSize === 8) memory.u32[(value >>> 2) + 1] = 0;
    // BPF_EXIST asks nothing here.
    return super.updateFromUser(key, value, 0);
  }

  override lookupAndDelete(): number {
    return -ERRNO.ENOTSUPP;
  }
}

export const DEVMAP: MapTypeImpl = {
  create: (params, ctx, blocks) => new DevMap(params, ctx, blocks),
  ops: (wasm) => ({ lookup: wasm.slot_lookup, redirect: wasm.slot_lookup }),
};

export const DEVMAP_HASH: MapTypeImpl = {
  create: (params, ctx, blocks) => new DevMapHash(params, ctx, blocks),
  ops: (wasm) => ({ lookup: wasm.hash_lookup_4, redirect: wasm.hash_lookup_4 }),
};
