/** The command line where kprobes, fentry and LSM are: `tsbpf run --kernel host` attaches by section and sees its command only. */
import { execFileSync } from 'node:child_process';
import { existsSync, unlinkSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { cli } from '../../cli/cli.ts';

const OBJECT = '/app/test/guest/progs/printed.bpf.o';
const FILE = '/tmp/printed';

/** Program → what it says of `rm`. */
const SAID: readonly (readonly [program: string, line: string])[] = [
  ['on_kprobe', 'kprobe -100'],
  ['on_kretprobe', 'kretprobe 0'],
  ['on_ksyscall', `ksyscall ${FILE}`],
  ['on_fentry', `fentry ${FILE}`],
  ['on_fexit', 'fexit 0'],
  ['on_tp_btf', 'tp_btf /bin/rm'],
];

const run = (program: string, ...command: string[]) =>
  cli(['run', OBJECT, '--program', program, '--kernel', 'host', '--', ...command]);

describe.skipIf(!existsSync(OBJECT))('the command line', () => {
  it.for(SAID)('run --kernel host: %s', async ([program, line]) => {
    writeFileSync(FILE, '');
    const { exit, stdout, stderr } = await run(program, '/bin/rm', FILE);
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    expect(stdout).toContain(line);
    expect(existsSync(FILE)).toBe(false);
  });

  it('run --kernel host: an LSM program refuses its command, and nobody else', async () => {
    writeFileSync(FILE, '');
    const { stdout, stderr } = await run('on_lsm', '/bin/rm', FILE);
    expect(stderr).toBe('note: the command ended with status 1\n');
    expect(existsSync(FILE)).toBe(true);
    expect(stdout).toContain('lsm');
    execFileSync('/bin/rm', [FILE]);
    expect(existsSync(FILE)).toBe(false);
  });

  it('run --kernel host: all programs of an object at once', async () => {
    writeFileSync(FILE, '');
    const programs = SAID.flatMap(([program]) => ['--program', program]);
    const { exit, stdout } = await cli([
      'run',
      OBJECT,
      ...programs,
      '--kernel',
      'host',
      '--',
      '/bin/rm',
      FILE,
    ]);
    expect(exit).toBe(0);
    for (const [, line] of SAID) expect(stdout).toContain(line);
    // What this process does is no event of the command.
    writeFileSync(FILE, '');
    unlinkSync(FILE);
  });
});
