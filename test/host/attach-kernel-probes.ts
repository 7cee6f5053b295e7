/**
 * Probes of the kernel's own functions, attached by section: one test a kind, for whatever kernel they are handed. What a kernel is
 * not built for, or does not allow, is skipped with what it said.
 */
import { closeSync, mkdtempSync, openSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, type TestContext } from 'vitest';
import type { Kernel } from '../../src/contracts/kernel.ts';
import type { BpfObject } from '../../src/libbpf/index.ts';
import { BpfError } from '../../src/util/errors.ts';
import { openObject, Watch } from './attach-support.ts';

/** What a kernel says that lacks the hook: not there, not supported, not allowed, not attachable. */
const LACKING = new Set(['ENOENT', 'EOPNOTSUPP', 'ENOTSUPP', 'EPERM', 'EINVAL', 'ESRCH', 'EBUSY']);

interface Case {
  readonly program: string;
  /** First word that the program leaves for `unlink` of a file that is there. */
  readonly word?: bigint;
}

const CASES: readonly Case[] = [
  { program: 'kprobed' },
  { program: 'kretprobed' },
  { program: 'syscalled' },
  { program: 'several' },
  { program: 'several_returned' },
  // AT_FDCWD
  { program: 'before', word: -100n },
  { program: 'after', word: 0n },
  { program: 'asked' },
];

export function kernelProbes(kernel: Kernel, open: typeof openObject = openObject): void {
  describe("probes of the kernel's functions, by section", () => {
    for (const { program, word } of CASES) {
      it(program, (context) => {
        const object = open('kernel-probes', program);
        const { section } = object.findProgram(program).spec;
        try {
          if (!attached(kernel, object, section, context)) return;
          const watch = new Watch(object, process.pid);
          unlinkFile();
          expect(watch.count).toBeGreaterThan(0);
          if (word !== undefined) expect(BigInt.asIntN(32, watch.words[0]!)).toBe(word);
        } finally {
          object.close();
        }
      });
    }

    it('freplace: a function of another program', (context) => {
      const target = open('kernel-probes', 'asks');
      const object = open('kernel-probes', 'replacement');
      try {
        const asks = target.load(kernel).findProgram('asks');
        const frame = { dataIn: new Uint8Array(64) };
        expect(asks.testRun(frame).retval).toBe(2);
        object.findProgram('replacement').attachTarget = { program: asks, name: 'verdict' };
        if (!attached(kernel, object, 'freplace', context)) return;
        expect(asks.testRun(frame).retval).toBe(1);
      } finally {
        object.close();
        target.close();
      }
    });
  });
}

function attached(kernel: Kernel, object: BpfObject, section: string, context: TestContext): boolean {
  try {
    object.load(kernel).attach();
    return true;
  } catch (error) {
    if (!(error instanceof BpfError) || !LACKING.has(error.code)) throw error;
    const reason = `${section}: ${error.message.split('\n')[0]}`;
    console.log(`skipped: ${reason}`);
    context.skip(reason);
    return false;
  }
}

function unlinkFile(): void {
  const directory = mkdtempSync(join(tmpdir(), 'tsbpf-unlink-'));
  const file = join(directory, 'file');
  closeSync(openSync(file, 'w'));
  unlinkSync(file);
  rmSync(directory, { recursive: true });
}
