/** Runs that are prepared once and started from JavaScript: what stays between them, what ends them. Both engines. */
import { describe, expect, it } from 'vitest';
import { EmbeddedKernel, type EmbeddedKernelOptions } from '../../src/kernel/index.ts';
import { expectCode, FRAME, idOf, load, makeMap, ProgramBuilder, R0, R1, R2, R3, reg } from './subject.ts';

const R10 = 10 as const;

/** XDP: adds 1 to the first byte of the packet and gives it. */
const countsInPacket = () =>
  new ProgramBuilder()
    .ldx('w', R2, R1, 0)
    .ldx('w', R3, R1, 4)
    .mov64(R0, reg(R2))
    .alu64('add', R0, 1)
    .jmp('jgt', R0, reg(R3), 'short')
    .ldx('b', R0, R2, 0)
    .alu64('add', R0, 1)
    .stx('b', R2, R0, 0)
    .label('short')
    .exit();

for (const jit of [0, 1]) {
  const start = (options: EmbeddedKernelOptions = {}) => {
    const kernel = new EmbeddedKernel({ onOops: () => {}, ...options });
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
    return kernel;
  };

  describe(`a prepared run, ${jit ? 'compiled' : 'interpreted'}`, () => {
    it('finds packet and context as the run before left them, until it is reset', () => {
      const kernel = start();
      const progFd = load(kernel, countsInPacket(), 'xdp');
      const dataIn = FRAME.slice();
      dataIn[0] = 7;
      const prepared = kernel.prepareRun({ progFd, dataIn });
      dataIn[0] = 99;
      expect([prepared.run(), prepared.run()]).toEqual([8, 9]);
      expect(prepared.dataOut()[0]).toBe(9);
      expect(prepared.dataOut()).toHaveLength(FRAME.length);
      prepared.reset();
      expect(prepared.run()).toBe(8);
      prepared.reset(FRAME.slice().fill(20));
      expect(prepared.run()).toBe(21);
      prepared.close();
    });

    it('gives the same as PROG_TEST_RUN, and is refused what that is refused', () => {
      const kernel = start();
      const progFd = load(kernel, countsInPacket(), 'xdp');
      const prepared = kernel.prepareRun({ progFd, dataIn: FRAME });
      expect(prepared.run()).toBe(kernel.progTestRun({ progFd, dataIn: FRAME }).retval);
      expectCode('EINVAL', () => kernel.prepareRun({ progFd, dataIn: FRAME.slice(0, 5) }));
      expectCode('EBADF', () => kernel.prepareRun({ progFd: 999 as never, dataIn: FRAME }));
      expectCode('EINVAL', () => prepared.reset(FRAME.slice(0, 5)));
      expect(prepared.run()).toBe(FRAME[0]! + 2);
    });

    it('keeps its program', () => {
      const kernel = start();
      const progFd = load(kernel, countsInPacket(), 'xdp');
      const id = idOf(kernel, progFd);
      const prepared = kernel.prepareRun({ progFd, dataIn: FRAME });
      kernel.close(progFd);
      expect(prepared.run()).toBe(FRAME[0]! + 1);
      prepared.close();
      prepared.close();
      expectCode('EBADF', () => prepared.run());
      expectCode('EBADF', () => prepared.reset());
      expectCode('ENOENT', () => kernel.objGetFdById({ kind: 'prog', id }));
    });

    it('is counted where statistics are kept', () => {
      const kernel = start();
      const progFd = load(kernel, countsInPacket(), 'xdp');
      const prepared = kernel.prepareRun({ progFd, dataIn: FRAME });
      prepared.run();
      kernel.simulator.setSysctl('kernel.bpf_stats_enabled', 1);
      for (let i = 0; i < 3; i++) prepared.run();
      kernel.simulator.setSysctl('kernel.bpf_stats_enabled', 0);
      prepared.run();
      expect(kernel.objGetInfoByFd({ bpfFd: progFd })).toMatchObject({ runCnt: 3n });
    });

    it('runs on the CPU that was asked for', () => {
      const kernel = start({ possibleCpus: 4 });
      const program = new ProgramBuilder().callHelper('bpf_get_smp_processor_id').exit();
      const progFd = load(kernel, program, 'raw_tracepoint');
      const prepared = kernel.prepareRun({ progFd, flags: 1, cpu: 3 });
      expect([prepared.run(), kernel.prepareRun({ progFd }).run()]).toEqual([3, 0]);
    });

    it('ends with a run that used up its budget', () => {
      const kernel = start({ budget: 5 });
      const b = new ProgramBuilder().mov64(R0, 0).label('again').alu64('add', R0, 1);
      const progFd = load(kernel, b.jmp('jlt', R0, 9, 'again').exit(), 'xdp');
      const prepared = kernel.prepareRun({ progFd, dataIn: FRAME });
      expectCode('ETIMEDOUT', () => prepared.run());
      expectCode('EFAULT', () => prepared.run());
      expect(kernel.simulator.oopses()).toHaveLength(1);
      // Nothing is left of it.
      const other = load(kernel, countsInPacket(), 'xdp');
      expect(kernel.prepareRun({ progFd: other, dataIn: FRAME }).run()).toBe(FRAME[0]! + 1);
    });

    it('updates maps as every run does', () => {
      const kernel = start();
      const mapFd = makeMap(kernel, 'array', { valueSize: 4, maxEntries: 1 });
      const program = new ProgramBuilder()
        .st('w', R10, -4, 0)
        .mov64(R2, reg(R10))
        .alu64('add', R2, -4)
        .ldMapFd(R1, mapFd)
        .callHelper('bpf_map_lookup_elem')
        .jmp('jeq', R0, 0, 'out')
        .mov64(R1, 1)
        .atomic('add', 'w', R0, R1)
        .mov64(R0, 0)
        .label('out')
        .exit();
      const prepared = kernel.prepareRun({ progFd: load(kernel, program, 'xdp'), dataIn: FRAME });
      for (let i = 0; i < 1000; i++) prepared.run();
      const value = kernel.mapLookupElem({ mapFd, key: new Uint8Array(4) });
      expect(new DataView(value!.buffer, value!.byteOffset).getUint32(0, true)).toBe(1000);
    });
  });
}
