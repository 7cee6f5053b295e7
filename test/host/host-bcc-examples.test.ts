/**
 * The examples of examples/bcc on the kernel of the machine, and in the guest: what they say of processes that the test starts. Where the
 * kernel has kprobes they hang on one, elsewhere on a tracepoint.
 */
import { spawnSync } from 'node:child_process';
import { afterAll, describe, expect, it } from 'vitest';
import { countByUser } from '../../examples/bcc/count-by-user.ts';
import type { Example } from '../../examples/bcc/example.ts';
import { attachExec } from '../../examples/bcc/exec.ts';
import { execEvents } from '../../examples/bcc/exec-events.ts';
import { hello } from '../../examples/bcc/hello.ts';
import { syscallTail } from '../../examples/bcc/syscall-tail.ts';
import { BPF } from '../../src/bcc/index.ts';
import { openHost, skipReason, WaitingChild } from './host-support.ts';

const host = await openHost();
const why = typeof host === 'string' ? skipReason('BCC examples on the host', host) : undefined;

describe.skipIf(why !== undefined)('BCC examples on the host', () => {
  if (typeof host === 'string') return;
  const kernel = host;
  afterAll(() => kernel.shutdown());

  /** Runs an example while a process becomes /bin/true, until it has printed what is looked for: the lines and the process. */
  async function run(example: Example, looked: (line: string, pid: number) => boolean) {
    const lines: string[] = [];
    const child = new WaitingChild();
    const { pid } = child;
    const events = async () => {
      await child.run();
      const found = () => lines.some((line) => looked(line, pid));
      for (let tries = 0; tries < 500 && !found(); tries++) await new Promise((done) => setTimeout(done, 20));
    };
    await example({ kernel, print: (line) => lines.push(line), events, pid });
    return { lines, pid };
  }

  it('hello prints a line for every execution', async () => {
    const { lines, pid } = await run(hello, (line, child) => line === `${child} Hello, World!`);
    // trace_pipe is everybody's: there may be lines of others in it.
    expect(lines.filter((line) => line.startsWith(`${pid} `))).toEqual([`${pid} Hello, World!`]);
  });

  it('count-by-user counts at least our own executions', async () => {
    const lines: string[] = [];
    const events = async () => {
      for (let i = 0; i < 3; i++) spawnSync('/bin/true');
    };
    await countByUser({ kernel, print: (line) => lines.push(line), events });
    const own = lines.find((line) => line.startsWith(`ID ${process.getuid?.()}: `));
    expect(Number(own?.split(' ')[2])).toBeGreaterThanOrEqual(3);
  });

  it('exec-events hands over who executes', async () => {
    const { lines, pid } = await run(execEvents, (line, child) => line.startsWith(`${child} `));
    const own = lines.filter((line) => line.startsWith(`${pid} `));
    expect(own).toContain(`${pid} ${process.getuid?.()} sh Hello World`);
  });

  it('syscall-tail jumps by the number of the call', async () => {
    if (kernel.features().arch !== 'x86_64') return;
    const { lines, pid } = await run(syscallTail, (line, child) => line === `${child} Executing a program`);
    expect(lines).toContain(`${pid} Executing a program`);
    // A shell that reads a line and becomes another program makes a few calls besides.
    const own = lines.filter((line) => line.startsWith(`${pid} `));
    expect(own.some((line) => /^\d+ Another syscall: \d+$/.test(line))).toBe(true);
  });

  it('says what it hangs on, and leaves nothing there', () => {
    const probes = () =>
      new TextDecoder().decode(kernel.files.readTracing('kprobe_events') ?? new Uint8Array());
    const before = probes();
    const b = new BPF({ kernel, text: 'int f(void *ctx) { return 0; }' });
    const place = attachExec(b, 'f');
    // Nothing makes do with a tracepoint where there are kprobes.
    const hasKprobes =
      kernel.files.read('/sys/bus/event_source/devices/kprobe/type') !== null ||
      kernel.files.readTracing('kprobe_events') !== null;
    expect(place.includes(':')).toBe(!hasKprobes);
    expect(b.numOpenKprobes() + b.numOpenTracepoints()).toBe(1);
    if (place.includes(':')) b.detachTracepoint(place);
    else b.detachKprobe(place);
    expect(b.numOpenKprobes() + b.numOpenTracepoints()).toBe(0);
    b.cleanup();
    expect(probes()).toBe(before);
  });
});
