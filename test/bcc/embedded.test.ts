/** BCC programs on the embedded kernel, on both engines: as a BCC user writes them, with events that the simulator fires. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BccCompileError, BPF } from '../../src/bcc/index.ts';
import { parseStrace } from '../../src/capture/index.ts';
import type { KernelEvent } from '../../src/contracts.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BCC_MAIN, fireExec } from './support.ts';

const recording = parseStrace(
  readFileSync(new URL('../../examples/inputs/commands.strace', import.meta.url)),
);
const enters = recording.events.filter((event) => event.kind === 'syscall_enter');

for (const jit of [1, 0])
  describe(`bpf_jit_enable = ${jit}`, () => {
    const open = (text: string, more: object = {}) => {
      const kernel = new EmbeddedKernel();
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      const printed: string[] = [];
      const write = (line: string) => {
        printed.push(line);
      };
      const b = new BPF({ text, kernel, write, ...more });
      return { kernel, b, printed };
    };
    const replay = (kernel: EmbeddedKernel) => {
      kernel.simulator.setTime(0n, recording.epoch);
      for (const event of recording.events) kernel.simulator.fire(event);
      expect(kernel.simulator.oopses()).toEqual([]);
    };

    it('says hello at a probe of a system call', () => {
      const { kernel, b } = open(`
        int hello(void *ctx) {
          bpf_trace_printk("Hello, World!\\n");
          return 0;
        }`);
      expect(b.getSyscallFnName('clone')).toBe('__x64_sys_clone');
      b.attachKprobe({ event: b.getSyscallFnName('clone'), fnName: 'hello' });
      kernel.simulator.fire(kprobe('__x64_sys_clone', []));
      kernel.simulator.fire(kprobe('__x64_sys_execve', []));
      const lines = kernel.simulator.drainTrace().map((line) => line.message.trim());
      expect(lines).toEqual(['bpf_trace_printk: Hello, World!']);
      b.detachKprobe('__x64_sys_clone');
      expect(kernel.simulator.fire(kprobe('__x64_sys_clone', []))).toBe(0);
    });

    it('attaches by the names of functions, with arguments behind the context', () => {
      const { kernel, b } = open(`
        BPF_HASH(calls, u32, u64);
        int kprobe__do_sys_open(struct pt_regs *ctx, int dfd, const char *name, u64 flags) {
          u32 key = dfd;
          calls.update(&key, &flags);
          return 0;
        }
        int kretprobe__do_sys_open(struct pt_regs *ctx) {
          u32 key = 1000;
          u64 got = PT_REGS_RC(ctx);
          calls.insert(&key, &got);
          return 0;
        }`);
      kernel.simulator.fire(kprobe('do_sys_open', [7n, 0n, 99n]));
      kernel.simulator.fire({
        kind: 'kretprobe',
        symbol: 'do_sys_open',
        ret: 5n,
        process: PROCESS,
        time: 2n,
      });
      expect(new Map(b.get('calls'))).toEqual(
        new Map([
          [7, 99],
          [1000, 5],
        ]),
      );
      expect(b.numOpenKprobes()).toBe(2);
    });

    it('takes a number of calls at once for a kretprobe, as far as the kernel would', () => {
      const { kernel, b } = open(`
        BPF_ARRAY(calls, u64, 1);
        int leave(struct pt_regs *ctx) { calls.increment(0); return 0; }`);
      const event = 'do_sys_open';
      b.attachKretprobe({ event, fnName: 'leave', maxactive: 4096 });
      kernel.simulator.fire({ kind: 'kretprobe', symbol: event, ret: 5n, process: PROCESS, time: 2n });
      expect(b.get('calls').get(0)).toBe(1);
      for (const maxactive of [4097, -1, 0.5])
        expect(() => b.attachKretprobe({ event, fnName: 'leave', maxactive })).toThrow(/maxactive/);
    });

    it('counts by a struct as key', () => {
      const { kernel, b } = open(`
        #include <linux/sched.h>
        struct key_t { u32 uid; char comm[TASK_COMM_LEN]; };
        BPF_HASH(counts, struct key_t);
        RAW_TRACEPOINT_PROBE(sys_enter) {
          struct key_t key = {};
          key.uid = bpf_get_current_uid_gid();
          bpf_get_current_comm(&key.comm, sizeof(key.comm));
          counts.increment(key);
          return 0;
        }`);
      replay(kernel);
      const total = b
        .get('counts')
        .items()
        .reduce((sum, [, count]) => sum + Number(count), 0);
      expect(total).toBe(enters.length);
      const uids = new Set([...b.get('counts').keys()].map((key) => (key as { uid: number }).uid));
      expect(uids).toEqual(new Set([0, 1000]));
      b.get('counts').clear();
      expect(b.get('counts').size).toBe(0);
    });

    it('reads the record of a tracepoint, follows the file name, hands events over', () => {
      const { kernel, b } = open(BCC_MAIN);
      const seen: unknown[] = [];
      b.get('events').openPerfBuffer((event) => seen.push(event));
      replay(kernel);
      const execs = enters.filter((event) => event.name === 'execve');
      expect(b.perfBufferConsume()).toBe(execs.length);
      expect(seen[0]).toMatchObject({ comm: 'strace', fname: '/usr/bin/sh' });
    });

    it('copies what is not aligned out of the record of a tracepoint', () => {
      const field = (text: string, offset: number, size: number) =>
        `\tfield:${text};\toffset:${offset};\tsize:${size};\tsigned:0;\n`;
      const { kernel, b } = open(
        `
        BPF_HASH(seen, u32, u32);
        TRACEPOINT_PROBE(made, up) {
          u32 key = args->count, value = 0;
          __builtin_memcpy(&value, args->address, sizeof(value));
          seen.update(&key, &value);
          return 0;
        }`,
        {
          tracepointFormats: {
            'made/up': field('u16 count', 8, 2) + field('__u8 address[4]', 10, 4),
          },
        },
      );
      const record = new Uint8Array(16).map((_, i) => i);
      kernel.simulator.fire({
        kind: 'tracepoint',
        category: 'made',
        name: 'up',
        record,
        process: PROCESS,
        time: 1n,
      });
      expect([...b.get('seen')]).toEqual([[0x0908, 0x0d0c0b0a]]);
    });

    it('hands records of a ring buffer over as they come', async () => {
      const { kernel, b } = open(`
        struct event_t { u32 pid; char comm[16]; };
        BPF_RINGBUF_OUTPUT(ring, 4);
        TRACEPOINT_PROBE(syscalls, sys_enter_execve) {
          struct event_t *e = ring.ringbuf_reserve(sizeof(struct event_t));
          if (!e) return 1;
          e->pid = bpf_get_current_pid_tgid() >> 32;
          bpf_get_current_comm(&e->comm, sizeof(e->comm));
          ring.ringbuf_submit(e, 0);
          return 0;
        }`);
      const stop = new AbortController();
      const seen: unknown[] = [];
      const reading = (async () => {
        for await (const event of b.get('ring').events({ signal: stop.signal })) {
          seen.push(event);
          stop.abort();
        }
      })();
      fireExec(kernel, 42, 'bash', '/bin/true');
      await reading;
      expect(seen).toEqual([{ pid: 42, comm: 'bash' }]);
    });

    it('prints histograms as BCC does', () => {
      const { kernel, b, printed } = open(`
        BPF_HISTOGRAM(dist);
        BPF_HISTOGRAM(linear, int, 16);
        int kprobe__probe(struct pt_regs *ctx, u64 size) {
          dist.increment(bpf_log2l(size));
          linear.atomic_increment(size & 7);
          return 0;
        }`);
      for (const size of [1, 3, 3, 100, 120, 127, 64]) kernel.simulator.fire(kprobe('probe', [BigInt(size)]));
      b.get('dist').printLog2Hist('bytes');
      expect(printed.join('')).toBe(
        [
          '     bytes               : count     distribution',
          '         0 -> 1          : 1        |**********                              |',
          '         2 -> 3          : 2        |********************                    |',
          '         4 -> 7          : 0        |                                        |',
          '         8 -> 15         : 0        |                                        |',
          '        16 -> 31         : 0        |                                        |',
          '        32 -> 63         : 0        |                                        |',
          '        64 -> 127        : 4        |****************************************|',
          '',
        ].join('\n'),
      );
      expect(b.get('linear').linearHist({ valueType: 'low' })).toBe(
        [
          '     low           : count     distribution',
          '        0          : 2        |****************************************|',
          '        1          : 1        |********************                    |',
          '        2          : 0        |                                        |',
          '        3          : 2        |****************************************|',
          '        4          : 1        |********************                    |',
          '        5          : 0        |                                        |',
          '        6          : 0        |                                        |',
          '        7          : 1        |********************                    |',
          '',
        ].join('\n'),
      );
    });

    it('jumps into other programs by the number of a system call', () => {
      const { kernel, b } = open(`
        BPF_PROG_ARRAY(syscall, 500);
        BPF_HASH(seen, u32);
        int hello(struct bpf_raw_tracepoint_args *ctx) {
          int opcode = ctx->args[1];
          syscall.call(ctx, opcode);
          u32 other = 0;
          seen.increment(other);
          return 0;
        }
        int hello_exec(void *ctx) {
          u32 key = 59;
          seen.increment(key);
          return 0;
        }
        int ignore(void *ctx) { return 0; }`);
      b.attachRawTracepoint({ tp: 'sys_enter', fnName: 'hello' });
      b.loadFunc('hello_exec', BPF.RAW_TRACEPOINT);
      const table = b.get('syscall');
      table.set(59, 'hello_exec');
      table.set(0, b.loadFunc('ignore', BPF.RAW_TRACEPOINT));
      replay(kernel);
      const execs = enters.filter((event) => event.nr === 59).length;
      const reads = enters.filter((event) => event.nr === 0).length;
      expect(b.get('seen').get(59)).toBe(execs);
      expect(b.get('seen').get(0)).toBe(enters.length - execs - reads);
    });

    it('counts packets at an interface', () => {
      const { kernel, b } = open(
        `
        BPF_PERCPU_ARRAY(packets, u64, 1);
        int count(struct xdp_md *ctx) {
          int zero = 0;
          u64 *n = packets.lookup(&zero);
          if (n) *n += STEP;
          return XDP_PASS;
        }`,
        { cflags: ['-DSTEP=3'] },
      );
      const ifindex = kernel.simulator.addInterface('eth0');
      b.attachXdp('eth0', b.loadFunc('count', BPF.XDP));
      for (let i = 0; i < 4; i++) kernel.simulator.receive({ ifindex, data: new Uint8Array(64) });
      expect(b.get('packets').sum(0)).toBe(12);
      b.removeXdp('eth0');
      kernel.simulator.receive({ ifindex, data: new Uint8Array(64) });
      expect(b.get('packets').max(0)).toBe(12);
    });

    it('has queues, look-ups that make what is not there, and tables by their kind', () => {
      const { kernel, b } = open(`
        BPF_QUEUE(queue, u32, 8);
        BPF_TABLE("hash", u32, u32, marks, 8);
        int kprobe__step(struct pt_regs *ctx, u32 n) {
          u32 zero = 100, *mark;
          queue.push(&n, 0);
          mark = marks.lookup_or_try_init(&n, &zero);
          if (mark) (*mark)++;
          (*marks.lookup_or_init(&n, &zero))++;
          if (n == 3) marks.delete(&n);
          return 0;
        }`);
      for (const n of [1n, 2n, 3n]) kernel.simulator.fire(kprobe('step', [n]));
      expect([b.get('queue').pop(), b.get('queue').pop(), b.get('queue').pop()]).toEqual([1, 2, 3]);
      expect(b.get('queue').pop()).toBeUndefined();
      expect(new Map(b.get('marks'))).toEqual(
        new Map([
          [1, 102],
          [2, 102],
        ]),
      );
    });

    it('follows pointers of the kernel by itself', () => {
      const { kernel, b } = open(`
        struct inner { int depth; u64 pad; };
        struct outer { u64 a; struct inner *in; };
        BPF_HASH(seen, int, int);
        int kprobe__look(struct pt_regs *ctx, struct outer *o) {
          int key = 1, value = o->in->depth + 5;
          seen.update(&key, &value);
          return 0;
        }`);
      // Nothing lies there: reads of the kernel's memory that fail give zeros.
      kernel.simulator.fire(kprobe('look', [0xffff_8881_0000_0000n]));
      expect(b.get('seen').get(1)).toBe(5);
    });

    it('says what does not compile, and where', () => {
      const bad = () =>
        open('BPF_HASH(t, u32);\nint f(void *ctx) {\n  t.lookat(0);\n  return undeclared;\n}\n');
      expect(bad).toThrow(BccCompileError);
      expect(bad).toThrow(/main\.c:3:5: error: table 't' has no method 'lookat'/);
      expect(bad).toThrow(/main\.c:4:10: error: use of undeclared identifier 'undeclared'/);
      expect(() => open('int f(void *ctx) { return 0; }').b.get('t')).toThrow(/no map 't'/);
      expect(() => open('int f(void *ctx) { return 0; }').b.loadFunc('g', BPF.KPROBE)).toThrow(
        /no function 'g'/,
      );
    });
  });

const PROCESS = { pid: 10, uid: 0, comm: 'init' };

function kprobe(symbol: string, args: readonly bigint[]): KernelEvent {
  return {
    kind: 'kprobe',
    symbol,
    args: args.map((value) => ({ kind: 'value', value })),
    process: PROCESS,
    time: 1n,
  };
}
