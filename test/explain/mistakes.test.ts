/** Every typical mistake is explained: kind, place, reason, path, fix, and an input that goes wrong where there is one. */
import { describe, expect, it } from 'vitest';
import { assemble } from '../../src/asm/index.ts';
import type { LineInfo, VerifyRequest } from '../../src/contracts/verify.ts';
import { findInput } from '../../src/kernel/counterexample/index.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { ERRNO } from '../../src/util/index.ts';
import { explain, verify } from '../../src/verifier/index.ts';
import { ROOT } from '../verifier/support.ts';
import { MISTAKES, type Mistake } from './mistakes.ts';

/** Program and line records of a text with `; 12: source` lines. */
function parse(text: string): Pick<VerifyRequest, 'insns' | 'lineInfo'> {
  const lineInfo: LineInfo[] = [];
  let code = '';
  for (const line of text.trim().split('\n')) {
    const mark = /^; (\d+): (.*)/.exec(line);
    if (mark === null) code += `${line}\n`;
    else
      lineInfo.push({
        insn: code === '' ? 0 : assemble(code).length,
        file: 'mistake.bpf.c',
        line: Number(mark[1]),
        column: 2,
        text: `\t${mark[2]}`,
      });
  }
  return { insns: assemble(code), lineInfo };
}

function request(mistake: Mistake, text = mistake.text): VerifyRequest {
  const { type, maps = [], credentials = ROOT, gpl = true, flags = 0 } = mistake;
  const { lineInfo, ...program } = parse(text);
  return {
    progType: progTypeByName(type)!,
    expectedAttachType: 0,
    ...program,
    ...(text === mistake.text ? { lineInfo: lineInfo! } : {}),
    gplCompatible: gpl,
    mapByFd: (fd) => maps[fd - 1] ?? -ERRNO.EBADF,
    credentials,
    flags,
    logLevel: 0,
  };
}

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
