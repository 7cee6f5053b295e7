/** The commands of the debugger's prompt: gdb's names, as a table. Each shows its result by itself. */
import { type Debugger, type Direction, recordedFunctions, type Stop } from '../../debug/index.ts';
import { fromUtf8 } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import { UsageError } from '../errors.ts';
import { readFile } from '../files.ts';
import { BREAKPOINT_COMMANDS } from './breakpoints.ts';
import { DATA_COMMANDS } from './data.ts';
import { examine } from './examine.ts';
import { info, TOPIC_NAMES } from './info.ts';
import { count, numberOf, type PromptCommand, stopped } from './prompt-command.ts';
import type { DebugSession } from './view.ts';

type Way = (debug: Debugger, direction: Direction, times: number) => Stop;

function move(
  names: readonly string[],
  help: string,
  way: Way,
  options: { direction?: Direction; insn?: boolean; counted?: boolean } = {},
): PromptCommand {
  const { direction = 'forward', insn = false, counted = true } = options;
  return {
    names,
    usage: counted ? '[N]' : '',
    help,
    run: (session, argument) => stopped(session, way(session.debug, direction, count(argument)), insn),
  };
}

/** Lines that `list` shows around the present one. */
const AROUND = 5;

/** `20`, `20,30`, `parse`, `file.c:20`; nothing: here. */
function list({ debug, view }: DebugSession, argument: string): void {
  const here = debug.inspect.location(debug.inspect.frame);
  const [, inFile, first, last] = /^(?:(.+):)?(\d+)?(?:\s*,\s*(\d+))?$/.exec(argument) ?? [];
  const named = first === undefined && last === undefined && argument !== '';
  const lines = debug.recording.sources.flatMap((source) => source.lines);
  const start = named ? functionLine(debug, argument) : undefined;
  const file =
    inFile === undefined
      ? (start?.file ?? here.file)
      : lines.find((one) => one.file === inFile || one.file.endsWith(`/${inFile}`))?.file;
  const middle = start?.line ?? (first === undefined ? here.line : Number(first));
  if (inFile !== undefined && file === undefined)
    throw new BpfError('ENOENT', `no code comes from a file '${inFile}'`);
  if (file === undefined || middle === undefined)
    throw new BpfError('ENOENT', 'there are no lines here: the program came without line information');
  const [from, upto] = last === undefined ? [middle - AROUND, middle + AROUND] : [middle, Number(last)];
  const shown = [...view.source.lines(file)].filter(([line]) => line >= from && line <= upto);
  if (shown.length === 0) throw new BpfError('ENOENT', `${file} has no line ${middle}`);
  const { blue, bold, green } = view.out.color;
  const text = shown.map(([line, source]) => {
    const isHere = line === here.line && file === here.file;
    return `${isHere ? green('=>') : '  '} ${blue(String(line).padStart(4))}  ${isHere ? bold(source) : source}`;
  });
  view.show(text, { file, lines: shown.map(([line, source]) => ({ line, text: source })) });
}

function functionLine(debug: Debugger, name: string): { line: number; file: string } {
  for (const source of debug.recording.sources)
    for (const one of source.functions) {
      const line = one.name === name ? source.lineAt(one.start) : undefined;
      if (line !== undefined) return line;
    }
  throw new BpfError('ENOENT', `there is no function '${name}'`, {
    hint: `there are ${recordedFunctions(debug.recording).join(', ')}`,
  });
}

function disassemble({ debug, view }: DebugSession, argument: string): void {
  const here = debug.inspect.location();
  const source = debug.recording.sources.find(({ functions, program }) =>
    argument === '' ? program.name === here.program : functions.some(({ name }) => name === argument),
  );
  const range =
    argument === '' ? source?.functionAt(here.insn) : source?.functions.find(({ name }) => name === argument);
  if (source === undefined || range === undefined)
    throw new BpfError('ENOENT', `there is no function '${argument}'`, {
      hint: `there are ${recordedFunctions(debug.recording).join(', ')}`,
    });
  const { dim, cyan, bold } = view.out.color;
  const insns = view
    .listing(source.program.name)
    .filter(({ index }) => index >= range.start && index < range.end);
  let last = 0;
  const text = insns.flatMap(({ index, text: insn, source: line }) => {
    const isHere = index === here.insn && source.program.name === here.program;
    const head =
      line === undefined || line.line === last
        ? []
        : [cyan(`; ${line.text.trim()} ${dim(`@ ${line.line}`)}`)];
    last = line?.line ?? last;
    return [
      ...head,
      `${isHere ? bold(`=> ${String(index).padStart(4)}: ${insn}`) : `   ${String(index).padStart(4)}: ${insn}`}`,
    ];
  });
  view.show(text, {
    function: range.name,
    insns: insns.map(({ index, text: insn }) => ({ index, text: insn })),
  });
}

/** The same again, until nothing stops it any more. */
function repeatedly(times: number, go: () => Stop): Stop {
  let stop = go();
  for (let i = 1; i < times && (stop.reason === 'breakpoint' || stop.reason === 'watchpoint'); i++)
    stop = go();
  return stop;
}

function toFrame({ debug, view }: DebugSession, number: number): void {
  const frame = debug.inspect.chooseFrame(number);
  const lines = [`#${number}  ${view.frameText(frame)}`];
  if (frame.line !== undefined) lines.push(view.lineText(frame));
  view.show(lines, { frame: number, function: frame.function, file: frame.file, line: frame.line });
}

/** Number of the chosen frame. */
const frameNumber = ({ debug }: DebugSession): number =>
  debug.inspect.backtrace().findIndex(({ step }) => step === debug.inspect.frame);

function backtrace({ debug, view }: DebugSession, argument: string): void {
  const most = argument === '' ? Number.POSITIVE_INFINITY : count(argument);
  const frames = debug.inspect.backtrace().slice(0, most);
  view.show(
    frames.map((frame, i) => `#${i}  ${view.frameText(frame)}`),
    {
      frames: frames.map(({ function: name, file, line, insn, program }) => ({
        function: name,
        file,
        line,
        insn,
        program,
      })),
    },
  );
}

export const PROMPT_COMMANDS: readonly PromptCommand[] = [
  {
    names: ['run', 'r'],
    usage: '',
    help: 'from the start of the recording to the first breakpoint',
    run: (session) => {
      session.debug.goto(0);
      stopped(session, session.debug.continue(), false);
    },
  },
  {
    names: ['start', 'starti'],
    usage: '',
    help: 'to the start of the recording',
    run: (session) => stopped(session, session.debug.goto(0), false),
  },
  move(['continue', 'c'], 'on to a breakpoint, a watchpoint, a fault or the end', (debug, way, times) =>
    times > 1 ? repeatedly(times, () => debug.continue(way)) : debug.continue(way),
  ),
  move(['step', 's'], 'to the next line, into calls', (debug, way, times) => debug.step(way, times)),
  move(['next', 'n'], 'to the next line, over calls', (debug, way, times) => debug.next(way, times)),
  move(['stepi', 'si'], 'one instruction, into calls', (debug, way, times) => debug.stepInsn(way, times), {
    insn: true,
  }),
  move(['nexti', 'ni'], 'one instruction, over calls', (debug, way, times) => debug.nextInsn(way, times), {
    insn: true,
  }),
  move(['finish', 'fin'], 'until this function has returned', (debug, way) => debug.finish(way), {
    counted: false,
  }),
  move(['reverse-continue', 'rc'], 'back to a breakpoint or the start', (debug, way) => debug.continue(way), {
    direction: 'reverse',
    counted: false,
  }),
  move(['reverse-step', 'rs'], 'back one line, into calls', (debug, way, times) => debug.step(way, times), {
    direction: 'reverse',
  }),
  move(['reverse-next', 'rn'], 'back one line, over calls', (debug, way, times) => debug.next(way, times), {
    direction: 'reverse',
  }),
  move(['reverse-stepi', 'rsi'], 'back one instruction', (debug, way, times) => debug.stepInsn(way, times), {
    direction: 'reverse',
    insn: true,
  }),
  move(
    ['reverse-nexti', 'rni'],
    'back one instruction, over calls',
    (debug, way, times) => debug.nextInsn(way, times),
    { direction: 'reverse', insn: true },
  ),
  move(['reverse-finish'], 'back to the call of this function', (debug, way) => debug.finish(way), {
    direction: 'reverse',
    counted: false,
  }),
  {
    names: ['goto'],
    usage: 'STEP',
    help: 'to a step of the recording, by number',
    run: (session, argument) => stopped(session, session.debug.goto(numberOf(argument, 'step')), true),
  },
  ...BREAKPOINT_COMMANDS,
  ...DATA_COMMANDS,
  {
    names: ['info', 'i'],
    usage: TOPIC_NAMES.join('|'),
    help: 'what there is',
    completes: 'topic',
    run: info,
  },
  {
    names: ['x'],
    usage: '/NFU ADDRESS',
    help: 'memory: N units U (b h w g) as F (x d u c s); /Ni $pc: instructions',
    completes: 'expression',
    run: examine,
  },
  {
    names: ['list', 'l'],
    usage: '[LINE|FIRST,LAST|FILE:LINE|FUNCTION]',
    help: 'source around here',
    completes: 'place',
    run: list,
  },
  {
    names: ['backtrace', 'bt', 'where'],
    usage: '[N]',
    help: 'the call stack; the N innermost',
    run: backtrace,
  },
  {
    names: ['frame', 'f'],
    usage: '[N]',
    help: 'chooses a frame of the call stack: names and registers are its own then',
    run: (session, argument) =>
      toFrame(session, argument === '' ? frameNumber(session) : numberOf(argument, 'frame')),
  },
  {
    names: ['up'],
    usage: '[N]',
    help: 'to the caller',
    run: (session, argument) => {
      const last = session.debug.inspect.backtrace().length - 1;
      toFrame(session, Math.min(frameNumber(session) + count(argument), last));
    },
  },
  {
    names: ['down'],
    usage: '[N]',
    help: 'to what it called',
    run: (session, argument) => toFrame(session, Math.max(frameNumber(session) - count(argument), 0)),
  },
  {
    names: ['disassemble', 'disas'],
    usage: '[FUNCTION]',
    help: 'instructions under their C lines',
    run: disassemble,
  },
  {
    names: ['source'],
    usage: 'FILE',
    help: 'does the commands of a file',
    run: (session, argument) => runScript(session, argument),
  },
  {
    names: ['help', 'h'],
    usage: '[COMMAND]',
    help: 'this',
    completes: 'command',
    run: ({ view }, argument) => {
      const rows = PROMPT_COMMANDS.filter(({ names }) => argument === '' || names.includes(argument));
      if (rows.length === 0) throw new UsageError(`there is no command '${argument}'`);
      view.show(
        rows.map(({ names, usage, help }) => `${`${names.join(', ')} ${usage}`.padEnd(42)} ${help}`),
        { commands: rows.map(({ names, usage, help }) => ({ names, usage, help })) },
      );
    },
  },
  { names: ['quit', 'q', 'exit'], usage: '', help: 'ends the session', run: () => true },
];

/** Files that ask for one another may ask in a circle. */
const MAX_SCRIPTS = 16;

/** The commands of a file, one or more a line; `#` begins a remark. True: one of them ended the session. */
export function runScript(session: DebugSession, path: string): boolean {
  if (path === '') throw new UsageError('source needs a file');
  if (session.scripts.length >= MAX_SCRIPTS)
    throw new UsageError(`'${path}': files of commands are nested too deeply`);
  const lines = fromUtf8(readFile(path)).split(/\r?\n/);
  session.scripts.push(path);
  try {
    return lines
      .filter((line) => !line.trim().startsWith('#'))
      .some((line) => splitCommands(line).some((one) => runLine(session, one)));
  } finally {
    session.scripts.pop();
  }
}

/** One line of input. True: the session is over. Throws BpfError and UsageError. */
export function runLine(session: DebugSession, line: string): boolean {
  const match = /^\s*([A-Za-z-]+)(?![\w-])\s*(.*)$/s.exec(line);
  if (match === null) {
    if (line.trim() === '' || line.trim().startsWith('#')) return false;
    throw new UsageError(`'${line.trim()}' is no command`, 'help shows what there is');
  }
  const [, name = '', argument = ''] = match;
  return findCommand(name).run(session, argument.trim()) === true;
}

/** By name, or by the start of one that is the only one with it. */
function findCommand(name: string): PromptCommand {
  const exact = PROMPT_COMMANDS.find(({ names }) => names.includes(name));
  if (exact !== undefined) return exact;
  const near = PROMPT_COMMANDS.filter(({ names }) => names.some((one) => one.startsWith(name)));
  if (near.length === 1) return near[0]!;
  const hint =
    near.length > 1
      ? `it may be ${near.map(({ names }) => names[0]).join(', ')}`
      : 'help shows what there is';
  throw new UsageError(near.length > 1 ? `'${name}' is not clear` : `there is no command '${name}'`, hint);
}

/** Commands of one text, divided by `;` outside of quotes, and by line ends. */
export function splitCommands(text: string): string[] {
  return [...text.matchAll(/(?:[^;\n"']|"[^"]*"|'[^']*'|["'])+/g)]
    .map(([one]) => one.trim())
    .filter((one) => one !== '');
}
