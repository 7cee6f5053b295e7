/**
 * Lookups in hash tables in place of a call: the hash of `maps/wasm/hash.ts` unrolled for the size of the key, and the walk along the
 * chain, its first element in front of the loop. Only where one thread has the memory: others may change a chain while it is walked.
 */
import type { BpfMap, HashLayout } from '../contracts/maps.ts';
import { RUN_STATE } from '../memory/layout.ts';
import type { FunctionContext } from './context.ts';
import { OP, TYPE } from './wasm/index.ts';

/** Longer keys are left to the call. */
const MOST_KEY_BYTES = 64;
/** Longer keys are compared only where the hashes are the same. */
const SHORT_KEY_BYTES = 16;

const MULTIPLIER = { low: 0x7f4a_7c15, high: 0x9e37_79b9 | 0 } as const;
const SEED_MULTIPLIER = 0xff51_afd7_ed55_8ccdn;

export interface HashShape {
  readonly layout: HashLayout;
  readonly keySize: number;
  /** The value is the offset of a map's header: the result is the map. */
  readonly holdsMap: boolean;
}

/** What a lookup in place needs to know of the map; undefined: the helper must be called. */
export function hashShape(map: BpfMap): HashShape | undefined {
  const { keySize, type } = map.info;
  const layout = map.layout.hash;
  if (layout === undefined || keySize > MOST_KEY_BYTES) return undefined;
  if (type.holds !== undefined && type.holds !== 'map') return undefined;
  return { layout, keySize, holdsMap: type.holds === 'map' };
}

/** A part of the key: its offset and size, and the i64 local that holds it. */
interface Part {
  readonly at: number;
  readonly size: 8 | 4 | 2 | 1;
  readonly local: number;
}

const LOAD_PART = { 8: OP.i64Load, 4: OP.i64Load32U, 2: OP.i64Load16U, 1: OP.i64Load8U } as const;

/** Leaves what R2 points to looked up in an i32 local, and gives the local: the offset of the value, 0 where there is none. */
export function emitHashLookup(f: FunctionContext, { layout, keySize, holdsMap }: HashShape): number {
  const { w } = f;
  const elem = f.scratch('elem', TYPE.i32);
  const parts = emitKey(f, keySize);
  const hash = f.scratch('hash', TYPE.i32);
  w.block(OP.block, TYPE.empty);
  w.block(OP.block, TYPE.empty);
  emitHash(f, parts, keySize, layout.seed);
  if (keySize > SHORT_KEY_BYTES) w.tee(hash);
  w.i32(layout.mask);
  w.op(OP.i32And);
  w.i32(2);
  w.op(OP.i32Shl);
  w.memory(OP.i32Load, layout.buckets);
  emitStep(f, elem, hash, parts, layout, 0);
  w.block(OP.loop, TYPE.empty);
  w.get(elem);
  w.memory(OP.i32Load, layout.next);
  emitStep(f, elem, hash, parts, layout, 1);
  w.index(OP.br, 0);
  w.op(OP.end);
  w.op(OP.end);
  emitFound(f, elem, layout, holdsMap);
  w.op(OP.end);
  return elem;
}

/** The local's element is the one on the stack: out of two blocks where there is none, of one where it has the key. */
function emitStep(
  f: FunctionContext,
  elem: number,
  hash: number,
  parts: readonly Part[],
  layout: HashLayout,
  depth: number,
): void {
  const { w } = f;
  const byHash = parts.reduce((sum, { size }) => sum + size, 0) > SHORT_KEY_BYTES;
  w.tee(elem);
  w.op(OP.i32Eqz);
  w.index(OP.brIf, depth + 1);
  if (byHash) {
    w.get(elem);
    w.memory(OP.i32Load, layout.hashed);
    w.get(hash);
    w.op(OP.i32Eq);
    w.block(OP.if, TYPE.empty);
  }
  const inside = byHash ? depth + 1 : depth;
  parts.forEach(({ at, size, local }, n) => {
    w.get(elem);
    w.memory(LOAD_PART[size], layout.key + at);
    w.get(local);
    if (parts.length === 1) w.op(OP.i64Eq);
    else {
      w.op(OP.i64Xor);
      if (n > 0) w.op(OP.i64Or);
    }
  });
  if (parts.length > 1) w.op(OP.i64Eqz);
  w.index(OP.brIf, inside);
  if (byHash) w.op(OP.end);
}

function emitFound(f: FunctionContext, elem: number, layout: HashLayout, holdsMap: boolean): void {
  const { w } = f;
  if (layout.used !== 0) {
    w.get(elem);
    w.get(elem);
    w.memory(OP.i32Load, layout.used);
    w.i32(1);
    w.op(OP.i32Or);
    w.memory(OP.i32Store, layout.used);
  }
  w.get(elem);
  if (holdsMap) w.memory(OP.i32Load, layout.value);
  else {
    w.i32(layout.value);
    w.op(OP.i32Add);
    if (layout.cpuStride !== 0) {
      f.runState(RUN_STATE.cpu);
      w.memory(OP.i32Load, 0);
      w.i32(layout.cpuStride);
      w.op(OP.i32Mul);
      w.op(OP.i32Add);
    }
  }
  w.set(elem);
}

/** The key in locals. */
function emitKey(f: FunctionContext, keySize: number): Part[] {
  const { w } = f;
  const parts: Part[] = [];
  for (let at = 0; at < keySize; ) {
    const left = keySize - at;
    const size = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    const local = f.scratch(`key.${parts.length}`, TYPE.i64);
    w.memory(LOAD_PART[size], f.address(2, at));
    w.set(local);
    parts.push({ at, size, local });
    at += size;
  }
  return parts;
}

/** Pushes the hash of the key, as `hash4`, `hash8` and `hashN` make it. */
function emitHash(f: FunctionContext, parts: readonly Part[], keySize: number, seed: number): void {
  const { w } = f;
  const h = f.scratch('mixed', TYPE.i64);
  if (keySize === 4) {
    // (seed << 32 | key), whose halves are then put together.
    w.get(parts[0]!.local);
    emitXor(f, seed, seed);
  } else if (keySize === 8) {
    const mixed = BigInt.asUintN(64, BigInt(seed >>> 0) * SEED_MULTIPLIER);
    w.get(parts[0]!.local);
    emitXor(f, Number(BigInt.asIntN(32, mixed)), Number(BigInt.asIntN(32, mixed >> 32n)));
    foldHalves(f, h);
  } else {
    w.i64Halves(seed, keySize);
    for (const { local } of parts.filter(({ size }) => size === 8)) {
      w.get(local);
      w.op(OP.i64Xor);
      w.i64Halves(MULTIPLIER.low, MULTIPLIER.high);
      w.op(OP.i64Mul);
      w.tee(h);
      w.get(h);
      w.i64(29);
      w.op(OP.i64ShrU);
      w.op(OP.i64Xor);
    }
    parts
      .filter(({ size }) => size < 8)
      .forEach(({ size, local }, n) => {
        if (n > 0) {
          w.i64(size * 8);
          w.op(OP.i64Shl);
        }
        w.get(local);
        if (n > 0) w.op(OP.i64Or);
      });
    if (keySize % 8 !== 0) w.op(OP.i64Xor);
    foldHalves(f, h);
  }
  w.i64Halves(MULTIPLIER.low, MULTIPLIER.high);
  w.op(OP.i64Mul);
  w.tee(h);
  w.i64(32);
  w.op(OP.i64ShrU);
  w.op(OP.i32WrapI64);
  w.get(h);
  w.op(OP.i32WrapI64);
  w.i32(15);
  w.op(OP.i32ShrU);
  w.op(OP.i32Xor);
}

function emitXor({ w }: FunctionContext, low: number, high: number): void {
  if ((low | high) === 0) return;
  w.i64Halves(low, high);
  w.op(OP.i64Xor);
}

/** x ^ x >> 32 */
function foldHalves(f: FunctionContext, h: number): void {
  const { w } = f;
  w.tee(h);
  w.get(h);
  w.i64(32);
  w.op(OP.i64ShrU);
  w.op(OP.i64Xor);
}
