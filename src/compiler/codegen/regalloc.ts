/**
 * Registers by graph colouring with iterated coalescing (George and Appel 1996): r0 to r9, of which calls destroy r0 to r5.
 *
 * A register that finds no colour lives in the frame, or, where it is a constant or an address, is made again before each use.
 * Invariant: temporaries made for spills are never spilled, so the rounds end.
 */
import { ALU_OP, CLASS, MODE, SIZE, SOURCE } from '../../asm/index.ts';
import { COLOURS, Graph } from './interference.ts';
import { liveness } from './liveness.ts';
import {
  FIRST_VIRTUAL,
  FRAME_POINTER,
  forDefs,
  forUses,
  isMove,
  isRematerialisable,
  type MBlock,
  type MFunc,
  MInst,
  mapRegisters,
  type Register,
  type Slot,
} from './mir.ts';

const MAX_ROUNDS = 40;

interface Move {
  readonly to: Register;
  readonly from: Register;
  readonly weight: number;
  state: 'work' | 'active' | 'done';
}

interface Colouring {
  readonly colours: Int32Array;
  readonly alias: Int32Array;
  readonly spilled: Register[];
  readonly graph: Graph;
}

function weigh(depth: number): number {
  return 10 ** Math.min(depth, 6);
}

function colour(fn: MFunc): Colouring {
  const n = fn.registers;
  const graph = new Graph(n);
  const out = liveness(fn);
  const moves: Move[] = [];
  const movesOf: Move[][] = Array.from({ length: n }, () => []);
  const cost = new Float64Array(n);
  const present = new Uint8Array(n);
  const live: Set<number> = new Set();

  for (const block of fn.blocks) {
    live.clear();
    const bits = out[block.id]!;
    for (let w = 0; w < bits.length; w++) {
      let word = bits[w]!;
      while (word !== 0) {
        const bit = 31 - Math.clz32(word & -word);
        live.add(w * 32 + bit);
        word &= word - 1;
      }
    }
    const weight = weigh(block.depth);
    for (let j = block.insts.length - 1; j >= 0; j--) {
      const mi = block.insts[j]!;
      const move = isMove(mi) && mi.src !== FRAME_POINTER && mi.dst !== FRAME_POINTER;
      if (move) {
        live.delete(mi.src);
        if (mi.src !== mi.dst) {
          const record: Move = { to: mi.dst, from: mi.src, weight, state: 'work' };
          moves.push(record);
          movesOf[mi.dst]!.push(record);
          movesOf[mi.src]!.push(record);
        }
      }
      forDefs(mi, (r) => {
        present[r] = 1;
        cost[r]! += weight;
        live.add(r);
      });
      forDefs(mi, (r) => {
        for (const other of live) graph.add(r, other);
      });
      forDefs(mi, (r) => live.delete(r));
      forUses(mi, (r) => {
        present[r] = 1;
        cost[r]! += weight;
      });
      if (mi.asm !== undefined) {
        const { defs, uses, clobbers } = mi.asm;
        // The template may write an output, or what it destroys, before it reads its inputs.
        for (const d of defs) for (const u of uses) if (u !== d) graph.add(d, u);
        for (const c of clobbers) for (const r of [...defs, ...uses]) if (r >= FIRST_VIRTUAL) graph.add(r, c);
      }
      forUses(mi, (r) => live.add(r));
    }
  }

  // Work lists.
  const IN_NONE = 0;
  const SIMPLIFY = 1;
  const FREEZE = 2;
  const SPILL = 3;
  const SELECTED = 4;
  const COALESCED = 5;
  const where = new Uint8Array(n);
  const simplify: number[] = [];
  const freeze = new Set<number>();
  const spill = new Set<number>();
  const selected: number[] = [];
  const alias = new Int32Array(n).map((_, i) => i);
  const find = (r: number): number => {
    let at = r;
    while (alias[at] !== at) at = alias[at]!;
    return at;
  };
  // Heaviest moves first.
  const workMoves = [...moves].sort((a, b) => a.weight - b.weight);

  const neighbours = function* (r: number): Generator<number> {
    for (const other of graph.adjacent[r]!) {
      const state = where[other]!;
      if (state !== SELECTED && state !== COALESCED) yield other;
    }
  };
  const moveRelated = (r: number): boolean => movesOf[r]!.some((move) => move.state !== 'done');
  const place = (r: number): void => {
    if (graph.degree[r]! >= COLOURS) {
      where[r] = SPILL;
      spill.add(r);
    } else if (moveRelated(r)) {
      where[r] = FREEZE;
      freeze.add(r);
    } else {
      where[r] = SIMPLIFY;
      simplify.push(r);
    }
  };
  for (let r = FIRST_VIRTUAL; r < n; r++) if (present[r] === 1) place(r);

  const enableMoves = (r: number): void => {
    for (const move of movesOf[r]!) {
      if (move.state === 'active') {
        move.state = 'work';
        workMoves.push(move);
      }
    }
  };
  const decrement = (r: number): void => {
    if (r < COLOURS) return;
    const degree = graph.degree[r]!--;
    if (degree !== COLOURS) return;
    enableMoves(r);
    for (const other of neighbours(r)) enableMoves(other);
    if (where[r] === SPILL) {
      spill.delete(r);
      if (moveRelated(r)) {
        where[r] = FREEZE;
        freeze.add(r);
      } else {
        where[r] = SIMPLIFY;
        simplify.push(r);
      }
    }
  };
  const addWork = (r: number): void => {
    if (r >= COLOURS && where[r] === FREEZE && !moveRelated(r) && graph.degree[r]! < COLOURS) {
      freeze.delete(r);
      where[r] = SIMPLIFY;
      simplify.push(r);
    }
  };
  const georgeOk = (fixed: number, r: number): boolean => {
    for (const other of neighbours(r)) {
      if (graph.degree[other]! >= COLOURS && other >= COLOURS && !graph.has(other, fixed)) return false;
      if (other < COLOURS && other === fixed) return false;
    }
    return true;
  };
  const briggsOk = (a: number, b: number): boolean => {
    let significant = 0;
    const seen = new Set<number>();
    for (const r of [a, b]) {
      for (const other of neighbours(r)) {
        if (seen.has(other)) continue;
        seen.add(other);
        let degree = graph.degree[other]!;
        if (degree < 1 << 20 && graph.has(other, a) && graph.has(other, b)) degree--;
        if (degree >= COLOURS && ++significant >= COLOURS) return false;
      }
    }
    return true;
  };
  const combine = (u: number, v: number): void => {
    if (where[v] === FREEZE) freeze.delete(v);
    else if (where[v] === SPILL) spill.delete(v);
    where[v] = COALESCED;
    alias[v] = u;
    cost[u]! += cost[v]!;
    if (fn.temporary.has(v) && u >= FIRST_VIRTUAL) fn.temporary.add(u);
    for (const move of movesOf[v]!) movesOf[u]!.push(move);
    enableMoves(v);
    for (const other of [...neighbours(v)]) {
      graph.add(other, u);
      decrement(other);
    }
    if (u >= COLOURS && graph.degree[u]! >= COLOURS && where[u] === FREEZE) {
      freeze.delete(u);
      where[u] = SPILL;
      spill.add(u);
    }
  };
  const freezeMoves = (r: number): void => {
    for (const move of movesOf[r]!) {
      if (move.state === 'done') continue;
      move.state = 'done';
      const a = find(move.to);
      const b = find(move.from);
      const other = a === find(r) ? b : a;
      if (
        other >= COLOURS &&
        where[other] === FREEZE &&
        !moveRelated(other) &&
        graph.degree[other]! < COLOURS
      ) {
        freeze.delete(other);
        where[other] = SIMPLIFY;
        simplify.push(other);
      }
    }
  };

  for (;;) {
    if (simplify.length > 0) {
      const r = simplify.pop()!;
      if (where[r] !== SIMPLIFY) continue;
      where[r] = SELECTED;
      selected.push(r);
      for (const other of graph.adjacent[r]!) {
        const state = where[other]!;
        if (state !== SELECTED && state !== COALESCED) decrement(other);
      }
    } else if (workMoves.length > 0) {
      const move = workMoves.pop()!;
      if (move.state !== 'work') continue;
      let u = find(move.to);
      let v = find(move.from);
      if (v < COLOURS) [u, v] = [v, u];
      if (u === v) {
        move.state = 'done';
        addWork(u);
      } else if (v < COLOURS || graph.has(u, v)) {
        move.state = 'done';
        addWork(u);
        addWork(v);
      } else if (u < COLOURS ? georgeOk(u, v) : briggsOk(u, v)) {
        move.state = 'done';
        combine(u, v);
        addWork(u);
      } else move.state = 'active';
    } else if (freeze.size > 0) {
      // The cheapest to give up.
      const [r] = freeze;
      freeze.delete(r!);
      where[r!] = SIMPLIFY;
      simplify.push(r!);
      freezeMoves(r!);
    } else if (spill.size > 0) {
      let best = -1;
      let bestCost = Number.POSITIVE_INFINITY;
      for (const r of spill) {
        const price = fn.temporary.has(r) ? 1e30 : cost[r]! / graph.degree[r]!;
        if (price < bestCost) {
          best = r;
          bestCost = price;
        }
      }
      if (best < 0) [best] = spill as unknown as [number];
      spill.delete(best);
      where[best] = SIMPLIFY;
      simplify.push(best);
      freezeMoves(best);
    } else break;
  }

  const colours = new Int32Array(n).fill(-1);
  for (let i = 0; i <= 10; i++) colours[i] = i;
  const spilled: number[] = [];
  while (selected.length > 0) {
    const r = selected.pop()!;
    let taken = 0;
    for (const other of graph.adjacent[r]!) {
      const c = colours[find(other)]!;
      if (c >= 0) taken |= 1 << c;
    }
    let chosen = -1;
    // A colour that a move would like.
    for (const move of movesOf[r]!) {
      const a = find(move.to);
      const other = a === r ? find(move.from) : a;
      const c = colours[other]!;
      if (c >= 0 && c < COLOURS && (taken & (1 << c)) === 0) {
        chosen = c;
        break;
      }
    }
    for (let c = 0; chosen < 0 && c < COLOURS; c++) if ((taken & (1 << c)) === 0) chosen = c;
    if (chosen < 0) spilled.push(r);
    else colours[r] = chosen;
  }
  for (let r = FIRST_VIRTUAL; r < n; r++) if (where[r] === COALESCED) colours[r] = colours[find(r)]!;
  void IN_NONE;
  return { colours, alias, spilled, graph };
}

const LOAD64 = CLASS.LDX | MODE.MEM | SIZE.DW;
const STORE64 = CLASS.STX | MODE.MEM | SIZE.DW;

function copyOf(mi: MInst, dst: Register): MInst {
  const copy = new MInst(mi.code, dst, mi.src, mi.off, mi.imm);
  copy.wide = mi.wide;
  copy.symbol = mi.symbol;
  copy.slot = mi.slot;
  copy.core = mi.core;
  copy.loc = mi.loc;
  return copy;
}

/** Gives every spilled register a place in the frame and moves it around each use. */
function rewriteSpills(fn: MFunc, spilled: readonly Register[], colouring: Colouring): void {
  const representative = new Map<Register, Register>();
  const root = (r: number): number => {
    let at = r;
    while (colouring.alias[at] !== at) at = colouring.alias[at]!;
    return at;
  };
  const isSpilled = new Set(spilled);
  for (let r = FIRST_VIRTUAL; r < fn.registers; r++) {
    const to = root(r);
    if (isSpilled.has(to)) representative.set(r, to);
  }
  // Those with one definition that can be repeated need no place.
  const definition = new Map<Register, MInst | null>();
  for (const block of fn.blocks) {
    for (const mi of block.insts) {
      forDefs(mi, (r) => {
        const to = representative.get(r);
        if (to === undefined) return;
        if (isMove(mi) && representative.get(mi.src) === to) return;
        definition.set(to, definition.has(to) || !isRematerialisable(mi) ? null : mi);
      });
    }
  }
  // Registers that never live together share a place.
  const slots = new Map<Register, Slot>();
  const chosen: { slot: Slot; owners: Register[] }[] = [];
  for (const r of spilled) {
    if (definition.get(r) != null) continue;
    let found = chosen.find(({ owners }) => owners.every((other) => !colouring.graph.has(r, other)));
    if (found === undefined) {
      const slot: Slot = { size: 8, align: 8, offset: 0, alloca: undefined };
      fn.slots.push(slot);
      found = { slot, owners: [] };
      chosen.push(found);
    }
    found.owners.push(r);
    slots.set(r, found.slot);
  }
  for (const block of fn.blocks) {
    const rewritten: MInst[] = [];
    for (const mi of block.insts) {
      const before: MInst[] = [];
      const after: MInst[] = [];
      const names = new Map<Register, Register>();
      let dropped = false;
      const uses = new Set<Register>();
      const defs = new Set<Register>();
      forUses(mi, (r) => {
        const to = representative.get(r);
        if (to !== undefined) uses.add(to);
      });
      forDefs(mi, (r) => {
        const to = representative.get(r);
        if (to === undefined) return;
        defs.add(to);
        if (definition.get(to) === mi || (definition.get(to) != null && isMove(mi))) dropped = true;
      });
      if (dropped || (isMove(mi) && defs.size > 0 && uses.size > 0 && [...uses][0] === [...defs][0]))
        continue;
      for (const r of uses) {
        const temporary = fn.registers++;
        fn.temporary.add(temporary);
        names.set(r, temporary);
        const made = definition.get(r);
        if (made != null) before.push(copyOf(made, temporary));
        else {
          const load = new MInst(LOAD64, temporary, FRAME_POINTER, 0, 0);
          load.slot = slots.get(r);
          before.push(load);
        }
      }
      for (const r of defs) {
        let temporary = names.get(r);
        if (temporary === undefined) {
          temporary = fn.registers++;
          fn.temporary.add(temporary);
          names.set(r, temporary);
        }
        const store = new MInst(STORE64, FRAME_POINTER, temporary, 0, 0);
        store.slot = slots.get(r);
        after.push(store);
      }
      if (names.size > 0) {
        for (const extra of [...before, ...after]) extra.loc = mi.loc;
        mapRegisters(mi, (r) => {
          const to = representative.get(r);
          return to === undefined ? r : names.get(to)!;
        });
      }
      rewritten.push(...before, mi, ...after);
    }
    block.insts = rewritten;
  }
}

/** Forwards a spilled value to loads behind it in the same block where its register still holds it. */
function forwardSpills(block: MBlock): void {
  const known = new Map<Slot, Register>();
  const kept: MInst[] = [];
  const forget = (r: Register): void => {
    for (const [slot, holder] of known) if (holder === r) known.delete(slot);
  };
  for (const mi of block.insts) {
    const { slot } = mi;
    if (slot !== undefined && slot.alloca === undefined) {
      if (mi.code === STORE64 && mi.dst === FRAME_POINTER) {
        kept.push(mi);
        known.set(slot, mi.src);
        continue;
      }
      if (mi.code === LOAD64 && mi.src === FRAME_POINTER) {
        const holder = known.get(slot);
        if (holder === mi.dst) continue;
        forget(mi.dst);
        if (holder !== undefined && holder !== mi.dst) {
          const move = new MInst(CLASS.ALU64 | ALU_OP.MOV | SOURCE.X, mi.dst, holder, 0, 0);
          move.loc = mi.loc;
          kept.push(move);
        } else {
          kept.push(mi);
          known.set(slot, mi.dst);
        }
        continue;
      }
    }
    forDefs(mi, forget);
    kept.push(mi);
  }
  block.insts = withoutDeadStores(kept);
}

/** Without stores of a spilled value that the same block stores again before it loads it. */
function withoutDeadStores(insts: readonly MInst[]): MInst[] {
  const again = new Set<Slot>();
  const kept: MInst[] = [];
  for (let i = insts.length - 1; i >= 0; i--) {
    const mi = insts[i]!;
    const { slot } = mi;
    if (slot !== undefined && slot.alloca === undefined) {
      if (mi.code === STORE64 && mi.dst === FRAME_POINTER) {
        if (again.has(slot)) continue;
        again.add(slot);
      } else again.delete(slot);
    }
    kept.push(mi);
  }
  return kept.reverse();
}

/** Gives every register of the function one of the machine's. Returns false where even spilling does not end. */
export function allocateRegisters(fn: MFunc): boolean {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const colouring = colour(fn);
    if (colouring.spilled.length === 0) {
      for (const block of fn.blocks) {
        for (const mi of block.insts)
          mapRegisters(mi, (r) => (r < FIRST_VIRTUAL ? r : colouring.colours[r]!));
        block.insts = block.insts.filter((mi) => !(isMove(mi) && mi.dst === mi.src));
        if (fn.slots.length > 0) forwardSpills(block);
      }
      return true;
    }
    rewriteSpills(fn, colouring.spilled, colouring);
  }
  return false;
}
