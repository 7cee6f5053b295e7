/**
 * The second wall: exploits run with the verifier switched off. The interpreter stops every access outside of the program's own memory
 * and reports it; compiled code traps, or stays in the kernel's linear memory. Either way the process goes on, and so does a
 * kernel beside it.
 */
import { describe, expect, it, vi } from 'vitest';
import type { VerifiedProgram, VerifyRequest } from '../../../src/contracts/verify.ts';
import { EmbeddedKernel } from '../../../src/kernel/index.ts';
import { BpfError } from '../../../src/util/errors.ts';
import { EXPLOITS } from './index.ts';
import { type Exploit, loadExploit, makeMaps } from './support.ts';

/** Accepts everything: what rewrite needs to know is read off the instructions. */
function unverified(request: VerifyRequest): VerifiedProgram {
  const { insns } = request;
  const usedMaps = new Set<VerifiedProgram['usedMaps'][number]>();
  const facts = insns.map((insn, i) => {
    if (insn.code === 0x18 && (insn.src === 1 || insn.src === 2)) {
      const map = request.mapByFd(insn.imm);
      if (typeof map === 'number') return undefined;
      usedMaps.add(map);
      return insn.src === 2 ? { map, mapValueOffset: insns[i + 1]!.imm } : { map };
    }
    // The exploits read their context through R1, before anything else is in it.
    const load = (insn.code & 7) === 1 && insn.src === 1;
    return load ? { ctxOffset: insn.off } : undefined;
  });
  return {
    verdict: 'accept',
    request,
    facts,
    seen: new Uint8Array(insns.length).fill(1),
    subprogs: [{ start: 0, end: insns.length, stackDepth: 512 }],
    usedMaps: [...usedMaps],
    log: '',
    stats: {
      insnsProcessed: 0,
      totalStates: 0,
      peakStates: 0,
      maxStatesPerInsn: 0,
      stackDepth: [512],
      microseconds: 0,
    },
  };
}

const off = vi.hoisted(() => ({ verifier: false }));

vi.mock('../../../src/verifier/index.ts', async (original) => {
  const real = await original<typeof import('../../../src/verifier/index.ts')>();
  return {
    ...real,
    verify: (request: VerifyRequest) => (off.verifier ? unverified(request) : real.verify(request)),
  };
});

const VICTIM = 0x1122334455667788n;

interface Ran {
  readonly oopses: readonly string[];
  /** What PROG_TEST_RUN threw. */
  readonly error: unknown;
  readonly retval: number | undefined;
  /** The value of a map that the program does not use. */
  readonly victim: bigint;
}

function word(kernel: EmbeddedKernel, mapFd: ReturnType<EmbeddedKernel['mapCreate']>): bigint {
  const value = kernel.mapLookupElem({ mapFd, key: new Uint8Array(4) })!;
  return new DataView(value.buffer, value.byteOffset).getBigUint64(0, true);
}

function makeVictim(kernel: EmbeddedKernel): ReturnType<EmbeddedKernel['mapCreate']> {
  const mapFd = kernel.mapCreate({ mapType: 2, keySize: 4, valueSize: 8, maxEntries: 1 });
  const value = new Uint8Array(8);
  new DataView(value.buffer).setBigUint64(0, VICTIM, true);
  kernel.mapUpdateElem({ mapFd, key: new Uint8Array(4), value });
  return mapFd;
}

function run(exploit: Exploit, jit: boolean): Ran {
  const oopses: string[] = [];
  const kernel = new EmbeddedKernel({ onOops: ({ message }) => oopses.push(message), possibleCpus: 1 });
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit ? 1 : 0);
  const victim = makeVictim(kernel);
  const fds = makeMaps(kernel, exploit);
  let error: unknown;
  let retval: number | undefined;
  off.verifier = true;
  try {
    const progFd = loadExploit(kernel, exploit, fds);
    if (exploit.type === 'raw_tracepoint') {
      kernel.rawTracepointOpen({ name: 'victim', progFd });
      const process = { pid: 7, tgid: 7, uid: 0, gid: 0, comm: 'exploit' };
      retval = kernel.simulator.fire({ kind: 'raw_tracepoint', name: 'victim', args: [], process, time: 0n });
    } else retval = kernel.progTestRun({ progFd, dataIn: new Uint8Array(64) }).retval;
  } catch (thrown) {
    error = thrown;
  } finally {
    off.verifier = false;
  }
  const result = { oopses, error, retval, victim: word(kernel, victim) };
  kernel.shutdown();
  return result;
}

/** Why it did not run; undefined: it did. */
function notRun({ error }: Ran): string | undefined {
  return error instanceof BpfError && (error.code === 'EOPNOTSUPP' || error.code === 'ENOTSUPP')
    ? error.message
    : undefined;
}

describe.each(EXPLOITS)('$cve, unverified', (exploit) => {
  it('the interpreter stops it, reports it, and nothing else changes', (context) => {
    const ran = run(exploit, false);
    const why = notRun(ran);
    if (why !== undefined) context.skip(why);
    expect(ran.victim).toBe(VICTIM);
    // The run that was stopped fails with what the report says; nothing else does.
    if (ran.oopses.length === 0) expect(ran.error).toBeUndefined();
    if (exploit.unverified === 'harmless') expect(ran.oopses).toEqual([]);
    else expect(ran.oopses.join()).toMatch(/was stopped and detached: .*instruction \d+/);
  });

  it('compiled, it traps or stays in the linear memory, and the process goes on', (context) => {
    const beside = new EmbeddedKernel();
    const mapFd = makeVictim(beside);
    const ran = run(exploit, true);
    const why = notRun(ran);
    if (why !== undefined) context.skip(why);
    // Stopped with a report, or it ended by itself.
    if (ran.oopses.length === 0) expect(ran.error).toBeUndefined();
    expect(ran.oopses.length > 0 || ran.retval !== undefined).toBe(true);
    if (ran.oopses.length > 0) expect(ran.oopses.join()).toMatch(/was stopped and detached/);
    expect(word(beside, mapFd)).toBe(VICTIM);
    beside.shutdown();
  });
});
