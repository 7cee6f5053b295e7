/**
 * Table of single programs, extended and classic: loaded as socket filters and run on `data` cut or padded to each `data_size`,
 * through verifier, rewrite and the engines; classic ones are checked and converted first.
 */
import type { Command } from 'commander';
import { decodeProgram } from '../../src/asm/index.ts';
import { convertClassic, decodeClassic } from '../../src/cbpf/index.ts';
import type {
  CallableFunction,
  Engine,
  EngineEnv,
  ExecutableProgram,
  PreparedProgram,
} from '../../src/contracts/engine.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { CLASSIC_FUNCTIONS, type ClassicContext } from '../../src/helpers/classic.ts';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { createJit } from '../../src/jit/index.ts';
import { ROOT } from '../../src/kernel/credentials.ts';
import { Callbacks, ProgramEntries } from '../../src/kernel/engine-tables.ts';
import { GuestMemory, kernelAddress } from '../../src/memory/index.ts';
import { createPacketLoads, rewrite } from '../../src/rewrite/index.ts';
import { MODELLED_SKB, MODELLED_SKB_SIZE } from '../../src/spec/contexts/modelled.ts';
import {
  CLASSIC_HELPERS,
  type HelperRow,
  helperById,
  helperParams,
  helperResult,
  progTypeByName,
} from '../../src/spec/index.ts';
import { BpfError, ERRNO, fromHex } from '../../src/util/index.ts';
import { verify } from '../../src/verifier/index.ts';
import { conclude, readTable, type TableOptions } from './table.ts';

interface IsaCase {
  readonly id: number;
  readonly name: string;
  readonly kind: 'ebpf' | 'classic';
  readonly insns: string;
  readonly data?: string;
  /** What the packet has behind `data`. */
  readonly frag?: string;
  /** Classic: the checker refuses it with this. */
  readonly expected_errno?: number;
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

export interface Setup {
  readonly env: EngineEnv;
  readonly memory: GuestMemory;
  readonly engines: readonly Engine[];
  readonly build: (
    test: Pick<IsaCase, 'name' | 'kind' | 'insns'>,
  ) => ExecutableProgram | { readonly rejected: string };
}

const ETH_HLEN = 14;
/** What the tables' programs find about their packet where it is not in its bytes. */
const PACKET_FACTS = {
  mark: 0x1234_aaaa,
  hash: 0x1234_aaab,
  queue_mapping: 123,
  vlan_tci: 0xffff,
  vlan_present: 1,
  /** IPv4, in network order. */
  protocol: 0x0008,
  pkt_type: 3,
  ifindex: 577,
  hardware_type: 588,
} as const;

function enginesNamed(which: string): Engine[] {
  const engines: Engine[] = [];
  if (which !== 'jit') engines.push(createInterpreter());
  if (which !== 'interp') engines.push(createJit());
  return engines;
}

/** Loads the cases of a table: verifier and rewrite. */
function builder(memory: GuestMemory): Setup['build'] {
  const progType = progTypeByName('socket_filter')!;
  const data = (ctx: number) => {
    const start = memory.view.getUint32(ctx + MODELLED_SKB.data, true);
    return { start, length: memory.view.getUint32(ctx + MODELLED_SKB.data_end, true) - start };
  };
  const headers = (ctx: number) => ({ link: data(ctx).start, network: data(ctx).start + ETH_HLEN });
  const packets = { data, headers };
  const packetLoads = createPacketLoads(memory, packets);
  const classicRows = new Map(CLASSIC_HELPERS.map((row) => [row.id, row]));
  return (test) => {
    const bytes = fromHex(test.insns) ?? new Uint8Array();
    let insns: readonly Insn[];
    try {
      insns = test.kind === 'classic' ? convertClassic(decodeClassic(bytes)) : decodeProgram(bytes);
    } catch (error) {
      if (error instanceof BpfError) return { rejected: `${error.code}: ${error.message}` };
      throw error;
    }
    const result = verify({
      progType,
      expectedAttachType: 0,
      insns,
      helpers: (id) => classicRows.get(id) ?? helperById(id),
      gplCompatible: true,
      mapByFd: () => -ERRNO.EBADF,
      credentials: ROOT,
      flags: 0,
      logLevel: 0,
    });
    if (result.verdict === 'reject') return { rejected: `${result.errno}: ${result.message}` };
    return rewrite(result, {
      name: test.name,
      helpers: { resolve: (row) => classicFunction(row, { memory, env: { packets } }) },
      map: () => {
        throw new Error('the cases of this table have no maps');
      },
      packetLoads,
    }).program;
  };
}

function classicFunction(row: HelperRow, context: ClassicContext): CallableFunction | undefined {
  const make = CLASSIC_FUNCTIONS[row.name];
  if (make === undefined) return undefined;
  return { name: row.name, params: helperParams(row), result: helperResult(row), fn: make(context) };
}

function runCase(setup: Setup, test: IsaCase): Outcome {
  const { id, name, kind } = test;
  const base = { id, name, kind };
  const expected = test.test.map(({ result }) => result >>> 0);
  const hostRejects = test.host === 'reject' || test.expected_errno !== undefined;
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
  try {
    const program = engine.prepare(built, setup.env);
    const data = fromHex(test.data ?? '') ?? new Uint8Array();
    const frag = fromHex(test.frag ?? '') ?? new Uint8Array();
    const results = test.test.map(({ data_size }) => {
      const packet = new Uint8Array(data_size + frag.length);
      packet.set(data.subarray(0, data_size));
      packet.set(frag, data_size);
      try {
        return runOnPacket(setup, program, packet, PACKET_FACTS);
      } catch (error) {
        return (error as Error).message;
      }
    });
    program.release();
    return results;
  } catch (error) {
    return test.test.map(() => (error as Error).message);
  }
}

/** What a program returns for a packet; `facts`: fields of the socket buffer that are not 0. */
export function runOnPacket(
  { memory }: Setup,
  program: PreparedProgram,
  bytes: Uint8Array,
  facts: Readonly<Partial<Record<keyof typeof MODELLED_SKB, number>>>,
): number {
  const ctx = memory.allocate(MODELLED_SKB_SIZE, 'context');
  const packet = memory.allocate(Math.max(bytes.length, 1), 'packet');
  try {
    memory.write(packet, bytes);
    memory.writeU64(ctx + MODELLED_SKB.data, kernelAddress(packet));
    memory.writeU64(ctx + MODELLED_SKB.data_end, kernelAddress(packet + bytes.length));
    for (const [name, value] of Object.entries(facts))
      memory.view.setUint32(ctx + MODELLED_SKB[name as keyof typeof MODELLED_SKB], value, true);
    memory.view.setUint32(ctx + MODELLED_SKB.len, bytes.length, true);
    return program.run(ctx);
  } finally {
    memory.free(ctx);
    memory.free(packet);
  }
}

/** Memory, engines (`interp`, `jit` or `both`) and the steps from bytes to an executable program. */
export function createSetup(which: string): Setup {
  const memory = new GuestMemory();
  const env = { memory, entries: new ProgramEntries(), callbacks: new Callbacks() };
  return { env, memory, engines: enginesNamed(which), build: builder(memory) };
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
      const setup = createSetup(options.engine);
      const outcomes = readTable<IsaCase>(file).map((test) => runCase(setup, test));
      const judged = outcomes.filter((o) => o.agree !== null);
      const agreed = judged.filter((o) => o.agree);
      if (options.json) for (const outcome of outcomes) console.log(JSON.stringify(outcome));
      else printText(outcomes);
      conclude(agreed.length, judged.length, options);
    });
}
