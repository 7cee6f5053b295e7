/**
 * Programs of any length for bench:load, as compilers write them: packet reads, arithmetic, branches that join again, spills, look-ups
 * in an array and a hash map, a short loop now and then. XDP; the result is a sum over the packet.
 */

import * as asm from '../src/asm/construct.ts';
import { encodeProgram, ProgramBuilder, reg } from '../src/asm/index.ts';
import type { Fd, Kernel } from '../src/contracts/kernel.ts';
import { mapTypeByName } from '../src/spec/index.ts';

const { R0, R1, R2, R3, R6, R7, R8, R9, R10 } = asm;
/** Bytes of the packet that may be read. */
const PACKET = 64;
const ENTRIES = 64;

export interface LoadMaps {
  readonly array: Fd;
  readonly hash: Fd;
}

export function createLoadMaps(kernel: Kernel): LoadMaps {
  const sizes = { keySize: 4, valueSize: 8, maxEntries: ENTRIES };
  const map = (type: string) => kernel.mapCreate({ mapType: mapTypeByName(type)!.id, ...sizes });
  return { array: map('array'), hash: map('hash') };
}

/** Small numbers that repeat. */
function numbers(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/** R6 the packet, R7 the sum so far: 10 to 16 instructions each. */
const PIECES: readonly ((b: ProgramBuilder, next: (below: number) => number, label: string) => void)[] = [
  // Bytes of the packet decide.
  (b, next, label) =>
    b
      .ldx('b', R1, R6, next(PACKET))
      .alu64('and', R1, 15)
      .jmp('jgt', R1, 5 + next(6), `${label}a`)
      .alu64('add', R7, reg(R1))
      .alu64('lsh', R7, 1)
      .goto(`${label}b`)
      .label(`${label}a`)
      .alu64('xor', R7, next(1 << 16))
      .alu64('sub', R7, reg(R1))
      .label(`${label}b`)
      .ldx('h', R2, R6, next(PACKET / 2) * 2)
      .swap('be', 16, R2)
      .alu64('add', R7, reg(R2)),
  // A hash of words.
  (b, next) =>
    b
      .ldx('w', R8, R6, next(PACKET / 4) * 4)
      .mov64(R1, reg(R8))
      .alu32('mul', R1, 0x9e37 + next(1000))
      .mov32(R2, reg(R1))
      .alu32('rsh', R2, 7 + next(9))
      .alu32('xor', R1, reg(R2))
      .alu64('add', R7, reg(R1))
      .mov64(R3, reg(R7))
      .alu64('rsh', R3, 32)
      .alu64('xor', R7, reg(R3)),
  // A cascade of comparisons.
  (b, next, label) => {
    b.ldx('b', R1, R6, next(PACKET)).mov64(R9, 1);
    b.jmp('jeq', R1, next(256), `${label}x`).alu64('add', R9, 1 + next(7));
    b.jmp('jset', R1, 1 << next(8), `${label}x`).alu64('lsh', R9, 2);
    b.label(`${label}x`).alu64('xor', R7, reg(R9));
    b.alu64('lsh', R7, 3).mov64(R2, reg(R7)).alu64('arsh', R2, 9).alu64('add', R7, reg(R2));
  },
  // Spilled and filled.
  (b, next) =>
    b
      .stx('dw', R10, R7, -16)
      .ldx('dw', R8, R6, next(PACKET / 8) * 8)
      .stx('dw', R10, R8, -24)
      .ldx('dw', R1, R10, -16)
      .ldx('dw', R2, R10, -24)
      .alu64('mul', R1, 31)
      .alu64('add', R1, reg(R2))
      .alu64('arsh', R1, 1)
      .mov64(R7, reg(R1))
      .alu64('or', R7, 1),
];

const LOOKUP = (b: ProgramBuilder, next: (below: number) => number, label: string, map: Fd): ProgramBuilder =>
  b
    .st('w', R10, -4, next(ENTRIES))
    .mov64(R2, reg(R10))
    .alu64('add', R2, -4)
    .ldMapFd(R1, map)
    .callHelper('bpf_map_lookup_elem')
    .jmp('jeq', R0, 0, `${label}n`)
    .ldx('dw', R1, R0, 0)
    .alu64('add', R1, reg(R7))
    .stx('dw', R0, R1, 0)
    .alu64('add', R7, 3)
    .label(`${label}n`);

const LOOP = (b: ProgramBuilder, next: (below: number) => number, label: string): ProgramBuilder =>
  b
    .mov64(R8, 0)
    .label(`${label}l`)
    .alu64('add', R7, reg(R8))
    .alu64('xor', R7, next(4096))
    .alu64('add', R8, 1)
    .jmp('jlt', R8, 4, `${label}l`);

function body(b: ProgramBuilder, end: number, seed: number, maps: LoadMaps): void {
  const next = numbers(seed);
  for (let i = 0; b.length < end; i++) {
    const label = `${seed}_${i}`;
    if (i % 10 === 4) LOOKUP(b, next, label, i % 20 === 4 ? maps.array : maps.hash);
    else if (i % 40 === 9) LOOP(b, next, label);
    else PIECES[next(PIECES.length)]!(b, next, label);
  }
}

export interface LoadProgramOptions {
  /** About how many instructions a function has; absent: the program is one function. */
  readonly functionSize?: number;
  /** Another number, another program (default 1). */
  readonly seed?: number;
}

export function loadProgram(size: number, maps: LoadMaps, options: LoadProgramOptions = {}): Uint8Array {
  const { functionSize, seed = 1 } = options;
  const b = new ProgramBuilder();
  b.ldx('w', R6, R1, 0).ldx('w', R2, R1, 4).mov64(R3, reg(R6)).alu64('add', R3, PACKET);
  // Near the start: jumps reach 32767 instructions.
  b.jmp('jle', R3, reg(R2), 'long').mov64(R0, 1).exit().label('long').mov64(R7, 1);
  if (functionSize === undefined) body(b, size - 2, seed, maps);
  else {
    const functions = Math.max(1, Math.round(size / functionSize));
    for (let f = 0; f < functions; f++)
      b.mov64(R1, reg(R7)).mov64(R2, reg(R6)).callLocal(`f${f}`).mov64(R7, reg(R0));
    b.mov64(R0, reg(R7)).exit();
    for (let f = 0; f < functions; f++) {
      b.label(`f${f}`).mov64(R7, reg(R1)).mov64(R6, reg(R2));
      body(b, Math.round(((f + 1) * size) / functions) - 2, seed * 1000 + f, maps);
      b.mov64(R0, reg(R7)).exit();
    }
    return encodeProgram(b.build());
  }
  b.mov64(R0, reg(R7)).exit();
  return encodeProgram(b.build());
}
