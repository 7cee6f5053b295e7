/** Readers of ring and perf buffers: what programs write, what gets lost, and rings that somebody has damaged. */
import { describe, expect, it } from 'vitest';
import { encodeProgram, ProgramBuilder, type Reg } from '../../src/asm/index.ts';
import type { Fd, Kernel, RingMapping } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { PerfBufferReader, RingBufferReader } from '../../src/libbpf/index.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { BpfError } from '../../src/util/index.ts';

const [R0, R1, R2, R3, R4, R5, R6, R10] = [0, 1, 2, 3, 4, 5, 6, 10] as Reg[];
const move = (dst: Reg, src: Reg) => ({ code: 0xbf, dst, src, off: 0, imm: 0 });

function load(kernel: Kernel, program: ProgramBuilder): Fd {
  return kernel.progLoad({
    progType: progTypeByName('xdp')!.id,
    insns: encodeProgram(program.build()),
    license: 'GPL',
  });
}

/** Counts up in the first value of `counter` and writes the count, `size` bytes, with `flags`. */
function writer(kernel: Kernel, ring: Fd, counter: Fd, size: number, flags = 0): Fd {
  const program = new ProgramBuilder()
    .ldMapValue(R6, counter)
    .ldx('dw', R1, R6)
    .alu64('add', R1, 1)
    .stx('dw', R6, R1);
  return load(
    kernel,
    program
      .ldMapFd(R1, ring)
      .add(move(R2, R6))
      .mov64(R3, size)
      .mov64(R4, flags)
      .callHelper('bpf_ringbuf_output')
      .mov64(R0, 2)
      .exit(),
  );
}

function setUp(ringSize = 4096, jit = 1) {
  const kernel = new EmbeddedKernel({ possibleCpus: 2 });
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
  const ring = kernel.mapCreate({
    mapType: mapTypeByName('ringbuf')!.id,
    keySize: 0,
    valueSize: 0,
    maxEntries: ringSize,
  });
  const counter = kernel.mapCreate({ mapType: 2, keySize: 4, valueSize: 256, maxEntries: 1 });
  return { kernel, ring, counter };
}

const DATA = new Uint8Array(64);
const number = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
const errno = (action: () => unknown): string => {
  try {
    action();
    return 'ok';
  } catch (error) {
    return error instanceof BpfError ? error.code : String(error);
  }
};

for (const jit of [1, 0])
  describe(`ring buffer, bpf_jit_enable = ${jit}`, () => {
    it('delivers what was written, in order, over the end of the ring', () => {
      const { kernel, ring, counter } = setUp(4096, jit);
      const reader = new RingBufferReader(kernel, ring);
      const progFd = writer(kernel, ring, counter, 100);
      let next = 1;
      // 112 bytes a record: 36 fit. The records run over the end at every length.
      for (let round = 0; round < 300; round++) {
        const count = 1 + (round % 36);
        kernel.progTestRun({ progFd, dataIn: DATA, repeat: count });
        const records = reader.consume();
        expect(records.map(number)).toEqual(Array.from({ length: count }, (_, i) => next + i));
        expect(records.every((record) => record.length === 100)).toBe(true);
        next += count;
      }
      expect(reader.delivered).toBe(next - 1);
      kernel.progTestRun({ progFd, dataIn: DATA, repeat: 50 });
      // What had no room is lost; the program saw -EAGAIN.
      expect(reader.consume()).toHaveLength(36);
      kernel.progTestRun({ progFd, dataIn: DATA, repeat: 5 });
      expect(reader.consume(2)).toHaveLength(2);
      expect(reader.consume()).toHaveLength(3);
      reader.close();
      expect(reader.consume()).toEqual([]);
    });

    it('shows records where they lie, over the end of the ring too', () => {
      const { kernel, ring, counter } = setUp(4096, jit);
      const reader = new RingBufferReader(kernel, ring);
      const progFd = writer(kernel, ring, counter, 100);
      const seen: number[] = [];
      for (let round = 0; round < 20; round++) {
        kernel.progTestRun({ progFd, dataIn: DATA, repeat: 10 });
        const visited = reader.visit((bytes, offset, length) => {
          expect(length).toBe(100);
          seen.push(number(bytes.subarray(offset, offset + length)));
        });
        expect(visited).toBe(10);
      }
      expect(seen).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
      expect(reader.visit(() => {})).toBe(0);
      // A visitor that throws has had its records: the writers get the room back.
      kernel.progTestRun({ progFd, dataIn: DATA, repeat: 36 });
      expect(() =>
        reader.visit(() => {
          throw new Error('enough');
        }),
      ).toThrow('enough');
      kernel.progTestRun({ progFd, dataIn: DATA, repeat: 36 });
      expect(reader.consume()).toHaveLength(36);
    });

    it('loses nothing where several ask at once', async () => {
      const { kernel, ring, counter } = setUp(4096, jit);
      const reader = new RingBufferReader(kernel, ring);
      const progFd = writer(kernel, ring, counter, 8);
      const records = reader.records();
      const asked = Array.from({ length: 8 }, () => records.next());
      kernel.progTestRun({ progFd, dataIn: DATA, repeat: 8 });
      const answers = await Promise.all(asked);
      expect(answers.map(({ value }) => number(value)).sort((a, b) => a - b)).toEqual(
        Array.from({ length: 8 }, (_, i) => i + 1),
      );
    });

    it('leaves out what was discarded', () => {
      const { kernel, ring } = setUp(4096, jit);
      const reserve = (end: 'submit' | 'discard', value: number) =>
        new ProgramBuilder()
          .ldMapFd(R1, ring)
          .mov64(R2, 8)
          .mov64(R3, 0)
          .callHelper('bpf_ringbuf_reserve')
          .jmp('jeq', R0, 0, 'out')
          .st('dw', R0, 0, value)
          .add(move(R1, R0))
          .mov64(R2, 0)
          .callHelper(`bpf_ringbuf_${end}`)
          .label('out')
          .mov64(R0, 2)
          .exit();
      const run = (end: 'submit' | 'discard', value: number) =>
        kernel.progTestRun({ progFd: load(kernel, reserve(end, value)), dataIn: DATA });
      const reader = new RingBufferReader(kernel, ring);
      run('submit', 1);
      run('discard', 2);
      run('discard', 3);
      run('submit', 4);
      expect(reader.consume().map(number)).toEqual([1, 4]);
      run('discard', 5);
      expect(reader.consume()).toEqual([]);
      run('submit', 6);
      expect(reader.consume().map(number)).toEqual([6]);
    });

    it('wakes whoever waits', async () => {
      const { kernel, ring, counter } = setUp(4096, jit);
      const reader = new RingBufferReader(kernel, ring);
      const progFd = writer(kernel, ring, counter, 8);
      const seen: number[] = [];
      const all = (async () => {
        for await (const record of reader) seen.push(number(record));
      })();
      for (let i = 0; i < 3; i++) {
        await new Promise((resolve) => setTimeout(resolve, 2));
        kernel.progTestRun({ progFd, dataIn: DATA });
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
      expect(seen).toEqual([1, 2, 3]);
      reader.close();
      await all;
    });
  });

describe('a ring buffer reader', () => {
  it('ends with the signal', async () => {
    const { kernel, ring, counter } = setUp();
    const stop = new AbortController();
    const progFd = writer(kernel, ring, counter, 8);
    kernel.progTestRun({ progFd, dataIn: DATA });
    const seen: number[] = [];
    setTimeout(() => stop.abort(), 5);
    for await (const record of new RingBufferReader(kernel, ring).records({ signal: stop.signal }))
      seen.push(number(record));
    expect(seen).toEqual([1]);
    for await (const _ of new RingBufferReader(kernel, ring).records({ signal: stop.signal }))
      expect.unreachable();
  });

  it('needs a ring', () => {
    const { kernel, counter } = setUp();
    expect(errno(() => new RingBufferReader(kernel, counter))).toBe('EINVAL');
    expect(errno(() => new RingBufferReader(kernel, 9999))).toBe('EBADF');
  });
});

/** A ring whose contents are what somebody made them. */
function ringOf(kind: 'ringbuf' | 'perf', bytes: Uint8Array, produced: bigint, consumed = 0n) {
  let position = consumed;
  const mapping: RingMapping = {
    kind,
    size: bytes.length,
    producerPosition: () => produced,
    consumerPosition: () => position,
    setConsumerPosition: (to) => {
      position = to;
    },
    data: () => bytes,
    header: (offset) => new DataView(bytes.buffer).getUint32(offset, true),
    wait: () => Promise.resolve(false),
    unmap: () => {},
  };
  const kernel: Partial<Kernel> = {
    mapRing: () => mapping,
    perfEventOpen: () => 5,
    mapUpdateElem: () => {},
    close: () => {},
    objGetInfoByFd: () => ({ kind: 'map', maxEntries: 1 }) as never,
    features: () => ({ possibleCpus: 1 }) as never,
  };
  return { kernel: kernel as Kernel, position: () => position };
}

describe('damaged rings', () => {
  it('of records', () => {
    const bytes = new Uint8Array(4096);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, 8, true);
    view.setUint32(16, 0x3fff_ffff, true);
    const first = ringOf('ringbuf', bytes, 4096n);
    const reader = new RingBufferReader(first.kernel, 3);
    // The good record first, then the damage.
    expect(reader.consume()).toHaveLength(1);
    expect(first.position()).toBe(16n);
    expect(errno(() => reader.consume())).toBe('EBADMSG');
    for (const produced of [4097n, 1n << 62n, -8n + (1n << 64n)])
      expect(errno(() => new RingBufferReader(ringOf('ringbuf', bytes, produced).kernel, 3).consume())).toBe(
        'EBADMSG',
      );
    // A producer behind the consumer, and a record that is still being written.
    expect(new RingBufferReader(ringOf('ringbuf', bytes, 8n, 16n).kernel, 3).consume()).toEqual([]);
    view.setUint32(0, 0x8000_0008, true);
    expect(new RingBufferReader(ringOf('ringbuf', bytes, 16n).kernel, 3).consume()).toEqual([]);
  });

  it('of samples', () => {
    const bytes = new Uint8Array(4096);
    const view = new DataView(bytes.buffer);
    const header = (at: number, type: number, size: number) => {
      view.setUint32(at, type, true);
      view.setUint16(at + 6, size, true);
    };
    const consume = (produced: bigint, consumed = 0n) => {
      const reader = new PerfBufferReader(ringOf('perf', bytes, produced, consumed).kernel, 3);
      return errno(() => reader.consume());
    };
    for (const [type, size] of [
      [9, 0],
      [9, 8],
      [9, 12],
      [9, 4000],
      [2, 8],
      [2, 16],
      [77, 4],
    ]) {
      header(0, type, size);
      expect([type, size, consume(64n)]).toEqual([type, size, 'EBADMSG']);
    }
    expect(consume(1n << 60n)).toBe('EBADMSG');
    // Records of other kinds are stepped over; a size that is a lie is cut to the record.
    header(0, 77, 8);
    header(8, 9, 24);
    view.setUint32(16, 0xffff_ffff, true);
    const reader = new PerfBufferReader(ringOf('perf', bytes, 32n).kernel, 3);
    expect(reader.consume().map(({ data }) => data.length)).toEqual([12]);
    expect(consume(8n, 16n)).toBe('ok');
  });
});

describe('perf buffer', () => {
  /** Writes `size` bytes that begin with a count to the ring of the CPU that runs. */
  function perf(size: number, pages: number) {
    const { kernel, counter } = setUp();
    const events = kernel.mapCreate({
      mapType: mapTypeByName('perf_event_array')!.id,
      keySize: 4,
      valueSize: 4,
      maxEntries: 2,
    });
    const reader = new PerfBufferReader(kernel, events, { pages });
    const program = new ProgramBuilder()
      .add(move(R6, R1))
      .ldMapValue(R4, counter)
      .ldx('dw', R1, R4)
      .alu64('add', R1, 1)
      .stx('dw', R4, R1)
      .add(move(R1, R6))
      .ldMapFd(R2, events)
      .ldImm64(R3, 0xffff_ffffn)
      .mov64(R5, size)
      .callHelper('bpf_perf_event_output')
      .mov64(R0, 0)
      .exit();
    const progFd = kernel.progLoad({
      progType: progTypeByName('raw_tracepoint')!.id,
      insns: encodeProgram(program.build()),
      license: 'GPL',
    });
    expect(R10).toBe(10);
    return { kernel, reader, progFd, events };
  }

  it('delivers samples of each CPU, over the end of the ring', () => {
    const { kernel, reader, progFd } = perf(13, 1);
    let next = 1;
    for (let round = 0; round < 200; round++) {
      for (let i = 0; i < 1 + (round % 50); i++)
        kernel.progTestRun({
          progFd,
          ctxIn: new Uint8Array(8),
          ctxSizeOut: 0,
          flags: 1,
          cpu: round % 2,
        } as never);
      for (const { cpu, data } of reader.consume()) {
        expect([cpu, number(data)]).toEqual([round % 2, next++]);
        // 13 bytes, the size word, and zeros up to a multiple of 8.
        expect(data.length).toBe(20);
      }
    }
    expect(next - 1).toBe(reader.delivered);
    expect(reader.lost).toBe(0n);
    reader.close();
  });

  it('counts what was lost', () => {
    const { kernel, reader, progFd } = perf(200, 1);
    const lost: [number, bigint][] = [];
    const run = (count: number) => {
      for (let i = 0; i < count; i++)
        kernel.progTestRun({ progFd, ctxIn: new Uint8Array(8), ctxSizeOut: 0 } as never);
    };
    run(30);
    // 216 bytes a sample: 18 fit into a page. The loss is told with the next sample that fits.
    expect(reader.consume()).toHaveLength(18);
    expect(reader.lost).toBe(0n);
    run(1);
    expect(reader.consume().map(({ data }) => number(data))).toEqual([31]);
    expect(reader.lost).toBe(12n);
    expect(lost).toEqual([]);
    run(2);
    expect(reader.consume()).toHaveLength(2);
    expect(reader.lost).toBe(12n);
  });

  it('ends at once', async () => {
    const { kernel, reader, progFd, events } = perf(8, 1);
    const seen: number[] = [];
    const all = (async () => {
      for await (const { data } of reader) seen.push(number(data));
    })();
    await new Promise((resolve) => setTimeout(resolve, 2));
    kernel.progTestRun({ progFd, ctxIn: new Uint8Array(8), ctxSizeOut: 0 } as never);
    await new Promise((resolve) => setTimeout(resolve, 2));
    reader.close();
    await all;
    expect(seen).toEqual([1]);
    // Its rings are out of the map again: nobody reads, nothing is written.
    expect(kernel.progTestRun({ progFd, ctxIn: new Uint8Array(8), ctxSizeOut: 0 } as never).retval).toBe(0);
    expect(errno(() => new PerfBufferReader(kernel, events, { pages: 3 }))).toBe('EINVAL');
  });
});
