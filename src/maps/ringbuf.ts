/**
 * RINGBUF (kernel/bpf/ringbuf.c): records of all CPUs in one ring, in Linux's page layout. The block is: header page, consumer
 * page, producer page, data, and a second data area into which records run over (see wasm/ringbuf.ts).
 */
import type { MapCreateParams } from '../contracts/maps.ts';
import { alignUp } from '../util/bytes.ts';
import { MapBase, type MapBlocks, type MapContext, type MapTypeImpl } from './base.ts';
import {
  HDR_DROPPED,
  HDR_RING_MASK,
  HDR_SIZE,
  HDR_VALUES,
  RING_BUSY,
  RING_CONSUMER,
  RING_DATA,
  RING_DISCARD,
  RING_HEADER_SIZE,
  RING_PAGE,
  RING_PRODUCER,
} from './layout.ts';

/** Where a ring lies, for whoever maps it. Offsets in the linear memory. */
export interface RingAreas {
  /** u64 positions. */
  readonly consumer: number;
  readonly producer: number;
  /** Data area; `size` more bytes follow, so that every record can be read in one piece. */
  readonly data: number;
  readonly size: number;
}

export class RingBufMap extends MapBase {
  constructor(params: MapCreateParams, ctx: MapContext, blocks: MapBlocks) {
    super(params, ctx, blocks, RING_DATA + 2 * params.maxEntries - HDR_SIZE, RING_PAGE);
    this.set(HDR_RING_MASK, params.maxEntries - 1);
    this.set(HDR_VALUES, this.address + RING_DATA);
  }

  get areas(): RingAreas {
    return {
      consumer: this.address + RING_CONSUMER,
      producer: this.address + RING_PRODUCER,
      data: this.address + RING_DATA,
      size: this.info.maxEntries,
    };
  }

  /** Records that are still being written: nobody will ever commit them, and readers would wait for them. */
  abandonReservations(): () => void {
    const { u32 } = this.ctx.memory;
    const mask = this.info.maxEntries - 1;
    const { data, consumer, producer } = this.areas;
    // Low halves of positions.
    const end = Atomics.load(u32, producer >>> 2);
    return () => {
      for (let at = Atomics.load(u32, consumer >>> 2); ((end - at) | 0) > 0; ) {
        const place = (data + (at & mask)) >>> 2;
        const word = Atomics.load(u32, place);
        if ((word & RING_BUSY) !== 0) Atomics.store(u32, place, (word & ~RING_BUSY) | RING_DISCARD);
        at = (at + alignUp((word & ~(RING_BUSY | RING_DISCARD)) + RING_HEADER_SIZE, 8)) >>> 0;
      }
    };
  }

  /** Reservations that found no room. */
  override get dropped(): number {
    return this.get(HDR_DROPPED);
  }
}

export const RINGBUF: MapTypeImpl = {
  create: (params, ctx, blocks) => new RingBufMap(params, ctx, blocks),
  ops: () => ({}),
};
