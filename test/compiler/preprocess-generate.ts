/** Random programs for the preprocessor: macros with every operator, calls across lines, conditionals. Deterministic by seed. */

export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = (seed * 2654435761) >>> 0 || 1;
  }

  below(limit: number): number {
    this.state ^= this.state << 13;
    this.state >>>= 0;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    this.state >>>= 0;
    return this.state % limit;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

interface Made {
  readonly name: string;
  readonly parameters: readonly string[] | null;
  readonly variadic: boolean;
}

const WORDS = ['a', 'b', 'x1', '_y', 'if', 'u8', 'L', 'int'];
const ATOMS = ['1', '0x2f', '.5e+', '3u', "'c'", '"s"', '"q\\"\\n"', "L'w'", '"%d\\\\"', 'u8"z"', '1e', '.'];
const OPERATORS = [
  '+',
  '-',
  '*',
  '<',
  '=',
  '>',
  '&',
  '|',
  '#',
  '...',
  '->',
  '<<',
  ';',
  '[',
  ']',
  '{',
  '!',
  '<:',
  ':',
];
const SPACES = [' ', ' ', ' ', '', '  ', '\t', '/* c */', ' \\\n', '/* two\nlines */'];

/** A section: some definitions and some text that uses them; its macros are undefined again at its end. */
export function generateSection(random: Random, index: number): string {
  const macros: Made[] = [];
  const count = 1 + random.below(6);
  for (let i = 0; i < count; i++) {
    const functionLike = random.chance(65);
    const parameters = functionLike
      ? Array.from({ length: random.below(4) }, (_, at) => ['p', 'q', 'r', 's'][at]!)
      : null;
    macros.push({ name: `M${i}`, parameters, variadic: functionLike && random.chance(35) });
  }
  let text = `@${index}\n`;
  for (const macro of macros) text += definition(random, macro, macros);
  for (let i = 1 + random.below(5); i > 0; i--) {
    if (random.chance(15)) text += conditional(random, macros);
    else text += `${use(random, macros, 0)}\n`;
  }
  // What a broken call swallowed must not reach the next section.
  text += `@${index} end\n)\n)\n)\n`;
  for (const macro of macros) text += `#undef ${macro.name}\n`;
  return text;
}

function definition(random: Random, macro: Made, macros: readonly Made[]): string {
  let head = `#define ${macro.name}`;
  const named = macro.variadic && random.chance(20);
  if (macro.parameters !== null) {
    const list: string[] = [...macro.parameters];
    if (macro.variadic) list.push(named ? 'rest...' : '...');
    head += `(${list.join(random.pick([', ', ',', ' , ']))})`;
  }
  const rest = named ? 'rest' : '__VA_ARGS__';
  let body = '';
  const length = random.below(9);
  for (let i = 0; i < length; i++)
    body += random.pick(SPACES.slice(0, 7)) + element(random, macro, macros, rest, 0);
  return `${head} ${body}\n`;
}

function element(random: Random, macro: Made, macros: readonly Made[], rest: string, depth: number): string {
  const parameters = [...(macro.parameters ?? []), ...(macro.variadic ? [rest] : [])];
  const operand = (): string =>
    parameters.length > 0 && random.chance(60)
      ? random.pick(parameters)
      : random.pick([...WORDS, ...ATOMS, ...OPERATORS, random.pick(macros).name]);
  switch (random.below(12)) {
    case 0:
      return parameters.length > 0
        ? `#${random.pick(['', ' '])}${random.pick(parameters)}`
        : random.pick(WORDS);
    case 1:
    case 2:
      return `${operand()}${random.pick([' ## ', '##', ' ##'])}${operand()}`;
    case 3:
      if (macro.variadic && random.chance(50)) return `, ## ${rest}`;
      return `${random.pick(WORDS)}##${operand()}##${operand()}`;
    case 4:
      if (macro.variadic && depth === 0 && rest === '__VA_ARGS__') {
        const inside = Array.from({ length: random.below(4) }, () => element(random, macro, macros, rest, 1));
        return `__VA_OPT__(${inside.join(' ')})`;
      }
      return operand();
    case 5:
      return call(random, random.pick(macros), macros, depth + 1, parameters);
    case 6:
      return random.pick(macros).name;
    case 7:
      return random.pick(['(', ')', ',', '()']);
    case 8:
      return '__LINE__';
    default:
      return operand();
  }
}

function call(
  random: Random,
  macro: Made,
  macros: readonly Made[],
  depth: number,
  words: readonly string[],
): string {
  if (macro.parameters === null) return macro.name;
  let count = macro.parameters.length;
  if (macro.variadic) count += random.below(3);
  if (random.chance(4)) count += random.below(3) - 1;
  const list = Array.from({ length: Math.max(0, count) }, () => argument(random, macros, depth + 1, words));
  return `${macro.name}${random.pick(['', '', ' ', '\n'].slice(0, depth === 0 ? 4 : 3))}(${list.join(',')})`;
}

function argument(random: Random, macros: readonly Made[], depth: number, words: readonly string[]): string {
  if (random.chance(12)) return '';
  const parts: string[] = [];
  for (let i = 1 + random.below(3); i > 0; i--) {
    if (depth < 4 && random.chance(30)) parts.push(call(random, random.pick(macros), macros, depth, words));
    else if (random.chance(10)) parts.push(`(${random.pick(WORDS)}, ${random.pick(ATOMS)})`);
    else
      parts.push(random.pick([...WORDS, ...ATOMS, ...words, random.pick(macros).name, '+', '#', '##', '-']));
  }
  return parts.join(random.pick([' ', '', '  ']).replace(/^$/, ' '));
}

function use(random: Random, macros: readonly Made[], depth: number): string {
  let text = '';
  for (let i = 1 + random.below(4); i > 0; i--) {
    text += random.pick([' ', '', ' /* c */ ', '\t']) || ' ';
    if (random.chance(75)) text += call(random, random.pick(macros), macros, depth, []);
    else text += random.pick([...WORDS, '(', ')', '(1)', ...OPERATORS.filter((one) => one !== '#')]);
  }
  return text;
}

/** An expression for `#if`, mostly sound. */
export function expression(random: Random, macros: readonly string[], depth: number): string {
  if (depth > 4 || random.chance(25)) {
    return random.pick([
      ...[
        '0',
        '1',
        '2',
        '7u',
        '0x80000000',
        '-1',
        '9223372036854775807',
        '18446744073709551615u',
        "'a'",
        '077',
        '1L',
      ],
      ...['undefined_name', '0b101', '0xffffffffffffffff', "'\\xff'", '64', '63'],
      ...macros.flatMap((name) => [`defined(${name})`, `defined ${name}`]),
    ]);
  }
  const sub = (): string => expression(random, macros, depth + 1);
  switch (random.below(6)) {
    case 0:
      return `(${sub()})`;
    case 1:
      return `${random.pick(['-', '~', '!', '+'])} ${sub()}`;
    case 2:
      return `${sub()} ? ${sub()} : ${sub()}`;
    default:
      return `${sub()} ${random.pick(['+', '-', '*', '/', '%', '<<', '>>', '<', '<=', '>', '>=', '==', '!=', '&', '|', '^', '&&', '||'])} ${sub()}`;
  }
}

function conditional(random: Random, macros: readonly Made[]): string {
  const names = [...macros.map((macro) => macro.name), 'NONE'];
  let text =
    random.pick([
      `#ifdef ${random.pick(names)}`,
      `#ifndef ${random.pick(names)}`,
      `#if ${expression(random, names, 0)}`,
    ]) + '\n';
  text += `${use(random, macros, 0)}\n`;
  if (random.chance(40)) text += `#elif ${expression(random, names, 0)}\n ${use(random, macros, 0)}\n`;
  if (random.chance(40)) text += `#else\n ${random.pick(WORDS)} ' " \n`;
  return `${text}#endif\n`;
}
