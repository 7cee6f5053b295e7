/**
 * Scalars as the running kernel's log prints them, against src/verifier/domain: random programs of ALU operations and
 * branches are loaded with log level 2, and every register state in the log is compared with the prediction.
 *
 * Needs bpf(2) with CAP_BPF, python3 and a 6.18 kernel (others track scalars differently); skipped otherwise.
 * More programs: SCALAR_LOG_COUNT=20000; another seed: SCALAR_LOG_SEED=7.
 */
import { spawnSync } from 'node:child_process';
import { release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  checkInvariants,
  coerceToSize,
  coerceToSizeSx,
  constant,
  followLink,
  forkScalar,
  formatLink,
  formatRanges,
  formatScalar,
  formatViolation,
  isBranchTaken,
  isConst,
  type Link,
  linkAfterAlu,
  movSignExtend,
  NO_LINK,
  pointerOffsetAlu,
  refineBranch,
  refineBranchSame,
  type Scalar,
  scalarAlu,
  scalarEndian,
  unknown,
  zext32,
} from '../../src/verifier/domain/index.ts';
import { makeRandom, type Random } from '../verifier/domain/random.ts';

const COUNT = Number(process.env.SCALAR_LOG_COUNT ?? 300);
const SEED = Number(process.env.SCALAR_LOG_SEED ?? 1);
const LOADER = fileURLToPath(new URL('load-log.py', import.meta.url));

interface Ins {
  code: number;
  dst: number;
  src: number;
  off: number;
  imm: number;
}

const ins = (code: number, dst = 0, src = 0, off = 0, imm = 0): Ins => ({ code, dst, src, off, imm });

function encode(program: readonly Ins[]): string {
  const bytes = new Uint8Array(program.length * 8);
  const view = new DataView(bytes.buffer);
  program.forEach((i, n) => {
    view.setUint8(n * 8, i.code);
    view.setUint8(n * 8 + 1, i.dst | (i.src << 4));
    view.setInt16(n * 8 + 2, i.off, true);
    view.setInt32(n * 8 + 4, i.imm, true);
  });
  return Buffer.from(bytes).toString('hex');
}

const ALU_OPS = [0x00, 0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xc0];
const RARE_OPS = [0x30, 0x90];
const JUMPS = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0];

/** Loads by opcode: size in bytes, and whether they sign-extend. */
const LOADS: Readonly<Record<number, { size: number; signed: boolean }>> = {
  97: { size: 4, signed: false },
  105: { size: 2, signed: false },
  113: { size: 1, signed: false },
  121: { size: 8, signed: false },
  129: { size: 4, signed: true },
  137: { size: 2, signed: true },
  145: { size: 1, signed: true },
};

/** A random program without joins: without a fork no instruction is reached twice and nothing is pruned. */
function generate(r: Random): Ins[] {
  const program: Ins[] = [];
  const regs = [6, 7, 8];
  for (const reg of regs) {
    if (r.below(6) === 0) {
      const value = r.value();
      program.push(ins(0x18, reg, 0, 0, Number(BigInt.asIntN(32, value))));
      program.push(ins(0, 0, 0, 0, Number(BigInt.asIntN(32, value >> 32n))));
    } else {
      program.push(ins(0x85, 0, 0, 0, 7));
      program.push(ins(0xbf, reg, 0));
    }
  }
  for (const reg of regs) constrain(r, program, reg);
  const steps = 1 + r.below(6);
  for (let i = 0; i < steps; i++) step(r, program, regs);
  exit(program);
  return program;
}

/** A dead end that reads all registers: only registers alive at a jump are refined through their links. */
function exit(program: Ins[]): void {
  program.push(ins(0xb7), ins(0xaf, 0, 6), ins(0xaf, 0, 7), ins(0xaf, 0, 8), ins(0xb7), ins(0x95));
}
const EXIT_LENGTH = 6;

function constrain(r: Random, program: Ins[], reg: number): void {
  const times = r.below(3);
  for (let i = 0; i < times; i++) {
    switch (r.below(5)) {
      case 0:
        program.push(ins(r.below(2) ? 0x57 : 0x54, reg, 0, 0, r.imm()));
        break;
      case 1:
        program.push(ins(r.pick([0x77, 0xc7, 0x67]), reg, 0, 0, r.below(64)));
        break;
      default:
        jump(r, program, [reg]);
    }
  }
}

/** A conditional jump; either its target or what follows it is a dead end, so the path goes on with the other way. */
function jump(r: Random, program: Ins[], regs: number[]): void {
  const cls = r.below(2) ? 0x05 : 0x06;
  const op = r.pick(JUMPS);
  const dst = r.pick(regs);
  const byReg = regs.length > 1 && r.below(2) === 0;
  const src = byReg ? r.pick(regs) : 0;
  const code = op | cls | (byReg ? 8 : 0);
  const imm = byReg ? 0 : r.imm();
  if (r.below(2)) {
    program.push(ins(code, dst, src, EXIT_LENGTH, imm));
    exit(program);
  } else {
    program.push(ins(code, dst, src, 1, imm), ins(0x05, 0, 0, EXIT_LENGTH));
    exit(program);
  }
}

function step(r: Random, program: Ins[], regs: number[]): void {
  const dst = r.pick(regs);
  const src = r.pick(regs);
  const cls = r.below(2) ? 0x07 : 0x04;
  const bits = cls === 0x07 ? 64 : 32;
  switch (r.below(11)) {
    case 10:
      // A spill, and a load of all or some of it.
      program.push(ins(0x7b, 10, src, -8), ins(r.pick(Object.keys(LOADS).map(Number)), dst, 10, -8));
      break;
    case 0:
      program.push(ins(0x80 | cls, dst));
      break;
    case 1: {
      const width = r.pick(cls === 0x07 ? [0, 8, 16, 32] : [0, 8, 16]);
      program.push(ins(0xb8 | cls, dst, src, width));
      break;
    }
    case 2:
      if (cls === 0x07) program.push(ins(0xd7, dst, 0, 0, r.pick([16, 32, 64])));
      else program.push(ins(r.pick([0xd4, 0xdc]), dst, 0, 0, r.pick([16, 32, 64])));
      break;
    case 3:
    case 4:
    case 5:
      jump(r, program, regs);
      break;
    default: {
      const op = r.below(20) === 0 ? r.pick(RARE_OPS) : r.pick(ALU_OPS);
      const shift = op === 0x60 || op === 0x70 || op === 0xc0;
      if (r.below(2)) {
        program.push(ins(op | cls | 8, dst, src));
      } else {
        const imm = shift ? r.below(bits) : r.imm();
        program.push(ins(op | cls, dst, 0, 0, RARE_OPS.includes(op) && imm === 0 ? 3 : imm));
      }
    }
  }
}

interface Reg {
  s: Scalar;
  link: Link;
}

type Regs = (Reg | null)[];

const reg = (s: Scalar, link: Link = NO_LINK): Reg => ({ s, link });

interface Event {
  /** 'N' for what follows instruction N, 'A>B' for a state popped from the stack. */
  at: string;
  regs: Map<number, string>;
}

/**
 * Follows the program in the kernel's order: falling through first, the way of the jump from a stack. Pruning is not
 * predicted (a fork can bring equal states to one instruction): it is taken from the kernel's events `log`.
 */
function predict(program: readonly Ins[], log: readonly Event[]): Event[] {
  const events: Event[] = [];
  const stack: { from: number; pc: number; regs: Regs }[] = [];
  const show = (regs: Regs, which: readonly number[]): Map<number, string> =>
    new Map(
      which.filter((n) => regs[n]).map((n) => [n, formatScalar(regs[n]!.s, formatLink(regs[n]!.link))]),
    );
  let regs: Regs = new Array(10).fill(null);
  let pc = 0;
  let ids = 0;
  /** A register about to be copied gets an id to be linked by. */
  const withId = ({ s, link }: Reg): Reg => {
    const base = link.width === 0 ? link : NO_LINK;
    return base.id === 0 && !isConst(s) ? reg(s, { id: ++ids, width: 0, delta: 0 }) : reg(s, base);
  };
  const pop = (): boolean => {
    const top = stack.pop();
    if (!top) return false;
    if (log[events.length]?.at === 'safe popped') {
      events.push({ at: 'safe popped', regs: new Map() });
      return pop();
    }
    pc = top.pc;
    regs = top.regs;
    events.push({ at: `${top.from}>${top.pc}`, regs: show(regs, [0, 6, 7, 8]) });
    return true;
  };
  const violation = (s: Scalar, context: string): Scalar =>
    checkInvariants(s, context, (line) => events.push({ at: line, regs: new Map() }));
  for (;;) {
    const i = program[pc]!;
    const cls = i.code & 7;
    const op = i.code & 0xf0;
    const at = String(pc);
    if (log[events.length]?.at === 'safe') {
      events.push({ at: 'safe', regs: new Map() });
      if (!pop()) return events;
      continue;
    }
    if (i.code === 0x95) {
      events.push({ at, regs: new Map() });
      if (!pop()) return events;
      continue;
    }
    if (i.code === 0x05) {
      events.push({ at, regs: new Map() });
      pc += 1 + i.off;
      continue;
    }
    if (i.code === 0x85) {
      regs[0] = reg(unknown());
      events.push({ at, regs: show(regs, [0]) });
      pc++;
      continue;
    }
    if (i.code === 0x18) {
      const value = (BigInt(program[pc + 1]!.imm) << 32n) | BigInt(i.imm >>> 0);
      regs[i.dst] = reg(constant(value));
      events.push({ at, regs: show(regs, [i.dst]) });
      pc += 2;
      continue;
    }
    if (i.code === 0x7b) {
      regs[i.src] = withId(regs[i.src]!);
      regs[SLOT] = regs[i.src]!;
      events.push({ at, regs: show(regs, [i.src]) });
      pc++;
      continue;
    }
    const load = LOADS[i.code];
    if (load) {
      const { size, signed } = load;
      const slot = regs[SLOT]!;
      const fits = size === 8 || slot.s.umax < 1n << BigInt(size * 8);
      const loaded = signed ? coerceToSizeSx(slot.s, size) : coerceToSize(slot.s, size);
      regs[i.dst] = reg(loaded, fits ? slot.link : NO_LINK);
      events.push({ at, regs: show(regs, [i.dst]) });
      pc++;
      continue;
    }
    const byReg = (i.code & 8) !== 0 && i.code !== 0xdc;
    const srcReg = byReg ? regs[i.src]! : reg(constant(BigInt(i.imm)));
    const dstReg = regs[i.dst] ?? reg(unknown());
    const src = srcReg.s;
    const dst = dstReg.s;
    if (cls === 5 || cls === 6) {
      const is32 = cls === 6;
      const touched = byReg ? [i.dst, i.src] : [i.dst];
      const taken = isBranchTaken(dst, src, op, is32);
      if (taken >= 0) {
        events.push({ at, regs: show(regs, touched) });
        pc += taken === 1 ? 1 + i.off : 1;
        continue;
      }
      const linked = collectLinked(regs, byReg ? [i.src, i.dst] : [i.dst]);
      const dstLink = regs[i.dst]!.link;
      const srcLink = byReg ? regs[i.src]!.link : NO_LINK;
      const other = regs.slice();
      const event: Event = { at, regs: new Map() };
      events.push(event);
      if (byReg && i.src === i.dst) {
        const { whenTrue, whenFalse } = refineBranchSame(dst, op, is32);
        other[i.dst] = reg(violation(violation(whenTrue, 'true_reg1'), 'true_reg2'), dstLink);
        regs[i.dst] = reg(violation(violation(whenFalse, 'false_reg1'), 'false_reg2'), dstLink);
      } else {
        const { trueLeft, trueRight, falseLeft, falseRight } = refineBranch(dst, src, op, is32);
        other[i.dst] = reg(violation(trueLeft, 'true_reg1'), dstLink);
        const otherRight = reg(violation(trueRight, 'true_reg2'), srcLink);
        regs[i.dst] = reg(violation(falseLeft, 'false_reg1'), dstLink);
        const right = reg(violation(falseRight, 'false_reg2'), srcLink);
        if (byReg) {
          other[i.src] = otherRight;
          regs[i.src] = right;
        }
      }
      for (const n of byReg ? [i.src, i.dst] : [i.dst]) {
        follow(regs, n, linked);
        follow(other, n, linked);
      }
      stack.push({ from: pc, pc: pc + 1 + i.off, regs: other });
      event.regs = show(regs, touched);
      pc++;
      continue;
    }
    const is64 = cls === 7;
    let result: Scalar;
    let link = NO_LINK;
    if (op === 0xb0) {
      const whole =
        i.off === 0 ? (is64 ? true : src.umax <= 0xffff_ffffn) : src.umax < 1n << BigInt(i.off - 1);
      if (byReg && whole) {
        regs[i.src] = withId(srcReg);
        link = regs[i.src]!.link;
      }
      if (!byReg || i.off === 0) result = is64 ? src : zext32(src);
      else result = movSignExtend(src, i.off, is64);
    } else if (op === 0xd0) {
      const swap = is64 || (i.code & 8) !== 0;
      result = scalarEndian(dst, i.imm, swap);
      if (!swap && i.imm === 64) link = dstReg.link;
    } else {
      const fork = forkScalar(op, dst, src);
      if (fork) {
        const other = regs.slice();
        other[i.dst] = reg(fork.pushed, isConst(fork.pushed) ? NO_LINK : dstReg.link);
        stack.push({ from: pc, pc, regs: other });
      }
      // With one register on both sides the kernel has copied the source before the fork.
      result = scalarAlu(op, fork ? fork.now : dst, src, is64);
      if (op !== 0x80) link = linkAfterAlu(dstReg.link, op, dst, src, is64);
    }
    const event: Event = { at, regs: new Map() };
    events.push(event);
    regs[i.dst] = reg(violation(result, 'alu'), link);
    event.regs = show(regs, op === 0xb0 && byReg ? [i.dst, i.src] : [i.dst]);
    pc++;
  }
}

/** Where the spilled register stands among the registers: after them, as the kernel goes through a frame. */
const SLOT = 9;

/**
 * The registers linked to those of a jump. The kernel's list has six places, and a register linked to both operands
 * takes two; who finds none loses its link.
 */
function collectLinked(regs: Regs, operands: readonly number[]): number[] {
  const linked: number[] = [];
  for (const operand of operands) {
    const { id } = regs[operand]!.link;
    if (id === 0) continue;
    for (const n of [6, 7, 8, SLOT]) {
      if (regs[n]?.link.id !== id) continue;
      if (linked.length < 6) linked.push(n);
      else regs[n] = reg(regs[n]!.s);
    }
  }
  return linked;
}

/** Lets the registers linked to `known` follow its refinement. */
function follow(regs: Regs, known: number, linked: readonly number[]): void {
  const from = regs[known]!;
  if (from.link.id === 0) return;
  for (const n of linked) {
    const to = regs[n]!;
    if (n === known || to.link.id !== from.link.id) continue;
    const after = followLink(from.s, from.link, to.link);
    if (after) regs[n] = reg(after.scalar, after.link);
  }
}

/** The same events from a log. */
function parseLog(log: string): Event[] {
  const events: Event[] = [];
  let skip = '';
  for (const line of log.split('\n')) {
    if (line.startsWith('verifier bug: REG INVARIANTS VIOLATION')) {
      events.push({ at: line, regs: new Map() });
      continue;
    }
    if (/^(from \d+ to )?\d+: safe$/.test(line)) {
      events.push({ at: line.startsWith('from') ? 'safe popped' : 'safe', regs: new Map() });
      continue;
    }
    const popped = /^from (\d+) to (\d+): (.*)$/.exec(line);
    if (popped) {
      events.push({ at: `${popped[1]}>${popped[2]}`, regs: parseRegs(popped[3]!) });
      skip = popped[2]!;
      continue;
    }
    const insn = /^(\d+): \([0-9a-f]{2}\) (.*)$/.exec(line);
    if (insn) {
      const semi = insn[2]!.indexOf(';');
      events.push({ at: insn[1]!, regs: parseRegs(semi < 0 ? '' : insn[2]!.slice(semi + 1)) });
      continue;
    }
    const state = /^(\d+): (.*)$/.exec(line);
    if (state && state[1] !== skip && events.length > 0) {
      // A state printed on a line of its own belongs to the instruction before, where something was logged in between.
      const last = events.findLast((e) => /^\d+$/.test(e.at));
      if (last && last.regs.size === 0) last.regs = parseRegs(state[2]!);
    }
    skip = '';
  }
  return events;
}

function parseRegs(text: string): Map<number, string> {
  const regs = new Map<number, string>();
  for (const m of text.matchAll(/R(\d+)=(P?)(\w+\((?:[^()]|\([^()]*\))*\)|\S+)/g)) {
    const n = Number(m[1]);
    if (n === 1 || n === 10) continue;
    regs.set(n, m[3]!);
  }
  return regs;
}

const compared = { states: 0 };

function differences(program: readonly Ins[], log: string): string | null {
  const want = parseLog(log);
  const got = predict(program, want);
  let at = 0;
  for (const w of want) {
    const g = got[at++];
    if (w.at !== g?.at) return `event ${at - 1}: kernel at ${w.at}, here ${g?.at}`;
    for (const [n, text] of w.regs) {
      const mine = g.regs.get(n);
      compared.states++;
      if (mine !== undefined && mine !== text) return `insn ${w.at} R${n}: kernel ${text}, here ${mine}`;
    }
  }
  if (at < got.length) return `event ${at}: kernel done, here ${got[at]!.at}`;
  return null;
}

function loadAll(programs: readonly Ins[][], type = 1): { errno: number; log: string }[] | string {
  const run = spawnSync('python3', [LOADER, String(type)], {
    input: `${programs.map(encode).join('\n')}\n`,
    encoding: 'utf8',
    maxBuffer: 1 << 30,
  });
  if (run.error) return `python3: ${run.error.message}`;
  if (run.status !== 0) return run.stderr.trim();
  return run.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

const probe = loadAll([[ins(0xb7), ins(0x95)]]);
const missing =
  typeof probe === 'string' ? probe : release().startsWith('6.18.') ? '' : `kernel ${release()} is not 6.18`;
if (missing) console.log(`skipped: scalars against the kernel's log (${missing})`);

describe.skipIf(missing !== '')('scalars in the log of the running kernel', () => {
  it(`agrees on ${COUNT} random programs (seed ${SEED})`, { timeout: 600_000 }, () => {
    const r = makeRandom(SEED);
    const failures: string[] = [];
    let accepted = 0;
    for (let done = 0; done < COUNT; done += 500) {
      const programs = Array.from({ length: Math.min(500, COUNT - done) }, () => generate(r));
      const loaded = loadAll(programs);
      if (typeof loaded === 'string') throw new Error(loaded);
      programs.forEach((program, n) => {
        const { errno, log } = loaded[n]!;
        if (errno !== 0) {
          failures.push(`errno ${errno}\n${log}`);
          return;
        }
        accepted++;
        const why = differences(program, log);
        if (why) failures.push(`${why}\n${encode(program)}\n${log}`);
      });
    }
    const shown = failures.slice(0, Number(process.env.SCALAR_LOG_SHOW ?? 2)).join('\n\n');
    expect(failures.length, `${failures.length} of ${COUNT} differ\n${shown}`).toBe(0);
    expect(accepted).toBe(COUNT);
    if (COUNT > 1000) console.log(`${compared.states} register states compared`);
  });

  it('agrees on variable offsets of packet pointers', () => {
    const r = makeRandom(SEED);
    const programs: Ins[][] = [];
    const wanted: (string | null)[] = [];
    for (let i = 0; i < Math.min(COUNT, 2000); i++) {
      // r8 = data; r8 (+|-)= a bounded number, twice.
      const program = [ins(0x61, 8, 1)];
      let offset = constant(0n);
      for (let step = 0; step < 2; step++) {
        program.push(ins(0x85, 0, 0, 0, 7), ins(0x57, 0, 0, 0, r.imm() & 0xfffffff));
        let delta = scalarAlu(0x50, unknown(), constant(BigInt(program.at(-1)!.imm)), true);
        const more = r.pick([
          ins(0x17, 0, 0, 0, r.below(1 << 20)),
          ins(0x67, 0, 0, 0, r.below(3)),
          ins(0x87, 0),
        ]);
        program.push(more);
        delta = scalarAlu(more.code & 0xf0, delta, constant(BigInt(more.imm)), true);
        const op = r.pick([0x00, 0x10]);
        program.push(ins(op | 0x0f, 8, 0));
        if (!isConst(delta)) offset = pointerOffsetAlu(op, offset, delta);
      }
      program.push(ins(0xb7), ins(0x95));
      programs.push(program);
      wanted.push(isConst(offset) ? null : formatRanges(offset));
    }
    const loaded = loadAll(programs, 6);
    if (typeof loaded === 'string') throw new Error(loaded);
    let compared = 0;
    loaded.forEach(({ errno, log }, n) => {
      // Offsets that may leave the sane range are refused; that is not asked here.
      if (errno !== 0) return;
      const last = [...log.matchAll(/R8=pkt\(((?:[^()]|\([^()]*\))*)\)/g)].at(-1)?.[1];
      const ranges = last?.replace(/^(id=\d+,)?(off=[^,]+,)?r=\d+,?/, '');
      if (wanted[n] === null) return;
      expect(ranges, log).toBe(wanted[n]);
      compared++;
    });
    expect(compared).toBeGreaterThan(programs.length / 4);
  });

  it('words an invariant violation as the log does', () => {
    expect(formatViolation(constant(-1n), 'alu', 'range bounds violation')).toBe(
      'verifier bug: REG INVARIANTS VIOLATION (alu): range bounds violation u64=[0xffffffffffffffff, 0xffffffffffffffff] ' +
        's64=[0xffffffffffffffff, 0xffffffffffffffff] u32=[0xffffffff, 0xffffffff] s32=[0xffffffff, 0xffffffff] ' +
        'var_off=(0xffffffffffffffff, 0x0)',
    );
  });
});
