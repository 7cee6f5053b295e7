/**
 * The last step of `npm run build`: `dist/bin.js` and all that it imports, packages too, become one file, `dist/bin.cjs`, because finding
 * and reading some hundred modules takes longer than running a program. `dist/start.cjs` runs that file with V8's code of the last time
 * (`src/cli/code-cache.ts`). It is the package's command; `dist/bin.js` is the same for who imports it: Node needs some milliseconds more
 * to start an ECMAScript module. Modules are evaluated when a command asks for them. The directory may be given: `tools/bundle-bin.ts DIR`.
 */
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import process from 'node:process';
import { build, type Metafile } from 'esbuild';

const directory = resolve(process.argv[2] ?? 'dist');
rmSync(join(directory, 'chunks'), { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: [join(directory, 'bin.js')],
  outfile: join(directory, 'bin.cjs'),
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  // Built for one machine, and optional.
  external: ['koffi'],
  // `require` can be given to a script, an import cannot in every Node that this runs on.
  supported: { 'dynamic-import': false },
  define: { 'import.meta.url': 'bundleUrl' },
  // What `runBundle` evaluates.
  banner: {
    js: '(function(exports,require,module,__filename,__dirname){const bundleUrl = require("node:url").pathToFileURL(__filename).href;',
  },
  footer: { js: '})' },
  // Names stay, for reports of errors.
  minifyWhitespace: true,
  lineLimit: 160,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
});
const bundle = join(directory, 'bin.cjs');
const text = `${readFileSync(bundle, 'utf8').replace(/^#!.*\n/, '')}${licences(metafile)}`;
// It is read as Latin-1, a byte a character.
const foreign = /[^ -~\n\t]/.exec(text);
if (foreign !== null) throw new Error(`${bundle} has a '${foreign[0]}' at ${foreign.index}`);
writeFileSync(bundle, text);
// CommonJS too: a built-in module that is imported costs more than one that is required.
await build({
  stdin: {
    contents: "import { runBundle } from './cli/code-cache.js';\nrunBundle(require.resolve('./bin.cjs'));\n",
    resolveDir: directory,
  },
  outfile: join(directory, 'start.cjs'),
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  external: ['./bin.cjs'],
  banner: { js: '#!/usr/bin/env node' },
  logLevel: 'warning',
});
chmodSync(join(directory, 'start.cjs'), 0o755);
writeFileSync(
  join(directory, 'bin.js'),
  "#!/usr/bin/env node\nimport { createRequire } from 'node:module';\n\ncreateRequire(import.meta.url)('./start.cjs');\n",
);
rmSync(join(directory, 'bin.js.map'), { force: true });

/** The licences of the packages in the bundle, as a comment. */
function licences({ inputs }: Metafile): string {
  const packages = new Set<string>();
  for (const path of Object.keys(inputs)) {
    const [, root] = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\/.*$/.exec(path) ?? [];
    if (root !== undefined && existsSync(join(root, 'package.json'))) packages.add(root);
  }
  return [...packages]
    .sort()
    .map((root) => {
      const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
        name: string;
        version: string;
      };
      const file = readdirSync(root).find((entry) => /^licen[cs]e/i.test(entry));
      if (file === undefined) throw new Error(`${relative(dirname(root), root)} has no licence file`);
      const text = readFileSync(join(root, file), 'utf8')
        .replaceAll('*/', '* /')
        .replaceAll('\u00a9', '(c)')
        .normalize('NFKD')
        .replaceAll(/[^ -~\n\t]/g, '');
      return `/*! ${name} ${version}\n${text}*/\n`;
    })
    .join('');
}
