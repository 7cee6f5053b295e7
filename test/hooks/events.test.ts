/** What programs see at the attach points of events, on both engines: layouts of x86-64 Linux 6.18. */
import { describe, expect, it } from 'vitest';
import { encodeProgram, ProgramBuilder, type Reg } from '../../src/asm/index.ts';
import type { KernelEvent, SyscallArg } from '../../src/contracts/events.ts';
import type { Fd, PerfEventAttr } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { BPF_ATTACH_TYPE } from '../../src/uapi/index.ts';
import { fromUtf8, utf8 } from '../../src/util/index.ts';

const [R0, R1, R2, R3, R6, R7, R8] = [0, 1, 2, 3, 6, 7, 8] as Reg[];
const SIZE = 256;

const process = { pid: 71, tgid: 70, uid: 1000, gid: 100, comm: 'a-shell' };
const number = (value: bigint): SyscallArg => ({ kind: 'value', value });
const string = (text: string): SyscallArg => ({ kind: 'memory', bytes: utf8(`${text}\0`) });
const enter = (args: readonly SyscallArg[], time = 5n): KernelEvent => ({
  kind: 'syscall_enter',
  name: 'openat',
  nr: 257,
  args,
  process,
  time,
});
const exit: KernelEvent = { kind: 'syscall_exit', name: 'openat', nr: 257, ret: -2n, process, time: 6n };

/** A machine with a map of one value, in which programs leave what they saw. */
class Bench {
  readonly kernel = new EmbeddedKernel({ possibleCpus: 2, memory: { maximumPages: 80 } });
  readonly map: Fd;

  constructor(jit: number) {
    this.kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
    this.map = this.kernel.mapCreate({ mapType: 2, keySize: 4, valueSize: SIZE, maxEntries: 1 });
  }

  load(type: string, program: ProgramBuilder): Fd {
    return this.kernel.progLoad({
      progType: progTypeByName(type)!.id,
      insns: encodeProgram(program.build()),
      license: 'GPL',
    });
  }

  on(event: PerfEventAttr, program: ProgramBuilder): Fd {
    const type = event.kind === 'tracepoint' ? 'tracepoint' : 'kprobe';
    return this.kernel.linkCreate({
      progFd: this.load(type, program),
      targetFd: this.kernel.perfEventOpen(event),
      attachType: BPF_ATTACH_TYPE.BPF_PERF_EVENT,
    });
  }

  /** Copies context bytes [from, to) to the map, by 8-byte loads. */
  copies(from: number, to: number): ProgramBuilder {
    const program = new ProgramBuilder().ldMapValue(R2, this.map);
    for (let at = from; at < to; at += 8) program.ldx('dw', R3, R1, at).stx('dw', R2, R3, at - from);
    return program.mov64(R0, 0).exit();
  }

  /** Copies a tracepoint's record to the same place in the map: all but the common fields, which programs do not see. */
  record(size: number): ProgramBuilder {
    const program = new ProgramBuilder().ldMapValue(R2, this.map);
    for (let at = 8; at < size; at += 8) program.ldx('dw', R3, R1, at).stx('dw', R2, R3, at);
    return program.mov64(R0, 0).exit();
  }

  get value(): DataView {
    const bytes = this.kernel.mapLookupElem({ mapFd: this.map, key: new Uint8Array(4) })!;
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  words(count: number): bigint[] {
    return Array.from({ length: count }, (_, i) => this.value.getBigInt64(8 * i, true));
  }

  text(at: number): string {
    const bytes = new Uint8Array(this.value.buffer, this.value.byteOffset + at);
    return fromUtf8(bytes.subarray(0, bytes.indexOf(0)));
  }
}

for (const jit of [1, 0])
  describe(`events, bpf_jit_enable = ${jit}`, () => {
    it('sys_enter and sys_exit tracepoints', () => {
      const bench = new Bench(jit);
      for (const name of ['raw_syscalls/sys_enter', 'syscalls/sys_enter_openat']) {
        const [category, tracepoint] = name.split('/');
        const link = bench.on({ kind: 'tracepoint', category, name: tracepoint }, bench.record(64));
        expect(bench.kernel.simulator.fire(enter([1n, 2n, 3n, 4n, 5n, -6n].map(number)))).toBe(1);
        expect(bench.words(8)).toEqual([0n, 257n, 1n, 2n, 3n, 4n, 5n, -6n]);
        // Arguments that a call does not have are 0, whatever the record before had there.
        bench.kernel.simulator.fire(enter([number(9n)]));
        expect(bench.words(8)).toEqual([0n, 257n, 9n, 0n, 0n, 0n, 0n, 0n]);
        bench.kernel.close(link);
        expect(bench.kernel.simulator.fire(enter([]))).toBe(0);
      }
      bench.on({ kind: 'tracepoint', category: 'syscalls', name: 'sys_exit_openat' }, bench.copies(8, 24));
      expect(bench.kernel.simulator.fire(exit)).toBe(1);
      expect(bench.words(2)).toEqual([257n, -2n]);
      expect(bench.kernel.simulator.fire({ ...exit, name: 'read' } as KernelEvent)).toBe(0);
    });

    it('raw tracepoints: registers and number', () => {
      const bench = new Bench(jit);
      // args[0] is the pt_regs: di, orig_rax are read through it; args[1] the number.
      const program = new ProgramBuilder()
        .add({ code: 0xbf, dst: R6, src: R1, off: 0, imm: 0 })
        .ldMapValue(R7, bench.map)
        .ldx('dw', R8, R6, 0)
        .ldx('dw', R3, R6, 8)
        .stx('dw', R7, R3, 0);
      for (const [offset, at] of [
        [112, 8],
        [56, 16],
        [120, 24],
      ])
        program
          .add({ code: 0xbf, dst: R1, src: R7, off: 0, imm: 0 })
          .alu64('add', R1, at)
          .mov64(R2, 8)
          .add({ code: 0xbf, dst: R3, src: R8, off: 0, imm: 0 })
          .alu64('add', R3, offset)
          .callHelper('bpf_probe_read_kernel');
      bench.kernel.rawTracepointOpen({
        name: 'sys_enter',
        progFd: bench.load('raw_tracepoint', program.mov64(R0, 0).exit()),
      });
      expect(bench.kernel.simulator.fire(enter([11n, 12n, 13n, 14n].map(number)))).toBe(1);
      // di and r10: system calls pass their fourth argument there.
      expect(bench.words(4)).toEqual([257n, 11n, 14n, 257n]);
    });

    it('kprobes and kretprobes', () => {
      const bench = new Bench(jit);
      bench.on({ kind: 'kprobe', symbol: 'do_unlinkat' }, bench.copies(0, 168));
      const args = [1n, 2n, 3n, 4n, 5n, 6n].map(number);
      const at = { process, time: 1n };
      expect(bench.kernel.simulator.fire({ kind: 'kprobe', symbol: 'do_unlinkat', args, ...at })).toBe(1);
      const regs = bench.words(21);
      // di, si, dx, cx, r8, r9
      expect([14, 13, 12, 11, 9, 8].map((i) => regs[i])).toEqual([1n, 2n, 3n, 4n, 5n, 6n]);
      expect(bench.kernel.simulator.fire({ kind: 'kprobe', symbol: 'other', args, ...at })).toBe(0);
      bench.on({ kind: 'kprobe', symbol: 'do_unlinkat', retprobe: true }, bench.copies(80, 88));
      expect(
        bench.kernel.simulator.fire({ kind: 'kretprobe', symbol: 'do_unlinkat', ret: -13n, ...at }),
      ).toBe(1);
      expect(bench.words(1)).toEqual([-13n]);
      expect(() => bench.on({ kind: 'kprobe', symbol: 'f', offset: 4n }, bench.copies(0, 8))).toThrow();
    });

    it('exec, fork and exit', () => {
      const bench = new Bench(jit);
      const tracepoint = (name: string, size: number) =>
        bench.on({ kind: 'tracepoint', category: 'sched', name }, bench.record(size));
      tracepoint('sched_process_exec', 40);
      const exec: KernelEvent = { kind: 'exec', process, comm: 'ls', filename: '/usr/bin/ls', time: 1n };
      expect(bench.kernel.simulator.fire(exec)).toBe(1);
      const loc = bench.value.getUint32(8, true);
      expect([loc & 0xffff, loc >>> 16, bench.text(loc & 0xffff)]).toEqual([20, 12, '/usr/bin/ls']);
      expect([bench.value.getInt32(12, true), bench.value.getInt32(16, true)]).toEqual([71, 71]);
      tracepoint('sched_process_fork', 48);
      const child = { pid: 80, tgid: 80, comm: 'child' };
      expect(bench.kernel.simulator.fire({ kind: 'fork', process, child, time: 2n })).toBe(1);
      expect(bench.text(bench.value.getUint32(8, true) & 0xffff)).toBe('a-shell');
      expect(bench.text(bench.value.getUint32(16, true) & 0xffff)).toBe('child');
      expect([bench.value.getInt32(12, true), bench.value.getInt32(20, true)]).toEqual([71, 80]);
      tracepoint('sched_process_exit', 40);
      expect(bench.kernel.simulator.fire({ kind: 'exit', process: { pid: 80 }, time: 3n })).toBe(1);
      expect([bench.text(8), bench.value.getInt32(24, true), bench.value.getUint8(32)]).toEqual(['', 80, 1]);
    });

    it('tracepoints of any other kind: the record as it is', () => {
      const bench = new Bench(jit);
      bench.on({ kind: 'tracepoint', category: 'net', name: 'netif_rx' }, bench.record(24));
      const record = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
      const event = {
        kind: 'tracepoint',
        category: 'net',
        name: 'netif_rx',
        record,
        process,
        time: 1n,
      } as const;
      expect(bench.kernel.simulator.fire(event)).toBe(1);
      expect([...new Uint8Array(bench.value.buffer, bench.value.byteOffset, 24)]).toEqual([
        ...new Uint8Array(8),
        ...record.subarray(8),
        ...new Uint8Array(8),
      ]);
      bench.kernel.rawTracepointOpen({
        name: 'mine',
        progFd: bench.load('raw_tracepoint', bench.copies(0, 24)),
      });
      const raw = { kind: 'raw_tracepoint', name: 'mine', process, time: 1n } as const;
      bench.kernel.simulator.fire({ ...raw, args: [1n, 2n] });
      expect(bench.words(3)).toEqual([1n, 2n, 0n]);
      expect(() => bench.kernel.simulator.fire({ ...raw, args: new Array(13).fill(1n) })).toThrow(
        /12 arguments/,
      );
    });

    it('current: ids, name, processor, time', () => {
      const bench = new Bench(jit);
      const program = new ProgramBuilder().ldMapValue(R6, bench.map);
      [
        'bpf_get_current_pid_tgid',
        'bpf_get_current_uid_gid',
        'bpf_get_smp_processor_id',
        'bpf_ktime_get_ns',
      ].forEach((helper, i) => {
        program.callHelper(helper).stx('dw', R6, R0, 8 * i);
      });
      program
        .add({ code: 0xbf, dst: R1, src: R6, off: 0, imm: 0 })
        .alu64('add', R1, 32)
        .mov64(R2, 16)
        .callHelper('bpf_get_current_comm')
        .mov64(R0, 0)
        .exit();
      bench.on({ kind: 'tracepoint', category: 'syscalls', name: 'sys_enter_openat' }, program);
      bench.kernel.simulator.fire({ ...enter([], 12_345n), cpu: 1 } as KernelEvent);
      expect(bench.words(4)).toEqual([(70n << 32n) | 71n, (100n << 32n) | 1000n, 1n, 12_345n]);
      expect(bench.text(32)).toBe('a-shell');
      // Time never goes back; a name is cut to 15 bytes.
      bench.kernel.simulator.fire({
        ...enter([], 99n),
        process: { ...process, comm: 'a-very-long-name-é' },
      } as KernelEvent);
      expect(bench.words(4)[3]).toBe(12_345n);
      expect(bench.text(32)).toBe('a-very-long-nam');
    });

    it('user memory is there from enter to the next enter, and only for its process', () => {
      const bench = new Bench(jit);
      // value[0]: what bpf_probe_read_user_str returned, value[8]: the address, value[16..]: the text.
      const reads = (address: (program: ProgramBuilder) => ProgramBuilder) =>
        address(new ProgramBuilder().ldMapValue(R6, bench.map))
          .add({ code: 0xbf, dst: R1, src: R6, off: 0, imm: 0 })
          .alu64('add', R1, 16)
          .mov64(R2, 32)
          .callHelper('bpf_probe_read_user_str')
          .stx('dw', R6, R0, 0)
          .mov64(R0, 0)
          .exit();
      bench.on(
        { kind: 'tracepoint', category: 'syscalls', name: 'sys_enter_openat' },
        reads((program) => program.ldx('dw', R3, R1, 24).stx('dw', R6, R3, 8)),
      );
      const remembered = reads((program) => program.ldx('dw', R3, R6, 8));
      bench.on({ kind: 'tracepoint', category: 'syscalls', name: 'sys_exit_openat' }, remembered);
      bench.on({ kind: 'tracepoint', category: 'sched', name: 'sched_process_exec' }, remembered);
      const { simulator } = bench.kernel;
      const event = enter([number(-100n), string('/etc/passwd')]);
      for (let round = 0; round < 3; round++) {
        simulator.fire(event);
        expect([bench.words(1)[0], bench.text(16)]).toEqual([12n, '/etc/passwd']);
      }
      simulator.fire(exit);
      expect(bench.words(1)).toEqual([12n]);
      // Another process finds nothing at that address; a NULL and a kernel address are not user memory.
      simulator.fire({ ...exit, process: { ...process, pid: 99, tgid: 99 } } as KernelEvent);
      expect(bench.words(1)).toEqual([-14n]);
      for (const bad of [0n, 1n, 0xffff_8881_0001_0000n, 0x7fff_ffff_ffff_ffffn]) {
        simulator.fire(enter([number(-100n), number(bad)]));
        expect(bench.words(1)).toEqual([-14n]);
      }
      simulator.fire(event);
      simulator.fire({ kind: 'exec', process, comm: 'x', time: 9n });
      expect(bench.words(1)).toEqual([-14n]);
      // Longer than the buffer: cut, with a NUL.
      simulator.fire(enter([number(0n), string('x'.repeat(100))]));
      expect([bench.words(1)[0], bench.text(16)]).toEqual([32n, 'x'.repeat(31)]);
      // Without a NUL at its end the memory ends in a fault.
      simulator.fire(enter([number(0n), { kind: 'memory', bytes: utf8('cut') }]));
      expect(bench.words(1)[0]).toBe(-14n);
    });

    it('memory of processes is given back', () => {
      const bench = new Bench(jit);
      bench.on({ kind: 'tracepoint', category: 'syscalls', name: 'sys_enter_openat' }, bench.copies(16, 24));
      const { simulator } = bench.kernel;
      const argv: SyscallArg = { kind: 'strings', strings: [utf8('a'), utf8('b'.repeat(1000))] };
      for (let i = 0; i < 20_000; i++) {
        const who = { pid: 1000 + i };
        simulator.fire({ ...enter([argv, string('x'.repeat(2000))]), process: who } as KernelEvent);
        simulator.fire({ kind: 'exit', process: who, time: 1n });
      }
      // 60 MB went through a memory of 5 MB.
      expect(bench.words(1)[0]).not.toBe(0n);
    });

    it('several programs at one point run in the order in which they came', () => {
      const bench = new Bench(jit);
      const appends = (digit: number) =>
        new ProgramBuilder()
          .ldMapValue(R1, bench.map)
          .ldx('dw', R2, R1)
          .alu64('mul', R2, 10)
          .alu64('add', R2, digit)
          .stx('dw', R1, R2)
          .mov64(R0, 0)
          .exit();
      const point = { kind: 'tracepoint', category: 'c', name: 'n' } as const;
      const links = [1, 2, 3].map((digit) => bench.on(point, appends(digit)));
      const event = { ...point, record: new Uint8Array(8), process, time: 1n };
      expect(bench.kernel.simulator.fire(event)).toBe(3);
      bench.kernel.close(links[1]);
      bench.kernel.simulator.fire(event);
      expect(bench.words(1)).toEqual([12_313n]);
    });
  });
