/**
 * Which places of the stack become locals: those that are always accessed by R10 and a constant, whole, and that no pointer leads to.
 *
 * What pointers into the frame may touch is followed over the webs of the registers: a pointer at a constant offset may be loaded and
 * stored through at a constant, and handed to a helper, which touches what lies from there upwards; whatever else happens to one (kept in
 * memory, moved by a variable, handed to another function) gives up the whole frame. A slot that may be read before it was
 * written stays in memory, where such a read finds what was there.
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
import type { ExecutableProgram, ExecutableSubprog } from '../contracts/engine.ts';
import { type Block, nextInsn } from './cfg.ts';
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
  const touched = new TouchedBytes();
  if (!frames) return make(candidates(places, touched));
  const registers = make(NO_SLOTS);
  followPointers(program, registers, touched);
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
  const look = (i: number) => {
    const insn = insns[i]!;
    if (insn.src !== 10 && insn.dst !== 10) return;
    if (isFrameAccess(insn) && !program.probeLoads.has(i)) {
      const place = places.get(insn.off);
      const size = accessBytes(insn.code);
      if (place === undefined) places.set(insn.off, { size, uses: 1 });
      else {
        place.uses++;
        if (place.size !== size) place.size = -Math.max(Math.abs(place.size), size);
      }
      if (insnClass(insn.code) === CLASS.STX && insn.src === 10) frames = true;
    } else frames = true;
  };
  for (const block of blocks) for (let i = block.start; i < block.end; i = nextInsn(insns, i)) look(i);
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

/** Bytes of the frame that pointers may lead to. */
class TouchedBytes {
  everything = false;
  /** What lies from here upwards. */
  #from = 0;
  readonly #ranges: [number, number][] = [];

  upwards(offset: number): void {
    this.#from = Math.min(this.#from, offset);
  }

  range(offset: number, size: number): void {
    if (this.#ranges.length > 1000) this.everything = true;
    else this.#ranges.push([offset, offset + size]);
  }

  overlaps(start: number, end: number): boolean {
    return end > this.#from || this.#ranges.some(([a, b]) => a < end && start < b);
  }
}

function followPointers(program: ExecutableProgram, webs: Webs, touched: TouchedBytes): void {
  const { insns } = program;
  const offsets = new Int32Array(webs.nodes).fill(NONE);
  // A web has one place at most before it has many: the number of rounds is that of moves against the order of the blocks.
  let rounds = 0;
  for (let changed = true; changed; ) {
    changed = false;
    if (++rounds > MOST_ROUNDS) touched.everything = true;
    if (touched.everything) return;
    webs.walk((i, current) => {
      const moved = placeOf(program, webs, offsets, i, current);
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
  if (touched.everything) return;
  webs.walk((i, current) => {
    const insn = insns[i]!;
    const { code } = insn;
    const offset = (register: number): number => {
      if (register === 10) return 0;
      const node = current[register]!;
      return node < 0 ? NONE : offsets[webs.find(node)]!;
    };
    const isPointer = (register: number) => offset(register) !== NONE;
    const touch = (register: number) => {
      const at = offset(register);
      const isPlain = register === 10 && !program.probeLoads.has(i);
      if (at !== NONE && !isPlain) touched.range(at + insn.off, accessBytes(code));
    };
    switch (insnClass(code)) {
      case CLASS.LDX:
        touch(insn.src);
        break;
      case CLASS.ST:
        touch(insn.dst);
        break;
      case CLASS.STX: {
        const isAtomic = insnMode(code) === MODE.ATOMIC;
        if (isPointer(insn.src) && !(isAtomic && insn.imm === ATOMIC.LOAD_ACQ)) touched.everything = true;
        touch(insn.dst);
        if (!isAtomic) break;
        for (const register of [insn.dst, insn.src]) {
          const at = offset(register);
          if (at !== NONE) touched.range(at + insn.off, accessBytes(code));
        }
        if (insn.imm === ATOMIC.CMPXCHG && isPointer(0)) touched.everything = true;
        break;
      }
      case CLASS.ALU:
      case CLASS.ALU64:
        if (placeOf(program, webs, offsets, i, current) !== NONE) break;
        if (insnSource(code) === SOURCE.X && isPointer(insn.src)) touched.everything = true;
        if (insnOp(code) !== ALU_OP.MOV && isPointer(insn.dst)) touched.everything = true;
        break;
      case CLASS.JMP: {
        if (insnOp(code) !== JMP_OP.CALL) break;
        const target = program.calls[i];
        for (let r = 1; r <= 5; r++) {
          if (((webs.reads(i) >>> r) & 1) === 0 || !isPointer(r)) continue;
          // A function of ours may go down from where it is pointed to; so may one that calls back.
          if (target?.kind === 'function' && target.row?.callbackShape === undefined)
            touched.upwards(offset(r));
          else touched.everything = true;
        }
        break;
      }
    }
  });
}

/** Place in the frame that an instruction's result is known to be; NONE where it is none. */
function placeOf(
  program: ExecutableProgram,
  webs: Webs,
  offsets: Int32Array,
  i: number,
  current: Int32Array,
): number {
  const insn = program.insns[i]!;
  if (insnClass(insn.code) !== CLASS.ALU64) return NONE;
  const op = insnOp(insn.code);
  const of = (register: number): number => {
    if (register === 10) return 0;
    const node = current[register]!;
    return node < 0 ? NONE : offsets[webs.find(node)]!;
  };
  if (op === ALU_OP.MOV) {
    return insnSource(insn.code) === SOURCE.X && insn.off === 0 ? of(insn.src) : NONE;
  }
  if ((op !== ALU_OP.ADD && op !== ALU_OP.SUB) || insnSource(insn.code) !== SOURCE.K) return NONE;
  const at = of(insn.dst);
  if (at === NONE || at === MANY) return at;
  const moved = op === ALU_OP.ADD ? at + insn.imm : at - insn.imm;
  return Math.abs(moved) < FAR ? moved : MANY;
}
