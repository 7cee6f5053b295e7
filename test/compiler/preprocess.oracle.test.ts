/** The preprocessor beside clang's: random macro programs and conditions, and the predefined macros. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { predefinedMacros } from '../../src/compiler/preprocess/predefined.ts';
import { expression, generateSection, Random } from './preprocess-generate.ts';
import { clangPreprocess, preprocess } from './preprocess-support.ts';

const absent = spawnSync('clang-19', ['--version']).error !== undefined;
if (absent) console.log('skipped: no clang-19 on this machine');

/** clang's `-P` output cannot show every border between tokens: a prefix and a string read as one, dots join. */
function joined(tokens: readonly string[]): string {
  return tokens
    .join(' ')
    .replace(/\b(u8|u|U|L) (["'])/g, '$1$2')
    .replace(/\. \.\.\.(?= )/g, '... .');
}

function sections(tokens: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  let name = '';
  let from = 0;
  const close = (to: number): void => {
    found.set(name, joined(tokens.slice(from, to)));
  };
  tokens.forEach((token, at) => {
    if (token !== '@' || tokens[at + 2] === 'end') return;
    close(at);
    name = tokens[at + 1]!;
    from = at;
  });
  close(tokens.length);
  return found;
}

describe.skipIf(absent)('beside clang', () => {
  it('expands 1000 random sets of macros to the same tokens', () => {
    const different: string[] = [];
    for (let seed = 1; seed <= 10; seed++) {
      const random = new Random(seed);
      const parts = Array.from({ length: 100 }, (_, i) => generateSection(random, i));
      const clang = clangPreprocess(parts.join(''))!;
      const ours = preprocess(parts.join(''), {}, { errorLimit: 0 });
      const expected = sections(clang.tokens);
      const got = sections(ours.tokens);
      parts.forEach((part, i) => {
        if (expected.get(String(i)) !== got.get(String(i)))
          different.push(
            `seed ${seed}:\n${part}clang: ${expected.get(String(i))}\nours:  ${got.get(String(i))}`,
          );
      });
    }
    expect(different).toEqual([]);
  });

  it('decides 2000 random conditions alike, and complains about the same ones', () => {
    const random = new Random(77);
    let text = '#define NONE_OF_THEM\n#define A 1\n';
    for (let i = 0; i < 2000; i++)
      text += `#if ${expression(random, ['A', 'B'], 0)}\nyes${i}\n#else\nno${i}\n#endif\n`;
    const clang = clangPreprocess(text)!;
    const ours = preprocess(text, {}, { errorLimit: 0 });
    expect(ours.tokens).toEqual(clang.tokens);
    const errors = ours.reports
      .filter((one) => one.includes(': error: '))
      .map((one) => one.replace(/^(\d+):\d+/, '$1'));
    expect(errors).toEqual(clang.reports.map((one) => one.replace(/^(\d+):\d+/, '$1')));
  });

  for (const cpu of [1, 2, 3, 4] as const)
    for (const optimize of [0, 2, 's'] as const)
      it(`predefines what clang does with -mcpu=v${cpu} -O${optimize}`, () => {
        const run = spawnSync(
          'clang-19',
          ['-target', 'bpf', `-mcpu=v${cpu}`, `-O${optimize}`, '-dM', '-E', '-x', 'c', '/dev/null'],
          { encoding: 'utf8' },
        );
        const lines = (text: string): string[] =>
          text
            .split('\n')
            .map((line) => line.trim())
            .filter((line) => line !== '' && !/__(?:clang_version|VERSION)__/.test(line))
            .sort();
        expect(lines(predefinedMacros({ cpu, optimize }))).toEqual(lines(run.stdout));
      });
});
