/**
 * Pointers of the kernel followed by themselves, whatever they point to and wherever they come from: numbers and pointers to pointers in
 * kprobes; in programs whose pointers the verifier knows by their types, those that it does not know.
 */
import { describe, expect, it } from 'vitest';
import { BPF } from '../../src/bcc/index.ts';
import type { SyscallArg } from '../../src/contracts/events.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { fireProbe } from './support.ts';

const process = { pid: 20, uid: 7, comm: 'sh' };
const HEAD = `
  #include <linux/sched.h>
  #include <linux/fs.h>
  BPF_HASH(seen, u32, u64);
  static void note(u32 key, u64 value) { seen.update(&key, &value); }`;

function open(text: string) {
  const kernel = new EmbeddedKernel();
  return { kernel, b: new BPF({ kernel, text: HEAD + text }) };
}
const seen = (b: BPF) => Object.fromEntries([...b.get('seen')].map(([key, value]) => [key, value]));
/** How many reads of a function are calls of bpf_probe_read. */
const probeReads = (b: BPF, name: string) =>
  b.disassembleFunc(name).match(/call bpf_probe_read#4/g)?.length ?? 0;

describe('pointers of the kernel', () => {
  const memory = {
    kind: 'memory',
    bytes: new Uint8Array(new BigUint64Array([5n, 6n, 7n, 8n]).buffer),
  } as const;
  const fire = (kernel: EmbeddedKernel, args: readonly SyscallArg[]) =>
    kernel.simulator.fire({ kind: 'kprobe', symbol: 'here', args, process, time: 1n });

  it('to numbers, by dereference, by index and in a loop', () => {
    const { kernel, b } = open(`
      int kprobe__here(struct pt_regs *ctx, u64 *p, u32 i) {
        note(0, *p);
        note(1, p[1]);
        note(2, p[i & 3]);
        u64 sum = 0, at = (u64)p;
        for (int n = 0; n < 4; n++, at += 8) sum += *(u64 *)at;
        note(3, sum);
        u64 copy[4];
        __builtin_memcpy(copy, p, sizeof(copy));
        note(4, copy[3]);
        return 0;
      }`);
    fire(kernel, [memory, { kind: 'value', value: 2n }]);
    expect(seen(b)).toEqual({ 0: 5, 1: 6, 2: 7, 3: 26, 4: 8 });
  });

  it('that were put into a table, or chosen by a condition', () => {
    const { kernel, b } = open(`
      struct three { u64 first, second; };
      BPF_HASH(kept, u32, struct three *);
      int kprobe__here(struct pt_regs *ctx, struct three *p) {
        u32 key = 1;
        kept.update(&key, &p);
        return 0;
      }
      int kretprobe__here(struct pt_regs *ctx) {
        u32 key = 1;
        struct three **p = kept.lookup(&key);
        if (!p) return 0;
        note(0, (*p)->second);
        struct three *q = PT_REGS_RC(ctx) ? *p : (struct three *)PT_REGS_RC(ctx);
        note(1, q ? q->first : 0);
        return 0;
      }`);
    fire(kernel, [memory]);
    kernel.simulator.fire({ kind: 'kretprobe', symbol: 'here', args: [], ret: 1n, process, time: 2n });
    expect(seen(b)).toEqual({ 0: 6, 1: 5 });
  });
});

describe('pointers in programs whose pointers the verifier knows', () => {
  const name = { kind: 'object', struct: 'filename', members: { name: '/tmp/x' } } as const;
  const unlink = (kernel: EmbeddedKernel) =>
    kernel.simulator.fire({
      kind: 'kprobe',
      symbol: 'do_unlinkat',
      args: [{ kind: 'value', value: -100n }, name],
      process,
      time: 1n,
    });

  it('reads what they point to as it is', () => {
    const { b } = open(`
      LSM_PROBE(file_open, struct file *file, int ret) {
        note(0, file->f_inode->i_ino);
        return 0;
      }`);
    expect(probeReads(b, 'lsm__file_open')).toBe(0);
  });

  it('follows members that point to text, at once and by an index', () => {
    const { kernel, b } = open(`
      KFUNC_PROBE(do_unlinkat, int dfd, struct filename *name) {
        note(0, *name->name);
        for (int i = 1; i < 5; i++) note(i, name->name[i]);
        return 0;
      }`);
    unlink(kernel);
    expect(seen(b)).toEqual(Object.fromEntries([...'/tmp/'].map((char, i) => [i, char.charCodeAt(0)])));
  });

  it('follows what was a number, and what bpf_probe_read read', () => {
    const { kernel, b } = open(`
      KFUNC_PROBE(do_unlinkat, int dfd, struct filename *name) {
        struct task_struct *task = (struct task_struct *)bpf_get_current_task();
        note(0, task->tgid);
        note(1, task->real_parent->tgid);
        const char *text;
        bpf_probe_read_kernel(&text, sizeof(text), &name->name);
        note(2, text[1]);
        struct filename *again = (struct filename *)((u64)name | 0);
        note(3, again->name[2]);
        return 0;
      }`);
    kernel.simulator.fire({ kind: 'fork', process: { pid: 9 }, child: { pid: 20, comm: 'sh' }, time: 0n });
    unlink(kernel);
    expect(seen(b)).toEqual({ 0: 20, 1: 9, 2: 't'.charCodeAt(0), 3: 'm'.charCodeAt(0) });
  });

  it('copies records whole', () => {
    const { kernel, b } = open(`
      KFUNC_PROBE(do_unlinkat, int dfd, struct filename *name) {
        struct filename copy = *name;
        note(0, copy.name == name->name);
        return 0;
      }`);
    unlink(kernel);
    expect(seen(b)).toEqual({ 0: 1 });
  });

  it('asks an LSM hook’s objects for places before them and by an index', () => {
    const { kernel, b } = open(`
      LSM_PROBE(file_open, struct file *file, int ret) {
        struct inner { char space[8]; };
        u32 i = bpf_get_prandom_u32() & 3;
        note(0, file->f_flags);
        note(1, ((u8 *)&file->f_flags)[i] < 256);
        struct file *same = container_of((struct inner *)&file->f_flags, struct file, f_flags);
        note(2, same->f_flags);
        // An index of which nothing is known.
        u64 any = bpf_ktime_get_ns();
        note(3, ((u8 *)file)[any] < 256);
        return 0;
      }`);
    const answer = kernel.simulator.ask({
      kind: 'lsm',
      hook: 'file_open',
      args: [{ kind: 'object', struct: 'file', members: { f_flags: 5 } }],
      process,
      time: 1n,
    });
    expect(answer).toBe(0);
    expect(seen(b)).toEqual({ 0: 5, 1: 1, 2: 5, 3: 1 });
  });
});

it('leaves a probe of numbers alone', () => {
  const { kernel, b } = open('int kprobe__here(struct pt_regs *ctx, u64 n) { note(0, n + 1); return 0; }');
  fireProbe(kernel, 'here', [4n]);
  expect(seen(b)).toEqual({ 0: 5 });
  expect(probeReads(b, 'kprobe__here')).toBe(0);
});
