/** opensnoop: files as they are opened, and what could not be opened. */
import { InvalidArgumentError } from 'commander';
import { type Column, header, main, printable, row, type Tool, whole } from './common/index.ts';

const PROGRAM = `
#define NAME_SIZE 256

struct call_t {
  const char *name;
  int flags;
  u32 mode;
};
struct open_t {
  u64 time;
  u32 pid;
  u32 tid;
  u32 uid;
  int ret;
  int flags;
  u32 mode;
  char comm[16];
  char name[NAME_SIZE];
};
BPF_HASH(calls, u32, struct call_t);
BPF_PERF_OUTPUT(events);

static int enter(const char *name, int flags, u32 mode)
{
  u64 id = bpf_get_current_pid_tgid();
  u32 tid = id;
#ifdef ONLY_PID
  if (id >> 32 != ONLY_PID)
    return 0;
#endif
#ifdef ONLY_TID
  if (tid != ONLY_TID)
    return 0;
#endif
#ifdef ONLY_UID
  if ((u32)bpf_get_current_uid_gid() != ONLY_UID)
    return 0;
#endif
#ifdef ONLY_FLAGS
  if (!(flags & ONLY_FLAGS))
    return 0;
#endif
  struct call_t call = { .name = name, .flags = flags, .mode = mode };
  calls.update(&tid, &call);
  return 0;
}

static int leave(void *ctx, int ret)
{
  u64 id = bpf_get_current_pid_tgid();
  u32 tid = id;
  struct call_t *call = calls.lookup(&tid);
  struct open_t event = {};

  if (!call)
    return 0;
#ifdef ONLY_FAILED
  if (ret >= 0) {
    calls.delete(&tid);
    return 0;
  }
#endif
  event.time = bpf_ktime_get_ns();
  event.pid = id >> 32;
  event.tid = tid;
  event.uid = bpf_get_current_uid_gid();
  event.ret = ret;
  event.flags = call->flags;
  event.mode = call->mode;
  bpf_get_current_comm(&event.comm, sizeof(event.comm));
  bpf_probe_read_user_str(&event.name, sizeof(event.name), call->name);
  calls.delete(&tid);
  events.perf_submit(ctx, &event, sizeof(event));
  return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_openat) { return enter(args->filename, args->flags, args->mode); }
TRACEPOINT_PROBE(syscalls, sys_exit_openat) { return leave(args, args->ret); }
#ifdef HAS_OPEN
TRACEPOINT_PROBE(syscalls, sys_enter_open) { return enter(args->filename, args->flags, args->mode); }
TRACEPOINT_PROBE(syscalls, sys_exit_open) { return leave(args, args->ret); }
#endif
#ifdef HAS_OPENAT2
TRACEPOINT_PROBE(syscalls, sys_enter_openat2)
{
  u64 how[2] = {}; // flags, mode
  bpf_probe_read_user(how, sizeof(how), (void *)args->how);
  return enter(args->filename, how[0], how[1]);
}
TRACEPOINT_PROBE(syscalls, sys_exit_openat2) { return leave(args, args->ret); }
#endif
`;

/** open(2) on x86-64. */
const FLAGS: Readonly<Record<string, number>> = {
  O_WRONLY: 1,
  O_RDWR: 2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_TRUNC: 0o1000,
  O_APPEND: 0o2000,
  O_DIRECTORY: 0o200000,
  O_NOFOLLOW: 0o400000,
  O_CLOEXEC: 0o2000000,
};

function known(flag: string): string {
  if (!Object.hasOwn(FLAGS, flag))
    throw new InvalidArgumentError(`a flag is needed: ${Object.keys(FLAGS).join(', ')}.`);
  return flag;
}

interface Options {
  readonly time?: true;
  readonly printUid?: true;
  readonly extended?: true;
  readonly failed?: true;
  readonly pid?: number;
  readonly tid?: number;
  readonly uid?: number;
  readonly name?: string;
  readonly flagFilter?: readonly string[];
}

interface OpenEvent {
  readonly time: number;
  readonly pid: number;
  readonly tid: number;
  readonly uid: number;
  readonly ret: number;
  readonly flags: number;
  readonly comm: string;
  readonly name: string;
}

export const opensnoop: Tool<Options> = {
  name: 'opensnoop',
  summary: 'Traces open(2), openat(2) and openat2(2): which files are opened, by whom, and how it ended.',
  examples: [
    ['opensnoop', 'all files that are opened'],
    ['opensnoop -x', 'only what could not be opened'],
    ['opensnoop -p 181 -d 10', 'one process, for ten seconds'],
    ['opensnoop -e -f O_WRONLY -f O_RDWR', 'what is opened for writing, with the flags'],
    ['opensnoop --input commands.strace -n grep', 'a recording, commands with "grep" in their name'],
  ],
  record: 'strace -f -ttt -o commands.strace COMMAND',
  configure: (command) =>
    command
      .option('-T, --time', 'time of the day')
      .option('-U, --print-uid', 'user id')
      .option('-e, --extended', 'flags')
      .option('-x, --failed', 'only what failed')
      .option('-p, --pid <pid>', 'only this process', whole(1))
      .option('-t, --tid <tid>', 'only this thread', whole(1))
      .option('-u, --uid <uid>', 'only this user', whole())
      .option('-n, --name <name>', 'only commands with this in their name')
      .option(
        '-f, --flag-filter <flag>',
        `only with this flag (repeatable): ${Object.keys(FLAGS).join(', ')}`,
        (flag: string, others: readonly string[] = []) => [...others, known(flag)],
      ),
  async run(session, options) {
    const { pid, tid, uid, name, failed, flagFilter } = options;
    session.require('syscalls/sys_enter_openat', 'syscalls/sys_exit_openat');
    session.requireStrace('names of files');
    const b = session.bcc(PROGRAM, {
      ONLY_PID: pid,
      ONLY_TID: tid,
      ONLY_UID: uid,
      ONLY_FAILED: failed,
      ONLY_FLAGS: flagFilter?.reduce((all, flag) => all | (FLAGS[flag] ?? 0), 0),
      HAS_OPEN: session.has('syscalls/sys_enter_open') || undefined,
      HAS_OPENAT2: session.has('syscalls/sys_enter_openat2') || undefined,
    });
    const columns: Column<OpenEvent>[] = [
      ...(options.time ? [{ title: 'TIME', width: 8, value: (e: OpenEvent) => session.clock(e.time) }] : []),
      ...(options.printUid ? [{ title: 'UID', width: 6, value: (e: OpenEvent) => e.uid }] : []),
      { title: 'PID', width: 7, value: (e) => (tid === undefined ? e.pid : e.tid) },
      { title: 'COMM', width: 16, value: (e) => printable(e.comm) },
      { title: 'FD', width: 4, value: (e) => (e.ret >= 0 ? e.ret : -1) },
      { title: 'ERR', width: 3, value: (e) => (e.ret >= 0 ? 0 : -e.ret) },
      ...(options.extended
        ? [
            {
              title: 'FLAGS',
              width: 8,
              value: (e: OpenEvent) => (e.flags >>> 0).toString(8).padStart(8, '0'),
            },
          ]
        : []),
      { title: 'PATH', value: (e) => printable(e.name) },
    ];
    session.text(header(columns));
    session.perfEvents<OpenEvent>(b, 'events', (event) => {
      if (name !== undefined && !event.comm.includes(name)) return;
      session.text(row(columns, event));
      const { time, ret, flags, name: path, ...who } = event;
      session.object({
        time: session.iso(time),
        pid: who.pid,
        tid: who.tid,
        uid: who.uid,
        comm: who.comm,
        fd: ret >= 0 ? ret : null,
        errno: ret >= 0 ? 0 : -ret,
        flags: flagNames(flags),
        path,
      });
    });
    await session.run();
  },
};

function flagNames(flags: number): string[] {
  const names = Object.entries(FLAGS).flatMap(([name, bit]) => ((flags & bit) === bit ? name : []));
  return (flags & 3) === 0 ? ['O_RDONLY', ...names] : names;
}

await main(import.meta.url, opensnoop);
