/**
 * Table of single programs: eBPF cases are loaded as socket filters and run on `data` cut or padded to each `data_size`,
 * through verifier, rewrite and the engines. Classic cases are counted as skipped.
 */
import type { Command } from 'commander';
import { decodeProgram } from '../../src/asm/index.ts';
import type { Engine, EngineEnv, ExecutableProgram } from '../../src/contracts/engine.ts';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { createJit } from '../../src/jit/index.ts';
import { ROOT } from '../../src/kernel/credentials.ts';
import { Callbacks, ProgramEntries } from '../../src/kernel/engine-tables.ts';
import { GuestMemory, kernelAddress } from '../../src/memory/index.ts';
import { createPacketLoads, rewrite } from '../../src/rewrite/index.ts';
import { MODELLED_SKB, MODELLED_SKB_SIZE } from '../../src/spec/contexts/modelled.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { ERRNO, fromHex } from '../../src/util/index.ts';
import { verify } from '../../src/verifier/index.ts';
import { conclude, readTable, type TableOptions } from './table.ts';

interface IsaCase {
  readonly id: number;
  readonly name: string;
  readonly kind: 'ebpf' | 'classic';
  readonly insns: string;
  readonly data?: string;
  readonly test: readonly { readonly data_size: number; readonly result: number }[];
  readonly host?: 'accept' | 'reject';
}

interface Outcome {
  readonly id: number;
  readonly name: string;
  readonly kind: string;
  readonly verdict?: 'accept' | 'reject';
  readonly expected?: readonly number[];
  readonly runs?: Readonly<Record<string, readonly (number | string)[]>>;
  readonly agree: boolean | null;
  /** Why it does not agree, or was skipped. */
  readonly reason?: string;
}

interface Setup {
  readonly env: EngineEnv;
  readonly memory: GuestMemory;
  readonly engines: readonly Engine[];
  readonly build: (test: IsaCase) => ExecutableProgram | { readonly rejected: string };
}

function enginesNamed(which: string): Engine[] {
  const engines: Engine[] = [];
  if (which !== 'jit') engines.push(createInterpreter());
  if (which !== 'interp') engines.push(createJit());
  return engines;
}

/** Loads the cases of a table: verifier and rewrite. */
function builder(memory: GuestMemory): Setup['build'] {
  const progType = progTypeByName('socket_filter')!;
  const packetLoads = createPacketLoads(memory, {
    data: (ctx) => {
      const start = memory.view.getUint32(ctx + MODELLED_SKB.data, true);
      return { start, length: memory.view.getUint32(ctx + MODELLED_SKB.data_end, true) - start };
    },
  });
  return (test) => {
    const result = verify({
      progType,
      expectedAttachType: 0,
      insns: decodeProgram(fromHex(test.insns) ?? new Uint8Array()),
      gplCompatible: true,
      mapByFd: () => -ERRNO.EBADF,
      credentials: ROOT,
      flags: 0,
      logLevel: 0,
    });
    if (result.verdict === 'reject') return { rejected: `${result.errno}: ${result.message}` };
    return rewrite(result, {
      name: test.name,
      helpers: { resolve: () => undefined },
      map: () => {
        throw new Error('the cases of this table have no maps');
      },
      packetLoads,
    }).program;
  };
}

function runCase(setup: Setup, test: IsaCase): Outcome {
  const { id, name, kind } = test;
  const base = { id, name, kind };
  if (kind === 'classic') return { ...base, agree: null, reason: 'classic BPF' };
  const expected = test.test.map(({ result }) => result >>> 0);
  const hostRejects = test.host === 'reject';
  let built: ReturnType<Setup['build']>;
  try {
    built = setup.build(test);
  } catch (error) {
    return { ...base, agree: false, reason: (error as Error).message };
  }
  if ('rejected' in built) {
    return {
      ...base,
      verdict: 'reject',
      agree: hostRejects,
      ...(hostRejects ? {} : { reason: built.rejected }),
    };
  }
  if (hostRejects) return { ...base, verdict: 'accept', agree: false, reason: 'Linux rejects it' };
  const runs: Record<string, (number | string)[]> = {};
  for (const engine of setup.engines) runs[engine.name] = runSizes(setup, engine, built, test);
  const agree = Object.values(runs).every((got) => got.every((r0, i) => r0 === expected[i]));
  return { ...base, verdict: 'accept', expected, runs, agree };
}

function runSizes(
  setup: Setup,
  engine: Engine,
  built: ExecutableProgram,
  test: IsaCase,
): (number | string)[] {
  const { memory } = setup;
  try {
    const program = engine.prepare(built, setup.env);
    const data = fromHex(test.data ?? '') ?? new Uint8Array();
    const results = test.test.map(({ data_size }) => {
      const ctx = memory.allocate(MODELLED_SKB_SIZE, 'context');
      const packet = memory.allocate(Math.max(data_size, 1), 'packet');
      memory.write(packet, data.subarray(0, data_size));
      memory.writeU64(ctx + MODELLED_SKB.data, kernelAddress(packet));
      memory.writeU64(ctx + MODELLED_SKB.data_end, kernelAddress(packet + data_size));
      memory.view.setUint32(ctx + MODELLED_SKB.len, data_size, true);
      try {
        return program.run(ctx);
      } catch (error) {
        return (error as Error).message;
      } finally {
        memory.free(ctx);
        memory.free(packet);
      }
    });
    program.release();
    return results;
  } catch (error) {
    return test.test.map(() => (error as Error).message);
  }
}

function printText(outcomes: readonly Outcome[]): void {
  for (const o of outcomes) {
    if (o.agree !== false) continue;
    console.log(`${o.id} ${o.name}`);
    if (o.reason !== undefined) console.log(`  ${o.reason}`);
    for (const [engine, got] of Object.entries(o.runs ?? {}))
      console.log(`  ${engine}: ${got.join(' ')}, expected ${o.expected?.join(' ')}`);
  }
  const skipped = new Map<string, number>();
  for (const o of outcomes)
    if (o.agree === null) skipped.set(o.reason ?? '', (skipped.get(o.reason ?? '') ?? 0) + 1);
  for (const [reason, count] of skipped) console.log(`skipped ${count}: ${reason}`);
}

export function addIsaCommand(program: Command): void {
  program
    .command('isa')
    .description('single programs with the result for each size of data')
    .argument('<file>', 'table, one JSON record a line')
    .option('--engine <which>', 'interp, jit or both', 'both')
    .option('--json', 'one record a case; the summary goes to standard error')
    .option('--require <percent>', 'cases that must agree', '100')
    .action((file: string, options: { engine: string } & TableOptions) => {
      if (!['interp', 'jit', 'both'].includes(options.engine))
        program.error(`error: --engine ${options.engine}: give interp, jit or both`, { exitCode: 2 });
      const memory = new GuestMemory();
      const env = { memory, entries: new ProgramEntries(), callbacks: new Callbacks() };
      const setup: Setup = {
        env,
        memory,
        engines: enginesNamed(options.engine),
        build: builder(memory),
      };
      const outcomes = readTable<IsaCase>(file).map((test) => runCase(setup, test));
      const judged = outcomes.filter((o) => o.agree !== null);
      const agreed = judged.filter((o) => o.agree);
      if (options.json) for (const outcome of outcomes) console.log(JSON.stringify(outcome));
      else printText(outcomes);
      conclude(agreed.length, judged.length, options);
    });
}
