/** Every kind of refusal has a row whose sentences can be made, and no check refuses without a kind. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { progTypeByName } from '../../src/spec/index.ts';
import { REASONS } from '../../src/verifier/index.ts';

const SRC = join(import.meta.dirname, '../../src');

function sources(folder: string): string[] {
  return readdirSync(join(SRC, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.startsWith('explain'))
    .map((name) => readFileSync(join(SRC, folder, name), 'utf8'));
}

const declared = [
  ...readFileSync(join(SRC, 'contracts/refusal.ts'), 'utf8').matchAll(/^ {2}\| '(\w+)'/gm),
].map(([, kind]) => kind!);

describe('the table of reasons', () => {
  it('has one row for each kind', () => {
    // The list of regions has the same shape.
    const kinds = declared.slice(0, declared.indexOf('internal') + 1);
    expect(kinds.length).toBeGreaterThan(90);
    expect(Object.keys(REASONS).sort()).toEqual([...kinds].sort());
  });

  it('has a row for every reason that a check gives, and every check gives one', () => {
    let refusals = 0;
    for (const text of sources('verifier')) {
      for (const [, kind] of text.matchAll(/\bkind: '(\w+)',? ?(?:\n|\}|[a-z]+:|\w+,)/g))
        if (declared.includes(kind!)) expect(REASONS).toHaveProperty(kind!);
      refusals += [...text.matchAll(/\benv\.(fail|refuse)\(/g)].length;
    }
    expect(refusals).toBeGreaterThan(250);
  });

  it.each(Object.keys(REASONS))('%s: has a title, a reason, a need and a fix in words', (kind) => {
    const row = REASONS[kind as keyof typeof REASONS];
    const made = {
      reason: { kind: kind as keyof typeof REASONS, register: 1, limit: 64, actual: 65, offset: 60, size: 8 },
      request: { progType: progTypeByName('xdp')! } as Parameters<typeof row.why>[0]['request'],
      name: 'R1',
      register: undefined,
      type: 'a number',
      origin: undefined,
      deed: 'reads 8 bytes at R1',
      called: 'bpf_map_lookup_elem',
    };
    const sentences = [
      row.title,
      row.why(made),
      row.needed(made),
      row.fix(made).text,
      row.asked?.(made) ?? 'x',
    ];
    for (const sentence of sentences) {
      expect(sentence).not.toBe('');
      expect(sentence).not.toMatch(/undefined|NaN|\[object/);
    }
    // Operands that a check does not know must not show either.
    const bare = { ...made, reason: { kind: made.reason.kind } };
    expect(`${row.why(bare)} ${row.needed(bare)} ${row.fix(bare).text}`).not.toMatch(/NaN|\[object/);
  });
});
