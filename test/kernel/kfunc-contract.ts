/** What programs that call kernel functions do, on any kernel. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import { encodeProgram } from '../../src/asm/index.ts';
import { type Btf, BtfBuilder, parseBtf } from '../../src/btf/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import type { Kernel } from '../../src/contracts/kernel.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import type { BpfError } from '../../src/util/index.ts';

const { R0, R1, R2, R3, R4, R6, R7, R8, R9, R10 } = asm;

export type KfuncKernel = Pick<
  Kernel,
  'progLoad' | 'progTestRun' | 'btfLoad' | 'mapCreate' | 'kernelBtf' | 'shutdown'
>;

const types = new Map<number, Btf>();

/** Types of the kernel; there is one BTF of each length. */
function typesOf(kernel: KfuncKernel): Btf {
  const bytes = kernel.kernelBtf()!;
  let btf = types.get(bytes.length);
  if (btf === undefined) {
    btf = parseBtf(bytes);
    types.set(bytes.length, btf);
  }
  return btf;
}

const fp = (dst: asm.Reg, off: number): Insn[] => [asm.mov64Reg(dst, R10), asm.alu64Imm('add', dst, off)];
const CALL_LOCAL = (distance: number): Insn => ({ code: 0x85, dst: 0, src: 1, off: 0, imm: distance });
const jeq0 = (reg: asm.Reg, off: number): Insn => asm.jumpImm(64, 'jeq', reg, 0, off);

export function kfuncContract(open: () => KfuncKernel): void {
  let kernel: KfuncKernel;
  beforeEach(() => {
    kernel = open();
  });
  afterEach(() => kernel.shutdown());
  const call = (name: string): Insn => {
    const id = typesOf(kernel).find(name, 'func');
    if (id === undefined) throw new Error(`no function ${name}`);
    return asm.callKfunc(id);
  };

  interface Options {
    readonly type?: string;
    readonly data?: Uint8Array;
    readonly btfFd?: number;
    /** First instruction and BTF id of each function. */
    readonly funcs?: readonly (readonly [number, number])[];
  }

  function run(insns: readonly Insn[], options: Options = {}): number {
    const { type = 'sched_cls', data = new Uint8Array(64), btfFd, funcs } = options;
    const info = new Uint32Array((funcs ?? []).flat());
    const progFd = kernel.progLoad({
      progType: progTypeByName(type)!.id,
      insns: encodeProgram(insns),
      license: 'GPL',
      ...(btfFd === undefined
        ? {}
        : { progBtfFd: btfFd, funcInfo: new Uint8Array(info.buffer), funcInfoRecSize: 8 }),
    });
    return kernel.progTestRun({ progFd, dataIn: data, repeat: 1 }).retval | 0;
  }

  function refusal(insns: readonly Insn[], options: Options = {}): string {
    try {
      run(insns, options);
      return 'accepted';
    } catch (error) {
      const { code, message } = error as BpfError;
      return `${code}: ${message.split('\n')[0]}`;
    }
  }

  const sum = (): Insn[] => [
    ...fp(R1, -8),
    asm.mov64Imm(R2, 3),
    asm.mov64Imm(R3, 8),
    call('bpf_iter_num_new'),
    asm.mov64Imm(R6, 0),
    ...fp(R1, -8),
    call('bpf_iter_num_next'),
    jeq0(R0, 3),
    asm.ldx('w', R1, R0),
    asm.alu64Reg('add', R6, R1),
    asm.ja(-7),
    ...fp(R1, -8),
    call('bpf_iter_num_destroy'),
    asm.mov64Reg(R0, R6),
    asm.exit(),
  ];

  it('a loop over numbers ends, and is verified once', () => {
    expect(run(sum())).toBe(3 + 4 + 5 + 6 + 7);
  });

  it('an iterator must be destroyed, and not be used before it is made', () => {
    expect(refusal([...sum().slice(0, -5), asm.mov64Imm(R0, 0), asm.exit()])).toMatch(
      /EINVAL: BPF_EXIT instruction in main prog would lead to reference leak/,
    );
    expect(refusal([...fp(R1, -8), call('bpf_iter_num_next'), asm.mov64Imm(R0, 0), asm.exit()])).toMatch(
      /EINVAL: expected an initialized iter_num as arg #0/,
    );
  });

  it('a packet is read through a slice of its dynptr', () => {
    const data = Uint8Array.from({ length: 64 }, (_, i) => i);
    const program = [
      asm.mov64Imm(R2, 0),
      ...fp(R3, -16),
      call('bpf_dynptr_from_xdp'),
      ...fp(R1, -16),
      asm.mov64Imm(R2, 20),
      ...fp(R3, -24),
      asm.st('dw', R10, -24, 0),
      asm.mov64Imm(R4, 4),
      call('bpf_dynptr_slice'),
      jeq0(R0, 2),
      asm.ldx('w', R0, R0),
      asm.exit(),
      asm.mov64Imm(R0, -1),
      asm.exit(),
    ];
    expect(run(program, { type: 'xdp', data })).toBe(0x17161514);
    expect(run(program, { type: 'xdp', data: data.subarray(0, 22) })).toBe(-1);
  });

  it('strings are compared in maps and on the stack', () => {
    const text = [asm.st('dw', R10, -8, 0), asm.st('w', R10, -8, 0x00636261)];
    expect(run([...text, ...fp(R1, -8), call('bpf_strlen'), asm.exit()])).toBe(3);
    expect(run([asm.mov64Imm(R1, 0), call('bpf_strlen'), asm.exit()])).toBe(-34);
  });

  it('sections must be left', () => {
    const end = [asm.mov64Imm(R0, 0), asm.exit()];
    expect(run([call('bpf_rcu_read_lock'), call('bpf_rcu_read_unlock'), ...end])).toBe(0);
    expect(refusal([call('bpf_preempt_disable'), ...end])).toMatch(/bpf_preempt_disable-ed region/);
    expect(refusal([call('bpf_rcu_read_lock'), call('bpf_rcu_read_lock'), ...end])).toMatch(
      /nested rcu read lock/,
    );
    expect(refusal([...fp(R1, -8), call('bpf_local_irq_save'), ...end])).toMatch(
      /bpf_local_irq_save-ed region/,
    );
  });

  it('a thrown code is the result, from however deep', () => {
    expect(run([asm.mov64Imm(R1, 7), call('bpf_throw'), asm.mov64Imm(R0, 1), asm.exit()])).toBe(7);
    const nested = [
      asm.mov64Imm(R6, 5),
      CALL_LOCAL(2),
      asm.mov64Reg(R0, R6),
      asm.exit(),
      // The first function: throws where its caller's packet is longer than nothing.
      CALL_LOCAL(1),
      asm.exit(),
      asm.mov64Imm(R1, 9),
      call('bpf_throw'),
      asm.mov64Imm(R0, 0),
      asm.exit(),
    ];
    expect(run(nested)).toBe(9);
  });

  describe('objects of the program', () => {
    let btfFd: number;
    let ids: { key: number; element: number; value: number; main: number; less: number };

    beforeEach(() => {
      const b = new BtfBuilder();
      const int = (name: string, size: number) =>
        b.add({
          kind: 'int',
          name,
          size,
          signed: size === 4,
          char: false,
          bool: false,
          bitOffset: 0,
          bits: size * 8,
        });
      const s32 = int('int', 4);
      const u64 = int('u64', 8);
      const opaque = (name: string, words: number) => {
        const type = b.add({ kind: 'array', type: u64, indexType: s32, count: words });
        const members = [{ name: '__opaque', type, bitOffset: 0, bitSize: 0 }];
        return b.add({ kind: 'struct', name, size: words * 8, members });
      };
      const lock = b.add({
        kind: 'struct',
        name: 'bpf_spin_lock',
        size: 4,
        members: [{ name: 'val', type: s32, bitOffset: 0, bitSize: 0 }],
      });
      const node = opaque('bpf_list_node', 3);
      const rbNode = opaque('bpf_rb_node', 4);
      const refcount = b.add({
        kind: 'struct',
        name: 'bpf_refcount',
        size: 4,
        members: [{ name: '__opaque', type: s32, bitOffset: 0, bitSize: 0 }],
      });
      const member = (name: string, type: number, offset: number) => ({
        name,
        type,
        bitOffset: offset * 8,
        bitSize: 0,
      });
      const element = b.add({
        kind: 'struct',
        name: 'element',
        size: 72,
        members: [
          member('key', u64, 0),
          member('node', node, 8),
          member('tree', rbNode, 32),
          member('count', refcount, 64),
        ],
      });
      const head = opaque('bpf_list_head', 2);
      const root = opaque('bpf_rb_root', 2);
      const value = b.add({
        kind: 'struct',
        name: 'value',
        size: 40,
        members: [member('lock', lock, 0), member('head', head, 8), member('root', root, 24)],
      });
      b.add({
        kind: 'decl_tag',
        name: 'contains:element:node',
        type: value,
        componentIndex: 1,
        attribute: false,
      });
      b.add({
        kind: 'decl_tag',
        name: 'contains:element:tree',
        type: value,
        componentIndex: 2,
        attribute: false,
      });
      const func = (name: string, params: number, linkage: 'global' | 'static') => {
        const proto = b.add({
          kind: 'func_proto',
          returnType: s32,
          params: Array.from({ length: params }, (_, i) => ({ name: `a${i}`, type: u64 })),
        });
        return b.add({ kind: 'func', name, type: proto, linkage });
      };
      ids = { key: s32, element, value, main: func('main', 1, 'global'), less: func('less', 2, 'static') };
      btfFd = kernel.btfLoad({ btf: b.build().bytes });
    });

    const newElement = (key: number): Insn[] => [
      ...[asm.mov64Imm(R1, ids.element), asm.mov64Imm(R2, 0)],
      call('bpf_obj_new_impl'),
      asm.jumpImm(64, 'jne', R0, 0, 2),
      asm.mov64Imm(R0, -12),
      asm.exit(),
      asm.st('dw', R0, 0, key),
    ];

    function mapValue(): { fd: number; load: Insn[] } {
      const fd = kernel.mapCreate({
        mapType: mapTypeByName('array')!.id,
        keySize: 4,
        valueSize: 40,
        maxEntries: 1,
        btfFd,
        btfKeyTypeId: ids.key,
        btfValueTypeId: ids.value,
      });
      return { fd, load: asm.ldMapValue(R6, fd, 0) };
    }

    const locked = (...insns: Insn[]): Insn[] => [
      asm.mov64Reg(R1, R6),
      asm.callHelper(93),
      ...insns,
      asm.mov64Reg(R1, R6),
      asm.callHelper(94),
    ];

    const options = () => ({ btfFd, funcs: [[0, ids.main]] as const });

    it('an object is given back, or the program is refused', () => {
      const drop = [asm.mov64Reg(R1, R0), asm.mov64Imm(R2, 0), call('bpf_obj_drop_impl')];
      const end = [asm.mov64Imm(R0, 0), asm.exit()];
      expect(run([...newElement(1), ...drop, ...end], options())).toBe(0);
      expect(refusal([...newElement(1), ...end], options())).toMatch(/reference leak/);
    });

    const push = [
      asm.mov64Reg(R1, R6),
      asm.alu64Imm('add', R1, 8),
      asm.mov64Reg(R2, R7),
      asm.alu64Imm('add', R2, 8),
      asm.mov64Imm(R3, 0),
      asm.mov64Imm(R4, 0),
    ];

    it('a list keeps its order, and what it owns lives on in the map', () => {
      const { load } = mapValue();
      const add = (key: number) => [
        ...newElement(key),
        asm.mov64Reg(R7, R0),
        ...locked(...push, call('bpf_list_push_back_impl')),
      ];
      const pop = [
        ...locked(
          asm.mov64Reg(R1, R6),
          asm.alu64Imm('add', R1, 8),
          call('bpf_list_pop_front'),
          asm.mov64Reg(R7, R0),
        ),
        asm.jumpImm(64, 'jne', R7, 0, 2),
        asm.mov64Imm(R0, -1),
        asm.exit(),
        asm.alu64Imm('sub', R7, 8),
        asm.ldx('dw', R8, R7),
        asm.mov64Reg(R1, R7),
        asm.mov64Imm(R2, 0),
        call('bpf_obj_drop_impl'),
        asm.mov64Reg(R0, R8),
        asm.exit(),
      ];
      expect(run([...load, ...add(11), ...add(22), asm.mov64Imm(R0, 0), asm.exit()], options())).toBe(0);
      expect(run([...load, ...pop], options())).toBe(11);
      expect(run([...load, ...pop], options())).toBe(22);
      expect(run([...load, ...pop], options())).toBe(-1);
    });

    it('a list is not touched without its lock', () => {
      const { load } = mapValue();
      const program = [
        ...load,
        ...newElement(1),
        asm.mov64Reg(R7, R0),
        ...push,
        call('bpf_list_push_back_impl'),
        asm.mov64Imm(R0, 0),
        asm.exit(),
      ];
      expect(refusal(program, options())).toBe(
        'EINVAL: bpf_spin_lock at off=0 must be held for bpf_list_head',
      );
    });

    it('a tree is in the order of its comparison', () => {
      const { load } = mapValue();
      const add = (key: number): Insn[] => {
        const insert = [
          asm.mov64Reg(R1, R6),
          asm.alu64Imm('add', R1, 24),
          asm.mov64Reg(R2, R7),
          asm.alu64Imm('add', R2, 32),
          ...asm.ldFunc(R3, 0),
          asm.mov64Imm(R4, 0),
          asm.mov64Imm(asm.R5, 0),
          call('bpf_rbtree_add_impl'),
        ];
        return [...newElement(key), asm.mov64Reg(R7, R0), ...locked(...insert)];
      };
      const less = [
        asm.ldx('dw', R3, R1, -32),
        asm.ldx('dw', R4, R2, -32),
        asm.mov64Imm(R0, 1),
        asm.jumpReg(64, 'jlt', R3, R4, 1),
        asm.mov64Imm(R0, 0),
        asm.exit(),
      ];
      const keys = [50, 20, 80, 10, 70, 30, 90, 60, 40];
      const main = [...load, ...keys.flatMap(add), asm.mov64Imm(R0, 0), asm.exit()];
      const program = [...main, ...less].map((insn, i) =>
        insn.code === 0x18 && insn.src === 4 ? { ...insn, imm: main.length - i - 1 } : insn,
      );
      const funcs = [
        [0, ids.main],
        [main.length, ids.less],
      ] as const;
      expect(run(program, { btfFd, funcs })).toBe(0);
      const take = [
        ...load,
        ...locked(
          asm.mov64Reg(R1, R6),
          asm.alu64Imm('add', R1, 24),
          call('bpf_rbtree_first'),
          asm.mov64Reg(R9, R0),
          asm.mov64Imm(R7, 0),
          jeq0(R9, 5),
          asm.mov64Reg(R1, R6),
          asm.alu64Imm('add', R1, 24),
          asm.mov64Reg(R2, R9),
          call('bpf_rbtree_remove'),
          asm.mov64Reg(R7, R0),
        ),
        asm.jumpImm(64, 'jne', R7, 0, 2),
        asm.mov64Imm(R0, -1),
        asm.exit(),
        asm.alu64Imm('sub', R7, 32),
        asm.ldx('dw', R8, R7),
        asm.mov64Reg(R1, R7),
        asm.mov64Imm(R2, 0),
        call('bpf_obj_drop_impl'),
        asm.mov64Reg(R0, R8),
        asm.exit(),
      ];
      const taken = keys.map(() => run(take, options()));
      expect(taken).toEqual([...keys].sort((a, b) => a - b));
      expect(run(take, options())).toBe(-1);
    });
  });
}
