/** What tests in a web page have in common: headless Chromium where there is one, and sources bundled for a page, without Node. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { type Browser, chromium } from 'playwright-core';

export const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  (path) => existsSync(path),
);

/** The repository. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** A script that leaves its exports in the global `tsbpf`. `entry`: its text, with paths from the repository, or the file of it. */
export function bundle(entry: string | { readonly file: string }): string {
  const { outputFiles } = buildSync({
    ...(typeof entry === 'string'
      ? { stdin: { contents: entry, resolveDir: root, loader: 'ts' as const } }
      : { entryPoints: [`${root}/${entry.file}`] }),
    bundle: true,
    format: 'iife',
    globalName: 'tsbpf',
    platform: 'browser',
    target: 'es2022',
    write: false,
    logLevel: 'silent',
  });
  return outputFiles[0]!.text;
}

export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM!,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'],
  });
}
