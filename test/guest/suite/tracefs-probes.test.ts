/** Probes as events of tracefs, as kernels before 4.17 want them: here the ways of perf_event_open are hidden below an empty mount. */
import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Fd } from '../../../src/contracts/kernel.ts';
import { Executable } from '../../../src/libbpf/index.ts';
import { BPF_ATTACH_TYPE } from '../../../src/uapi/index.ts';
import { Victim } from '../../host/attach-support.ts';
import { Child, eventually, failure, kernel, load, R1, R6, R7, Record, slot, watching } from './support.ts';

const TRACING = '/sys/kernel/tracing';
const PMUS = '/sys/bus/event_source/devices';
const VICTIM = '/app/test/host/objects/victim';
const FILE = '/tmp/by-tracefs';
const DI = 112;

const attach = (progFd: Fd, event: Fd): Fd =>
  kernel.linkCreate({ progFd, targetFd: event, attachType: BPF_ATTACH_TYPE.BPF_PERF_EVENT });
const events = (): string =>
  ['kprobe_events', 'uprobe_events'].map((file) => readFileSync(`${TRACING}/${file}`, 'utf8')).join('');

describe('probes by tracefs', () => {
  const gone = spawnSync('true').pid;
  beforeAll(() => {
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', PMUS]);
    // What a process that was killed has left.
    appendFileSync(`${TRACING}/kprobe_events`, `p:tsbpf_${gone}/kprobe0 vfs_statx\n`);
    expect(events()).toContain(`tsbpf_${gone}/`);
  });
  afterAll(() => void execFileSync('umount', [PMUS]));
  afterEach(() => kernel.shutdown());

  it('kprobe and kretprobe: arguments; the events go with their descriptors', async () => {
    writeFileSync(FILE, '');
    const child = new Child(`exec rm ${FILE}`);
    const entry = new Record(child.pid);
    const exit = new Record(child.pid);
    const before = load(
      'kprobe',
      watching(entry, (p) => p.ldx('dw', R1, R6, DI).stx('dw', R7, R1, slot(2))),
    );
    const after = load(
      'kprobe',
      watching(exit, (p) => p),
    );
    const event = kernel.perfEventOpen({ kind: 'kprobe', symbol: 'do_unlinkat' });
    const links = [
      attach(before, event),
      attach(after, kernel.perfEventOpen({ kind: 'kprobe', symbol: 'do_unlinkat', retprobe: true })),
    ];
    expect(events()).toMatch(new RegExp(`^p:tsbpf_${process.pid}/kprobe\\d+ do_unlinkat`, 'm'));
    expect(events()).not.toContain(`tsbpf_${gone}/`);
    // The link keeps the event.
    kernel.close(event);
    await child.go();
    expect([entry.hits, exit.hits]).toEqual([1, 1]);
    expect(BigInt.asIntN(32, entry.at(2))).toBe(-100n);
    for (const link of links) kernel.close(link);
    kernel.shutdown();
    // What is freed later goes with the next descriptor that is closed.
    await eventually(() => {
      new Record(0);
      kernel.shutdown();
      return events() === '';
    }, 'an end of the events');
  });

  it.skipIf(!existsSync(VICTIM))('uprobe: at its place, for one process', async () => {
    const victim = new Victim(VICTIM);
    try {
      await victim.line();
      const record = new Record(victim.pid);
      const program = load(
        'kprobe',
        watching(record, (p) => p),
      );
      const file = new Executable(VICTIM, new Uint8Array(readFileSync(VICTIM)));
      const offset = BigInt(file.functionOffset('work_multiply'));
      attach(program, kernel.perfEventOpen({ kind: 'uprobe', path: VICTIM, offset, pid: victim.pid }));
      await victim.work();
      expect(record.hits).toBe(3);
      expect(events()).toContain(VICTIM);
    } finally {
      victim.stop();
    }
  });

  it('a function that is not there leaves no event', () => {
    expect(failure(() => kernel.perfEventOpen({ kind: 'kprobe', symbol: 'no_such_function' }))).toMatchObject(
      {
        code: 'ENOENT',
      },
    );
    expect(events()).not.toContain('no_such_function');
  });
});
