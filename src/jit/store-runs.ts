/**
 * Stores of constants that follow one another, through one register, become fewer and wider ones: what compilers make of clearing or
 * filling a structure. Only plain stores of a verified program get here, so that none of them traps, and nothing looks between them.
 */
import { accessBytes, CLASS, insnClass, insnMode, MODE } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import type { FunctionContext } from './context.ts';
import { KNOWN } from './known.ts';
import { OP } from './wasm/index.ts';
import { slotOf } from './webs.ts';

/** Most bytes of one run: more are a second one. */
const MOST_BYTES = 4096;

/** Emits the run that begins with the store at `i`, and gives the instruction behind it; `i` where there is none worth the while. */
export function emitStoreRun(f: FunctionContext, insns: readonly Insn[], i: number, end: number): number {
  const base = insns[i]!.dst;
  let stop = i;
  let low = 0x8000;
  let high = -0x8000;
  const arena = f.module.program.arena?.accesses;
  for (; stop < end && isConstantStore(f, insns[stop]!, base) && !arena?.has(stop); stop++) {
    const { off, code } = insns[stop]!;
    const nextLow = Math.min(low, off);
    const nextHigh = Math.max(high, off + accessBytes(code));
    if (nextHigh - nextLow > MOST_BYTES) break;
    low = nextLow;
    high = nextHigh;
  }
  if (stop - i < 2) return i;
  const bytes = new Uint8Array(high - low);
  const written = new Uint8Array(high - low);
  for (let k = i; k < stop; k++) putBytes(f, insns[k]!, low, bytes, written);
  for (let at = 0; at < bytes.length; ) {
    if (written[at] === 0) {
      at++;
      continue;
    }
    let to = at;
    while (to < bytes.length && written[to] === 1) to++;
    emitBytes(f, base, low, bytes, at, to);
    at = to;
  }
  return stop;
}

function isConstantStore(f: FunctionContext, insn: Insn, base: number): boolean {
  if (insn.dst !== base || insnMode(insn.code) !== MODE.MEM) return false;
  const cls = insnClass(insn.code);
  if (cls !== CLASS.ST && cls !== CLASS.STX) return false;
  if (cls === CLASS.STX && (insn.src === 10 || f.known.kind[insn.src] !== KNOWN.constant)) return false;
  return slotOf(f.webs.slots, insn) < 0;
}

function putBytes(f: FunctionContext, insn: Insn, low: number, bytes: Uint8Array, written: Uint8Array): void {
  const immediate = insnClass(insn.code) === CLASS.ST;
  const words = immediate ? [insn.imm, insn.imm >> 31] : [f.known.low[insn.src]!, f.known.high[insn.src]!];
  for (let k = 0; k < accessBytes(insn.code); k++) {
    bytes[insn.off - low + k] = words[k >> 2]! >>> ((k & 3) * 8);
    written[insn.off - low + k] = 1;
  }
}

/** Bytes `at` to `to`, the first of which belongs at base + `low` + `at`. */
function emitBytes(
  f: FunctionContext,
  base: number,
  low: number,
  bytes: Uint8Array,
  at: number,
  to: number,
): void {
  const { w } = f;
  const view = new DataView(bytes.buffer);
  for (let k = at; k < to; ) {
    const left = to - k;
    const size = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    const isPair =
      left >= 16 &&
      view.getInt32(k, true) === view.getInt32(k + 8, true) &&
      view.getInt32(k + 4, true) === view.getInt32(k + 12, true);
    const offset = f.address(base, low + k);
    if (size === 8) {
      w.i64Halves(view.getInt32(k, true), view.getInt32(k + 4, true));
      if (isPair) {
        w.op(OP.i64x2Splat);
        w.memory(OP.v128Store, offset);
        k += 16;
        continue;
      }
      w.memory(OP.i64Store, offset);
    } else if (size === 4) {
      w.i32(view.getInt32(k, true));
      w.memory(OP.i32Store, offset);
    } else if (size === 2) {
      w.i32(view.getUint16(k, true));
      w.memory(OP.i32Store16, offset);
    } else {
      w.i32(view.getUint8(k));
      w.memory(OP.i32Store8, offset);
    }
    k += size;
  }
}
