/** What a command of the debugger's prompt is, and the words that several of them read. */
import type { BreakpointPlace, Debugger, Stop } from '../../debug/index.ts';
import { BpfError } from '../../util/errors.ts';
import { UsageError } from '../errors.ts';
import { type DebugSession, type Display, formatted } from './view.ts';

export interface PromptCommand {
  readonly names: readonly string[];
  readonly usage: string;
  readonly help: string;
  /** What the argument names, for completion. */
  readonly completes?: 'place' | 'expression' | 'topic' | 'command' | 'call' | 'map';
  /** True: the session is over. */
  run(session: DebugSession, argument: string): unknown;
}

export function count(argument: string): number {
  if (argument === '') return 1;
  const times = Number(argument);
  if (!Number.isSafeInteger(times) || times < 1 || times > 1_000_000)
    throw new UsageError(`'${argument}' is no count: 1 to 1000000`);
  return times;
}

/** Shows where one is, and the expressions of `display`. */
export function stopped(session: DebugSession, stop: Stop, insn: boolean): void {
  session.view.stop(stop, insn);
  for (const one of session.displays) showDisplay(session, one);
}

export function showDisplay({ debug, view }: DebugSession, { number, expression, format }: Display): void {
  try {
    const { value } = debug.inspect.print(expression);
    view.show(`${number}: ${expression} = ${formatted(value, format)}`, {
      display: number,
      expression,
      value,
    });
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    view.show(`${number}: ${expression} = ?  ${view.out.color.dim(error.message)}`, {
      display: number,
      expression,
      error: error.message,
    });
  }
}

/** `/x EXPRESSION`: the letter of the format ('' without one), and the rest. */
export function splitFormat(argument: string): { format: string; rest: string } {
  const [, letters, rest = ''] = /^(?:\/(\S*)\s*)?(.*)$/s.exec(argument) ?? [];
  if (letters !== undefined && !/^[xductoazs]$/.test(letters))
    throw new UsageError(`'/${letters}' is no format`, 'x d u o t c a z s, as print/x EXPRESSION');
  return { format: letters ?? '', rest };
}

/** `PLACE if CONDITION` */
export function splitCondition(text: string): { before: string; condition: string | undefined } {
  const [, before = '', condition] = /^(.*?)(?:(?:^|\s+)if\b\s*(.*))?$/s.exec(text.trim()) ?? [];
  if (condition === '') throw new UsageError('a condition is expected behind if');
  return { before: before.trim(), condition };
}

/** `parse`, `12`, `file.c:12`, `*4`, `+2`; nothing: here. */
export function placeOf(where: string, debug: Debugger): BreakpointPlace {
  const { insn, program, line: here, file: hereIn } = debug.inspect.location(debug.inspect.frame);
  if (where === '') return { kind: 'insn', insn, program };
  const inFile = hereIn === undefined ? {} : { file: hereIn };
  const relative = /^([+-])(\d+)$/.exec(where);
  if (relative !== null && here !== undefined)
    return { kind: 'line', line: here + Number(`${relative[1]}${relative[2]}`), ...inFile };
  const line = /^(?:(.+):)?(\d+)$/.exec(where);
  if (line !== null)
    return { kind: 'line', line: Number(line[2]), ...(line[1] === undefined ? inFile : { file: line[1] }) };
  const at = /^\*(\d+)$/.exec(where);
  if (at !== null) return { kind: 'insn', insn: Number(at[1]) };
  return { kind: 'function', name: where.replace(/^.+:/, '') };
}

export function numberOf(text: string, what = 'breakpoint'): number {
  if (!/^\d+$/.test(text)) throw new UsageError(`'${text}' is no number of a ${what}`);
  return Number(text);
}
