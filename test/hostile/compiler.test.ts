/**
 * Mutated C sources: each compiles or has a diagnostic with a line, with no crash and no hang. Words and operators are dropped, doubled,
 * exchanged and taken from other programs, as people mistype; and bytes are mutated as in other hostile inputs. HOSTILE_SCALE=50 is
 * ten thousand; a failure names its sample and seed.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { builtinHeader, compile } from '../../src/compiler/index.ts';
import { mutate, Random } from '../../tools/mutate.ts';
import { generateProgram } from '../compiler/differential/generate.ts';

/** Milliseconds after which a source counts as a hang. */
const TIME_LIMIT = 30_000;
const SCALE = Number(process.env.HOSTILE_SCALE ?? 1);
const COUNT = 100;

const EXAMPLES = new URL('../../examples/src/', import.meta.url);
const SAMPLES = readdirSync(EXAMPLES)
  .filter((name) => name.endsWith('.bpf.c'))
  .sort()
  .map((name) => ({ name, text: readFileSync(new URL(name, EXAMPLES), 'utf8') }));
for (let seed = 1; seed <= 8; seed++)
  SAMPLES.push({ name: `random ${seed}`, text: generateProgram(seed, { signedDivision: false }) });

const WORDS = SAMPLES.map(({ text }) => words(text));
/** Words that change the meaning of what follows. */
const STRANGE = [
  '(',
  ')',
  '{',
  '}',
  '[',
  ']',
  '#',
  '\n#define f(x, ...) x ## x f(x)\n',
  'struct',
  'typedef',
  'union',
];
STRANGE.push(
  '*',
  '...',
  '0x',
  '1e9',
  '"',
  "'",
  '/*',
  '\\\n',
  'goto',
  'case',
  'sizeof',
  '__attribute__((',
  'asm(',
);
STRANGE.push(
  '-1',
  '0xffffffffffffffff',
  '<<',
  '/ 0',
  '__builtin_memcpy',
  '_Static_assert(',
  '__int128',
  'float',
);

function words(text: string): string[] {
  return text.match(/\s+|\w+|"[^"\n]*"|[^\w\s]/g) ?? [];
}

function mutateWords(list: readonly string[], random: Random): string {
  const result = [...list];
  for (let count = 1 + random.below(6); count > 0; count--) {
    const at = random.below(result.length);
    const length = 1 + random.below(random.below(10) === 0 ? 200 : 4);
    switch (random.below(6)) {
      case 0:
        result.splice(at, length);
        break;
      case 1:
        result.splice(at, 0, ...result.slice(at, at + length));
        break;
      case 2:
        result.splice(at, 1, random.pick(result));
        break;
      case 3:
        result.splice(at, 1, random.pick(STRANGE));
        break;
      case 4:
        result.splice(at, 0, random.pick(STRANGE));
        break;
      default: {
        const other = random.pick(WORDS);
        const from = random.below(other.length);
        result.splice(at, length, ...other.slice(from, from + length));
      }
    }
  }
  return result.join('');
}

function compiles(text: string, seed: number): boolean {
  const result = compile({
    files: { read: () => undefined },
    main: 'mutated.bpf.c',
    text,
    options: { builtinHeader, cpu: ((seed % 4) + 1) as 1 | 2 | 3 | 4 },
  });
  const errors = result.diagnostics.filter(({ severity }) => severity === 'error' || severity === 'fatal');
  expect(errors.length > 0).toBe(result.object === null);
  return result.object !== null;
}

describe('mutated C sources', () => {
  it.each([
    ['words', (index: number, random: Random) => mutateWords(WORDS[index]!, random)],
    [
      'bytes',
      (index: number, random: Random) =>
        new TextDecoder('latin1').decode(
          mutate(new TextEncoder().encode(SAMPLES[index]!.text), random.next()),
        ),
    ],
  ] as const)('%s', { timeout: 60_000 * SCALE + 60_000 }, (_, change) => {
    let accepted = 0;
    for (let seed = 0; seed < COUNT * SCALE; seed++) {
      const index = seed % SAMPLES.length;
      const text = change(index, new Random(seed));
      const start = performance.now();
      try {
        if (compiles(text, seed)) accepted++;
      } catch (error) {
        throw new Error(`${SAMPLES[index]!.name}, seed ${seed}: ${(error as Error).message}`, {
          cause: error,
        });
      }
      const took = performance.now() - start;
      if (took > TIME_LIMIT) throw new Error(`${SAMPLES[index]!.name}, seed ${seed}: ${took} ms`);
    }
    expect(accepted).toBeLessThan(COUNT * SCALE);
  });
});

/** Sources that a generator of code could write: of one thing very many. None may overflow a stack or take more than its length asks for. */
describe('long C sources', () => {
  const many = (count: number, make: (index: number) => string, between = '') =>
    Array.from({ length: count }, (_, i) => make(i)).join(between);
  const main = (body: string) => `struct ctx { unsigned a, b; };
    __attribute__((section("tc"), used)) int prog(struct ctx *ctx) { unsigned long s = ctx->a; ${body} return s; }`;
  it.each([
    ['typedefs of typedefs', `typedef int t0;${many(12_000, (i) => `typedef t${i} t${i + 1};`)}t12000 last;`],
    [
      'lines with code of their own',
      `volatile unsigned g[100];${main(many(20_000, (i) => `g[${i % 100}] = s;\n`))}`,
    ],
    ['labels on one line', main(`${many(4_000, (i) => `l${i}:`)} s++;`)],
    ['cases in a row', main(`switch (ctx->b) { ${many(4_000, (i) => `case ${i * 2}:`)} s++; }`)],
    ['loops', main(many(200, (i) => `for (int i = 0; i < ctx->b; i++) s += s ^ ${i};`))],
    ['loops that are unrolled', main(many(300, (i) => `for (int i = 0; i < 4; i++) s += s ^ ${i};`))],
  ])('%s', { timeout: 240_000 }, (_, text) => {
    expect(compiles(text, 2)).toBe(true);
  });
});
