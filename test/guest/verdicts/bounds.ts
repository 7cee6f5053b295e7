/**
 * Random programs whose verdict hangs on what is deduced of numbers: unknown bytes of a map's value go through arithmetic,
 * copies, spills of all widths and comparisons of both widths, and end as an index into the value, or decide a jump behind
 * which lies an access that is never allowed. Made for comparing releases: each deduces a little more than the one before.
 */
import { assemble, encodeProgram } from '../../../src/asm/index.ts';
import type { Insn } from '../../../src/contracts/insn.ts';
import { toHex } from '../../../src/util/index.ts';
import type { MapKind } from '../../../tools/conformance/verifier-case.ts';
import { Random } from '../../generator/random.ts';
import { DEDUCTION_NEEDS, deductionProgram } from '../../verifier/deduction-programs.ts';
import type { VerdictCase } from './protocol.ts';

const VALUE_SIZE = 64;
const KIND = 'bounds';
/** Registers that hold numbers; R9 is the map's value. */
const NUMBERS = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const JUMPS = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0] as const;
/** add, sub, mul, div, or, and, lsh, rsh, mod, xor, arsh, by how often. */
const OPS = [
  0x00, 0x00, 0x10, 0x10, 0x20, 0x30, 0x40, 0x40, 0x50, 0x50, 0x50, 0x60, 0x70, 0x90, 0xa0, 0xc0, 0xc0,
] as const;
const SIZES = [
  [1, 0x10],
  [2, 0x08],
  [4, 0x00],
  [8, 0x18],
] as const;
const CONSTANTS = [
  0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 100, 255, 256, 0x7fff, 0xffff, 0x10000, 0x7fffffff, -1, -2, -8,
  -64, -256, -0x80000000,
];

class Writer {
  readonly insns: Insn[] = [];
  readonly random: Random;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  put(code: number, dst: number, src: number, off: number, imm: number): void {
    this.insns.push({ code, dst, src, off, imm });
  }

  pick<T>(from: readonly T[]): T {
    return from[this.random.below(from.length)]!;
  }

  chance(percent: number): boolean {
    return this.random.below(100) < percent;
  }

  constant(): number {
    return this.chance(75) ? this.pick(CONSTANTS) : this.random.below(VALUE_SIZE * 2) - VALUE_SIZE / 2;
  }

  arithmetic(): void {
    const op = this.pick(OPS);
    const code = op | (this.chance(50) ? 0x07 : 0x04);
    const shift = op === 0x60 || op === 0x70 || op === 0xc0;
    if (this.chance(shift ? 15 : 40)) {
      this.put(code | 0x08, this.pick(NUMBERS), this.pick(NUMBERS), 0, 0);
    } else {
      const imm = shift
        ? this.pick([1, 3, 8, 16, 31, (code & 7) === 7 ? 32 : 24, (code & 7) === 7 ? 56 : 4])
        : this.constant();
      this.put(code, this.pick(NUMBERS), 0, 0, imm === 0 && (op === 0x30 || op === 0x90) ? 5 : imm);
    }
  }

  bound(n: number): void {
    const code = this.chance(50) ? 0x07 : 0x04;
    const mask = this.pick([1, 3, 7, 15, 31, 63]);
    if (this.chance(70)) this.put(0x50 | code, n, 0, 0, mask);
    else if (code === 0x07) this.put(0x70 | code, n, 0, 0, this.pick([56, 58, 60, 62]));
    else this.put(0x70 | code, n, 0, 0, this.pick([24, 26, 28, 30]));
  }

  copy(): void {
    this.put(this.chance(60) ? 0xbf : 0xbc, this.pick(NUMBERS), this.pick(NUMBERS), 0, 0);
  }

  spill(): void {
    const [size, bits] = this.pick(SIZES);
    const slot = this.pick([-8, -16]);
    const off = slot + (this.chance(70) ? 0 : size * this.random.below(8 / size));
    if (this.chance(75)) this.put(0x63 | bits, 10, this.pick(NUMBERS), off, 0);
    else this.put(0x62 | bits, 10, 0, off, this.constant());
  }

  fill(): void {
    const [size, bits] = this.pick(SIZES);
    const off = this.pick([-8, -16]) + (this.chance(70) ? 0 : size * this.random.below(8 / size));
    this.put(0x61 | bits, this.pick(NUMBERS), 10, off, 0);
  }

  /** A comparison; where it does not hold, `skipped` follows. */
  compare(skipped: () => void): void {
    const code = this.pick(JUMPS) | (this.chance(50) ? 0x05 : 0x06);
    const at = this.insns.length;
    const register = this.chance(40);
    const dst = this.pick(NUMBERS);
    const jump = {
      code: register ? code | 0x08 : code,
      dst,
      src: register ? this.pick(NUMBERS) : 0,
      off: 0,
      imm: register ? 0 : this.constant(),
    };
    this.insns.push(jump);
    skipped();
    this.insns[at] = { ...jump, off: this.insns.length - at - 1 };
  }

  /** Makes `n` 0 where it is above. */
  compareWith(n: number, limit: number): void {
    this.put(0xb5, n, 0, 1, limit);
    this.put(0xb7, n, 0, 0, 0);
  }

  leave(): void {
    this.put(0xb7, 0, 0, 0, 0);
    this.put(0x95, 0, 0, 0, 0);
  }

  /** What is never allowed. */
  bad(): void {
    this.put(0x79, 0, 9, 4096, 0);
  }

  step(): void {
    const kind = this.random.below(100);
    if (kind < 30) this.arithmetic();
    else if (kind < 42) this.bound(this.pick(NUMBERS));
    else if (kind < 54) this.copy();
    else if (kind < 64) this.spill();
    else if (kind < 74) this.fill();
    else if (kind < 92) this.compare(() => this.leave());
    else this.compare(() => this.arithmetic());
  }

  access(): void {
    const index = this.pick(NUMBERS);
    if (this.chance(35)) this.bound(index);
    if (this.chance(20)) this.copy();
    const [size, bits] = this.pick(SIZES);
    this.put(0x0f, 9, index, 0, 0);
    this.put(0x61 | bits, 0, 9, this.chance(70) ? 0 : this.random.below(VALUE_SIZE - size), 0);
  }
}

/** R9 = the value of element 0, or leave. */
function start(w: Writer): void {
  w.put(0x62, 10, 0, -4, 0);
  w.put(0xbf, 2, 10, 0, 0);
  w.put(0x07, 2, 0, 0, -4);
  w.put(0x18, 1, 1, 0, 0);
  w.put(0, 0, 0, 0, 0);
  w.put(0x85, 0, 0, 0, 1);
  w.put(0x55, 0, 0, 2, 0);
  w.leave();
  w.put(0xbf, 9, 0, 0, 0);
}

function program(seed: number): readonly Insn[] {
  const w = new Writer(seed);
  start(w);
  for (const n of NUMBERS) {
    const [, bits] = w.pick(SIZES);
    if (w.chance(80)) w.put(0x61 | bits, n, 9, 8 * n, 0);
    else w.put(w.chance(50) ? 0xb7 : 0xb4, n, 0, 0, w.constant());
  }
  w.put(0x7b, 10, 1, -8, 0);
  w.put(0x7b, 10, 2, -16, 0);
  const steps = 3 + w.random.below(9);
  for (let i = 0; i < steps; i++) w.step();
  if (w.chance(45)) w.compare(() => w.bad());
  else w.access();
  w.leave();
  return w.insns;
}

export function bounds(
  count: number,
  seed: number,
): { cases: VerdictCase[]; kinds: Record<string, MapKind> } {
  const cases = Array.from({ length: count }, (_, i): VerdictCase => {
    const insns = program(seed + i);
    return {
      id: i,
      name: `bounds ${seed + i}`,
      progType: 'socket_filter',
      expectedAttachType: 0,
      loadFlags: 0,
      insns: toHex(encodeProgram(insns)).match(/.{16}/g)!,
      maps: { [KIND]: [3] },
    };
  });
  return { cases, kinds: { [KIND]: { type: 'ARRAY', key: 4, value: VALUE_SIZE, max_entries: 1 } } };
}

/** A program of each rule of deduction. */
export function deductions(): { cases: VerdictCase[]; kinds: Record<string, MapKind> } {
  const cases = DEDUCTION_NEEDS.map(
    ({ rule, lines }, id): VerdictCase => ({
      id,
      name: rule,
      progType: 'socket_filter',
      expectedAttachType: 0,
      loadFlags: 0,
      insns: toHex(encodeProgram(assemble(deductionProgram(lines)))).match(/.{16}/g)!,
      maps: {},
    }),
  );
  return { cases, kinds: {} };
}

/** A function that bpf_loop or bpf_for_each_map_elem calls with a pointer to fp-8, which it changes. */
function callback(w: Writer, context: number): void {
  w.put(0xbf, 6, context, 0, 0);
  w.put(0x79, 0, 6, 0, 0);
  for (const n of [1, 2, 3, 4, 5, 7]) w.put(0xb7, n, 0, 0, w.constant());
  const steps = w.random.below(4);
  for (let i = 0; i < steps; i++) {
    const op = w.pick(OPS.filter((one) => one !== 0x30 && one !== 0x90));
    const shift = op === 0x60 || op === 0x70 || op === 0xc0;
    w.put(op | 0x07, 0, 0, 0, shift ? w.pick([1, 3, 8]) : w.pick([0, 1, 2, 8, 15, 63, 255, -1]));
  }
  if (w.chance(30)) w.compareWith(0, w.pick([8, 32, 63, 64]));
  if (w.chance(85)) w.put(0x7b, 6, 0, 0, 0);
  else if (w.chance(50)) w.put(0x7a, 6, 0, 0, w.pick([0, 5, 100]));
  w.put(0xb7, 0, 0, 0, w.chance(90) ? w.random.below(2) : w.random.below(4));
  w.put(0x95, 0, 0, 0, 0);
}

const LOOP = 181;
const FOR_EACH_MAP_ELEM = 164;

/** Programs that walk callbacks: whether one round is all, or any number of them, decides. */
export function callbacks(
  count: number,
  seed: number,
): { cases: VerdictCase[]; kinds: Record<string, MapKind> } {
  const cases = Array.from({ length: count }, (_, i): VerdictCase => {
    const w = new Writer(seed + i);
    const maps = [3];
    start(w);
    w.put(0x7a, 10, 0, -8, w.pick([0, 1, 8, 60, 64, 100]));
    const each = w.chance(30);
    const calls = w.chance(25) ? 2 : 1;
    const functions: number[] = [];
    for (let n = 0; n < calls; n++) {
      if (each) {
        maps.push(w.insns.length);
        w.put(0x18, 1, 1, 0, 0);
        w.put(0, 0, 0, 0, 0);
      } else if (w.chance(60)) {
        w.put(0xb7, 1, 0, 0, w.pick([0, 1, 2, 5, 100]));
      } else {
        w.put(0x61, 1, 9, 0, 0);
      }
      functions.push(w.insns.length);
      w.put(0x18, 2, 4, 0, 0);
      w.put(0, 0, 0, 0, 0);
      w.put(0xbf, 3, 10, 0, 0);
      w.put(0x07, 3, 0, 0, -8);
      w.put(0xb7, 4, 0, 0, 0);
      w.put(0x85, 0, 0, 0, each ? FOR_EACH_MAP_ELEM : LOOP);
    }
    w.put(0x79, 1, 10, -8, 0);
    if (w.chance(30)) w.bound(1);
    w.put(0x0f, 9, 1, 0, 0);
    w.put(0x71, 0, 9, 0, 0);
    w.leave();
    const target = w.insns.length;
    for (const at of functions) w.insns[at] = { ...w.insns[at]!, imm: target - at - 1 };
    callback(w, each ? 4 : 2);
    return {
      id: i,
      name: `callbacks ${seed + i}`,
      progType: 'socket_filter',
      expectedAttachType: 0,
      loadFlags: 0,
      insns: toHex(encodeProgram(w.insns)).match(/.{16}/g)!,
      maps: { [KIND]: maps },
    };
  });
  return { cases, kinds: { [KIND]: { type: 'ARRAY', key: 4, value: VALUE_SIZE, max_entries: 1 } } };
}
