/**
 * `tsbpf diff`: one object on both kernels. Programs are loaded the same way into each, for the same types and configuration, and run
 * on the same packets in the same order; what is compared is all that user space sees: verdict, errno, message, instructions
 * processed, return value, packet, map contents. Linux is right where they differ.
 */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { type Btf, sharedBtf } from '../../btf/index.ts';
import { asEthernet, streamPackets } from '../../capture/index.ts';
import type { Kernel } from '../../contracts/kernel.ts';
import { type BpfMap, BpfObject, type BpfProgram } from '../../libbpf/index.ts';
import { progTypeByName } from '../../spec/index.ts';
import { toHex } from '../../util/bytes.ts';
import { ERRNO, errnoName } from '../../util/errno.ts';
import { BpfError } from '../../util/errors.ts';
import {
  type Action,
  type CommandRow,
  collect,
  parseData,
  programTypeOption,
  type Runner,
  withExamples,
} from '../command.ts';
import { listProgram, type SourceLine } from '../disassembly.ts';
import type { CliEnv } from '../environment.ts';
import { EXIT, UsageError } from '../errors.ts';
import { openObject, readBtf, readKconfig, readPieces, withPath } from '../files.ts';
import { toJson } from '../json.ts';
import { type LoadedObject, loadInto, openKernel, type ProgramReport } from '../load.ts';
import { grouped, type Output, plural } from '../output.ts';
import { type VerdictRecord, verdictRecord } from '../rejection.ts';
import { assign, parseAssignment } from '../values.ts';

interface DiffOptions {
  readonly pcap?: string;
  readonly data?: string;
  readonly program?: readonly string[];
  readonly progType?: string;
  readonly set?: readonly string[];
  readonly btf?: string;
  readonly kconfig?: string;
  readonly json?: boolean;
}

type Side = 'embedded' | 'host';

interface Difference {
  /** `verdict`, `errno`, `message`, `insnsProcessed`, `run`, `retval`, `packet`, `context`, `map protocols`. */
  readonly what: string;
  readonly embedded: string;
  readonly host: string;
  readonly source: SourceLine | null;
  /** Number of the input, from 1. */
  readonly input?: number;
}

interface ProgramDiff {
  readonly name: string;
  readonly section: string;
  readonly type: string | null;
  readonly embedded: VerdictRecord;
  readonly host: VerdictRecord;
  /** Why the verdicts say nothing: the machine forbids even root to load it. */
  readonly notComparable?: string;
  /** Inputs that it ran on. */
  readonly runs: number;
  readonly equalRuns: number;
  readonly differences: Difference[];
}

const KCONFIG = '/proc/config.gz';

const action: Action<[string, DiffOptions]> = async ({ env, out }, file, options) => {
  if (options.pcap !== undefined && options.data !== undefined)
    throw new UsageError('--pcap and --data exclude each other');
  const inputs = await readInputs(options);
  const { kernel: host } = await openKernel(env, { kernel: 'host' });
  const loaded: LoadedObject[] = [];
  try {
    const btf = options.btf === undefined ? btfOf(host) : readBtf(options.btf);
    const kconfigFile = options.kconfig ?? (existsSync(KCONFIG) ? KCONFIG : undefined);
    const target = {
      ...(btf === undefined ? {} : { kernelBtf: btf }),
      ...(kconfigFile === undefined ? {} : { kconfig: readKconfig(kconfigFile) }),
      ...(options.progType === undefined ? {} : { type: options.progType }),
    };
    const embedded = await embeddedLike(env, host, btf);
    const load = (kernel: Kernel, chosen: Side): LoadedObject | BpfError => {
      try {
        const object = unpinned(file, options.program ?? []);
        const one = loadInto(kernel, chosen, object, { ...target, strict: false });
        loaded.push(one);
        return one;
      } catch (error) {
        if (error instanceof BpfError) return error;
        throw error;
      }
    };
    // What is wrong with the file, or with the command line, is no matter of kernels.
    unpinned(file, options.program ?? []);
    const onHost = load(host, 'host');
    const onEmbedded = load(embedded, 'embedded');
    if (onHost instanceof BpfError || onEmbedded instanceof BpfError)
      return refused(out, file, options, { embedded: onEmbedded, host: onHost });
    for (const text of options.set ?? [])
      for (const { object } of [onHost, onEmbedded]) assign(object, parseAssignment(text));
    const programs = compareObjects(onEmbedded, onHost, inputs);
    const differing = programs.filter(({ differences }) => differences.length > 0);
    const release = { embedded: embedded.features().release, host: host.features().release };
    if (options.json) out.line(toJson({ object: file, release, programs, differing: differing.length }, 2));
    else print(out, programs, release);
    return differing.length > 0 ? EXIT.failed : EXIT.ok;
  } finally {
    for (const one of loaded) one.close();
    host.shutdown();
  }
};

/** A kernel does not take the object's maps or types, so that there is nothing to run. Both may: then they agree if the errno is the same. */
function refused(
  out: Output,
  file: string,
  options: DiffOptions,
  sides: Readonly<Record<Side, LoadedObject | BpfError>>,
): number {
  const said = (side: Side) => {
    const one = sides[side];
    return one instanceof BpfError ? { errno: one.errno, message: one.message } : { errno: 0, message: '' };
  };
  const [embedded, host] = [said('embedded'), said('host')];
  const same = embedded.errno === host.errno;
  if (options.json)
    out.line(toJson({ object: file, refused: { embedded, host }, differing: same ? 0 : 1 }, 2));
  else {
    const shown = ({ errno, message }: typeof host) =>
      errno === 0 ? 'loads the object' : `refuses it: ${errnoName(errno)}: ${message}`;
    out.line(`${out.color.bold('embedded')}  ${shown(embedded)}`);
    out.line(`${out.color.bold('host')}      ${shown(host)}`);
    out.line(out.color.dim(same ? 'no difference' : 'the kernels differ before the first program'));
  }
  return same ? EXIT.ok : EXIT.failed;
}

function btfOf(kernel: Kernel): Btf | undefined {
  const bytes = kernel.kernelBtf();
  return bytes === null ? undefined : sharedBtf(bytes);
}

/** An embedded kernel with the types and the number of CPUs of the other one, whose verdicts depend on them. */
async function embeddedLike(env: CliEnv, host: Kernel, btf: Btf | undefined): Promise<Kernel> {
  const { kernel } = await openKernel(env, {
    kernel: 'embedded',
    cpus: host.features().possibleCpus,
    // A fault is a difference, and shows as one.
    onOops: () => {},
    ...(btf === undefined ? {} : { kernelBtf: btf }),
  });
  return kernel;
}

/** All programs of the object; maps that it wants pinned are its own here: others' contents are no part of the comparison. */
function unpinned(file: string, names: readonly string[]): BpfObject {
  const { spec } = openObject(file);
  const object = new BpfObject({
    ...spec,
    maps: spec.maps.map((map) => ({ ...map, pinning: 'none' as const })),
  });
  const wanted = new Set(names.map((name) => object.findProgram(name).name));
  for (const program of object.programs) program.autoload = wanted.size === 0 || wanted.has(program.name);
  return object;
}

/** Frames of a capture, the given data, or undefined: each program gets what suits it. */
async function readInputs({ pcap, data }: DiffOptions): Promise<readonly Uint8Array[] | undefined> {
  if (data !== undefined) return [parseData(data)];
  if (pcap === undefined) return undefined;
  const frames: Uint8Array[] = [];
  try {
    for await (const packet of streamPackets(readPieces(pcap))) {
      const frame = asEthernet(packet);
      if (frame !== undefined) frames.push(frame);
    }
  } catch (error) {
    throw withPath(pcap, error);
  }
  return frames;
}

function compareObjects(
  embedded: LoadedObject,
  host: LoadedObject,
  inputs: readonly Uint8Array[] | undefined,
): ProgramDiff[] {
  return embedded.reports.map((report, index) => {
    const other = host.reports[index];
    const diff = compareVerdicts(embedded.object, report, other);
    if (report.program.loaded && other.program.loaded) {
      const ran = compareRuns(embedded, host, report.program, other.program, inputs);
      return { ...diff, ...ran, differences: [...diff.differences, ...ran.differences] };
    }
    return diff;
  });
}

const VERDICT_FIELDS = ['verdict', 'errno', 'message', 'insnsProcessed'] as const;

function compareVerdicts(object: BpfObject, report: ProgramReport, other: ProgramReport): ProgramDiff {
  const embedded = verdictRecord(report, 0);
  const host = verdictRecord(other, 0);
  const { name, section, type } = embedded;
  const common = { name, section, type, embedded, host, runs: 0, equalRuns: 0 };
  // What the verifier refuses has a log; this is the machine's policy, or a kernel built without the hook.
  if (host.errno === ERRNO.EPERM && host.insnsProcessed === 0 && embedded.errno !== ERRNO.EPERM)
    return { ...common, notComparable: host.message, differences: [] };
  const source = embedded.source ?? host.source ?? firstLine(object, report.program);
  const what = VERDICT_FIELDS.find((field) => embedded[field] !== host[field]);
  if (what === undefined) return { ...common, differences: [] };
  const shown = (record: VerdictRecord) =>
    what === 'verdict' ? describeVerdict(record) : what === 'errno' ? errnoOf(record) : String(record[what]);
  return {
    ...common,
    differences: [{ what, embedded: shown(embedded), host: shown(host), source }],
  };
}

const errnoOf = ({ errno }: VerdictRecord): string => (errno === 0 ? '0' : errnoName(errno));

function describeVerdict(record: VerdictRecord): string {
  return record.verdict === 'accept' ? 'accept' : `reject ${errnoOf(record)}: ${record.message}`;
}

/** Where a program begins in its source: a run has no line of its own. */
function firstLine(object: BpfObject, program: BpfProgram): SourceLine | null {
  return listProgram(object.spec, program.spec, 'kernel').find(({ source }) => source)?.source ?? null;
}

function compareRuns(
  embedded: LoadedObject,
  host: LoadedObject,
  program: BpfProgram,
  other: BpfProgram,
  inputs: readonly Uint8Array[] | undefined,
): Pick<ProgramDiff, 'runs' | 'equalRuns' | 'differences'> {
  const kind = progTypeByName(program.spec.progType ?? '')?.testRun;
  const given = inputsFor(kind, inputs);
  if (given.length === 0) return { runs: 0, equalRuns: 0, differences: [] };
  const source = firstLine(embedded.object, program);
  const differences: Difference[] = [];
  let equalRuns = 0;
  given.forEach((input, at) => {
    const a = run(program, input);
    const b = run(other, input);
    const what = (['run', 'retval', 'packet', 'context'] as const).find((field) => a[field] !== b[field]);
    if (what === undefined) equalRuns++;
    else if (differences.length === 0)
      differences.push({ what, embedded: a[what], host: b[what], source, input: at + 1 });
  });
  embedded.object.maps.forEach((map, index) => {
    const found = compareMaps(map, host.object.maps[index]);
    if (found !== undefined) differences.push({ ...found, source });
  });
  return { runs: given.length, equalRuns, differences };
}

type TestInput = Parameters<BpfProgram['testRun']>[0];

function inputsFor(kind: string | undefined, inputs: readonly Uint8Array[] | undefined): TestInput[] {
  if (kind === 'packet') return (inputs ?? [new Uint8Array(64)]).map((dataIn) => ({ dataIn }));
  // A context is for the program that it was written for: only what was given.
  if (kind === 'ctx' && inputs?.length === 1) return inputs.map((ctxIn) => ({ ctxIn }));
  return [];
}

interface Ran {
  /** '' or the errno of the run. */
  readonly run: string;
  readonly retval: string;
  readonly packet: string;
  readonly context: string;
}

function run(program: BpfProgram, input: TestInput): Ran {
  try {
    const { retval, dataOut, ctxOut } = program.testRun(input);
    return { run: 'done', retval: String(retval), packet: toHex(dataOut), context: toHex(ctxOut) };
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    // The kernels say it in their own words.
    return { run: error.code, retval: '', packet: '', context: '' };
  }
}

/** Undefined: equal, or of a type whose contents are not user space's to compare. */
function compareMaps(embedded: BpfMap, host: BpfMap): Omit<Difference, 'source'> | undefined {
  const { type, definition, name } = embedded;
  if (type.holds !== undefined || definition.keySize === 0 || definition.maxEntries > MOST_ENTRIES)
    return undefined;
  const a = contents(embedded);
  const b = contents(host);
  if (a === undefined || b === undefined) return undefined;
  const key = [...new Set([...a.keys(), ...b.keys()])].find((one) => a.get(one) !== b.get(one));
  if (key === undefined) return undefined;
  const shown = (side: ReadonlyMap<string, string>) =>
    side.has(key) ? `[${key}] = ${side.get(key)}` : `no [${key}]`;
  return { what: `map ${name}`, embedded: shown(a), host: shown(b) };
}

const MOST_ENTRIES = 1 << 16;

/** Key → value, hex; of per-CPU maps the sum over all CPUs, as Linux may run each test on another one. */
function contents(map: BpfMap): Map<string, string> | undefined {
  try {
    const found = new Map<string, string>();
    for (const [key, value] of map.entryBytes())
      found.set(toHex(key), map.type.perCpu ? sums(value, map.definition.valueSize) : toHex(value));
    return found;
  } catch (error) {
    if (error instanceof BpfError) return undefined;
    throw error;
  }
}

function sums(values: Uint8Array, size: number): string {
  const stride = Math.ceil(size / 8) * 8;
  const view = new DataView(values.buffer, values.byteOffset, values.length);
  const lanes = Array.from({ length: stride / 8 }, (_, lane) => {
    let total = 0n;
    for (let at = 8 * lane; at < values.length; at += stride) total += view.getBigUint64(at, true);
    return BigInt.asUintN(64, total);
  });
  return `${lanes.join(' ')} (all CPUs)`;
}

function print(out: Output, programs: readonly ProgramDiff[], release: Readonly<Record<Side, string>>): void {
  const { green, red, dim, yellow } = out.color;
  out.table(
    [
      { title: 'program' },
      { title: 'type' },
      { title: 'embedded' },
      { title: `host (Linux ${release.host})` },
      { title: 'insns', align: 'right' },
      { title: 'runs', align: 'right' },
      { title: 'result' },
    ],
    programs.map((program) => {
      const { embedded, host, differences, runs, equalRuns, notComparable } = program;
      const insns = [...new Set([embedded.insnsProcessed, host.insnsProcessed])].map(grouped).join(' / ');
      const verdict = (record: VerdictRecord) =>
        record.verdict === 'accept' ? 'accept' : `reject ${errnoOf(record)}`;
      return [
        program.name,
        program.type ?? program.section,
        verdict(embedded),
        verdict(host),
        insns,
        runs === 0 ? '' : runs === equalRuns ? grouped(runs) : `${grouped(equalRuns)} of ${grouped(runs)}`,
        notComparable !== undefined
          ? yellow('not comparable')
          : differences.length === 0
            ? green('same')
            : red(differences.map(({ what }) => what).join(', ')),
      ];
    }),
  );
  const first = programs.find(({ differences }) => differences.length > 0);
  if (first !== undefined) printDifference(out, first.name, first.differences[0]);
  const differing = programs.filter(({ differences }) => differences.length > 0).length;
  for (const { name, notComparable } of programs)
    if (notComparable !== undefined) out.note(`'${name}': this machine does not say: ${notComparable}`);
  out.line(
    dim(
      `${plural(programs.length, 'program')}, ${differing === 0 ? 'no difference' : `${differing} differ`}`,
    ),
  );
}

function printDifference(out: Output, name: string, difference: Difference): void {
  const { bold, cyan, dim } = out.color;
  const { what, embedded, host, source, input } = difference;
  out.heading(`${name}: ${what}${input === undefined ? '' : ` of input ${input}`}`);
  if (source !== null) {
    out.line(`  ${cyan(`${source.file}:${source.line}:${source.column}`)}`);
    if (source.text !== '')
      out.line(`${dim(`${String(source.line).padStart(6)} |`)} ${source.text.trimEnd()}`);
  }
  out.line(`  ${bold('embedded')}  ${embedded}`);
  out.line(`  ${bold('host')}      ${host}`);
  if (!(VERDICT_FIELDS as readonly string[]).includes(what))
    out.line(dim("  clocks, random numbers and CPU numbers are each kernel's own"));
}

export const DIFF: CommandRow = {
  name: 'diff',
  declare(parent: Command, run: Runner): void {
    const command = parent
      .command('diff')
      .summary('load and run an object on both kernels and show where they differ')
      .description(
        "Loads all programs of an object into the embedded kernel and into this machine's Linux (root), and compares verdict, errno, message and instructions processed; runs those that see packets on the same packets, and compares return values, packets and maps. The first difference is shown with its C line. Nothing is attached. Tracing programs are compared by their verdicts. Exit code 1 when something differs.",
      )
      .argument('<file>', 'object file')
      .option('--pcap <file>', 'packets to run on: pcap or pcapng (without: 64 zero bytes)')
      .option('--data <hex|@file>', 'a packet or a context to run on')
      .option('--set <map:key=value>', 'sets a map entry before the runs; may be repeated', collect)
      .option('--program <name>', 'only this program; may be repeated', collect)
      .addOption(programTypeOption())
      .option('--btf <file>', 'types for both kernels (default: those of the host)')
      .option('--kconfig <file>', `configuration for both kernels (default: ${KCONFIG})`)
      .option('--json', 'one JSON document: verdicts, runs and differences of each program')
      .action(run(action));
    withExamples(command, [
      ['tsbpf diff prog.bpf.o', 'verdicts of both kernels'],
      ['tsbpf diff xdp_filter.bpf.o --pcap traffic.pcap --set blocked:10.66.0.0/16=1', 'runs too'],
      ['tsbpf diff prog.bpf.o --json', 'for scripts and CI'],
    ]);
  },
};
