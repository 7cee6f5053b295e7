/** CPUs for tests and benchmarks, which run sources: the thread's file is bundled first. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { buildSync } from 'esbuild';
import type { StartCpuThread } from '../../src/contracts/cpus.ts';
import { nodeCpuThreads } from '../../src/host/cpu-threads.ts';

let threads: StartCpuThread | undefined;

export function cpuThreads(): StartCpuThread {
  if (threads === undefined) {
    const directory = mkdtempSync(join(tmpdir(), 'tsbpf-cpus-'));
    process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
    const file = join(directory, 'cpu-worker.mjs');
    buildSync({
      entryPoints: [fileURLToPath(new URL('../../src/host/cpu-worker.ts', import.meta.url))],
      outfile: file,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      logLevel: 'error',
    });
    threads = nodeCpuThreads(pathToFileURL(file));
  }
  return threads;
}
