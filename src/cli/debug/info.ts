/** `info …` of the debugger's prompt. */
import type { AnnotatedRegister } from '../../contracts/annotations.ts';
import { recordedFunctions } from '../../debug/index.ts';
import { UsageError } from '../errors.ts';
import { plural } from '../output.ts';
import { type DebugSession, valueText } from './view.ts';

type Topic = (session: DebugSession) => void;

function registers({ debug, view }: DebugSession): void {
  const { recording, inspect } = debug;
  const { program, insn } = inspect.location();
  const known = view.annotations.get(program)?.insns.find((one) => one.insn === insn)?.registers ?? [];
  const rows = recording.registers().map((value, r) => {
    const annotated = known.find(({ register }) => register === `R${r}`);
    const points = inspect.describe(value);
    return { name: `r${r}`, value: `0x${value.toString(16)}`, verifier: verified(annotated), points };
  });
  const { cyan, dim } = view.out.color;
  view.show(
    rows.map(({ name, value, verifier, points }) =>
      `${cyan(name.padEnd(4))} ${value.padEnd(19)} ${[points, verifier && dim(verifier)].filter(Boolean).join('  ')}`.trimEnd(),
    ),
    { registers: rows },
  );
}

/** What the verifier has proven of it here. */
function verified(register: AnnotatedRegister | undefined): string | undefined {
  if (register === undefined) return undefined;
  const { types, map, min, max } = register;
  const range = min === undefined && max === undefined ? '' : ` ${min ?? ''}..${max ?? ''}`;
  return `${types.join('|')}${map === undefined ? '' : ` ${map}`}${range}`;
}

function args({ debug, view }: DebugSession): void {
  const shown = debug.inspect.arguments();
  view.show(
    shown.length === 0
      ? 'No arguments are known.'
      : shown.map(({ name, type, value }) => `${name} = ${valueText(value)}  (${type})`),
    { arguments: shown },
  );
}

function locals({ debug, view }: DebugSession): void {
  const shown = debug.inspect.arguments();
  const slots = debug.inspect.stackSlots().map(({ offset, value }) => ({
    offset,
    value: `0x${value.toString(16)}`,
    points: debug.inspect.describe(value),
  }));
  view.show(
    [
      ...shown.map(({ name, value }) => `${name} = ${valueText(value)}`),
      ...slots.map(
        ({ offset, value, points }) => `fp${offset} = ${value}${points === undefined ? '' : `  ${points}`}`,
      ),
      view.out.color.dim('(compilers keep no names of local variables in BTF: stack slots stand for them)'),
    ],
    { arguments: shown, stack: slots },
  );
}

function breakpoints({ debug, view }: DebugSession): void {
  const all = debug.breakpoints.map(({ number, what, text, temporary, condition, hits }) => ({
    number,
    what,
    text,
    temporary,
    condition,
    hits,
  }));
  view.show(
    all.length === 0
      ? 'No breakpoints or watchpoints.'
      : all.map(
          ({ number, what, text, temporary, condition, hits }) =>
            `${String(number).padEnd(3)} ${temporary ? 'temporary ' : ''}${what} ${text}${condition === undefined ? '' : ` if ${condition}`}, hit ${plural(hits, 'time')}`,
        ),
    { breakpoints: all },
  );
}

function maps({ debug, view }: DebugSession): void {
  const all = debug.recording.maps().map(({ map }) => {
    const { name, type, keySize, valueSize, maxEntries } = map.info;
    return { name, type: type.name, keySize, valueSize, maxEntries, entries: debug.inspect.entries(name) };
  });
  view.show(
    all.flatMap(({ name, type, entries }) => [
      `${view.out.color.cyan(name)}  ${type}, ${plural(entries.length, 'entry', 'entries')}`,
      ...entries.map(({ key, value }) => `  [${valueText(key)}] = ${valueText(value)}`),
    ]),
    { maps: all },
  );
}

function functions({ debug, view }: DebugSession): void {
  const names = recordedFunctions(debug.recording);
  view.show(names, { functions: names });
}

function step({ debug, view }: DebugSession): void {
  const { position, recording } = debug;
  view.show(`step ${position} of ${recording.length - 1}`, {
    step: position,
    last: recording.length - 1,
    truncated: recording.truncated,
  });
}

const TOPICS: Readonly<Record<string, Topic>> = {
  registers,
  args,
  locals,
  breakpoints,
  maps,
  functions,
  step,
};

export function info(session: DebugSession, argument: string): void {
  const name = Object.keys(TOPICS).find((one) => argument !== '' && one.startsWith(argument));
  if (name === undefined)
    throw new UsageError(`there is no 'info ${argument}'`, `it may be ${Object.keys(TOPICS).join(', ')}`);
  TOPICS[name]!(session);
}
