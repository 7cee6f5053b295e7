/** kprobe, kretprobe, ksyscall: programs on functions of the kernel, hit by a child process. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { Fd } from '../../../src/contracts/kernel.ts';
import { BPF_ATTACH_TYPE } from '../../../src/uapi/index.ts';
import { BpfError } from '../../../src/util/errors.ts';
import {
  Child,
  failure,
  kernel,
  load,
  R0,
  R1,
  R2,
  R6,
  R7,
  R10,
  Record,
  reg,
  slot,
  watching,
} from './support.ts';

/** Offsets in struct pt_regs of x86-64. */
const PT_REGS = { ax: 80, si: 104, di: 112 };
const FILE = '/tmp/victim';

const attach = (progFd: Fd, event: Fd, bpfCookie?: bigint): Fd =>
  kernel.linkCreate({
    progFd,
    targetFd: event,
    attachType: BPF_ATTACH_TYPE.BPF_PERF_EVENT,
    ...(bpfCookie === undefined ? {} : { bpfCookie }),
  });

const store = (register: 'ax' | 'si' | 'di') => (program: Parameters<Parameters<typeof watching>[1]>[0]) =>
  program.ldx('dw', R1, R6, PT_REGS[register]).stx('dw', R7, R1, slot(2));

describe('kprobes', () => {
  afterEach(() => kernel.shutdown());

  it('kprobe: counts the calls of one process and reads their arguments', async () => {
    writeFileSync(FILE, '');
    const child = new Child(`exec rm ${FILE}`);
    const record = new Record(child.pid);
    const program = load('kprobe', watching(record, store('di')));
    attach(program, kernel.perfEventOpen({ kind: 'kprobe', symbol: 'do_unlinkat' }));
    expect(await child.go()).toBe(0);
    expect(existsSync(FILE)).toBe(false);
    expect(record.hits).toBe(1);
    // AT_FDCWD, as the int that is passed
    expect(Number(BigInt.asIntN(32, record.at(2)))).toBe(-100);
  });

  it('kretprobe: reads what the function returned', async () => {
    const child = new Child(`exec rm ${FILE}.missing`);
    const record = new Record(child.pid);
    const program = load('kprobe', watching(record, store('ax')));
    attach(program, kernel.perfEventOpen({ kind: 'kprobe', symbol: 'vfs_statx', retprobe: true }));
    await child.go();
    expect(record.hits).toBeGreaterThan(0);
    expect(Number(BigInt.asIntN(32, record.at(2)))).toBe(-2);
  });

  it("ksyscall: the arguments of a system call lie behind its handler's one argument", async () => {
    writeFileSync(FILE, '');
    const child = new Child(`exec rm ${FILE}`);
    const record = new Record(child.pid);
    const program = load(
      'kprobe',
      watching(record, (p) =>
        p
          // bpf_probe_read_kernel(record + 2, 8, &((struct pt_regs *)ctx->di)->di)
          .mov64(R1, reg(R7))
          .alu64('add', R1, slot(2))
          .mov64(R2, 8)
          .ldx('dw', 3, R6, PT_REGS.di)
          .alu64('add', 3, PT_REGS.di)
          .callHelper('bpf_probe_read_kernel')
          // bpf_probe_read_user_str(record + 3, 32, path)
          .mov64(R1, reg(R7))
          .alu64('add', R1, slot(3))
          .mov64(R2, 32)
          .ldx('dw', 3, R7, slot(2))
          .callHelper('bpf_probe_read_user_str'),
      ),
    );
    attach(program, kernel.perfEventOpen({ kind: 'kprobe', symbol: '__x64_sys_unlink' }));
    expect(await child.go()).toBe(0);
    expect(record.hits).toBe(1);
    const text = Buffer.from(new BigUint64Array(record.words().slice(3, 7)).buffer).toString();
    expect(text.slice(0, text.indexOf('\0'))).toBe(FILE);
  });

  it('a cookie tells the program which probe it runs for', async () => {
    const child = new Child(`exec rm ${FILE}.missing`);
    const record = new Record(child.pid);
    const program = load(
      'kprobe',
      watching(record, (p) =>
        p.mov64(R1, reg(R6)).callHelper('bpf_get_attach_cookie').stx('dw', R7, R0, slot(2)),
      ),
    );
    attach(program, kernel.perfEventOpen({ kind: 'kprobe', symbol: 'vfs_statx' }), 0xfeed_beefn);
    await child.go();
    expect(record.at(2)).toBe(0xfeed_beefn);
  });

  it('kernel stacks are stored by id', async () => {
    const child = new Child(`exec rm ${FILE}.missing`);
    const record = new Record(child.pid);
    const stacks = kernel.mapCreate({ mapType: 7, keySize: 4, valueSize: 8 * 64, maxEntries: 16 });
    const program = load(
      'kprobe',
      watching(record, (p) =>
        p
          .mov64(R1, reg(R6))
          .ldMapFd(R2, stacks)
          .mov64(3, 0)
          .callHelper('bpf_get_stackid')
          .stx('dw', R7, R0, slot(2)),
      ),
    );
    attach(program, kernel.perfEventOpen({ kind: 'kprobe', symbol: 'vfs_statx' }));
    await child.go();
    const id = Number(BigInt.asIntN(64, record.at(2)));
    expect(id).toBeGreaterThanOrEqual(0);
    const stack = kernel.mapLookupElem({ mapFd: stacks, key: new Uint8Array(new Uint32Array([id]).buffer) })!;
    const addresses = [...new BigUint64Array(stack.slice().buffer)].filter((address) => address !== 0n);
    expect(addresses.length).toBeGreaterThan(3);
    const symbols = readFileSync('/proc/kallsyms', 'utf8');
    const start = BigInt(`0x${/^([0-9a-f]+) [tT] vfs_statx$/m.exec(symbols)?.[1]}`);
    expect(Number(addresses[0]! - start)).toBeLessThan(64);
  });

  it('the link ends with its descriptor: nothing is counted after it', async () => {
    const record = new Record(process.pid);
    const program = load(
      'kprobe',
      watching(record, (p) => p),
    );
    const event = kernel.perfEventOpen({ kind: 'kprobe', symbol: 'vfs_statx' });
    const link = attach(program, event);
    statSync(`${FILE}.missing`, { throwIfNoEntry: false });
    const hits = record.hits;
    expect(hits).toBeGreaterThan(0);
    kernel.close(link);
    statSync(`${FILE}.missing`, { throwIfNoEntry: false });
    expect(record.hits).toBe(hits);
  });

  it('a function that is not there, a program of another type: refused with an errno', () => {
    expect(failure(() => kernel.perfEventOpen({ kind: 'kprobe', symbol: 'no_such_function' }))).toMatchObject(
      {
        code: 'ENOENT',
      },
    );
    const event = kernel.perfEventOpen({ kind: 'kprobe', symbol: 'vfs_statx' });
    const other = load(
      'tracepoint',
      watching(new Record(1), (p) => p.mov64(R1, reg(R10))),
    );
    expect(failure(() => attach(other, event))).toBeInstanceOf(BpfError);
  });

  it('multi-kprobe: two functions with one link; a kernel without CONFIG_FPROBE is named', async (context) => {
    const child = new Child(`exec rm ${FILE}.missing`);
    const record = new Record(child.pid);
    const program = load(
      'kprobe',
      watching(record, (p) => p),
      {
        expectedAttachType: BPF_ATTACH_TYPE.BPF_TRACE_KPROBE_MULTI,
      },
    );
    try {
      kernel.linkCreate({
        progFd: program,
        attachType: BPF_ATTACH_TYPE.BPF_TRACE_KPROBE_MULTI,
        kprobeMulti: { symbols: ['vfs_statx', 'do_unlinkat'] },
      });
    } catch (error) {
      child.kill();
      expect(error).toMatchObject({ code: 'EOPNOTSUPP', message: expect.stringContaining('CONFIG_FPROBE') });
      context.skip((error as BpfError).message);
    }
    await child.go();
    expect(record.hits).toBeGreaterThanOrEqual(1);
  });
});
