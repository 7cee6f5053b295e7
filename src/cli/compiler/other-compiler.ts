/** `--cc clang`: the compiler of this machine in place of ours, with the same flags. */
import { spawnSync } from 'node:child_process';
import { UsageError } from '../errors.ts';

/** Names that stand for "whichever clang there is", the newest of them first. */
const CLANGS = [
  'clang',
  'clang-21',
  'clang-20',
  'clang-19',
  'clang-18',
  'clang-17',
  'clang-16',
  'clang-15',
  'clang-14',
];

/** Runs it with its own messages on our standard error; gives its exit code. */
export function runOtherCompiler(name: string, argv: readonly string[]): number {
  const flags = [...argv];
  if (!flags.some((word) => word === '-target' || word.startsWith('--target=')))
    flags.unshift('-target', 'bpf');
  if (!flags.some((word) => ['-c', '-S', '-E', '-fsyntax-only'].includes(word))) flags.push('-c');
  for (const candidate of name === 'clang' ? CLANGS : [name]) {
    const run = spawnSync(candidate, flags, { stdio: 'inherit' });
    if (run.error === undefined) return run.status ?? 1;
  }
  throw new UsageError(
    `there is no '${name}' on this machine`,
    'leave out --cc: tsbpf has a compiler of its own',
  );
}
