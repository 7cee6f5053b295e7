/** Entry files of threads as one file of JavaScript: tests and benchmarks run sources, which a thread cannot load. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { buildSync } from 'esbuild';

/** `name`: of a file in `src/host`, without its ending. The bundle goes when the process ends. */
export function workerBundle(name: string): URL {
  const directory = mkdtempSync(join(tmpdir(), `tsbpf-${name}-`));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, `${name}.mjs`);
  buildSync({
    entryPoints: [fileURLToPath(new URL(`../src/host/${name}.ts`, import.meta.url))],
    outfile: file,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    logLevel: 'error',
  });
  return pathToFileURL(file);
}
