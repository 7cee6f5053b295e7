/** Whether a program is better optimised at once, or compiled as V8 does by itself: load and runs together, by size. */
import { smallAtOnce } from '../src/host/v8-compiler.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { createLoadMaps, type LoadMaps, loadProgram } from './load-programs.ts';
import { benchPacket } from './packet.ts';

export interface Tiers {
  readonly size: number;
  /** Milliseconds from the start of the load to the end of the first and of the last run, the fastest of all rounds. */
  readonly usual: Spans;
  readonly atOnce: Spans;
}

export interface Spans {
  readonly first: number;
  readonly last: number;
}

export const TIER_RUNS = 10_000;
const SIZES = [50, 100, 150, 200, 400, 1000];

function spans(kernel: EmbeddedKernel, maps: LoadMaps, size: number, seed: number): Spans {
  const insns = loadProgram(size, maps, { seed });
  const dataIn = benchPacket();
  const started = performance.now();
  const progFd = kernel.progLoad({ progType: 6, insns, license: 'GPL' });
  kernel.progTestRun({ progFd, dataIn });
  const first = performance.now() - started;
  kernel.progTestRun({ progFd, dataIn, repeat: TIER_RUNS });
  const last = performance.now() - started;
  kernel.close(progFd);
  return { first, last };
}

/** Null where the engine lets nobody choose. */
export function measureTiers(rounds: number): Tiers[] | null {
  const compileModule = smallAtOnce(Number.POSITIVE_INFINITY);
  if (compileModule === undefined) return null;
  const sides = [new EmbeddedKernel(), new EmbeddedKernel({ compileModule })].map((kernel) => ({
    kernel,
    maps: createLoadMaps(kernel),
  }));
  const rows = SIZES.map((size) => {
    const best = sides.map(() => ({ first: Number.POSITIVE_INFINITY, last: Number.POSITIVE_INFINITY }));
    for (let round = 0; round < rounds; round++) {
      for (const [i, { kernel, maps }] of sides.entries()) {
        // Each side has programs of its own: V8 keeps code by the bytes of its module.
        const { first, last } = spans(kernel, maps, size, 1000 + 2 * round + i);
        best[i] = { first: Math.min(first, best[i]!.first), last: Math.min(last, best[i]!.last) };
      }
    }
    return { size, usual: best[0]!, atOnce: best[1]! };
  });
  for (const { kernel } of sides) kernel.shutdown();
  return rows;
}
