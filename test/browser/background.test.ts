/**
 * A web worker that verifies and compiles: on a page that needs no isolation a large program is loaded while the page goes on, and runs as
 * one that was loaded at once.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle, CHROMIUM, launch } from './page.ts';

if (CHROMIUM === undefined) console.log('loads in Chromium skipped: no Chromium in /usr/bin');

describe.skipIf(CHROMIUM === undefined)('in Chromium', () => {
  let server: Server;
  let url: string;
  let browser: Browser;

  beforeAll(async () => {
    const contents = `
      export { EmbeddedKernel } from './src/kernel/index.ts';
      export { webBackgroundThreads } from './src/web-cpu-threads.ts';
      export { createLoadMaps, loadProgram } from './bench/load-programs.ts';
    `;
    const files: Record<string, string> = {
      '/': '<!doctype html><script src="/bundle.js"></script>',
      '/bundle.js': bundle(contents),
      '/worker.js': bundle({ file: 'src/background-worker.ts' }),
    };
    server = createServer((request, response) => {
      const path = request.url ?? '';
      const file = files[path];
      response.writeHead(file === undefined ? 404 : 200, {
        'content-type': path === '/' ? 'text/html' : 'text/javascript',
      });
      response.end(file);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    browser = await launch();
  });

  afterAll(async () => {
    await browser?.close();
    server?.close();
  });

  it.each(['/worker.js', '/nothing.js'])('loads with %s', async (file) => {
    const page = await browser.newPage();
    await page.goto(url);
    const seen = await page.evaluate(async (path) => {
      // biome-ignore lint/suspicious/noExplicitAny: neither the bundle's global nor the page has types here.
      const { tsbpf, Worker } = globalThis as any;
      let answers = 0;
      const start = tsbpf.webBackgroundThreads(() => {
        const worker = new Worker(path);
        worker.addEventListener('message', () => answers++);
        return worker;
      });
      const kernel = new tsbpf.EmbeddedKernel({ background: { start } });
      const maps = tsbpf.createLoadMaps(kernel);
      const attr = { progType: 6, insns: tsbpf.loadProgram(3000, maps, { seed: 4 }), license: 'GPL' };
      const progFd = await kernel.progLoadAsync(attr);
      const run = { dataIn: new Uint8Array(64).fill(3) };
      const { retval } = kernel.progTestRun({ progFd, ...run });
      const plain = new tsbpf.EmbeddedKernel();
      const again = { ...attr, insns: tsbpf.loadProgram(3000, tsbpf.createLoadMaps(plain), { seed: 4 }) };
      const expected = plain.progTestRun({ progFd: plain.progLoad(again), ...run }).retval;
      kernel.shutdown();
      return { same: retval === expected, answers };
    }, file);
    expect(seen).toEqual({ same: true, answers: file === '/worker.js' ? 2 : 0 });
  });
});
