/** /sys/kernel/tracing/trace_pipe: lines as they come, read without blocking, parsed to the fields of ftrace's line format. */
import { readSync } from 'node:fs';
import type { TraceLine } from '../contracts/kernel.ts';
import { BpfError } from '../util/errors.ts';
import type { Host } from './host.ts';
import { Readiness } from './readiness.ts';
import { fsError } from './tracefs.ts';

const CHUNK = 1 << 16;
/** trace_pipe tells its waiters when a page is half full; lines should come sooner. */
const LOOK_AGAIN_MS = 100;

export async function* readTracePipe(
  host: Host,
  options: { readonly signal?: AbortSignal } = {},
): AsyncGenerator<TraceLine> {
  let fd: number;
  try {
    fd = host.tracefs.open('trace_pipe');
  } catch (error) {
    // Since 6.7 the kernel opens it for one reader at a time; before, each line went to one of them.
    if ((error as { code?: string }).code === 'EBUSY')
      throw new BpfError(
        'EBUSY',
        'trace_pipe is being read by another process, and has one reader at a time',
        {
          cause: error,
          hint: 'end the other reader (`cat trace_pipe`, `bpftool prog tracelog`, another tsbpf run)',
        },
      );
    throw fsError(error, 'trace_pipe');
  }
  const readiness = new Readiness(host.native, fd, () => true);
  host.fds.own(fd, { kind: 'other', onClose: () => readiness.close() });
  const chunk = new Uint8Array(CHUNK);
  const decoder = new TextDecoder();
  let rest = '';
  try {
    while (!options.signal?.aborted && host.fds.entry(fd) !== undefined) {
      const size = readSome(fd, chunk);
      if (size === 0) {
        await readiness.wait(LOOK_AGAIN_MS, options.signal);
        continue;
      }
      const lines = (rest + decoder.decode(chunk.subarray(0, size), { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      yield* parseTraceLines(lines);
      // The reader may be busy with lines for long: others get their turn.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  } finally {
    if (host.fds.entry(fd) !== undefined) host.fds.close(fd);
  }
}

/** Bytes read, 0 where there is nothing now. */
function readSome(fd: number, chunk: Uint8Array): number {
  try {
    return readSync(fd, chunk);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === 'EAGAIN' || code === 'EINTR') return 0;
    throw fsError(error, 'trace_pipe');
  }
}

/** `            bash-1234    [001] ...21  1234.567890: bpf_trace_printk: message`; with a tgid in brackets if that is on. */
const LINE = /^(.{0,32})-(\d{1,10})\s+(?:\([\s\d-]{1,16}\)\s+)?\[(\d+)\]\s+(\S+)\s+(\d+\.\d+): (.*)$/;
const PRINTK = 'bpf_trace_printk: ';

/** A line that does not begin as lines do belongs to the message before it: programs may print newlines. */
export function parseTraceLines(lines: readonly string[]): TraceLine[] {
  const parsed: TraceLine[] = [];
  for (const line of lines) {
    const match = LINE.exec(line.trimStart());
    if (match !== null) {
      const [, comm, pid, cpu, flags, timestamp, text] = match;
      const message = text.startsWith(PRINTK) ? text.slice(PRINTK.length) : text;
      parsed.push({
        comm: comm.trim(),
        pid: Number(pid),
        cpu: Number(cpu),
        flags,
        timestamp: Number(timestamp),
        message,
      });
    } else if (parsed.length > 0 && line !== '' && !line.startsWith('CPU:')) {
      const last = parsed[parsed.length - 1];
      parsed[parsed.length - 1] = { ...last, message: `${last.message}\n${line}` };
    }
  }
  return parsed;
}
