/** For bench:load: how long a load keeps everything else on its thread waiting, plain and with a background thread. */
import process from 'node:process';
import { CodeCache, createJit } from '../src/jit/index.ts';
import { EmbeddedKernel } from '../src/kernel/index.ts';
import { backgroundThreads } from '../test/kernel/background-threads.ts';
import { createLoadMaps, loadProgram } from './load-programs.ts';

const XDP = 6;

/** Milliseconds by the clock, the best round of each. */
export interface Blocking {
  readonly size: number;
  /** A plain load: all of it is waiting. */
  readonly plain: number;
  readonly later: number;
  /** The longest time between two turns of the event loop while the load is under way. */
  readonly blocked: number;
}

/** `performance.now` may count something else here. */
const clock = (): number => Number(process.hrtime.bigint()) / 1e6;

async function watched(load: () => Promise<unknown>): Promise<{ later: number; blocked: number }> {
  const began = clock();
  let last = began;
  let blocked = 0;
  let loading = true;
  const turn = () => {
    const now = clock();
    blocked = Math.max(blocked, now - last);
    last = now;
    if (loading) setImmediate(turn);
  };
  setImmediate(turn);
  await load();
  loading = false;
  turn();
  return { later: last - began, blocked };
}

export async function measureBlocking(sizes: readonly number[], rounds: number): Promise<Blocking[]> {
  const kernel = new EmbeddedKernel({
    background: { start: backgroundThreads() },
    engines: { jit: createJit({ cache: new CodeCache({ maxPrograms: 0 }) }) },
  });
  const maps = createLoadMaps(kernel);
  const rows = sizes.map((size) => ({ size, plain: Infinity, later: Infinity, blocked: Infinity }));
  // The thread's V8 has to get to know our code, too.
  for (let round = -4; round < rounds * 2; round++) {
    for (const row of rows) {
      const program = (seed: number) => ({
        progType: XDP,
        insns: loadProgram(row.size, maps, { seed }),
        license: 'GPL',
      });
      const [plain, given] = [program(1000 + round), program(2000 + round)];
      const began = clock();
      kernel.close(kernel.progLoad(plain));
      const taken = clock() - began;
      const { later, blocked } = await watched(async () => kernel.close(await kernel.progLoadAsync(given)));
      if (round < 0) continue;
      row.plain = Math.min(row.plain, taken);
      row.later = Math.min(row.later, later);
      row.blocked = Math.min(row.blocked, blocked);
    }
  }
  kernel.shutdown();
  return rows;
}
