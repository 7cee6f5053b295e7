/** BCC programs on the kernel of the machine: real events of processes that the test starts, and of nobody else. */
import { spawnSync } from 'node:child_process';
import { afterAll, describe, expect, it } from 'vitest';
import { BPF } from '../../src/bcc/index.ts';
import { BCC_MAIN } from '../bcc/support.ts';
import { openHost, skipReason } from './host-support.ts';

const host = await openHost();
const why = typeof host === 'string' ? skipReason('BCC programs on the host', host) : undefined;

describe.skipIf(why !== undefined)('BCC programs on the host', () => {
  if (typeof host === 'string') return;
  const kernel = host;
  afterAll(() => kernel.shutdown());

  it('counts system calls of a process, by its record in tracefs', () => {
    const b = new BPF({
      kernel,
      text: `
        BPF_HASH(calls, u32);
        TRACEPOINT_PROBE(syscalls, sys_enter_chdir) {
          u32 tgid = bpf_get_current_pid_tgid() >> 32;
          calls.increment(tgid);
          return 0;
        }`,
    });
    try {
      const child = spawnSync('/bin/sh', ['-c', 'cd /; cd /tmp; cd /']);
      expect(b.get('calls').get(child.pid)).toBe(3);
    } finally {
      b.cleanup();
    }
  });

  it('hands over which file a process executes', () => {
    const b = new BPF({ kernel, text: BCC_MAIN });
    try {
      const seen: { pid: number; fname: string }[] = [];
      b.get('events').openPerfBuffer((event) => seen.push(event as never));
      const child = spawnSync('/bin/true');
      b.perfBufferConsume();
      expect(seen.find(({ pid }) => pid === child.pid)).toMatchObject({ fname: '/bin/true' });
    } finally {
      b.cleanup();
    }
  });

  it('knows the address of a socket by the name that the kernel’s headers give it', () => {
    using b = new BPF({
      kernel,
      text: `
        #include <net/sock.h>
        BPF_HASH(seen, u32, u64);
        int f(struct pt_regs *ctx, struct sockaddr_storage *address) {
          u32 size = sizeof(struct sockaddr_storage);
          u64 family = address->ss_family;
          seen.update(&size, &family);
          return 0;
        }`,
    });
    expect(b.loadFunc('f', BPF.KPROBE).program.spec.insns.length).toBeGreaterThan(5);
  });

  it('follows pointers of the kernel by itself, with types from its BTF', () => {
    const b = new BPF({
      kernel,
      text: `
        #include <linux/sched.h>
        #include <linux/nsproxy.h>
        struct seen_t { int ppid; int tgid; u32 inum; };
        BPF_HASH(seen, u32, struct seen_t);
        TRACEPOINT_PROBE(syscalls, sys_enter_chdir) {
          struct task_struct *task = (struct task_struct *)bpf_get_current_task();
          u32 pid = bpf_get_current_pid_tgid() >> 32;
          struct seen_t one = {};
          one.ppid = task->real_parent->tgid;
          one.tgid = task->tgid;
          one.inum = task->nsproxy->pid_ns_for_children->ns.inum;
          seen.update(&pid, &one);
          return 0;
        }`,
    });
    try {
      const child = spawnSync('/bin/sh', ['-c', 'cd /']);
      const one = b.get('seen').get(child.pid) as { ppid: number; tgid: number; inum: number };
      expect(one).toMatchObject({ ppid: process.pid, tgid: child.pid });
      expect(one.inum).toBeGreaterThan(0);
    } finally {
      b.cleanup();
    }
  });

  it('gives names to addresses of the kernel', () => {
    const b = new BPF({ kernel, text: 'int f(void *ctx) { return 0; }' });
    expect(b.ksym(0n)).toBe('[unknown]');
    b.cleanup();
  });
});
