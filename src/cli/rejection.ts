/** A program and what became of it at load: as a record for machines, as an explanation for people. */
import type { BpfObject, BpfProgram } from '../libbpf/index.ts';
import { progTypeByName } from '../spec/index.ts';
import { ERRNO } from '../util/errno.ts';
import { BpfError, VerifierError } from '../util/errors.ts';
import { listProgram, type SourceLine, toSource } from './disassembly.ts';
import { describeError } from './errors.ts';
import { hintFor } from './hints.ts';
import type { ProgramReport } from './load.ts';
import { duration, grouped, type Output, plural } from './output.ts';
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
    registers: details?.registers ?? [],
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

/** The C line, the reason, the registers that matter, the instruction, what to do. */
export function printRejected(out: Output, object: BpfObject, report: ProgramReport): void {
  const { red, bold, dim, cyan } = out.color;
  const { program, error } = report;
  const { code, message, hint } = describeError(error);
  const details = error instanceof VerifierError ? error : undefined;
  out.line(
    `${red('✗')} ${bold(program.name)}  ${dim(kindOf(program))}  ${red('rejected')}${code === undefined ? '' : `: ${code}`}`,
  );
  out.line(`  ${bold(message)}`);
  for (const line of reasons(program.log, message)) out.line(`  ${line}`);
  if (details?.source !== undefined) printSource(out, toSource(details.source));
  const insn = details === undefined ? undefined : instructionText(object, program, details.insn);
  if (insn !== undefined) out.line(`  instruction ${details!.insn}: ${insn}`);
  for (const { register, state } of details?.registers ?? []) out.line(`  ${cyan(register)} = ${state}`);
  if (details !== undefined && details.insnsProcessed > 0)
    out.line(dim(`  after ${grouped(details.insnsProcessed)} instructions processed`));
  const advice = hint ?? hintFor(message);
  if (advice !== undefined) out.line(`  ${dim('hint:')} ${advice}`);
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

function instructionText(object: BpfObject, program: BpfProgram, insn: number): string | undefined {
  if (insn < 0) return undefined;
  return listProgram(object.spec, program.spec, 'kernel').find(({ index }) => index === insn)?.text;
}

/**
 *     examples/src/unchecked.bpf.c:21:14
 *        21 |  return eth->h_proto == …
 *           |              ^
 */
function printSource(out: Output, source: SourceLine): void {
  const { dim, red, cyan } = out.color;
  out.line(`  ${cyan(`${source.file}:${source.line}:${source.column}`)}`);
  if (source.text === '') return;
  const number = String(source.line).padStart(6);
  // Tabs stay what they are, so that the caret stands below its column in any terminal.
  const before = source.text.slice(0, Math.max(0, source.column - 1)).replace(/[^\t]/g, ' ');
  out.line(`${dim(`${number} |`)} ${source.text.trimEnd()}`);
  if (source.column > 0 && source.column <= source.text.length + 1)
    out.line(`${dim(`${' '.repeat(6)} |`)} ${before}${red('^')}`);
}
