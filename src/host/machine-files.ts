/** Files of the machine that programs are attached by: executables and libraries by name, /proc, tracefs, cgroups, namespaces. */
import {
  accessSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';
import type { Fd, MachineFiles } from '../contracts/kernel.ts';
import type { Host } from './host.ts';
import { fsError } from './tracefs.ts';

/** Directories of the dynamic linker besides those of its configuration (ld.so(8)). */
const LIBRARY_DIRECTORIES = ['/lib', '/usr/lib', '/lib64', '/usr/lib64'];
const MULTIARCH = { x86_64: 'x86_64-linux-gnu', aarch64: 'aarch64-linux-gnu' } as const;
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** `include` may nest; a configuration that includes itself ends here. */
const MAX_INCLUDES = 8;

export function createMachineFiles(host: Host): MachineFiles {
  return {
    read: readOrNull,
    readTracing: (path) => readOrNull(`${host.tracefs.root()}/${path}`),
    resolveExecutable(name, pid) {
      const mapped = pid === undefined ? null : mappedBy(pid, name);
      if (mapped !== null) return mapped;
      if (name.includes('/')) return isFile(name) ? realpathSync(name) : null;
      const places = name.includes('.so')
        ? libraryDirectories(host)
        : (process.env.PATH ?? DEFAULT_PATH).split(delimiter);
      for (const directory of places) {
        const path = join(directory, name);
        if (isFile(path) && (name.includes('.so') || isExecutable(path))) return realpathSync(path);
      }
      return null;
    },
    open(path) {
      try {
        return host.fds.own(openSync(path, constants.O_RDONLY), { kind: 'other' }) as Fd;
      } catch (error) {
        throw fsError(error, path);
      }
    },
  };
}

const NOT_THERE = new Set(['ENOENT', 'ENOTDIR', 'ESRCH']);

function readOrNull(path: string): Uint8Array | null {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    if (NOT_THERE.has((error as { code?: string }).code ?? '')) return null;
    throw fsError(error, path);
  }
}

/** The file of that name, or path, that a process has mapped, as this process can open it: the other may have another root. */
function mappedBy(pid: number, name: string): string | null {
  const maps = readOrNull(`/proc/${pid}/maps`);
  if (maps === null) return null;
  for (const line of new TextDecoder().decode(maps).split('\n')) {
    const start = line.indexOf('/');
    if (start < 0) continue;
    const path = line.slice(start).replace(/ \(deleted\)$/, '');
    if (path !== name && basename(path) !== name) continue;
    const rooted = `/proc/${pid}/root${path}`;
    if (sameFile(path, rooted)) return path;
    if (isFile(rooted)) return rooted;
  }
  return null;
}

function sameFile(path: string, other: string): boolean {
  try {
    const [one, two] = [statSync(path), statSync(other)];
    return one.ino === two.ino && one.dev === two.dev;
  } catch {
    return false;
  }
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function libraryDirectories(host: Host): string[] {
  const multiarch = MULTIARCH[host.native.arch];
  return [
    ...(process.env.LD_LIBRARY_PATH ?? '').split(':').filter((directory) => directory !== ''),
    ...configured('/etc/ld.so.conf', 0),
    ...[`/lib/${multiarch}`, `/usr/lib/${multiarch}`],
    ...LIBRARY_DIRECTORIES,
  ];
}

/** ld.so.conf: a directory a line, `include PATTERN` with a pattern in its last part. */
function configured(path: string, depth: number): string[] {
  const bytes = existsSync(path) ? readOrNull(path) : null;
  if (bytes === null || depth > MAX_INCLUDES) return [];
  const directories: string[] = [];
  for (const line of new TextDecoder().decode(bytes).split('\n')) {
    const text = line.replace(/#.*/, '').trim();
    const include = /^include\s+(\S+)$/.exec(text)?.[1];
    if (include !== undefined) {
      for (const file of matching(absolute(path, include))) directories.push(...configured(file, depth + 1));
    } else if (text.startsWith('/')) directories.push(text);
  }
  return directories;
}

function absolute(from: string, path: string): string {
  return path.startsWith('/') ? path : join(dirname(from), path);
}

function matching(pattern: string): string[] {
  const directory = dirname(pattern);
  const name = new RegExp(
    `^${basename(pattern)
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replace(/\*/g, '.*')
      .replace(/\?/g, '.')}$`,
  );
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((file) => name.test(file))
    .sort()
    .map((file) => join(directory, file));
}
