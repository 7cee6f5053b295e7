/**
 * Random C programs through clang and through our compiler: equal results on equal packets. `DIFFERENTIAL_COUNT` and
 * `DIFFERENTIAL_SEED` make longer and other runs.
 */
import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { generateProgram } from './generate.ts';
import { type Cpu, compileWithClang, compileWithOurs, observe } from './run.ts';

function clangIsThere(): boolean {
  try {
    execFileSync('clang-19', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const count = Number(process.env.DIFFERENTIAL_COUNT ?? 24);
const first = Number(process.env.DIFFERENTIAL_SEED ?? 1);
const available = clangIsThere();
if (!available) console.log('skipped: programs compared with clang: there is no clang-19');

describe.skipIf(!available)('random programs behave as clang compiles them', () => {
  for (const cpu of [1, 2, 3, 4] as const satisfies readonly Cpu[]) {
    it(`-mcpu=v${cpu}`, { timeout: 30_000 + 3_000 * count }, () => {
      let compared = 0;
      for (let seed = first + cpu * 1_000_000; compared < count / 4; seed++) {
        const text = generateProgram(seed, { signedDivision: cpu >= 4 });
        const theirs = observe(compileWithClang(text, cpu), seed);
        // Clang's object is what the kernel refuses now and then: too complex.
        if ('refused' in theirs) continue;
        const ours = observe(compileWithOurs(text, cpu), seed);
        expect('refused' in ours ? ours.refused : ours.runs, `seed ${seed}:\n${text}`).toEqual(theirs.runs);
        compared++;
      }
    });
  }
});
