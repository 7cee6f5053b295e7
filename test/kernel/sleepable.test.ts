/** BPF_F_SLEEPABLE: program types that may have it, and the one that must. */
import { expect, it } from 'vitest';
import { exit, mov64Imm, R0 } from '../../src/asm/construct.ts';
import { encodeProgram } from '../../src/asm/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { progTypeByName } from '../../src/spec/index.ts';

const SLEEPABLE = 1 << 4;

function load(type: string, progFlags: number): string {
  const kernel = new EmbeddedKernel({ randomSeed: 1 });
  let log = '';
  try {
    kernel.progLoad({
      progType: progTypeByName(type)!.id,
      insns: encodeProgram([mov64Imm(R0, 0), exit()]),
      license: 'GPL',
      progFlags,
      logLevel: 1,
      logSize: 4096,
      onLog: (text) => {
        log = text;
      },
    });
    return 'accept';
  } catch {
    return log.split('\n')[0]!;
  } finally {
    kernel.shutdown();
  }
}

it.each(['socket_filter', 'xdp', 'sched_cls', 'perf_event', 'raw_tracepoint'])('%s never sleeps', (type) => {
  expect(load(type, SLEEPABLE)).toBe(
    'Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable',
  );
  expect(load(type, 0)).toBe('accept');
});

it('kprobe may sleep', () => {
  expect([load('kprobe', 0), load('kprobe', SLEEPABLE)]).toEqual(['accept', 'accept']);
});

it('syscall must', () => {
  expect(load('syscall', 0)).toBe('Syscall programs can only be sleepable');
  expect(load('syscall', SLEEPABLE)).toBe('accept');
});
