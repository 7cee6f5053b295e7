/**
 * The program behind fsslower and fsdist: how long reading, writing, opening and syncing files takes. Where the kernel has kprobes they sit at
 * its VFS functions; elsewhere system calls are timed. Of a recording nothing but the calls is known: names are then kept from open to close.
 */
import type { BPF } from '../tsbpf.ts';
import type { Session } from './session.ts';

const PROGRAM = `
#ifndef TRACK
#include <linux/sched.h>
#include <linux/fs.h>
#include <linux/fdtable.h>
#define S_IFMT 0170000
#define S_IFREG 0100000
#endif
#define NAME_SIZE 96

enum { FILE_READ, FILE_WRITE, FILE_OPEN, FILE_SYNC };

struct call_t {
  u64 time;
  u64 file;
  const char *name;
  int fd;
  u32 op;
};
struct event_t {
  u64 time;
  u64 latency;
  s64 result;
  u32 pid;
  u32 tid;
  u32 op;
  char comm[16];
  char fs[16];
  char name[NAME_SIZE];
};
struct slot_t {
  u64 op;
  u64 slot;
};
BPF_HASH(calls, u32, struct call_t);
BPF_PERF_OUTPUT(events);
BPF_HISTOGRAM(latency, struct slot_t);

static int enter(u32 op, int fd, u64 file, const char *name)
{
  u64 id = bpf_get_current_pid_tgid();
  u32 tid = id;
  struct call_t call = {};

#ifdef ONLY_PID
  if (id >> 32 != ONLY_PID)
    return 0;
#endif
  call.op = op;
  call.fd = fd;
  call.file = file;
  call.name = name;
  call.time = bpf_ktime_get_ns();
  calls.update(&tid, &call);
  return 0;
}

#ifdef TRACK
struct place_t {
  u32 pid;
  int fd;
};
struct name_t {
  char text[NAME_SIZE];
};
BPF_HASH(names, struct place_t, struct name_t);

// False where the file was opened before the recording began, or is none.
static int describe(struct event_t *event, struct call_t *call)
{
  struct place_t place = { .pid = event->pid };
  struct name_t name = {}, *known;

  if (call->op == FILE_OPEN) {
    if (event->result < 0)
      return 0;
    place.fd = event->result;
    bpf_probe_read_user_str(&name.text, sizeof(name.text), call->name);
    names.update(&place, &name);
    __builtin_memcpy(event->name, name.text, sizeof(event->name));
    return 1;
  }
  place.fd = call->fd;
  known = names.lookup(&place);
  if (!known)
    return 0;
  __builtin_memcpy(event->name, known->text, sizeof(event->name));
  return 1;
}

TRACEPOINT_PROBE(syscalls, sys_enter_close)
{
  struct place_t place = {};

  place.pid = bpf_get_current_pid_tgid() >> 32;
  place.fd = args->fd;
  names.delete(&place);
  return 0;
}

TRACEPOINT_PROBE(syscalls, sys_enter_dup2)
{
  struct place_t place = {};
  struct name_t *known;

  place.pid = bpf_get_current_pid_tgid() >> 32;
  place.fd = args->oldfd;
  known = names.lookup(&place);
  if (known) {
    struct name_t name = *known;

    place.fd = args->newfd;
    names.update(&place, &name);
  }
  return 0;
}
#else
static struct file *file_of(int fd)
{
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  struct file **files = task->files->fdt->fd;
  struct file *file = 0;

  bpf_probe_read_kernel(&file, sizeof(file), &files[fd]);
  return file;
}

static int describe(struct event_t *event, struct call_t *call)
{
  struct file *file = (struct file *)call->file;
  struct inode *inode;

  if (event->op == FILE_OPEN && event->result < 0)
    return 0;
  if (!file)
    file = file_of(event->op == FILE_OPEN ? event->result : call->fd);
  if (!file)
    return 0;
  inode = file->f_inode;
  if (!inode || (inode->i_mode & S_IFMT) != S_IFREG)
    return 0;
  bpf_probe_read_kernel_str(&event->fs, sizeof(event->fs), inode->i_sb->s_type->name);
  bpf_probe_read_kernel_str(&event->name, sizeof(event->name), file->f_path.dentry->d_name.name);
  return 1;
}
#endif

static int leave(void *ctx, s64 result)
{
  u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
  u32 tid = id;
  struct call_t *call = calls.lookup(&tid);
  struct event_t event = {};

  if (!call)
    return 0;
  event.time = now;
  event.latency = now - call->time;
  event.result = result;
  event.op = call->op;
  event.pid = id >> 32;
  event.tid = tid;
#ifdef SLOWER
  if (describe(&event, call) && event.latency >= SLOWER) {
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    events.perf_submit(ctx, &event, sizeof(event));
  }
#else
  if (describe(&event, call)) {
    struct slot_t slot = {};

    slot.op = event.op;
    slot.slot = bpf_log2l(event.latency / UNIT);
    latency.increment(slot);
  }
#endif
  calls.delete(&tid);
  return 0;
}

#ifdef KPROBES
int enter_read(struct pt_regs *ctx, struct file *file) { return enter(FILE_READ, -1, (u64)file, 0); }
int enter_write(struct pt_regs *ctx, struct file *file) { return enter(FILE_WRITE, -1, (u64)file, 0); }
int enter_sync(struct pt_regs *ctx, struct file *file) { return enter(FILE_SYNC, -1, (u64)file, 0); }
int enter_open(struct pt_regs *ctx, void *path, struct file *file) { return enter(FILE_OPEN, -1, (u64)file, 0); }
int leave_any(struct pt_regs *ctx) { return leave(ctx, PT_REGS_RC(ctx)); }
#else
TRACEPOINT_PROBE(syscalls, sys_enter_read) { return enter(FILE_READ, args->fd, 0, 0); }
TRACEPOINT_PROBE(syscalls, sys_enter_pread64) { return enter(FILE_READ, args->fd, 0, 0); }
TRACEPOINT_PROBE(syscalls, sys_enter_write) { return enter(FILE_WRITE, args->fd, 0, 0); }
TRACEPOINT_PROBE(syscalls, sys_enter_pwrite64) { return enter(FILE_WRITE, args->fd, 0, 0); }
TRACEPOINT_PROBE(syscalls, sys_enter_fsync) { return enter(FILE_SYNC, args->fd, 0, 0); }
TRACEPOINT_PROBE(syscalls, sys_enter_fdatasync) { return enter(FILE_SYNC, args->fd, 0, 0); }
TRACEPOINT_PROBE(syscalls, sys_enter_openat) { return enter(FILE_OPEN, -1, 0, args->filename); }
TRACEPOINT_PROBE(syscalls, sys_exit_read) { return leave(args, args->ret); }
TRACEPOINT_PROBE(syscalls, sys_exit_pread64) { return leave(args, args->ret); }
TRACEPOINT_PROBE(syscalls, sys_exit_write) { return leave(args, args->ret); }
TRACEPOINT_PROBE(syscalls, sys_exit_pwrite64) { return leave(args, args->ret); }
TRACEPOINT_PROBE(syscalls, sys_exit_fsync) { return leave(args, args->ret); }
TRACEPOINT_PROBE(syscalls, sys_exit_fdatasync) { return leave(args, args->ret); }
TRACEPOINT_PROBE(syscalls, sys_exit_openat) { return leave(args, args->ret); }
#endif
`;

/** By their numbers in the program. */
export const FILE_OPERATIONS = ['read', 'write', 'open', 'sync'] as const;

export type ProbeChoice = 'auto' | 'kprobe' | 'syscall';
export const PROBE_CHOICES: readonly ProbeChoice[] = ['auto', 'kprobe', 'syscall'];

/** Functions of the kernel under each of the program's. */
const FUNCTIONS = {
  enter_read: 'vfs_read',
  enter_write: 'vfs_write',
  enter_sync: 'vfs_fsync_range',
  enter_open: 'vfs_open',
} as const;

const CALLS = ['read', 'pread64', 'write', 'pwrite64', 'fsync', 'fdatasync', 'openat'];

export const FS_RECORD = 'strace -f -ttt -o commands.strace COMMAND';

/** Loads and attaches it. `SLOWER`: nanoseconds from which on events are sent; without it latencies are summed up. */
export function fsLatency(
  session: Session,
  probe: ProbeChoice,
  defines: Readonly<Record<string, string | number | true | undefined>>,
): BPF {
  const kprobes = probe === 'kprobe' || (probe === 'auto' && !session.embedded && session.hasKprobes());
  if (kprobes && !session.hasKprobes())
    throw session.failure('ENOENT', 'no functions of this kernel can be probed', 'try --probe syscall');
  if (!kprobes) {
    session.require(...CALLS.flatMap((name) => [`syscalls/sys_enter_${name}`, `syscalls/sys_exit_${name}`]));
    session.requireStrace('names of files');
  }
  const b = session.bcc(PROGRAM, {
    ...defines,
    KPROBES: kprobes || undefined,
    TRACK: session.embedded || undefined,
  });
  if (!kprobes) return b;
  for (const [fnName, event] of Object.entries(FUNCTIONS)) {
    b.attachKprobe({ event, fnName });
    b.attachKretprobe({ event, fnName: 'leave_any' });
  }
  return b;
}
