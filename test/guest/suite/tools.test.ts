/** The tools where the kernel has kprobes, on a Linux that is older than the machine's: what they attach to there, and that they see it. */
import { spawnSync } from 'node:child_process';
import { closeSync, fsyncSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { around } from '../../tools/support.ts';

/** Compiling with a kernel's types takes its time on an emulated processor. */
const SLOW = 300_000;
const FILE = '/tmp/file-that-is-written';

describe('tools', () => {
  it(
    'fsslower probes the functions of the file system',
    async () => {
      const work = (): void => {
        const fd = openSync(FILE, 'w');
        for (let i = 0; i < 3; i++) writeSync(fd, Buffer.alloc(1000));
        fsyncSync(fd);
        closeSync(fd);
        unlinkSync(FILE);
      };
      const { events } = await around(
        `fsslower 0 --probe kprobe -p ${process.pid} -n file-that`,
        work,
        (all) => all.some(({ operation }) => operation === 'sync'),
      );
      const of = (operation: string) => events.filter((event) => event.operation === operation);
      expect(of('write').length).toBe(3);
      expect(of('write')[0]!.bytes).toBe(1000);
      expect(of('open').length).toBe(1);
      expect(String(of('open')[0]!.fs)).toMatch(/^(?:tmpfs|rootfs|ramfs)$/);
    },
    SLOW,
  );

  it(
    'fsdist takes probes where there are any',
    async () => {
      const { events } = await around(`fsdist -p ${process.pid}`, () => {
        const fd = openSync(FILE, 'w');
        for (let i = 0; i < 5; i++) writeSync(fd, Buffer.alloc(10));
        closeSync(fd);
        unlinkSync(FILE);
      });
      const writes = events.find(({ operation }) => operation === 'write')!;
      const counts = (writes.histogram as { count: number }[]).map(({ count }) => count);
      expect(counts.reduce((a, b) => a + b, 0)).toBeGreaterThanOrEqual(5);
    },
    SLOW,
  );

  it(
    'execsnoop, exitsnoop and sigsnoop see a process from its start to its end',
    async () => {
      let child: number | undefined;
      const act = (): void => {
        child = spawnSync('/bin/sh', ['-c', 'kill -USR2 $$; exit 3']).pid;
      };
      const seen = (all: readonly Record<string, unknown>[]) => all.some(({ pid }) => pid === child);
      const started = await around(`execsnoop -P ${process.pid}`, act, seen);
      expect(started.events.find(({ pid }) => pid === child)!.args).toEqual([
        '/bin/sh',
        '-c',
        'kill -USR2 $$; exit 3',
      ]);
      const ended = await around('exitsnoop', act, seen);
      expect(ended.events.find(({ pid }) => pid === child)!.signal).toBe(12);
      const sent = await around('sigsnoop -s USR2', act, seen);
      expect(sent.events.find(({ pid }) => pid === child)!.target).toBe(child);
    },
    SLOW,
  );
});
