/**
 * What the loop does between instructions: fuel and observers, entering functions, the rounds of bpf_loop, locks that are held.
 *
 * bpf_loop is run here and not by its helper: its callback is a frame like any other, so that a run can be left inside of it.
 */
import type { Surroundings } from './call.ts';
import { fault, originOf } from './fault.ts';
import { MAX_FRAMES, type Machine, WRITTEN } from './machine.ts';
import type { Decoded, LoopState } from './program.ts';

/** What `tick` gives where the run is to be left: no amount of fuel. */
export const PAUSE = -2;
/** Fuel of callbacks that a helper runs when the run should be left: they cannot be, so it is left behind the helper. */
const OVERTIME = 1 << 16;
/** BPF_MAX_LOOPS. */
const MAX_LOOPS = 8 * 1024 * 1024;

/** Fuel has run out: the limit of the run, the end of a slice, or an observer wants to see each instruction. Gives the new fuel. */
export function tick(m: Machine, program: Decoded, pc: number, base: number): number {
  if (m.fuel <= 0) {
    if (m.lane === null) return tooLong(m, program, pc);
    if (base === 0) return PAUSE;
    m.lane.overtime += OVERTIME;
    if (m.lane.overtime > m.lane.limit) return tooLong(m, program, pc);
    m.fuel = OVERTIME;
    if (m.observer === null) return OVERTIME;
  }
  m.fuel--;
  m.observer!(
    {
      insn: originOf(program, pc),
      pc,
      program: program.program.name,
      executable: program.program,
      depth: m.depth,
      level: m.level,
      low: m.lo,
      high: m.hi,
    },
    program,
  );
  return 0;
}

function tooLong(m: Machine, program: Decoded, pc: number): never {
  return fault(m, program, pc, 'the run was stopped: it has used up its limit of instructions', {
    reason: 'limit',
  });
}

/** R10 of subprogram `index`, whose stack lies below `top`; gives where its code starts. */
export function enterFrame(m: Machine, program: Decoded, pc: number, index: number, top: number): number {
  const callee = program.subprogs[index];
  if (callee === undefined) return fault(m, program, pc, `there is no subprogram ${index}`);
  const bottom = top - callee.stackDepth;
  if (bottom < m.stackBottom || m.depth >= MAX_FRAMES - 1) return fault(m, program, pc, 'stack overflow');
  m.setStack(top, bottom);
  m.stackBytes?.forget(bottom, top);
  return callee.start;
}

/** A register is read that nothing was written to since the frame began, or since a call that leaves it undefined. */
export function uninitialised(m: Machine, program: Decoded, pc: number, missing: number): never {
  const r = 31 - Math.clz32(missing);
  return fault(m, program, pc, `R${r} is read, but nothing was written to it`);
}

/**
 * The instruction at pc calls bpf_loop: enters its first round (m.pc, m.written) and gives the callback's program. Null where the
 * helper is to be called, as there is nothing to loop over or it would refuse.
 */
export function enterLoop(m: Machine, program: Decoded, pc: number, around: Surroundings): Decoded | null {
  const count = m.lo[1]! >>> 0;
  if (count === 0 || count > MAX_LOOPS || (m.lo[4]! | m.hi[4]!) !== 0) return null;
  const callback = around.callbackAt(m.lo[2]!);
  if (callback === undefined) return null;
  m.pushFrame(program, pc + 1);
  const loop: LoopState = {
    callee: callback.program,
    index: callback.index,
    count,
    round: 0,
    ctxLow: m.lo[3]!,
    ctxHigh: m.hi[3]!,
    ctxFrom: m.from[3]!,
    ctxUpto: m.upto[3]!,
  };
  m.frameLoops[m.depth - 1] = loop;
  startRound(m, loop, m.frameBottoms[m.depth - 1]!);
  return callback.program;
}

function startRound(m: Machine, loop: LoopState, top: number): void {
  m.upto.fill(0, 0, 6);
  m.lo[1] = loop.round;
  m.hi[1] = 0;
  m.lo[2] = loop.ctxLow;
  m.hi[2] = loop.ctxHigh;
  m.from[2] = loop.ctxFrom;
  m.upto[2] = loop.ctxUpto;
  m.pc = enterFrame(m, loop.callee, 0, loop.index, top);
  m.written = WRITTEN.frame | 0b110;
}

/** A callback of bpf_loop exits: starts the next round, or leaves R0 as the helper's result and gives false. */
export function nextRound(m: Machine): boolean {
  const loop = m.frameLoops[m.depth - 1]!;
  loop.round++;
  if ((m.lo[0]! | m.hi[0]!) === 0 && loop.round < loop.count) {
    startRound(m, loop, m.frameBottoms[m.depth - 1]!);
    return true;
  }
  m.frameLoops[m.depth - 1] = null;
  m.lo[0] = loop.round;
  m.hi[0] = 0;
  m.upto.fill(0, 0, 6);
  return false;
}

/** Whether the lock that R1 points to is held by another CPU, which must run first. */
export function mustWait(m: Machine, program: Decoded, pc: number): boolean {
  const lock = m.lo[1]!;
  if (m.lane === null || m.hi[1] === 0 || lock < m.from[1]! || lock + 4 > m.upto[1]!) return false;
  return m.lane.waits(lock, m.memory.view.getUint32(lock, true) !== 0, program, pc);
}
