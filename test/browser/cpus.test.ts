/**
 * Web workers as CPUs: on a page that is cross-origin isolated a program runs on two of them at once, and what both count is exact. Without
 * isolation a kernel with several CPUs says what is missing.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileC } from '../cpus/stress.ts';
import { bundle, CHROMIUM, launch } from './page.ts';

if (CHROMIUM === undefined) console.log('CPUs in Chromium skipped: no Chromium in /usr/bin');

describe.skipIf(CHROMIUM === undefined)('in Chromium', () => {
  let server: Server;
  let url: string;
  let browser: Browser;

  beforeAll(async () => {
    const files: Record<string, Uint8Array | string> = {
      '/': '<!doctype html><script src="/bundle.js"></script>',
      '/bundle.js': bundle(`
        export { EmbeddedKernel } from './src/kernel/index.ts';
        export { BpfObject } from './src/libbpf/index.ts';
        export { webCpuThreads } from './src/web-cpu-threads.ts';
      `),
      '/cpu-worker.js': bundle({ file: 'src/cpu-worker.ts' }),
      '/frames.o': compileC('./frames.bpf.c'),
    };
    server = createServer((request, response) => {
      const [path = '', query] = (request.url ?? '').split('?');
      const file = files[path];
      const isolated = query !== 'alone';
      response.writeHead(file === undefined ? 404 : 200, {
        'content-type':
          path === '/' ? 'text/html' : path.endsWith('.js') ? 'text/javascript' : 'application/octet-stream',
        ...(isolated
          ? { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }
          : {}),
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

  it('two workers and the page run a program at once', async () => {
    const page = await browser.newPage();
    await page.goto(url);
    const seen = await page.evaluate(async () => {
      // biome-ignore lint/suspicious/noExplicitAny: the bundle's global has no types here.
      const { EmbeddedKernel, BpfObject, webCpuThreads } = (globalThis as any).tsbpf;
      // biome-ignore lint/suspicious/noExplicitAny: nor has the page.
      const start = webCpuThreads(() => new (globalThis as any).Worker('/cpu-worker.js'));
      const kernel = new EmbeddedKernel({ cpus: { count: 3, start }, memory: { maximumPages: 2048 } });
      await kernel.cpus.ready();
      const bytes = new Uint8Array(await (await fetch('/frames.o')).arrayBuffer());
      const object = BpfObject.open(bytes).load(kernel);
      const progFd = object.programs[0].fd;
      const attr = { progFd, dataIn: new Uint8Array(200), repeat: 50_000 };
      const results = await Promise.all([1, 2, 0].map((cpu) => kernel.cpus.testRun(cpu, attr)));
      const counts = object.findMap('own').get(0).map(Number);
      kernel.shutdown();
      return { results: results.map(({ retval }) => retval), counts };
    });
    expect(seen).toEqual({ results: [2, 2, 2], counts: [50_000, 50_000, 50_000] });
  });

  it('a page that is not isolated is told so', async () => {
    const page = await browser.newPage();
    await page.goto(`${url}?alone`);
    const message = await page.evaluate(() => {
      // biome-ignore lint/suspicious/noExplicitAny: the bundle's global has no types here.
      const { EmbeddedKernel } = (globalThis as any).tsbpf;
      try {
        new EmbeddedKernel({ cpus: { count: 2, start: () => ({ post() {}, terminate() {} }) } });
        return 'no error';
      } catch (error) {
        return `${(error as { code: string }).code} ${(error as { hint: string }).hint}`;
      }
    });
    expect(message).toMatch(/^ENOSYS .*cross-origin isolated/);
  });
});
