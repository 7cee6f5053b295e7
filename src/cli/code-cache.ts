/**
 * Runs the bundle of the command (`dist/bin.cjs`) with the code that V8 made of it last time: reading and compiling some megabytes of
 * JavaScript takes longer than most commands. Node 22 has `module.enableCompileCache` for this; Node 20 has not.
 *
 * One file for each form of a command line (command, names of options, extensions of files), as each form needs other functions, in the
 * user's cache directory. A file is taken when its checksums are those of the bundle and of itself, when only this user can have
 * written it, and when V8 knows it as its own; else it is as if there were none. What cannot be written is not kept; nothing here
 * makes a command fail.
 */
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, extname, join } from 'node:path';
import process from 'node:process';
import { Script } from 'node:vm';
import * as zlib from 'node:zlib';

/**
 * Magic, checksum of the bundle, checksum of the code, its length, whether the run that made it failed: u32s, little-endian. The code
 * behind it is aligned: else V8 copies it first.
 */
const HEADER = 32;
const MAGIC = 0x4442_5354;
/** A command that traces for hours keeps what it needed to start. */
const KEEP_AFTER_MS = 1000;
/** So many files stay, the last ones that were written. */
const MOST_FILES = 24;

export interface CodeCacheOptions {
  /** Where files are kept; undefined: nowhere. */
  readonly directory: string | undefined;
  /** What is run of the bundle. */
  readonly argv: readonly string[];
}

/** Evaluates a bundle: a file in Latin-1 that holds the function of a CommonJS module, as an expression. */
export function runBundle(path: string, options: CodeCacheOptions = defaults()): void {
  const { directory, argv } = options;
  const source = readFileSync(path);
  const run = (script: Script): void => {
    const module = { exports: {} };
    const evaluate = script.runInThisContext() as (...args: unknown[]) => void;
    evaluate(module.exports, createRequire(path), module, path, dirname(path));
  };
  const checksum = (zlib as { crc32?: Checksum }).crc32;
  // Node before 20.15 has none.
  if (checksum === undefined || directory === undefined) {
    run(new Script(source.toString('latin1'), { filename: path }));
    return;
  }
  const sourceSum = checksum(source);
  const file = join(directory, `${nameFor(argv, sourceSum, checksum)}.code`);
  const kept = readKept(file, { sourceSum, checksum });
  // As it is, in one piece: another copy of some megabytes takes longer than all of their code that runs.
  const script = new Script(source.toString('latin1'), {
    filename: path,
    ...(kept === undefined ? {} : { cachedData: kept.code }),
  });
  const taken = kept !== undefined && script.cachedDataRejected === false;
  const keep = once((failed: boolean) => {
    if (taken && (failed || !kept.failed)) return;
    writeKept(file, { sourceSum, checksum }, { failed, code: script.createCachedData() });
  });
  setTimeout(keep, KEEP_AFTER_MS, false).unref();
  process.on('exit', (code) => keep(code !== 0));
  run(script);
}

type Checksum = (data: Uint8Array | string, before?: number) => number;

function defaults(): CodeCacheOptions {
  return { directory: cacheDirectory(process.env), argv: process.argv.slice(2) };
}

/** The command, and checksums: of the bundle; of the form of the command line, and of what V8 is. */
function nameFor(argv: readonly string[], sourceSum: number, checksum: Checksum): string {
  const [first = ''] = argv;
  const forms = argv.map((word) => (word.startsWith('-') ? word.replace(/=.*/s, '') : extname(word)));
  const { versions, arch, platform, execArgv, env } = process;
  const key = [...forms, '', versions.v8, arch, platform, ...execArgv, env.NODE_OPTIONS ?? ''].join('\0');
  const name = /^[a-z]{1,12}$/.test(first) ? first : 'tsbpf';
  return `${name}-${sourceSum.toString(16)}-${checksum(key).toString(16)}`;
}

/** Undefined where nothing is to be kept: asked for, measured, or no place that is the user's alone. */
export function cacheDirectory(
  variables: Readonly<Record<string, string | undefined>>,
  home: () => string = homedir,
): string | undefined {
  const {
    NODE_DISABLE_COMPILE_CACHE: off,
    NODE_V8_COVERAGE: coverage,
    NODE_COMPILE_CACHE: given,
  } = variables;
  if (off || coverage || process.versions.bun !== undefined || process.versions.deno !== undefined)
    return undefined;
  try {
    const base = given || variables.XDG_CACHE_HOME || systemCache(variables, home());
    const directory = join(base, 'tsbpf');
    if (!existing(directory, isOurs)) {
      // With sudo the home may be another user's: nothing is left there.
      if (!existing(base, isMine) && !existing(dirname(base), isMine)) return undefined;
      mkdirSync(directory, { recursive: true, mode: 0o700 });
    }
    return existing(directory, isOurs) ? directory : undefined;
  } catch {
    return undefined;
  }
}

function systemCache(variables: Readonly<Record<string, string | undefined>>, home: string): string {
  if (process.platform === 'win32') return variables.LOCALAPPDATA ?? join(home, 'AppData', 'Local');
  return join(home, ...(process.platform === 'darwin' ? ['Library', 'Caches'] : ['.cache']));
}

type Owned = Pick<Stats, 'uid' | 'mode'>;

function existing(path: string, test: (owned: Owned) => boolean): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat !== undefined && test(stat);
}

function isMine({ uid }: Owned): boolean {
  return process.geteuid === undefined || uid === process.geteuid();
}

/** Code that others could have written is not run. */
function isOurs(owned: Owned): boolean {
  return process.geteuid === undefined || (isMine(owned) && (owned.mode & 0o022) === 0);
}

interface Sums {
  readonly sourceSum: number;
  readonly checksum: Checksum;
}

interface Kept {
  readonly failed: boolean;
  readonly code: Buffer;
}

function readKept(file: string, { sourceSum, checksum }: Sums): Kept | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(file, 'r');
    if (!isOurs(fstatSync(fd))) return undefined;
    const bytes = readFileSync(fd);
    const code = bytes.subarray(HEADER);
    const sound =
      bytes.length > HEADER &&
      bytes.readUInt32LE(0) === MAGIC &&
      bytes.readUInt32LE(4) === sourceSum &&
      bytes.readUInt32LE(12) === code.length &&
      bytes.readUInt32LE(8) === checksum(code);
    return sound ? { failed: bytes.readUInt32LE(16) !== 0, code } : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Whoever reads sees the file as it was, or whole. */
function writeKept(file: string, { sourceSum, checksum }: Sums, { failed, code }: Kept): void {
  const header = Buffer.alloc(HEADER);
  [MAGIC, sourceSum, checksum(code), code.length, failed ? 1 : 0].forEach((word, i) => {
    header.writeUInt32LE(word, 4 * i);
  });
  const partial = `${file}.${process.pid}`;
  try {
    writeFileSync(partial, Buffer.concat([header, code]), { mode: 0o600 });
    renameSync(partial, file);
    removeOld(dirname(file));
  } catch {
    remove(partial);
  }
}

/** What cannot be removed stays. */
function remove(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {}
}

function removeOld(directory: string): void {
  const written = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  readdirSync(directory)
    .filter((name) => name.includes('.code'))
    .map((name) => join(directory, name))
    .map((path) => ({ path, at: written(path) }))
    .sort((a, b) => b.at - a.at)
    .slice(MOST_FILES)
    .forEach(({ path }) => {
      remove(path);
    });
}

function once(action: (failed: boolean) => void): (failed: boolean) => void {
  let done = false;
  return (failed) => {
    if (!done) {
      done = true;
      action(failed);
    }
  };
}
