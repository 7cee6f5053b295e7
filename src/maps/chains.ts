/** The chains of hash tables, as walks outside of Wasm read them. Other CPUs may be changing them. */
import type { GuestMemory } from '../memory/index.ts';
import { BUCKET_SEQ, ELEM_NEXT } from './layout.ts';

/** Longer chains than this are looked at for a change while they are read: an element that moves may lead anywhere. */
const STRETCH = 64;

/** Offsets of the elements of a chain, all at one time. `head`: of its bucket. */
export function chainAt(memory: GuestMemory, head: number): number[] {
  const { u32, shared } = memory;
  const sequence = (head + BUCKET_SEQ) >>> 2;
  for (;;) {
    const seen = shared ? Atomics.load(u32, sequence) : 0;
    // Whoever changes it is done after a few instructions.
    if ((seen & 1) !== 0) continue;
    const chain: number[] = [];
    for (let elem = u32[head >>> 2]!; elem !== 0; elem = u32[(elem + ELEM_NEXT) >>> 2]!) {
      chain.push(elem);
      if (shared && chain.length % STRETCH === 0 && Atomics.load(u32, sequence) !== seen) break;
    }
    if (!shared || Atomics.load(u32, sequence) === seen) return chain;
  }
}
