/** Stores that are overwritten, or whose variable ends, before anybody can read them. */
import {
  type Block,
  bytesOf,
  detach,
  FLAG,
  type Func,
  type Inst,
  isConst,
  sweep,
  type Value,
} from '../ir/index.ts';
import { addressOf, capturedVariables, objectOf } from './addresses.ts';

/** Bytes of an object that will be written before they are read. */
interface Overwritten {
  readonly base: Value;
  readonly from: number;
  readonly to: number;
}

const MAX_KNOWN = 64;

class StoreElimination {
  private readonly captured: Set<Inst>;
  /** What is overwritten from the start of a block on. */
  private readonly atStart = new Map<Block, readonly Overwritten[]>();
  changed = false;

  constructor(func: Func) {
    this.captured = capturedVariables(func);
  }

  private isPrivate(object: Value | undefined): boolean {
    return object?.kind === 'inst' && !this.captured.has(object);
  }

  /** What stays overwritten where `size` bytes (-1: any) at a pointer are read. */
  private afterRead(known: readonly Overwritten[], pointer: Value, size: number): Overwritten[] {
    const { base, offset } = addressOf(pointer);
    const object = objectOf(pointer);
    return known.filter((one) => {
      if (one.base === base) return size >= 0 && (one.to <= offset || offset + size <= one.from);
      const other = objectOf(one.base);
      if (object !== undefined && other !== undefined) return object !== other;
      return this.isPrivate(other) || this.isPrivate(object);
    });
  }

  /** Goes through a block backwards. The blocks behind it come first. */
  visit(block: Block): void {
    let known = this.behind(block);
    for (let j = block.insts.length - 1; j >= 0; j--) {
      const inst = block.insts[j]!;
      switch (inst.op) {
        case 'store':
        case 'memset': {
          const length = inst.args[2];
          const size =
            inst.op === 'store'
              ? bytesOf(inst.mem)
              : length !== undefined && isConst(length)
                ? Number(length.value)
                : -1;
          if (inst.has(FLAG.VOLATILE)) {
            known = known.filter((one) => this.isPrivate(one.base));
            break;
          }
          if (size < 0) break;
          const { base, offset } = addressOf(inst.args[0]!);
          if (known.some((one) => one.base === base && one.from <= offset && offset + size <= one.to)) {
            detach(inst);
            this.changed = true;
            break;
          }
          known = merge(known, base, offset, offset + size);
          break;
        }
        case 'load':
          known = this.afterRead(known, inst.args[0]!, bytesOf(inst.mem));
          break;
        case 'memcpy':
        case 'memmove': {
          const length = inst.args[2]!;
          known = this.afterRead(known, inst.args[1]!, isConst(length) ? Number(length.value) : -1);
          break;
        }
        case 'memcmp':
        case 'atomic':
          for (const arg of inst.args) if (arg.type === 'ptr') known = this.afterRead(known, arg, -1);
          break;
        case 'lifetime':
          known = known.filter((one) => one.base !== inst.args[0]);
          break;
        case 'call': {
          const callee = inst.callee?.kind === 'function' ? inst.callee.func : undefined;
          if (callee?.effects === 'none') break;
          const passed = new Set(inst.args.map(objectOf));
          known = known.filter((one) => {
            const object = objectOf(one.base);
            return this.isPrivate(object) && !passed.has(object);
          });
          break;
        }
        case 'asm':
        case 'asmgoto':
          known = [];
          break;
        default:
      }
    }
    this.atStart.set(block, known);
  }

  /** What all blocks behind agree on. Values that a base is made of must be there already: they are, the block dominates or equals. */
  private behind(block: Block): Overwritten[] {
    const { succs } = block;
    if (succs.length === 0) return [];
    const lists = succs.map((succ) => this.atStart.get(succ));
    const [first, ...rest] = lists;
    if (first === undefined || rest.some((list) => list === undefined)) return [];
    return first.filter((one) =>
      rest.every((list) =>
        list!.some((other) => other.base === one.base && other.from <= one.from && one.to <= other.to),
      ),
    );
  }
}

function merge(list: readonly Overwritten[], base: Value, from: number, to: number): Overwritten[] {
  let low = from;
  let high = to;
  const rest = list.filter((one) => {
    if (one.base !== base || one.to < low || one.from > high) return true;
    low = Math.min(low, one.from);
    high = Math.max(high, one.to);
    return false;
  });
  rest.push({ base, from: low, to: high });
  return rest.length > MAX_KNOWN ? rest.slice(1) : rest;
}

/** True where something changed. `order`: blocks in reverse postorder. */
export function eliminateDeadStores(func: Func, order: readonly Block[]): boolean {
  const elimination = new StoreElimination(func);
  for (let i = order.length - 1; i >= 0; i--) elimination.visit(order[i]!);
  if (elimination.changed) sweep(func);
  return elimination.changed;
}
