/**
 * The last step of `npm run build`: `dist/bin.js` and what it imports become a few files under `dist/chunks`, because finding and reading
 * some hundred modules takes longer than running a program. Packages stay outside. The directory may be given: `tools/bundle-bin.ts DIR`.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { build } from 'esbuild';

const directory = process.argv[2] ?? 'dist';
rmSync(join(directory, 'chunks'), { recursive: true, force: true });
await build({
  entryPoints: [join(directory, 'bin.js')],
  outdir: directory,
  allowOverwrite: true,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  chunkNames: 'chunks/[name]-[hash]',
  logLevel: 'warning',
});
rmSync(join(directory, 'bin.js.map'), { force: true });
