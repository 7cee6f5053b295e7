/**
 * What a log of the kernel's verifier says: the reason, the instruction, its C line, the registers that matter, the path. The
 * format is that of kernel/bpf/log.c at level 1, where the log holds the failing path only.
 *
 * Invariant: any text gives an answer; what cannot be found is -1, empty or undefined.
 */
import type { ErrnoName } from '../util/errno.ts';
import { type SourceLocation, VerifierError } from '../util/errors.ts';
import { refusalKind } from './refusal-kinds.ts';

const MAX_PATH = 256;

/** `12: (79) r1 = *(u64 *)(r2 +8)   ; R1=scalar() R2=ctx()` */
const INSN = /^(\d+): \(([0-9a-f]{2})\) ?([^;]*)(?:; (.*))?$/;
/** `12: R1=ctx() R10=fp0`, `from 3 to 12: R1=…`: the state where a path starts or goes on. */
const STATE = /^(?:from \d+ to \d+(?: \(speculative execution\))?|\d+): (?:frame\d+: )?(R\d+.*)$/;
/** `; text @ file:line`; kernels before 6.9 do not say where the line stands. */
const SOURCE_MARK = '; ';
const SOURCE_PLACE = ' @ ';
const STATISTICS =
  /^(?:processed (\d+) insns|verification time|stack depth|mark_precise|BPF program is too large)/;

/** Lines that tell what the verifier does, never why it refuses. */
const NOTE = /^(?:func '.*' arg\d+ (?:has btf_id \d+ type|type )|Func#\d+ |Validating |from \d+ to )/;

export interface ParsedLog {
  /** Last line that is no statistics; '' where there is none. */
  readonly message: string;
  readonly insn: number;
  readonly source: SourceLocation | undefined;
  readonly registers: { readonly register: string; readonly state: string }[];
  readonly path: number[];
  readonly insnsProcessed: number;
}

export function parseVerifierLog(log: string): ParsedLog {
  const path: number[] = [];
  const states = new Map<string, string>();
  let message = '';
  let insn = -1;
  let text = '';
  let source: SourceLocation | undefined;
  let insnsProcessed = 0;
  for (const line of log.split('\n')) {
    const statistics = STATISTICS.exec(line);
    if (statistics?.[1] !== undefined) insnsProcessed = Number(statistics[1]);
    if (line === '' || (statistics !== null && !line.startsWith('BPF program'))) continue;
    const step = INSN.exec(line);
    const state = step === null ? STATE.exec(line) : null;
    if (step !== null) {
      insn = Number(step[1]);
      text = step[3];
      path.push(insn);
      // Registers after the instruction; before it is refused, none are shown.
      if (step[4] !== undefined) noteStates(states, step[4]);
    } else if (state !== null) {
      if (line.startsWith('from')) states.clear();
      noteStates(states, state[1]);
    } else if (line.startsWith(SOURCE_MARK)) {
      source = sourceOf(line);
    } else if (!NOTE.test(line)) {
      message = line;
    }
  }
  return {
    message: message.trim(),
    insn,
    source,
    registers: registersOf(message, text, states),
    path: path.slice(-MAX_PATH),
    insnsProcessed,
  };
}

/** `lineOf` knows more of an instruction's line than the log says. Null where the log gives no reason. */
export function verifierError(
  code: ErrnoName,
  log: string,
  lineOf: (insn: number) => SourceLocation | undefined = () => undefined,
): VerifierError | null {
  const { message, ...details } = parseVerifierLog(log);
  if (message === '') return null;
  const source = (details.insn < 0 ? undefined : lineOf(details.insn)) ?? details.source;
  return new VerifierError(code, message, { log, ...details, source, kind: refusalKind(message) });
}

function sourceOf(line: string): SourceLocation {
  const at = line.lastIndexOf(SOURCE_PLACE);
  const place = at < 0 ? '' : line.slice(at + SOURCE_PLACE.length);
  const colon = place.lastIndexOf(':');
  const number = Number(place.slice(colon + 1));
  if (colon < 0 || !Number.isInteger(number))
    return { text: line.slice(SOURCE_MARK.length), file: '', line: 0, column: 0 };
  return { text: line.slice(SOURCE_MARK.length, at), file: place.slice(0, colon), line: number, column: 0 };
}

/** `R1_w=pkt(r=0) R10=fp0 fp-8=mmmm`: values have no spaces outside of brackets. */
function noteStates(states: Map<string, string>, text: string): void {
  for (const [, register, state] of text.matchAll(/\b(R\d+)(?:_[a-z]+)?=((?:\([^()]*\)|[^\s()])+)/g))
    states.set(register, state);
}

/** `r2 = *(u8 *)(r1 +12)`: R2 is only written. Not so in `r2 += r1`. */
const ONLY_WRITTEN = /\b[rw]\d+ = /;

/** Those that the message names and those that the instruction reads, as they were before it. */
function registersOf(
  message: string,
  instruction: string,
  states: ReadonlyMap<string, string>,
): { register: string; state: string }[] {
  const numbers = new Set<number>();
  for (const [, n] of message.matchAll(/\bR(\d+)\b/g)) numbers.add(Number(n));
  for (const [, n] of instruction.replace(ONLY_WRITTEN, '').matchAll(/\b[rw](\d+)\b/g))
    numbers.add(Number(n));
  return [...numbers]
    .sort((a, b) => a - b)
    .map((n) => ({ register: `R${n}`, state: states.get(`R${n}`) ?? 'never written' }));
}
