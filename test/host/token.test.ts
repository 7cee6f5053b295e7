/** BPF tokens on this machine's kernel, held against the embedded one: test/guest/progs/token.c in a user namespace of its own. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { TOKEN_CASES, tokenAnswers } from '../kernel/token-answers.ts';
import { skipReason } from './host-support.ts';

const [major = 0, minor = 0] = release().split('.').map(Number);
const directory = mkdtempSync(join(tmpdir(), 'tsbpf-token-'));
const program = join(directory, 'token');
afterAll(() => rmSync(directory, { recursive: true }));

function whyNot(): string | undefined {
  if (process.getuid?.() !== 0) return 'not root';
  if (major < 6 || (major === 6 && minor < 9)) return `Linux ${major}.${minor} has no tokens`;
  const { status } = spawnSync('gcc', ['-O1', '-o', program, 'test/guest/progs/token.c']);
  if (status !== 0) return 'no gcc to build test/guest/progs/token.c';
  return spawnSync(program, []).status === 0 ? undefined : 'no user namespaces';
}

const why = whyNot();

describe.skipIf(why !== undefined)('tokens', () => {
  it.for(TOKEN_CASES.map((options) => [options.join(' ') || 'no options', options] as const))(
    '%s',
    ([, options]) => {
      const lines = execFileSync(program, options, { encoding: 'utf8' }).trim().split('\n');
      expect(lines).toEqual(tokenAnswers(options, `${major}.${minor}`));
    },
  );
});

if (why !== undefined) skipReason('tokens', why);
