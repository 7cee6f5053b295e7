/** The examples over the recording, end to end, on both engines: what programs print, count and send. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseStrace } from '../../src/capture/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject, PerfBufferReader, RingBufferReader } from '../../src/libbpf/index.ts';
import { fromUtf8 } from '../../src/util/index.ts';

const file = (path: string): Uint8Array => readFileSync(new URL(`../../examples/${path}`, import.meta.url));
const { events, epoch } = parseStrace(file('inputs/commands.strace'));
const execs = events.filter((event) => event.kind === 'syscall_enter' && event.name === 'execve');
const enters = events.filter((event) => event.kind === 'syscall_enter');

for (const jit of [1, 0])
  describe(`replay, bpf_jit_enable = ${jit}`, () => {
    const load = (name: string) => {
      const kernel = new EmbeddedKernel();
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      const object = BpfObject.open(file(`objects/${name}.bpf.o`), { name }).load(kernel);
      object.attach();
      return { kernel, object };
    };
    const replay = (kernel: EmbeddedKernel) => {
      kernel.simulator.setTime(0n, epoch);
      let runs = 0;
      for (const event of events) runs += kernel.simulator.fire(event);
      expect(kernel.simulator.oopses()).toEqual([]);
      return runs;
    };

    it('hello prints a line for each program that is executed', async () => {
      const { kernel } = load('hello');
      const lines: string[] = [];
      const stop = new AbortController();
      const reading = (async () => {
        for await (const line of kernel.tracePipe({ signal: stop.signal }))
          lines.push(`${line.comm} ${line.message}`);
      })();
      expect(replay(kernel)).toBe(execs.length);
      stop.abort();
      await reading;
      expect(lines).toHaveLength(execs.length);
      expect(lines[0]).toMatch(/^strace bpf_trace_printk: Hello, world! strace runs \/usr\/bin\/sh$/);
    });

    it('count_by_user counts calls of root and of user 1000', () => {
      const { kernel, object } = load('count_by_user');
      expect(replay(kernel)).toBe(enters.length);
      const counts = new Map([...object.findMap('calls_by_uid')] as [number, number][]);
      expect([...counts.keys()].sort()).toEqual([0, 1000]);
      expect(counts.get(0)! + counts.get(1000)!).toBe(enters.length);
      expect(counts.get(1000)).toBe(enters.filter((event) => event.process.uid === 1000).length);
    });

    it('exec_ringbuf and exec_perf tell the same of each execution', () => {
      const ring = load('exec_ringbuf');
      const perf = load('exec_perf');
      const ringReader = new RingBufferReader(
        ring.kernel,
        ring.object.maps.find((map) => map.type.name === 'ringbuf')!.fd,
      );
      const perfReader = new PerfBufferReader(
        perf.kernel,
        perf.object.maps.find((map) => map.type.name === 'perf_event_array')!.fd,
      );
      replay(ring.kernel);
      replay(perf.kernel);
      const records = ringReader.consume();
      const samples = perfReader.consume();
      expect(records).toHaveLength(execs.length);
      // A sample is padded; its contents are those of the record.
      expect(samples.map(({ data }) => data.subarray(0, records[0].length))).toEqual(records);
      expect(fromUtf8(records[0])).toContain('/usr/bin/sh');
      expect(perfReader.lost).toBe(0n);
    });

    it('syscall_tail dispatches by the number of the call', () => {
      const { kernel, object } = load('syscall_tail');
      expect(replay(kernel)).toBe(enters.length);
      const count = (name: string) =>
        enters.filter((event) => event.kind === 'syscall_enter' && event.name === name).length;
      const counters = [...object.findMap('counters').values()] as number[];
      expect(counters.slice(0, 3)).toEqual(['execve', 'openat', 'write'].map(count));
      expect(counters.reduce((sum, n) => sum + n)).toBe(enters.length);
      expect(kernel.simulator.drainTrace()).toHaveLength(execs.length);
    });

    it('gives the same again', () => {
      const run = () => {
        const { kernel } = load('hello');
        replay(kernel);
        return kernel.simulator.drainTrace();
      };
      expect(run()).toEqual(run());
    });
  });
