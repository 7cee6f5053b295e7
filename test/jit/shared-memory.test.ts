/** Atomic instructions as real ones: on a memory that is shared between threads. */
import { expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { createJit } from '../../src/jit/index.ts';
import { GuestMemory, RUN_STATE } from '../../src/memory/index.ts';
import { executable } from '../../src/rewrite/index.ts';
import { compareWithReference } from '../engines/differential.ts';
import { createTestEnvironment } from '../engines/environment.ts';

const { R0, R1, R2 } = asm;
const CTX = 0x10_0000;

function run(size: 'w' | 'dw', op: Insn, memory: bigint, r0: bigint, r2: bigint): bigint[] {
  const wasm = new WebAssembly.Memory({ initial: 64, maximum: 32768, shared: true });
  const view = new DataView(wasm.buffer);
  view.setBigUint64(CTX, memory, true);
  const insns = [...asm.ldImm64(R0, r0), ...asm.ldImm64(R2, r2), op, asm.stx('dw', R1, R2, 8), asm.exit()];
  const env = createTestEnvironment({ memory: { wasm, cpuDelta: 0 } as unknown as GuestMemory });
  const program = createJit().prepare(executable(insns), env);
  program.run(CTX);
  expect(program.dump()).toContain(size === 'dw' ? 'atomic.' : 'atomic.rmw32');
  return [
    view.getBigUint64(CTX, true),
    view.getBigUint64(RUN_STATE.r0, true),
    view.getBigUint64(CTX + 8, true),
  ];
}

it('atomics on a shared memory', () => {
  const old = 0xaaaa_bbbb_0000_0005n;
  expect(run('dw', asm.atomic('add', 'dw', R1, R2), old, 1n, 3n)).toEqual([old + 3n, 1n, 3n]);
  expect(run('dw', asm.atomic('fetch_add', 'dw', R1, R2), old, 1n, 3n)).toEqual([old + 3n, 1n, old]);
  expect(run('w', asm.atomic('fetch_xor', 'w', R1, R2), old, 1n, 3n)).toEqual([
    0xaaaa_bbbb_0000_0006n,
    1n,
    5n,
  ]);
  expect(run('w', asm.atomic('xchg', 'w', R1, R2), old, 1n, 3n)).toEqual([0xaaaa_bbbb_0000_0003n, 1n, 5n]);
  // The upper half of R0 takes no part in a 32-bit comparison.
  expect(run('w', asm.atomic('cmpxchg', 'w', R1, R2), old, 0x1_0000_0005n, 9n)).toEqual([
    0xaaaa_bbbb_0000_0009n,
    5n,
    9n,
  ]);
  expect(run('dw', asm.atomic('cmpxchg', 'dw', R1, R2), old, 5n, 9n)).toEqual([old, old, 9n]);
});

it('random programs on a shared memory', () => {
  compareWithReference(
    createJit(),
    40_000,
    400,
    createTestEnvironment({ memory: new GuestMemory({ shared: true }) }),
  );
});
