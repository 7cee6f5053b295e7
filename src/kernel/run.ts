/**
 * Running a program: the stack it gets, its statistics, and what happens when it faults. A fault of a verified program is
 * a bug of ours, unless it has used up its budget; it is contained: the program is marked, taken off its attach points, reported, and the process goes on.
 */
import type { LineInfo } from '../contracts/verify.ts';
import { describePlace } from '../interpreter/index.ts';
import { KERNEL_HI } from '../memory/address.ts';
import { MAX_NESTED_RUNS, RUN_STATE } from '../memory/layout.ts';
import { ProgramFault } from '../util/errors.ts';
import type { Machine } from './machine.ts';
import type { ProgObject } from './objects.ts';

const BUDGET = RUN_STATE.budget >>> 2;

/** The low half of R0, or null where the program was not run or faulted. */
export function runProgram(
  machine: Machine,
  program: ProgObject,
  ctx: number,
  cookie: bigint,
): number | null {
  if (program.fault !== undefined || machine.level >= MAX_NESTED_RUNS) return null;
  const stats = machine.keepsStats;
  const outer = machine.running;
  const outerCookie = machine.cookie;
  const outerBudget = machine.memory.i32[BUDGET + (machine.memory.cpuDelta >>> 2)]!;
  const level = machine.level++;
  machine.running = program;
  machine.cookie = cookie;
  const start = stats ? performance.now() : 0;
  try {
    return program.parts.executable.run(ctx, level);
  } catch (error) {
    oops(machine, program, error);
    return null;
  } finally {
    machine.level = level;
    machine.running = outer;
    machine.cookie = outerCookie;
    machine.memory.i32[BUDGET + (machine.memory.cpuDelta >>> 2)] = outerBudget;
    reclaim(machine);
    if (stats) {
      program.runCount++;
      program.runTimeNs += (performance.now() - start) * 1e6;
    }
  }
}

/**
 * Gives back what faulted runs had reserved, and code that has been replaced; runs what was put off until no program runs. Runs further out may hold reservations in the same maps, so it waits until none is in
 * progress.
 */
export function reclaim(machine: Machine): void {
  if (machine.level > 0) return;
  for (const executable of machine.retired.splice(0)) executable.release();
  machine.async.runDue();
  if (machine.faulted.size === 0) return;
  machine.faulted.clear();
  // Of all maps: those of programs that were tail-called, and maps in maps, are none of the program's own.
  for (const object of machine.maps.values()) {
    const abandon = object.references > 0 ? object.map.abandonReservations?.() : undefined;
    if (abandon === undefined) continue;
    // Runs on other CPUs may have reservations in it that they will commit.
    object.get();
    machine.afterGrace(() => {
      abandon();
      object.put();
    });
  }
}

/** Marks, detaches and reports a program that faulted. Errors that are no faults of programs go on to the caller. */
export function oops(machine: Machine, program: ProgObject, error: unknown): void {
  if (!(error instanceof ProgramFault)) throw error;
  program.fault = error;
  dropLock(machine);
  machine.kfuncs.dropObjects();
  machine.faulted.add(program);
  for (const link of machine.links.values()) if (link.program === program) link.release();
  const source = sourceOf(culprit(machine, program, error), error.insn);
  const place = source === undefined ? '' : `\n  at ${source.file}:${source.line}: ${source.text.trim()}`;
  const report = {
    program: program.parts.name,
    progId: program.id,
    message: `program '${program.parts.name}' (id ${program.id}) was stopped and detached: ${error.message}${place}${registersOf(machine, error)}`,
    error,
    ...(source === undefined ? {} : { source }),
  };
  machine.oopses.push(report);
  machine.onOops(report);
}

/** The locks that the ended run held: other CPUs, and runs that come later, wait for them. */
function dropLock({ memory, kfuncs }: Machine): void {
  kfuncs.dropLocks();
  if (!memory.shared) return;
  const held = (RUN_STATE.heldLock + memory.cpuDelta) >>> 2;
  const lock = memory.u32[held]!;
  if (lock === 0) return;
  memory.u32[held] = 0;
  Atomics.store(memory.u32, lock >>> 2, 0);
}

/** The registers that are not 0, with what lies where they point; empty where the engine does not know them. */
function registersOf({ memory }: Machine, { registers }: ProgramFault): string {
  const shown = (registers ?? []).flatMap((value, r) => {
    if (value === 0n) return [];
    const place =
      value >> 32n === BigInt(KERNEL_HI) ? ` (${describePlace(memory, Number(value & 0xffff_ffffn))})` : '';
    return [`R${r} = 0x${value.toString(16)}${place}`];
  });
  return shown.map((text) => `\n  ${text}`).join('');
}

/** The program whose instruction faulted: one that was tail-called, or the one that was run. */
function culprit({ programs }: Machine, run: ProgObject, { code }: ProgramFault): ProgObject {
  if (code === undefined || run.parts.code === code) return run;
  for (const program of programs.values()) if (program.parts.code === code) return program;
  return run;
}

/** The line that an instruction was compiled from: that of the last record at or before it. */
export function sourceOf(program: ProgObject, insn: number): LineInfo | undefined {
  if (insn < 0) return undefined;
  let best: LineInfo | undefined;
  for (const line of program.parts.lines)
    if (line.insn <= insn && (best?.insn ?? -1) <= line.insn) best = line;
  return best;
}
