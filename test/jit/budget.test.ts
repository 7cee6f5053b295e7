/**
 * A run's budget on random programs of loops, nested ones and with early exits and calls: both engines end at the same count, with the
 * same memory, whatever the budget is.
 */
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import { encodeProgram } from '../../src/asm/index.ts';
import type { Insn } from '../../src/contracts/insn.ts';
import { createInterpreter } from '../../src/interpreter/index.ts';
import { createJit } from '../../src/jit/index.ts';
import { RUN_STATE } from '../../src/memory/index.ts';
import { BUDGET_CHECK } from '../../src/rewrite/budget.ts';
import { executable } from '../../src/rewrite/index.ts';
import { ProgramFault } from '../../src/util/errors.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { Bench } from '../engines/support.ts';
import { random } from './random-graphs.ts';

type Jump = Parameters<typeof asm.jumpImm>[1];
type Item = Insn | { readonly label: string } | { readonly to: string; readonly insn: Insn };

const WORDS = 64;
/** Loops that do not end by themselves end with it. */
const MOST = 3000;
const TESTS: readonly Jump[] = ['jne', 'jeq', 'jlt', 'jle', 'jgt', 'jge', 'jslt', 'jsle', 'jsgt', 'jsge'];
const { R0, R1, R2, R3, R4, R6, R7, R8, R9 } = asm;

function assemble(items: readonly Item[]): Insn[] {
  const places = new Map<string, number>();
  let at = 0;
  for (const item of items) {
    if ('label' in item) places.set(item.label, at);
    else at++;
  }
  const out: Insn[] = [];
  for (const item of items) {
    if ('label' in item) continue;
    if (!('to' in item)) out.push(item);
    else {
      const distance = places.get(item.to)! - out.length - 1;
      const isCall = item.insn.code === asm.callLocal(0).code;
      out.push(isCall ? { ...item.insn, imm: distance } : { ...item.insn, off: distance });
    }
  }
  return out;
}

/** R9: 64 words, which begin as small numbers. Loops count in R6 to R8, by depth; R1 to R4 are for the moment. */
class Generator {
  readonly #next: () => number;
  readonly #items: Item[] = [];
  #labels = 0;

  constructor(seed: number) {
    this.#next = random(seed);
  }

  program(): Insn[] {
    this.#put(asm.mov64Reg(R9, R1), asm.mov64Imm(R6, 3), asm.mov64Imm(R7, 3), asm.mov64Imm(R8, 3));
    this.#body(0, 2 + this.#below(3), []);
    this.#put(asm.ldx('dw', R0, R9, 8), asm.exit());
    this.#put({ label: 'leaf' }, BUDGET_CHECK, asm.mov64Reg(R0, R1), asm.alu64Imm('mul', R0, 3), asm.exit());
    // Names R10, so that it stays a function.
    this.#put(
      { label: 'frame' },
      BUDGET_CHECK,
      asm.stx('dw', 10, R1, -8),
      asm.ldx('dw', R0, 10, -8),
      asm.exit(),
    );
    this.#put({ label: 'loops' }, BUDGET_CHECK, asm.mov64Imm(R0, 0), asm.mov64Imm(R2, 5));
    this.#put(
      { label: 'loops.again' },
      BUDGET_CHECK,
      asm.alu64Reg('add', R0, R1),
      asm.alu64Imm('add', R2, -1),
    );
    this.#jump('loops.again', asm.jumpImm(64, 'jne', R2, 0, 0));
    this.#put(asm.exit());
    return assemble(this.#items);
  }

  #below(n: number): number {
    return this.#next() % n;
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)]!;
  }

  #put(...items: Item[]): void {
    this.#items.push(...items);
  }

  #jump(to: string, insn: Insn): void {
    this.#put({ to, insn });
  }

  #word(): number {
    return 8 * this.#below(WORDS);
  }

  #body(depth: number, size: number, outs: readonly string[]): void {
    for (let i = 0; i < size; i++) {
      const kind = this.#below(10);
      if (kind < 4 && depth < 3) this.#loop(depth, outs);
      else if (kind < 6) {
        const word = this.#word();
        this.#put(asm.ldx('dw', R1, R9, word), asm.alu64Imm('add', R1, 1), asm.stx('dw', R9, R1, word));
      } else if (kind === 6 && outs.length > 0) {
        // Out of this loop, or of some around it.
        this.#put(asm.ldx('w', R1, R9, this.#word()));
        const register = this.#pick([R6, R7, R8]);
        this.#jump(this.#pick(outs), asm.jumpReg(64, this.#pick(['jeq', 'jgt', 'jlt']), R1, register, 0));
      } else if (kind === 7) {
        // Past something.
        const label = `past${this.#labels++}`;
        this.#put(asm.ldx('w', R1, R9, this.#word()));
        this.#jump(label, asm.jumpImm(64, this.#pick(['jset', 'jgt']), R1, 1 + this.#below(8), 0));
        this.#body(depth, 1, outs);
        this.#put({ label });
      } else if (kind === 8) {
        const name = this.#pick(['leaf', 'leaf', 'frame', 'frame', 'loops']);
        this.#put(asm.mov64Reg(R1, this.#pick([R6, R7, R8, R9])));
        this.#jump(name, asm.callLocal(0));
        if (this.#below(2) === 0) this.#put(asm.stx('b', R9, R0, this.#word()));
      } else this.#put(asm.alu64Imm('xor', this.#pick([R2, R3]), 5), asm.stx('b', R9, R6, this.#word()));
      if (kind === 9) this.#put(asm.mov64Imm(R2, 0), asm.mov64Imm(R3, 0));
    }
  }

  #loop(depth: number, outs: readonly string[]): void {
    const n = this.#labels++;
    const again = `again${n}`;
    const out = `out${n}`;
    const test = `test${n}`;
    const counter = [R6, R7, R8][depth]!;
    const down = this.#below(3) === 0;
    const size = this.#pick([1, 1, 1, 2, 3, 4, 7]);
    const rounds = this.#below(12);
    const from = this.#pick([0, 0, 1, 5, -4, down ? 40 : 2]);
    const bound = from + (down ? -1 : 1) * (rounds * size + this.#pick([0, 0, 0, 1]));
    const wide = this.#below(2) === 0;
    const add = this.#below(2) === 0 ? asm.alu64Imm : asm.alu32Imm;
    const move = this.#below(2) === 0 ? asm.mov64Imm : asm.mov32Imm;
    const step = add('add', counter, down ? -size : size);
    // Where it starts and ends: numbers of the program, or of the memory.
    if (this.#below(3) > 0) this.#put(move(counter, from));
    else this.#put(asm.ldx(this.#pick(['w', 'b', 'dw']), counter, R9, this.#word()));
    const fromMemory = this.#below(4) === 0;
    const inRegister = fromMemory || this.#below(4) === 0;
    // R4 is not kept by calls: it is put there for each test, or once where it may stay.
    const isKept = this.#below(2) === 0;
    const putBound = () =>
      this.#put(fromMemory ? asm.ldx('w', R4, R9, 8 * (n % WORDS)) : asm.mov64Imm(R4, bound));
    if (inRegister) putBound();
    const compare = (op: Jump) => {
      const jump = (reg: asm.Reg) =>
        inRegister
          ? this.#below(3) === 0
            ? asm.jumpReg(wide ? 64 : 32, op, R4, reg, 0)
            : asm.jumpReg(wide ? 64 : 32, op, reg, R4, 0)
          : asm.jumpImm(wide ? 64 : 32, op, reg, bound, 0);
      if (inRegister && !isKept) putBound();
      if (this.#below(4) > 0) return jump(counter);
      this.#put(this.#below(2) === 0 ? asm.mov64Reg(R3, counter) : asm.mov32Reg(R3, counter));
      if (this.#below(2) === 0) this.#put(asm.alu64Imm('or', R2, 1));
      return jump(R3);
    };
    const inner = () => {
      const before = this.#items.length;
      this.#body(depth + 1, 1 + this.#below(3), [...outs, out]);
      const calls = this.#items
        .slice(before)
        .some((item) => 'to' in item && item.insn.code === asm.callLocal(0).code);
      if (calls && inRegister && isKept) putBound();
    };
    const goesOn = this.#pick(
      down
        ? (['jne', 'jgt', 'jsgt', 'jge', 'jsge'] as const)
        : (['jne', 'jlt', 'jslt', 'jle', 'jsle'] as const),
    );
    const any = this.#below(8) === 0 ? this.#pick(TESTS) : goesOn;
    const INVERSE: Partial<Record<Jump, Jump>> = {
      jne: 'jeq',
      jlt: 'jge',
      jslt: 'jsge',
      jle: 'jgt',
      jsle: 'jsgt',
      jgt: 'jle',
      jsgt: 'jsle',
      jge: 'jlt',
      jsge: 'jslt',
      jeq: 'jne',
    };
    switch (this.#below(5)) {
      case 0: // Tested at the end.
        this.#put({ label: again }, BUDGET_CHECK);
        inner();
        this.#put(step);
        this.#jump(again, compare(any));
        break;
      case 1: // As clang has it: out, or back by a jump.
        this.#put({ label: again }, BUDGET_CHECK);
        inner();
        this.#put(step);
        this.#jump(out, compare(INVERSE[any]!));
        this.#jump(again, asm.ja(0));
        break;
      case 2: // Tested at the top.
        this.#put({ label: again }, BUDGET_CHECK);
        this.#jump(out, compare(INVERSE[any]!));
        inner();
        this.#put(step);
        this.#jump(again, asm.ja(0));
        break;
      case 3: // With what was decided in a register.
        this.#put({ label: again });
        inner();
        this.#put(step, this.#below(2) === 0 ? asm.mov64Imm(R2, 1) : asm.mov32Imm(R2, 1));
        this.#jump(test, compare(INVERSE[any]!));
        this.#put(
          asm.mov64Imm(R2, 0),
          { label: test },
          BUDGET_CHECK,
          asm.stx('b', R9, counter, this.#word()),
        );
        if (this.#below(2) === 0) this.#jump(again, asm.jumpImm(wide ? 64 : 32, 'jne', R2, 1, 0));
        else this.#jump(again, asm.jumpImm(wide ? 64 : 32, 'jeq', R2, 0, 0));
        break;
      default: // Entered at its test, which lies below.
        this.#jump(test, asm.ja(0));
        this.#put({ label: again }, BUDGET_CHECK, step);
        inner();
        this.#put({ label: test });
        this.#jump(again, compare(any));
        break;
    }
    this.#put({ label: out });
  }
}

const LIMIT = RUN_STATE.budgetLimit >>> 2;
const LEFT = RUN_STATE.budget >>> 2;
const engines = [createJit(), createInterpreter()].map(
  (engine) => new Bench(engine, createTestEnvironment()),
);

/** R0 and what is left, or that it was stopped; and the memory. */
function outcomes(bench: Bench, insns: readonly Insn[], budgets: readonly number[], seed: number) {
  const program = bench.engine.prepare({ ...executable(insns), budgeted: true }, bench.env);
  const { i32 } = bench.memory;
  const found = budgets.map((budget) => {
    const next = random(seed);
    for (let i = 0; i < WORDS; i++) bench.setWord(i, BigInt(next() % 24));
    i32[LIMIT] = budget;
    let how: string;
    try {
      program.run(bench.ctx);
      how = `${bench.r0()}, ${i32[LEFT]} left`;
    } catch (error) {
      if (!(error instanceof ProgramFault) || error.reason !== 'budget') throw error;
      how = 'stopped';
    }
    return [how, ...Array.from({ length: WORDS }, (_, i) => String(bench.word(i)))].join(' ');
  });
  const text = program.dump();
  program.release();
  return { found, text };
}

const PROGRAMS = Number(process.env.TSBPF_BUDGET_PROGRAMS ?? 400);
const SEED = Number(process.env.TSBPF_BUDGET_SEED ?? 1);

describe('a budget', () => {
  it('ends runs of random programs at the same count on both engines', () => {
    let stopped = 0;
    let paid = 0;
    for (let seed = SEED; seed < SEED + PROGRAMS; seed++) {
      const insns = new Generator(seed).program();
      encodeProgram(insns);
      const [jit, interpreter] = engines as [Bench, Bench];
      const full = outcomes(interpreter, insns, [MOST], seed).found[0]!;
      const left = /, (\d+) left/.exec(full);
      const used = left === null ? MOST : MOST - Number(left[1]);
      const next = random(seed + 7);
      const budgets = [
        ...new Set([
          0,
          1,
          2,
          MOST,
          used,
          used - 1,
          used - 2,
          used + 1,
          ...Array.from({ length: 5 }, () => next() % (used + 2)),
        ]),
      ].filter((budget) => budget >= 0);
      const reference = outcomes(interpreter, insns, budgets, seed);
      const tested = outcomes(jit, insns, budgets, seed);
      expect(tested.found, `seed ${seed}, budgets ${budgets}`).toEqual(reference.found);
      stopped += reference.found.filter((how) => how.startsWith('stopped')).length;
      if (/else/.test(tested.text)) paid++;
    }
    // Both happen.
    expect(stopped).toBeGreaterThan(PROGRAMS / 2);
    expect(paid).toBeGreaterThan(PROGRAMS / 5);
  });
});
