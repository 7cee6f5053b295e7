/** BPF tokens: what a process in a user namespace may do with one and without, held against the embedded kernel's answers. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { TOKEN_CASES, tokenAnswers } from '../../kernel/token-answers.ts';

const PROGRAM = '/app/test/guest/progs/token';
const [major = 0, minor = 0] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number);

describe('tokens', () => {
  it.for(TOKEN_CASES.map((options) => [options.join(' ') || 'no options', options] as const))(
    '%s',
    ([, options], context) => {
      if (major < 6 || (major === 6 && minor < 9)) context.skip(`Linux ${major}.${minor} has no tokens`);
      if (!existsSync(PROGRAM))
        context.skip('no gcc that links statically, to build test/guest/progs/token.c');
      const lines = execFileSync(PROGRAM, options, { encoding: 'utf8' }).trim().split('\n');
      expect(lines).toEqual(tokenAnswers(options, `${major}.${minor}`));
    },
  );
});
