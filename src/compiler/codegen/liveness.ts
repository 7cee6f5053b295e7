/** Which registers are alive where, and computations whose result nobody reads. */
import { FIRST_VIRTUAL, forDefs, forUses, isPure, type MFunc, type MInst } from './mir.ts';

/** Registers live at the end of each block, as bit sets. */
export function liveness(fn: MFunc): Uint32Array[] {
  const words = (fn.registers + 31) >>> 5;
  const n = fn.blocks.length;
  const gen: Uint32Array[] = [];
  const kill: Uint32Array[] = [];
  const liveIn: Uint32Array[] = [];
  const liveOut: Uint32Array[] = [];
  fn.blocks.forEach((block, i) => {
    block.id = i;
    const g = new Uint32Array(words);
    const k = new Uint32Array(words);
    for (let j = block.insts.length - 1; j >= 0; j--) {
      const mi = block.insts[j]!;
      forDefs(mi, (r) => {
        g[r >>> 5]! &= ~(1 << (r & 31));
        k[r >>> 5]! |= 1 << (r & 31);
      });
      forUses(mi, (r) => {
        g[r >>> 5]! |= 1 << (r & 31);
      });
    }
    gen.push(g);
    kill.push(k);
    liveIn.push(g.slice());
    liveOut.push(new Uint32Array(words));
  });
  const preds: number[][] = fn.blocks.map(() => []);
  for (const block of fn.blocks) for (const succ of block.succs) preds[succ.id]!.push(block.id);
  const inWork = new Uint8Array(n).fill(1);
  const work = Array.from({ length: n }, (_, i) => i);
  while (work.length > 0) {
    const at = work.pop()!;
    inWork[at] = 0;
    const out = liveOut[at]!;
    for (const succ of fn.blocks[at]!.succs) {
      const from = liveIn[succ.id]!;
      for (let w = 0; w < words; w++) out[w]! |= from[w]!;
    }
    const into = liveIn[at]!;
    const g = gen[at]!;
    const k = kill[at]!;
    let changed = false;
    for (let w = 0; w < words; w++) {
      const next = (g[w]! | (out[w]! & ~k[w]!)) >>> 0;
      if (next !== into[w]!) {
        into[w] = next;
        changed = true;
      }
    }
    if (changed) {
      for (const pred of preds[at]!) {
        if (inWork[pred] === 0) {
          inWork[pred] = 1;
          work.push(pred);
        }
      }
    }
  }
  return liveOut;
}

/** Takes out computations whose result nobody reads. */
export function removeDead(fn: MFunc): void {
  const out = liveness(fn);
  for (const block of fn.blocks) {
    const live = out[block.id]!.slice();
    const kept: MInst[] = [];
    for (let j = block.insts.length - 1; j >= 0; j--) {
      const mi = block.insts[j]!;
      let needed = !isPure(mi);
      if (!needed) {
        forDefs(mi, (r) => {
          if (r < FIRST_VIRTUAL || (live[r >>> 5]! & (1 << (r & 31))) !== 0) needed = true;
        });
      }
      if (!needed) continue;
      forDefs(mi, (r) => {
        live[r >>> 5]! &= ~(1 << (r & 31));
      });
      forUses(mi, (r) => {
        live[r >>> 5]! |= 1 << (r & 31);
      });
      kept.push(mi);
    }
    if (kept.length !== block.insts.length) block.insts = kept.reverse();
  }
}
