/** `tsbpf verify --release`: on which releases of Linux programs load. */
import { describe, expect, it } from 'vitest';
import { cli, example, temporary } from './cli.ts';

async function object(name: string, source: string, section = 'xdp'): Promise<string> {
  const file = temporary(`${name}.o`);
  await cli(['asm', temporary(`${name}.s`, source), '-o', file, '--section', section, '--name', name]);
  return file;
}

describe('verify --release', () => {
  it('one row a program, one column a release, and the reasons', async () => {
    const file = await object('tai', 'call bpf_ktime_get_tai_ns\nr0 = 2\nexit\n');
    const { exit, stdout } = await cli(['verify', file, '--release', '5.15,6.1,6.18']);
    expect(exit).toBe(1);
    expect(stdout).toMatch(/│ program │ 5\.15 │ 6\.1 │ 6\.18 │/);
    expect(stdout).toMatch(/│ tai +│ no +│ yes │ yes +│/);
    expect(stdout).toContain('tai on 5.15: helper bpf_ktime_get_tai_ns since 6.1');
    expect(stdout).toContain('1 program, 0 on every release asked for');
  });

  it('exit code 0 where all load everywhere', async () => {
    const file = await object('plain', 'r0 = 2\nexit\n');
    const { exit, stdout } = await cli(['verify', file, '--release', 'all']);
    expect(exit).toBe(0);
    expect(stdout.match(/yes/g)).toHaveLength(7);
  });

  it('the loader does for old kernels what libbpf does: older helpers, no maps for mmap', async () => {
    for (const name of ['hello', 'exec_perf']) {
      const { exit, stdout } = await cli(['verify', example(name), '--release', '5.4']);
      expect({ exit, stdout }).toMatchObject({ exit: 0, stdout: expect.stringContaining('yes') });
    }
  });

  it('as JSON', async () => {
    const { exit, stdout } = await cli(['verify', example('exec_ringbuf'), '--release', '5.4,6.1', '--json']);
    expect(exit).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      version: 1,
      releases: ['5.4', '6.1'],
      programs: [
        {
          name: 'exec_ringbuf',
          releases: [
            {
              release: '5.4',
              loads: false,
              errno: 'EINVAL',
              needs: { what: 'map type ringbuf', since: '5.8' },
            },
            { release: '6.1', loads: true },
          ],
        },
      ],
    });
  });

  it.each(['', '6', '4.19', '7.0', '6.1,,', 'x'])('%j is no list of releases', async (list) => {
    const { exit, stderr } = await cli(['verify', example('hello'), '--release', list]);
    expect(exit).toBe(2);
    expect(stderr).toMatch(/release/i);
  });

  it('the host kernel cannot be another release', async () => {
    const { exit, stderr } = await cli(['verify', example('hello'), '--release', '6.1', '--kernel', 'host']);
    expect(exit).not.toBe(0);
    expect(stderr).toContain('--kernel embedded');
  });
});
