/** What one program shows when its outcomes on interpreter, JIT and Linux are laid side by side. */
import { DEFAULT_INSTRUCTION_LIMIT } from '../../src/interpreter/index.ts';
import type { GeneratedProgram } from './generate.ts';
import { describeOutcome, difference, type Outcome } from './run.ts';

/**
 * `too strict` and `other message` are no failures: the verifier may know less than Linux's. `not compared`: the interpreter was
 * stopped, as no run may take so long there.
 */
export const KINDS = {
  fault: { bad: true, verdict: false },
  crash: { bad: true, verdict: false },
  'engines differ': { bad: true, verdict: false },
  'not compiled': { bad: true, verdict: false },
  'too lax': { bad: true, verdict: true },
  'too strict': { bad: false, verdict: true },
  'other message': { bad: false, verdict: false },
  'linux differs': { bad: true, verdict: false },
  'not compared': { bad: false, verdict: false },
} as const;

export type Kind = keyof typeof KINDS;

export interface Report {
  readonly seed: number;
  readonly kind: Kind;
  readonly text: string;
  /** The same for what has the same cause, as far as words tell: without numbers and registers. */
  readonly cause: string;
}

export interface Outcomes {
  readonly interpreter: Outcome;
  readonly jit: Outcome;
  /** Absent where Linux was not asked. */
  readonly linux?: Outcome;
}

export function compare(p: GeneratedProgram, { interpreter, jit, linux }: Outcomes): Report[] {
  const reports: Report[] = [];
  const report = (kind: Kind, text: string, cause: string) =>
    reports.push({ seed: p.seed, kind, text, cause: `${kind}: ${causeOf(cause)}` });
  for (const outcome of [interpreter, jit]) {
    const { verdict } = outcome;
    if (verdict === 'fault' || verdict === 'crash')
      report(verdict, describeOutcome(outcome), outcome.message.split('\n')[0]!);
  }
  const tooLong = interpreter.verdict === 'too long';
  // What a stopped run has done so far says nothing; the compiled one has come to its end.
  if (tooLong && (jit.verdict === 'accept' || jit.verdict === 'too long')) {
    const text = `ran longer than ${DEFAULT_INSTRUCTION_LIMIT} instructions`;
    report('not compared', text, text);
  } else {
    // Else two runs of the interpreter would agree.
    if (jit.verdict === 'accept' && jit.jited === false)
      report('not compiled', 'the JIT has given the program to the interpreter', 'the JIT');
    const engines = difference(interpreter, jit);
    if (engines !== '') report('engines differ', `interpreter and JIT: ${engines}`, subject(engines));
  }
  if (linux !== undefined) compareLinux(p, tooLong ? jit : interpreter, linux, report);
  return reports;
}

type Add = (kind: Kind, text: string, cause: string) => void;

function compareLinux(p: GeneratedProgram, ours: Outcome, linux: Outcome, add: Add): void {
  if (ours.verdict === 'reject') {
    if (linux.verdict !== 'reject') add('too strict', describeOutcome(ours), lastLine(ours.message));
    else if (describeOutcome(ours) !== describeOutcome(linux))
      add(
        'other message',
        `${describeOutcome(ours)}; Linux: ${describeOutcome(linux)}`,
        `${lastLine(ours.message)} / ${lastLine(linux.message)}`,
      );
    return;
  }
  if (linux.verdict === 'reject') {
    add('too lax', `Linux: ${describeOutcome(linux)}`, lastLine(linux.message));
    return;
  }
  if ((ours.verdict === 'no run') !== (linux.verdict === 'no run'))
    add('linux differs', `${describeOutcome(ours)}; Linux: ${describeOutcome(linux)}`, 'no run');
  // A damaged program may have let an address into its results.
  if (ours.verdict !== 'accept' || linux.verdict !== 'accept' || p.damaged) return;
  const text = difference(comparableRun(p, ours), comparableRun(p, linux));
  if (text !== '') add('linux differs', `embedded and Linux: ${text}`, subject(text));
}

/** Without what may differ: which engine and CPU ran it, the order of queues that were drained, what a socket filter's packet is afterwards. */
export function comparableRun(p: Pick<GeneratedProgram, 'progKind' | 'maps'>, outcome: Outcome): Outcome {
  if (outcome.verdict !== 'accept') return outcome;
  const { jited: _, ...ran } = outcome;
  return {
    ...ran,
    data: p.progKind === 'socket_filter' ? '' : ran.data,
    elements: ran.elements.filter(
      (line) => !/^(percpu|queue|stack|prog)/.test(p.maps[Number(line.split(' ')[0])]!.kind),
    ),
  };
}

const lastLine = (text: string): string => text.split('\n').at(-1) ?? '';
/** `r0`, `the packet`, `map elements` */
const subject = (text: string): string => /^(r0|the packet|map elements|\w+)/.exec(text)?.[0] ?? text;
const causeOf = (text: string): string =>
  text.replace(/\bR\d+\b/g, 'R').replace(/-?\b(0x)?[0-9a-f]*\d[0-9a-f]*\b/g, 'N');
