/** `tsbpf verify`: the verdict on every program of an object, with reason and place of each refusal. */
import { type Command, Option } from 'commander';
import type { Annotations } from '../../contracts/annotations.ts';
import type { SearchResult } from '../../util/explanation.ts';
import {
  type Action,
  addTargetOptions,
  type CommandRow,
  cflagsOption,
  choiceOf,
  collect,
  type KernelOptions,
  kernelOption,
  logOption,
  programTypeOption,
  type Runner,
  readTarget,
  type TargetOptions,
  withExamples,
} from '../command.ts';
import { openSourceOrObject } from '../compiler/source-or-object.ts';
import { EXIT, UsageError } from '../errors.ts';
import { type AnnotatedProgram, annotate, printAnnotated } from '../explain/annotate.ts';
import { type Explained, explainAll } from '../explain/explanation.ts';
import { type Finding, toSarif } from '../explain/sarif.ts';
import { toJson } from '../json.ts';
import { type LoadedObject, type LoadRequest, loadObject, type ProgramReport } from '../load.ts';
import { type Output, plural } from '../output.ts';
import { printAccepted, printRejected, sourcesOf, verdictRecord } from '../rejection.ts';
import { logAtLevel } from '../verifier-stats.ts';
import { releaseOption, verifyReleases } from './verify-releases.ts';
import { attachTo } from './verify-target.ts';

interface VerifyOptions extends TargetOptions, KernelOptions {
  readonly cflags?: string;
  readonly log: number;
  readonly json?: boolean;
  readonly format?: Format;
  /** `--no-search` */
  readonly search: boolean;
  readonly annotate?: boolean;
  readonly program?: readonly string[];
  readonly progType?: string;
  readonly release?: readonly string[];
  readonly attachTo?: string;
}

type Format = 'text' | 'json' | 'sarif';
const FORMATS: readonly Format[] = ['text', 'json', 'sarif'];

/** What one program got. */
interface Verdict {
  readonly report: ProgramReport;
  readonly explained: Explained | undefined;
  readonly search: SearchResult | undefined;
  readonly annotated: AnnotatedProgram | undefined;
}

const action: Action<[string, VerifyOptions]> = async (context, file, options) => {
  const { env, out } = context;
  if (options.release !== undefined)
    return verifyReleases(context, file, { ...options, release: options.release });
  const object = await openSourceOrObject(file, out, options.cflags);
  const names = new Set((options.program ?? []).map((name) => object.findProgram(name).name));
  // Programs that are only loaded when asked for are verified too.
  for (const program of object.programs) program.autoload = names.size === 0 || names.has(program.name);
  const annotations = new Map<string, Annotations>();
  if (options.annotate && options.kernel !== undefined && options.kernel !== 'embedded')
    throw new UsageError('--annotate asks the verifier of this package', 'leave out --kernel');
  const request: LoadRequest = {
    ...choiceOf(options, out),
    strict: false,
    cpus: CPUS,
    logLevel: options.log,
    ...(options.progType === undefined ? {} : { type: options.progType }),
    ...readTarget(options),
    ...(options.attachTo === undefined
      ? {}
      : { before: await attachTo(options.attachTo, object, out, options.cflags) }),
    ...(options.annotate
      ? {
          onAnnotations: (name: string, one: Annotations) =>
            annotations.set(one.functions.length > 0 ? one.functions[0]!.name : name, one).set(name, one),
        }
      : {}),
  };
  const loaded = await loadObject(env, object, request);
  try {
    const { reports } = loaded;
    const rejected = reports.filter(({ error }) => error !== undefined);
    if (options.json && options.format === undefined) {
      const records = reports.map((report) => toJson(verdictRecord(report, options.log)));
      out.line(records.length === 0 ? '[]' : `[\n${records.join(',\n')}\n]`);
    } else {
      const explained = await explainAll(env, loaded, request);
      const verdicts = reports.map((report): Verdict => {
        const one = explained.get(report);
        return {
          report,
          explained: one,
          search: options.search ? one?.findInput?.() : undefined,
          annotated: annotationsOf(report, annotations),
        };
      });
      const print = { text: printText, json: printJson, sarif: printSarif }[options.format ?? 'text'];
      print({ out, file, loaded, options, version: env.version }, verdicts);
    }
    return rejected.length > 0 ? EXIT.failed : EXIT.ok;
  } finally {
    loaded.close();
  }
};

/** Kernels know programs by the first 15 characters of their names; functions have theirs in full. */
const KERNEL_NAME = 15;

function annotationsOf(
  { program }: ProgramReport,
  annotations: ReadonlyMap<string, Annotations>,
): AnnotatedProgram | undefined {
  const one = annotations.get(program.name) ?? annotations.get(program.name.slice(0, KERNEL_NAME));
  return one === undefined
    ? undefined
    : annotate(program.name, program.spec.insns, program.spec.lineInfo, one);
}

interface Printing {
  readonly out: Output;
  readonly file: string;
  readonly loaded: LoadedObject;
  readonly options: VerifyOptions;
  readonly version: string;
}

function printText({ out, file, loaded, options }: Printing, verdicts: readonly Verdict[]): void {
  const { object, reports } = loaded;
  const sources = sourcesOf(object, file);
  for (const { report, explained, search, annotated } of verdicts) {
    if (options.log > 0) out.write(logAtLevel(report.program.log, options.log));
    if (report.error === undefined) printAccepted(out, report);
    else printRejected(out, object, report, { explained, search, sources });
    if (annotated !== undefined) printAnnotated(out, annotated, sources);
  }
  const rejected = reports.filter(({ error }) => error !== undefined).length;
  if (reports.length === 0) out.note(`${file} has no programs`);
  else if (reports.length > 1)
    out.line(out.color.dim(`${plural(reports.length, 'program')}, ${rejected} rejected`));
  for (const warning of object.spec.warnings) out.note(warning);
}

/** One document; its fields are only ever added to. */
function printJson({ out, file, loaded, options }: Printing, verdicts: readonly Verdict[]): void {
  const programs = verdicts.map(({ report, explained, search, annotated }) => ({
    ...verdictRecord(report, options.log),
    ...(explained?.explanation === undefined ? {} : { explanation: explained.explanation }),
    ...(explained?.note === undefined ? {} : { note: explained.note }),
    ...(search === undefined ? {} : { search }),
    ...(annotated === undefined ? {} : { annotations: annotated }),
  }));
  out.line(toJson({ version: 1, file, kernel: loaded.chosen, programs }, 2));
}

function printSarif({ out, file, version }: Printing, verdicts: readonly Verdict[]): void {
  const findings = verdicts.flatMap(({ report, explained, search }): Finding[] =>
    explained?.explanation === undefined
      ? []
      : [{ program: report.program.name, explanation: explained.explanation, note: explained.note, search }],
  );
  out.line(toJson(toSarif(findings, file, version), 2));
}

/** With one CPU its number would be known, and programs pass that other machines refuse. */
const CPUS = 2;

export const VERIFY: CommandRow = {
  name: 'verify',
  declare(parent: Command, run: Runner): void {
    const command = parent
      .command('verify')
      .summary('say whether the kernel would accept the programs of an object, and why not')
      .description(
        'Verifies every program as Linux 6.18 would, or by the kernel of this machine. A refusal is shown with its C line, the reason, what is known of the registers that matter, the path that led there, what to do, and, where one is found, an input with which the program really goes wrong. Exit code 1 when a program is rejected.',
      )
      .argument('<file>', 'object file, or a C file to compile')
      .addOption(cflagsOption())
      .option('--program <name>', 'only this program; may be repeated', collect)
      .addOption(programTypeOption())
      .option(
        '--attach-to <file[:program]>',
        'the program whose functions freplace, fentry and fexit programs are for (default: the first of the file)',
      )
      .addOption(kernelOption())
      .addOption(releaseOption())
      .addOption(logOption())
      .addOption(
        new Option(
          '--format <format>',
          'text; json: one document with reasons, paths and fixes; sarif: SARIF 2.1.0',
        ).choices(FORMATS),
      )
      .option(
        '--annotate',
        'show the source with what the verifier knew and how much it checked at each line, and the hot spots',
      )
      .option('--no-search', 'do not look for an input with which a refused program goes wrong')
      .option(
        '--json',
        'one record a program: name, section, type, verdict, errno, message, insnsProcessed, insn, source, registers',
      )
      .action(run(action));
    addTargetOptions(command);
    withExamples(command, [
      ['tsbpf verify prog.bpf.o', 'verdicts and reasons'],
      ['tsbpf verify prog.bpf.o --log 2', 'with the state before every instruction, as the kernel logs it'],
      ['tsbpf verify prog.bpf.o --annotate', 'why a program is expensive to verify'],
      ['tsbpf verify prog.bpf.o --format sarif', 'for code hosts and editors'],
      ['tsbpf verify prog.bpf.o --json', 'for scripts and CI'],
      ['tsbpf verify prog.bpf.o --release 5.15,6.1,6.18', 'on which releases of Linux each program loads'],
      [
        'tsbpf verify ext.bpf.o --attach-to prog.bpf.o:main',
        'a program that replaces a function of another one',
      ],
      ['tsbpf verify prog.bpf.o --kernel host', 'by the kernel of this machine'],
    ]);
  },
};
