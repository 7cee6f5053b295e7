/** Compiles the C sources of `test/object/src` with clang; tests are skipped, with a line that says so, where there is none. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const HEADERS = ['-I/usr/include/x86_64-linux-gnu', '-I/usr/include/aarch64-linux-gnu'];

function runs(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** Name of the clang to use, or undefined. */
export const clang = ['clang-19', 'clang'].find((name) => runs(name, ['--version']));

export function skipReason(): string | undefined {
  if (clang === undefined) return 'no clang on this machine';
  return undefined;
}

export interface CompileOptions {
  readonly target?: 'bpf' | 'bpfeb';
  readonly debug?: boolean;
  readonly flags?: readonly string[];
}

/** Compiles a source text to the bytes of an object. */
export function compileText(source: string, options: CompileOptions = {}): Uint8Array {
  const directory = mkdtempSync(join(tmpdir(), 'tsbpf-clang-'));
  try {
    const output = join(directory, 'out.o');
    const input = join(directory, 'source.bpf.c');
    // From a file: clang stores the text of source lines only for files.
    writeFileSync(input, source);
    const args = ['-O2', '-target', options.target ?? 'bpf', ...HEADERS];
    if (options.debug !== false) args.push('-g');
    args.push(...(options.flags ?? []), '-c', input, '-o', output);
    const result = spawnSync(clang!, args, { encoding: 'utf8' });
    if (result.status !== 0) throw new Error(`clang failed:\n${result.stderr}`);
    return new Uint8Array(readFileSync(output));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export function fixtureSource(name: string): string {
  return readFileSync(new URL(`src/${name}.bpf.c`, import.meta.url), 'utf8');
}

/** Compiles `test/object/src/<name>.bpf.c`. */
export function compileFixture(name: string, options: CompileOptions = {}): Uint8Array {
  return compileText(fixtureSource(name), options);
}
