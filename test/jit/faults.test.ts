/** Traps, refusals, and the text of what was compiled. */
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import type { CallTarget } from '../../src/contracts/engine.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { createJit } from '../../src/jit/index.ts';
import { executable } from '../../src/rewrite/index.ts';
import { BpfError, ProgramFault } from '../../src/util/index.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { Bench, callable, programArray } from '../engines/support.ts';

const { R0, R1, R2, R3, R10 } = asm;
const bench = new Bench(createJit(), createTestEnvironment());
/** Far behind the end of the memory. */
const WILD = 0xffff_8881_f000_0000n;

function faultOf(run: () => unknown): ProgramFault {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(ProgramFault);
    return error as ProgramFault;
  }
  throw new Error('no fault');
}

describe('a trap', () => {
  it('names program, subprogram and instruction', () => {
    const insns = [
      asm.callLocal(1),
      asm.exit(),
      ...asm.ldImm64(R2, WILD),
      asm.mov64Imm(R1, 5),
      asm.ldx('dw', R0, R2, 8),
      asm.exit(),
    ];
    const fault = faultOf(() => bench.prepare(insns, { name: 'victim' }).run(bench.ctx));
    expect(fault.program).toBe('victim');
    expect(fault.insn).toBe(5);
    expect(fault.message).toMatch(/out of bounds in sub1 at instruction 5: r0 = \*\(u64 \*\)\(r2 \+8\)/);
  });

  it('behind a tail call names the program that ran', () => {
    const second = bench.prepare([...asm.ldImm64(R2, WILD), asm.st('dw', R2, 0, 1), asm.exit()], {
      name: 'second',
    });
    const array = programArray(bench.memory, [second.entry]);
    const calls = new Map<number, CallTarget>([[1, { kind: 'tail_call', map: array }]]);
    const first = bench.prepare([asm.mov64Imm(R3, 0), asm.callHelper(12), asm.mov64Imm(R0, 0), asm.exit()], {
      calls,
    });
    const fault = faultOf(() => first.run(bench.ctx));
    expect([fault.program, fault.insn]).toEqual(['second', 2]);
  });

  it('in endless recursion is told as such', () => {
    const insns = [asm.callLocal(1), asm.exit(), asm.callLocal(-1), asm.exit()];
    const fault = faultOf(() => bench.prepare(insns, { stackDepth: 0 }).run(bench.ctx));
    expect(fault.message).toMatch(/call stack/);
  });

  it('leaves the engine usable', () => {
    const program = bench.prepare([...asm.ldImm64(R2, WILD), asm.stx('b', R2, R1, 0), asm.exit()]);
    for (let i = 0; i < 3; i++) faultOf(() => program.run(bench.ctx));
    expect(bench.run([asm.mov64Imm(R0, 3), asm.exit()])).toBe(3n);
  });
});

describe('refusals', () => {
  const refused = (insns: Insn[], message: RegExp): void => {
    expect(() => bench.prepare(insns)).toThrow(BpfError);
    expect(() => bench.prepare(insns)).toThrow(message);
  };

  it('of what has no translation', () => {
    refused([{ code: 0x28, dst: 0, src: 0, off: 0, imm: 0 }, asm.exit()], /instruction 0: code 0x28/);
    refused([{ code: 0xe7, dst: 0, src: 0, off: 0, imm: 0 }, asm.exit()], /instruction 0/);
    refused([{ code: 0xc3, dst: 1, src: 0, off: 0, imm: 0x77 }, asm.exit()], /atomic operation 0x77/);
  });

  it('of jumps out of the subprogram, calls of nothing, and writes to R10', () => {
    refused([asm.ja(5), asm.exit()], /jump at 0 to 6 leaves main/);
    refused([asm.callHelper(1), asm.exit()], /nothing is known of the call at 0/);
    refused([asm.mov64Imm(R10, 1), asm.exit()], /register that cannot be used/);
  });

  it('of programs beyond what the host compiles', () => {
    const insns = Array.from({ length: 1_000_000 }, (_, i) => asm.alu32Imm('xor', R0, 0x1000_0000 + i));
    expect(() => bench.engine.prepare(executable([...insns, asm.exit()]), bench.env)).toThrow(
      /host refused the code/,
    );
  });

  it('leave no callback registered', () => {
    const tokens: number[] = [];
    const env = createTestEnvironment({
      callbacks: {
        register: () => tokens.push(1),
        release: () => tokens.pop(),
        invoke: () => 0,
      },
    });
    const insns = [
      ...asm.ldImm64(R1, 0n),
      { code: 0x28, dst: 0, src: 0, off: 0, imm: 0 },
      asm.exit(),
      asm.exit(),
    ];
    const calls = new Map<number, CallTarget>([[0, { kind: 'callback', index: 1, params: [] }]]);
    expect(() => createJit().prepare(executable(insns, { calls, subprogStarts: [4] }), env)).toThrow(
      BpfError,
    );
    expect(tokens).toEqual([]);
  });
});

it('dump shows the code under each instruction', () => {
  const helper = callable('get_five', [], 's32', () => 5);
  const insns = [
    asm.mov64Imm(R2, 7),
    asm.stx('dw', R10, R2, -8),
    asm.callHelper(1),
    asm.jumpImm(64, 'jeq', R0, 3, -3),
    asm.exit(),
  ];
  const program = bench.prepare(insns, {
    name: 'shown',
    stackDepth: 8,
    calls: new Map([[2, { kind: 'function', callee: helper }]]),
  });
  expect(program.codeSize).toBeGreaterThan(50);
  expect(program.dump()).toBe(`(module $shown ;; ${program.codeSize} bytes
  (func $shown (param i64 i32) (result i64)
    (local i32 i32 i64)
    local.get 1
    i32.const 8
    i32.sub
    local.set 1
    ;; 0: r2 = 7
    i32.const 7
    local.set 2
    loop
      ;; 1: *(u64 *)(r10 -8) = r2
      i32.const 7
      local.set 3
      ;; 2: call bpf_map_lookup_elem#1 ; get_five
      call $get_five
      i64.extend_i32_s
      local.tee 4
      ;; 3: if r0 == 0x3 goto pc-3
      i64.const 3
      i64.eq
      br_if 0
    end
    ;; 4: exit
    local.get 4
    return
    unreachable
  )
)`);
});

it('a trap in another module, as that of the maps, is laid to the call', () => {
  // (func (export "f") (result i32) unreachable)
  const bytes = [
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 5, 1, 3, 0, 0,
    11,
  ];
  const { f } = new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(bytes))).exports;
  const helper = callable('broken', [], 's32', f as () => number);
  const program = bench.prepare([asm.mov64Imm(R1, 1), asm.callHelper(1), asm.exit()], {
    name: 'caller',
    calls: new Map([[1, { kind: 'function', callee: helper }]]),
  });
  const fault = faultOf(() => program.run(bench.ctx));
  expect([fault.program, fault.insn]).toEqual(['caller', 1]);
});
