/** Commands that show values and types: print, display, ptype, printf; and why none sets any. */
import { dumpC } from '../../btf/index.ts';
import { UsageError } from '../errors.ts';
import { numberOf, type PromptCommand, showDisplay, splitFormat } from './prompt-command.ts';
import { type DebugSession, formatted } from './view.ts';

function print({ debug, view }: DebugSession, argument: string): void {
  const { format, rest } = splitFormat(argument);
  if (rest === '') {
    for (const { name, value } of [...debug.inspect.arguments(), ...debug.inspect.globals()])
      view.show(`${name} = ${formatted(value, format)}`, { print: name, value });
    return;
  }
  refuseChange(rest);
  const shown = debug.inspect.print(rest);
  view.show(`${view.out.color.dim(`(${shown.type})`)} ${formatted(shown.value, format)}`, {
    print: rest,
    type: shown.type,
    value: shown.value,
    ...(format === '' ? {} : { text: formatted(shown.value, format) }),
  });
}

function refuseChange(text: string): void {
  if (/(^|[^=!<>])=(?!=)|\+\+|--/.test(text)) throw cannotChange();
}

const cannotChange = (): UsageError =>
  new UsageError(
    'what is stepped through has run already: nothing of it can be changed',
    '--set MAP:KEY=VALUE and --data give the run other input',
  );

/** Words of `set` that make gdb quieter, as its scripts begin: there is nothing to be quieter about. */
const SETTINGS = new Set([
  'pagination',
  'confirm',
  'width',
  'height',
  'verbose',
  'style',
  'print',
  'listsize',
]);

/** Characters of a type's definition. */
const MOST_TEXT = 1 << 16;

function ptype({ debug, view }: DebugSession, argument: string): void {
  const type = debug.inspect.typeOf(argument);
  const defined =
    type.btf === undefined || type.id === 0
      ? ''
      : dumpC(type.btf, { roots: [type.id], limit: MOST_TEXT }).trim();
  const text = defined === '' ? `${type.text};` : defined;
  view.show(text.split('\n'), { ptype: argument, type: type.text, c: text });
}

/** The conversions of printf(3) for integers, and %s for text. */
function printf({ debug, view }: DebugSession, argument: string): void {
  const [, form, rest = ''] = /^"((?:\\.|[^"\\])*)"\s*(?:,(.*))?$/s.exec(argument) ?? [];
  if (form === undefined)
    throw new UsageError('printf needs a form in quotes', 'printf "%d %x\\n", total, $r0');
  const values = splitArguments(rest).map((one) => debug.inspect.print(one).value);
  let next = 0;
  const text = unescaped(form).replace(/%(%|([-0]?)(\d*)(?:ll|l|h|hh|z)?([diuxXocsp]))/g, (...match) => {
    const [, whole, flag, width, letter] = match as string[];
    if (whole === '%') return '%';
    if (next >= values.length) throw new UsageError('printf has fewer values than conversions');
    const value = values[next++]!;
    const format = { d: 'd', i: 'd', u: 'u', x: 'x', X: 'x', p: 'x', o: 'o', c: 'c', s: '' }[letter!] ?? '';
    const plain = typeof value === 'string' ? value : formatted(value, format);
    const bare = letter === 'x' || letter === 'X' ? plain.replace(/^0x/, '') : plain;
    const size = Math.min(Number(width || 0), 256);
    return flag === '-' ? bare.padEnd(size) : bare.padStart(size, flag === '0' ? '0' : ' ');
  });
  view.show(text.replace(/\n$/, '').split('\n'), { printf: text });
}

const unescaped = (text: string): string =>
  text.replace(/\\(.)/g, (_, char: string) => ({ n: '\n', t: '\t' })[char] ?? char);

/** Divided by commas outside of brackets and quotes. */
function splitArguments(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    if ('([{'.includes(text[i]!)) depth++;
    else if (')]}'.includes(text[i]!)) depth--;
    else if (text[i] === ',' && depth === 0) {
      parts.push(text.slice(from, i));
      from = i + 1;
    }
  }
  if (text.slice(from).trim() !== '') parts.push(text.slice(from));
  return parts.map((part) => part.trim());
}

export const DATA_COMMANDS: readonly PromptCommand[] = [
  {
    names: ['print', 'p', 'inspect', 'output'],
    usage: '[/F] EXPRESSION',
    help: 'a value by its C type: a variable, an argument, map[key].member, ctx->data, $r0; /x in hex',
    completes: 'expression',
    run: print,
  },
  {
    names: ['display'],
    usage: '[/F] [EXPRESSION]',
    help: 'shows it at every stop; without an expression: all now',
    completes: 'expression',
    run: (session, argument) => {
      const { format, rest } = splitFormat(argument);
      if (rest !== '') {
        refuseChange(rest);
        session.debug.inspect.parse(rest);
        const number = (session.displays.at(-1)?.number ?? 0) + 1;
        session.displays.push({ number, expression: rest, format });
        showDisplay(session, session.displays.at(-1)!);
      } else for (const one of session.displays) showDisplay(session, one);
    },
  },
  {
    names: ['undisplay'],
    usage: '[NUMBER]',
    help: 'ends a display; without a number all of them',
    run: ({ displays, view }, argument) => {
      const at =
        argument === '' ? -1 : displays.findIndex((one) => one.number === numberOf(argument, 'display'));
      if (argument !== '' && at < 0) throw new UsageError(`there is no display ${argument}`);
      if (argument === '') displays.length = 0;
      else displays.splice(at, 1);
      view.show([], { undisplayed: argument === '' ? 'all' : Number(argument) });
    },
  },
  {
    names: ['ptype', 'pt'],
    usage: 'TYPE|EXPRESSION',
    help: 'a type as C, with those that it needs',
    completes: 'expression',
    run: ptype,
  },
  {
    names: ['whatis'],
    usage: 'EXPRESSION',
    help: 'the name of its type',
    completes: 'expression',
    run: ({ debug, view }, argument) => {
      const { text } = debug.inspect.typeOf(argument);
      view.show(`type = ${text}`, { whatis: argument, type: text });
    },
  },
  { names: ['printf'], usage: '"FORM", EXPRESSION…', help: 'values in a text', run: printf },
  {
    names: ['echo'],
    usage: 'TEXT',
    help: 'the text',
    run: ({ view }, argument) => view.show(unescaped(argument).replace(/\n$/, ''), { echo: argument }),
  },
  {
    names: ['set', 'call'],
    usage: '',
    help: 'not here: a recording cannot be changed',
    run: (_, argument) => {
      if (!SETTINGS.has(/^\w*/.exec(argument)![0])) throw cannotChange();
    },
  },
];
