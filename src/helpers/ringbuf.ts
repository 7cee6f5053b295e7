/** Helpers on ring buffers (kernel/bpf/ringbuf.c); reserve, submit, discard and output are Wasm. */
import { MAP_HEADER } from '../maps/index.ts';
import type { HelperFamily } from './types.ts';

const { HDR_MAX_ENTRIES, RING_CONSUMER, RING_PRODUCER } = MAP_HEADER;

export const RINGBUF_HELPERS: HelperFamily = {
  bpf_ringbuf_output: ({ module }) => module.wasm.ringbuf_output,
  bpf_ringbuf_reserve: ({ module }) => module.wasm.ringbuf_reserve,
  bpf_ringbuf_submit: ({ module }) => module.wasm.ringbuf_submit,
  bpf_ringbuf_discard: ({ module }) => module.wasm.ringbuf_discard,
  // BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE, BPF_RB_CONS_POS, BPF_RB_PROD_POS; anything else is 0.
  bpf_ringbuf_query: ({ memory, returnU64, valid }) => {
    const answers: ((map: number) => bigint)[] = [
      (map) => memory.readU64(map + RING_PRODUCER) - memory.readU64(map + RING_CONSUMER),
      (map) => BigInt(memory.u32[(map + HDR_MAX_ENTRIES) >>> 2]),
      (map) => memory.readU64(map + RING_CONSUMER),
      (map) => memory.readU64(map + RING_PRODUCER),
    ];
    return (map, flags, high) => {
      const answer = high === 0 ? answers[flags] : undefined;
      returnU64(answer === undefined || !valid(map, RING_PRODUCER + 8) ? 0n : answer(map));
    };
  },
};
