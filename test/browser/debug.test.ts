/** The core of debugger and coverage in a web page: bundled without Node, in headless Chromium, on an object that the page was given. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { STEPS } from '../debug/programs.ts';
import { bundle, CHROMIUM, launch } from './page.ts';

if (CHROMIUM === undefined) console.log('debugger in Chromium skipped: no Chromium in /usr/bin');

it.skipIf(CHROMIUM === undefined)(
  'steps through a run both ways, shows C values, and writes lcov',
  async () => {
    const script = bundle(`
          export { EmbeddedKernel } from './src/kernel/index.ts';
          export { BpfObject } from './src/libbpf/index.ts';
          export * from './src/debug/index.ts';
        `);
    const browser = await launch();
    try {
      const page = await browser.newPage();
      await page.addScriptTag({ content: script });
      const seen = await page.evaluate(
        (bytes) => {
          // biome-ignore lint/suspicious/noExplicitAny: the bundle's global has no types here.
          const tsbpf = (globalThis as any).tsbpf;
          const run = (observer: object): void => {
            const kernel = new tsbpf.EmbeddedKernel();
            kernel.observe(observer);
            const object = tsbpf.BpfObject.open(Uint8Array.from(bytes), { name: 'steps' });
            object.load(kernel);
            object.findProgram('steps').testRun({ dataIn: new Uint8Array(60) });
          };
          const recorder = new tsbpf.Recorder();
          run(recorder);
          const debug = new tsbpf.Debugger(recorder.finish());
          debug.addBreakpoint({ kind: 'function', name: 'classify' }, { condition: 'length > 50' });
          const stop = debug.continue();
          const args = debug.inspect.arguments();
          const back = debug.step('reverse');
          debug.delete();
          debug.addWatchpoint('total');
          const watch = debug.continue();
          const counter = new tsbpf.ExecutionCounter();
          run(counter);
          return {
            stop: [stop.reason, stop.location.function, stop.location.line],
            args,
            back: back.location.function,
            change: watch.change,
            lcov: tsbpf.lcovText(tsbpf.coverageReport(counter)),
            folded: tsbpf.foldedStacks(tsbpf.profile(counter)),
          };
        },
        Array.from(readFileSync(STEPS)),
      );
      expect(seen).toMatchObject({
        stop: ['breakpoint', 'classify', 21],
        args: [{ name: 'length', type: '__u32', value: 60 }],
        back: 'steps',
        change: { expression: 'total', before: 5, after: 11 },
      });
      expect(seen.lcov).toContain('\nDA:41,1\n');
      expect(seen.folded).toMatch(/^steps;add_round \d+$/m);
    } finally {
      await browser.close();
    }
  },
  60_000,
);
