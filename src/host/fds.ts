/**
 * The descriptors that this kernel handed out. Only those are closed by `close` and `shutdown`: the process has others, which belong
 * to somebody else.
 */
import { closeSync, readlinkSync } from 'node:fs';
import type { Fd, ObjectKind } from '../contracts/kernel.ts';
import { BpfError } from '../util/errors.ts';

export type FdKind = ObjectKind | 'perf_event' | 'other';

/** What /proc/self/fd shows of an anonymous inode → kind. */
const LINK_TARGETS: readonly (readonly [RegExp, FdKind])[] = [
  [/^anon_inode:\[?bpf-map\]?$/, 'map'],
  [/^anon_inode:\[?bpf-prog\]?$/, 'prog'],
  [/^anon_inode:\[?bpf[-_]link\]?$/, 'link'],
  [/^anon_inode:\[?btf\]?$/, 'btf'],
  [/^anon_inode:\[perf_event\]$/, 'perf_event'],
];

const EXIT_TRIES = 50;
const EXIT_PAUSE_MS = 10;

/** Shape of the elements of a map as the commands see it. */
export interface MapShape {
  readonly keySize: number;
  /** Of all CPUs together for per-CPU maps. */
  readonly valueSize: number;
}

interface Entry {
  kind?: FdKind;
  shape?: MapShape;
  progType?: number;
  /** Data pages of a perf event's ring. */
  pages?: number;
  onClose?: () => void;
}

export class FdTable {
  readonly #open = new Map<number, Entry>();
  readonly #undone = new Set<() => boolean>();

  own(fd: number, entry: Entry = {}): Fd {
    this.#open.set(fd, entry);
    return fd as Fd;
  }

  /** What is remembered of a descriptor of ours; undefined for others. */
  entry(fd: Fd): Entry | undefined {
    return this.#open.get(fd);
  }

  kind(fd: Fd): FdKind {
    const entry = this.#open.get(fd);
    if (entry?.kind !== undefined) return entry.kind;
    const kind = kindOf(fd);
    if (entry !== undefined) entry.kind = kind;
    return kind;
  }

  close(fd: Fd): void {
    const entry = this.#open.get(fd);
    if (entry === undefined)
      throw new BpfError('EBADF', `descriptor ${fd} is not open, or was not opened by this kernel`);
    this.#open.delete(fd);
    entry.onClose?.();
    try {
      closeSync(fd);
    } catch (error) {
      throw new BpfError('EBADF', `descriptor ${fd} was closed by somebody else`, { cause: error });
    } finally {
      this.undo();
    }
  }

  /** Something to be done when what is in the way has been closed: tried after each close until it gives true. */
  whenFree(action: () => boolean): void {
    if (this.#undone.size === 0) process.once('exit', this.#onExit);
    this.#undone.add(action);
  }

  undo(): boolean {
    for (const action of this.#undone) {
      if (!action()) continue;
      this.#undone.delete(action);
      if (this.#undone.size === 0) process.off('exit', this.#onExit);
    }
    return this.#undone.size === 0;
  }

  readonly #onExit = (): void => {
    this.closeAll();
    // Links are freed a moment after their last descriptor.
    const pause = new Int32Array(new SharedArrayBuffer(4));
    for (let tries = 0; tries < EXIT_TRIES && !this.undo(); tries++) Atomics.wait(pause, 0, 0, EXIT_PAUSE_MS);
  };

  /** Closes what is still open, whatever has become of some of it. */
  closeAll(): void {
    for (const fd of [...this.#open.keys()]) {
      try {
        this.close(fd as Fd);
      } catch {
        // Closed already: nothing of it is left.
      }
    }
  }
}

function kindOf(fd: number): FdKind {
  let target: string;
  try {
    target = readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    throw new BpfError('EBADF', `descriptor ${fd} is not open`);
  }
  return LINK_TARGETS.find(([pattern]) => pattern.test(target))?.[1] ?? 'other';
}
