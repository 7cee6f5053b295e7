/** Calls out of the loop: functions of the kernel with checked arguments, and the look-up of tail call targets. */
import type { BpfMap } from '../contracts/maps.ts';
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { MAP_HEADER, RUN_STATE } from '../memory/layout.ts';
import { ProgramFault } from '../util/errors.ts';
import { badAccess, fault } from './fault.ts';
import type { Machine } from './machine.ts';
import type { ArgumentCheck, Decoded, FunctionPlan } from './program.ts';
import { checkArguments, noteArguments } from './stack-checks.ts';

/** Tail calls that one run may make; the next one falls through (linux/bpf.h: MAX_TAIL_CALL_CNT). */
export const MAX_TAIL_CALLS = 33;

/** What a run needs of the kernel around it. */
export interface Surroundings {
  /** Program and function behind the token of a callback; undefined where another engine runs it. */
  callbackAt(token: number): { readonly program: Decoded; readonly index: number } | undefined;
  /** Program of this engine at an index of the entry table. */
  programAt(entry: number): Decoded | undefined;
}

/** Whether register r points to `size` bytes of its region. */
function readable(m: Machine, r: number, size: number): boolean {
  const at = m.lo[r]!;
  return m.hi[r] === KERNEL_HI_SIGNED && at >= m.from[r]! && at + size <= m.upto[r]!;
}

function checkArgument(m: Machine, program: Decoded, pc: number, name: string, check: ArgumentCheck): void {
  const { register } = check;
  const size = check.size >= 0 ? check.size : m.lo[check.sizeRegister]!;
  const at = m.lo[register]!;
  if ((at === 0 && m.hi[register] === 0) || size === 0) return;
  if (size > 0 && readable(m, register, size)) return;
  badAccess(m, program, pc, `${name}: ${check.write ? 'write' : 'read'}`, register, 0, size >>> 0);
}

/** Word `i` of the arguments as the plan orders them. No closure: this runs at every call. */
function word(m: Machine, words: Uint8Array, i: number): number {
  const register = words[2 * i]!;
  return words[2 * i + 1] === 0 ? m.lo[register]! : m.hi[register]!;
}

/** Bytes of a value of the map with that header. */
function valueBytes({ memory }: Machine, header: number): number {
  return memory.u32[(header + MAP_HEADER.valueSize) >>> 2]!;
}

/** Calls `plan` with R1..R5, puts the result in R0 and takes the regions of R1..R5 away. */
export function callFunction(m: Machine, program: Decoded, pc: number, plan: FunctionPlan): void {
  const { lo, hi, upto } = m;
  for (const check of plan.checks) checkArgument(m, program, pc, plan.name, check);
  if (m.stackBytes !== null) {
    checkArguments(m, program, pc, plan);
    noteArguments(m, plan);
  }
  const { region, releases } = plan;
  const size = region.kind === 'register' ? lo[region.register]! : 0;
  const header = lo[1]!;
  const goneFrom = m.from[releases]!;
  const goneUpto = releases === 0 ? 0 : upto[releases]!;

  const { words } = plan;
  const { fn } = plan.callee;
  let result: number;
  try {
    switch (plan.wordCount) {
      case 0:
        result = fn();
        break;
      case 1:
        result = fn(word(m, words, 0));
        break;
      case 2:
        result = fn(word(m, words, 0), word(m, words, 1));
        break;
      case 3:
        result = fn(word(m, words, 0), word(m, words, 1), word(m, words, 2));
        break;
      case 4:
        result = fn(word(m, words, 0), word(m, words, 1), word(m, words, 2), word(m, words, 3));
        break;
      case 5:
        result = fn(
          word(m, words, 0),
          word(m, words, 1),
          word(m, words, 2),
          word(m, words, 3),
          word(m, words, 4),
        );
        break;
      default:
        result = fn(...Array.from({ length: plan.wordCount }, (_, i) => word(m, words, i)));
    }
  } catch (error) {
    if (error instanceof ProgramFault) throw error;
    fault(m, program, pc, `${plan.name} failed: ${(error as Error).message}`, { cause: error });
  }

  if (m.freedSince) m.forgetFreed();
  if (goneUpto !== 0) m.giveBack(goneFrom, goneUpto, plan.name);
  upto[0] = upto[1] = upto[2] = upto[3] = upto[4] = upto[5] = 0;
  switch (plan.callee.result) {
    case 's32':
      lo[0] = result;
      hi[0] = lo[0]! >> 31;
      break;
    case 'ptr':
      m.setPointer(0, result | 0);
      if (result !== 0 && region.kind !== 'block') {
        m.from[0] = result;
        upto[0] =
          result +
          (region.kind === 'fixed' ? region.size : region.kind === 'value' ? valueBytes(m, header) : size);
      }
      break;
    case 'u64': {
      const { i32, cpuDelta } = m.memory;
      const result64 = RUN_STATE.helperResult + cpuDelta;
      lo[0] = i32[result64 >>> 2]!;
      hi[0] = i32[(result64 >>> 2) + 1]!;
      if (hi[0] === KERNEL_HI_SIGNED) m.adopt(0, lo[0]!);
      break;
    }
    case 'void':
      lo[0] = 0;
      hi[0] = 0;
  }
}

/**
 * The program that a tail call goes to, or undefined where it falls through; counts the call. An array that differs by
 * path is read through its header, to which R2 points.
 */
export function tailCallTarget(
  m: Machine,
  program: Decoded,
  pc: number,
  known: BpfMap | undefined,
  around: Surroundings,
): Decoded | undefined {
  const { u32 } = m.memory;
  const header = m.lo[2]!;
  if (known === undefined && !readable(m, 2, MAP_HEADER.stride + 4))
    badAccess(m, program, pc, 'tail call: read', 2, 0, MAP_HEADER.stride + 4);
  const maxEntries = known?.info.maxEntries ?? u32[(header + MAP_HEADER.maxEntries) >>> 2]!;
  const index = m.lo[3]! >>> 0;
  if (index >= maxEntries) return undefined;
  const counter = (RUN_STATE.tailCallCount + m.memory.cpuDelta) >>> 2;
  const count = u32[counter]!;
  if (count >= MAX_TAIL_CALLS) return undefined;
  const values = known?.layout.values ?? u32[(header + MAP_HEADER.values) >>> 2]!;
  const stride = known?.layout.stride ?? u32[(header + MAP_HEADER.stride) >>> 2]!;
  const target = around.programAt(u32[(values + index * stride) >>> 2]!);
  if (target === undefined) return undefined;
  u32[counter] = count + 1;
  return target;
}
