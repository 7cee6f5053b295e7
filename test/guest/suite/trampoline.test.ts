/** Programs that the kernel calls through trampolines made from its BTF: fentry, fexit, LSM, tp_btf, and iterators beside them. */
import { readSync, unlinkSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { Fd } from '../../../src/contracts/kernel.ts';
import { BPF_ATTACH_TYPE } from '../../../src/uapi/index.ts';
import { VerifierError } from '../../../src/util/errors.ts';
import {
  Child,
  failure,
  functionId,
  kernel,
  load,
  ProgramBuilder,
  R0,
  R1,
  R2,
  R6,
  R7,
  Record,
  reg,
  slot,
  typeId,
  watching,
} from './support.ts';

const FILE = '/tmp/victim';
const EPERM = 1;
const A = BPF_ATTACH_TYPE;

const attach = (progFd: Fd, attachType: number): Fd => kernel.linkCreate({ progFd, attachType });

describe('trampolines', () => {
  afterEach(() => kernel.shutdown());

  it('fentry: arguments by their types, struct members read directly', async () => {
    writeFileSync(FILE, '');
    const child = new Child(`exec rm ${FILE}`);
    const record = new Record(child.pid);
    // int do_unlinkat(int dfd, struct filename *name): name->name is the first member
    const program = load(
      'tracing',
      watching(record, (p) =>
        p
          .ldx('dw', R1, R6, 0)
          .stx('dw', R7, R1, slot(2))
          .ldx('dw', 3, R6, 8)
          .ldx('dw', 3, 3, 0)
          .mov64(R1, reg(R7))
          .alu64('add', R1, slot(3))
          .mov64(R2, 32)
          .callHelper('bpf_probe_read_kernel_str'),
      ),
      { expectedAttachType: A.BPF_TRACE_FENTRY, attachBtfId: functionId('do_unlinkat') },
    );
    attach(program, A.BPF_TRACE_FENTRY);
    expect(await child.go()).toBe(0);
    expect(record.hits).toBe(1);
    expect(Number(BigInt.asIntN(32, record.at(2)))).toBe(-100);
    const text = Buffer.from(new BigUint64Array(record.words().slice(3, 7)).buffer).toString();
    expect(text.slice(0, text.indexOf('\0'))).toBe(FILE);
  });

  it('fexit: arguments and the result', () => {
    const record = new Record(process.pid);
    const program = load(
      'tracing',
      watching(record, (p) =>
        p.ldx('dw', R1, R6, 0).stx('dw', R7, R1, slot(2)).ldx('dw', R1, R6, 16).stx('dw', R7, R1, slot(3)),
      ),
      { expectedAttachType: A.BPF_TRACE_FEXIT, attachBtfId: functionId('do_unlinkat') },
    );
    attach(program, A.BPF_TRACE_FEXIT);
    expect(() => unlinkSync(`${FILE}.missing`)).toThrow('ENOENT');
    expect(record.hits).toBe(1);
    expect(Number(BigInt.asIntN(32, record.at(2)))).toBe(-100);
    expect(Number(BigInt.asIntN(32, record.at(3)))).toBe(-2);
    writeFileSync(FILE, '');
    unlinkSync(FILE);
    expect(record.hits).toBe(2);
    expect(record.at(3)).toBe(0n);
  });

  it('fentry through RAW_TRACEPOINT_OPEN, as kernels before 5.15 want it', async () => {
    const child = new Child(`touch ${FILE}; exec rm ${FILE}`);
    const record = new Record(child.pid);
    const program = load(
      'tracing',
      watching(record, (p) => p),
      {
        expectedAttachType: A.BPF_TRACE_FENTRY,
        attachBtfId: functionId('do_unlinkat'),
      },
    );
    const link = kernel.rawTracepointOpen({ name: null, progFd: program });
    const info = kernel.objGetInfoByFd({ bpfFd: link });
    expect(info.kind).toBe('link');
    await child.go();
    expect(record.hits).toBe(1);
  });

  it('LSM: refuses a file to one process, and to no other', async () => {
    writeFileSync(FILE, 'secret');
    const script = `read line < ${FILE}; echo "got <$line>"`;
    const child = new Child(script);
    const sibling = new Child(script);
    const record = new Record(child.pid);
    const program = load(
      'lsm',
      watching(record, (p) => p.mov64(R0, -EPERM).goto('out')),
      {
        expectedAttachType: A.BPF_LSM_MAC,
        attachBtfId: functionId('bpf_lsm_file_open'),
      },
    );
    const link = attach(program, A.BPF_LSM_MAC);
    await child.go();
    await sibling.go();
    expect(child.output).toContain('Operation not permitted');
    expect(child.output).not.toContain('secret');
    expect(record.hits).toBe(1);
    expect(sibling.output).toBe('got <secret>\n');
    kernel.close(link);
    const later = new Child(script);
    await later.go();
    expect(later.output).toBe('got <secret>\n');
  });

  it('LSM: a function that is no hook is refused by the verifier', () => {
    const refused = failure(() =>
      load('lsm', new ProgramBuilder().mov64(R0, 0).exit(), {
        expectedAttachType: A.BPF_LSM_MAC,
        attachBtfId: functionId('do_unlinkat'),
      }),
    );
    expect(refused).toBeInstanceOf(VerifierError);
    expect(refused.message).toMatch(/points to wrong type name do_unlinkat/);
  });

  it("tp_btf: the tracepoint's arguments with their types", async () => {
    const child = new Child(`exec rm ${FILE}.missing`);
    const record = new Record(child.pid);
    // sys_enter(struct pt_regs *regs, long id): remembers whether unlink (87) or newfstatat/lstat came by
    const program = load(
      'tracing',
      watching(record, (p) => p.ldx('dw', R1, R6, 8).stx('dw', R7, R1, slot(2))),
      { expectedAttachType: A.BPF_TRACE_RAW_TP, attachBtfId: typeId('btf_trace_sys_enter', 'typedef') },
    );
    attach(program, A.BPF_TRACE_RAW_TP);
    await child.go();
    expect(record.hits).toBeGreaterThan(5);
    // the last call of a process: exit_group
    expect(record.at(2)).toBe(231n);
  });

  it('iterator over tasks: reading its file runs the program', () => {
    // bpf_seq_write(ctx->meta->seq, &task->pid, 4) for each task; a null task ends the walk
    const record = new Record(1);
    const program = load(
      'tracing',
      new ProgramBuilder()
        .mov64(R6, reg(R1))
        .ldx('dw', R7, R6, 8)
        .jmp('jeq', R7, 0, 'end')
        .ldMapValue(R1, record.map)
        .mov64(R2, 1)
        .atomic('add', 'dw', R1, R2, slot(1))
        .ldx('dw', R1, R6, 0)
        .ldx('dw', R1, R1, 0)
        .st('w', 10, -4, 0x2e)
        .mov64(R2, reg(10))
        .alu64('add', R2, -4)
        .mov64(3, 1)
        .callHelper('bpf_seq_write')
        .label('end')
        .mov64(R0, 0)
        .exit(),
      { expectedAttachType: A.BPF_TRACE_ITER, attachBtfId: functionId('bpf_iter_task') },
    );
    const link = attach(program, A.BPF_TRACE_ITER);
    const iterator = kernel.iterCreate({ linkFd: link });
    const buffer = Buffer.alloc(1 << 16);
    let size = 0;
    for (;;) {
      const read = readSync(iterator, buffer, size, buffer.length - size, null);
      if (read === 0) break;
      size += read;
    }
    expect(record.hits).toBeGreaterThan(10);
    expect(buffer.subarray(0, size).toString()).toBe('.'.repeat(record.hits));
  });
});
