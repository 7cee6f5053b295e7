/**
 * The rooms that promise to run in a browser do: bundled without any `node:` module, and run in headless Chromium. The bundle
 * assembles, verifies, compiles and runs a program with a map, loads an example object into a whole embedded kernel, and compiles C.
 */
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle, CHROMIUM, launch, root } from './page.ts';

/** Drops UDP and counts by protocol. */
const PROGRAM = `#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

SEC("xdp") int drop_udp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	__u32 protocol = ip->protocol;
	__u64 one = 1, *count = bpf_map_lookup_elem(&packets, &protocol);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&packets, &protocol, &one, BPF_ANY);
	return protocol == IPPROTO_UDP ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
`;

if (CHROMIUM === undefined) console.log('runs in Chromium skipped: no Chromium in /usr/bin');

describe('bundles for the browser', () => {
  it.each([
    'asm',
    'btf',
    'object',
    'verifier',
    'jit',
    'interpreter',
    'maps',
    'kernel',
    'libbpf',
    'capture',
    'debug',
  ])('%s needs no module of Node', async (room) => {
    const text = bundle(`export * from './src/${room}/index.ts';`);
    expect(text.length).toBeGreaterThan(1000);
    expect(text).not.toMatch(/require\("node:|from "node:/);
  });
});

describe.skipIf(CHROMIUM === undefined)('in Chromium', () => {
  let server: Server;
  let url: string;

  beforeAll(async () => {
    const script = bundle(`
      export { EmbeddedKernel } from './src/kernel/index.ts';
      export { BpfObject } from './src/libbpf/index.ts';
      export { parseStrace } from './src/capture/index.ts';
      export { builtinHeader, compile, formatDiagnostics } from './src/compiler/index.ts';
    `);
    const files: Record<string, Uint8Array | string> = {
      '/': '<!doctype html><script src="/bundle.js"></script>',
      '/bundle.js': script,
      '/count.o': readFileSync(`${root}/examples/objects/count_by_user.bpf.o`),
      '/commands.strace': readFileSync(`${root}/examples/inputs/commands.strace`),
    };
    server = createServer((request, response) => {
      const file = files[request.url ?? ''];
      response.writeHead(file === undefined ? 404 : 200, {
        'content-type':
          request.url === '/'
            ? 'text/html'
            : request.url?.endsWith('.js')
              ? 'text/javascript'
              : 'application/octet-stream',
      });
      response.end(file);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });

  afterAll(() => {
    server?.close();
  });

  it.each([0, 1])('counts system calls of a recording (bpf_jit_enable = %i)', async (jit) => {
    const browser = await launch();
    try {
      const page = await browser.newPage();
      await page.goto(url);
      const counts = await page.evaluate(async (enable) => {
        // biome-ignore lint/suspicious/noExplicitAny: the bundle's global has no types here.
        const { EmbeddedKernel, BpfObject, parseStrace } = (globalThis as any).tsbpf;
        const load = async (path: string) => new Uint8Array(await (await fetch(path)).arrayBuffer());
        const kernel = new EmbeddedKernel();
        kernel.simulator.setSysctl('net.core.bpf_jit_enable', enable);
        const object = BpfObject.open(await load('/count.o')).load(kernel);
        object.attach();
        const { events } = parseStrace(await load('/commands.strace'));
        for (const event of events) kernel.simulator.fire(event);
        const entries = [...object.findMap('calls_by_uid').entries()].map(([uid, count]) => [
          Number(uid),
          Number(count),
        ]);
        const enters = events.filter((event: { kind: string }) => event.kind === 'syscall_enter').length;
        return { entries, enters };
      }, jit);
      expect(counts.entries.reduce((sum, [, count]) => sum + count, 0)).toBe(counts.enters);
      expect(counts.entries.map(([uid]) => uid).sort((a, b) => a - b)).toEqual([0, 1000]);
    } finally {
      await browser.close();
    }
  });

  it('compiles, verifies and runs a C program with no server behind it', async () => {
    const browser = await launch();
    try {
      const page = await browser.newPage();
      await page.goto(url);
      await page.context().setOffline(true);
      const seen = await page.evaluate(
        ([text, broken]) => {
          // biome-ignore lint/suspicious/noExplicitAny: the bundle's global has no types here.
          const { EmbeddedKernel, BpfObject, builtinHeader, compile, formatDiagnostics } = (globalThis as any)
            .tsbpf;
          const build = (source: string) =>
            compile({
              files: { read: () => undefined },
              main: 'page.bpf.c',
              text: source,
              options: { builtinHeader },
            });
          const { object: bytes } = build(text);
          const object = BpfObject.open(bytes, { name: 'page' }).load(new EmbeddedKernel());
          const program = object.programs[0];
          const verdicts = [6, 17].map((protocol) => {
            const packet = new Uint8Array(64);
            packet.set([8, 0, 0x45], 12);
            packet[23] = protocol;
            return program.testRun({ dataIn: packet }).retval;
          });
          const counts = [...object.findMap('packets').entries()].map(([key, count]) => [
            Number(key),
            Number(count),
          ]);
          const failed = build(broken);
          return { verdicts, counts, errors: formatDiagnostics(failed.sources, failed.diagnostics) };
        },
        [PROGRAM, PROGRAM.replace('protocol == IPPROTO_UDP', 'protocl == IPPROTO_UDP')] as const,
      );
      expect(seen.verdicts).toEqual([2, 1]);
      expect(seen.counts.sort()).toEqual(
        [
          [6, 1],
          [17, 1],
        ].sort(),
      );
      expect(seen.errors).toMatch(/page\.bpf\.c:\d+:\d+: error: .*protocl/);
    } finally {
      await browser.close();
    }
  });
});
