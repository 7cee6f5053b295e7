/** Tracepoints, raw tracepoints, uprobes, samples, trace_pipe: what other kernels have too, here on 6.1. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import koffi from 'koffi';
import { afterEach, describe, expect, it } from 'vitest';
import type { Fd } from '../../../src/contracts/kernel.ts';
import { BPF_ATTACH_TYPE } from '../../../src/uapi/index.ts';
import { Child, kernel, load, R1, R2, R6, R7, R10, Record, reg, slot, watching } from './support.ts';

const LIBC = ['/lib/x86_64-linux-gnu/libc.so.6', '/usr/lib/x86_64-linux-gnu/libc.so.6'].find(existsSync)!;
const PT_REGS_AX = 80;

const attach = (progFd: Fd, event: Fd): Fd =>
  kernel.linkCreate({ progFd, targetFd: event, attachType: BPF_ATTACH_TYPE.BPF_PERF_EVENT });

describe('events', () => {
  afterEach(() => kernel.shutdown());

  it('tracepoint: the record of a system call', async () => {
    const child = new Child('exec rm /tmp/missing');
    const record = new Record(child.pid);
    // fields start behind the common header and the number of the call; exit_group's one argument is at 16
    const program = load(
      'tracepoint',
      watching(record, (p) => p.ldx('dw', R1, R6, 16).stx('dw', R7, R1, slot(2))),
    );
    attach(
      program,
      kernel.perfEventOpen({ kind: 'tracepoint', category: 'syscalls', name: 'sys_enter_exit_group' }),
    );
    const status = await child.go();
    expect(record.hits).toBe(1);
    expect(record.at(2)).toBe(BigInt(status));
  });

  it("raw tracepoint: the tracepoint's own arguments", async () => {
    const child = new Child('exec true');
    const record = new Record(child.pid);
    const program = load(
      'raw_tracepoint',
      watching(record, (p) => p.ldx('dw', R1, R6, 8).stx('dw', R7, R1, slot(2))),
    );
    kernel.rawTracepointOpen({ name: 'sys_enter', progFd: program });
    await child.go();
    expect(record.at(2)).toBe(231n);
  });

  it('uprobe and uretprobe on a function of the C library', () => {
    const offset = dynamicSymbol('getppid');
    const call = koffi.load(LIBC).func('int getppid()');
    // asked for beforehand, as Node asks with the same function
    const parent = process.ppid;
    const entry = new Record(process.pid);
    const exit = new Record(process.pid);
    const uprobe = load(
      'kprobe',
      watching(entry, (p) => p),
    );
    const uretprobe = load(
      'kprobe',
      watching(exit, (p) => p.ldx('dw', R1, R6, PT_REGS_AX).stx('dw', R7, R1, slot(2))),
    );
    const event = { kind: 'uprobe', path: LIBC, offset, pid: process.pid } as const;
    attach(uprobe, kernel.perfEventOpen(event));
    attach(uretprobe, kernel.perfEventOpen({ ...event, retprobe: true }));
    for (let count = 0; count < 5; count++) expect(call()).toBe(parent);
    expect(entry.hits).toBe(5);
    expect(exit.hits).toBe(5);
    expect(exit.at(2)).toBe(BigInt(parent));
  });

  it('samples of the CPU clock of one process', async () => {
    const child = new Child('i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done');
    const record = new Record(child.pid);
    const program = load(
      'perf_event',
      watching(record, (p) => p),
    );
    // PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK
    attach(
      program,
      kernel.perfEventOpen({ kind: 'sampling', type: 1, config: 0n, cpu: -1, pid: child.pid, frequency: 99 }),
    );
    expect(await child.go()).toBe(0);
    expect(record.hits).toBeGreaterThan(0);
  });

  it('bpf_trace_printk is on when its program has been loaded, not some time later', () => {
    for (let time = 0; time < 20; time++) {
      writeFileSync(PRINTK, '0');
      const program = loadPrinter(new Record(process.pid));
      expect(readFileSync(PRINTK, 'utf8').trim()).toBe('1');
      kernel.close(program);
    }
  });

  it('bpf_trace_printk comes out of trace_pipe, the first line after the load too', async () => {
    writeFileSync(PRINTK, '0');
    const child = new Child('exec true');
    const record = new Record(child.pid);
    const program = loadPrinter(record);
    // The buffer is the machine's: it may hold lines that others have written before.
    const own = (async () => {
      for await (const line of kernel.tracePipe({ signal: AbortSignal.timeout(30_000) }))
        if (line.pid === child.pid) return line.message;
      return `no line in 30 s; ${record.hits} calls seen; the buffer: ${tracing('trace')}`;
    })();
    kernel.rawTracepointOpen({ name: 'sys_enter', progFd: program });
    await child.go();
    expect(await own).toMatch(/^id=\d+$/);
    expect(record.hits).toBeGreaterThan(0);
  });
});

const tracing = (file: string): string => readFileSync(`/sys/kernel/tracing/${file}`, 'utf8').slice(0, 4000);
const PRINTK = '/sys/kernel/tracing/events/bpf_trace/bpf_trace_printk/enable';

/** Prints the number of each system call of one process. */
function loadPrinter(record: Record): Fd {
  return load(
    'raw_tracepoint',
    watching(record, (p) =>
      p
        // "id=%d\n"
        .ldImm64(R1, BigInt(`0x${Buffer.from('id=%d\n\0\0').reverse().toString('hex')}`))
        .stx('dw', R10, R1, -8)
        .mov64(R1, reg(R10))
        .alu64('add', R1, -8)
        .mov64(R2, 7)
        .ldx('dw', 3, R6, 8)
        .callHelper('bpf_trace_printk'),
    ),
  );
}

/** Where a function of the C library begins in its file, from the table of its dynamic symbols (ELF-64 section headers). */
function dynamicSymbol(name: string): bigint {
  const SHT_DYNSYM = 11;
  const bytes = readFileSync(LIBC);
  const headers = Number(bytes.readBigUInt64LE(0x28));
  const section = (index: number) => {
    const at = headers + index * bytes.readUInt16LE(0x3a);
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: Number(bytes.readBigUInt64LE(at + 24)),
      size: Number(bytes.readBigUInt64LE(at + 32)),
      link: bytes.readUInt32LE(at + 40),
    };
  };
  const all = Array.from({ length: bytes.readUInt16LE(0x3c) }, (_, index) => section(index));
  const table = all.find(({ type }) => type === SHT_DYNSYM)!;
  const strings = all[table.link]!;
  const isWanted = (at: number) =>
    bytes.toString('latin1', strings.offset + at, strings.offset + at + name.length + 1) === `${name}\0`;
  for (let at = table.offset; at < table.offset + table.size; at += 24) {
    // text lies in the file where its addresses say, in this library
    if (isWanted(bytes.readUInt32LE(at))) return bytes.readBigUInt64LE(at + 8);
  }
  throw new Error(`${LIBC} exports no ${name}`);
}
