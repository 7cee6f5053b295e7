/** Every command, whatever it is: help with examples, JSON, and what it says to a wrong command line. */
import { describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/commands.ts';
import { cli } from './cli.ts';

/** Names below `Commands:` in a help text. */
function listed(help: string): string[] {
  const [, block = ''] = /\nCommands:\n((?: {2}.*\n)+)/.exec(help) ?? [];
  return [...block.matchAll(/^ {2}([a-z]+)/gm)].map(([, name]) => name!).filter((name) => name !== 'help');
}

async function leaves(path: readonly string[]): Promise<string[][]> {
  const { stdout } = await cli([...path, '--help']);
  const names = listed(stdout);
  if (names.length === 0) return [[...path]];
  return (await Promise.all(names.map((name) => leaves([...path, name])))).flat();
}

const commands = await leaves([]);

it('help lists every command', () => {
  expect([...new Set(commands.map(([name]) => name))]).toEqual(COMMANDS.map(({ name }) => name));
});

describe.each(commands.map((path) => [path.join(' '), path] as const))('tsbpf %s', (line, path) => {
  it('has help with examples that call it', async () => {
    const { exit, stdout, stderr } = await cli([...path, '--help']);
    expect([exit, stderr]).toEqual([0, '']);
    expect(stdout).toContain('\nExamples:\n  $ tsbpf ');
    expect(stdout).toMatch(new RegExp(`\\$ tsbpf ${line.replace(' list', ' (list|show)')} `));
  });

  // What cc writes is an object.
  it.runIf(path[0] !== 'cc')('speaks JSON', async () => {
    expect((await cli([...path, '--help'])).stdout).toMatch(/--json/);
  });

  it.each([
    ['an unknown option', ['--frobnicate']],
    ['nothing to work on', []],
  ])('%s: what is wrong, and exit code 2', async (_what, args) => {
    const { exit, stdout, stderr } = await cli([...path, ...args]);
    expect([exit, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^error: .+\n(hint: |\(--help)/);
  });

  it('a file that is not there: its name, and exit code 1', async () => {
    const args = {
      'gen object': ['/no/such/out.o', '/no/such/file'],
      'prog dump': ['xlated', '/no/such/file'],
    };
    const { exit, stderr } = await cli([
      ...path,
      ...((args as Record<string, string[]>)[line] ?? ['/no/such/file']),
    ]);
    expect(exit).toBe(1);
    expect(stderr).toMatch(/error: .*\/no\/such\/file/);
  });
});

it.each([[['frobnicate']], [['prog', 'frobnicate']], [['verfy']], [['--frobnicate']]])(
  '%j: exit code 2',
  async (argv) => {
    const { exit, stdout, stderr } = await cli(argv);
    expect([exit, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^error: unknown (command|option) /);
  },
);
