/** What programs give to user space: buffers of events that are polled, lines of trace_pipe. */
import type { Kernel, TraceLine } from '../contracts/kernel.ts';
import { BpfError } from '../util/errors.ts';
import type { Poller } from './table.ts';

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

  close(): void {
    this.#ended.abort();
    for (const poller of this.#pollers.splice(0)) poller.close();
  }
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
