/**
 * What programs with the rarer instructions do, the same on every kernel and engine: tail calls out of functions, their common limit,
 * legacy packet loads, ordered loads and stores, may_goto.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeProgram } from '../../src/asm/index.ts';
import { BtfBuilder, btfInt } from '../../src/btf/index.ts';
import type { Fd } from '../../src/contracts/kernel.ts';
import {
  load,
  makeMap,
  type OpenSubject,
  ProgramBuilder,
  progType,
  R0,
  R1,
  R2,
  R3,
  reg,
  returns,
  run,
  type Subject,
  u32,
} from './subject.ts';

const R6 = 6 as const;
const R7 = 7 as const;
const R10 = 10 as const;
/** Offsets of legacy loads that count from the network header and from the link layer (linux/filter.h). */
const SKF_NET_OFF = -0x10_0000;
const SKF_LL_OFF = -0x20_0000;
const PACKET = Uint8Array.from({ length: 64 }, (_, i) => 0x10 + i);

export function isaContract(open: OpenSubject): void {
  let subject: Subject;
  beforeEach(() => {
    subject = open();
  });
  afterEach(() => subject.done());

  const result = (b: ProgramBuilder, type = 'socket_filter') =>
    run(subject.kernel, load(subject.kernel, b, type), PACKET);

  /** Whether the kernel is a Linux of before that release. */
  function olderThan(release: string): boolean {
    const { kind, release: own } = subject.kernel.features();
    const [major = 0, minor = 0] = own.split('.').map(Number);
    const [asked = 0, askedMinor = 0] = release.split('.').map(Number);
    return kind === 'host' && (major < asked || (major === asked && minor < askedMinor));
  }

  /** A program with functions that begin at labels; tail calls in functions need their types. */
  function loadWithFunctions(b: ProgramBuilder, starts: readonly number[]): Fd {
    const { kernel } = subject;
    const types = new BtfBuilder();
    const int = types.add(btfInt('int', 4, { signed: true }));
    const pointer = types.add({ kind: 'ptr', type: 0 });
    const params = [{ name: 'ctx', type: pointer }];
    const proto = types.add({ kind: 'func_proto', returnType: int, params });
    const records = starts.flatMap((start, i) => {
      const [name, linkage] = i === 0 ? (['main', 'global'] as const) : ([`f${i}`, 'static'] as const);
      return [start, types.add({ kind: 'func', name, type: proto, linkage })];
    });
    const progBtfFd = kernel.btfLoad({ btf: types.build().bytes });
    const fd = kernel.progLoad({
      progType: progType('socket_filter'),
      insns: encodeProgram(b.build()),
      license: 'GPL',
      progBtfFd,
      funcInfo: new Uint8Array(Uint32Array.from(records).buffer),
      funcInfoRecSize: 8,
    });
    kernel.close(progBtfFd);
    return fd;
  }

  /** main: `add` + what its function gives, which jumps to `slot` and gives 7 where there is nothing. */
  function jumpsInFunction(array: Fd, slot: number, add: number): Fd {
    const b = new ProgramBuilder().callLocal('jumps').alu64('add', R0, add).exit();
    const start = b.length;
    b.label('jumps').ldMapFd(R2, array).mov64(R3, slot).callHelper('bpf_tail_call').mov64(R0, 7).exit();
    return loadWithFunctions(b, [0, start]);
  }

  describe('tail calls', () => {
    const put = (array: Fd, slot: number, program: Fd) =>
      subject.kernel.mapUpdateElem({ mapFd: array, key: u32(slot), value: u32(program) });

    it('out of a function end that function only', () => {
      const array = makeMap(subject.kernel, 'prog_array');
      const program = jumpsInFunction(array, 0, 100);
      expect(run(subject.kernel, program)).toBe(107);
      put(array, 0, load(subject.kernel, returns(5)));
      expect(run(subject.kernel, program)).toBe(105);
    });

    it('out of functions of programs that were called so', () => {
      const array = makeMap(subject.kernel, 'prog_array');
      const outer = jumpsInFunction(array, 0, 100);
      put(array, 0, jumpsInFunction(array, 1, 10));
      expect(run(subject.kernel, outer)).toBe(117);
      put(array, 1, load(subject.kernel, returns(3)));
      expect(run(subject.kernel, outer)).toBe(113);
    });

    it('are limited to 33 in a run, whichever functions make them', (context) => {
      const { kernel } = subject;
      const why = 'every function counts for itself: 2 to the power of 33 jumps';
      if (olderThan('6.12')) context.skip(`before 6.12 ${why}`);
      const array = makeMap(kernel, 'prog_array');
      const count = makeMap(kernel, 'array', { maxEntries: 1 });
      // Counts the run, then jumps to itself out of two functions.
      const b = new ProgramBuilder()
        .mov64(R6, reg(R1))
        .st('w', R10, -4, 0)
        .mov64(R2, reg(R10))
        .alu64('add', R2, -4)
        .ldMapFd(R1, count)
        .callHelper('bpf_map_lookup_elem')
        .jmp('jeq', R0, 0, 'jump')
        .mov64(R1, 1)
        .atomic('add', 'w', R0, R1)
        .label('jump')
        .mov64(R1, reg(R6))
        .callLocal('jumps')
        .mov64(R1, reg(R6))
        .callLocal('jumps')
        .mov64(R0, 0)
        .exit();
      const start = b.length;
      b.label('jumps').ldMapFd(R2, array).mov64(R3, 0).callHelper('bpf_tail_call').mov64(R0, 7).exit();
      const program = loadWithFunctions(b, [0, start]);
      put(array, 0, program);
      for (const runs of [34, 68]) {
        run(kernel, program);
        expect(new Uint32Array(kernel.mapLookupElem({ mapFd: count, key: u32(0) })!.slice().buffer)[0]).toBe(
          runs,
        );
      }
    });

    it('that find nothing are not counted', (context) => {
      if (olderThan('6.12')) context.skip('before 6.12 they are');
      const array = makeMap(subject.kernel, 'prog_array');
      // 50 tries of an empty slot, then one that is taken.
      const b = new ProgramBuilder().mov64(R6, reg(R1)).mov64(R7, 0).label('again');
      b.mov64(R1, reg(R6)).ldMapFd(R2, array).mov64(R3, 1).callHelper('bpf_tail_call');
      b.alu64('add', R7, 1).jmp('jlt', R7, 50, 'again');
      b.mov64(R1, reg(R6)).ldMapFd(R2, array).mov64(R3, 0).callHelper('bpf_tail_call').mov64(R0, 9).exit();
      put(array, 0, load(subject.kernel, returns(4)));
      expect(result(b)).toBe(4);
    });
  });

  describe('legacy packet loads', () => {
    // A socket filter sees the packet behind its Ethernet header, and a test run gives it one.
    const loads = (b: (code: ProgramBuilder) => unknown): number => {
      const code = new ProgramBuilder().mov64(R6, reg(R1)).mov64(R7, 3);
      b(code);
      return result(code.exit());
    };

    it('give the packet in network order', () => {
      const word = loads((b) => b.ldAbs('w', 4));
      const [half, byte] = [loads((b) => b.ldAbs('h', 4)), loads((b) => b.ldAbs('b', 4))];
      expect([word >>> 16, word >>> 24]).toEqual([half, byte]);
      expect(byte).toBe(0x10 + 4 + (byte - 0x14));
      expect([14, 0].map((header) => 0x14 + header)).toContain(byte);
    });

    it('by register and constant', () => {
      expect(loads((b) => b.ldInd('b', R7, 1))).toBe(loads((b) => b.ldAbs('b', 4)));
      expect(loads((b) => b.mov64(R7, -1).ldInd('b', R7, 5))).toBe(loads((b) => b.ldAbs('b', 4)));
    });

    it('from the headers', () => {
      expect(loads((b) => b.ldAbs('b', SKF_LL_OFF + 2))).toBe(0x12);
      expect(loads((b) => b.ldAbs('h', SKF_NET_OFF + 1))).toBe(0x1f20);
    });

    it('end the program with 0 where the packet ends', () => {
      expect(loads((b) => b.ldAbs('w', 1000).mov64(R0, 5))).toBe(0);
      expect(loads((b) => b.ldAbs('b', -1).mov64(R0, 5))).toBe(0);
      expect(loads((b) => b.mov64(R7, 1000).ldInd('h', R7, 0).mov64(R0, 5))).toBe(0);
      expect(loads((b) => b.ldAbs('w', 0).mov64(R0, 5))).toBe(5);
    });
  });

  it('loads with acquire and stores with release have their width', (context) => {
    if (olderThan('6.15')) context.skip('there are none before 6.15');
    for (const [size, mask] of [
      ['b', 0xffn],
      ['h', 0xffffn],
      ['w', 0xffff_ffffn],
      ['dw', 0xffff_ffff_ffff_ffffn],
    ] as const) {
      const value = 0x8123_4567_89ab_cdefn;
      const b = new ProgramBuilder()
        .ldImm64(R2, value)
        .st('dw', R10, -8, 0)
        .mov64(R1, reg(R10))
        .storeRelease(size, R1, R2, -8)
        .loadAcquire(size, R0, R1, -8)
        .ldx('dw', R3, R10, -8)
        // What was stored is what is loaded, in all 64 bits.
        .jmp('jeq', R0, reg(R3), 'same')
        .mov64(R0, 1)
        .exit()
        .label('same')
        .ldImm64(R1, value & mask)
        .alu64('sub', R0, reg(R1))
        .alu64('add', R0, 42)
        .exit();
      expect(result(b), size).toBe(42);
    }
  });

  describe('may_goto', () => {
    it('leaves loops that end by themselves alone', (context) => {
      if (olderThan('6.9')) context.skip('there is none before 6.9');
      const b = new ProgramBuilder().mov64(R0, 0).label('again').alu64('add', R0, 1);
      b.jmp('jge', R0, 100, 'out').mayGoto('out').goto('again').label('out').exit();
      expect(result(b)).toBe(100);
    });

    it('ends a loop that would not', (context) => {
      if (olderThan('6.9')) context.skip('there is none before 6.9');
      const b = new ProgramBuilder().mov64(R0, 0).label('again').mayGoto('out').goto('again');
      expect(result(b.label('out').mov64(R0, 6).exit())).toBe(6);
    });
  });
}
