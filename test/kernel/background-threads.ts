/** Threads that verify and compile, for tests and benchmarks, which run sources: the thread's file is bundled first. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { buildSync } from 'esbuild';
import type { StartBackgroundThread } from '../../src/contracts/background.ts';
import { nodeBackgroundThreads } from '../../src/host/cpu-threads.ts';

let threads: StartBackgroundThread | undefined;

export function backgroundThreads(): StartBackgroundThread {
  if (threads === undefined) {
    const directory = mkdtempSync(join(tmpdir(), 'tsbpf-background-'));
    process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
    const file = join(directory, 'background-worker.mjs');
    buildSync({
      entryPoints: [fileURLToPath(new URL('../../src/host/background-worker.ts', import.meta.url))],
      outfile: file,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      logLevel: 'error',
    });
    threads = nodeBackgroundThreads(pathToFileURL(file));
  }
  return threads;
}
