/** The commands of the debugger's prompt: gdb's names, as a table. Each shows its result by itself. */
import {
  type BreakpointPlace,
  type Debugger,
  type Direction,
  recordedFunctions,
  type Stop,
} from '../../debug/index.ts';
import { BpfError } from '../../util/errors.ts';
import { UsageError } from '../errors.ts';
import { examine } from './examine.ts';
import { info } from './info.ts';
import { type DebugSession, valueText } from './view.ts';

interface PromptCommand {
  readonly names: readonly string[];
  readonly usage: string;
  readonly help: string;
  /** True: the session is over. */
  run(session: DebugSession, argument: string): unknown;
}

function count(argument: string): number {
  if (argument === '') return 1;
  const times = Number(argument);
  if (!Number.isSafeInteger(times) || times < 1 || times > 1_000_000)
    throw new UsageError(`'${argument}' is no count: 1 to 1000000`);
  return times;
}

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
    run: ({ debug, view }, argument) => view.stop(way(debug, direction, count(argument)), insn),
  };
}

/** `parse`, `12`, `file.c:12`, `*4`; with ` if EXPRESSION` behind. */
function parsePlace(
  text: string,
  debug: Debugger,
): { place: BreakpointPlace; condition: string | undefined } {
  const [, where = '', condition] = /^(.*?)(?:(?:^|\s+)if\s+(.*))?$/s.exec(text.trim()) ?? [];
  return { place: placeOf(where.trim(), debug), condition };
}

function placeOf(where: string, debug: Debugger): BreakpointPlace {
  const { insn, program } = debug.inspect.location();
  if (where === '') return { kind: 'insn', insn, program };
  const line = /^(?:(.+):)?(\d+)$/.exec(where);
  if (line !== null)
    return { kind: 'line', line: Number(line[2]), ...(line[1] === undefined ? {} : { file: line[1] }) };
  const at = /^\*(\d+)$/.exec(where);
  if (at !== null) return { kind: 'insn', insn: Number(at[1]) };
  return { kind: 'function', name: where };
}

function breakAt(temporary: boolean): PromptCommand['run'] {
  return ({ debug, view }, argument) => {
    const { place, condition } = parsePlace(argument, debug);
    const made = debug.addBreakpoint(place, { temporary, ...(condition === undefined ? {} : { condition }) });
    view.show(`${temporary ? 'Temporary breakpoint' : 'Breakpoint'} ${made.number}: ${made.text}`, {
      breakpoint: made.number,
      at: made.text,
      condition,
    });
  };
}

/** Lines that `list` shows around the present one. */
const AROUND = 5;

function list({ debug, view }: DebugSession, argument: string): void {
  const here = debug.inspect.location();
  const function_ = debug.recording.sources.flatMap((source) =>
    source.functions.filter(({ name }) => name === argument).map(({ start }) => source.lineAt(start)),
  )[0];
  const file = function_?.file ?? here.file;
  const middle = function_?.line ?? (argument === '' ? here.line : Number(argument));
  if (file === undefined || middle === undefined || !Number.isInteger(middle))
    throw new BpfError('ENOENT', 'there are no lines here: the program came without line information');
  const lines = [...view.source.lines(file)].filter(([line]) => Math.abs(line - middle) <= AROUND);
  const { blue, bold, green } = view.out.color;
  const text = lines.map(([line, source]) => {
    const isHere = line === here.line && file === here.file;
    return `${isHere ? green('=>') : '  '} ${blue(String(line).padStart(4))}  ${isHere ? bold(source) : source}`;
  });
  view.show(text, { file, lines: lines.map(([line, source]) => ({ line, text: source })) });
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

export const PROMPT_COMMANDS: readonly PromptCommand[] = [
  {
    names: ['run', 'r'],
    usage: '',
    help: 'from the start of the recording to the first breakpoint',
    run: ({ debug, view }) => {
      debug.goto(0);
      view.stop(debug.continue(), false);
    },
  },
  move(
    ['continue', 'c'],
    'on to a breakpoint, a watchpoint, a fault or the end',
    (debug, way) => debug.continue(way),
    { counted: false },
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
    run: ({ debug, view }, argument) => {
      if (!/^\d+$/.test(argument)) throw new UsageError(`'${argument}' is no number of a step`);
      view.stop(debug.goto(Number(argument)), true);
    },
  },
  {
    names: ['break', 'b'],
    usage: '[FUNCTION|LINE|FILE:LINE|*INSN] [if EXPRESSION]',
    help: 'stops there; without a place: here',
    run: breakAt(false),
  },
  { names: ['tbreak', 'tb'], usage: 'as break', help: 'stops there once', run: breakAt(true) },
  {
    names: ['watch'],
    usage: 'EXPRESSION',
    help: 'stops where its value changes: a variable, map[key], *(__u32 *)$r6',
    run: ({ debug, view }, argument) => {
      if (argument === '') throw new UsageError('watch needs an expression');
      const made = debug.addWatchpoint(argument);
      view.show(`Watchpoint ${made.number}: ${argument}`, { watchpoint: made.number, expression: argument });
    },
  },
  {
    names: ['delete', 'd'],
    usage: '[NUMBER]',
    help: 'a breakpoint or watchpoint; without a number all of them',
    run: ({ debug, view }, argument) => {
      debug.delete(argument === '' ? undefined : Number(argument));
      view.show([], { deleted: argument === '' ? 'all' : Number(argument) });
    },
  },
  {
    names: ['print', 'p', 'inspect'],
    usage: 'EXPRESSION',
    help: 'a value by its C type: a variable, an argument, map[key].member, ctx->data, $r0',
    run: ({ debug, view }, argument) => {
      if (argument === '') {
        for (const { name, value } of [...debug.inspect.arguments(), ...debug.inspect.globals()])
          view.show(`${name} = ${valueText(value)}`, { print: name, value });
        return;
      }
      const shown = debug.inspect.print(argument);
      view.show(`${view.out.color.dim(`(${shown.type})`)} ${valueText(shown.value)}`, {
        print: argument,
        type: shown.type,
        value: shown.value,
      });
    },
  },
  {
    names: ['info', 'i'],
    usage: 'registers|locals|args|breakpoints|maps|functions|step',
    help: 'what there is',
    run: info,
  },
  { names: ['x'], usage: '/NFU ADDRESS', help: 'memory: N units U (b h w g) as F (x d u c s)', run: examine },
  { names: ['list', 'l'], usage: '[LINE|FUNCTION]', help: 'source around here', run: list },
  {
    names: ['backtrace', 'bt', 'where'],
    usage: '',
    help: 'the call stack',
    run: ({ debug, view }) => {
      const frames = debug.inspect.backtrace();
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
    },
  },
  {
    names: ['disassemble', 'disas'],
    usage: '[FUNCTION]',
    help: 'instructions under their C lines',
    run: disassemble,
  },
  {
    names: ['help', 'h'],
    usage: '[COMMAND]',
    help: 'this',
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

/** One line of input. True: the session is over. Throws BpfError and UsageError. */
export function runLine(session: DebugSession, line: string): boolean {
  const match = /^\s*([A-Za-z-]+)\s*(.*)$/s.exec(line);
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
