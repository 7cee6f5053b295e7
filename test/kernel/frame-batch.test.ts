/** Frames in bulk do what frames one by one do: results, maps, time; and what cannot be done in bulk is not. */
import { describe, expect, it } from 'vitest';
import { encodeProgram, ProgramBuilder, R0, R1, R2, R3, R6, reg } from '../../src/asm/index.ts';
import type { Fd } from '../../src/contracts/kernel.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';

const XDP_ATTACH = 37;
const HEADER = 16;
const START = 1_000_000_000n;
/** xdp_md: data, data_end */
const DATA = 0;
const DATA_END = 4;

interface Frame {
  readonly seconds: number;
  readonly ticks: number;
  readonly data: Uint8Array;
}

const FRAMES: readonly Frame[] = Array.from({ length: 500 }, (_, i) => ({
  seconds: 100 + (i >> 7),
  ticks: i * 7,
  data: Uint8Array.from({ length: 14 + ((i * 37) % 200) }, (_, at) => (i * 31 + at) & 0xff),
}));

function records(frames: readonly Frame[]): Uint8Array {
  const bytes = new Uint8Array(frames.reduce((sum, { data }) => sum + HEADER + data.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { seconds, ticks, data } of frames) {
    view.setUint32(at, seconds, true);
    view.setUint32(at + 4, ticks, true);
    view.setUint32(at + 8, data.length, true);
    view.setUint32(at + 12, data.length, true);
    bytes.set(data, at + HEADER);
    at += HEADER + data.length;
  }
  return bytes;
}

/** Adds the time to the map's value and the length to the one behind it; returns the first byte of the frame modulo `results`. */
function program(map: Fd, results: number): ProgramBuilder {
  return new ProgramBuilder()
    .mov64(R6, reg(R1))
    .ldx('w', 7 as typeof R0, R6, DATA)
    .ldx('w', 8 as typeof R0, R6, DATA_END)
    .callHelper('bpf_ktime_get_ns')
    .ldMapValue(R1, map)
    .ldx('dw', R2, R1, 0)
    .alu64('mul', R2, 31)
    .alu64('add', R2, reg(R0))
    .stx('dw', R1, R2, 0)
    .mov64(R2, reg(8 as typeof R0))
    .alu64('sub', R2, reg(7 as typeof R0))
    .ldx('dw', R3, R1, 8)
    .alu64('add', R3, reg(R2))
    .stx('dw', R1, R3, 8)
    .mov64(R0, 0)
    .mov64(R2, reg(7 as typeof R0))
    .alu64('add', R2, 1)
    .jmp('jgt', R2, reg(8 as typeof R0), 'out')
    .ldx('b', R0, 7 as typeof R0, 0)
    .alu64('mod', R0, results)
    .label('out')
    .exit();
}

function setUp(options: { budget?: number; jit?: 0 | 1 } = {}) {
  const kernel = new EmbeddedKernel({
    onOops: () => {},
    ...(options.budget === undefined ? {} : { budget: options.budget }),
  });
  kernel.simulator.setSysctl('net.core.bpf_jit_enable', options.jit ?? 1);
  const map = kernel.mapCreate({
    mapType: mapTypeByName('array')!.id,
    keySize: 4,
    valueSize: 16,
    maxEntries: 1,
  });
  const attach = (build: ProgramBuilder) => {
    const progFd = kernel.progLoad({
      progType: progTypeByName('xdp')!.id,
      insns: encodeProgram(build.build()),
      license: 'GPL',
    });
    kernel.linkCreate({ progFd, targetIfindex: 1, attachType: XDP_ATTACH });
  };
  const value = () => kernel.mapLookupElem({ mapFd: map, key: new Uint8Array(4) });
  const open = () =>
    kernel.simulator.receiveFrames({ ifindex: 1, tick: 1000, start: START, longest: 262_144 });
  return { kernel, map, attach, value, open };
}

describe('frames in bulk', () => {
  it.each([3, 5, 250])('are what frames one by one are, with %d results', (results) => {
    const single = setUp();
    single.attach(program(single.map, results));
    const expected = new Map<number, number>();
    const stamp = ({ seconds, ticks }: Frame) => BigInt(seconds) * 1_000_000_000n + BigInt(ticks) * 1000n;
    for (const frame of FRAMES) {
      single.kernel.simulator.setTime(START + stamp(frame) - stamp(FRAMES[0]!), stamp(frame));
      const { xdp } = single.kernel.simulator.receive({ ifindex: 1, data: frame.data });
      expected.set(xdp!, (expected.get(xdp!) ?? 0) + 1);
    }

    const bulk = setUp();
    bulk.attach(program(bulk.map, results));
    const batch = bulk.open()!;
    const bytes = records(FRAMES);
    // In pieces that cut records anywhere.
    for (let at = 0, size = 1; at < bytes.length; size = (size * 7) % 5003) {
      const piece = bytes.subarray(at, at + size);
      batch.room().set(piece);
      expect(batch.take(piece.length)).toBe(true);
      at += piece.length;
    }
    expect(batch.frames).toBe(FRAMES.length);
    expect(batch.rest()).toHaveLength(0);
    expect([...batch.actions].sort(([a], [b]) => a - b)).toEqual([...expected].sort(([a], [b]) => a - b));
    batch.close();
    expect(bulk.value()).toEqual(single.value());
  });

  it('are the same read ahead', () => {
    const plain = setUp();
    plain.attach(program(plain.map, 5));
    const bytes = records(FRAMES);
    const one = plain.open()!;
    one.room().set(bytes);
    one.take(bytes.length);

    const s = setUp();
    s.attach(program(s.map, 5));
    const batch = s.open()!;
    const pieces: Uint8Array[] = [];
    for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 7) % 5003)
      pieces.push(bytes.subarray(at, at + size));
    batch.room().set(pieces[0]!);
    batch.ahead().set(pieces[1]!);
    batch.take(pieces[0]!.length);
    pieces.slice(1).forEach((piece, i) => {
      // Filled before what comes in front of it is run.
      batch.ahead().set(pieces[i + 2] ?? []);
      // What takes its turn in between makes the memory larger.
      if (i === 3) s.kernel.mapCreate({ mapType: 2, keySize: 4, valueSize: 4096, maxEntries: 4096 });
      expect(batch.takeAhead(piece.length)).toBe(true);
    });
    expect(batch.frames).toBe(FRAMES.length);
    expect(batch.rest()).toHaveLength(0);
    expect([...batch.actions].sort()).toEqual([...one.actions].sort());
    batch.close();
    expect(s.value()).toEqual(plain.value());
  });

  it('leave more in front of what is read ahead than there is room', () => {
    const s = setUp();
    s.attach(program(s.map, 3));
    const batch = s.kernel.simulator.receiveFrames({
      ifindex: 1,
      tick: 1000,
      start: START,
      longest: 1 << 20,
    })!;
    const data = new Uint8Array(200_000).fill(7);
    const bytes = records([{ ...FRAMES[0]!, data }, FRAMES[1]!]);
    const cut = 150_000;
    batch.room().set(bytes.subarray(0, cut));
    batch.ahead().set(bytes.subarray(cut));
    batch.take(cut);
    expect(batch.frames).toBe(0);
    batch.takeAhead(bytes.length - cut);
    expect(batch.frames).toBe(2);
    expect(batch.rest()).toHaveLength(0);
    expect(() => batch.takeAhead(1)).toThrow('no piece');
    batch.close();
  });

  it('leave what is not complete, or too long', () => {
    const s = setUp();
    s.attach(program(s.map, 3));
    const batch = s.open()!;
    const bytes = records(FRAMES.slice(0, 2));
    batch.room().set(bytes);
    batch.take(bytes.length - 1);
    expect(batch.frames).toBe(1);
    expect(batch.rest()).toHaveLength(HEADER + FRAMES[1]!.data.length - 1);
    batch.close();
    const long = records([FRAMES[0]!]);
    new DataView(long.buffer).setUint32(8, 0xffff_fff0, true);
    const other = s.open()!;
    other.room().set(long);
    other.take(long.length);
    expect(other.frames).toBe(0);
    other.close();
  });

  it('end where the program is stopped', () => {
    const s = setUp({ budget: 100 });
    // Loops as often as the first byte says.
    s.attach(
      new ProgramBuilder()
        .ldx('w', R2, R1, DATA)
        .ldx('w', R3, R1, DATA_END)
        .mov64(R0, 2)
        .mov64(R6, reg(R2))
        .alu64('add', R6, 1)
        .jmp('jgt', R6, reg(R3), 'out')
        .ldx('b', R6, R2, 0)
        .label('again')
        .alu64('sub', R6, 1)
        .jmp('jsgt', R6, 0, 'again')
        .label('out')
        .exit(),
    );
    const batch = s.open()!;
    const frames = [50, 99, 200, 1].map((first) => ({
      ...FRAMES[0]!,
      data: new Uint8Array(20).fill(first),
    }));
    const bytes = records(frames);
    batch.room().set(bytes);
    expect(batch.take(bytes.length)).toBe(false);
    expect([...batch.actions]).toEqual([
      [2, 2],
      [0, 1],
    ]);
    expect(batch.frames).toBe(3);
    expect(s.kernel.simulator.oopses()).toHaveLength(1);
    expect(s.open()).toBeNull();
    batch.close();
  });

  it('are for one program that leaves the edges alone, compiled', () => {
    const moving = setUp();
    moving.attach(new ProgramBuilder().mov64(R2, -4).callHelper('bpf_xdp_adjust_head').mov64(R0, 2).exit());
    expect(moving.open()).toBeNull();
    const interpreted = setUp({ jit: 0 });
    interpreted.attach(program(interpreted.map, 3));
    expect(interpreted.open()).toBeNull();
    expect(setUp().open()).toBeNull();
  });
});
