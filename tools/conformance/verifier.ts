/**
 * Table of programs with the verdict of a real kernel: each is verified with maps of the kinds it asks for (map-kinds.json
 * beside the table). A case agrees where the verdict does; errno, message and instruction counts are compared and told.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { decodeProgram } from '../../src/asm/index.ts';
import { CALL, CLASS, JMP_OP, LD_IMM64, PSEUDO } from '../../src/asm/opcodes.ts';
import { type Btf, BtfBuilder, parseBtf } from '../../src/btf/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import type { MapInfo, SpecialField } from '../../src/contracts/maps.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { BPF_ATTACH_TYPE } from '../../src/uapi/index.ts';
import { ERRNO, fromHex } from '../../src/util/index.ts';
import { verify } from '../../src/verifier/index.ts';
import { conclude, readTable, type TableOptions } from './table.ts';

interface VerifierCase {
  readonly id: number;
  readonly name: string;
  readonly progType: string;
  readonly expectedAttachType: number;
  readonly loadFlags: number;
  readonly insns: readonly string[];
  readonly maps: Readonly<Record<string, readonly number[]>>;
  readonly kernel: {
    readonly verdict: 'accept' | 'reject';
    readonly errno: number;
    readonly message: string;
    readonly insnsProcessed?: number;
  };
}

interface MapKind {
  readonly type: string;
  readonly key: number;
  readonly value: number;
  readonly max_entries: number;
  readonly flags?: string;
  readonly inner?: MapKind;
  readonly btf_value?: number;
  readonly btf?: string;
}

const FLAG_BITS: Readonly<Record<string, number>> = {
  NO_PREALLOC: 1,
  RDONLY_PROG: 1 << 7,
  WRONLY_PROG: 1 << 8,
};

/** Fields of a struct written as `struct val { int cnt; struct bpf_spin_lock l; }` that the verifier treats specially. */
function specialFields(text: string): SpecialField[] {
  const body = /\{(.*)\}/.exec(text)?.[1] ?? '';
  const fields: SpecialField[] = [];
  let offset = 0;
  const place = (size: number, align: number): number => {
    offset = Math.ceil(offset / align) * align + size;
    return offset - size;
  };
  for (const member of body.split(';').map((part) => part.trim())) {
    const kptr = /^(\w+) __kptr(_untrusted)? \*/.exec(member);
    if (kptr !== null) {
      fields.push({
        kind: kptr[2] === undefined ? 'kptr_ref' : 'kptr_untrusted',
        offset: place(8, 8),
        size: 8,
        target: kptr[1]!,
      });
    } else if (member.startsWith('struct bpf_spin_lock')) {
      fields.push({ kind: 'spin_lock', offset: place(4, 4), size: 4 });
    } else if (member.startsWith('struct bpf_timer')) {
      fields.push({ kind: 'timer', offset: place(16, 8), size: 16 });
    } else if (member.startsWith('int ')) {
      place(4, 4);
    }
  }
  return fields;
}

let nextMapId = 1;

function makeMap(name: string, kind: MapKind, texts: ReadonlyMap<number, string>): MapInfo {
  const type = mapTypeByName(kind.type);
  if (type === undefined) throw new Error(`map kind ${name}: unknown type ${kind.type}`);
  const text = kind.btf ?? (kind.btf_value === undefined ? undefined : texts.get(kind.btf_value));
  return {
    id: nextMapId++,
    name: '',
    type,
    keySize: kind.key,
    valueSize: kind.value,
    maxEntries: kind.max_entries,
    flags: kind.flags === undefined ? 0 : (FLAG_BITS[kind.flags] ?? 0),
    ...(kind.inner === undefined ? {} : { inner: makeMap(`${name}.inner`, kind.inner, texts) }),
    ...(text === undefined ? {} : { hasBtf: true, specialFields: specialFields(text) }),
  };
}

/** File descriptors of the maps of one case. */
const FIRST_FD = 1000;

function buildCase(
  test: VerifierCase,
  kinds: Readonly<Record<string, MapKind>>,
): { insns: Insn[]; maps: MapInfo[] } {
  const texts = new Map<number, string>();
  for (const kind of Object.values(kinds)) {
    if (kind.btf !== undefined && kind.btf_value !== undefined) texts.set(kind.btf_value, kind.btf);
  }
  const insns = decodeProgram(fromHex(test.insns.join(''))!);
  const maps = Object.entries(test.maps).map(([name, places], i) => {
    for (const place of places) insns[place]!.imm = FIRST_FD + i;
    return makeMap(name, kinds[name]!, texts);
  });
  return { insns, maps };
}

/**
 * Function records for programs with function pointers, which need BTF: the table does not carry any, so every function is
 * a static `int f(void)`.
 */
function functionRecords(
  insns: readonly Insn[],
): { btf: Btf; funcInfo: { insn: number; typeId: number }[] } | null {
  if (!insns.some((insn) => insn.code === LD_IMM64 && insn.src === PSEUDO.FUNC)) return null;
  const starts = new Set([0]);
  insns.forEach((insn, i) => {
    const call = insn.code === (CLASS.JMP | JMP_OP.CALL) && insn.src === CALL.LOCAL;
    if (call || (insn.code === LD_IMM64 && insn.src === PSEUDO.FUNC)) starts.add(i + insn.imm + 1);
  });
  const builder = new BtfBuilder();
  const int = builder.add({
    kind: 'int',
    name: 'int',
    size: 4,
    signed: true,
    char: false,
    bool: false,
    bitOffset: 0,
    bits: 32,
  });
  const proto = builder.add({ kind: 'func_proto', returnType: int, params: [] });
  const funcInfo = [...starts]
    .sort((a, b) => a - b)
    .map((insn, i) => ({
      insn,
      typeId: builder.add({ kind: 'func', name: `func${i}`, type: proto, linkage: 'static' }),
    }));
  return { btf: builder.build(), funcInfo };
}

interface Options extends TableOptions {
  readonly only?: string;
  readonly log?: string;
  readonly btf?: string;
  readonly strict?: boolean;
}

function kernelBtf(path: string | undefined): Btf | undefined {
  const file = path ?? '/sys/kernel/btf/vmlinux';
  return existsSync(file) ? parseBtf(new Uint8Array(readFileSync(file))) : undefined;
}

function runCase(
  test: VerifierCase,
  kinds: Readonly<Record<string, MapKind>>,
  logLevel: number,
  btf: Btf | undefined,
) {
  const progType = progTypeByName(test.progType);
  if (progType === undefined) throw new Error(`case ${test.id}: unknown program type ${test.progType}`);
  const { insns, maps } = buildCase(test, kinds);
  // The table leaves out what BTF-typed programs attach to; its iterators are those over tasks.
  const iterates = test.expectedAttachType === BPF_ATTACH_TYPE.BPF_TRACE_ITER;
  const attachBtfId = iterates ? btf?.find('bpf_iter_task', 'func') : undefined;
  return verify({
    progType,
    expectedAttachType: test.expectedAttachType,
    insns,
    gplCompatible: true,
    mapByFd: (fd) => maps[fd - FIRST_FD] ?? -ERRNO.EINVAL,
    credentials: { uid: 0, capBpf: true, capPerfmon: true, capNetAdmin: true, capSysAdmin: true },
    flags: test.loadFlags,
    logLevel,
    ...(btf === undefined ? {} : { kernelBtf: btf }),
    ...(functionRecords(insns) ?? {}),
    ...(attachBtfId === undefined ? {} : { attachBtfId }),
  });
}

function runTable(file: string, options: Options): void {
  const cases = readTable<VerifierCase>(file);
  const kindsFile = join(dirname(file), 'map-kinds.json');
  const kinds = existsSync(kindsFile)
    ? (JSON.parse(readFileSync(kindsFile, 'utf8')) as Record<string, MapKind>)
    : {};
  const btf = kernelBtf(options.btf);
  const logLevel = Number(options.log ?? 0);
  let total = 0;
  let agreeing = 0;
  /** Refusals for memory safety that were not followed: never tolerated. */
  const unsafe: number[] = [];
  const differing = { errno: 0, message: 0, insns: 0 };
  for (const test of cases) {
    if (options.only !== undefined && String(test.id) !== options.only && test.name !== options.only)
      continue;
    total++;
    const result = runCase(test, kinds, logLevel, btf);
    const errno = result.verdict === 'accept' ? 0 : ERRNO[result.errno];
    const message = result.verdict === 'accept' ? '' : result.message;
    const insns = result.stats.insnsProcessed;
    const { kernel } = test;
    const agree = result.verdict === kernel.verdict;
    if (agree) agreeing++;
    else if (result.verdict === 'accept' && kernel.errno === ERRNO.EACCES) unsafe.push(test.id);
    const same = {
      errno: errno === kernel.errno,
      message: message === kernel.message.trim(),
      insns: insns === kernel.insnsProcessed,
    };
    if (agree) for (const key of ['errno', 'message', 'insns'] as const) if (!same[key]) differing[key]++;
    if (options.json) {
      const record = {
        id: test.id,
        name: test.name,
        verdict: result.verdict,
        errno,
        message,
        insnsProcessed: insns,
      };
      console.log(JSON.stringify({ ...record, kernel, agree, same }));
    } else if (!agree || (options.strict && !(same.errno && same.message && same.insns))) {
      console.log(`${test.id} ${test.name} [${test.progType}]`);
      console.log(`  ours:   ${result.verdict} ${errno} after ${insns} insns: ${message}`);
      console.log(
        `  kernel: ${kernel.verdict} ${kernel.errno} after ${kernel.insnsProcessed} insns: ${kernel.message}`,
      );
    }
    if (logLevel !== 0) console.log(result.log);
  }
  if (!options.json) {
    console.log(
      `of the agreeing ones differ: errno ${differing.errno}, message ${differing.message}, insns processed ${differing.insns}`,
    );
  }
  conclude(agreeing, total, options);
  if (unsafe.length > 0) {
    process.stderr.write(`accepted, but refused by the kernel with EACCES: ${unsafe.join(', ')}\n`);
    process.exitCode = 1;
  }
}

export function addVerifierCommand(program: Command): void {
  program
    .command('verifier')
    .description('verdicts of the verifier against those of a real kernel')
    .argument('<file>', 'table, one JSON record a line; map-kinds.json is read beside it')
    .option('--json', 'one record a case; the summary goes to standard error')
    .option('--require <percent>', 'cases that must agree', '100')
    .option('--strict', 'also print cases where errno, message or instruction count differ')
    .option('--only <case>', 'one case by id or name')
    .option('--log <level>', 'print the log of level 1, 2 or 4')
    .option('--btf <file>', "the kernel's BTF (default: that of this machine, if there is one)")
    .action((file: string, options: Options) => runTable(file, options));
}
