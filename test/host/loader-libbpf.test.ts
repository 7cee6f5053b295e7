/**
 * CO-RE tracers that clang builds against a full vmlinux.h: what this loader hands to PROG_LOAD is what libbpf hands to it, instruction
 * by instruction, with kernel functions and variables, but for file descriptors. bpftool loads the same object under strace.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { decodeProgram } from '../../src/asm/index.ts';
import type { Kernel, ProgLoadAttr } from '../../src/contracts/kernel.ts';
import { BpfObject } from '../../src/libbpf/index.ts';
import { compileText } from '../object/compile.ts';
import { field, instructions, missing, traceLoad } from '../object/libbpf-calls.ts';
import { openHost, skipReason } from './host-support.ts';

const HEAD = `#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
char _license[] SEC("license") = "GPL";
`;

const TRACERS: Readonly<Record<string, string>> = {
  exec: `
struct event { int pid, ppid, uid; char comm[16], file[64]; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");
SEC("tp/sched/sched_process_exec") int on_exec(struct trace_event_raw_sched_process_exec *ctx) {
  struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
  if (!e) return 0;
  struct task_struct *task = (void *)bpf_get_current_task();
  e->pid = BPF_CORE_READ(task, tgid);
  e->ppid = BPF_CORE_READ(task, real_parent, tgid);
  e->uid = BPF_CORE_READ(task, cred, uid.val);
  BPF_CORE_READ_STR_INTO(&e->comm, task, group_leader, comm);
  bpf_probe_read_kernel_str(e->file, sizeof(e->file), (void *)ctx + (ctx->__data_loc_filename & 0xffff));
  bpf_ringbuf_submit(e, 0);
  return 0;
}`,
  switches: `
struct task_struct___old { long state; } __attribute__((preserve_access_index));
struct rq___none { int no_such; } __attribute__((preserve_access_index));
extern int LINUX_KERNEL_VERSION __kconfig;
extern int CONFIG_HZ __kconfig;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern int bpf_no_such_kfunc(struct task_struct *) __ksym __weak;
extern const void vfs_read __ksym;
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, u32); __type(value, u64); } starts SEC(".maps");
const volatile int wanted = 1;
u64 total, address;
SEC("tp_btf/sched_switch") int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next) {
  u32 pid = prev->pid; u64 now = bpf_ktime_get_ns();
  bpf_rcu_read_lock();
  struct task_struct *leader = prev->group_leader;
  if (leader) pid += leader->tgid;
  bpf_rcu_read_unlock();
  struct task_struct___old *old = (void *)prev;
  long state = bpf_core_field_exists(old->state) ? BPF_CORE_READ(old, state) : BPF_CORE_READ(prev, __state);
  if (bpf_core_type_exists(struct rq___none)) total += bpf_core_type_size(struct rq___none);
  if (bpf_no_such_kfunc) bpf_no_such_kfunc(prev);
  total += BPF_CORE_READ_BITFIELD_PROBED(prev, sched_reset_on_fork) + bpf_core_enum_value(enum pid_type, PIDTYPE_TGID)
    + bpf_core_type_size(struct task_struct) + bpf_core_field_size(prev->comm) + bpf_core_type_id_kernel(struct sock)
    + CONFIG_HZ + (LINUX_KERNEL_VERSION > KERNEL_VERSION(5, 0, 0));
  address = (u64)&vfs_read;
  if (wanted && state) bpf_map_update_elem(&starts, &pid, &now, 0);
  return 0;
}`,
  sockets: `
struct flow { u32 saddr, daddr; u16 sport, dport, family; u8 state; u32 ino; };
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 128); __type(key, struct flow); __type(value, u64); } flows SEC(".maps");
static __noinline int fill(struct flow *flow, struct sock *sk) {
  BPF_CORE_READ_INTO(&flow->family, sk, __sk_common.skc_family);
  flow->saddr = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
  flow->daddr = BPF_CORE_READ(sk, __sk_common.skc_daddr);
  flow->sport = BPF_CORE_READ(sk, __sk_common.skc_num);
  flow->dport = BPF_CORE_READ(sk, __sk_common.skc_dport);
  flow->state = BPF_CORE_READ(sk, __sk_common.skc_state);
  flow->ino = BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino);
  return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_protocol);
}
SEC("raw_tp/tcp_probe") int BPF_PROG(on_probe, struct sock *sk, struct sk_buff *skb) {
  struct flow flow = {};
  u64 bytes = BPF_CORE_READ(skb, len) + fill(&flow, sk) + BPF_CORE_READ((struct tcp_sock *)sk, snd_cwnd);
  bpf_map_update_elem(&flows, &flow, &bytes, 0);
  return 0;
}`,
  files: `
u64 sizes[2]; char name[32];
SEC("iter/task_file") int dump(struct bpf_iter__task_file *ctx) {
  struct file *file = ctx->file; struct task_struct *task = ctx->task;
  if (!file || !task) return 0;
  sizes[0] += file->f_inode->i_size;
  bpf_core_read_str(name, sizeof(name), &task->comm[1]);
  BPF_SEQ_PRINTF(ctx->meta->seq, "%d %d %lx\\n", task->tgid, ctx->fd, (long)file->f_op);
  return 0;
}`,
};

const host = await openHost();
const why =
  missing() ??
  (typeof host === 'string'
    ? host
    : existsSync('/sys/kernel/btf/vmlinux')
      ? undefined
      : 'no BTF of the kernel');
if (why !== undefined || typeof host === 'string') {
  describe.skip(`tracers: ${skipReason('comparison of tracers with libbpf', why ?? '')}`, () =>
    it('cannot run here', () => {}));
} else {
  const directory = mkdtempSync(join(tmpdir(), 'tsbpf-tracers-'));
  afterAll(() => {
    host.shutdown();
    rmSync(directory, { recursive: true });
  });
  const dump = ['btf', 'dump', 'file', '/sys/kernel/btf/vmlinux', 'format', 'c'];
  const header = execFileSync('bpftool', dump, { maxBuffer: 1 << 28 });
  writeFileSync(join(directory, 'vmlinux.h'), header);
  const extra =
    '\n#ifndef KERNEL_VERSION\n#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))\n#endif\n';
  const flags = [`-I${directory}`, '-D__TARGET_ARCH_x86', '-Wno-everything'];

  /** The host, with the programs that it is given. */
  const listening = (loaded: ProgLoadAttr[]): Kernel =>
    new Proxy<Kernel>(host, {
      get(target, property) {
        if (property === 'progLoad')
          return (attr: ProgLoadAttr) => {
            loaded.push(attr);
            return target.progLoad(attr);
          };
        const value: unknown = Reflect.get(target, property, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });

  describe('tracers built against vmlinux.h are loaded as libbpf loads them', () => {
    it.each(Object.entries(TRACERS))('%s', (name, source) => {
      const bytes = compileText(HEAD + extra + source, { flags });
      const loaded: ProgLoadAttr[] = [];
      const object = BpfObject.open(bytes, { name });
      try {
        object.load(listening(loaded));
        expect(object.btfError).toBeUndefined();
        const calls = traceLoad(bytes, `${name}.bpf.o`);
        expect(loaded.length).toBe(object.programs.length);
        object.programs.forEach((program, i) => {
          const call = calls.find((line) => line.includes(`prog_name="${program.name}"`));
          expect(call, program.name).toBeDefined();
          // Descriptors are each loader's own.
          const fds = new Set(
            program.spec.relocations.flatMap(({ kind, insn }) =>
              kind === 'map' || kind === 'map_value' ? [insn] : [],
            ),
          );
          const mine = decodeProgram(loaded[i].insns).map((insn, at) =>
            fds.has(at) ? { ...insn, imm: 0 } : insn,
          );
          const theirs = instructions(call!).map((insn, at) => (fds.has(at) ? { ...insn, imm: 0 } : insn));
          expect(withoutPoison(mine)).toEqual(withoutPoison(theirs));
          expect(loaded[i].attachBtfId ?? 0).toBe(field(call!, 'attach_btf_id'));
          expect(loaded[i].expectedAttachType ?? 0).toBe(field(call!, 'expected_attach_type'));
          expect((loaded[i].funcInfo?.length ?? 0) / 8).toBe(field(call!, 'func_info_cnt'));
          expect((loaded[i].lineInfo?.length ?? 0) / 16).toBe(field(call!, 'line_info_cnt'));
          expect(program.spec.coreRelocations.length).toBeGreaterThan(2);
        });
      } finally {
        object.close();
      }
    });
  });
}

/** Calls of what the kernel does not have: libbpf poisons them since 1.2, and left them alone before. */
function withoutPoison<T extends { readonly code: number; readonly src: number; readonly imm: number }>(
  insns: readonly T[],
): T[] {
  const unresolved = ({ code, src, imm }: T): boolean =>
    code === 0x85 && ((src === 2 && imm === 0) || (src === 0 && imm >= 2_001_000_000));
  return insns.map((insn) => (unresolved(insn) ? { ...insn, src: 0, imm: -1 } : insn));
}
