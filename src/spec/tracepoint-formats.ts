/**
 * Records of tracepoints where no tracefs tells them (the embedded kernel): the fields of Linux 6.18 on x86-64 behind the common ones, in
 * order. Offsets follow from natural alignment, as TRACE_EVENT lays its entries out; a recording that brings its own formats goes before.
 */

const FIELDS: Readonly<Record<string, string>> = {
  'raw_syscalls/sys_enter': 'long id; unsigned long args[6]',
  'raw_syscalls/sys_exit': 'long id; long ret',
  'sched/sched_process_exec': '__data_loc char[] filename; pid_t pid; pid_t old_pid',
  'sched/sched_process_exit': 'char comm[16]; pid_t pid; int prio; bool group_dead',
  'sched/sched_process_fork':
    '__data_loc char[] parent_comm; pid_t parent_pid; __data_loc char[] child_comm; pid_t child_pid',
  'sched/sched_switch':
    'char prev_comm[16]; pid_t prev_pid; int prev_prio; long prev_state; char next_comm[16]; pid_t next_pid; int next_prio',
  'sched/sched_wakeup': 'char comm[16]; pid_t pid; int prio; int target_cpu',
  'sched/sched_wakeup_new': 'char comm[16]; pid_t pid; int prio; int target_cpu',
  'sched/sched_waking': 'char comm[16]; pid_t pid; int prio; int target_cpu',
  'signal/signal_generate': 'int sig; int errno; int code; char comm[16]; pid_t pid; int group; int result',
  'signal/signal_deliver': 'int sig; int errno; int code; unsigned long sa_handler; unsigned long sa_flags',
  'sock/inet_sock_set_state':
    'const void * skaddr; int oldstate; int newstate; __u16 sport; __u16 dport; __u16 family; __u16 protocol; ' +
    '__u8 saddr[4]; __u8 daddr[4]; __u8 saddr_v6[16]; __u8 daddr_v6[16]',
  'block/block_rq_insert':
    'dev_t dev; sector_t sector; unsigned int nr_sector; unsigned int bytes; unsigned short ioprio; ' +
    'char rwbs[10]; char comm[16]; __data_loc char[] cmd',
  'block/block_rq_issue':
    'dev_t dev; sector_t sector; unsigned int nr_sector; unsigned int bytes; unsigned short ioprio; ' +
    'char rwbs[10]; char comm[16]; __data_loc char[] cmd',
  'block/block_rq_complete':
    'dev_t dev; sector_t sector; unsigned int nr_sector; int error; unsigned short ioprio; ' +
    'char rwbs[10]; __data_loc char[] cmd',
};

/** Bytes of a value, and whether it is signed. */
const SIZES: Readonly<Record<string, readonly [size: number, signed: 0 | 1]>> = {
  bool: [1, 0],
  char: [1, 0],
  __u8: [1, 0],
  __u16: [2, 0],
  'unsigned short': [2, 0],
  int: [4, 1],
  pid_t: [4, 1],
  'unsigned int': [4, 0],
  dev_t: [4, 0],
  '__data_loc char[]': [4, 0],
  long: [8, 1],
  'unsigned long': [8, 0],
  sector_t: [8, 0],
  'const void *': [8, 0],
};

/** type, flags, preempt count, pid: 8 bytes. */
const COMMON = 8;

/** The text of a format file's fields; undefined for a tracepoint that is not in the table. `category/name` */
export function stockTracepointFormat(event: string): string | undefined {
  const fields = Object.hasOwn(FIELDS, event) ? FIELDS[event] : undefined;
  if (fields === undefined) return undefined;
  let at = COMMON;
  let text = '';
  for (const declaration of fields.split('; ')) {
    const [, type = '', count] = /^(.+) \w+(?:\[(\d+)\])?$/.exec(declaration) ?? [];
    const [size, signed] = SIZES[type]!;
    at = Math.ceil(at / size) * size;
    const length = size * Number(count ?? 1);
    text += `\tfield:${declaration};\toffset:${at};\tsize:${length};\tsigned:${signed};\n`;
    at += length;
  }
  return text;
}

/** Names of the tracepoints with a format of their own, `category/name`. */
export const STOCK_TRACEPOINTS: readonly string[] = Object.keys(FIELDS);
