/**
 * The last step of `npm run build`: `dist/bin.js` and all that it imports, packages too, become one file, `dist/bin.cjs`, because finding
 * and reading some hundred modules takes longer than running a program. `dist/start.cjs` runs that file with V8's code of the last time
 * (`src/cli/code-cache.ts`). It is the package's command; `dist/bin.js` is the same for who imports it: Node needs some milliseconds more
 * to start an ECMAScript module. The directory may be given: `tools/bundle-bin.ts DIR`.
 *
 * In the file each part (what several commands have in common, or one has for itself) is a function that is called when a command asks
 * for it; V8 keeps nothing of the others. Names are short, as each is a string that V8 looks up at every start: `--debug` runs the modules
 * themselves (`dist/main.js`), so that a stack has names, files and lines.
 */
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import process from 'node:process';
import { build, type Metafile, transform } from 'esbuild';

const directory = resolve(process.argv[2] ?? 'dist');
const target = 'node20';
/** Built-in modules that packages ask for and commands hardly ever use. */
const DEFERRED = ['node:child_process'];

// The compiler's file becomes the one that `--debug` runs; a second time it is there already.
const main = join(directory, 'main.js');
if (readFileSync(join(directory, 'bin.js'), 'utf8').includes('runCli'))
  renameSync(join(directory, 'bin.js'), main);
const { metafile, outputFiles } = await build({
  entryPoints: [main],
  outdir: directory,
  bundle: true,
  splitting: true,
  write: false,
  format: 'esm',
  platform: 'node',
  target,
  // Built for one machine, and optional.
  external: ['koffi'],
  chunkNames: 'part-[hash]',
  // Names are made short below: they say which variables change.
  minifyWhitespace: true,
  lineLimit: 160,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
});
/** Exported variables that are not constants. */
const changing = new Set(
  Object.keys(metafile.inputs).flatMap((path) =>
    [...readFileSync(path, 'utf8').matchAll(/^export (?:let|var) (\w+)/gm)].map(([, name]) => name!),
  ),
);
const parts = await Promise.all(
  outputFiles.map(async ({ path, text }) => `${JSON.stringify(basename(path))}:${await part(text)}`),
);
// What `runBundle` evaluates. The parts are functions, of which V8 only makes code when they are called.
const text = `(function(exports,require,module,__filename){const bundleUrl=require("node:url").pathToFileURL(__filename).href;
const deferred=(name)=>new Proxy({},{get:(_,key)=>require(name)[key]});
const DEFERRED=${JSON.stringify(DEFERRED)};
const loaded={};
const load=(name)=>{if(!name.startsWith("./"))return DEFERRED.includes(name)?deferred(name):require(name);
const key=name.slice(2);let part=loaded[key];if(part===undefined){part=loaded[key]={__esModule:true};parts[key](part,load,bundleUrl)}return part};
const parts={
${parts.join(',\n')}};
load("./main.js")})
${licences(metafile)}`;
const bundle = join(directory, 'bin.cjs');
// It is read as Latin-1, a byte a character.
const foreign = /[^ -~\n\t]/.exec(text);
if (foreign !== null) throw new Error(`${bundle} has a '${foreign[0]}' at ${foreign.index}`);
writeFileSync(bundle, text);
// CommonJS too: a built-in module that is imported costs more than one that is required.
await build({
  stdin: {
    contents: `import { runBundle } from './cli/code-cache.js';
if (process.argv.includes('--debug')) import('./main.js');
else runBundle(require.resolve('./bin.cjs'));`,
    resolveDir: directory,
  },
  outfile: join(directory, 'start.cjs'),
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target,
  external: ['./bin.cjs', './main.js'],
  banner: { js: '#!/usr/bin/env node' },
  logLevel: 'warning',
});
chmodSync(join(directory, 'start.cjs'), 0o755);
writeFileSync(
  join(directory, 'bin.js'),
  "#!/usr/bin/env node\nimport { createRequire } from 'node:module';\n\ncreateRequire(import.meta.url)('./start.cjs');\n",
);
rmSync(join(directory, 'bin.js.map'), { force: true });

/**
 * A chunk as a function of its exports. What it imports of other chunks becomes constants of its own, so that nothing is looked up when
 * it runs; an exported variable that changes later would be missed, and is refused.
 */
async function part(chunk: string): Promise<string> {
  let rest = chunk.replace(/^#!.*\n/, '');
  let head = '';
  for (;;) {
    const [all, what = '', from = ''] = /^\s*import([^"]*)"([^"]+)";?/.exec(rest) ?? [];
    if (all === undefined) break;
    rest = rest.slice(all.length);
    const names = /^\s*\{([^}]*)\}\s*from\s*$/.exec(what)?.[1];
    if (!from.startsWith('./')) head += `import${what}"${from}";`;
    else if (names !== undefined) head += `const{${names.replaceAll(/\s+as\s+/g, ':')}}=require("${from}");`;
    else if (what.trim() === '') head += `require("${from}");`;
    else throw new Error(`'import${what}"${from}"' is none of the forms that are expected here`);
  }
  const body = rest.replace(/export\{([^}]*)\};?\s*$/, (_, names: string) =>
    names
      .split(',')
      .map((name) => {
        const [local, shown = local] = name.trim().split(/\s+as\s+/) as [string, string?];
        if (changing.has(local.replace(/\d*$/, '')))
          throw new Error(`'${local}' changes, and is used from another part of the bundle`);
        return `exports.${shown}=${local};`;
      })
      .join(''),
  );
  const { code } = await transform(head + body, {
    format: 'cjs',
    platform: 'node',
    target,
    // `require` can be given to a script, an import cannot in every Node that this runs on.
    supported: { 'dynamic-import': false },
    define: { 'import.meta.url': 'bundleUrl' },
    minify: true,
    lineLimit: 160,
  });
  return `function(exports,require,bundleUrl){${code}}`;
}

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
