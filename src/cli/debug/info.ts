/** `info …` of the debugger's prompt. */
import type { AnnotatedRegister } from '../../contracts/annotations.ts';
import { recordedFunctions } from '../../debug/index.ts';
import { UsageError } from '../errors.ts';
import { plural } from '../output.ts';
import { type DebugSession, valueText } from './view.ts';

type Topic = (session: DebugSession, argument: string) => void;

/** `r1 r6`: those; nothing: all. */
function registers({ debug, view }: DebugSession, argument: string): void {
  const { inspect } = debug;
  const wanted = argument.split(/[\s,]+/).filter((word) => word !== '');
  const bad = wanted.find((word) => !/^\$?(r\d|r10|fp|sp)$/.test(word));
  if (bad !== undefined) throw new UsageError(`there is no register '${bad}'`, 'they are r0 to r10');
  const chosen = new Set(wanted.map((word) => word.replace(/^\$/, '').replace(/^(fp|sp)$/, 'r10')));
  const { program, insn } = inspect.location(inspect.frame);
  const known = view.annotations.get(program)?.insns.find((one) => one.insn === insn)?.registers ?? [];
  const rows = Array.from({ length: 11 }, (_, r) => {
    const value = inspect.register(r);
    const annotated = known.find(({ register }) => register === `R${r}`);
    const points = inspect.describe(value);
    return { name: `r${r}`, value: `0x${value.toString(16)}`, verifier: verified(annotated), points };
  }).filter(({ name }) => chosen.size === 0 || chosen.has(name));
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

function breakpoints({ debug, view }: DebugSession, _: string, only?: 'watchpoint'): void {
  const all = debug.breakpoints
    .filter(({ what }) => only === undefined || what === only)
    .map(({ number, what, text, temporary, enabled, ignore, condition, hits }) => ({
      number,
      what,
      text,
      temporary,
      enabled,
      ...(ignore > 0 ? { ignore } : {}),
      condition,
      hits,
    }));
  view.show(
    all.length === 0
      ? 'No breakpoints or watchpoints.'
      : all.map(
          ({ number, what, text, temporary, enabled, condition, hits }) =>
            `${String(number).padEnd(3)} ${enabled ? '' : 'disabled '}${temporary ? 'temporary ' : ''}${what} ${text}${condition === undefined ? '' : ` if ${condition}`}, hit ${plural(hits, 'time')}`,
        ),
    { breakpoints: all },
  );
}

/** Entries of each map that people are shown at once. */
const MOST_ENTRIES = 20;

function maps({ debug, view }: DebugSession): void {
  const all = debug.recording.maps().map(({ map }) => {
    const { name, type, keySize, valueSize, maxEntries } = map.info;
    return { name, type: type.name, keySize, valueSize, maxEntries, entries: debug.inspect.entries(name) };
  });
  view.show(
    all.flatMap(({ name, type, entries }) => [
      `${view.out.color.cyan(name)}  ${type}, ${plural(entries.length, 'entry', 'entries')}`,
      ...entries
        .slice(0, MOST_ENTRIES)
        .map(({ key, value }) => `  [${valueText(key)}] = ${valueText(value)}`),
      ...(entries.length > MOST_ENTRIES
        ? [view.out.color.dim(`  … and ${entries.length - MOST_ENTRIES} more: print ${name} shows all`)]
        : []),
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

function variables({ debug, view }: DebugSession): void {
  const globals = debug.inspect.globals();
  view.show(
    globals.length === 0
      ? 'There are no global variables.'
      : globals.map(({ name, type, value }) => `${name} = ${valueText(value)}  (${type})`),
    { variables: globals },
  );
}

function frame({ debug, view }: DebugSession): void {
  const { inspect, recording } = debug;
  const at = inspect.location(inspect.frame);
  const callers = inspect.backtrace().filter(({ step }) => step < at.step);
  const fp = `0x${inspect.register(10).toString(16)}`;
  const entered = recording.journal.entry.at(at.step);
  view.show(
    [
      view.frameText(at),
      `instruction ${at.insn} of ${at.program}, step ${at.step}; entered at step ${entered}`,
      `fp ${fp}${callers[0] === undefined ? '' : `; called by ${view.frameText(callers[0])}`}`,
    ],
    { function: at.function, program: at.program, insn: at.insn, step: at.step, entered, fp },
  );
}

function line({ debug, view }: DebugSession): void {
  const { inspect, recording } = debug;
  const at = inspect.location(inspect.frame);
  if (at.line === undefined || at.file === undefined) {
    view.show('There is no line here.', { line: null });
    return;
  }
  const source = recording.source(at.step);
  const insns = source.program.insns.flatMap((_, insn) => {
    const one = source.lineAt(insn);
    return one?.line === at.line && one?.file === at.file && source.isInsn(insn) ? [insn] : [];
  });
  view.show(`Line ${at.line} of ${at.file}: instructions ${ranges(insns)} of ${at.program}.`, {
    line: at.line,
    file: at.file,
    insns,
  });
}

/** `3-5, 9` */
function ranges(numbers: readonly number[]): string {
  const parts: [number, number][] = [];
  for (const number of numbers) {
    const last = parts.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else parts.push([number, number]);
  }
  return parts.map(([from, upto]) => (from === upto ? `${from}` : `${from}-${upto}`)).join(', ');
}

function sources({ debug, view }: DebugSession): void {
  const files = [...new Set(debug.recording.sources.flatMap(({ lines }) => lines.map(({ file }) => file)))];
  view.show(files.length === 0 ? 'The programs came without line information.' : files, { sources: files });
}

/** Runs that are shown of a long recording. */
const MOST_RUNS = 1000;

function runs({ debug, view }: DebugSession): void {
  const { recording, inspect } = debug;
  const all: { run: number; from: number; to: number | null; program: string; returned?: number }[] = [];
  let here = 0;
  inspect.at(recording.position, () => {
    const position = recording.position;
    for (const { from, end } of recording.runs()) {
      if (from <= position) here = all.length + 1;
      if (all.length === MOST_RUNS) break;
      const { program } = inspect.location(from);
      const run = { run: all.length + 1, from, to: end ?? null, program };
      if (end === undefined || recording.kind(end) !== 'end') all.push(run);
      else {
        recording.seek(end);
        all.push({ ...run, returned: Number(recording.register(0) & 0xffff_ffffn) });
      }
    }
  });
  view.show(
    all.map(
      ({ run, from, to, program, returned }) =>
        `${run === here ? '*' : ' '} ${run}  ${program}, steps ${from} to ${to ?? 'the end'}${returned === undefined ? '' : `, returned ${returned}`}`,
    ),
    { runs: all, here },
  );
}

function display({ displays, view }: DebugSession): void {
  view.show(
    displays.length === 0
      ? 'Nothing is displayed.'
      : displays.map(
          ({ number, expression, format }) => `${number}: ${format && `/${format} `}${expression}`,
        ),
    { displays },
  );
}

const TOPICS: Readonly<Record<string, Topic>> = {
  registers,
  args,
  locals,
  breakpoints,
  watchpoints: (session, argument) => breakpoints(session, argument, 'watchpoint'),
  maps,
  functions,
  variables,
  frame,
  line,
  sources,
  runs,
  display,
  step,
};

export const TOPIC_NAMES = Object.keys(TOPICS);

/** Other words that gdb knows for them. */
const SHORT: Readonly<Record<string, string>> = {
  'all-registers': 'registers',
  program: 'step',
  b: 'breakpoints',
  f: 'frame',
  s: 'step',
  source: 'sources',
};

export function info(session: DebugSession, argument: string): void {
  const [, word = '', rest = ''] = /^(\S*)\s*(.*)$/s.exec(argument) ?? [];
  const name = SHORT[word] ?? TOPIC_NAMES.find((one) => word !== '' && one.startsWith(word));
  if (name === undefined)
    throw new UsageError(
      word === '' ? 'info needs a topic' : `there is no 'info ${word}'`,
      `it may be ${TOPIC_NAMES.join(', ')}`,
    );
  TOPICS[name]!(session, rest);
}
