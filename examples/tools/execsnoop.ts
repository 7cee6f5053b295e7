/** execsnoop: new processes, with their arguments, as they execute their programs. */
import type { Command } from 'commander';
import { type Column, header, main, printable, row, type Tool, whole } from './common/index.ts';

interface Options {
  readonly fails?: true;
  readonly time?: true;
  readonly timestamp?: true;
  readonly printUid?: true;
  readonly quote?: true;
  readonly uid?: number;
  readonly ppid?: number;
  readonly name?: string;
  readonly line?: string;
  readonly maxArgs: number;
}

interface ExecEvent {
  readonly time: number;
  readonly pid: number;
  readonly ppid: number;
  readonly uid: number;
  readonly ret: number;
  readonly more: number;
  readonly size: number;
  readonly comm: string;
}

interface Execution extends ExecEvent {
  readonly args: readonly string[];
}

export const execsnoop: Tool<Options> = {
  name: 'execsnoop',
  summary: 'Traces execve(2): new processes with their arguments.',
  examples: [
    ['execsnoop', 'all that is executed'],
    ['execsnoop -x', 'what could not be executed, too'],
    ['execsnoop -T -U', 'with the time and the user id'],
    ['execsnoop -u 1000 -n main', 'of user 1000, commands with "main" in their name'],
    ['execsnoop --input commands.strace --json', 'a recording, as JSON'],
  ],
  record: 'strace -f -ttt -s 256 -o commands.strace COMMAND',
  configure: (command: Command) =>
    command
      .option('-x, --fails', 'failed executions, too')
      .option('-T, --time', 'time of the day')
      .option('-t, --timestamp', 'seconds since the first one')
      .option('-U, --print-uid', 'user id')
      .option('-q, --quote', 'quotation marks around arguments')
      .option('-u, --uid <uid>', 'only this user', whole())
      .option('-P, --ppid <pid>', 'only children of this process', whole(1))
      .option('-n, --name <name>', 'only commands with this in their name')
      .option('-l, --line <text>', 'only executions with this in an argument')
      .option('--max-args <count>', 'arguments that are shown', whole(), 20),
  async run(session, options) {
    const object = session.open('execsnoop');
    object.globals.failed_too = options.fails === true;
    object.globals.any_uid = options.uid === undefined;
    object.globals.only_uid = options.uid ?? 0;
    object.globals.only_ppid = options.ppid ?? 0;
    object.globals.max_args = options.maxArgs;
    session.require('syscalls/sys_enter_execve', 'syscalls/sys_exit_execve');
    session.requireStrace('arguments');
    object.load(session.kernel).attach();

    let first: number | undefined;
    const since = (time: number): string => {
      first ??= time;
      return ((time - first) / 1e9).toFixed(3);
    };
    const quoted = (text: string): string => (options.quote ? JSON.stringify(text) : printable(text));
    const columns: Column<Execution>[] = [
      ...(options.time ? [{ title: 'TIME', width: 8, value: (e: Execution) => session.clock(e.time) }] : []),
      ...(options.timestamp ? [{ title: 'TIME(s)', width: 8, value: (e: Execution) => since(e.time) }] : []),
      ...(options.printUid ? [{ title: 'UID', width: 6, value: (e: Execution) => e.uid }] : []),
      { title: 'PCOMM', width: 16, value: (e) => printable(e.comm) },
      { title: 'PID', width: 7, value: (e) => e.pid },
      { title: 'PPID', width: 7, value: (e) => e.ppid },
      { title: 'RET', width: -3, value: (e) => e.ret },
      { title: 'ARGS', value: (e) => [...e.args.map(quoted), ...(e.more ? ['...'] : [])].join(' ') },
    ];
    session.text(header(columns));
    session.ringEvents<ExecEvent & { readonly text: unknown }>(
      object,
      'events',
      'exec_event',
      (event, bytes) => {
        const args = texts(bytes.subarray(TEXT_AT, TEXT_AT + event.size));
        if (options.name !== undefined && !event.comm.includes(options.name)) return;
        if (options.line !== undefined && !args.some((arg) => arg.includes(options.line!))) return;
        const { time, pid, ppid, uid, comm, ret, more } = event;
        session.text(row(columns, { ...event, args }));
        session.object({ time: session.iso(time), pid, ppid, uid, comm, ret, args, more: more !== 0 });
      },
    );
    await session.run();
  },
};

/** offsetof(struct exec_event, text) */
const TEXT_AT = 52;

function texts(bytes: Uint8Array): string[] {
  const parts = new TextDecoder().decode(bytes).split('\0');
  parts.pop();
  return parts;
}

await main(import.meta.url, execsnoop);
