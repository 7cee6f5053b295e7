/**
 * Programs that are hard to verify, made here so that bench:verifier needs nothing from outside: each one makes the verifier
 * walk for another reason. `size` is about how many instructions it processes.
 */
import { assemble, encodeProgram } from '../src/asm/index.ts';
import type { Fd, Kernel } from '../src/contracts/kernel.ts';
import { mapTypeByName, progTypeByName } from '../src/spec/index.ts';

export interface HeavyProgram {
  readonly name: string;
  /** Text for the assembler; `map` is the fd of an array with one value of 4096 bytes. */
  text(map: Fd): string;
}

const VALUE_SIZE = 4096;

const lines = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join('\n');

/** A value of the map in r0, or the end of the program. */
const lookup = (map: Fd): string => `
  *(u32 *)(r10 - 4) = 0
  r2 = r10
  r2 += -4
  r1 = map[fd:${map}]
  call bpf_map_lookup_elem
  if r0 != 0 goto +1
  exit`;

export const HEAVY_PROGRAMS: readonly HeavyProgram[] = [
  {
    // Every round is another state: the counter decides.
    name: 'bounded loop',
    text: () => `
  r1 = 0
  r0 = 0
again:
  r0 += r1
  r1 += 1
  if r1 < 200000 goto again
  r0 = 0
  exit`,
  },
  {
    // The counter lies on the stack and the bound is checked on a copy: precision goes back through spills.
    name: 'loop over a map value',
    text: (map) => `${lookup(map)}
  r6 = r0
  r7 = 0
next:
  *(u64 *)(r10 - 16) = r7
  r1 = r6
  r8 = *(u64 *)(r10 - 16)
  r1 += r8
  r2 = *(u8 *)(r1 + 0)
  if r2 > 100 goto skip
  *(u8 *)(r1 + 0) = r2
skip:
  r7 += 1
  if r7 < ${VALUE_SIZE} goto next
  r0 = 0
  exit`,
  },
  {
    // Branches whose outcome stays in a register that matters in the end.
    name: 'many branches',
    text: (map) => `${lookup(map)}
  r6 = r0
  r7 = 0
${lines(
  12,
  (i) => `
  r1 = *(u32 *)(r6 + ${i * 4})
  if r1 > ${i + 10} goto b${i}
  r7 += ${1 << i}
b${i}:`,
)}
  r7 &= ${VALUE_SIZE - 1}
  r6 += r7
  r0 = *(u8 *)(r6 + 0)
${lines(40, (i) => `  r${(i % 5) + 1} = ${i}\n  r${(i % 5) + 1} += r0`)}
  exit`,
  },
  {
    // Functions that are walked at each of their calls.
    name: 'many subprograms',
    text: (map) => `${lookup(map)}
  r6 = r0
  r7 = 0
${lines(
  1500,
  (i) => `
  r1 = r6
  r2 = ${i % 4000}
  call f${i % 8}
  r7 += r0`,
)}
  r0 = 0
  exit
${lines(
  8,
  (i) => `
f${i}:
  r1 += r2
  *(u64 *)(r10 - 8) = r1
  *(u64 *)(r10 - 16) = r2
  r3 = *(u8 *)(r1 + ${i})
  if r3 > ${i + 5} goto g${i}
  r3 += ${i}
g${i}:
  r1 = *(u64 *)(r10 - 8)
  r2 = *(u64 *)(r10 - 16)
  *(u8 *)(r1 + 8) = r3
  r3 <<= 2
  r3 ^= r2
  r0 = r3
  exit`,
)}`,
  },
  {
    // Straight code over a value: offsets, bounds and masks of unknown numbers.
    name: 'long and straight',
    text: (map) => `${lookup(map)}
  r6 = r0
${lines(
  6000,
  (i) => `
  r1 = *(u32 *)(r6 + ${(i * 4) % VALUE_SIZE})
  r2 = r1
  r2 >>= ${i % 7}
  r2 &= ${(i * 8 + 7) & 2047}
  r3 = r6
  r3 += r2
  r4 = *(u64 *)(r3 + ${i % 64})
  r4 *= r1
  *(u64 *)(r10 - ${8 * (2 + (i % 60))}) = r4`,
)}
  r0 = 0
  exit`,
  },
];

/** Loads the program into the kernel; `onLog` gets the statistics. */
export function loadHeavy(program: HeavyProgram, kernel: Kernel, onLog: (text: string) => void): void {
  const map = kernel.mapCreate({
    mapType: mapTypeByName('array')!.id,
    keySize: 4,
    valueSize: VALUE_SIZE,
    maxEntries: 1,
  });
  try {
    const fd = kernel.progLoad({
      progType: progTypeByName('socket_filter')!.id,
      insns: encodeProgram(assemble(program.text(map))),
      license: 'GPL',
      logLevel: 4,
      onLog,
    });
    kernel.close(fd);
  } finally {
    kernel.close(map);
  }
}
