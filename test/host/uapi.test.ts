import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('generated UAPI tables are those of the kernel, where it is the one they were made from', () => {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const output = execFileSync(process.execPath, ['--import', 'tsx', 'tools/generate-uapi.ts', '--check'], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
  });
  if (output !== '') console.log(output.trim());
  expect(output).not.toMatch(/stale/);
});
