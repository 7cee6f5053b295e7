/**
 * Random programs that call kernel functions: mostly sensible pieces (an object is made, put into a list or tree under its lock, taken
 * out, given back; iterators, dynptrs, sections), with noise between them. The same seed gives the same program.
 */
import * as asm from '../../src/asm/construct.ts';
import { type Btf, BtfBuilder } from '../../src/btf/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';

const { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 } = asm;

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
const s32 = int('int', 4),
  u64 = int('u64', 8);
const opaque = (name: string, w: number) => {
  const type = b.add({ kind: 'array', type: u64, indexType: s32, count: w });
  return b.add({
    kind: 'struct',
    name,
    size: w * 8,
    members: [{ name: '__opaque', type, bitOffset: 0, bitSize: 0 }],
  });
};
const m = (name: string, type: number, off: number) => ({ name, type, bitOffset: off * 8, bitSize: 0 });
const lock = b.add({ kind: 'struct', name: 'bpf_spin_lock', size: 4, members: [m('val', s32, 0)] });
const node = opaque('bpf_list_node', 3),
  rbn = opaque('bpf_rb_node', 4);
const rc = b.add({ kind: 'struct', name: 'bpf_refcount', size: 4, members: [m('__opaque', s32, 0)] });
const el = b.add({
  kind: 'struct',
  name: 'element',
  size: 72,
  members: [m('key', u64, 0), m('node', node, 8), m('tree', rbn, 32), m('count', rc, 64)],
});
const plain = b.add({ kind: 'struct', name: 'plain', size: 16, members: [m('a', u64, 0), m('b', u64, 8)] });
const solo = b.add({
  kind: 'struct',
  name: 'solo',
  size: 40,
  members: [m('key', u64, 0), m('tree', rbn, 8)],
});
const head = opaque('bpf_list_head', 2),
  root = opaque('bpf_rb_root', 2);
const tag = b.add({ kind: 'type_tag', name: 'kptr', type: plain, attribute: false });
const kptr = b.add({ kind: 'ptr', type: tag });
const tag2 = b.add({ kind: 'type_tag', name: 'kptr', type: el, attribute: false });
const kptr2 = b.add({ kind: 'ptr', type: tag2 });
const value = b.add({
  kind: 'struct',
  name: 'value',
  size: 80,
  members: [
    m('lock', lock, 0),
    m('head', head, 8),
    m('root', root, 24),
    m('k', kptr, 40),
    m('k2', kptr2, 48),
    m('root2', root, 56),
    m('data', u64, 72),
  ],
});
const dt = (name: string, ci: number) =>
  b.add({ kind: 'decl_tag', name, type: value, componentIndex: ci, attribute: false });
dt('contains:element:node', 1);
dt('contains:element:tree', 2);
dt('contains:solo:tree', 5);
const proto = (n: number) =>
  b.add({
    kind: 'func_proto',
    returnType: s32,
    params: Array.from({ length: n }, (_, i) => ({ name: `a${i}`, type: u64 })),
  });
const mainF = b.add({ kind: 'func', name: 'main', type: proto(1), linkage: 'global' });
const lessF = b.add({ kind: 'func', name: 'less', type: proto(2), linkage: 'static' });

/** BTF of all programs: ids of the key and value of their map, of the main function and of the comparison. */
export const TYPES = { bytes: b.build().bytes, key: s32, value, main: mainF, less: lessF } as const;

/** Stands for the descriptor of the map in `ld_imm64`. */
export const MAP_FD = 1_000_000;
const LESS = 7777;

export interface KfuncProgram {
  readonly insns: readonly Insn[];
  /** First instruction of the comparison; -1 where there is none. */
  readonly less: number;
}

export function kfuncProgram(btf: Btf, seed: number): KfuncProgram {
  let s = ((seed * 2654435761) | 1) >>> 0;
  const rnd = (n: number): number => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) % n;
  };
  for (let i = 0; i < 5; i++) rnd(2);
  const pick = <T>(choices: readonly T[]): T => choices[rnd(choices.length)]!;
  const call = (name: string): Insn => asm.callKfunc(btf.find(name, 'func')!);
  const callee = [R6, R7, R8, R9] as const;
  const slot = () => -8 * (1 + rnd(8));
  const fp = (dst: asm.Reg, off: number) => [asm.mov64Reg(dst, R10), asm.alu64Imm('add', dst, off)];
  const keep = () => pick([[asm.mov64Reg(pick(callee), R0)], [asm.stx('dw', R10, R0, slot())], []]);
  const nullcheck = (r: asm.Reg) => [asm.jumpImm(64, 'jne', r, 0, 2), asm.mov64Imm(R0, 0), asm.exit()];
  const obj = () => {
    const r = pick(callee);
    return [
      asm.mov64Imm(R1, pick([el, el, plain, solo, solo, rnd(30) ? el : value])),
      asm.mov64Imm(R2, 0),
      call('bpf_obj_new_impl'),
      ...(rnd(8) ? nullcheck(R0) : []),
      asm.mov64Reg(r, R0),
    ];
  };
  const mapv = (r: asm.Reg) => asm.ldMapValue(r, MAP_FD, 0);
  function snippet(d: number): Insn[] {
    const r = pick(callee),
      r2 = pick(callee);
    switch (rnd(30)) {
      case 0:
        return [
          ...fp(R1, slot()),
          asm.mov64Imm(R2, rnd(5)),
          asm.mov64Imm(R3, rnd(9)),
          call('bpf_iter_num_new'),
        ];
      case 1:
        return [...fp(R1, slot()), call('bpf_iter_num_next'), ...keep()];
      case 2:
        return [...fp(R1, slot()), call('bpf_iter_num_destroy')];
      case 3:
        return [
          call(
            pick([
              'bpf_rcu_read_lock',
              'bpf_rcu_read_unlock',
              'bpf_rcu_read_lock',
              'bpf_rcu_read_unlock',
              'bpf_preempt_disable',
              'bpf_preempt_enable',
            ]),
          ),
        ];
      case 4:
        return [...fp(R1, slot()), call(pick(['bpf_local_irq_save', 'bpf_local_irq_restore']))];
      case 5:
      case 6:
      case 7:
        return obj();
      case 8:
        return [asm.mov64Reg(R1, r), asm.mov64Imm(R2, 0), call('bpf_obj_drop_impl')];
      case 9:
        return [...mapv(R1), asm.callHelper(93)];
      case 10:
        return [...mapv(R1), asm.callHelper(94)];
      case 11:
      case 12: {
        const isList = rnd(2) === 0;
        const which = isList ? 8 : pick([24, 56]);
        const off = isList ? 8 : which === 24 ? 32 : 8;
        return [
          ...mapv(R1),
          asm.alu64Imm('add', R1, which),
          asm.mov64Reg(R2, r),
          asm.alu64Imm('add', R2, rnd(10) ? off : 8),
          ...(isList
            ? [
                asm.mov64Imm(R3, 0),
                asm.mov64Imm(R4, 0),
                call(pick(['bpf_list_push_front_impl', 'bpf_list_push_back_impl'])),
              ]
            : [
                ...asm.ldFunc(R3, LESS),
                asm.mov64Imm(R4, 0),
                asm.mov64Imm(R5, 0),
                call('bpf_rbtree_add_impl'),
              ]),
        ];
      }
      case 13:
        return [
          ...mapv(R1),
          asm.alu64Imm('add', R1, 8),
          call(pick(['bpf_list_pop_front', 'bpf_list_pop_back', 'bpf_list_front', 'bpf_list_back'])),
          ...(rnd(3) ? nullcheck(R0) : []),
          ...keep(),
        ];
      case 14:
        return [
          ...mapv(R1),
          asm.alu64Imm('add', R1, pick([24, 56])),
          call(pick(['bpf_rbtree_first', 'bpf_rbtree_root'])),
          ...(rnd(3) ? nullcheck(R0) : []),
          ...keep(),
        ];
      case 15:
        return [
          ...mapv(R1),
          asm.alu64Imm('add', R1, pick([24, 56])),
          asm.mov64Reg(R2, r),
          call(pick(['bpf_rbtree_remove', 'bpf_rbtree_left', 'bpf_rbtree_right'])),
          ...(rnd(3) ? nullcheck(R0) : []),
          ...keep(),
        ];
      case 16:
        return [
          asm.mov64Reg(R1, r),
          asm.mov64Imm(R2, 0),
          call('bpf_refcount_acquire_impl'),
          ...(rnd(3) ? nullcheck(R0) : []),
          ...keep(),
        ];
      case 17:
        return [
          ...mapv(R1),
          asm.alu64Imm('add', R1, pick([40, 48])),
          pick([asm.mov64Reg(R2, r), asm.mov64Imm(R2, 0)]),
          asm.callHelper(194),
          ...(rnd(2) ? nullcheck(R0) : []),
          ...keep(),
        ];
      case 18:
        return [...mapv(r2), asm.ldx('dw', r, r2, pick([40, 48, 72]))];
      case 19:
        return [asm.ldx('dw', R0, r, pick([0, 0, 8, -8, -32, 16]))];
      case 20:
        return [asm.st(pick(['dw', 'w', 'b']), r, pick([0, 0, 8, -8]), 5)];
      case 21:
        return [asm.stx('dw', R10, r, slot())];
      case 22:
        return [asm.ldx('dw', r, R10, slot())];
      case 23:
        return d > 2
          ? []
          : (() => {
              const body = [...snippet(d + 1), ...snippet(d + 1)];
              return [asm.jumpImm(64, pick(['jeq', 'jne']), pick([R0, r]), 0, body.length), ...body];
            })();
      case 24:
        return [asm.callHelper(7)];
      case 25:
        return [
          asm.ldx('dw', R1, R10, -128),
          asm.mov64Imm(R2, 0),
          ...fp(R3, slot()),
          call('bpf_dynptr_from_skb'),
        ];
      case 26:
        return [
          ...fp(R1, slot()),
          asm.mov64Imm(R2, rnd(4)),
          pick([asm.mov64Imm(R3, 0), asm.mov64Reg(R3, R10)]),
          asm.alu64Imm('add', R3, pick([0, -32])),
          asm.mov64Imm(R4, 4),
          call(pick(['bpf_dynptr_slice', 'bpf_dynptr_slice_rdwr'])),
          ...(rnd(3) ? nullcheck(R0) : []),
          ...keep(),
        ];
      case 27:
        return pick([
          [...fp(R1, slot()), ...fp(R2, slot()), call('bpf_dynptr_clone')],
          [...fp(R1, slot()), asm.mov64Imm(R2, 0), asm.mov64Imm(R3, 2), call('bpf_dynptr_adjust')],
          [...fp(R1, slot()), call('bpf_dynptr_size')],
        ]);
      case 28:
        return [asm.mov64Imm(R1, rnd(3)), call('bpf_throw')].slice(0, rnd(6) ? 0 : 2);
      default:
        return [asm.alu64Imm('add', r, pick([8, -8, 1]))].slice(0, rnd(3));
    }
  }
  /** A sensible skeleton now and then. */
  function tree(): Insn[] {
    const r = R7;
    return [
      asm.mov64Imm(R1, el),
      asm.mov64Imm(R2, 0),
      call('bpf_obj_new_impl'),
      ...nullcheck(R0),
      asm.mov64Reg(r, R0),
      ...snippet(1),
      ...mapv(R1),
      asm.callHelper(93),
      ...snippet(1),
      ...mapv(R1),
      asm.alu64Imm('add', R1, 8),
      asm.mov64Reg(R2, r),
      asm.alu64Imm('add', R2, 8),
      asm.mov64Imm(R3, 0),
      asm.mov64Imm(R4, 0),
      call('bpf_list_push_front_impl'),
      ...snippet(1),
      ...mapv(R1),
      asm.callHelper(94),
    ];
  }
  function loop(): Insn[] {
    const body = [...snippet(2), ...snippet(2)];
    const at = -72;
    const pre = [...fp(R1, at), asm.mov64Imm(R2, 0), asm.mov64Imm(R3, 9), call('bpf_iter_num_new')];
    const next = [...fp(R1, at), call('bpf_iter_num_next')];
    return [
      ...pre,
      ...next,
      asm.jumpImm(64, 'jeq', R0, 0, body.length + 1),
      ...body,
      asm.ja(-(next.length + 1 + body.length + 1)),
      ...fp(R1, at),
      call('bpf_iter_num_destroy'),
    ];
  }
  const noise = (d = 2): Insn[] => (rnd(6) === 0 ? snippet(d) : []);
  const lk = (...x: Insn[]) => [...mapv(R1), asm.callHelper(93), ...x, ...mapv(R1), asm.callHelper(94)];
  const drop = (r: asm.Reg) => [asm.mov64Reg(R1, r), asm.mov64Imm(R2, 0), call('bpf_obj_drop_impl')];
  function add(): Insn[] {
    const r = pick(callee),
      r2 = pick(callee.filter((x) => x !== r));
    const isSolo = rnd(3) === 0;
    const list = !isSolo && rnd(2) === 0;
    const fresh = [
      asm.mov64Imm(R1, isSolo ? solo : el),
      asm.mov64Imm(R2, 0),
      call('bpf_obj_new_impl'),
      ...nullcheck(R0),
      asm.mov64Reg(r, R0),
      ...(rnd(2) ? [asm.st('dw', r, 0, rnd(100))] : []),
    ];
    const shared = !isSolo && rnd(3) === 0;
    const acq = shared
      ? [asm.mov64Reg(R1, r), asm.mov64Imm(R2, 0), call('bpf_refcount_acquire_impl'), asm.mov64Reg(r2, R0)]
      : [];
    const off = list ? 8 : isSolo ? 8 : 32;
    const which = list ? 8 : isSolo ? 56 : 24;
    const ins = [
      ...mapv(R1),
      asm.alu64Imm('add', R1, which),
      asm.mov64Reg(R2, r),
      asm.alu64Imm('add', R2, off),
      ...(list
        ? [
            asm.mov64Imm(R3, 0),
            asm.mov64Imm(R4, 0),
            call(pick(['bpf_list_push_front_impl', 'bpf_list_push_back_impl'])),
          ]
        : [...asm.ldFunc(R3, LESS), asm.mov64Imm(R4, 0), asm.mov64Imm(R5, 0), call('bpf_rbtree_add_impl')]),
    ];
    const inside = rnd(2) ? [asm.ldx('dw', R0, r, 0)] : [];
    const after = rnd(4) === 0 ? [asm.ldx('dw', R0, r, 0)] : [];
    return [
      ...fresh,
      ...acq,
      ...noise(),
      ...lk(...noise(), ...ins, ...inside, ...noise()),
      ...after,
      ...noise(),
      ...(shared ? [...(rnd(3) ? nullcheckSkip(r2, drop(r2)) : drop(r2))] : []),
    ];
  }
  const nullcheckSkip = (r: asm.Reg, body: Insn[]) => [asm.jumpImm(64, 'jeq', r, 0, body.length), ...body];
  function take(): Insn[] {
    const r = pick(callee),
      r2 = pick(callee.filter((x) => x !== r));
    if (rnd(2))
      return [
        ...lk(
          ...mapv(R1),
          asm.alu64Imm('add', R1, 8),
          call(pick(['bpf_list_pop_front', 'bpf_list_pop_back'])),
          asm.mov64Reg(r, R0),
          ...noise(),
        ),
        ...nullcheckSkip(r, [
          asm.alu64Imm('sub', r, rnd(8) ? 8 : 0),
          asm.ldx('dw', R0, r, 0),
          ...noise(),
          ...drop(r),
        ]),
      ];
    const isSolo = rnd(2) === 0;
    const which = isSolo ? 56 : 24;
    const rm = [
      ...mapv(R1),
      asm.alu64Imm('add', R1, which),
      asm.mov64Reg(R2, r),
      call('bpf_rbtree_remove'),
      asm.mov64Reg(r2, R0),
    ];
    const walk = rnd(2)
      ? []
      : [
          ...mapv(R1),
          asm.alu64Imm('add', R1, which),
          asm.mov64Reg(R2, r),
          call(pick(['bpf_rbtree_left', 'bpf_rbtree_right'])),
          ...keep(),
        ];
    return [
      asm.mov64Imm(r2, 0),
      ...lk(
        ...mapv(R1),
        asm.alu64Imm('add', R1, which),
        call(pick(['bpf_rbtree_first', 'bpf_rbtree_root'])),
        asm.mov64Reg(r, R0),
        ...nullcheckSkip(r, [
          ...(rnd(2) ? [asm.ldx('dw', R0, r, isSolo ? -8 : -32)] : []),
          ...walk,
          ...rm,
          ...noise(),
        ]),
      ),
      ...nullcheckSkip(r2, [
        asm.alu64Imm('sub', r2, isSolo ? 8 : 32),
        ...(rnd(3) ? [asm.ldx('dw', R0, r2, 0)] : []),
        ...drop(r2),
      ]),
    ];
  }
  function stash(): Insn[] {
    const r = pick(callee);
    const plainOne = rnd(2) === 0;
    return [
      asm.mov64Imm(R1, plainOne ? plain : el),
      asm.mov64Imm(R2, 0),
      call('bpf_obj_new_impl'),
      ...nullcheck(R0),
      asm.mov64Reg(r, R0),
      ...noise(),
      ...mapv(R1),
      asm.alu64Imm('add', R1, plainOne ? 40 : rnd(6) ? 48 : 40),
      asm.mov64Reg(R2, r),
      asm.callHelper(194),
      asm.mov64Reg(r, R0),
      ...noise(),
      ...nullcheckSkip(r, [asm.ldx('dw', R0, r, 0), ...drop(r)]),
    ];
  }
  function peek(): Insn[] {
    const r = pick(callee),
      v = pick(callee.filter((x) => x !== r));
    const rcu = rnd(2);
    return [
      ...(rcu ? [call('bpf_rcu_read_lock')] : []),
      ...mapv(v),
      asm.ldx('dw', r, v, pick([40, 48])),
      ...nullcheckSkip(r, [
        asm.ldx('dw', R0, r, 0),
        ...noise(),
        ...(rnd(3) ? [] : [asm.st('dw', r, 0, 1)]),
        ...(rnd(3)
          ? []
          : [
              asm.mov64Reg(R1, r),
              asm.mov64Imm(R2, 0),
              call('bpf_refcount_acquire_impl'),
              ...nullcheckSkip(R0, drop(R0)),
            ]),
      ]),
      ...(rcu ? [call('bpf_rcu_read_unlock')] : []),
      ...(rnd(4) ? [] : nullcheckSkip(r, [asm.ldx('dw', R0, r, 0)])),
    ];
  }
  function dyn(): Insn[] {
    const at = slot() - 8;
    const r = pick(callee);
    return [
      asm.ldx('dw', R1, R10, -128),
      asm.mov64Imm(R2, 0),
      ...fp(R3, at),
      call('bpf_dynptr_from_skb'),
      ...noise(),
      ...fp(R1, at),
      asm.mov64Imm(R2, rnd(4)),
      asm.mov64Imm(R3, 0),
      asm.mov64Imm(R4, pick([4, 8, 14])),
      call(pick(['bpf_dynptr_slice', 'bpf_dynptr_slice_rdwr'])),
      asm.mov64Reg(r, R0),
      ...nullcheckSkip(r, [
        asm.ldx('w', R0, r, pick([0, 0, 4, 12])),
        ...noise(),
        ...(rnd(2) ? [asm.st('b', r, 0, 1)] : []),
      ]),
    ];
  }
  function irq(): Insn[] {
    const a = slot();
    const b2 = slot();
    return [
      ...fp(R1, a),
      call('bpf_local_irq_save'),
      ...noise(),
      ...(rnd(2)
        ? [
            ...fp(R1, b2),
            call('bpf_local_irq_save'),
            ...fp(R1, rnd(4) ? b2 : a),
            call('bpf_local_irq_restore'),
          ]
        : []),
      ...noise(),
      ...fp(R1, a),
      call('bpf_local_irq_restore'),
    ];
  }
  function bigLoop(): Insn[] {
    const body = [
      ...piece(1),
      ...noise(),
      ...(rnd(2) ? [asm.alu64Imm('add', pick(callee), 1)] : []),
      ...(rnd(2) ? [asm.stx('dw', R10, pick(callee), slot())] : []),
    ];
    const at = -72;
    const pre = [...fp(R1, at), asm.mov64Imm(R2, 0), asm.mov64Imm(R3, 9), call('bpf_iter_num_new')];
    const next = [...fp(R1, at), call('bpf_iter_num_next')];
    return [
      ...pre,
      ...next,
      asm.jumpImm(64, 'jeq', R0, 0, body.length + 1),
      ...body,
      asm.ja(-(next.length + 1 + body.length + 1)),
      ...fp(R1, at),
      call('bpf_iter_num_destroy'),
    ];
  }
  function piece(d: number): Insn[] {
    return pick([add, add, take, take, stash, peek, dyn, irq, ...(d === 0 ? [bigLoop, bigLoop] : [])])();
  }
  function sensible(): KfuncProgram {
    const out: Insn[] = [asm.stx('dw', R10, R1, -128), ...callee.map((r) => asm.mov64Imm(r, 0))];
    const n = 1 + rnd(4);
    for (let i = 0; i < n; i++) out.push(...piece(0));
    out.push(asm.mov64Imm(R0, 0), asm.exit());
    const usesLess = out.some((x) => x.code === 0x18 && x.src === 4);
    const main = out.length;
    const less = [
      asm.mov64Imm(R0, rnd(9) ? 0 : 2),
      ...(rnd(2) ? [] : [asm.ldx('dw', R3, R1, pick([-32, -8, -8, 0]))]),
      ...(rnd(9) ? [] : snippet(3)),
      asm.exit(),
    ];
    if (usesLess) out.push(...less);
    return {
      insns: out.map((x, i) => (x.code === 0x18 && x.src === 4 ? { ...x, imm: main - i - 1 } : x)),
      less: usesLess ? main : -1,
    };
  }
  function wild(): KfuncProgram {
    const init: Insn[] = [asm.stx('dw', R10, R1, -128), ...callee.map((r) => asm.mov64Imm(r, 0))];
    const out: Insn[] = [...init];
    const n = 1 + rnd(6);
    for (let i = 0; i < n; i++) {
      const k = rnd(10);
      out.push(...(k === 0 ? tree() : k === 1 ? loop() : snippet(0)));
    }
    out.push(asm.mov64Imm(R0, 0), asm.exit());
    const usesLess = out.some((x) => x.code === 0x18 && x.src === 4);
    const main = out.length;
    const less = [
      asm.mov64Imm(R0, rnd(5) ? 0 : 2),
      ...(rnd(4) ? [] : [asm.ldx('dw', R3, R1, pick([-32, 0, -8]))]),
      asm.exit(),
    ];
    if (usesLess) out.push(...less);
    return {
      insns: out.map((x, i) => (x.code === 0x18 && x.src === 4 ? { ...x, imm: main - i - 1 } : x)),
      less: usesLess ? main : -1,
    };
  }

  return rnd(5) === 0 ? wild() : sensible();
}
