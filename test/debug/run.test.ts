import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { cli, temporary } from '../cli/cli.ts';
import { STEPS } from './programs.ts';

const PACKET = '00'.repeat(60);

describe('tsbpf run --coverage, --profile', () => {
  it('writes lcov and folded stacks, and shows tables', async () => {
    const info = temporary('steps.info');
    const folded = temporary('steps.folded');
    const { exit, stdout } = await cli([
      ...['run', STEPS, '--data', PACKET, '--repeat', '3'],
      ...['--coverage', info, '--profile', '--folded', folded],
    ]);
    expect(exit).toBe(0);
    expect(stdout).toContain('│ ./steps.bpf.c │ 100.0 % │ 19/19 │   100.0 % │ 3/3 │   62.5 % │ 5/8 │');
    expect(stdout).toContain('profile: 256 instructions');
    expect(stdout).toContain('*(__u64 *)ctx += index;');
    const text = readFileSync(info, 'utf8');
    expect(text).toMatch(/^TN:steps_bpf_o\nSF:\.\/steps\.bpf\.c\nFN:21,classify\n/);
    expect(text).toContain('FNDA:12,add_round\n');
    expect(text).toMatch(/LF:19\nLH:19\nend_of_record\n$/);
    expect(readFileSync(folded, 'utf8')).toBe('steps;add_round 120\nsteps 118\nsteps;classify 18\n');
  });

  it('is part of the JSON document', async () => {
    const info = temporary('json.info');
    const argv = ['run', STEPS, '--data', PACKET, '--json', '--coverage', info, '--profile'];
    const { coverage, profile } = JSON.parse((await cli(argv)).stdout);
    expect(coverage.totals.functions).toEqual({ found: 3, hit: 3 });
    expect(profile.functions[0]).toMatchObject({ name: 'steps', calls: 1 });
  });

  it.each([
    [['--kernel', 'host'], 'run where nobody can count'],
    [['--engine', 'jit'], 'compiled programs are not counted'],
  ])('is refused with %s', async (flags, why) => {
    const info = temporary('refused.info');
    const { exit, stderr } = await cli(['run', STEPS, '--coverage', info, ...flags]);
    expect({ exit, stderr }).toEqual({ exit: 2, stderr: expect.stringContaining(why) });
    expect(existsSync(info)).toBe(false);
  });
});
