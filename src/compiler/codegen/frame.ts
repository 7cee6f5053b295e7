/**
 * Places of variables in the frame: those that are never alive together share their bytes.
 *
 * A variable is alive from its `lifetime` mark (or the entry) to the last use of an address made from it. One whose address is
 * stored somewhere is alive to the end.
 */
import { alignUp } from '../../util/index.ts';
import { computePreds, type Func, type Inst } from '../ir/index.ts';
import type { Slot } from './mir.ts';

export const STACK_LIMIT = 512;

/** Instructions that use a pointer into each variable; undefined where it escapes into memory. */
function usesOfAddress(alloca: Inst): Set<Inst> | undefined {
  const uses = new Set<Inst>();
  const work: Inst[] = [alloca];
  const seen = new Set<Inst>(work);
  while (work.length > 0) {
    const value = work.pop()!;
    for (const user of value.users) {
      if (user.op === 'lifetime') continue;
      if (user.op === 'store' && user.args[1] === value) return undefined;
      if ((user.op === 'atomic' || user.op === 'asm') && user.args[0] !== value) return undefined;
      uses.add(user);
      const derived = user.type === 'ptr' || user.type === 'i64';
      const carries = derived && user.op !== 'load' && user.op !== 'call' && user.op !== 'atomic';
      if (carries && !seen.has(user)) {
        seen.add(user);
        work.push(user);
      }
    }
  }
  return uses;
}

/** Sets of variables that are alive together, as bit sets by index. */
function interference(func: Func, allocas: readonly Inst[]): Uint32Array[] {
  const n = allocas.length;
  const words = (n + 31) >>> 5;
  const result = allocas.map(() => new Uint32Array(words));
  const usedBy = new Map<Inst, number[]>();
  const always = new Uint32Array(words);
  allocas.forEach((alloca, i) => {
    const uses = usesOfAddress(alloca);
    if (uses === undefined) {
      always[i >>> 5]! |= 1 << (i & 31);
      return;
    }
    for (const use of uses) {
      const list = usedBy.get(use);
      if (list === undefined) usedBy.set(use, [i]);
      else list.push(i);
      // A phi reads its operands at the end of the blocks before it; count them as used there too.
    }
  });
  const index = new Map(allocas.map((alloca, i) => [alloca, i]));
  computePreds(func);
  const liveIn: Uint32Array[] = func.blocks.map(() => new Uint32Array(words));
  const scan = (b: number, onStart?: (i: number, live: Uint32Array) => void): Uint32Array => {
    const block = func.blocks[b]!;
    const live = always.slice();
    for (const succ of block.succs) {
      const from = liveIn[succ.id]!;
      for (let w = 0; w < words; w++) live[w]! |= from[w]!;
    }
    for (let j = block.insts.length - 1; j >= 0; j--) {
      const inst = block.insts[j]!;
      if (inst.op === 'lifetime') {
        const i = index.get(inst.args[0] as Inst);
        if (i !== undefined && (always[i >>> 5]! & (1 << (i & 31))) === 0) {
          onStart?.(i, live);
          live[i >>> 5]! &= ~(1 << (i & 31));
        }
        continue;
      }
      for (const i of usedBy.get(inst) ?? []) live[i >>> 5]! |= 1 << (i & 31);
    }
    return live;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (let b = func.blocks.length - 1; b >= 0; b--) {
      const live = scan(b);
      const known = liveIn[b]!;
      for (let w = 0; w < words; w++) {
        if (live[w] !== known[w]) {
          liveIn[b] = live;
          changed = true;
          break;
        }
      }
    }
  }
  const clash = (i: number, live: Uint32Array): void => {
    for (let w = 0; w < words; w++) result[i]![w]! |= live[w]!;
    for (let j = 0; j < n; j++)
      if ((live[j >>> 5]! & (1 << (j & 31))) !== 0) result[j]![i >>> 5]! |= 1 << (i & 31);
  };
  func.blocks.forEach((_, b) => {
    scan(b, clash);
  });
  const entry = liveIn[0];
  if (entry !== undefined)
    for (let i = 0; i < n; i++) if ((entry[i >>> 5]! & (1 << (i & 31))) !== 0) clash(i, entry);
  return result;
}

/**
 * Gives every slot its offset; returns the bytes of the frame. Variables of a word and more lie at words, for a pointer into them may
 * be read through as a word where the frame must be accessed aligned; where that takes too much room, they lie as C says.
 */
export function layoutFrame(func: Func, slots: readonly Slot[]): number {
  const variables = slots.filter((slot) => slot.alloca !== undefined);
  const together = interference(
    func,
    variables.map((slot) => slot.alloca!),
  );
  const depth = place(slots, variables, together, true);
  return depth <= STACK_LIMIT ? depth : place(slots, variables, together, false);
}

function place(
  slots: readonly Slot[],
  variables: readonly Slot[],
  together: readonly Uint32Array[],
  atWords: boolean,
): number {
  const order = variables.map((_, i) => i).sort((a, b) => variables[b]!.size - variables[a]!.size || a - b);
  const placed: number[] = [];
  let depth = 0;
  for (const i of order) {
    const slot = variables[i]!;
    const align = atWords && slot.size >= 8 ? 8 : Math.max(1, Math.min(slot.align, 8));
    const near = placed
      .filter((j) => (together[i]![j >>> 5]! & (1 << (j & 31))) !== 0)
      .map((j) => ({ start: -variables[j]!.offset - variables[j]!.size, end: -variables[j]!.offset }))
      .sort((a, b) => a.start - b.start);
    // Depths below the frame pointer: [start, end). The address is -end, so end has to be aligned.
    let start = 0;
    let end = alignUp(start + slot.size, align);
    for (const other of near) {
      if (other.start >= end) break;
      if (other.end > start) {
        start = other.end;
        end = alignUp(start + slot.size, align);
      }
    }
    slot.offset = -end;
    placed.push(i);
    depth = Math.max(depth, end);
  }
  depth = alignUp(depth, 8);
  for (const slot of slots) {
    if (slot.alloca !== undefined) continue;
    depth += 8;
    slot.offset = -depth;
  }
  return depth;
}
