/**
 * The verifier's log: text that can be cut back (at level 1 only the failing path stays), source lines, and the state of
 * registers and stack as Linux 6.18 prints them. The texts are the kernel's format, on which tools rely.
 *
 * The log is collected at every level, because the reason of a refusal is its last line; callers guard what is only
 * printed at level 1 or 2.
 */
import type { LineInfo } from '../contracts/verify.ts';
import { formatRanges, formatSnum, formatUnum } from './domain/index.ts';
import {
  ADD_CONST,
  BASE_MASK,
  baseId,
  CONST_PTR_TO_DYNPTR,
  CONST_PTR_TO_MAP,
  isPacketPointer,
  NON_OWN_REF,
  NOT_INIT,
  PTR_TO_ARENA,
  PTR_TO_BTF_ID,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_STACK,
  type Reg,
  SCALAR,
  typeName,
} from './registers.ts';
import { iterDepth, iterName, iterStateName } from './slot-objects.ts';
import {
  SLOT_CHARS,
  STACK_DYNPTR,
  STACK_INVALID,
  STACK_ITER,
  STACK_SPILL,
  slotType,
  type VState,
} from './state.ts';

export const LOG_STEPS = 1;
export const LOG_ALL = 2;
export const LOG_STATS = 4;
/** Levels that print instructions. */
export const LOG_INSNS = LOG_STEPS | LOG_ALL;

const DEFAULT_LIMIT = 16 << 20;

export class Log {
  readonly level: number;
  private readonly limit: number;
  private chunks: string[] = [];
  private first = 0;
  /** Characters ever written minus those cut back. */
  end = 0;
  /** Characters dropped at the front. */
  private dropped = 0;

  constructor(level: number, limit = DEFAULT_LIMIT) {
    this.level = level;
    this.limit = limit;
  }

  write(text: string): void {
    if (text === '') return;
    this.chunks.push(text);
    this.end += text.length;
    while (this.end - this.dropped > this.limit && this.first < this.chunks.length - 1) {
      this.dropped += this.chunks[this.first]!.length;
      this.chunks[this.first++] = '';
      if (this.first > 4096 && this.first * 2 > this.chunks.length) {
        this.chunks = this.chunks.slice(this.first);
        this.first = 0;
      }
    }
  }

  /** Forgets everything after position `end`. */
  cutTo(end: number): void {
    while (this.end > end && this.chunks.length > this.first) {
      const last = this.chunks.pop()!;
      if (this.end - last.length >= end) {
        this.end -= last.length;
      } else {
        const kept = last.slice(0, last.length - (this.end - end));
        this.chunks.push(kept);
        this.end = end;
      }
    }
    if (this.end > end) {
      this.end = end;
      this.dropped = end;
    }
  }

  text(): string {
    const text = this.chunks.slice(this.first).join('');
    if (this.dropped === 0) return text;
    return text.slice(Math.max(0, text.length - this.limit));
  }

  /** The last line that is not empty. */
  lastLine(): string {
    let tail = '';
    for (let i = this.chunks.length - 1; i >= this.first; i--) {
      tail = this.chunks[i]! + tail;
      const lines = tail.trimEnd().split('\n');
      if (lines.length > 1) return lines[lines.length - 1]!.trim();
    }
    return tail.trim();
  }
}

/** What of the current frame changed since it was last printed. */
export class Scratched {
  regs = 0;
  private low = 0;
  private high = 0;

  mark(reg: number): void {
    this.regs |= 1 << reg;
  }

  markSlot(spi: number): void {
    if (spi < 32) this.low |= 1 << spi;
    else this.high |= 1 << (spi - 32);
  }

  markAll(): void {
    this.regs = -1;
    this.low = -1;
    this.high = -1;
  }

  clear(): void {
    this.regs = 0;
    this.low = 0;
    this.high = 0;
  }

  get any(): boolean {
    return (this.regs | this.low | this.high) !== 0;
  }

  hasSlot(spi: number): boolean {
    return ((spi < 32 ? this.low >>> spi : this.high >>> (spi - 32)) & 1) !== 0;
  }
}

function isMapPointer(base: number): boolean {
  return base === CONST_PTR_TO_MAP || base === PTR_TO_MAP_KEY || base === PTR_TO_MAP_VALUE;
}

/** A register as the log shows it: `42`, `fp-8`, `pkt(off=8,r=8)`, `scalar(id=1,umax=255,…)`. */
export function formatReg(reg: Reg, frameno: number, precise: boolean): string {
  const { type, v } = reg;
  const mark = type === SCALAR && precise ? 'P' : '';
  const known = v.tnum.mask === 0n;
  if (type === SCALAR && known) return mark + formatSnum(v.tnum.value);
  let text = mark + typeName(type);
  if (type === PTR_TO_ARENA) return text;
  if (type === PTR_TO_STACK) {
    if (reg.frameno !== frameno) text += `[${reg.frameno}]`;
    if (known) return text + formatSnum(v.tnum.value + BigInt(reg.off));
  }
  const base = type & BASE_MASK;
  if (base === PTR_TO_BTF_ID) text += reg.struct?.name ?? '';
  const attrs: string[] = [];
  if (reg.id !== 0) {
    let id = `id=${baseId(reg.id)}`;
    if (reg.id >= ADD_CONST) id += reg.off < 0 ? `${reg.off}` : `+${reg.off}`;
    attrs.push(id);
  }
  if (reg.refObjId !== 0) attrs.push(`ref_obj_id=${reg.refObjId}`);
  if ((type & NON_OWN_REF) !== 0) attrs.push('non_own_ref');
  if (isMapPointer(base) && reg.map !== null) {
    if (reg.map.name !== '') attrs.push(`map=${reg.map.name}`);
    attrs.push(`ks=${reg.map.keySize},vs=${reg.map.valueSize}`);
  }
  if (type !== SCALAR && reg.off !== 0) attrs.push(`off=${formatSnum(BigInt(reg.off))}`);
  if (isPacketPointer(type)) attrs.push(`r=${formatUnum(BigInt(reg.raw))}`);
  if (base === PTR_TO_MEM) attrs.push(`sz=${formatUnum(BigInt(reg.raw))}`);
  if (type === CONST_PTR_TO_DYNPTR && reg.dynptr !== null) attrs.push(`type=${reg.dynptr.type}`);
  if (known) {
    if (v.tnum.value !== 0n) attrs.push(`imm=${formatSnum(v.tnum.value)}`);
  } else {
    const ranges = formatRanges(v);
    if (ranges !== '') attrs.push(ranges);
  }
  return `${text}(${attrs.join(',')})`;
}

function slotText(types: number, count: number): string {
  let text = '';
  for (let i = 0; i < count; i++) text += SLOT_CHARS[slotType(types, i)] ?? '?';
  return text;
}

function firstSpilled(types: number): number {
  for (let i = 0; i < 8; i++) if (slotType(types, i) === STACK_SPILL) return i;
  return 8;
}

export interface StateFormat {
  /** Print only what is scratched; all where null. */
  readonly scratched: Scratched | null;
  /** Unprivileged loads track every scalar precisely. */
  readonly allPrecise: boolean;
}

/** The registers and stack slots of one frame, with a space before each, and a newline. */
export function formatState(state: VState, frameno: number, format: StateFormat): string {
  const frame = state.frames[frameno]!;
  const { scratched, allPrecise } = format;
  let text = frame.frameno === 0 ? '' : ` frame${frame.frameno}:`;
  for (let n = 0; n < 11; n++) {
    const reg = frame.regs[n]!;
    if (reg.type === NOT_INIT) continue;
    if (scratched !== null && (scratched.regs & (1 << n)) === 0) continue;
    text += ` R${n}=${formatReg(reg, frame.frameno, allPrecise || state.isRegPrecise(frameno, n))}`;
  }
  for (let spi = 0; spi < frame.stack.length; spi++) {
    if (scratched !== null && !scratched.hasSlot(spi)) continue;
    const slot = frame.stack[spi]!;
    if (slot.types === STACK_INVALID) continue;
    const at = `fp${-(spi + 1) * 8}`;
    const last = slotType(slot.types, 7);
    if (last === STACK_SPILL) {
      const precise = allPrecise || state.isSlotPrecise(frameno, spi);
      text += ` ${at}=${slotText(slot.types, firstSpilled(slot.types))}${formatReg(slot.reg, frame.frameno, precise)}`;
    } else if (last === STACK_DYNPTR) {
      spi++;
      const main = frame.stack[spi]?.reg ?? slot.reg;
      const attrs: string[] = [];
      if (main.id !== 0) attrs.push(`id=${main.id}`);
      if (main.refObjId !== 0) attrs.push(`ref_id=${main.refObjId}`);
      // The kernel prints the mark of the first slot here.
      if (main.dynptr?.firstSlot) attrs.push('dynptr_id=1');
      text += ` fp${-(spi + 1) * 8}=dynptr_${main.dynptr?.type ?? '<invalid>'}(${attrs.join(',')})`;
    } else if (last === STACK_ITER) {
      const { reg } = slot;
      // Only the first slot has the reference.
      if (reg.refObjId === 0) continue;
      text += ` ${at}=iter_${iterName(reg)}(ref_id=${reg.refObjId},state=${iterStateName(reg)},depth=${iterDepth(reg)})`;
    } else {
      text += ` ${at}=${slotText(slot.types, 8)}`;
    }
  }
  const refs = state.refs.filter((ref) => ref.id !== 0);
  if (state.refs.length > 0 && state.refs[0]!.id !== 0)
    text += ` refs=${refs.map((ref) => ref.id).join(',')}`;
  if (frame.inCallback) text += ' cb';
  if (frame.inAsyncCallback) text += ' async_cb';
  return `${text}\n`;
}

/** Spaces between an instruction of `length` characters and the `;` before its state. */
export function stateIndent(length: number): number {
  return Math.ceil(Math.max(length + 4, 40) / 8) * 8 - length - 1;
}

/** The record of the line that instruction `insn` comes from. */
export function lineOf(lines: readonly LineInfo[] | undefined, insn: number): LineInfo | undefined {
  if (lines === undefined || lines.length === 0) return undefined;
  let low = 0;
  let high = lines.length - 1;
  while (low < high) {
    const middle = low + ((high - low + 1) >> 1);
    if (lines[middle]!.insn <= insn) low = middle;
    else high = middle - 1;
  }
  return lines[low];
}

export function formatLine(line: LineInfo): string {
  const file = line.file.slice(line.file.lastIndexOf('/') + 1);
  return `${line.text.trimStart()} @ ${file}:${line.line}\n`;
}

/** `r0,r2,r4` */
export function formatRegMask(mask: number): string {
  const names: string[] = [];
  for (let n = 0; n < 32; n++) if ((mask & (1 << n)) !== 0) names.push(`r${n}`);
  return names.join(',');
}

/** `-8,-24`: the stack slots in two words of 32. */
export function formatSlotMask(low: number, high: number): string {
  const names: string[] = [];
  for (let spi = 0; spi < 64; spi++) {
    if (((spi < 32 ? low >>> spi : high >>> (spi - 32)) & 1) !== 0) names.push(`${-(spi + 1) * 8}`);
  }
  return names.join(',');
}
