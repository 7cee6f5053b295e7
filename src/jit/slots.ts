/**
 * Which places of the stack become locals: those that are always accessed by R10 and a constant, whole, and that no pointer leads to.
 *
 * What pointers into the frame may touch is followed: a pointer at a constant offset may be loaded and stored through at a constant, and
 * handed to a helper, which touches a key or a value of a map that is known, else what lies from there upwards; whatever else happens to
 * one (kept in memory, moved by a variable, handed to another function) gives up the whole frame. Most pointers are made, used and
 * forgotten in one block, where one walk tells; where one lives on, the webs of the registers do. A slot that may be read
 * before it was written stays in memory, where such a read finds what was there.
 */
import {
  ALU_OP,
  ATOMIC,
  accessBytes,
  CLASS,
  insnClass,
  insnMode,
  insnOp,
  insnSource,
  JMP_OP,
  MODE,
  SOURCE,
} from '../asm/opcodes.ts';
import type { CallTarget, ExecutableProgram, ExecutableSubprog } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import { type Block, nextInsn } from './cfg.ts';
import { readMask, writeMask } from './usage.ts';
import { FIRST_SLOT, isFrameAccess, NO_SLOTS, type SlotMap, VARIABLES, Webs } from './webs.ts';

/** Places in the frame that a web's value may be: not followed yet, one, or more than one. */
const NONE = 0x7fff_ffff;
const MANY = 0x7fff_fffe;
/** Further from the frame no access is sound. */
const FAR = 0x1_0000;
const MOST_ROUNDS = 8;

export function promotedWebs(
  program: ExecutableProgram,
  subprog: ExecutableSubprog,
  blocks: readonly Block[],
  parameters: readonly number[],
): Webs {
  const make = (slots: SlotMap) => new Webs(program, subprog, blocks, parameters, slots);
  const { places, frames } = frameAccesses(program, blocks);
  if (places.size === 0) return make(NO_SLOTS);
  const inBlocks = new TouchedBytes();
  if (!frames || followInBlocks(program, blocks, parameters, inBlocks))
    return make(inBlocks.everything ? NO_SLOTS : candidates(places, inBlocks));
  const registers = make(NO_SLOTS);
  const touched = new TouchedBytes();
  followPointers(program, registers, parameters, touched);
  const slots = touched.everything ? NO_SLOTS : candidates(places, touched);
  return slots.count === 0 ? registers : make(slots);
}

interface Place {
  size: number;
  uses: number;
}

/** What is accessed by R10 and a constant, and whether R10 is named in any other way. */
function frameAccesses(
  program: ExecutableProgram,
  blocks: readonly Block[],
): { readonly places: ReadonlyMap<number, Place>; readonly frames: boolean } {
  const { insns } = program;
  const places = new Map<number, Place>();
  let frames = false;
  for (const block of blocks) {
    for (let i = block.start; i < block.end; i = nextInsn(insns, i)) {
      const insn = insns[i]!;
      if (insn.src !== 10 && insn.dst !== 10) continue;
      if (!isFrameAccess(insn) || program.probeLoads.has(i)) {
        frames = true;
        continue;
      }
      const place = places.get(insn.off);
      const size = accessBytes(insn.code);
      if (place === undefined) places.set(insn.off, { size, uses: 1 });
      else {
        place.uses++;
        if (place.size !== size) place.size = -Math.max(Math.abs(place.size), size);
      }
      if (insnClass(insn.code) === CLASS.STX && insn.src === 10) frames = true;
    }
  }
  return { places, frames };
}

function candidates(places: ReadonlyMap<number, Place>, touched: TouchedBytes): SlotMap {
  const sorted = [...places].sort(([a], [b]) => a - b);
  const chosen: { offset: number; uses: number }[] = [];
  let end = -FAR;
  sorted.forEach(([offset, { size, uses }], n) => {
    const stop = offset + Math.abs(size);
    const next = sorted[n + 1]?.[0] ?? 0;
    const isFree = offset >= end && stop <= next && size > 0 && offset < 0 && offset > -FAR;
    end = Math.max(end, stop);
    if (isFree && !touched.overlaps(offset, stop)) chosen.push({ offset, uses });
  });
  if (chosen.length === 0) return NO_SLOTS;
  const kept = chosen.sort((a, b) => b.uses - a.uses).slice(0, VARIABLES - FIRST_SLOT);
  const at = new Uint8Array(1 - Math.min(...kept.map(({ offset }) => offset)));
  kept.forEach(({ offset }, n) => {
    at[-offset] = FIRST_SLOT + n;
  });
  return { at, count: kept.length };
}

/** Bytes this far below R10 are looked at one by one. */
const NEAR = 1024;

/** Bytes of the frame that pointers may lead to. */
class TouchedBytes {
  everything = false;
  /** What lies from here upwards. */
  #from = 0;
  /** By distance below R10. */
  readonly #near = new Uint8Array(NEAR + 1);

  upwards(offset: number): void {
    this.#from = Math.min(this.#from, offset);
  }

  range(offset: number, size: number): void {
    if (offset < -NEAR) this.upwards(offset);
    else for (let at = offset; at < offset + size && at < 0; at++) this.#near[-at] = 1;
  }

  overlaps(start: number, end: number): boolean {
    if (end > this.#from) return true;
    for (let at = Math.max(start, -NEAR); at < end; at++) if (this.#near[-at] === 1) return true;
    return false;
  }
}

/** Places of R0..R10 in front of an instruction. */
type Places = Int32Array;

/** Whether all pointers into the frame are forgotten where their blocks end: then `touched` is what they lead to. */
function followInBlocks(
  program: ExecutableProgram,
  blocks: readonly Block[],
  parameters: readonly number[],
  touched: TouchedBytes,
): boolean {
  const { insns } = program;
  const places: Places = new Int32Array(11);
  for (const block of blocks) {
    places.fill(NONE);
    places[10] = 0;
    // Of R0..R9.
    let pointers = 0;
    for (let i = block.start; i < block.end; i = nextInsn(insns, i)) {
      const insn = insns[i]!;
      if (pointers === 0 && insn.src !== 10 && insn.dst !== 10) continue;
      const moved = placeOf(insn, places);
      touchedBy(program, i, places, moved, parameters, touched);
      if (touched.everything) return true;
      const written = insnClass(insn.code) === CLASS.JMP ? writtenByJump(insn) : writeMask(insn) & 0x3ff;
      for (let mask = written; mask !== 0; mask &= mask - 1) places[31 - Math.clz32(mask & -mask)] = NONE;
      pointers &= ~written;
      if (moved === NONE) continue;
      places[insn.dst] = moved;
      pointers |= 1 << insn.dst;
    }
    if (pointers !== 0 && block.succs.length > 0) return false;
  }
  return true;
}

/** A call leaves nothing in R1..R5 that may be read. */
function writtenByJump(insn: Insn): number {
  return insnOp(insn.code) === JMP_OP.CALL ? 0b111111 : 0;
}

function followPointers(
  program: ExecutableProgram,
  webs: Webs,
  parameters: readonly number[],
  touched: TouchedBytes,
): void {
  const { insns } = program;
  const offsets = new Int32Array(webs.nodes).fill(NONE);
  const places: Places = new Int32Array(11).fill(NONE);
  places[10] = 0;
  const look = (mask: number, current: Int32Array): void => {
    for (let rest = mask & 0x3ff; rest !== 0; rest &= rest - 1) {
      const register = 31 - Math.clz32(rest & -rest);
      const node = current[register]!;
      places[register] = node < 0 ? NONE : offsets[webs.find(node)]!;
    }
  };
  // A web has one place at most before it has many: the number of rounds is that of moves against the order of the blocks.
  let rounds = 0;
  for (let changed = true; changed; ) {
    changed = false;
    if (++rounds > MOST_ROUNDS) touched.everything = true;
    if (touched.everything) return;
    webs.walk((i, current) => {
      const insn = insns[i]!;
      if (insnClass(insn.code) !== CLASS.ALU64) return;
      look((1 << insn.dst) | (1 << insn.src), current);
      const moved = placeOf(insn, places);
      if (moved === NONE) return;
      const web = webs.find(i - webs.start);
      const known = offsets[web]!;
      const next = known === NONE || known === moved ? moved : MANY;
      if (next === known) return;
      offsets[web] = next;
      changed = true;
      if (next === MANY) touched.everything = true;
    });
  }
  webs.walk((i, current) => {
    if (touched.everything) return;
    const insn = insns[i]!;
    const isJump = insnClass(insn.code) === CLASS.JMP;
    look(isJump ? 0b111110 : (1 << insn.dst) | (1 << insn.src) | 1, current);
    touchedBy(program, i, places, placeOf(insn, places), parameters, touched);
  });
}

/** Adds what the instruction at `i` touches. `moved`: the place that it gives its destination. */
function touchedBy(
  program: ExecutableProgram,
  i: number,
  places: Places,
  moved: number,
  parameters: readonly number[],
  touched: TouchedBytes,
): void {
  const insn = program.insns[i]!;
  const { code, dst, src } = insn;
  switch (insnClass(code)) {
    case CLASS.LDX:
      touchAccess(program, i, src, places, touched);
      break;
    case CLASS.ST:
      if (insnMode(code) !== MODE.NOSPEC) touchAccess(program, i, dst, places, touched);
      break;
    case CLASS.STX: {
      const isAtomic = insnMode(code) === MODE.ATOMIC;
      if (places[src] !== NONE && !(isAtomic && insn.imm === ATOMIC.LOAD_ACQ)) touched.everything = true;
      touchAccess(program, i, dst, places, touched);
      if (!isAtomic) break;
      if (places[dst] !== NONE) touched.range(places[dst]! + insn.off, accessBytes(code));
      if (places[src] !== NONE) touched.range(places[src]! + insn.off, accessBytes(code));
      if (insn.imm === ATOMIC.CMPXCHG && places[0] !== NONE) touched.everything = true;
      break;
    }
    case CLASS.ALU:
    case CLASS.ALU64:
      if (moved === MANY) touched.everything = true;
      if (moved !== NONE) break;
      if (insnSource(code) === SOURCE.X && places[src] !== NONE) touched.everything = true;
      if (insnOp(code) !== ALU_OP.MOV && places[dst] !== NONE) touched.everything = true;
      break;
    case CLASS.JMP:
      if (insnOp(code) === JMP_OP.CALL) touchArguments(program, i, places, parameters, touched);
      break;
  }
}

/** A load or store through a register. Those through R10 are what slots are made of. */
function touchAccess(
  program: ExecutableProgram,
  i: number,
  register: number,
  places: Places,
  touched: TouchedBytes,
): void {
  const at = places[register]!;
  if (at === NONE || (register === 10 && !program.probeLoads.has(i))) return;
  const insn = program.insns[i]!;
  touched.range(at + insn.off, accessBytes(insn.code));
}

function touchArguments(
  program: ExecutableProgram,
  i: number,
  places: Places,
  parameters: readonly number[],
  touched: TouchedBytes,
): void {
  const target = program.calls[i];
  const reads = readMask(program.insns[i]!, target, parameters);
  for (let r = 1; r <= 5; r++) {
    const at = places[r]!;
    if (((reads >>> r) & 1) === 0 || at === NONE) continue;
    const size = argumentBytes(target, r);
    // A function of ours may go down from where it is pointed to; so may one that calls back.
    if (target?.kind !== 'function' || target.row?.callbackShape !== undefined) touched.everything = true;
    else if (size === undefined) touched.upwards(at);
    else touched.range(at, size);
  }
}

/** What a helper touches through its argument R`register`, where the map says so. */
function argumentBytes(target: CallTarget | undefined, register: number): number | undefined {
  if (target?.kind !== 'function' || target.map === undefined) return undefined;
  switch (target.row?.args[register - 1]?.kind) {
    case 'map_key':
      return target.map.info.keySize;
    case 'map_value':
      return target.map.info.valueSize;
    default:
      return undefined;
  }
}

/** Place in the frame that an instruction's result is known to be; NONE where it is none. */
function placeOf(insn: Insn, places: Places): number {
  if (insnClass(insn.code) !== CLASS.ALU64) return NONE;
  const op = insnOp(insn.code);
  if (op === ALU_OP.MOV)
    return insnSource(insn.code) === SOURCE.X && insn.off === 0 ? places[insn.src]! : NONE;
  if ((op !== ALU_OP.ADD && op !== ALU_OP.SUB) || insnSource(insn.code) !== SOURCE.K) return NONE;
  const at = places[insn.dst]!;
  if (at === NONE || at === MANY) return at;
  const moved = op === ALU_OP.ADD ? at + insn.imm : at - insn.imm;
  return Math.abs(moved) < FAR ? moved : MANY;
}
