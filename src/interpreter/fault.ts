/** Reports of accesses that are not allowed: what was touched, through which register, and what lies there. */
import { KERNEL_HI, USER_HI } from '../memory/address.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { HEAP_START, MAX_NESTED_RUNS, PAGE, STACK_BYTES, STACKS } from '../memory/layout.ts';
import { ProgramFault } from '../util/errors.ts';
import { joinHalves } from '../util/u64.ts';
import type { Machine } from './machine.ts';
import type { Decoded } from './program.ts';

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

function plural(n: number): string {
  return n === 1 ? '1 byte' : `${n} bytes`;
}

/** What lies at an offset of the linear memory, in words. */
export function describePlace(memory: GuestMemory, offset: number): string {
  if (offset >= 0 && offset < PAGE) return offset === 0 ? 'NULL' : 'the NULL page';
  if (offset >= PAGE && offset < STACKS) return 'memory of the engine itself';
  if (offset >= STACKS && offset < HEAP_START) {
    // Where two stacks meet, a pointer is the frame pointer of the lower one, which has no slots.
    const level = Math.max(Math.ceil((offset - STACKS) / STACK_BYTES), 1) - 1;
    const below = STACKS + (level + 1) * STACK_BYTES - offset;
    const nested = level > 0 && level < MAX_NESTED_RUNS ? ` of nested run ${level}` : '';
    if (below === 0) return `the end of the stack${nested}`;
    return `the stack${nested}, ${plural(below)} below its end`;
  }
  const block = memory.blockAt(offset);
  if (block === undefined) return offset >>> 0 < memory.size ? 'free memory' : 'no memory at all';
  return `${block.label} (byte ${offset - block.start} of ${block.size})`;
}

function describeRegion(m: Machine, from: number, upto: number): string {
  const { memory } = m;
  const size = upto - from;
  if (from < HEAP_START || (from >= m.stackBottom && from < m.stackTop))
    return `its stack frame of ${plural(size)}`;
  const block = memory.blockAt(from);
  if (block === undefined) return `${plural(size)} that have been freed`;
  if (block.start === from && block.size === size) return `${block.label} (${plural(size)})`;
  return `${plural(size)} at byte ${from - block.start} of ${block.label}`;
}

export function originOf(program: Decoded, pc: number): number {
  return program.program.origin[pc] ?? -1;
}

export interface FaultDetails {
  readonly cause?: unknown;
  readonly reason?: ProgramFault['reason'];
}

export function fault(
  m: Machine,
  program: Decoded,
  pc: number,
  what: string,
  details: FaultDetails = {},
): never {
  const insn = originOf(program, pc);
  throw new ProgramFault(`program ${program.program.name}: instruction ${insn}: ${what}`, {
    program: program.program.name,
    insn,
    registers: m.registers(),
    code: program.program,
    ...details,
  });
}

/** An access of `size` bytes at register r + off that its region does not allow. */
export function badAccess(
  m: Machine,
  program: Decoded,
  pc: number,
  verb: string,
  r: number,
  off: number,
  size: number,
): never {
  const low = m.lo[r]!;
  const high = m.hi[r]! >>> 0;
  const address = BigInt.asUintN(64, joinHalves(low, high) + BigInt(off));
  const place = Number(address & 0xffff_ffffn);
  const where = `${verb} of ${plural(size)} at R${r}${off < 0 ? off : `+${off}`} = ${hex(address)}`;
  const upper = Number(address >> 32n);
  let why: string;
  if (address < BigInt(PAGE)) why = 'the NULL page';
  else if (upper === USER_HI) why = 'an address of user memory, which only the probe-read helpers reach';
  else if (upper !== KERNEL_HI) why = 'not an address';
  else if (m.upto[r] === 0) {
    const given = m.given.findLast(({ from, upto }) => place >= from && place < upto);
    const lies = describePlace(m.memory, place);
    why =
      given !== undefined
        ? `byte ${place - given.from} of ${plural(given.upto - given.from)} that ${given.by} has taken back`
        : m.memory.blockAt(place) === undefined
          ? lies
          : `a number that was not made from a pointer; there lies ${lies}`;
  } else {
    const before = m.from[r]! - place;
    const beyond = place + size - m.upto[r]!;
    const by =
      before > 0 ? `${plural(before)} before its start` : `${plural(Math.max(beyond, 0))} beyond its end`;
    why = `outside of ${describeRegion(m, m.from[r]!, m.upto[r]!)}: ${by}; there lies ${describePlace(m.memory, place)}`;
  }
  return fault(m, program, pc, `${where}: ${why}`);
}
