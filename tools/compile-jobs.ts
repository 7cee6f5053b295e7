/** C sources that are to be compiled, as command lines name them: directories that hold some, and lists of paths with flags. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

export interface Job {
  readonly path: string;
  readonly flags: readonly string[];
}

/** A directory is searched for C files with sections for BPF; a `.c` is itself; any other file has a line a source: path and flags. */
export function jobsOf(argument: string): Job[] {
  if (argument.endsWith('.c')) return [{ path: resolve(argument), flags: [] }];
  if (statSync(argument).isDirectory()) {
    return readdirSync(argument, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.c'))
      .sort()
      .map((name) => join(argument, name))
      .filter((path) => path.endsWith('.bpf.c') || /\bSEC\s*\(/.test(readFileSync(path, 'utf8')))
      .map((path) => ({ path, flags: [] }));
  }
  return readFileSync(argument, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const [path, ...flags] = line.trim().split(/\s+/);
      return { path: resolve(dirname(argument), path!), flags };
    });
}
