/**
 * What the guest is made of: Debian's cloud kernel, busybox and, where this machine has none, qemu. Packages are
 * downloaded and unpacked below a cache directory of our own with lists of our own: nothing is installed, neither the
 * package database nor the boot of this machine changes, and no privilege is needed.
 *
 * The cache (`TSBPF_GUEST_CACHE`, else `tsbpf-guest` in the user's cache directory) is written beside and renamed, so a
 * stopped download leaves no half.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Raised when what is kept in the cache is laid out in another way. */
const LAYOUT = 1;

const KERNEL_PACKAGE = 'linux-image-cloud-amd64';

/** Kernels other than the one of this machine's own Debian, by release: the suite of Debian that has it. */
export const OTHER_KERNELS: Readonly<Record<string, string>> = {
  '5.10': 'bullseye',
  '6.12': 'bookworm-backports',
};

const MIRROR = 'http://deb.debian.org/debian';
const KEYS = '/usr/share/keyrings/debian-archive-keyring.gpg';

export interface Packages {
  /** The kernel's release, as `uname -r` in the guest says. */
  readonly release: string;
  readonly kernel: string;
  readonly busybox: string;
  /** `lib/modules/RELEASE/kernel` of the kernel. */
  readonly modules: string;
  readonly qemu: Qemu;
}

export interface Qemu {
  readonly program: string;
  /** Arguments that tell it where its firmware is. */
  readonly firmware: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly version: string;
}

/** The reason why there can be no guest here. */
export class NoGuest extends Error {
  override readonly name = 'NoGuest';
}

export function cacheDirectory(): string {
  const named = process.env.TSBPF_GUEST_CACHE;
  if (named !== undefined && named !== '') return named;
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'tsbpf-guest');
}

const has = (program: string): boolean =>
  spawnSync('sh', ['-c', 'command -v "$1" >/dev/null', 'sh', program]).status === 0;

const INSTALLED: Qemu['firmware'] = [];

function askQemu(program: string, firmware: readonly string[], env: Qemu['env']): Qemu | null {
  const result = spawnSync(program, ['--version'], { env: { ...process.env, ...env }, encoding: 'utf8' });
  if (result.status !== 0) return null;
  return {
    program,
    firmware,
    env,
    version: result.stdout.match(/version (\S+)/)?.[1] ?? 'of unknown version',
  };
}

function unpackedQemu(root: string): Qemu | null {
  const program = join(root, 'usr/bin/qemu-system-x86_64');
  if (!existsSync(program)) return null;
  const shared = ['usr/share/qemu', 'usr/share/seabios'].flatMap((path) => ['-L', join(root, path)]);
  const libraries = ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu'].map((path) => join(root, path));
  return askQemu(program, shared, { LD_LIBRARY_PATH: libraries.join(':') });
}

/** Unpacked kernel below `root`, null where there is none. */
function inspectKernel(root: string): Pick<Packages, 'release' | 'kernel' | 'modules'> | null {
  const layout = join(root, 'layout');
  if (!existsSync(layout) || readFileSync(layout, 'utf8') !== String(LAYOUT)) return null;
  const kernel = readdirSync(join(root, 'boot')).find((name) => name.startsWith('vmlinuz-'));
  if (kernel === undefined) return null;
  const release = kernel.slice('vmlinuz-'.length);
  const modules = ['lib', 'usr/lib']
    .map((path) => join(root, path, 'modules', release, 'kernel'))
    .find(existsSync);
  return { release, kernel: join(root, 'boot', kernel), modules: modules ?? '' };
}

/** What lies unpacked in `root`, null where something is missing. */
function inspect(root: string): Packages | null {
  const kernel = inspectKernel(root);
  if (kernel === null) return null;
  const busybox = ['bin/busybox', 'usr/bin/busybox'].map((path) => join(root, path)).find(existsSync);
  const qemu = askQemu('qemu-system-x86_64', INSTALLED, {}) ?? unpackedQemu(root);
  if (busybox === undefined || qemu === null) return null;
  return { ...kernel, busybox, qemu };
}

function apt(state: string, program: string, args: readonly string[], cwd: string): string {
  for (const path of ['lists/partial', 'archives/partial']) mkdirSync(join(state, path), { recursive: true });
  const sources = join(state, 'sources.list');
  const options = [
    // Another suite than those of this machine.
    ...(existsSync(sources) ? [`Dir::Etc::sourcelist=${sources}`, 'Dir::Etc::sourceparts=-'] : []),
    `Dir::State::lists=${state}/lists`,
    `Dir::Cache=${state}`,
    `Dir::Cache::archives=${state}/archives`,
    'APT::Sandbox::User=',
    'Debug::NoLocking=1',
    'Acquire::Retries=3',
    'Acquire::http::Timeout=30',
    'Acquire::Languages=none',
  ].flatMap((option) => ['-o', option]);
  return execFileSync(program, [...options, ...args], {
    cwd,
    encoding: 'utf8',
    timeout: 300_000,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
  });
}

/** The package of the release that Debian's cloud images have now. An update that failed shows here: apt does not call it one. */
function kernelPackage(state: string, cwd: string): string {
  let answer = '';
  try {
    answer = apt(state, 'apt-cache', ['depends', '--important', KERNEL_PACKAGE], cwd);
  } catch {
    // Unknown to apt.
  }
  const image = /Depends: (linux-image-\S+)/.exec(answer)?.[1];
  if (image !== undefined) return image;
  throw new Error(`no ${KERNEL_PACKAGE} in the sources of apt: no network, or this is not Debian`);
}

/** Downloads and unpacks into `root`, an empty directory. */
function download(root: string, log: (line: string) => void): void {
  const state = join(root, 'apt');
  mkdirSync(state);
  log('asking the Debian mirror for packages');
  apt(state, 'apt-get', ['update', '-qq'], root);
  const image = kernelPackage(state, root);
  const wanted = ['busybox-static', image];
  log(`downloading ${wanted.join(', ')}`);
  apt(state, 'apt-get', ['download', '-qq', ...wanted], join(state, 'archives'));
  if (askQemu('qemu-system-x86_64', INSTALLED, {}) === null) {
    log('downloading qemu-system-x86');
    // Not `download`: this brings those of its libraries too that this machine lacks.
    const only = ['install', '--download-only', '--no-install-recommends', '-y', '-qq', 'qemu-system-x86'];
    apt(state, 'apt-get', only, root);
  }
  unpack(state, root);
}

function unpack(state: string, root: string): void {
  for (const name of readdirSync(join(state, 'archives'))) {
    if (!name.endsWith('.deb')) continue;
    execFileSync('dpkg-deb', ['-x', join(state, 'archives', name), root], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  }
  rmSync(state, { recursive: true });
  writeFileSync(join(root, 'layout'), String(LAYOUT));
}

/** As `download`, the kernel of another suite alone. */
function downloadKernel(suite: string, root: string, log: (line: string) => void): void {
  const state = join(root, 'apt');
  mkdirSync(state);
  writeFileSync(join(state, 'sources.list'), `deb [signed-by=${KEYS}] ${MIRROR} ${suite} main\n`);
  log(`asking the Debian mirror for the kernel of ${suite}`);
  apt(state, 'apt-get', ['update', '-qq'], root);
  const image = kernelPackage(state, root);
  log(`downloading ${image}`);
  apt(state, 'apt-get', ['download', '-qq', image], join(state, 'archives'));
  unpack(state, root);
}

/** Fills `root` by `fill`, in a directory beside it that is renamed when all went well. */
function replace(root: string, fill: (fresh: string) => void): void {
  for (const program of ['apt-get', 'apt-cache', 'dpkg-deb']) {
    if (!has(program)) throw new NoGuest(`no ${program}: the guest is made of Debian's packages`);
  }
  const cache = cacheDirectory();
  mkdirSync(cache, { recursive: true });
  const fresh = mkdtempSync(join(cache, 'packages-'));
  try {
    fill(fresh);
    rmSync(root, { recursive: true, force: true });
    renameSync(fresh, root);
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    const last = (stderr ?? message).trim().split('\n').pop();
    throw new NoGuest(`Debian's packages cannot be had: ${last}`);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

export interface PackageOptions {
  /** Asks the mirror for newer packages. */
  readonly refresh?: boolean;
  /** A release of OTHER_KERNELS; absent: the kernel of this machine's own Debian. */
  readonly kernel?: string;
}

/** The packages, from the cache or from the mirror. Throws NoGuest with the reason where they cannot be had. */
export function preparePackages(log: (line: string) => void, options: PackageOptions = {}): Packages {
  const { refresh = false, kernel } = options;
  const own = ownPackages(log, refresh && kernel === undefined);
  if (kernel === undefined || own.release.startsWith(`${kernel}.`)) return own;
  const suite = OTHER_KERNELS[kernel];
  if (suite === undefined) {
    throw new NoGuest(
      `no kernel ${kernel}: there is ${Object.keys(OTHER_KERNELS).join(', ')} and ${own.release}`,
    );
  }
  const root = join(cacheDirectory(), `kernel-${kernel}`);
  if (refresh || inspectKernel(root) === null) replace(root, (fresh) => downloadKernel(suite, fresh, log));
  const found = inspectKernel(root);
  if (found === null) throw new NoGuest(`the package unpacked in ${root} holds no kernel`);
  return { ...own, ...found };
}

function ownPackages(log: (line: string) => void, refresh: boolean): Packages {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new NoGuest(
      `the guest runs this machine's Node on Linux for x86-64, this is ${process.platform} on ${process.arch}`,
    );
  }
  const cache = cacheDirectory();
  const root = join(cache, 'packages');
  const cached = refresh ? null : inspect(root);
  if (cached !== null) return cached;
  replace(root, (fresh) => download(fresh, log));
  const packages = inspect(root);
  if (packages === null)
    throw new NoGuest(`the packages unpacked in ${root} hold no kernel, busybox or working qemu`);
  return packages;
}
