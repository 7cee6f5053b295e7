/**
 * Programs whose control flow is hard on a compiler, translated at two sizes: what an instruction costs may not grow with the program.
 * They are translated only (not verified, not run): most of them no compiler would make.
 */
import * as asm from '../src/asm/construct.ts';
import type { Insn } from '../src/contracts/insn.ts';
import { compileModule } from '../src/jit/module.ts';
import { executable } from '../src/rewrite/index.ts';

const { R0, R1, R2, R10 } = asm;

export interface ShapeTime {
  readonly shape: string;
  /** Microseconds an instruction, and bytes of code an instruction. */
  readonly small: number;
  readonly large: number;
  readonly bytes: number;
}

export const SHAPE_SIZES = { small: 10_000, large: 100_000 } as const;

/** A jump of any length to a place. */
const goTo = (insns: Insn[], to: number): void => {
  insns.push(asm.gotol(to - insns.length - 1));
};

/** Blocks of 3 instructions that go to one place or another. */
function graph(size: number, targets: (block: number, blocks: number) => readonly [number, number]): Insn[] {
  const blocks = Math.floor(size / 4);
  const out: Insn[] = [asm.mov64Imm(R0, 0)];
  for (let i = 0; i < blocks; i++) {
    const [first, second] = targets(i, blocks);
    out.push(asm.alu64Imm('add', R0, i), asm.jumpImm(64, 'jset', R0, 8, 1));
    goTo(out, 1 + 4 * first);
    goTo(out, 1 + 4 * second);
  }
  return [...out, asm.exit()];
}

/** Numbers that look random, the same ones each time. */
const scattered = (i: number): number => Math.imul(i + 1, 0x9e37_79b1) >>> 1;

function repeated(size: number, piece: (i: number) => readonly Insn[]): Insn[] {
  const out: Insn[] = [asm.mov64Imm(R0, 0), asm.stx('dw', R10, R0, -8)];
  for (let i = 0; out.length < size; i++) out.push(...piece(i));
  return [...out, asm.exit()];
}

function functions(size: number): Insn[] {
  const LENGTH = 30;
  const count = Math.floor(size / (LENGTH + 2));
  const out: Insn[] = [asm.mov64Imm(R0, 0)];
  for (let i = 0; i < count; i++) {
    const start = 2 * count + 2 + i * LENGTH;
    out.push(asm.mov64Imm(R1, i), asm.callLocal(start - (out.length + 1) - 1));
  }
  out.push(asm.exit());
  for (let i = 0; i < count; i++) {
    out.push(asm.mov64Reg(R0, R1));
    for (let k = 0; k < LENGTH - 2; k++) out.push(asm.alu64Imm('xor', R0, i + k));
    out.push(asm.exit());
  }
  return out;
}

function loopsInLoops(size: number): Insn[] {
  const depth = Math.floor(size / 3);
  const out: Insn[] = [asm.mov64Imm(R0, 0)];
  for (let i = 0; i < depth; i++) out.push(asm.alu64Imm('add', R0, 1));
  for (let i = depth - 1; i >= 0; i--) {
    out.push(asm.jumpImm(64, 'jne', R0, i, 1));
    goTo(out, 1 + i);
  }
  return [...out, asm.exit()];
}

function cases(size: number): Insn[] {
  const count = Math.floor(size / 4);
  const out: Insn[] = [asm.ldx('dw', R1, R1, 0), asm.mov64Imm(R0, 0)];
  for (let i = 0; i < count; i++) {
    out.push(asm.jumpImm(64, 'jne', R1, i, 1));
    goTo(out, 3 + 2 * (count + i));
  }
  out.push(asm.exit());
  for (let i = 0; i < count; i++) out.push(asm.alu64Imm('add', R0, i), asm.exit());
  return out;
}

const SHAPES: Readonly<Record<string, (size: number) => Insn[]>> = {
  'straight line': (size) => repeated(size, (i) => [asm.alu64Imm('add', R0, i)]),
  branches: (size) =>
    repeated(size, (i) => [
      asm.jumpImm(64, 'jeq', R0, i, 2),
      asm.alu64Imm('add', R0, 1),
      asm.ja(1),
      asm.alu64Imm('xor', R0, 3),
      asm.alu64Imm('add', R0, 1),
    ]),
  loops: (size) =>
    repeated(size, () => [
      asm.mov64Imm(R1, 0),
      asm.alu64Imm('add', R0, 1),
      asm.alu64Imm('add', R1, 1),
      asm.jumpImm(64, 'jlt', R1, 5, -3),
    ]),
  'loops in one another': loopsInLoops,
  'a switch': cases,
  'functions of 30': functions,
  'spills and fills': (size) =>
    repeated(size, (i) => [
      asm.stx('dw', R10, R0, -8 * (1 + ((i * 7) % 64))),
      asm.ldx('dw', R2, R10, -8),
      asm.alu64Reg('add', R0, R2),
    ]),
  'jumps forward': (size) =>
    graph(size, (i, n) => [Math.min(n - 1, i + 1 + (scattered(i) % (n - i))), Math.min(n - 1, i + 1)]),
  'jumps back': (size) => graph(size, (i, n) => [scattered(i) % (i + 1), Math.min(n - 1, i + 1)]),
  'jumps to anywhere': (size) => graph(size, (i, n) => [scattered(i) % n, (i + 1) % n]),
};

const OPTIONS = { tag: 'shape', tailCalls: true, maxNesting: 20_000, memory: { minimum: 1, shared: false } };

/** By the clock that `performance` is. */
export function measureShapes(rounds: number): ShapeTime[] {
  return Object.entries(SHAPES).map(([shape, make]) => {
    const time = (size: number) => {
      const insns = make(size);
      const program = executable(insns);
      let best = Number.POSITIVE_INFINITY;
      let bytes = 0;
      for (let i = 0; i < rounds; i++) {
        const started = performance.now();
        bytes = compileModule(program, OPTIONS).bytes.length;
        best = Math.min(best, performance.now() - started);
      }
      return { us: (best * 1000) / insns.length, bytes: bytes / insns.length };
    };
    const { us: small } = time(SHAPE_SIZES.small);
    const { us: large, bytes } = time(SHAPE_SIZES.large);
    return { shape, small, large, bytes };
  });
}
