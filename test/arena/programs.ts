/** Programs that work in an arena, at random: the same seed gives the same program. */
import * as asm from '../../src/asm/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import type { Fd, Kernel } from '../../src/contracts/kernel.ts';
import { mapTypeByName, progTypeByName } from '../../src/spec/index.ts';
import { VerifierError } from '../../src/util/index.ts';

const { R0, R1, R2, R6, R7, R8, R10 } = asm;

export const ARENA_PAGES = 5;
const PAGE = 4096;
/** BPF_F_MMAPABLE */
const MMAPABLE = 1 << 10;
const MAP_VALUE = 2;
/** Pages that user space touches before the program runs. */
export const PRESENT: readonly number[] = [0, 1, 3];
export const ADDRESS = 0x1000_0000_0000n;

/** Casts between an address of user space and one of the arena. */
const castIn = (dst: asm.Reg, src: asm.Reg): Insn => ({ code: 0xbf, dst, src, off: 1, imm: 1 });
const castOut = (dst: asm.Reg, src: asm.Reg): Insn => ({ code: 0xbf, dst, src, off: 1, imm: 1 << 16 });

function random(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x9e37_79b9) | 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0_aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a_2d97);
    return ((z ^ (z >>> 15)) >>> 0) % below;
  };
}

const SIZES = ['b', 'h', 'w', 'dw'] as const;
/** x86-64's JIT knows no fetching and, or, xor in arenas. */
const ATOMICS = ['add', 'or', 'and', 'xor', 'fetch_add', 'xchg', 'cmpxchg'] as const;

/** `map`: descriptor of the arena. R7 gathers what was seen. */
export function arenaProgram(seed: number, map: Fd): Insn[] {
  const next = random(seed);
  const insns: Insn[] = [
    ...asm.ldImm64(R6, 0n).map((insn, i) => (i === 0 ? { ...insn, src: MAP_VALUE, imm: map } : insn)),
    asm.mov64Imm(R7, 1),
  ];
  const gather = (r: asm.Reg) => insns.push(asm.alu64Imm('mul', R7, 31), asm.alu64Reg('add', R7, r));
  for (let i = 0; i < 12; i++) {
    // Near the edges of pages, most of them there; sometimes before or behind the arena.
    const page = next(10) === 0 ? [-1, ARENA_PAGES, ARENA_PAGES + 1][next(3)]! : next(ARENA_PAGES);
    const size = SIZES[next(4)]!;
    const bytes = { b: 1, h: 2, w: 4, dw: 8 }[size];
    const near = next(3) === 0 ? -next(8) : next(PAGE / 8) * 8;
    const kind = next(6);
    const aligned = kind >= 4 ? near & ~7 : near;
    const off = next(2) === 0 ? 0 : kind >= 4 ? (next(40) - 20) * 8 : next(400) - 200;
    insns.push(asm.mov64Reg(R1, R6), asm.alu64Imm('add', R1, page * PAGE + aligned - off), castIn(R1, R1));
    if (kind < 2) {
      const load = asm.ldx(size, R2, R1, off);
      // Mode MEMSX.
      insns.push(next(3) === 0 && bytes < 8 ? { ...load, code: (load.code & 0x1f) | 0x80 } : load);
      gather(R2);
    } else if (kind === 2) {
      insns.push(asm.st(size, R1, off, next(1 << 30)));
    } else if (kind === 3) {
      insns.push(asm.stx(size, R1, R7, off));
    } else {
      const op = ATOMICS[next(ATOMICS.length)]!;
      insns.push(asm.mov64Reg(R2, R7), asm.mov64Imm(R0, next(3) - 1));
      insns.push(asm.atomic(op, next(2) === 0 ? 'w' : 'dw', R1, R2, off));
      gather(R2);
      gather(R0);
    }
  }
  // A pointer as user space would follow it.
  insns.push(asm.mov64Reg(R8, R6), asm.alu64Imm('add', R8, next(PAGE)), castIn(R8, R8), castOut(R8, R8));
  insns.push(asm.stx('dw', R10, R8, -8), asm.ldx('dw', R2, R10, -8), asm.alu64Reg('sub', R2, R6));
  gather(R2);
  insns.push(asm.mov64Reg(R0, R7), asm.exit());
  return insns;
}

export type ArenaRun =
  | {
      readonly retval: number;
      /** What lies in the pages that were there. */
      readonly pages: readonly string[];
    }
  | { readonly refused: string };

/** Runs the program in a fresh arena. */
export function runArena(kernel: Kernel, seed: number): ArenaRun {
  const mapFd = kernel.mapCreate({
    mapType: mapTypeByName('arena')!.id,
    keySize: 0,
    valueSize: 0,
    maxEntries: ARENA_PAGES,
    mapFlags: MMAPABLE,
    mapExtra: ADDRESS,
    mapName: 'arena',
  });
  const memory = kernel.mapMemory!(mapFd);
  try {
    for (const page of PRESENT)
      memory.write(
        page * PAGE,
        Uint8Array.from({ length: PAGE }, (_, i) => (i * 7 + page * 13) & 0xff),
      );
    const progFd = kernel.progLoad({
      progType: progTypeByName('xdp')!.id,
      insns: asm.encodeProgram(arenaProgram(seed, mapFd)),
      license: 'GPL',
    });
    try {
      const { retval } = kernel.progTestRun({ progFd, dataIn: new Uint8Array(64) });
      return {
        retval,
        pages: PRESENT.map((page) => Buffer.from(memory.read(page * PAGE, PAGE)).toString('hex')),
      };
    } finally {
      kernel.close(progFd);
    }
  } catch (error) {
    if (error instanceof VerifierError) return { refused: error.message };
    throw error;
  } finally {
    memory.unmap();
    kernel.close(mapFd);
  }
}
