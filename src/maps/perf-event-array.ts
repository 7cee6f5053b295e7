/** PERF_EVENT_ARRAY: perf events that programs write samples to. A slot is the event's number; user space cannot read it. */
import type { MapTypeImpl } from './base.ts';
import { FdArrayMap, type HeldObject } from './fd-array.ts';

class PerfEventArrayMap extends FdArrayMap {
  protected override readonly readable = false;

  protected override resolve(fd: number): HeldObject | number {
    const { resolver } = this.ctx;
    const found = resolver.perfEventByFd(fd);
    if (typeof found === 'number') return found;
    return { word: found.id, id: found.id, put: () => resolver.putPerfEvent(found.id) };
  }
}

export const PERF_EVENT_ARRAY: MapTypeImpl = {
  create: (params, ctx, blocks) => new PerfEventArrayMap(params, ctx, blocks),
  ops: () => ({}),
};
