/**
 * The guest's root file system, in two archives: the base (busybox, this Node with its libraries, koffi, kernel modules),
 * kept in the cache under a name made of what is in it, and the layer of today (the bundled suite, its programs).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { type Entry, writeCpio } from './cpio.ts';
import { cacheDirectory, NoGuest, type Packages } from './packages.ts';
import { CHANNEL } from './protocol.ts';

const here = dirname(fileURLToPath(import.meta.url));
const project = join(here, '../..');
const require = createRequire(import.meta.url);

/** Where the suite lies in the guest. */
export const APP = '/app';

/** Modules that init loads; they need no other. */
const MODULES = [
  'drivers/net/veth.ko',
  'drivers/net/dummy.ko',
  'net/sched/sch_ingress.ko',
  'net/sched/cls_bpf.ko',
];

const APPLETS = [
  'sh',
  'cat',
  'echo',
  'ls',
  'true',
  'rm',
  'touch',
  'mkdir',
  'mount',
  'umount',
  'sleep',
  'stty',
  'insmod',
  'ip',
  'ping',
  'dmesg',
  'poweroff',
  'id',
  'kill',
  'sync',
];

/** Programs of this machine that go along where it has them: busybox's are less. */
const OPTIONAL_PROGRAMS = ['ip', 'bpftool'];

function findProgram(name: string): string | undefined {
  const places = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'];
  return places
    .map((directory) => join(directory, name))
    .find((path) => path.startsWith('/') && existsSync(path));
}

/** The libraries that a program or a shared object of this machine loads, by the names it looks for. */
function libraries(file: string): string[] {
  const result = spawnSync('ldd', [file], { encoding: 'utf8' });
  if (result.status !== 0) throw new NoGuest(`ldd cannot tell the libraries of ${file}`);
  return [...result.stdout.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1]!);
}

/** The files of an installed package that Node reads: no sources in C, no documents. */
function packageFiles(name: string): Entry[] | null {
  const root = (require.resolve.paths(name) ?? []).map((path) => join(path, name)).find(existsSync);
  if (root === undefined) return null;
  const walk = (directory: string): string[] =>
    readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory())
        return ['doc', 'vendor', 'musl_x64', 'node_modules'].includes(entry.name) ? [] : walk(path);
      return /\.(?:[cm]?js|json|node)$/.test(entry.name) ? [path] : [];
    });
  return walk(root).map((file) => ({
    path: `${APP}/node_modules/${name}${file.slice(root.length)}`,
    kind: 'file',
    from: { file },
    executable: false,
  }));
}

const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox mount -t tmpfs tmpfs /tmp
/bin/busybox mount -t tracefs tracefs /sys/kernel/tracing
/bin/busybox mount -t debugfs debugfs /sys/kernel/debug
/bin/busybox mount -t bpf bpf /sys/fs/bpf
/bin/busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
/bin/busybox mount -t securityfs securityfs /sys/kernel/security
/bin/busybox stty -F ${CHANNEL} raw -echo
export PATH=/bin HOME=/root NO_COLOR=1
ip link set lo up
for module in /lib/modules/*.ko; do insmod $module; done
( sleep 600; poweroff -f ) &
cd ${APP}
for suite in *.suite.mjs; do
  node $suite || echo "{\\"event\\":\\"broken\\",\\"suite\\":\\"$suite\\",\\"status\\":$?}" > ${CHANNEL}
done
echo '{"event":"end"}' > ${CHANNEL}
# The last bytes are still in the serial port: power that goes takes them along.
sleep 2
poweroff -f
`;

/** Newer packages have their modules compressed, which the guest's insmod does not read. */
function moduleEntry(file: string): Entry[] {
  const path = `/lib/modules/${basename(file)}`;
  if (existsSync(file)) return [{ path, kind: 'file', from: { file } }];
  if (!existsSync(`${file}.xz`)) return [];
  const from = execFileSync('xz', ['-dc', `${file}.xz`], { maxBuffer: 1 << 26 });
  return [{ path, kind: 'file', from }];
}

function baseEntries(packages: Packages): Entry[] {
  const node = process.execPath;
  const koffi = ['koffi', '@koromix/koffi-linux-x64'].map(packageFiles);
  if (koffi.some((files) => files === null)) throw new NoGuest('koffi is not installed');
  const addons = koffi
    .flatMap((files) => files ?? [])
    .flatMap((entry) =>
      entry.kind === 'file' && 'file' in entry.from && entry.path.endsWith('.node') ? [entry.from.file] : [],
    );
  const optional = OPTIONAL_PROGRAMS.flatMap((name) => {
    const file = findProgram(name);
    return file === undefined ? [] : [{ name, file: realpathSync(file) }];
  });
  const shared = new Set([node, ...addons, ...optional.map(({ file }) => file)].flatMap(libraries));
  return [
    { path: '/dev', kind: 'directory' },
    { path: '/dev/console', kind: 'device', major: 5, minor: 1 },
    { path: '/init', kind: 'file', from: Buffer.from(INIT), executable: true },
    { path: '/bin/busybox', kind: 'file', from: { file: packages.busybox }, executable: true },
    { path: '/bin/node', kind: 'file', from: { file: node }, executable: true },
    ...optional.map(({ name, file }): Entry => ({ path: `/bin/${name}`, kind: 'file', from: { file } })),
    ...APPLETS.filter((name) => !optional.some((one) => one.name === name)).map(
      (name): Entry => ({ path: `/bin/${name}`, kind: 'link', target: 'busybox' }),
    ),
    ...[...shared].map((file): Entry => ({ path: file, kind: 'file', from: { file }, executable: true })),
    ...MODULES.map((name) => join(packages.modules, name)).flatMap(moduleEntry),
    ...koffi.flatMap((files) => files ?? []),
  ];
}

/** A name for what the archive would hold, without reading the large files. */
function fingerprint(packages: Packages, entries: readonly Entry[]): string {
  const hash = createHash('sha256').update(packages.release).update(process.version);
  for (const entry of entries) {
    hash.update(`\0${entry.kind} ${entry.path} `);
    if (entry.kind === 'link') hash.update(entry.target);
    if (entry.kind !== 'file') continue;
    if (!('file' in entry.from)) hash.update(entry.from);
    else {
      const { size, mtimeMs } = statSync(entry.from.file);
      hash.update(`${entry.from.file} ${size} ${mtimeMs}`);
    }
  }
  return hash.digest('hex').slice(0, 16);
}

/** The archive of what does not change from run to run; made if the cache has none for these versions. */
export async function baseImage(packages: Packages, log: (line: string) => void): Promise<string> {
  const entries = baseEntries(packages);
  const cache = cacheDirectory();
  mkdirSync(cache, { recursive: true });
  const prefix = `base-${packages.release.split('.', 2).join('.')}-`;
  const name = `${prefix}${fingerprint(packages, entries)}.cpio`;
  const path = join(cache, name);
  if (existsSync(path)) return path;
  log('making the root file system');
  const work = mkdtempSync(join(cache, 'base-'));
  try {
    await writeCpio(join(work, name), entries);
    for (const old of readdirSync(cache)) {
      if (old.startsWith(prefix) || /^base-[0-9a-f]{16}\.cpio$/.test(old)) rmSync(join(cache, old));
    }
    renameSync(join(work, name), path);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return path;
}

export interface Programs {
  /** Objects by name, compiled from `progs/NAME.bpf.c`. */
  readonly objects: ReadonlyMap<string, Uint8Array>;
  /** Why there are none, null where there are. */
  readonly missing: string | null;
}

/** Compiles the programs of the suite with the clang of this machine (`TSBPF_CLANG`, else clang-19, else clang). */
export function compilePrograms(work: string): Programs {
  const clang = [process.env.TSBPF_CLANG, 'clang-19', 'clang'].find(
    (name) => name !== undefined && name !== '' && spawnSync(name, ['--version']).status === 0,
  );
  const objects = new Map<string, Uint8Array>();
  if (clang === undefined) return { objects, missing: 'no clang to compile test/guest/progs' };
  for (const source of readdirSync(join(here, 'progs')).filter((name) => name.endsWith('.bpf.c'))) {
    const output = join(work, source.replace(/\.c$/, '.o'));
    const flags = ['-target', 'bpf', '-mcpu=v3', '-O2', '-g', '-D__TARGET_ARCH_x86', '-Wall', '-Werror'];
    const include = ['-I/usr/include/x86_64-linux-gnu'];
    execFileSync(clang, [...flags, ...include, '-c', join(here, 'progs', source), '-o', output], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    objects.set(source.slice(0, -'.bpf.c'.length), readFileSync(output));
  }
  return { objects, missing: null };
}

/** A program of progs that runs in the guest as it is; undefined where this machine cannot link it. */
function compileStatic(work: string, name: string): string | undefined {
  const output = join(work, name);
  const source = join(here, 'progs', `${name}.c`);
  const { status } = spawnSync('gcc', ['-O1', '-static', '-o', output, source], { stdio: 'ignore' });
  return status === 0 ? output : undefined;
}

/** In the bundle every module would be the bundle: they keep their places, below the directory of the suite. */
const ownPlaces: Plugin = {
  name: 'own-places',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const place = relative(project, path);
      if (place.startsWith('..') || place.includes('node_modules')) return undefined;
      const contents = readFileSync(path, 'utf8');
      return {
        contents: contents.replaceAll('import.meta.url', JSON.stringify(`file://${APP}/${place}`)),
        loader: 'ts',
      };
    });
  },
};

/** Suites of the host kernel that go along: those that need nothing but Node and the kernel. */
const HOST_SUITE = /^(?:host-(?!attr|missing)|attach-).*\.test\.ts$/;

/** The process that the suites probe, compiled here as the guest has no compiler; undefined: nor has this machine. */
function compileVictim(work: string): string | undefined {
  const path = join(work, 'victim');
  const source = join(project, 'test/host/objects/victim.c');
  const { status } = spawnSync('gcc', ['-O1', '-fno-omit-frame-pointer', '-o', path, source]);
  return status === 0 ? path : undefined;
}

/** Bundles each suite with the product's sources, shared parts once, with our runner in the place of vitest. */
async function bundle(): Promise<Entry[]> {
  const host = join(project, 'test/host');
  const suites: Record<string, readonly string[]> = { '0-guest': [join(here, 'suite/guest.suite.ts')] };
  for (const name of readdirSync(host).sort()) {
    if (!HOST_SUITE.test(name)) continue;
    suites[name.replace('.test.ts', '')] = [join(here, 'suite/differences.ts'), join(host, name)];
  }
  const entry = (name: string): string =>
    [...suites[name]!, join(here, 'agent/main.ts')]
      .map((path) => `import ${JSON.stringify(path)};`)
      .concat(`import { main } from './agent/main.ts';`, 'await main();')
      .join('\n');
  return bundleSuites(Object.fromEntries(Object.keys(suites).map((name) => [name, entry(name)])), here);
}

/** Bundles modules, given by name as source text that imports relative to `directory`, as what init runs. */
export async function bundleSuites(
  suites: Readonly<Record<string, string>>,
  directory: string,
): Promise<Entry[]> {
  const result = await build({
    entryPoints: Object.keys(suites).map((name) => ({ in: `suite:${name}`, out: `${name}.suite` })),
    outdir: APP,
    outExtension: { '.js': '.mjs' },
    chunkNames: 'shared/[hash]',
    alias: { vitest: join(here, 'agent/vitest.ts') },
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: `node${process.versions.node.split('.')[0]}`,
    external: ['koffi'],
    plugins: [
      {
        name: 'suites',
        setup({ onResolve, onLoad }) {
          onResolve({ filter: /^suite:/ }, ({ path }) => ({
            path: path.slice('suite:'.length),
            namespace: 'suite',
          }));
          onLoad({ filter: /.*/, namespace: 'suite' }, ({ path }) => ({
            contents: suites[path]!,
            resolveDir: directory,
            loader: 'ts',
          }));
        },
      },
      ownPlaces,
    ],
    // The package says that its modules have no side effects; the suite's have: they describe cases.
    ignoreAnnotations: true,
    write: false,
    logLevel: 'silent',
    // Packages in CommonJS ask for node's own modules with require.
    banner: {
      js: `import { createRequire as guestRequire } from 'node:module'; const require = guestRequire(import.meta.url);`,
    },
  });
  return result.outputFiles.map(({ path, contents }) => ({ path, kind: 'file', from: contents }));
}

/** What the host suites read, at its place. */
const EXAMPLES = ['examples/objects', 'examples/inputs', 'examples/tools/progs', 'test/host/objects'];

/** The archive of today's sources. */
export async function suiteImage(
  work: string,
): Promise<{ readonly path: string; readonly programs: Programs }> {
  const programs = compilePrograms(work);
  const path = join(work, 'suite.cpio');
  const victim = compileVictim(work);
  const token = compileStatic(work, 'token');
  await writeCpio(path, [
    ...(await bundle()),
    ...EXAMPLES.flatMap((directory) =>
      readdirSync(join(project, directory)).map((name): Entry => {
        const path = join(directory, name);
        return { path: `${APP}/${path}`, kind: 'file', from: { file: join(project, path) } };
      }),
    ),
    ...(victim === undefined
      ? []
      : [{ path: `${APP}/test/host/objects/victim`, kind: 'file', from: { file: victim } } as const]),
    ...(token === undefined
      ? []
      : [
          {
            path: `${APP}/test/guest/progs/token`,
            kind: 'file',
            from: { file: token },
            executable: true,
          } as const,
        ]),
    ...[...programs.objects].map(
      ([name, object]): Entry => ({
        path: `${APP}/test/guest/progs/${name}.bpf.o`,
        kind: 'file',
        from: object,
      }),
    ),
  ]);
  return { path, programs };
}
