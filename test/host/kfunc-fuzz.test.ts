/** Random programs that call kernel functions: verdict, reason and instructions processed are those of Linux. */
import { afterAll, describe, expect, it } from 'vitest';
import { encodeProgram } from '../../src/asm/index.ts';
import { parseBtf } from '../../src/btf/index.ts';
import type { Fd, Kernel } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import type { BpfError } from '../../src/util/index.ts';
import { openHost, skipReason } from './host-support.ts';
import { type KfuncProgram, kfuncProgram, MAP_FD, TYPES } from './kfunc-programs.ts';

const PROGRAMS = 300;
const LOG_STATS = 4;

const linux = await openHost();
const bytes = typeof linux === 'string' ? null : linux.kernelBtf();

function why(): string | null {
  if (typeof linux === 'string') return linux;
  if (bytes === null) return 'the kernel has no BTF';
  const release = /^(\d+)\.(\d+)/.exec(linux.features().release);
  // The rules compared are those of this release.
  return release?.[0] === '6.18' ? null : `the rules are those of 6.18, not of ${linux.features().release}`;
}

interface Subject {
  readonly kernel: Pick<Kernel, 'progLoad' | 'close'>;
  readonly btfFd: Fd;
  readonly mapFd: Fd;
}

function subject(kernel: Pick<Kernel, 'progLoad' | 'close' | 'btfLoad' | 'mapCreate'>): Subject {
  const btfFd = kernel.btfLoad({ btf: TYPES.bytes });
  const mapFd = kernel.mapCreate({
    mapType: mapTypeByName('array')!.id,
    keySize: 4,
    valueSize: 80,
    maxEntries: 1,
    btfFd,
    btfKeyTypeId: TYPES.key,
    btfValueTypeId: TYPES.value,
  });
  return { kernel, btfFd, mapFd };
}

/** `accept`, or errno and reason, and the number of instructions processed. */
function verdict({ kernel, btfFd, mapFd }: Subject, { insns, less }: KfuncProgram): string {
  const funcs = new Uint32Array(less < 0 ? [0, TYPES.main] : [0, TYPES.main, less, TYPES.less]);
  let log = '';
  let outcome = 'accept';
  try {
    const fd = kernel.progLoad({
      progType: progTypeByName('sched_cls')!.id,
      insns: encodeProgram(insns.map((insn) => (insn.imm === MAP_FD ? { ...insn, imm: mapFd } : insn))),
      license: 'GPL',
      progBtfFd: btfFd,
      funcInfo: new Uint8Array(funcs.buffer),
      funcInfoRecSize: 8,
      logLevel: LOG_STATS,
      logSize: 1 << 20,
      onLog: (text) => {
        log = text;
      },
    });
    kernel.close(fd);
  } catch (error) {
    const lines = log
      .split('\n')
      .filter((line) => line !== '' && !/^(processed|verification time|stack depth)/.test(line));
    outcome = `${(error as BpfError).code}: ${lines.at(-1)}`;
  }
  return `${outcome} (${/processed (\d+) insns/.exec(log)?.[1]})`;
}

const reason = why();
if (typeof linux === 'string' || bytes === null || reason !== null) {
  skipReason('random programs that call kernel functions', reason ?? '');
  describe.skip('random programs that call kernel functions', () => it('cannot be asked here', () => {}));
} else {
  const btf = parseBtf(bytes);
  const embedded = new EmbeddedKernel({
    randomSeed: 1,
    kernelBtf: btf,
    possibleCpus: linux.features().possibleCpus,
  });
  afterAll(() => {
    linux.shutdown();
    embedded.shutdown();
  });

  it(`${PROGRAMS} random programs that call kernel functions`, () => {
    const ours = subject(embedded);
    const theirs = subject(linux);
    let accepted = 0;
    for (let seed = 1; seed <= PROGRAMS; seed++) {
      const program = kfuncProgram(btf, seed);
      const wanted = verdict(theirs, program);
      expect(`seed ${seed}: ${verdict(ours, program)}`).toBe(`seed ${seed}: ${wanted}`);
      if (wanted.startsWith('accept')) accepted++;
    }
    expect(accepted).toBeGreaterThan(PROGRAMS / 20);
  });
}
