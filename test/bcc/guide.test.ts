/**
 * What BCC's reference guide says that programs and scripts may write, section by section: each form compiles, loads as the type that the
 * section is about, and does what is said of it. Only what no other test of this folder has.
 */
import { describe, expect, it } from 'vitest';
import { BPF } from '../../src/bcc/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { utf8 } from '../../src/util/index.ts';
import { fireExec, fireProbe } from './support.ts';

const process = { pid: 20, uid: 0, comm: 'sh' };

function open(text: string, more: object = {}, kernel = new EmbeddedKernel()) {
  return { kernel, b: new BPF({ kernel, text, ...more }) };
}
async function lines(b: BPF, count: number): Promise<string[]> {
  const found: string[] = [];
  for await (const { msg } of b.traceFields()) {
    found.push(msg);
    if (found.length === count) break;
  }
  return found;
}

describe('Events & Arguments', () => {
  it('tracepoints whose record the program declares itself', () => {
    const { kernel, b } = open(`
      BPF_HASH(seen, u32);
      struct enter_args { u64 __unused__; u32 nr; u32 pad; u64 filename; };
      int on_enter(struct enter_args *args) {
        u32 key = args->nr;
        seen.increment(key);
        return 0;
      };`);
    b.attachTracepoint({ tp: 'syscalls:sys_enter_execve', fnName: 'on_enter' });
    fireExec(kernel, 5, 'sh', '/bin/true');
    expect([...b.get('seen')]).toEqual([[59, 1]]);
  });

  it('uprobes with text and number, their results as slots', async () => {
    const { kernel, b } = open(`
      int count(struct pt_regs *ctx) {
        char buf[64];
        bpf_probe_read_user(&buf, sizeof(buf), (void *)PT_REGS_PARM1(ctx));
        bpf_trace_printk("%s %d", buf, PT_REGS_PARM2(ctx));
        return(0);
      }
      BPF_HISTOGRAM(dist);
      int result(struct pt_regs *ctx) {
        dist.increment(PT_REGS_RC(ctx));
        return 0;
      }`);
    b.attachKprobe({ event: 'here', fnName: 'count' });
    b.attachKretprobe({ event: 'here', fnName: 'result' });
    const text = { kind: 'memory', bytes: utf8(`name${'\0'.repeat(60)}`) } as const;
    kernel.simulator.fire({
      kind: 'kprobe',
      symbol: 'here',
      args: [text, { kind: 'value', value: 7n }],
      process,
      time: 1n,
    });
    kernel.simulator.fire({ kind: 'kretprobe', symbol: 'here', args: [], ret: 3n, process, time: 2n });
    expect(await lines(b, 1)).toEqual(['name 7']);
    expect(b.get('dist').get(3)).toBe(1);
  });

  it('functions that do not say what they return, and semicolons behind them', () => {
    const { kernel, b } = open(`
      #include <linux/sched.h>
      BPF_HASH(seen, u32);
      RAW_TRACEPOINT_PROBE(sched_switch)
      {
        struct task_struct *prev = (struct task_struct *)ctx->args[1];
        struct task_struct *next= (struct task_struct *)ctx->args[2];
        s32 prev_tgid, next_tgid;
        bpf_probe_read_kernel(&prev_tgid, sizeof(prev->tgid), &prev->tgid);
        bpf_probe_read_kernel(&next_tgid, sizeof(next->tgid), &next->tgid);
        u32 key = next_tgid - prev_tgid;
        seen.increment(key);
      };`);
    const task = (pid: number) => ({ kind: 'task', process: { pid, comm: 'x' } }) as const;
    const args = [0n, task(40), task(42), 0n];
    kernel.simulator.fire({ kind: 'raw_tracepoint', name: 'sched_switch', args, process, time: 2n });
    expect([...b.get('seen')]).toEqual([[2, 1]]);
  });

  it('USDT arguments that are addresses, with the names of stdint.h', () => {
    const { b } = open(`
      int do_trace(struct pt_regs *ctx) {
        uint64_t addr;
        char path[128];
        bpf_usdt_readarg(6, ctx, &addr);
        bpf_probe_read_user(&path, sizeof(path), (void *)addr);
        bpf_trace_printk("path:%s\\\\n", path);
        return 0;
      };`);
    expect(b.functions).toEqual(['do_trace']);
    expect(b.loadFunc('do_trace', BPF.KPROBE).fd).toBeGreaterThan(0);
  });

  it('security hooks without any header', () => {
    const { kernel } = open(`
      LSM_PROBE(bpf, int cmd, union bpf_attr *attr, unsigned int size)
      {
        return cmd == 5 ? -EPERM : 0;
      }`);

    const ask = (cmd: bigint) =>
      kernel.simulator.ask({
        kind: 'lsm',
        hook: 'bpf',
        args: [cmd, 0n, 8n],
        process,
        time: 1n,
      });
    expect([ask(5n), ask(4n)]).toEqual([-1, 0]);
  });

  it('several functions at one place, one of them taken away', () => {
    const { kernel, b } = open(`
      BPF_HASH(seen, u32);
      int one(void *ctx) { u32 key = 1; seen.increment(key); return 0; }
      int two(void *ctx) { u32 key = 2; seen.increment(key); return 0; }`);
    for (const fnName of ['one', 'two'])
      for (const event of ['here', 'there']) b.attachKprobe({ event, fnName });
    expect(b.numOpenKprobes()).toBe(4);
    for (const event of ['here', 'there']) fireProbe(kernel, event, []);
    b.detachKprobe('here', 'one');
    for (const event of ['here', 'there']) fireProbe(kernel, event, []);
    expect(Object.fromEntries([...b.get('seen')])).toEqual({ 1: 3, 2: 4 });
    expect(() => b.detachKprobe('here', 'one')).toThrow(/one/);
  });
});

describe('Initialization', () => {
  const header = utf8('#define ANSWER 42\n');
  const program = `
    BPF_HASH(seen, u32);
    int kprobe__here(void *ctx) { u32 key = ANSWER; seen.increment(key); return 0; }`;
  const files = () => new EmbeddedKernel({ files: { '/inc/answer.h': header, '/prog.c': utf8(program) } });

  it('takes cflags word by word: headers that go before, folders, values', () => {
    for (const cflags of [
      ['-include', '/inc/answer.h'],
      ['-I/inc', '-include', 'answer.h'],
      ['-DANSWER=42'],
      ['-D', 'ANSWER=42'],
    ]) {
      const { kernel, b } = open(program, { cflags }, files());
      fireProbe(kernel, 'here', []);
      expect([...b.get('seen')]).toEqual([[42, 1]]);
      b.cleanup();
    }
    expect(() => open(program, { cflags: ['-I/inc -include answer.h'] }, files())).toThrow();
  });

  it('takes a file', () => {
    const kernel = files();
    const b = new BPF({ kernel, srcFile: '/prog.c', cflags: ['-DANSWER=3'] });
    fireProbe(kernel, 'here', []);
    expect([...b.get('seen')]).toEqual([[3, 1]]);
    expect(() => new BPF({ kernel, srcFile: '/none.c' })).toThrow(/none.c/);
  });

  it('refuses functions of the GPL to others', () => {
    const text = (licence: string) => `
      #define BPF_LICENSE ${licence}
      BPF_STACK_TRACE(stacks, 16);
      int kprobe__here(struct pt_regs *ctx) { stacks.get_stackid(ctx, 0); return 0; }`;
    expect(() => open(text('Proprietary'))).toThrow(/GPL/);
    expect(open(text('Dual BSD/GPL')).b.numOpenKprobes()).toBe(1);
  });
});

describe('clean-up', () => {
  it('takes everything away where attaching fails in the middle', () => {
    const kernel = new EmbeddedKernel();
    const text = `
      BPF_HASH(seen, u32);
      int kprobe__here(void *ctx) { return 0; }
      int kprobe__there(void *ctx) { int *none = 0; return *none; }`;
    expect(() => open(text, {}, kernel)).toThrow();
    expect(kernel.objGetNextId({ kind: 'map', startId: 0 })).toBeNull();
    expect(kernel.objGetNextId({ kind: 'prog', startId: 0 })).toBeNull();
  });

  it('ends what waits', async () => {
    const { b } = open('BPF_PERF_OUTPUT(events);');
    b.get('events').openPerfBuffer(() => {});
    const waiting = b.perfBufferPoll();
    b.cleanup();
    expect(await waiting).toBe(0);
    b.cleanup();
  });
});
