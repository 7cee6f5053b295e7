/** exitsnoop: processes as they end, how long they ran and how they ended. */
import { type Column, header, main, printable, row, signalName, type Tool, whole } from './common/index.ts';

const PROGRAM = `
#include <linux/sched.h>

struct exit_t {
  u64 time;
  u64 start;
  u32 pid;
  u32 tid;
  u32 ppid;
  u32 uid;
  u32 code;
  char comm[16];
};
BPF_PERF_OUTPUT(events);

TRACEPOINT_PROBE(sched, sched_process_exit)
{
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  u64 id = bpf_get_current_pid_tgid();
  struct exit_t event = {};

  event.pid = id >> 32;
  event.tid = id;
#ifndef THREADS
  if (event.pid != event.tid)
    return 0;
#endif
#ifdef ONLY_PID
  if (event.pid != ONLY_PID)
    return 0;
#endif
  event.code = task->exit_code;
#ifdef ONLY_FAILED
  if (event.code == 0)
    return 0;
#endif
  event.time = bpf_ktime_get_ns();
  event.start = task->start_time;
  event.ppid = task->real_parent->tgid;
  event.uid = bpf_get_current_uid_gid();
  bpf_get_current_comm(&event.comm, sizeof(event.comm));
  events.perf_submit(args, &event, sizeof(event));
  return 0;
}
`;

interface Options {
  readonly time?: true;
  readonly failed?: true;
  readonly perThread?: true;
  readonly pid?: number;
  readonly name?: string;
}

interface ExitEvent {
  readonly time: number;
  readonly start: number;
  readonly pid: number;
  readonly tid: number;
  readonly ppid: number;
  readonly uid: number;
  readonly code: number;
  readonly comm: string;
}

export const exitsnoop: Tool<Options> = {
  name: 'exitsnoop',
  summary:
    'Traces the end of processes: how long they ran, and their exit status or the signal that ended them.',
  examples: [
    ['exitsnoop', 'all processes that end'],
    ['exitsnoop -x', 'only those that failed'],
    ['exitsnoop -T -p 181', 'one process, with the time'],
    ['exitsnoop --input commands.strace', 'a recording'],
  ],
  record: 'strace -f -ttt -o commands.strace COMMAND',
  configure: (command) =>
    command
      .option('-T, --time', 'time of the day')
      .option('-x, --failed', 'only exit statuses other than 0, and signals')
      .option('-t, --per-thread', 'threads, too')
      .option('-p, --pid <pid>', 'only this process', whole(1))
      .option('-n, --name <name>', 'only commands with this in their name'),
  async run(session, options) {
    session.require('sched/sched_process_exit');
    session.requireStrace('how processes ended');
    const b = session.bcc(PROGRAM, {
      ONLY_PID: options.pid,
      ONLY_FAILED: options.failed,
      THREADS: options.perThread,
    });
    const age = (e: ExitEvent): number => (e.time - e.start) / 1e9;
    const columns: Column<ExitEvent>[] = [
      ...(options.time ? [{ title: 'TIME', width: 8, value: (e: ExitEvent) => session.clock(e.time) }] : []),
      { title: 'PCOMM', width: 16, value: (e) => printable(e.comm) },
      { title: 'PID', width: 7, value: (e) => e.pid },
      { title: 'PPID', width: 7, value: (e) => e.ppid },
      { title: 'TID', width: 7, value: (e) => e.tid },
      { title: 'AGE(s)', width: 8, value: (e) => age(e).toFixed(3) },
      { title: 'EXIT', value: (e) => ending(e.code) },
    ];
    session.text(header(columns));
    session.perfEvents<ExitEvent>(b, 'events', (event) => {
      if (options.name !== undefined && !event.comm.includes(options.name)) return;
      session.text(row(columns, event));
      const { time, pid, ppid, tid, uid, comm, code } = event;
      const signal = code & 0x7f;
      session.object({
        time: session.iso(time),
        pid,
        ppid,
        tid,
        uid,
        comm,
        age: age(event),
        status: signal === 0 ? code >> 8 : null,
        signal: signal === 0 ? null : signal,
        coreDumped: (code & 0x80) !== 0,
      });
    });
    await session.run();
  },
};

/** As wait(2) has it: status << 8, or the signal with 0x80 for a core dump. */
function ending(code: number): string {
  const signal = code & 0x7f;
  if (signal === 0) return code >> 8 === 0 ? '0' : `code ${code >> 8}`;
  return `signal ${signal} (${signalName(signal)})${code & 0x80 ? ', core dumped' : ''}`;
}

await main(import.meta.url, exitsnoop);
