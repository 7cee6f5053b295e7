/** Probes of programs and libraries on the embedded kernel, both engines: its machine has the files that it is given. */
import { describe, expect, it } from 'vitest';
import { BPF, USDT } from '../../src/bcc/index.ts';
import type { KernelEvent } from '../../src/contracts.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { utf8 } from '../../src/util/index.ts';
import { CODE, CODE_OFFSET, tinyElf } from '../libbpf/tiny-elf.ts';

const PROGRAM = '/usr/bin/server';
const LIBRARY = '/usr/lib/libserve.so';
const PID = 77;
const process = { pid: PID, uid: 0, comm: 'server' };

const program = tinyElf({
  symbols: [
    { name: 'request_begin', address: CODE, size: 8 },
    { name: 'request_end', address: CODE + 16, size: 8 },
    { name: 'respond', address: CODE + 32, size: 8 },
  ],
  notes: [
    { provider: 'http', name: 'request', arguments: '-4@%edi 8@%rsi 1@$7', address: CODE + 4 },
    { provider: 'http', name: 'request', arguments: '-4@%ebx 8@%r12 1@$9', address: CODE + 20 },
    { provider: 'http', name: 'response', arguments: '8@%rax', address: CODE + 36 },
  ],
});
const library = tinyElf({ notes: [{ provider: 'serve', name: 'open', arguments: '', address: CODE }] });
const files = {
  [PROGRAM]: program,
  [LIBRARY]: library,
  [`/proc/${PID}/maps`]: `00400000-00500000 r-xp 00000000 00:00 1 ${PROGRAM}\n7f00000000-7f00001000 r-xp 00000000 00:00 2 ${LIBRARY}\n`,
  '/proc/kallsyms': 'ffffffff81000000 T vfs_read\nffffffff81000100 T vfs_write\n',
  '/sys/kernel/tracing/available_filter_functions': 'vfs_read\nvfs_write\nvfs_open [ext4]\n__x64_sys_read\n',
  '/sys/kernel/tracing/available_events': 'sched:sched_switch\nsched:sched_wakeup\nirq:softirq_entry\n',
};

for (const jit of [1, 0])
  describe(`bpf_jit_enable = ${jit}`, () => {
    const machine = () => {
      const kernel = new EmbeddedKernel({ files });
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      return kernel;
    };
    const reach = (kernel: EmbeddedKernel, at: number, registers: Record<string, bigint> = {}): number =>
      kernel.simulator.fire({
        kind: 'uprobe',
        path: PROGRAM,
        offset: BigInt(CODE_OFFSET + at),
        registers,
        process,
        time: 1n,
      });

    it('lists USDT probes of a file and of a process', () => {
      const kernel = machine();
      const usdt = new USDT({ kernel, pid: PID });
      expect(usdt.enumerateProbes().map((one) => `${one.binPath}:${one.provider}:${one.name}`)).toEqual([
        `${PROGRAM}:http:request`,
        `${PROGRAM}:http:response`,
        `${LIBRARY}:serve:open`,
      ]);
      const [request] = new USDT({ kernel, path: PROGRAM }).enumerateProbes();
      expect(request!.locations.map(({ text }) => text)).toEqual([
        '-4@%edi 8@%rsi 1@$7',
        '-4@%ebx 8@%r12 1@$9',
      ]);
      expect(usdt.getProbeArgCtype('http:request', 0)).toBe('int32_t');
      expect(usdt.getProbeArgCtype('request', 1)).toBe('uint64_t');
      expect(new USDT({ kernel, path: 'serve' }).enumerateProbes()).toHaveLength(1);
      expect(() => usdt.enableProbe({ probe: 'requst', fnName: 'f' })).toThrow(
        /no USDT probe requst in process 77/,
      );
      expect(() => new USDT({ kernel, pid: 4 })).toThrow(/no process 4/);
      expect(() => new USDT({ kernel: new EmbeddedKernel(), pid: 4 })).toThrow(/no machine with files/);
      expect(() => new USDT({ kernel })).toThrow(/needs a pid or the path/);
    });

    it('reads the arguments of USDT probes, wherever each place has them', () => {
      const kernel = machine();
      const usdt = new USDT({ kernel, pid: PID });
      usdt.enableProbe({ probe: 'request', fnName: 'on_request' });
      usdt.enableProbe({ probe: 'http:response', fnName: 'on_response' });
      expect(usdt.getText()).toContain(`on_request: ${PROGRAM}:http:request`);
      const b = new BPF({
        kernel,
        usdtContexts: [usdt],
        text: `
          struct seen_t { int id; u64 path; u8 kind; };
          BPF_QUEUE(seen, struct seen_t, 16);
          BPF_ARRAY(status, u64, 1);
          int on_request(struct pt_regs *ctx) {
            struct seen_t s = {};
            bpf_usdt_readarg(1, ctx, &s.id);
            bpf_usdt_readarg(2, ctx, &s.path);
            bpf_usdt_readarg(3, ctx, &s.kind);
            seen.push(&s, 0);
            return 0;
          }
          int on_response(struct pt_regs *ctx) {
            int zero = 0;
            u64 value = 0;
            bpf_usdt_readarg(1, ctx, &value);
            status.update(&zero, &value);
            return 0;
          }`,
      });
      expect(b.numOpenUprobes()).toBe(2);
      expect(reach(kernel, 4, { di: 0xffff_fffbn, si: 0x1234n })).toBe(1);
      expect(reach(kernel, 20, { bx: 6n, r12: 0x5678n })).toBe(1);
      expect(reach(kernel, 36, { ax: 200n })).toBe(1);
      expect(b.get('seen').pop()).toEqual({ id: -5, path: 0x1234, kind: 7 });
      expect(b.get('seen').pop()).toEqual({ id: 6, path: 0x5678, kind: 9 });
      expect(b.get('status').get(0)).toBe(200);
      // Another process passes by unseen; so does everybody when the program has ended.
      const other = { kind: 'uprobe', path: PROGRAM, offset: BigInt(CODE_OFFSET + 4), time: 1n } as const;
      expect(kernel.simulator.fire({ ...other, process: { ...process, pid: 78 } })).toBe(0);
      b.cleanup();
      expect(reach(kernel, 4)).toBe(0);
    });

    it('reads strings that arguments of USDT probes point to', () => {
      const kernel = machine();
      const usdt = new USDT({ kernel, path: PROGRAM });
      usdt.enableProbe({ probe: 'request', fnName: 'on_request' });
      const b = new BPF({
        kernel,
        usdtContexts: [usdt],
        text: `
          struct path_t { char text[8]; };
          BPF_QUEUE(seen, struct path_t, 16);
          int on_request(struct pt_regs *ctx) {
            struct path_t p = {};
            bpf_usdt_readarg_p(2, ctx, &p.text, sizeof(p.text));
            seen.push(&p, 0);
            return 0;
          }`,
      });
      kernel.simulator.fire({
        kind: 'uprobe',
        path: PROGRAM,
        offset: BigInt(CODE_OFFSET + 4),
        args: [
          { kind: 'value', value: 1n },
          { kind: 'memory', bytes: utf8('/index\0\0') },
        ],
        process,
        time: 1n,
      });
      expect(b.get('seen').pop()).toEqual({ text: '/index' });
    });

    it('attaches to user functions by name, pattern, address, and to their return', () => {
      const kernel = machine();
      const b = new BPF({
        kernel,
        text: `
          BPF_HASH(calls, u32);
          int called(struct pt_regs *ctx, u32 id) { calls.increment(id); return 0; }
          int returned(struct pt_regs *ctx) { u32 got = 1000 + PT_REGS_RC(ctx); calls.increment(got); return 0; }`,
      });
      const call = (at: number, id: bigint) => reach(kernel, at, { di: id });
      b.attachUprobe({ name: PROGRAM, sym: 'respond', fnName: 'called' });
      expect([call(0, 1n), call(32, 2n)]).toEqual([0, 1]);
      b.detachUprobe({ name: PROGRAM, sym: 'respond' });
      expect(b.getUserFunctions(PROGRAM, /request_/)).toEqual(['request_begin', 'request_end']);
      b.attachUprobe({ name: 'server', symRe: /request_/, fnName: 'called' });
      expect(b.numOpenUprobes()).toBe(2);
      expect([call(0, 3n), call(16, 4n), call(32, 5n)]).toEqual([1, 1, 0]);
      b.attachUretprobe({ name: PROGRAM, addr: BigInt(CODE_OFFSET + 32), fnName: 'returned' });
      const ret: KernelEvent = {
        kind: 'uretprobe',
        path: PROGRAM,
        offset: BigInt(CODE_OFFSET + 32),
        ret: 9n,
        process,
        time: 1n,
      };
      expect(kernel.simulator.fire(ret)).toBe(1);
      expect(new Map(b.get('calls'))).toEqual(new Map([2, 3, 4, 1009].map((key) => [key, 1])));
      expect(() => b.attachUprobe({ name: PROGRAM, symRe: /nothing/, fnName: 'called' })).toThrow(
        /no function of .* matches/,
      );
      expect(() => b.attachUprobe({ name: PROGRAM, sym: 'respnd', fnName: 'called' })).toThrow(
        /no function 'respnd'/,
      );
      b.cleanup();
      expect(kernel.simulator.fire(ret)).toBe(0);
    });

    it('attaches to functions of the kernel and tracepoints by pattern, with a limit', () => {
      const kernel = machine();
      const text = 'int f(void *ctx) { return 0; }';
      const b = new BPF({ kernel, text, probeLimit: 3 });
      expect(b.getKprobeFunctions(/vfs_/)).toEqual(['vfs_read', 'vfs_write', 'vfs_open']);
      expect(b.getTracepoints(/sched:/)).toEqual(['sched:sched_switch', 'sched:sched_wakeup']);
      b.attachKprobe({ eventRe: /vfs_(?:read|write)$/, fnName: 'f' });
      expect(b.numOpenKprobes()).toBe(2);
      const fire = (symbol: string) =>
        kernel.simulator.fire({ kind: 'kprobe', symbol, args: [], process, time: 1n });
      expect([fire('vfs_read'), fire('vfs_write'), fire('vfs_open')]).toEqual([1, 1, 0]);
      expect(() => b.attachKretprobe({ eventRe: /vfs_/, fnName: 'f' })).toThrow(
        /3 functions match .*: with the 2 that are open that is more than 3 probes/,
      );
      expect(() => b.attachKprobe({ eventRe: /nothing_/, fnName: 'f' })).toThrow(/nothing to probe matches/);
      b.attachTracepoint({ tpRe: /sched:/, fnName: 'f' });
      expect(b.numOpenTracepoints()).toBe(2);
      b.detachKprobe('vfs_read', 'f');
      expect(() => b.detachKprobe('vfs_read', 'f')).toThrow(/'f' is not attached to kprobe vfs_read/);
      expect([fire('vfs_read'), fire('vfs_write')]).toEqual([0, 1]);
      b.cleanup();
      expect(fire('vfs_write')).toBe(0);
    });

    it('samples, with stacks', () => {
      const kernel = machine();
      const b = new BPF({
        kernel,
        text: `
          BPF_STACK_TRACE(stacks, 16);
          BPF_HASH(counts, int);
          int sample(struct bpf_perf_event_data *ctx) {
            int id = stacks.get_stackid(&ctx->regs, BPF_F_USER_STACK);
            counts.increment(id);
            return 0;
          }`,
      });
      b.attachPerfEvent({ evType: 1, evConfig: 0, fnName: 'sample', sampleFreq: 49 });
      const stacks = { user: [0x40_1000n, 0x40_1010n] };
      for (let i = 0; i < 3; i++)
        kernel.simulator.fire({ kind: 'perf_sample', type: 1, config: 0n, stacks, process, time: 1n });
      const [[id, count]] = b.get('counts').items() as [[number, number]];
      expect(count).toBe(3);
      expect(b.get('stacks').walk(id)).toEqual(stacks.user);
      b.detachPerfEvent(1, 0);
      expect(kernel.simulator.fire({ kind: 'perf_sample', type: 1, config: 0n, process, time: 1n })).toBe(0);
    });

    it('gives names to addresses', () => {
      const b = new BPF({ kernel: machine(), text: 'int f(void *ctx) { return 0; }' });
      const vfsWrite = 0xffffffff81000100n;
      expect(b.ksym(vfsWrite + 4n)).toBe('vfs_write');
      expect(b.ksym(vfsWrite + 4n, { showModule: true, showOffset: true })).toBe('vfs_write+0x4 [kernel]');
      expect(b.sym(vfsWrite, -1)).toBe('vfs_write');
      expect(b.ksymname('vfs_write')).toBe(vfsWrite);
      expect(b.ksymname('vfs_nothing')).toBe(-1n);
      expect(b.sym(0x1n, PID)).toBe('[unknown]');
      expect(b.findLibrary('serve')).toBe(LIBRARY);
      expect(b.findLibrary('nothing')).toBeNull();
    });
  });
