/**
 * BCC's probes of the kernel itself on the kernel of the machine, and in the guest, which has them all. What a kernel is not built for, or
 * does not allow, is skipped with what it said. Programs look at this process only.
 */
import { closeSync, mkdtempSync, openSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, type TestContext } from 'vitest';
import { BPF } from '../../src/bcc/index.ts';
import { BpfError, VerifierError } from '../../src/util/index.ts';
import { openHost, skipReason } from './host-support.ts';

const host = await openHost();
const why = typeof host === 'string' ? skipReason('BCC probes of the kernel', host) : undefined;
/** What a kernel says that lacks the hook. */
const LACKING = new Set(['ENOENT', 'EOPNOTSUPP', 'ENOTSUPP', 'EPERM', 'EINVAL', 'ESRCH', 'EBUSY']);

const OURS = `
static int is_ours(void) { return bpf_get_current_pid_tgid() >> 32 == OWN_PID; }
BPF_HASH(seen, u32, s64);
static void note(u32 key, s64 value) { seen.update(&key, &value); }
`;
const NO_ENTRY = 2;

describe.skipIf(why !== undefined)('BCC probes of the kernel', () => {
  if (typeof host === 'string') return;
  const kernel = host;
  let b: BPF | undefined;
  afterEach(() => {
    b?.cleanup();
    b = undefined;
  });
  afterAll(() => kernel.shutdown());

  const tracing = (file: string): string =>
    new TextDecoder().decode(kernel.files.readTracing(file) ?? new Uint8Array());

  /** Null where the kernel has no such hook: the test is skipped. */
  function open(context: TestContext, text: string, attach: (b: BPF) => void = () => {}): BPF | null {
    try {
      b = new BPF({
        kernel,
        text: OURS + text,
        cflags: [`-DOWN_PID=${process.pid}`, `-DOWN_PARENT=${process.ppid}`],
      });
      attach(b);
      return b;
    } catch (error) {
      if (!(error instanceof BpfError) || error instanceof VerifierError || !LACKING.has(error.code))
        throw error;
      skipReason('BCC probes of the kernel', error.message);
      context.skip();
      return null;
    }
  }

  /** A file is made and removed; then one is removed that is not there. */
  function work(): void {
    const directory = mkdtempSync(join(tmpdir(), 'tsbpf-bcc-'));
    const path = join(directory, 'file');
    closeSync(openSync(path, 'w'));
    unlinkSync(path);
    expect(() => unlinkSync(path)).toThrow(/ENOENT/);
    rmSync(directory, { recursive: true });
  }
  const seen = (bpf: BPF) =>
    new Map([...bpf.get('seen')].map(([key, value]) => [Number(key), Number(value)]));

  it('kprobes by name, with arguments; gone at the end', (context) => {
    const before = tracing('kprobe_events');
    const bpf = open(
      context,
      `
      struct filename;
      int kprobe__do_unlinkat(struct pt_regs *ctx, int dfd, struct filename *name) {
        if (is_ours()) note(1, dfd);
        return 0;
      }
      int kretprobe__do_unlinkat(struct pt_regs *ctx) {
        if (is_ours()) note(2, (int)PT_REGS_RC(ctx));
        return 0;
      }
      int syscall__unlink(struct pt_regs *ctx, const char __user *path) {
        char text[2] = {};
        bpf_probe_read_user(&text, 1, path);
        if (is_ours()) note(3, text[0]);
        return 0;
      }`,
      (one) => one.attachKprobe({ event: one.getSyscallFnName('unlink'), fnName: 'syscall__unlink' }),
    );
    if (bpf === null) return;
    work();
    expect(bpf.numOpenKprobes()).toBe(3);
    expect(seen(bpf)).toEqual(
      new Map([
        [1, -100],
        [2, -NO_ENTRY],
        [3, '/'.charCodeAt(0)],
      ]),
    );
    bpf.cleanup();
    expect(tracing('kprobe_events')).toBe(before);
  });

  it('a kretprobe for as many calls at once as it is told', (context) => {
    const before = tracing('kprobe_events');
    const bpf = open(
      context,
      `int leave(struct pt_regs *ctx) { if (is_ours()) note(2, (int)PT_REGS_RC(ctx)); return 0; }`,
      (one) => one.attachKretprobe({ event: 'do_unlinkat', fnName: 'leave', maxactive: 77 }),
    );
    if (bpf === null) return;
    expect(tracing('kprobe_events')).toMatch(/^r77:\S+ do_unlinkat/m);
    work();
    expect(seen(bpf)).toEqual(new Map([[2, -NO_ENTRY]]));
    bpf.cleanup();
    expect(tracing('kprobe_events')).toBe(before);
  });

  it('kprobes by pattern, as many as are allowed', (context) => {
    const bpf = open(
      context,
      `int f(void *ctx) { u32 key = 0; s64 zero = 0, *n = seen.lookup_or_try_init(&key, &zero); if (n && is_ours()) (*n)++; return 0; }`,
      (one) => one.attachKprobe({ eventRe: /^vfs_(?:open|unlink|mkdir)$/, fnName: 'f' }),
    );
    if (bpf === null) return;
    expect(bpf.numOpenKprobes()).toBe(3);
    work();
    // A directory, a file that is opened, and removed.
    expect(seen(bpf).get(0)).toBeGreaterThanOrEqual(3);
    expect(() => bpf.attachKprobe({ eventRe: /./, fnName: 'f' })).toThrow(/E2BIG|names match|more than/);
    expect(bpf.ksym(bpf.ksymname('vfs_unlink') + 1n, { showOffset: true })).toBe('vfs_unlink+0x1');
  });

  it('KFUNC_PROBE and KRETFUNC_PROBE', (context) => {
    const bpf = open(
      context,
      `
      #include <linux/fs.h>
      KFUNC_PROBE(do_unlinkat, int dfd, struct filename *name) {
        char first = 0;
        bpf_probe_read_kernel(&first, 1, name->name);
        if (!is_ours()) return 0;
        note(1, first);
        // What the verifier does not know: text, a number that becomes a pointer, a copy of a record.
        struct task_struct *task = (struct task_struct *)bpf_get_current_task();
        struct filename copy = *name;
        note(3, name->name[1] == 't' && copy.name[1] == 't' && task->real_parent->tgid == OWN_PARENT);
        return 0;
      }
      KRETFUNC_PROBE(do_unlinkat, int dfd, struct filename *name, int ret) {
        if (is_ours()) note(2, ret);
        return 0;
      }`,
    );
    if (bpf === null) return;
    work();
    expect(seen(bpf).get(2)).toBe(-NO_ENTRY);
    expect(seen(bpf).has(1)).toBe(true);
    expect(seen(bpf).get(3)).toBe(1);
    bpf.detachKfunc('do_unlinkat');
    bpf.detachKretfunc('do_unlinkat');
    bpf.get('seen').clear();
    work();
    expect(bpf.get('seen').size).toBe(0);
  });

  it('LSM_PROBE decides', (context) => {
    const bpf = open(
      context,
      `
      LSM_PROBE(path_unlink, const struct path *dir, struct dentry *dentry) {
        if (!is_ours()) return 0;
        note(1, 1);
        return -EPERM;
      }`,
    );
    if (bpf === null) return;
    const directory = mkdtempSync(join(tmpdir(), 'tsbpf-bcc-'));
    const path = join(directory, 'file');
    closeSync(openSync(path, 'w'));
    try {
      expect(() => unlinkSync(path)).toThrow(/EPERM/);
      expect(seen(bpf).get(1)).toBe(1);
    } finally {
      bpf.cleanup();
      rmSync(directory, { recursive: true });
    }
  });

  it('RAW_TRACEPOINT_PROBE with its arguments', (context) => {
    const bpf = open(
      context,
      `
      RAW_TRACEPOINT_PROBE(sys_exit) {
        if (is_ours() && (s64)ctx->args[1] == -${NO_ENTRY}) note(1, ctx->args[1]);
        return 0;
      }`,
    );
    if (bpf === null) return;
    work();
    expect(seen(bpf)).toEqual(new Map([[1, -NO_ENTRY]]));
  });

  it('BPF_ITER walks what the kernel has', (context) => {
    const bpf = open(
      context,
      `
      BPF_ITER(task) {
        struct seq_file *seq = ctx->meta->seq;
        struct task_struct *task = ctx->task;
        if (task == (void *)0) return 0;
        if (task->tgid != OWN_PID || task->pid != task->tgid) return 0;
        struct task_struct *me = (struct task_struct *)bpf_get_current_task();
        struct list_head *first = task->children.next;
        struct task_struct *around = container_of(&task->tgid, struct task_struct, tgid);
        BPF_SEQ_PRINTF(seq, "%d %s %d %d\\n", task->tgid, task->comm, me->tgid == around->tgid, first->next != 0);
        return 0;
      }`,
    );
    if (bpf === null) return;
    let text: string;
    try {
      text = bpf.readIter('task');
    } catch (error) {
      if (!(error instanceof BpfError) || error instanceof VerifierError || !LACKING.has(error.code))
        throw error;
      skipReason('BCC probes of the kernel', error.message);
      return context.skip();
    }
    expect(text).toMatch(new RegExp(`^${process.pid} \\S+ 1 1\\n$`));
  });

  it('trace_print prints in the format asked for', async () => {
    const stop = new AbortController();
    const printed: string[] = [];
    b = new BPF({
      kernel,
      cflags: [`-DOWN_PID=${process.pid}`],
      write: (line) => {
        if (!line.includes('removes')) return;
        printed.push(line);
        stop.abort();
      },
      text: `${OURS}
      TRACEPOINT_PROBE(syscalls, sys_enter_unlink) {
        if (is_ours()) bpf_trace_printk("removes %d", 7);
        return 0;
      }`,
    });
    const printing = b.tracePrint({
      format: '{1}: {5}',
      signal: AbortSignal.any([stop.signal, AbortSignal.timeout(20_000)]),
    });
    await new Promise((done) => setTimeout(done, 50));
    work();
    await printing;
    expect(printed[0]).toBe(`${process.pid}: removes 7\n`);
  });

  it('attaches to tracepoints by pattern', (context) => {
    const bpf = open(
      context,
      `int f(void *ctx) { u32 key = 0; s64 zero = 0, *n = seen.lookup_or_try_init(&key, &zero); if (n && is_ours()) (*n)++; return 0; }`,
      (one) => one.attachTracepoint({ tpRe: /syscalls:sys_enter_(?:unlink|mkdir)$/, fnName: 'f' }),
    );
    if (bpf === null) return;
    expect(bpf.numOpenTracepoints()).toBe(2);
    work();
    expect(seen(bpf).get(0)).toBeGreaterThanOrEqual(3);
  });
});
