/**
 * Whom tracing programs on the host kernel see: everybody, one process, or a command that is started for them. A command runs in a
 * cgroup of its own, so that its children count too; the cgroup is gone when the session is, whatever ended it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BpfError } from '../../util/errors.ts';
import { fileError } from '../files.ts';
import type { ProcessFilter } from './restrict.ts';

export type ScopeRequest =
  | { readonly kind: 'all' }
  | { readonly kind: 'process'; readonly pid: number }
  | { readonly kind: 'command'; readonly argv: readonly string[] };

export interface Scope {
  /** Undefined: everybody. */
  readonly filter: ProcessFilter | undefined;
  /** For people: `process 42`. */
  readonly what: string;
  readonly pid?: number;
  /** Directory of the command's cgroup. */
  readonly cgroup?: string;
  /** Starts the command; gives its exit code when it ends, 128 and the signal's number where a signal ended it. */
  start?(options: { readonly stdout: 'inherit' | 2 }): Promise<number>;
  /** Ends the command where it still runs. */
  close(): Promise<void>;
}

export function openScope(request: ScopeRequest): Scope {
  switch (request.kind) {
    case 'all':
      return { filter: undefined, what: 'all processes', close: async () => {} };
    case 'process': {
      const { pid } = request;
      try {
        process.kill(pid, 0);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ESRCH')
          throw new BpfError('ESRCH', `there is no process ${pid}`);
      }
      return { filter: processFilter(pid), what: `process ${pid}`, pid, close: async () => {} };
    }
    case 'command':
      return new CommandScope(request.argv);
  }
}

/** Inode of the first pid namespace: numbers of processes are the kernel's own there. */
const FIRST_PID_NAMESPACE = 0xeffffffcn;

function processFilter(pid: number): ProcessFilter {
  const { dev, ino } = statSync('/proc/self/ns/pid', { bigint: true });
  return { kind: 'process', pid, ...(ino === FIRST_PID_NAMESPACE ? {} : { namespace: { dev, ino } }) };
}

/** Joins the cgroup, then becomes the command. */
const JOIN = 'echo 0 > "$0/cgroup.procs" && exec "$@"';
const PREFIX = 'tsbpf-';
/** Milliseconds that a command has to end when it is asked to. */
const PATIENCE = 2000;

class CommandScope implements Scope {
  readonly filter: ProcessFilter;
  readonly what: string;
  readonly cgroup: string;
  readonly #argv: readonly string[];
  #child: ChildProcess | undefined;
  #ended: Promise<number> = Promise.resolve(0);

  constructor(argv: readonly string[]) {
    this.#argv = argv;
    this.what = `'${argv.join(' ')}' and its children`;
    const parent = ownCgroup();
    removeStale(parent);
    this.cgroup = join(parent, `${PREFIX}${process.pid}`);
    try {
      mkdirSync(this.cgroup, { recursive: true });
    } catch (error) {
      throw fileError(this.cgroup, error, 'make the cgroup of the command');
    }
    // The id of a cgroup is the inode of its directory.
    this.filter = { kind: 'cgroup', id: statSync(this.cgroup, { bigint: true }).ino };
  }

  start({ stdout }: { readonly stdout: 'inherit' | 2 }): Promise<number> {
    const child = spawn('/bin/sh', ['-c', JOIN, this.cgroup, ...this.#argv], {
      stdio: ['inherit', stdout, 'inherit'],
    });
    this.#child = child;
    this.#ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => resolve(code ?? 128));
    });
    return this.#ended;
  }

  async close(): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE);
      await this.#ended.catch(() => 0);
      clearTimeout(timer);
    }
    remove(this.cgroup);
  }
}

/** Where new cgroups go: below that of this process, or where that cannot be seen (a container) at the top. */
function ownCgroup(): string {
  const mount = /^\S+ (\S+) cgroup2 /m.exec(readText('/proc/mounts'))?.[1];
  if (mount === undefined) {
    throw new BpfError('EOPNOTSUPP', 'a command is followed by its cgroup, and no cgroup2 is mounted here', {
      hint: 'mount -t cgroup2 none DIRECTORY, or start the command by yourself and give --pid',
    });
  }
  const own = /^0::(.*)$/m.exec(readText('/proc/self/cgroup'))?.[1] ?? '/';
  const path = join(mount, own);
  return isDirectory(path) ? path : mount;
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw fileError(path, error, 'read it');
  }
}

/** A cgroup goes when nobody is in it: what a command has left running goes back to where we are. */
function remove(path: string): void {
  try {
    for (const pid of readText(join(path, 'cgroup.procs')).split('\n').filter(Boolean))
      writeFileSync(join(path, '..', 'cgroup.procs'), pid);
    rmdirSync(path);
  } catch {
    // The next session takes it away.
  }
}

/** Cgroups of sessions that were killed. */
function removeStale(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = Number(name.startsWith(PREFIX) ? name.slice(PREFIX.length) : Number.NaN);
    if (pid > 0 && !isDirectory(`/proc/${pid}`)) remove(join(parent, name));
  }
}
