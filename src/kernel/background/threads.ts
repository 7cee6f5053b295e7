/**
 * The kernel's side: threads that are started when there is work for them. A thread that cannot be started, or ends, is not replaced; its
 * jobs are then the caller's. Every promise that is given settles, with `close` at the latest.
 */
import type { Btf } from '../../btf/index.ts';
import type { BackgroundOptions } from '../../contracts/background.ts';
import type { CpuThread } from '../../contracts/cpus.ts';
import { ERRNO, type ErrnoName } from '../../util/errno.ts';
import { BpfError, InternalError } from '../../util/errors.ts';
import type { Failure, FromThread, Work } from './protocol.ts';

const MOST_THREADS = 16;
const FROM_INSNS = 1000;

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class BackgroundThreads {
  /** Programs from so many instructions on are worth a thread's while. */
  readonly fromInsns: number;
  readonly #options: BackgroundOptions;
  readonly #most: number;
  readonly #kernelBtf: Btf | undefined;
  readonly #threads: Thread[] = [];
  #usable = true;

  /** Errors: EINVAL for numbers that are none. */
  constructor(options: BackgroundOptions, kernelBtf: Btf | undefined) {
    const { threads = 1, fromInsns = FROM_INSNS } = options;
    if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS)
      throw new BpfError('EINVAL', `${threads} background threads: give 1 to ${MOST_THREADS}`);
    if (!(fromInsns >= 0))
      throw new BpfError('EINVAL', `fromInsns ${fromInsns}: give a number of instructions`);
    this.fromInsns = fromInsns;
    this.#options = options;
    this.#most = threads;
    this.#kernelBtf = kernelBtf;
    // A thread has nothing that split types could continue.
    if (kernelBtf?.base !== undefined) this.#usable = false;
  }

  get usable(): boolean {
    return this.#usable;
  }

  /** What a thread made of it; undefined where the caller is to do it. Rejects with what the job threw. */
  ask(work: Work): Promise<unknown> {
    if (!this.#usable) return Promise.resolve(undefined);
    return this.#leastBusy().ask(work);
  }

  close(): void {
    this.#usable = false;
    for (const thread of this.#threads.splice(0)) thread.end();
  }

  #leastBusy(): Thread {
    const [best] = [...this.#threads].sort((a, b) => a.jobs - b.jobs);
    if (best !== undefined && (best.jobs === 0 || this.#threads.length === this.#most)) return best;
    const thread = new Thread(this.#options, this.#kernelBtf?.bytes, () => {
      this.#usable = false;
    });
    this.#threads.push(thread);
    return thread;
  }
}

class Thread {
  readonly #started: Promise<CpuThread>;
  readonly #waiting = new Map<number, Waiting>();
  readonly #onLost: () => void;
  #thread: CpuThread | undefined;
  #lost = false;
  #last = 0;

  constructor({ start }: BackgroundOptions, kernelBtf: Uint8Array | undefined, onLost: () => void) {
    this.#onLost = onLost;
    const events = {
      onMessage: (message: unknown) => this.#hear(message as FromThread),
      onError: () => this.#lose(),
    };
    this.#started = (async () => start(events))();
    this.#started
      .then((thread) => {
        if (this.#lost) {
          thread.terminate();
          return;
        }
        this.#thread = thread;
        thread.post({ kind: 'types', btf: kernelBtf });
        thread.busy?.(this.jobs > 0);
      })
      .catch(() => this.#lose());
  }

  get jobs(): number {
    return this.#waiting.size;
  }

  async ask(work: Work): Promise<unknown> {
    if (this.#lost) return undefined;
    const id = ++this.#last;
    const result = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    try {
      const thread = this.#thread ?? (await this.#started);
      if (!this.#lost) {
        thread.busy?.(true);
        thread.post({ ...work, id });
      }
    } catch {
      // No thread, or something in the job that cannot be posted.
      this.#settle(id, ({ resolve }) => resolve(undefined));
    }
    return result;
  }

  end(): void {
    this.#lose();
  }

  #hear({ id, ...said }: FromThread): void {
    this.#settle(id, ({ resolve, reject }) => {
      if (said.failure === undefined) resolve(said.result);
      else reject(errorOf(said.failure));
    });
  }

  #settle(id: number, how: (waiting: Waiting) => void): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (this.jobs === 0) this.#thread?.busy?.(false);
    if (waiting !== undefined) how(waiting);
  }

  #lose(): void {
    if (this.#lost) return;
    this.#lost = true;
    this.#onLost();
    this.#thread?.terminate();
    for (const id of [...this.#waiting.keys()]) this.#settle(id, ({ resolve }) => resolve(undefined));
  }
}

function errorOf({ code, message, hint }: Failure): Error {
  if (code === undefined || !(code in ERRNO)) return new InternalError(message);
  return new BpfError(code as ErrnoName, message, hint === undefined ? {} : { hint });
}
