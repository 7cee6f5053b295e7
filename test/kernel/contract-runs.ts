/** PROG_TEST_RUN of the `Kernel` contract: what goes in, what comes out, and what is refused. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BPF_ATTACH_TYPE, BPF_MACROS } from '../../src/uapi/index.ts';
import {
  code,
  expectCode,
  load,
  type OpenSubject,
  ProgramBuilder,
  R0,
  R1,
  R2,
  R3,
  reg,
  returns,
  type Subject,
  type SubjectKernel,
} from './subject.ts';

const bytes = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => i & 0xff);
/** An Ethernet frame with that type, the rest counting up. */
function frame(size: number, type = 0x0800): Uint8Array {
  const data = bytes(size);
  data[12] = type >> 8;
  data[13] = type & 0xff;
  return data;
}
function words(count: number, set: Readonly<Record<number, number>>): Uint8Array {
  const data = new Uint32Array(count);
  for (const [index, value] of Object.entries(set)) data[Number(index)] = value;
  return new Uint8Array(data.buffer);
}
const word = (data: Uint8Array, index: number): number =>
  new DataView(data.buffer, data.byteOffset).getUint32(4 * index, true);

/** Word indexes in xdp_md and __sk_buff. */
const XDP_MD = {
  data: 0,
  data_end: 1,
  data_meta: 2,
  ingress_ifindex: 3,
  rx_queue_index: 4,
  egress_ifindex: 5,
};
const SKB = {
  len: 0,
  pkt_type: 1,
  mark: 2,
  queue_mapping: 3,
  protocol: 4,
  vlan_present: 5,
  vlan_tci: 6,
  vlan_proto: 7,
  priority: 8,
  ingress_ifindex: 9,
  ifindex: 10,
  tc_index: 11,
  cb0: 12,
  hash: 17,
  tc_classid: 18,
  data: 19,
  data_end: 20,
  napi_id: 21,
  family: 22,
  data_meta: 35,
  tstamp: 38,
  wire_len: 40,
  gso_segs: 41,
  gso_size: 44,
  hwtstamp: 46,
} as const;
const SKB_WORDS = 48;
const SKB_TYPES = ['socket_filter', 'sched_cls', 'cgroup_skb'] as const;
const PASS: Readonly<Record<string, number>> = { socket_filter: 1, sched_cls: 0, cgroup_skb: 1 };

export function runContract(open: OpenSubject): void {
  let subject: Subject;
  let kernel: SubjectKernel;
  beforeEach(() => {
    subject = open();
    kernel = subject.kernel;
  });
  afterEach(() => subject.done());

  /** `return *(u32 *)(ctx + 4 * index)` */
  const reads = (index: number) => new ProgramBuilder().ldx('w', R0, R1, 4 * index).exit();
  /** The value that a program of a type finds in a field. */
  const field = (type: string, index: number, attr: { dataIn: Uint8Array; ctxIn?: Uint8Array }): number => {
    const map = kernel.mapCreate({ mapType: 2, keySize: 4, valueSize: 4, maxEntries: 1 });
    const program = new ProgramBuilder()
      .ldx('w', R2, R1, 4 * index)
      .ldMapValue(R1, map)
      .stx('w', R1, R2)
      .mov64(R0, PASS[type] ?? 2)
      .exit();
    const progFd = load(kernel, program, type);
    kernel.progTestRun({ progFd, ...attr });
    const value = word(kernel.mapLookupElem({ mapFd: map, key: words(1, {}) })!, 0);
    kernel.close(progFd);
    kernel.close(map);
    return value;
  };

  describe('PROG_TEST_RUN of XDP', () => {
    it('gives the return value and the frame', () => {
      const progFd = load(kernel, returns(2), 'xdp');
      const result = kernel.progTestRun({ progFd, dataIn: frame(64), repeat: 10 });
      expect(result.retval).toBe(2);
      expect(result.dataOut).toEqual(frame(64));
      expect(result.ctxOut).toHaveLength(0);
      expect(kernel.progTestRun({ progFd, dataIn: frame(64), repeat: 0 }).retval).toBe(2);
    });

    it('checks the size of the frame', () => {
      const progFd = load(kernel, returns(2), 'xdp');
      for (const size of [14, 15, 1500, 3520])
        expect(kernel.progTestRun({ progFd, dataIn: bytes(size) }).dataOut).toHaveLength(size);
      for (const size of [0, 1, 13])
        expectCode('EINVAL', () => kernel.progTestRun({ progFd, dataIn: bytes(size) }));
      expectCode('EINVAL', () => kernel.progTestRun({ progFd }));
      // What does not fit into a page with headroom and tail lies in fragments behind it.
      expect(kernel.progTestRun({ progFd, dataIn: bytes(9000) }).dataOut).toEqual(bytes(9000));
      expectCode('ENOMEM', () => kernel.progTestRun({ progFd, dataIn: bytes(3520 + 17 * 4096 + 1) }));
      expectCode('ok', () => kernel.progTestRun({ progFd, dataIn: bytes(3520 + 17 * 4096) }));
    });

    it('shows the edges of the frame', () => {
      const length = new ProgramBuilder()
        .ldx('w', R0, R1, 4)
        .ldx('w', R2, R1, 0)
        .alu64('sub', R0, reg(R2))
        .exit();
      // data_end - data
      expect(kernel.progTestRun({ progFd: load(kernel, length, 'xdp'), dataIn: frame(99) }).retval).toBe(99);
      const meta = new ProgramBuilder()
        .ldx('w', R0, R1, 0)
        .ldx('w', R2, R1, 8)
        .alu64('sub', R0, reg(R2))
        .exit();
      const progFd = load(kernel, meta, 'xdp');
      expect(kernel.progTestRun({ progFd, dataIn: frame(99) }).retval).toBe(0);
      const linear = load(kernel, length, 'xdp');
      expect(kernel.progTestRun({ progFd: linear, dataIn: frame(9000) }).retval).toBe(3520);
      // data_end says where the fragments begin.
      const parted = { dataIn: frame(99), ctxIn: words(6, { 1: 70 }) };
      expect(kernel.progTestRun({ progFd: linear, ...parted }).retval).toBe(70);
      expect(kernel.progTestRun({ progFd: linear, ...parted }).dataOut).toEqual(frame(99));
      expect(kernel.progTestRun({ progFd: linear, ...parted }).ctxOut).toEqual(words(6, { 1: 70 }));
      const ctxIn = words(6, { 0: 8, 1: 99 });
      expect(kernel.progTestRun({ progFd, dataIn: frame(99), ctxIn }).retval).toBe(8);
    });

    it('takes and gives back a context', () => {
      const progFd = load(kernel, returns(2), 'xdp');
      const run = (ctxIn: Uint8Array, size = 64) =>
        kernel.progTestRun({ progFd, dataIn: frame(size), ctxIn });
      expect(run(words(6, { [XDP_MD.data_end]: 64 })).ctxOut).toEqual(words(6, { [XDP_MD.data_end]: 64 }));
      const meta = words(6, { [XDP_MD.data]: 4, [XDP_MD.data_end]: 64 });
      expect(run(meta).ctxOut).toEqual(meta);
      expect(run(meta).dataOut).toEqual(frame(64));
      for (const bad of [
        { [XDP_MD.data_end]: 65 },
        { [XDP_MD.data]: 60, [XDP_MD.data_end]: 56 },
        { [XDP_MD.data]: 5, [XDP_MD.data_end]: 64 },
        { [XDP_MD.data]: 220, [XDP_MD.data_end]: 300 },
        { [XDP_MD.data_meta]: 4, [XDP_MD.data_end]: 64 },
        { [XDP_MD.data_end]: 64, [XDP_MD.egress_ifindex]: 1 },
        { [XDP_MD.data_end]: 64, [XDP_MD.rx_queue_index]: 1 },
        { [XDP_MD.data]: 52, [XDP_MD.data_end]: 64 },
      ])
        expect([bad, code(() => run(words(6, bad)))]).toEqual([bad, 'EINVAL']);
      expectCode('ENODEV', () => run(words(6, { [XDP_MD.data_end]: 64, [XDP_MD.ingress_ifindex]: 999 })));
      // Bytes behind the struct that are not 0 are fields of a newer kernel.
      expectCode('E2BIG', () => run(words(8, { [XDP_MD.data_end]: 64, 7: 1 })));
      expect(run(words(8, { [XDP_MD.data_end]: 64 })).ctxOut).toHaveLength(24);
    });

    it('shows what the program did to the frame', () => {
      const grow = new ProgramBuilder().mov64(R2, -8).callHelper('bpf_xdp_adjust_head').mov64(R0, 2).exit();
      const grown = kernel.progTestRun({
        progFd: load(kernel, grow, 'xdp'),
        dataIn: frame(64),
        dataSizeOut: 128,
      });
      expect(grown.dataOut).toHaveLength(72);
      expect(grown.dataOut.subarray(8)).toEqual(frame(64));
      const cut = new ProgramBuilder().mov64(R2, -40).callHelper('bpf_xdp_adjust_tail').mov64(R0, 2).exit();
      expect(kernel.progTestRun({ progFd: load(kernel, cut, 'xdp'), dataIn: frame(64) }).dataOut).toEqual(
        frame(64).subarray(0, 24),
      );
      const meta = new ProgramBuilder().mov64(R2, -4).callHelper('bpf_xdp_adjust_meta').mov64(R0, 2).exit();
      const ctxIn = words(6, { [XDP_MD.data_end]: 64 });
      const withMeta = kernel.progTestRun({ progFd: load(kernel, meta, 'xdp'), dataIn: frame(64), ctxIn });
      expect(withMeta.ctxOut).toEqual(words(6, { [XDP_MD.data]: 4, [XDP_MD.data_end]: 68 }));
      expect(withMeta.dataOut).toHaveLength(68);
    });

    it('says when there is no room for the result', () => {
      const progFd = load(kernel, returns(2), 'xdp');
      expectCode('ENOSPC', () => kernel.progTestRun({ progFd, dataIn: frame(64), dataSizeOut: 20 }));
      const ctxIn = words(6, { [XDP_MD.data_end]: 64 });
      expectCode('ENOSPC', () => kernel.progTestRun({ progFd, dataIn: frame(64), ctxIn, ctxSizeOut: 8 }));
      expect(kernel.progTestRun({ progFd, dataIn: frame(64), dataSizeOut: 64 }).dataOut).toHaveLength(64);
    });

    it('refuses flags, processors and batches', () => {
      const progFd = load(kernel, returns(2), 'xdp');
      for (const attr of [{ flags: 1 << 10 }, { batchSize: 4 }])
        expect([attr, code(() => kernel.progTestRun({ progFd, dataIn: frame(64), ...attr }))]).toEqual([
          attr,
          'EINVAL',
        ]);
      expectCode('EINVAL', () => {
        const map = kernel.mapCreate({ mapType: 2, keySize: 4, valueSize: 4, maxEntries: 1 });
        kernel.progTestRun({ progFd: map, dataIn: frame(64) });
      });
      expectCode('EBADF', () => kernel.progTestRun({ progFd: 9999, dataIn: frame(64) }));
    });

    it('refuses programs that run inside of maps', () => {
      for (const [expectedAttachType, expected] of [
        [BPF_ATTACH_TYPE.BPF_XDP, 'ok'],
        [BPF_ATTACH_TYPE.BPF_XDP_DEVMAP, 'EINVAL'],
        [BPF_ATTACH_TYPE.BPF_XDP_CPUMAP, 'EINVAL'],
      ] as const) {
        const progFd = load(kernel, returns(2), 'xdp', { expectedAttachType });
        expectCode(expected, () => kernel.progTestRun({ progFd, dataIn: frame(64) }));
      }
    });
  });

  describe('PROG_TEST_RUN of socket buffers', () => {
    it('takes packets with an Ethernet header', () => {
      for (const type of SKB_TYPES) {
        const progFd = load(kernel, returns(PASS[type]), type);
        for (const size of [0, 1, 13])
          expectCode('EINVAL', () => kernel.progTestRun({ progFd, dataIn: frame(size) }));
        // IP packets have their header.
        expectCode('EINVAL', () => kernel.progTestRun({ progFd, dataIn: frame(33) }));
        expectCode('EINVAL', () => kernel.progTestRun({ progFd, dataIn: frame(53, 0x86dd) }));
        expectCode('ok', () => kernel.progTestRun({ progFd, dataIn: frame(14, 0x1234) }));
        expectCode('ok', () => kernel.progTestRun({ progFd, dataIn: frame(3712) }));
        expectCode('EINVAL', () => kernel.progTestRun({ progFd, dataIn: frame(3713) }));
        const result = kernel.progTestRun({ progFd, dataIn: frame(64) });
        expect(result.retval).toBe(PASS[type]);
        expect(result.dataOut).toHaveLength(64);
      }
    });

    it('gives the packet back', () => {
      const filter = kernel.progTestRun({ progFd: load(kernel, returns(1)), dataIn: frame(40) });
      const cls = kernel.progTestRun({ progFd: load(kernel, returns(0), 'sched_cls'), dataIn: frame(40) });
      expect(cls.dataOut).toEqual(frame(40));
      // The header that was pulled off before a program without one comes back as zeros.
      expect(filter.dataOut).toEqual(frame(40).fill(0, 0, 14));
    });

    it('sets what the network stack knows', () => {
      const eth = frame(60);
      eth.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
      for (const type of SKB_TYPES) {
        const at = (name: keyof typeof SKB, dataIn = eth) => [type, name, field(type, SKB[name], { dataIn })];
        expect(at('len')).toEqual([type, 'len', type === 'sched_cls' ? 60 : 46]);
        expect(at('protocol')).toEqual([type, 'protocol', 0x0008]);
        expect(at('protocol', frame(60, 0x86dd))).toEqual([type, 'protocol', 0xdd86]);
        expect(at('protocol', frame(60, 0x0100))).toEqual([type, 'protocol', 0x0400]);
        // The loopback device of test runs has no address but zeros, not even for broadcast.
        expect(at('pkt_type')).toEqual([type, 'pkt_type', 2]);
        expect(at('pkt_type', new Uint8Array(60))).toEqual([type, 'pkt_type', 0]);
        for (const name of [
          'mark',
          'vlan_present',
          'vlan_tci',
          'priority',
          'ingress_ifindex',
          'queue_mapping',
          'cb0',
        ] as const)
          if (type !== 'cgroup_skb' || name === 'mark') expect(at(name)).toEqual([type, name, 0]);
      }
      expect(field('sched_cls', SKB.pkt_type, { dataIn: frame(60) })).toBe(3);
      const multicast = frame(60);
      multicast[0] = 1;
      expect(field('sched_cls', SKB.pkt_type, { dataIn: multicast })).toBe(2);
      expect(field('sched_cls', SKB.ifindex, { dataIn: frame(60) })).toBe(1);
      expect(field('sched_cls', SKB.wire_len, { dataIn: frame(60) })).toBe(0);
      expect(field('sched_cls', SKB.wire_len, { dataIn: frame(60), ctxIn: words(SKB_WORDS, {}) })).toBe(60);
    });

    it('takes and gives back fields of a context', () => {
      const given = {
        [SKB.mark]: 7,
        [SKB.priority]: 3,
        [SKB.cb0]: 11,
        [SKB.cb0 + 4]: 15,
        [SKB.tstamp]: 99,
        [SKB.wire_len]: 100,
        [SKB.gso_segs]: 2,
        [SKB.gso_size]: 10,
      };
      for (const type of SKB_TYPES) {
        const progFd = load(kernel, returns(PASS[type]), type);
        const result = kernel.progTestRun({ progFd, dataIn: frame(64), ctxIn: words(SKB_WORDS, given) });
        const out: Record<string, number> = {};
        for (let i = 0; i < SKB_WORDS; i++) if (word(result.ctxOut, i) !== 0) out[i] = word(result.ctxOut, i);
        expect([type, out]).toEqual([type, { ...given, [SKB.ifindex]: 1 }]);
      }
      expect(field('sched_cls', SKB.mark, { dataIn: frame(64), ctxIn: words(SKB_WORDS, given) })).toBe(7);
      expect(field('sched_cls', SKB.cb0 + 4, { dataIn: frame(64), ctxIn: words(SKB_WORDS, given) })).toBe(15);
    });

    it('refuses fields that a caller may not set', () => {
      const progFd = load(kernel, returns(0), 'sched_cls');
      const run = (set: Readonly<Record<number, number>>, count = SKB_WORDS) =>
        code(() => kernel.progTestRun({ progFd, dataIn: frame(64), ctxIn: words(count, set) }));
      for (const name of [
        'len',
        'pkt_type',
        'queue_mapping',
        'protocol',
        'vlan_present',
        'vlan_tci',
        'vlan_proto',
        'tc_index',
        'hash',
        'tc_classid',
        'data',
        'data_end',
        'napi_id',
        'family',
        'data_meta',
      ] as const)
        expect([name, run({ [SKB[name]]: 1 })]).toEqual([name, 'EINVAL']);
      expect(run({ [SKB.wire_len]: 3 })).toBe('EINVAL');
      expect(run({ [SKB.gso_segs]: 0x1_0000 })).toBe('EINVAL');
      expect(run({ [SKB.ifindex]: 999 })).toBe('ENODEV');
      expect(run({ [SKB_WORDS]: 1 }, SKB_WORDS + 1)).toBe('E2BIG');
      expect(run({}, SKB_WORDS + 8)).toBe('ok');
      expect(run({ [SKB.mark]: 3 }, 4)).toBe('ok');
    });

    it('gives what the program left in the context', () => {
      const progFd = load(
        kernel,
        new ProgramBuilder()
          .st('w', R1, 4 * SKB.mark, 77)
          .mov64(R0, 0)
          .exit(),
        'sched_cls',
      );
      const { ctxOut } = kernel.progTestRun({ progFd, dataIn: frame(64), ctxIn: words(SKB_WORDS, {}) });
      expect(word(ctxOut, SKB.mark)).toBe(77);
      expect(ctxOut).toHaveLength(192);
    });

    it('says when there is no room for the result', () => {
      const progFd = load(kernel, returns(0), 'sched_cls');
      expectCode('ENOSPC', () => kernel.progTestRun({ progFd, dataIn: frame(64), dataSizeOut: 20 }));
      const ctxIn = words(SKB_WORDS, {});
      expectCode('ENOSPC', () => kernel.progTestRun({ progFd, dataIn: frame(64), ctxIn, ctxSizeOut: 100 }));
    });

    it('refuses flags, processors and batches', () => {
      const progFd = load(kernel, returns(0), 'sched_cls');
      expectCode('ok', () => kernel.progTestRun({ progFd, dataIn: frame(64), flags: 4 }));
      for (const attr of [{ flags: 1 }, { cpu: 1 }, { batchSize: 4 }])
        expect([attr, code(() => kernel.progTestRun({ progFd, dataIn: frame(64), ...attr }))]).toEqual([
          attr,
          'EINVAL',
        ]);
    });
  });

  describe('PROG_TEST_RUN of raw tracepoints', () => {
    it('passes arguments', () => {
      const program = new ProgramBuilder().ldx('dw', R0, R1, 8).exit();
      const progFd = load(kernel, program, 'raw_tracepoint');
      const ctxIn = words(4, { 0: 1, 2: 0x1234 });
      expect(kernel.progTestRun({ progFd, ctxIn, ctxSizeOut: 0 }).retval).toBe(0x1234);
      expect(kernel.progTestRun({ progFd, ctxIn, ctxSizeOut: 0, flags: 1, cpu: 0 }).retval).toBe(0x1234);
    });

    it('checks what it is given', () => {
      const progFd = load(kernel, new ProgramBuilder().ldx('dw', R0, R1, 8).exit(), 'raw_tracepoint');
      const ctxIn = words(4, {});
      const run = (attr: object) => code(() => kernel.progTestRun({ progFd, ctxIn, ctxSizeOut: 0, ...attr }));
      expect(run({ ctxIn: words(2, {}) })).toBe('EINVAL');
      expect(run({ ctxIn: undefined })).toBe('EINVAL');
      expect(run({ dataIn: bytes(64) })).toBe('EINVAL');
      expect(run({ repeat: 2 })).toBe('EINVAL');
      expect(run({ cpu: 1 })).toBe('EINVAL');
      expect(run({ ctxIn: words(26, {}) })).toBe('EINVAL');
      expect(run({ flags: 1, cpu: 100_000 })).toBe('ENXIO');
      expect(run({ batchSize: 1 })).toBe('EINVAL');
    });
  });

  describe('PROG_TEST_RUN of syscall programs', () => {
    const loaded = (program: ProgramBuilder) =>
      load(kernel, program, 'syscall', { progFlags: BPF_MACROS.BPF_F_SLEEPABLE });

    it('gives what the program made of its context', () => {
      // Constants are stored in a context since 6.6 only.
      const program = new ProgramBuilder().ldx('w', R0, R1, 4).mov64(R2, 77).stx('w', R1, R2, 8).exit();
      const { retval, ctxOut } = kernel.progTestRun({ progFd: loaded(program), ctxIn: words(4, { 1: 5 }) });
      expect(retval).toBe(5);
      expect([...Array(4).keys()].map((i) => word(ctxOut, i))).toEqual([0, 5, 77, 0]);
    });

    it('checks what it is given', () => {
      const progFd = loaded(new ProgramBuilder().ldx('w', R0, R1, 12).exit());
      const run = (attr: object) => code(() => kernel.progTestRun({ progFd, ctxIn: words(4, {}), ...attr }));
      expect(run({})).toBe('ok');
      expect(run({ ctxIn: words(3, {}) })).toBe('EINVAL');
      expect(run({ dataIn: bytes(64) })).toBe('EINVAL');
      expect(run({ repeat: 2 })).toBe('EINVAL');
      expect(run({ flags: 1 })).toBe('EINVAL');
      expect(run({ batchSize: 1 })).toBe('EINVAL');
      expect(run({ ctxIn: bytes(0x1_0000) })).toBe('EINVAL');
      expect(code(() => kernel.progTestRun({ progFd: loaded(returns(3)) }))).toBe('ok');
    });
  });

  it('PROG_TEST_RUN of types without one', () => {
    const progFd = load(kernel, returns(0), 'tracepoint');
    expectCode('ENOTSUPP', () => kernel.progTestRun({ progFd, dataIn: frame(64) }));
    expectCode('ENOTSUPP', () => kernel.progTestRun({ progFd: load(kernel, returns(0), 'kprobe') }));
    expect(reads(0).length + Number(R3)).toBe(5);
  });
}
