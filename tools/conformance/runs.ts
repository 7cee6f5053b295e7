/**
 * Runs of the accepted programs of a verifier table: each is loaded into an embedded kernel, with maps of the kinds that
 * it asks for (map-kinds.json beside the table), and PROG_TEST_RUN must give what a real kernel gave.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import * as asm from '../../src/asm/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import type { Fd } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { BpfError, fromHex } from '../../src/util/index.ts';
import { conclude, readTable, type TableOptions } from './table.ts';

interface RunCase {
  readonly id: number;
  readonly name: string;
  readonly progType: string;
  readonly expectedAttachType: number;
  readonly loadFlags: number;
  readonly insns: readonly string[];
  readonly maps: Readonly<Record<string, readonly number[]>>;
  readonly kernel: {
    readonly verdict: 'accept' | 'reject';
    readonly runs?: readonly { readonly data: string | null; readonly retval: number }[];
  };
}

interface MapKind {
  readonly type: string;
  readonly key: number;
  readonly value: number;
  readonly max_entries: number;
  readonly flags?: string;
  readonly inner?: MapKind;
  readonly btf?: string;
  readonly btf_value?: number;
  readonly init?: Readonly<Record<string, string>>;
}

interface Outcome {
  readonly id: number;
  readonly name: string;
  readonly expected: readonly number[];
  readonly runs: Readonly<Record<string, readonly (number | string)[]>>;
  /** Null: skipped. */
  readonly agree: boolean | null;
  readonly reason?: string;
}

const FLAG_BITS: Readonly<Record<string, number>> = {
  NO_PREALLOC: 1,
  RDONLY_PROG: 1 << 7,
  WRONLY_PROG: 1 << 8,
};
const ENGINES = { interp: ['interpreter'], jit: ['jit'], both: ['interpreter', 'jit'] } as const;

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** `struct test_val`: index = 28, foo[6] = 0xabcdef12. */
function testValue(size: number): Uint8Array {
  const bytes = new Uint8Array(48);
  bytes.set(u32(28));
  bytes.set(u32(0xabcd_ef12), 4 + 6 * 4);
  return bytes.slice(0, size);
}

/** The programs that the table's program arrays hold, in the words of map-kinds.json. */
function smallProgram(text: string, self: Fd): Insn[] {
  const tail = /^tail_call\(ctx,self,(\d+)\); return (\d+)$/.exec(text);
  const index = Number(tail?.[1] ?? 0);
  const result = Number(tail?.[2] ?? /^return (\d+)$/.exec(text)?.[1] ?? 0);
  const end = [asm.mov64Imm(0, result), asm.exit()];
  return tail === null ? end : [asm.mov64Imm(3, index), ...asm.ldMapFd(2, self), asm.callHelper(12), ...end];
}

function createMap(kernel: EmbeddedKernel, kind: MapKind, test: RunCase): Fd {
  const type = mapTypeByName(kind.type.toLowerCase())!;
  const fd = kernel.mapCreate({
    mapType: type.id,
    keySize: kind.key,
    valueSize: kind.value,
    maxEntries: kind.max_entries,
    mapFlags: FLAG_BITS[kind.flags ?? ''] ?? 0,
    ...(kind.inner === undefined ? {} : { innerMapFd: createMap(kernel, kind.inner, test) }),
  });
  for (const [index, content] of Object.entries(kind.init ?? {})) {
    const value = content.includes('test_val')
      ? testValue(kind.value)
      : u32(
          kernel.progLoad({
            progType: progTypeByName(test.progType)!.id,
            expectedAttachType: test.expectedAttachType,
            insns: asm.encodeProgram(smallProgram(content, fd)),
            license: 'GPL',
          }),
        );
    kernel.mapUpdateElem({ mapFd: fd, key: u32(Number(index)), value });
  }
  return fd;
}

/** Results by input; a text where there is none; `missing`: what this kernel does not have. */
type Ran = (number | string)[] | { readonly missing: string };

function runOn(engine: string, test: RunCase, kinds: Readonly<Record<string, MapKind>>): Ran {
  const kernel = new EmbeddedKernel({ memory: { maximumPages: 1024 }, onOops: () => {} });
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', engine === 'jit' ? 1 : 0);
  try {
    const insns = asm.decodeProgram(fromHex(test.insns.join(''))!);
    for (const [name, places] of Object.entries(test.maps)) {
      const fd = createMap(kernel, kinds[name]!, test);
      for (const at of places) insns[at]!.imm = fd;
    }
    const progFd = kernel.progLoad({
      progType: progTypeByName(test.progType)!.id,
      expectedAttachType: test.expectedAttachType,
      progFlags: test.loadFlags & 3,
      insns: asm.encodeProgram(insns),
      license: 'GPL',
    });
    return test.kernel.runs!.map(({ data }) => {
      const dataIn = data === null ? new Uint8Array(64) : fromHex(data)!;
      return kernel.progTestRun({ progFd, dataIn }).retval;
    });
  } catch (error) {
    if (error instanceof BpfError && error.code === 'ENOTSUPP')
      return { missing: error.message.replace(/^.*: /, '') };
    return test.kernel.runs!.map(() => (error as Error).message.split('\n')[0]!);
  } finally {
    kernel.shutdown();
  }
}

/** Why this kernel cannot be asked about a case. */
function skipped(
  test: RunCase,
  kinds: Readonly<Record<string, MapKind>>,
  kernel: EmbeddedKernel,
): string | null {
  const { mapTypes } = kernel.features();
  for (const name of Object.keys(test.maps)) {
    const kind = kinds[name];
    if (kind === undefined) return `map kind ${name} is not described`;
    if (kind.btf !== undefined || kind.btf_value !== undefined) return 'maps with BTF';
    const type = mapTypeByName(kind.type.toLowerCase());
    if (type === undefined || !mapTypes.has(type.id)) return `maps of type ${kind.type}`;
  }
  return null;
}

export function addRunsCommand(program: Command): void {
  program
    .command('runs')
    .description('what accepted programs of a verifier table return')
    .argument('<file>', 'table, one JSON record a line')
    .option('--engine <which>', 'interp, jit or both', 'both')
    .option('--json', 'one record a case; the summary goes to standard error')
    .option('--require <percent>', 'cases that must agree', '100')
    .action((file: string, options: { engine: string } & TableOptions) => {
      const engines = ENGINES[options.engine as keyof typeof ENGINES];
      if (engines === undefined)
        program.error(`error: --engine ${options.engine}: give interp, jit or both`, { exitCode: 2 });
      const kinds = JSON.parse(readFileSync(join(dirname(file), 'map-kinds.json'), 'utf8')) as Record<
        string,
        MapKind
      >;
      const probe = new EmbeddedKernel();
      const outcomes: Outcome[] = [];
      for (const test of readTable<RunCase>(file)) {
        const { id, name } = test;
        const expected = test.kernel.runs?.map(({ retval }) => retval >>> 0);
        if (test.kernel.verdict !== 'accept' || expected === undefined) continue;
        const reason = skipped(test, kinds, probe);
        if (reason !== null) {
          outcomes.push({ id, name, expected, runs: {}, agree: null, reason });
          continue;
        }
        const runs: Record<string, (number | string)[]> = {};
        let missing: string | undefined;
        for (const engine of engines) {
          const ran = runOn(engine, test, kinds);
          if (Array.isArray(ran)) runs[engine] = ran;
          else missing = ran.missing;
        }
        const same = Object.values(runs).every((got) => got.every((retval, i) => retval === expected[i]));
        outcomes.push(
          missing === undefined
            ? { id, name, expected, runs, agree: same }
            : { id, name, expected, runs, agree: null, reason: missing },
        );
      }
      const judged = outcomes.filter((o) => o.agree !== null);
      const agreed = judged.filter((o) => o.agree);
      if (options.json) {
        for (const outcome of outcomes) console.log(JSON.stringify(outcome));
      } else {
        for (const o of judged.filter((outcome) => !outcome.agree)) {
          console.log(`${o.id} ${o.name}`);
          for (const [engine, got] of Object.entries(o.runs))
            console.log(`  ${engine}: ${got.join(' ')}, expected ${o.expected.join(' ')}`);
        }
        const reasons = new Map<string, number>();
        for (const { reason } of outcomes)
          if (reason !== undefined) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
        for (const [reason, count] of reasons) console.log(`skipped ${count}: ${reason}`);
      }
      conclude(agreed.length, judged.length, options);
    });
}
