/** What programs give to user space: buffers of events that are polled, lines of trace_pipe. */
import type { Fd, Kernel, TraceLine } from '../contracts/kernel.ts';
import { BpfError } from '../util/errors.ts';
import type { Poller } from './table.ts';

/** Between two looks at a socket that had nothing. */
const PACKET_PAUSE_MS = 5;

export interface TraceFields {
  readonly task: string;
  readonly pid: number;
  readonly cpu: number;
  readonly flags: string;
  /** Seconds since boot. */
  readonly ts: number;
  readonly msg: string;
}

export class Output {
  readonly #pollers: Poller[] = [];
  readonly #ended = new AbortController();

  add(poller: Poller): void {
    this.#pollers.push(poller);
  }

  /** Hands over what is there now; gives how many. */
  consume(kind: Poller['kind'] | undefined): number {
    let count = 0;
    for (const poller of this.#pollers)
      if (kind === undefined || poller.kind === kind) count += poller.consume();
    return count;
  }

  /** Waits until there is something, at most `timeoutMs`. Errors: EINVAL where no buffer is open. */
  async poll(kind: Poller['kind'] | undefined, timeoutMs: number | undefined): Promise<number> {
    const pollers = this.#pollers.filter((one) => kind === undefined || one.kind === kind);
    if (pollers.length === 0)
      throw new BpfError('EINVAL', 'no buffer is open: openPerfBuffer, openRingBuffer');
    const ended = new AbortController();
    const end = () => ended.abort();
    this.#ended.signal.addEventListener('abort', end);
    const timer = timeoutMs === undefined || timeoutMs < 0 ? undefined : setTimeout(end, timeoutMs);
    try {
      for (;;) {
        const count = this.consume(kind);
        if (count > 0 || ended.signal.aborted) return count;
        await Promise.race(pollers.map((poller) => poller.wait(ended.signal)));
      }
    } finally {
      if (timer !== undefined) clearTimeout(timer);
      // The waits on the other buffers end, too.
      end();
      this.#ended.signal.removeEventListener('abort', end);
    }
  }

  /** Lines of trace_pipe until `signal` fires or the output is closed. */
  async *trace(kernel: Kernel, signal: AbortSignal | undefined): AsyncGenerator<TraceFields> {
    const ended = new AbortController();
    const end = () => ended.abort();
    if (signal?.aborted || this.#ended.signal.aborted) return;
    signal?.addEventListener('abort', end);
    this.#ended.signal.addEventListener('abort', end);
    try {
      for await (const line of kernel.tracePipe({ signal: ended.signal })) yield fieldsOf(line);
    } finally {
      signal?.removeEventListener('abort', end);
      this.#ended.signal.removeEventListener('abort', end);
    }
  }

  /** What a packet socket gets, until `signal` fires or the output is closed; looked for again and again, with a pause. */
  async *packets(
    kernel: Kernel,
    socket: Fd,
    size: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array> {
    const ended = signal === undefined ? this.#ended.signal : AbortSignal.any([signal, this.#ended.signal]);
    while (!ended.aborted) {
      const packet = nextPacket(kernel, socket, size);
      if (packet === undefined) await pause(PACKET_PAUSE_MS, ended);
      else yield packet;
    }
  }

  close(): void {
    this.#ended.abort();
    for (const poller of this.#pollers.splice(0)) poller.close();
  }
}

/** Errors: EOPNOTSUPP where the kernel's descriptors are not read. */
function nextPacket(kernel: Kernel, socket: Fd, size: number): Uint8Array | undefined {
  if (kernel.readFd === undefined)
    throw new BpfError('EOPNOTSUPP', `packets of the ${kernel.features().kind} kernel cannot be read`);
  try {
    return kernel.readFd(socket, size);
  } catch (error) {
    if (error instanceof BpfError && error.code === 'EAGAIN') return undefined;
    throw error;
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}

function fieldsOf({ comm, pid, cpu, flags, timestamp, message }: TraceLine): TraceFields {
  return {
    task: comm,
    pid,
    cpu,
    flags,
    ts: timestamp,
    msg: message.replace(/^bpf_trace_printk: /, '').replace(/\n+$/, ''),
  };
}

/** A line as trace_pipe has it, or by a format with `{0}` task, `{1}` pid, `{2}` cpu, `{3}` flags, `{4}` time, `{5}` message. */
export function showTrace(line: TraceFields, format: string | undefined): string {
  const { task, pid, cpu, flags, ts, msg } = line;
  if (format === undefined)
    return `${`${task}-${pid}`.padStart(24)} [${String(cpu).padStart(3, '0')}] ${flags} ${ts.toFixed(6)}: ${msg}`;
  const values = [task, String(pid), String(cpu), flags, ts.toFixed(6), msg];
  return format.replace(/\{(\d)\}/g, (all, index: string) => values[Number(index)] ?? all);
}
