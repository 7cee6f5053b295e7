/** PROG_ARRAY: programs for tail calls. A slot is the number of the program's entry. */
import type { MapTypeImpl } from './base.ts';
import { FdArrayMap, type HeldObject } from './fd-array.ts';

class ProgArrayMap extends FdArrayMap {
  protected override resolve(fd: number): HeldObject | number {
    const { resolver } = this.ctx;
    const found = resolver.progEntryByFd(fd, this);
    if (typeof found === 'number') return found;
    return { word: found.entry, id: found.id, put: () => resolver.putProg(found.id) };
  }
}

export const PROG_ARRAY: MapTypeImpl = {
  create: (params, ctx, blocks) => new ProgArrayMap(params, ctx, blocks),
  ops: () => ({}),
};
