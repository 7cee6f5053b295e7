import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/index.ts';
import { decodeProgram } from '../../src/asm/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import type { HelperTable } from '../../src/contracts/runtime.ts';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { kernelAddress, RUN_STATE } from '../../src/memory/index.ts';
import {
  createPacketLoads,
  MAY_GOTO_BUDGET,
  moveFunctions,
  moveLines,
  type RewriteEnv,
  rewrite,
} from '../../src/rewrite/index.ts';
import { MODELLED_SKB, MODELLED_XDP } from '../../src/spec/contexts/modelled.ts';
import { ctxAccess } from '../../src/spec/ctx-access.ts';
import { progTypeByName } from '../../src/spec/index.ts';
import { BpfError } from '../../src/util/index.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { callable } from '../engines/support.ts';
import { arrayMap, type Proven, proven } from './support.ts';

const { R0, R1, R2, R3, R6, R7 } = asm;

function setup(
  options: { helpers?: HelperTable['resolve']; map?: RewriteEnv['map']; headers?: boolean } = {},
) {
  const env = createTestEnvironment();
  const { memory } = env;
  const engine = createInterpreter();
  const ctx = memory.allocate(256, 'context');
  const packet = memory.allocate(64, 'packet');
  let length = 20;
  const packets = {
    data: () => ({ start: packet + 14, length }),
    ...(options.headers ? { headers: () => ({ link: packet, network: packet + 16 }) } : {}),
  };
  const rewriteEnv: RewriteEnv = {
    name: 'prog',
    helpers: { resolve: options.helpers ?? (() => undefined) },
    map:
      options.map ??
      (() => {
        throw new Error('no maps');
      }),
    packetLoads: createPacketLoads(memory, packets),
  };
  const build = (insns: readonly Insn[], what: Proven = {}) => rewrite(proven(insns, what), rewriteEnv);
  const run = (insns: readonly Insn[], what: Proven = {}): bigint => {
    engine.prepare(build(insns, what).program, env).run(ctx);
    return memory.readU64(RUN_STATE.r0);
  };
  return { env, memory, ctx, packet, build, run, setLength: (n: number) => (length = n) };
}

const codeOf = (error: () => unknown): string => {
  try {
    error();
  } catch (e) {
    if (e instanceof BpfError) return `${e.code}: ${e.message}`;
    throw e;
  }
  return 'no error';
};

describe('contexts', () => {
  it('packet pointers of xdp_md are whole pointers', () => {
    const s = setup();
    s.memory.writeU64(s.ctx + MODELLED_XDP.data, kernelAddress(s.packet));
    s.memory.writeU64(s.ctx + MODELLED_XDP.data_end, kernelAddress(s.packet + 40));
    s.memory.view.setUint32(s.ctx + MODELLED_XDP.rx_queue_index, 7, true);
    const load = (offset: number): bigint =>
      s.run([asm.ldx('w', R0, R1, offset), asm.exit()], {
        progType: 'xdp',
        facts: { 0: { ctxOffset: offset } },
      });
    expect(load(0)).toBe(kernelAddress(s.packet));
    expect(load(4)).toBe(kernelAddress(s.packet + 40));
    expect(load(16)).toBe(7n);
  });

  it('the context register may have been moved', () => {
    const s = setup();
    s.memory.view.setUint32(s.ctx + MODELLED_XDP.rx_queue_index, 9, true);
    const insns = [asm.mov64Reg(R2, R1), asm.alu64Imm('add', R2, 12), asm.ldx('w', R0, R2, 4), asm.exit()];
    expect(s.run(insns, { progType: 'xdp', facts: { 2: { ctxOffset: 16 } } })).toBe(9n);
  });

  it('every load of __sk_buff that is allowed gives the bytes of its field', () => {
    const s = setup();
    const layout = progTypeByName('sched_cls')!.ctx;
    let checked = 0;
    for (const field of layout.fields) {
      if (field.kind !== undefined && field.kind !== 'scalar') continue;
      s.memory.u8.fill(0, s.ctx, s.ctx + 256);
      const value = 0x8182_8384_8586_8788n;
      const size = field.backing?.size ?? field.size;
      s.memory.write(
        s.ctx + field.backing!.offset,
        Uint8Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn)),
      );
      for (const bytes of [1, 2, 4, 8]) {
        for (let at = field.offset; at < field.offset + field.size; at += bytes) {
          for (const signed of bytes < 8 ? [false, true] : [false]) {
            const size = (['b', 'h', 'w', 'dw'] as const)[Math.log2(bytes)]!;
            const request = { offset: at, size: bytes, write: false, signed };
            if (at + bytes > field.offset + field.size || ctxAccess(layout, request) === null) continue;
            const insn = signed ? asm.ldxs(size as 'b', R0, R1, at) : asm.ldx(size, R0, R1, at);
            const got = s.run([insn, asm.exit()], { progType: 'sched_cls', facts: { 0: { ctxOffset: at } } });
            const kept = field.backing!.size;
            const bits = BigInt.asUintN(8 * kept, value) >> BigInt(8 * (at - field.offset));
            const narrow = BigInt.asUintN(8 * bytes, bits);
            const want = signed ? BigInt.asUintN(64, BigInt.asIntN(8 * bytes, narrow)) : narrow;
            expect(got, `${field.name} at ${at}, ${bytes} bytes${signed ? ', signed' : ''}`).toBe(want);
            checked++;
          }
        }
      }
    }
    expect(checked).toBeGreaterThan(100);
  });

  it('stores, narrow and over two fields', () => {
    const s = setup();
    const type = progTypeByName('socket_filter')!;
    const cb = type.ctx.fields.find((f) => f.name === 'cb[0]')!.offset;
    const insns = [
      ...asm.ldImm64(R2, 0x1122_3344_5566_7788n),
      asm.stx('dw', R1, R2, cb),
      asm.st('b', R1, cb + 3, 0x7f),
      asm.ldx('dw', R0, R1, cb),
      asm.exit(),
    ];
    const facts = { 2: { ctxOffset: cb }, 3: { ctxOffset: cb + 3 }, 4: { ctxOffset: cb } };
    expect(s.run(insns, { facts })).toBe(0x1122_3344_7f66_7788n);
    expect(s.memory.readU64(s.ctx + MODELLED_SKB.cb)).toBe(0x1122_3344_7f66_7788n);
  });
});

describe('maps', () => {
  it('become addresses; a dump shows their ids', () => {
    const s = setup();
    const map = arrayMap(s.memory, 42, 4);
    s.memory.writeU64(map.layout.values + 8, 0xabcdn);
    const t = setup({ map: () => map });
    const insns = [...asm.ldMapFd(R2, 3), ...asm.ldMapValue(R1, 3, 8), asm.mov64Reg(R0, R2), asm.exit()];
    const { program, xlated } = t.build(insns, {
      facts: { 0: { map: map.info }, 2: { map: map.info, mapValueOffset: 8 } },
    });
    const value = (i: number): bigint =>
      (BigInt(program.insns[i + 1]!.imm >>> 0) << 32n) | BigInt(program.insns[i]!.imm >>> 0);
    expect(program.insns[0]!.src).toBe(0);
    expect(value(0)).toBe(kernelAddress(map.layout.address));
    expect(value(2)).toBe(kernelAddress(map.layout.values + 8));
    const shown = decodeProgram(xlated);
    expect([shown[0]!.src, shown[0]!.imm, shown[1]!.imm]).toEqual([1, 42, 0]);
    expect([shown[2]!.src, shown[2]!.imm, shown[3]!.imm]).toEqual([2, 42, 8]);
  });
});

describe('legacy packet loads', () => {
  const prologue = [asm.mov64Reg(R6, R1), asm.mov64Imm(R7, 5)];
  const load = (...insns: Insn[]): Insn[] => [...prologue, ...insns, asm.alu64Reg('add', R0, R7), asm.exit()];
  function filled(headers = false) {
    const s = setup({ headers });
    s.memory.write(
      s.packet,
      Uint8Array.from({ length: 64 }, (_, i) => 0x80 + i),
    );
    return s;
  }

  it('give big-endian data in host order', () => {
    const s = filled();
    expect(s.run(load(asm.ldAbs('b', 2)))).toBe(0x90n + 5n);
    expect(s.run(load(asm.ldAbs('h', 2)))).toBe(0x9091n + 5n);
    expect(s.run(load(asm.ldAbs('w', 2)))).toBe(0x9091_9293n + 5n);
    expect(s.run(load(asm.mov64Imm(R1, 4), asm.ldInd('w', R1, -2)))).toBe(0x9091_9293n + 5n);
    expect(s.run(load(asm.mov64Imm(R2, 16), asm.ldInd('w', R2, 0)))).toBe(0x9e9f_a0a1n + 5n);
  });

  it('end the program with 0 outside of the packet', () => {
    const s = filled();
    for (const insn of [
      asm.ldAbs('b', 20),
      asm.ldAbs('h', 19),
      asm.ldAbs('w', 17),
      asm.ldAbs('w', 0x7fff_ffff),
      asm.ldAbs('b', -1),
    ])
      expect(s.run(load(insn))).toBe(0n);
    s.setLength(0);
    expect(s.run(load(asm.ldAbs('b', 0)))).toBe(0n);
  });

  it('count from the headers at negative offsets', () => {
    const s = filled(true);
    expect(s.run(load(asm.ldAbs('h', -0x10_0000)))).toBe(0x9091n + 5n);
    expect(s.run(load(asm.ldAbs('h', -0x20_0000)))).toBe(0x8081n + 5n);
    expect(s.run(load(asm.ldAbs('w', -0x10_0000 + 14)))).toBe(0x9e9f_a0a1n + 5n);
    expect(s.run(load(asm.ldAbs('w', -0x10_0000 + 15)))).toBe(0n);
    expect(s.run(load(asm.ldAbs('b', -0x20_0001)))).toBe(0n);
    expect(s.run(load(asm.ldAbs('b', -0x1000)))).toBe(0n);
  });

  it('in a subprogram end that subprogram', () => {
    const s = filled();
    const insns = [
      asm.mov64Reg(R6, R1),
      asm.callLocal(2),
      asm.alu64Imm('add', R0, 3),
      asm.exit(),
      asm.mov64Reg(R6, R1), // 4
      asm.ldAbs('b', 99),
      asm.mov64Imm(R0, 100),
      asm.exit(),
    ];
    expect(s.run(insns, { subprogs: { 4: null } })).toBe(3n);
  });
});

describe('control flow', () => {
  it('may_goto leaves the loop when the budget is used up, and keeps R0', () => {
    const s = setup();
    const insns = [
      asm.mov64Imm(R0, 77),
      asm.mov64Imm(R2, 0),
      asm.mayGoto(2), // 2 -> 5
      asm.alu64Imm('add', R2, 1),
      asm.ja(-3), // -> 2
      asm.alu64Imm('lsh', R0, 32), // 5
      asm.alu64Reg('or', R0, R2),
      asm.exit(),
    ];
    const { program } = s.build(insns);
    expect(program.subprogs[0]!.stackDepth).toBe(48);
    expect(s.run(insns)).toBe((77n << 32n) | BigInt(MAY_GOTO_BUDGET));
  });

  it('each call of a function has a budget of its own, and a jump to its start does not renew it', () => {
    const s = setup();
    const insns = [
      asm.mov64Imm(R1, 0),
      asm.callLocal(2),
      asm.mov64Reg(R0, R0),
      asm.exit(),
      asm.alu64Imm('add', R1, 1), // 4
      asm.mayGoto(1),
      asm.ja(-3), // -> 4
      asm.mov64Reg(R0, R1),
      asm.exit(),
    ];
    expect(s.run(insns, { subprogs: { 4: null } })).toBe(BigInt(MAY_GOTO_BUDGET) + 1n);
  });

  it('code that no path reaches is removed, with its subprograms', () => {
    const s = setup();
    const insns = [
      asm.mov64Imm(R0, 1),
      asm.jumpImm(64, 'jeq', R0, 1, 2), // always: 2 and 3 are dead
      asm.callLocal(8), // 2 -> 11 (dead)
      asm.exit(),
      asm.jumpImm(64, 'jeq', R0, 2, 3), // 4: never: 8 is dead
      asm.callLocal(5), // 5 -> 11
      asm.alu64Imm('add', R0, 1), // 6
      asm.exit(), // 7
      asm.exit(), // 8
      asm.mov64Imm(R0, 3), // 9: dead subprogram
      asm.exit(),
      asm.mov64Imm(R0, 5), // 11
      asm.exit(),
    ];
    const what = { dead: [2, 3, 8, 9, 10], subprogs: { 9: null, 11: null } };
    const { program } = s.build(insns, what);
    expect([...program.origin]).toEqual([0, 1, 5, 6, 7, 11, 12]);
    expect(program.subprogs.map(({ start, end }) => [start, end])).toEqual([
      [0, 5],
      [5, 7],
    ]);
    expect(program.insns[1]!.code).toBe(0x05);
    expect(s.run(insns, what)).toBe(6n);

    const words = (bytes: Uint8Array, each: number) =>
      Array.from(new Uint32Array(bytes.slice().buffer)).filter((_, i) => i % each < 2);
    // Each line names itself: the record of instruction n has file n. Lines at 2 and 9 are gone; 5 begins the line of 4.
    const lines = [0, 1, 2, 4, 6, 9, 11].flatMap((insn) => [insn, insn, 0, 0]);
    const moved = moveLines(program, new Uint8Array(Uint32Array.from(lines).buffer), 16);
    expect(words(moved, 4)).toEqual([0, 0, 1, 1, 2, 4, 3, 6, 5, 11]);
    const functions = Uint32Array.from([0, 70, 9, 79, 11, 81]);
    expect(words(moveFunctions(program, new Uint8Array(functions.buffer), 8), 2)).toEqual([0, 70, 5, 81]);
  });

  it('a jump over many packet loads reaches further than its field', () => {
    const s = setup();
    const insns = [asm.mov64Reg(R6, R1), asm.jumpImm(64, 'jeq', R6, 0, 10_000)];
    for (let i = 0; i < 10_000; i++) insns.push(asm.ldAbs('b', 0));
    insns.push(asm.exit());
    const built = s.build(insns).program.insns;
    const far = built.findIndex(({ code }) => code === 0x06);
    expect(built[far]!.imm).toBeGreaterThan(0x7fff);
    expect(far + 1 + built[far]!.imm).toBe(built.length - 1);
    expect(built.at(-1)!.code).toBe(0x95);
  });
});

describe('calls', () => {
  it('a helper that is not there is refused by name', () => {
    const s = setup();
    expect(codeOf(() => s.build([asm.callHelper('bpf_map_lookup_elem'), asm.exit()]))).toBe(
      'ENOTSUPP: program prog: instruction 0: helper bpf_map_lookup_elem#1 is not implemented by this kernel',
    );
    expect(codeOf(() => s.build([asm.callKfunc(77), asm.exit()]))).toMatch(/ENOTSUPP: .*kernel function #77/);
    expect(codeOf(() => s.build([...asm.ldBtfId(R1, 5), asm.exit()]))).toMatch(/ENOTSUPP: .*kernel symbols/);
    expect(codeOf(() => s.build([asm.addrSpaceCast(R1, R2, 0, 1), asm.exit()]))).toMatch(
      /ENOTSUPP: .*arenas/,
    );
  });

  it('the helper is asked for with its map, and called', () => {
    const asked: unknown[] = [];
    const memory = setup().memory;
    const map = arrayMap(memory, 5, 1);
    const s = setup({
      map: () => map,
      helpers: (row, forMap) => {
        asked.push(row.name, forMap?.info.id);
        return callable(row.name, ['u32'], 's32', (x: number) => x + 1);
      },
    });
    const insns = [asm.mov64Imm(R1, 41), asm.callHelper('bpf_map_lookup_elem'), asm.exit()];
    expect(s.run(insns, { facts: { 1: { callMap: map.info } } })).toBe(42n);
    expect(asked).toEqual(['bpf_map_lookup_elem', 5]);
  });

  it('tail calls and callbacks', () => {
    const s = setup({ helpers: (row) => callable(row.name, ['u32', 'u32', 'u32', 'u64'], 's32', () => 0) });
    const insns = [
      ...asm.ldFunc(R2, 4), // 0 -> 6
      asm.callHelper('bpf_loop'), // 2
      asm.callHelper('bpf_tail_call'), // 3
      asm.mov64Imm(R3, 0),
      asm.exit(),
      asm.mov64Imm(R0, 0), // 6
      asm.exit(),
    ];
    const { program, xlated } = s.build(insns, {
      subprogs: { 6: 'loop' },
      facts: { 0: { subprog: 1 } },
    });
    expect(program.calls[0]).toEqual({ kind: 'callback', index: 1, params: ['u32', 'ptr'] });
    expect(program.calls[2]).toMatchObject({ kind: 'function', row: { name: 'bpf_loop' } });
    expect(program.calls[3]).toEqual({ kind: 'tail_call' });
    expect(decodeProgram(xlated)[0]!.src).toBe(4);
    expect(program.subprogs.map((p) => p.start)).toEqual([0, 6]);
  });

  it('loads through kernel pointers are marked', () => {
    const s = setup();
    const { program } = s.build([asm.ldx('w', R0, R1, 8), asm.exit()], {
      progType: 'kprobe',
      facts: { 0: { probeMem: true } },
    });
    expect([...program.probeLoads]).toEqual([0]);
  });
});
