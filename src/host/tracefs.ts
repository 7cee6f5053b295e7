/**
 * tracefs: ids of tracepoints, trace_pipe. Where nobody has mounted it, a mount of our own is made that no directory shows
 * (fsopen(2), fsmount(2), Linux 5.2): it is reached through its descriptor and goes with it.
 */
import { appendFileSync, constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { errnoName } from '../util/errno.ts';
import { BpfError } from '../util/errors.ts';
import { Arena } from './arena.ts';
import { errnoText } from './bpf.ts';
import type { FdTable } from './fds.ts';
import type { Native } from './native.ts';

const FSOPEN_CLOEXEC = 1;
const FSCONFIG_CMD_CREATE = 6;
const FSMOUNT_CLOEXEC = 1;

/** Where Linux itself looks for it, besides what /proc/mounts says. */
const MOUNT_HINT = 'mount -t tracefs tracefs /sys/kernel/tracing';

export class Tracefs {
  readonly #native: Native;
  readonly #fds: FdTable;
  #root: string | undefined;

  constructor(native: Native, fds: FdTable) {
    this.#native = native;
    this.#fds = fds;
  }

  /** A directory that has `events` and `trace_pipe`. */
  root(): string {
    this.#root ??= mountPoint('tracefs') ?? this.#mount();
    return this.#root;
  }

  read(path: string): string {
    return readFileSync(`${this.root()}/${path}`, 'utf8');
  }

  /** One write, behind what is there: what is opened for writing without that loses everything. */
  append(path: string, text: string): void {
    appendFileSync(`${this.root()}/${path}`, text);
  }

  open(path: string): number {
    return openSync(`${this.root()}/${path}`, constants.O_RDONLY | constants.O_NONBLOCK);
  }

  /** perf_event_open's number for a tracepoint. */
  eventId(category: string, name: string): number {
    if (![category, name].every((part) => /^[\w.:-]+$/.test(part)))
      throw new BpfError('EINVAL', `'${category}/${name}' is no name of a tracepoint`);
    let text: string;
    try {
      text = this.read(`events/${category}/${name}/id`);
    } catch (error) {
      const { code } = error as { code?: string };
      if (code !== 'ENOENT') throw fsError(error, `tracepoint ${category}/${name}`);
      throw new BpfError('ENOENT', `this kernel has no tracepoint ${category}/${name}`, {
        hint: 'its name, or the configuration of the kernel (CONFIG_FTRACE_SYSCALLS for syscalls/*)',
      });
    }
    return Number(text);
  }

  /** Turns a tracepoint's output to the trace buffer on; false where that is not allowed. */
  enable(tracepoint: string): boolean {
    const path = `events/${tracepoint}/enable`;
    try {
      if (!this.read(path).startsWith('1')) writeFileSync(`${this.root()}/${path}`, '1');
      return true;
    } catch {
      return false;
    }
  }

  #mount(): string {
    const fd = mountDetached(this.#native, 'tracefs');
    if (fd < 0) {
      const code = errnoName(-fd);
      throw new BpfError(code, `tracefs is not mounted, and cannot be: ${errnoText(code)}`, {
        hint: MOUNT_HINT,
      });
    }
    const root = `/proc/self/fd/${fd}`;
    this.#fds.own(fd, {
      kind: 'other',
      onClose: () => {
        if (this.#root === root) this.#root = undefined;
      },
    });
    return root;
  }
}

/** A mount of a file system that is part of no directory tree: its descriptor, or -errno. */
export function mountDetached(native: Native, type: string): number {
  return new Arena(native).scope((frame) => {
    const context = native.call('fsopen', frame.text(type).address, FSOPEN_CLOEXEC);
    if (context < 0) return context;
    try {
      const created = native.call('fsconfig', context, FSCONFIG_CMD_CREATE, 0, 0, 0);
      return created < 0 ? created : native.call('fsmount', context, FSMOUNT_CLOEXEC, 0);
    } finally {
      native.call('close', context);
    }
  });
}

/** First mount point of a file system type, in the order of /proc/mounts. */
export function mountPoint(type: string): string | undefined {
  let mounts: string;
  try {
    mounts = readFileSync('/proc/self/mounts', 'utf8');
  } catch {
    return undefined;
  }
  for (const line of mounts.split('\n')) {
    const [, path, fsType] = line.split(' ');
    if (fsType === type) return path.replace(/\\040/g, ' ');
  }
  return undefined;
}

/** A failure of node:fs as BpfError, with the errno that Linux set. */
export function fsError(error: unknown, what: string): BpfError {
  const { errno, code } = error as { errno?: number; code?: string };
  if (errno === undefined || code === undefined)
    return new BpfError('EIO', `${what}: ${(error as Error).message}`, { cause: error });
  const name = errnoName(-errno);
  return new BpfError(name, `${what}: ${errnoText(name)}`, { cause: error });
}
