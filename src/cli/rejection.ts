/** A program and what became of it at load: as a record for machines, as an explanation for people. */
import type { BpfObject, BpfProgram } from '../libbpf/index.ts';
import { progTypeByName } from '../spec/index.ts';
import { ERRNO } from '../util/errno.ts';
import { BpfError, VerifierError } from '../util/errors.ts';
import type { SearchResult } from '../util/explanation.ts';
import { type SourceLine, toSource } from './disassembly.ts';
import { describeError } from './errors.ts';
import { type Explained, explanationOf } from './explain/explanation.ts';
import { Sources } from './explain/sources.ts';
import { headline, printExplanation } from './explain/text.ts';
import type { ProgramReport } from './load.ts';
import { duration, type Output, plural } from './output.ts';
import { logAtLevel } from './verifier-stats.ts';

/** One program of `verify --json`. Where there is nothing to say: null, errno 0, message ''. */
export interface VerdictRecord {
  readonly name: string;
  readonly section: string;
  readonly type: string | null;
  readonly verdict: 'accept' | 'reject';
  readonly errno: number;
  readonly message: string;
  readonly insnsProcessed: number;
  /** The instruction that is refused. */
  readonly insn: number | null;
  readonly source: SourceLine | null;
  readonly registers: readonly { readonly register: string; readonly state: string }[];
  /** With a log level. */
  readonly log?: string;
}

export function verdictRecord(report: ProgramReport, logLevel: number): VerdictRecord {
  const { program, error } = report;
  const { name, spec } = program;
  const details = error instanceof VerifierError ? error : undefined;
  const log = logAtLevel(program.log || (details?.log ?? ''), logLevel);
  return {
    name,
    section: spec.section,
    type: spec.progType ?? null,
    verdict: error === undefined ? 'accept' : 'reject',
    errno: error === undefined ? 0 : error instanceof BpfError ? error.errno : ERRNO.EIO,
    message: error === undefined ? '' : (error as Error).message,
    insnsProcessed: details?.insnsProcessed ?? report.stats?.insnsProcessed ?? 0,
    insn: details === undefined || details.insn < 0 ? null : details.insn,
    source: details?.source === undefined ? null : toSource(details.source),
    registers: (details?.registers ?? []).map(({ register, state }) => ({ register, state })),
    ...(logLevel === 0 ? {} : { log }),
  };
}

/** One line for a program that is accepted. */
export function printAccepted(out: Output, report: ProgramReport): void {
  const { green, bold, dim } = out.color;
  const { stats, program } = report;
  const facts =
    stats === undefined
      ? ''
      : `${plural(stats.insnsProcessed, 'instruction')} processed, ${plural(stats.totalStates, 'state')}, stack ${stats.stackDepth || 0}, ${duration(stats.microseconds * 1000)}`;
  out.line(`${green('✓')} ${bold(program.name)}  ${dim(kindOf(program))}  accepted: ${facts}`);
}

/** What is said about a refusal besides what its error has. */
export interface RejectionDetails {
  readonly explained?: Explained | undefined;
  readonly search?: SearchResult | undefined;
  readonly sources?: Sources | undefined;
}

/** The reason, the place, the path and a fix; without `details` in short. */
export function printRejected(
  out: Output,
  object: BpfObject,
  report: ProgramReport,
  details?: RejectionDetails,
): void {
  const { red, bold, dim } = out.color;
  const { program, error } = report;
  const { code, message, hint } = describeError(error);
  out.line(
    `${red('✗')} ${bold(program.name)}  ${dim(kindOf(program))}  ${red('rejected')}${code === undefined ? '' : `: ${code}`}`,
  );
  const explanation = details?.explained === undefined ? explanationOf(error) : details.explained.explanation;
  if (explanation === undefined) {
    out.line(`  ${bold(message)}`);
    if (hint !== undefined) out.line(`  ${dim('hint:')} ${hint}`);
    return;
  }
  // What the loader knows about a refusal is more than the verifier can.
  const shown = hint === undefined ? explanation : { ...explanation, message, fix: { text: hint } };
  printExplanation(out, {
    explanation: shown,
    sources: details?.sources ?? sourcesOf(object, ''),
    note: details?.explained?.note,
    search: details?.search,
    short: details === undefined,
  });
  for (const line of reasons(program.log, headline(message, explanation.place?.insn)))
    out.line(`  ${dim('log      ')}${line}`);
  if (error instanceof VerifierError && error.insnsProcessed > 0 && details !== undefined)
    out.line(`  ${dim(`after ${plural(error.insnsProcessed, 'instruction')} processed`)}`);
}

/** The C of an object; `path` is that of its file. */
export function sourcesOf(object: BpfObject, path: string): Sources {
  return new Sources(
    path,
    object.spec.programs.flatMap((program) => program.lineInfo),
  );
}

/** What the verifier says before its last word. A log with instructions is too long for that. */
function reasons(log: string, message: string): string[] {
  const lines = logAtLevel(log, 1)
    .split('\n')
    .filter((line) => line !== '' && line !== message && !/^(processed \d+ insns|mark_precise:)/.test(line));
  return lines.length <= MAX_REASONS ? lines : [];
}

const MAX_REASONS = 3;

function kindOf(program: BpfProgram): string {
  const { section, progType } = program.spec;
  const type = progType === undefined ? undefined : progTypeByName(progType)?.name;
  return type === undefined || section === type ? section : `${section} (${type})`;
}
