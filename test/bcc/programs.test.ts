/** Kinds of programs of the BCC dialect on the embedded kernel, both engines: functions of the kernel, its security hooks, traces. */
import { describe, expect, it } from 'vitest';
import { BPF } from '../../src/bcc/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { fireExec, fireProbe } from './support.ts';

const process = { pid: 20, uid: 1000, comm: 'worker' };

for (const jit of [1, 0])
  describe(`bpf_jit_enable = ${jit}`, () => {
    const open = (text: string, more: object = {}) => {
      const kernel = new EmbeddedKernel();
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      const printed: string[] = [];
      const write = (line: string) => {
        printed.push(line);
      };
      return { kernel, printed, b: new BPF({ text, kernel, write, ...more }) };
    };

    it('KFUNC_PROBE and KRETFUNC_PROBE see arguments, typed, and the result', () => {
      const { kernel, b } = open(`
        #include <linux/fs.h>
        struct seen_t { int dfd; char name[8]; int ret; };
        BPF_QUEUE(seen, struct seen_t, 8);
        KFUNC_PROBE(do_unlinkat, int dfd, struct filename *name) {
          struct seen_t s = { .dfd = dfd };
          bpf_probe_read_kernel_str(s.name, sizeof(s.name), name->name);
          seen.push(&s, 0);
          return 0;
        }
        MODULE_KRETFUNC_PROBE(vmlinux, do_unlinkat, int dfd, struct filename *name, int ret) {
          struct seen_t s = { .dfd = dfd, .ret = ret };
          seen.push(&s, 0);
          return 0;
        }`);
      const of = { symbol: 'do_unlinkat', process };
      const name = { kind: 'object', struct: 'filename', members: { name: '/tmp/x' } } as const;
      kernel.simulator.fire({
        kind: 'kprobe',
        ...of,
        args: [{ kind: 'value', value: -100n }, name],
        time: 1n,
      });
      kernel.simulator.fire({ kind: 'kretprobe', ...of, args: [-100n, 0n], ret: -2n, time: 2n });
      expect(b.get('seen').pop()).toEqual({ dfd: -100, name: '/tmp/x', ret: 0 });
      expect(b.get('seen').pop()).toEqual({ dfd: -100, name: '', ret: -2 });
      b.detachKfunc('do_unlinkat');
      expect(kernel.simulator.fire({ kind: 'kprobe', ...of, args: [], time: 3n })).toBe(0);
    });

    it('LSM_PROBE decides', () => {
      const { kernel, b } = open(`
        #include <linux/fs.h>
        BPF_HASH(asked, u32);
        LSM_PROBE(file_open, struct file *file, int ret) {
          u32 flags = file->f_flags;
          asked.increment(flags);
          return flags == 2 ? -EPERM : 0;
        }`);
      const ask = (f_flags: number) =>
        kernel.simulator.ask({
          kind: 'lsm',
          hook: 'file_open',
          args: [{ kind: 'object', struct: 'file', members: { f_flags } }],
          process,
          time: 1n,
        });
      expect([ask(1), ask(2)]).toEqual([0, -1]);
      expect(new Map(b.get('asked'))).toEqual(
        new Map([
          [1, 1],
          [2, 1],
        ]),
      );
      b.detachLsm('file_open');
      expect(ask(2)).toBe(0);
    });

    it('RAW_TRACEPOINT_PROBE follows the objects that its arguments are', () => {
      const { kernel, b } = open(`
        #include <linux/sched.h>
        struct seen_t { u32 pid; u32 parent; char comm[16]; };
        BPF_QUEUE(seen, struct seen_t, 8);
        RAW_TRACEPOINT_PROBE(sched_switch) {
          struct task_struct *next = (struct task_struct *)ctx->args[2];
          struct seen_t s = {};
          s.pid = next->pid;
          s.parent = next->real_parent->tgid;
          bpf_probe_read_kernel_str(&s.comm, sizeof(s.comm), next->comm);
          seen.push(&s, 0);
          return 0;
        }`);
      const task = (pid: number, comm: string) =>
        ({ kind: 'task', process: { pid, comm, ppid: process.pid } }) as const;
      kernel.simulator.fire({ kind: 'fork', process, child: { pid: 30, comm: 'child' }, time: 1n });
      const args = [0n, task(20, 'worker'), task(30, 'child'), 0n];
      kernel.simulator.fire({ kind: 'raw_tracepoint', name: 'sched_switch', args, process, time: 2n });
      expect(b.get('seen').pop()).toEqual({ pid: 30, parent: 20, comm: 'child' });
    });

    it('looks at the task that runs, by itself', () => {
      const { kernel, b } = open(`
        #include <linux/sched.h>
        BPF_HASH(parents, u32, u32);
        int kprobe__here(struct pt_regs *ctx) {
          struct task_struct *task = (struct task_struct *)bpf_get_current_task();
          u32 pid = task->tgid, parent = task->real_parent->tgid;
          parents.update(&pid, &parent);
          return 0;
        }`);
      const { simulator } = kernel;
      simulator.fire({ kind: 'fork', process, child: { pid: 31 }, time: 1n });
      simulator.fire({ kind: 'kprobe', symbol: 'here', args: [], process: { pid: 31 }, time: 2n });
      expect([...b.get('parents')]).toEqual([[31, 20]]);
    });

    it('prints traces as trace_pipe has them, or in a format', async () => {
      const text = `
        int kprobe__here(struct pt_regs *ctx, int n) {
          bpf_trace_printk("n is %d\\n", n);
          return 0;
        }`;
      const { kernel, b, printed } = open(text);
      fireProbe(kernel, 'here', [7n]);
      fireProbe(kernel, 'here', [8n]);
      const stop = new AbortController();
      stop.abort();
      const lines: { pid: number; task: string; msg: string }[] = [];
      const reading = new AbortController();
      for await (const line of b.traceFields({ signal: reading.signal })) {
        lines.push(line);
        reading.abort();
        break;
      }
      expect(lines[0]).toMatchObject({ pid: 10, task: 'init', msg: 'n is 7' });
      const ended = new AbortController();
      const printing = b.tracePrint({ format: '{0} {1} {5}', signal: ended.signal });
      await new Promise((done) => setTimeout(done, 0));
      ended.abort();
      await printing;
      expect(printed).toEqual(['init 10 n is 8\n']);
      fireProbe(kernel, 'here', [9n]);
      const again = new AbortController();
      const plain = b.tracePrint({ signal: again.signal });
      await new Promise((done) => setTimeout(done, 0));
      again.abort();
      await plain;
      expect(printed[1]).toMatch(/^ +init-10 +\[000\] \S+ \d+\.\d{6}: n is 9\n$/);
      await b.tracePrint({ signal: stop.signal });
    });

    it('has arguments of system calls by the name of the function', () => {
      const { kernel, b } = open(`
        struct seen_t { int a; char file[16]; };
        BPF_QUEUE(seen, struct seen_t, 8);
        int syscall__execve(struct pt_regs *ctx, const char __user *filename, const char __user *const __user *argv) {
          struct seen_t s = { .a = argv != 0 };
          bpf_probe_read_user_str(&s.file, sizeof(s.file), filename);
          seen.push(&s, 0);
          return 0;
        }`);
      b.attachKprobe({ event: b.getSyscallFnName('execve'), fnName: 'syscall__execve' });
      fireExec(kernel, 5, 'sh', '/bin/ls');
      expect(b.get('seen').pop()).toEqual({ a: 0, file: '/bin/ls' });
    });

    it('leaves nothing behind', () => {
      const { kernel, b } = open(`
        BPF_HASH(t);
        int kprobe__f(struct pt_regs *ctx) { u64 k = 1; t.increment(k); return 0; }
        int g(void *ctx) { return 0; }`);
      b.attachTracepoint({ tp: 'sched:sched_switch', fnName: 'g' });
      b.attachRawTracepoint({ tp: 'sys_enter', fnName: 'g' });
      const ids = (kind: 'prog' | 'map' | 'link') => kernel.objGetNextId({ kind, startId: 0 });
      expect([ids('prog'), ids('map'), ids('link')]).not.toContain(null);
      b.cleanup();
      expect([ids('prog'), ids('map'), ids('link')]).toEqual([null, null, null]);

      // Nor does a program that is refused, or one whose tables are.
      for (const text of [
        'BPF_HASH(t); int kprobe__f(struct pt_regs *ctx) { return bpf_map_lookup_elem(&t, 0) == 0; }',
        'BPF_TABLE_PINNED("hash", u32, u32, t, 1, "/nowhere/t"); BPF_HASH(u);',
      ])
        expect(() => new BPF({ kernel, text })).toThrow();
      expect([ids('prog'), ids('map'), ids('link')]).toEqual([null, null, null]);
    });

    it('tells what the kernel has', () => {
      const { b } = open('int f(void *ctx) { return 0; }');
      expect(b.kernelStructHasField('task_struct', 'real_parent')).toBe(true);
      expect(b.kernelStructHasField('task_struct', 'nonesuch')).toBe(false);
      expect(b.kernelStructHasField('nonesuch', 'x')).toBeUndefined();
      expect(b.supportRawTracepoint()).toBe(true);
      expect(b.tracepointExists('sched', 'nonesuch')).toBe(false);
      expect(b.disassembleFunc('f')).toContain('exit');
      expect(BPF.monotonicTime()).toBeGreaterThan(0n);
    });
  });
