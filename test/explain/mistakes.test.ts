/** Every typical mistake is explained: kind, place, reason, path, fix, and an input that goes wrong where there is one. */
import { describe, expect, it } from 'vitest';
import { findInput } from '../../src/kernel/counterexample/index.ts';
import { explain, verify } from '../../src/verifier/index.ts';
import { MISTAKES } from './mistakes.ts';
import { request } from './support.ts';

describe.each(MISTAKES.map((mistake) => [mistake.name, mistake] as const))('%s', (_name, mistake) => {
  const asked = request(mistake);
  const result = verify(asked);
  if (result.verdict === 'accept') throw new Error(`${mistake.name}: it is accepted`);
  const explanation = explain(asked, result);

  it('is explained with its line, reason, path and a fix', () => {
    expect(explanation.kind).toBe(mistake.kind);
    expect(explanation.place?.source?.line ?? null).toBe(mistake.line);
    expect(explanation.why).toMatch(mistake.why);
    expect(`${explanation.fix.text}\n${explanation.fix.code ?? ''}`).toMatch(mistake.fix);
    expect(explanation.needed).not.toBe('');
    const path = explanation.path.map(({ what }) => what).join('\n');
    if (mistake.path !== undefined) expect(path).toMatch(mistake.path);
    for (const step of explanation.path) expect(step.text).not.toBe('');
    // Sentences must not show what was left out.
    expect(JSON.stringify(explanation)).not.toMatch(/undefined|NaN|\[object/);
  });

  if (mistake.input !== undefined) {
    it(
      mistake.input === null ? 'no input is found that goes wrong' : 'an input is found that goes wrong',
      () => {
        const search = findInput(asked, result, { values: new Map() }, { milliseconds: 20_000, tries: 2000 });
        expect(search.note).toBeUndefined();
        if (mistake.input === null) expect(search.found).toBeUndefined();
        else expect(search.found?.what).toMatch(mistake.input!);
      },
    );
  }

  if (mistake.fixed !== undefined) {
    it('loads with the fix', () => {
      const fixed = verify(request(mistake, mistake.fixed));
      expect(fixed.verdict === 'accept' ? 'accept' : fixed.message).toBe('accept');
    });
  }
});

describe('explanations', () => {
  it('are the same each time', () => {
    const all = MISTAKES.map((mistake) => {
      const asked = request(mistake);
      const result = verify(asked);
      return result.verdict === 'accept' ? '' : JSON.stringify(explain(asked, result));
    });
    const again = MISTAKES.map((mistake) => {
      const asked = request(mistake);
      const result = verify(asked);
      return result.verdict === 'accept' ? '' : JSON.stringify(explain(asked, result));
    });
    expect(again).toEqual(all);
  });
});
