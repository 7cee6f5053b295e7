/** ARRAY_OF_MAPS: a slot is the offset of an inner map's header; replacing it is one store. */
import type { MapTypeImpl } from './base.ts';
import { FdArrayMap, type HeldObject } from './fd-array.ts';
import { resolveInner } from './inner-map.ts';

class ArrayOfMaps extends FdArrayMap {
  protected override resolve(fd: number): HeldObject | number {
    return resolveInner(this.ctx, this.info.inner, fd);
  }
}

export const ARRAY_OF_MAPS: MapTypeImpl = {
  create: (params, ctx, blocks) => new ArrayOfMaps(params, ctx, blocks),
  ops: (wasm) => ({ lookup: wasm.array_of_maps_lookup }),
};
