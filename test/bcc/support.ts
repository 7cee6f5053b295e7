/** Programs and events that several tests of the BCC front end use. */
import type { EventStacks } from '../../src/contracts.ts';
import type { EmbeddedKernel } from '../../src/kernel/index.ts';
import { utf8 } from '../../src/util/index.ts';

/** Each execution as an event: who, and which file. */
export const BCC_MAIN = `
#include <uapi/linux/ptrace.h>
#include <linux/sched.h>
#include <linux/fs.h>

struct data_t {
  u32 pid;
  char comm[TASK_COMM_LEN];
  char fname[64];
};
BPF_PERF_OUTPUT(events);

TRACEPOINT_PROBE(syscalls, sys_enter_execve)
{
  struct data_t data = {};
  data.pid = bpf_get_current_pid_tgid() >> 32;
  bpf_get_current_comm(&data.comm, sizeof(data.comm));
  bpf_probe_read_user_str(&data.fname, sizeof(data.fname), args->filename);
  events.perf_submit(args, &data, sizeof(data));
  return 0;
}
`;

/** A function of the kernel is entered with these arguments: how many programs ran. */
export function fireProbe(
  kernel: EmbeddedKernel,
  symbol: string,
  args: readonly bigint[],
  more: { readonly stacks?: EventStacks } = {},
): number {
  return kernel.simulator.fire({
    kind: 'kprobe',
    symbol,
    args: args.map((value) => ({ kind: 'value', value })),
    process: { pid: 10, uid: 0, comm: 'init' },
    time: 1n,
    ...more,
  });
}

export function fireExec(kernel: EmbeddedKernel, pid: number, comm: string, file: string): number {
  return kernel.simulator.fire({
    kind: 'syscall_enter',
    name: 'execve',
    nr: 59,
    args: [{ kind: 'memory', bytes: utf8(`${file}\0`) }],
    process: { pid, uid: 0, comm },
    time: 1n,
  });
}

/** UDP of IPv4 to port 5353 is kept, its first 60 bytes. */
export const KEEP_MDNS = `
#include <bcc/proto.h>
BPF_ARRAY(seen, u64, 1);
int keep(struct __sk_buff *skb) {
  u8 *cursor = 0;
  struct ethernet_t *ethernet = cursor_advance(cursor, sizeof(*ethernet));
  if (ethernet->type != 0x0800) return 0;
  struct ip_t *ip = cursor_advance(cursor, sizeof(*ip));
  if (ip->nextp != 17) return 0;
  struct udp_t *udp = cursor_advance(cursor, sizeof(*udp));
  if (udp->dport != 5353) return 0;
  seen.increment(0);
  return 60;
}`;

/** UDP of IPv4 in Ethernet to that port. */
export function udpPacket(port: number, length = 100): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set([8, 0, 0x45], 12);
  bytes[23] = 17;
  bytes.set([port >> 8, port & 255], 36);
  return bytes;
}
