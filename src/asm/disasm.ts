/**
 * Instructions to text: the kernel's syntax (as its verifier log and bpftool print it, 6.18) or LLVM's (as
 * `llvm-objdump -d --mcpu=v4` prints it, without the symbol behind a jump). Derived from the rows of `table.ts`.
 *
 * Invariant: in the kernel's syntax, `assemble(disassemble(p))` gives `p` back for every program, also for a broken one:
 * what no instruction text can express is written as `.insn code, dst, src, off, imm`.
 */
import type { Insn } from '../contracts/insn.ts';
import { asS64, joinHalves } from '../util/index.ts';
import { helperNameById } from './helpers.ts';
import { reservedFieldInUse, rowOf } from './lookup.ts';
import { CLASS, insnClass } from './opcodes.ts';
import type { InsnRow } from './table.ts';
import { templateParts } from './template.ts';

export type AsmSyntax = 'kernel' | 'llvm';

export interface FormatOptions {
  readonly syntax?: AsmSyntax;
  /** Puts `(b7) ` before the instruction, as the verifier log does. Default: no. */
  readonly opcode?: boolean;
  /**
   * Loads of map, BTF and function references: `named` writes them so that they can be assembled again
   * (`r1 = map[fd:5]`), `raw` writes the 64-bit number (`r1 = 0x5`) as the verifier log does. Default: named.
   */
  readonly pseudo?: 'named' | 'raw';
  /** Name of a helper (`bpf_map_lookup_elem`); default: that of the helper table. */
  readonly helperName?: (id: number) => string | undefined;
  /** Name of the kfunc that a call with source register 2 means. */
  readonly kfuncName?: (insn: Insn) => string | undefined;
  /** Name of the map behind a map reference, by file descriptor or array index: written `map[name]`. */
  readonly mapName?: (reference: number, insn: Insn, index: number) => string | undefined;
  /** What stands for the target of a jump or of a bpf-to-bpf call, by its slot: a label. Default: `pc+N`. */
  readonly labelOf?: (target: number) => string | undefined;
}

/** How the kernel's verifier log writes an instruction. */
export const KERNEL_LOG: FormatOptions = { syntax: 'kernel', opcode: true, pseudo: 'raw' };

const signed = (n: number): string => (n < 0 ? `${n}` : `+${n}`);
const hexSigned = (n: number): string => (n < 0 ? `-0x${(-n).toString(16)}` : `0x${n.toString(16)}`);
const hex32 = (n: number): string => `0x${(n >>> 0).toString(16)}`;

interface Context {
  readonly insn: Insn;
  /** The immediate of the second slot. */
  readonly high: number;
  readonly index: number;
  readonly options: FormatOptions;
}

const target = (c: Context, distance: number): string =>
  c.options.labelOf?.(c.index + 1 + distance) ?? `pc${signed(distance)}`;

const signedSpaced = (n: number): string => (n < 0 ? `- ${hexSigned(-n)}` : `+ ${hexSigned(n)}`);
const hexDistance = (n: number): string => (n < 0 ? hexSigned(n) : `+${hexSigned(n)}`);
const wholeImm = (c: Context): bigint => joinHalves(c.insn.imm, c.high);

function mapReference(c: Context, kind: 'fd' | 'idx'): string {
  return c.options.mapName?.(c.insn.imm, c.insn, c.index) ?? `${kind}:${c.insn.imm}`;
}

/** What each placeholder prints. */
const PRINT: Readonly<Record<string, (c: Context) => string>> = {
  'r.dst': (c) => `r${c.insn.dst}`,
  'w.dst': (c) => `w${c.insn.dst}`,
  'r.src': (c) => `r${c.insn.src}`,
  'w.src': (c) => `w${c.insn.src}`,
  dec: (c) => `${c.insn.imm}`,
  hex: (c) => hex32(c.insn.imm),
  shex: (c) => hexSigned(c.insn.imm),
  off: (c) => signed(c.insn.off),
  soff: (c) => signedSpaced(c.insn.off),
  pc: (c) => target(c, c.insn.off),
  pc32: (c) => target(c, c.insn.imm),
  rel: (c) => hexDistance(c.insn.off),
  rel32: (c) => hexDistance(c.insn.imm),
  imm64: (c) => `0x${wholeImm(c).toString(16)}`,
  s64: (c) => {
    const value = asS64(wholeImm(c));
    return value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
  },
  fd: (c) => mapReference(c, 'fd'),
  idx: (c) => mapReference(c, 'idx'),
  add: (c) => `+${c.high >>> 0}`,
  btf: (c) => (c.high === 0 ? `${c.insn.imm}` : `${c.insn.imm}, fd:${c.high}`),
  func: (c) => signed(c.insn.imm),
  'as.to': (c) => `${c.insn.imm >>> 16}`,
  'as.from': (c) => `${c.insn.imm & 0xffff}`,
  helper: (c) => {
    const name = (c.options.helperName ?? helperNameById)(c.insn.imm) ?? 'unknown';
    return `${name}#${c.insn.imm}`;
  },
  sub: (c) => target(c, c.insn.imm),
  kfunc: (c) => `${c.options.kfuncName?.(c.insn) ?? 'kernel-function'}#${c.insn.imm}`,
};

/** LLVM writes the two address spaces in hexadecimal; everything else that differs has its own placeholder. */
const PRINT_LLVM: Readonly<Record<string, (c: Context) => string>> = {
  ...PRINT,
  'as.to': (c) => hex32(c.insn.imm >>> 16),
  'as.from': (c) => hex32(c.insn.imm & 0xffff),
};

function fill(template: string, print: typeof PRINT, c: Context): string {
  let text = '';
  for (const part of templateParts(template)) text += 'key' in part ? print[part.key]!(c) : part.text;
  return text;
}

const BUG_PREFIX: Readonly<Record<number, string>> = {
  [CLASS.LD]: 'BUG_ld_',
  [CLASS.LDX]: 'BUG_ldx_',
  [CLASS.ST]: 'BUG_st_',
  [CLASS.STX]: 'BUG_',
  [CLASS.ALU]: 'BUG_alu_',
  [CLASS.ALU64]: 'BUG_alu64_',
  [CLASS.JMP]: 'BUG_jmp_',
  [CLASS.JMP32]: 'BUG_jmp32_',
};

const hexByte = (code: number): string => code.toString(16).padStart(2, '0');

function kernelText(c: Context, row: InsnRow): string {
  if (row.slots === 2 && c.options.pseudo === 'raw') return `r${c.insn.dst} = ${PRINT.imm64!(c)}`;
  return fill(row.kernel, PRINT, c);
}

/**
 * The text of instruction `index` of a program, without a newline. The second slot of a 64-bit load is read at
 * `index + 1`. An opcode that does not exist gives `BUG_…` (kernel) or `<unknown>` (LLVM), never an error.
 */
export function formatInsn(insns: readonly Insn[], index: number, options: FormatOptions = {}): string {
  const insn = insns[index];
  if (insn === undefined) return 'BUG_no_insn';
  const row = rowOf(insn);
  const next = insns[index + 1];
  const c: Context = { insn, high: next?.imm ?? 0, index, options };
  const complete = row !== undefined && (row.slots === 1 || next !== undefined);
  if (options.syntax === 'llvm') {
    return complete && row.llvm !== null ? fill(row.llvm, PRINT_LLVM, c) : '<unknown>';
  }
  if (!complete) return `${BUG_PREFIX[insnClass(insn.code)]}${hexByte(insn.code)}`;
  const text = kernelText(c, row);
  return options.opcode === true ? `(${hexByte(insn.code)}) ${text}` : text;
}

// ---------------------------------------------------------------------------------------------------------------
// Whole programs

export interface DisassembleOptions extends FormatOptions {
  /** Puts `   5: ` before each instruction. Default: no. */
  readonly index?: boolean;
  /**
   * Kernel syntax only: writes what instruction text cannot express (bad opcodes, reserved fields in use) as `.insn`,
   * so that the text assembles to the same bytes. Default: yes; without it such instructions print as the kernel would.
   */
  readonly lossless?: boolean;
}

export interface DisassembledInsn {
  /** Slot. */
  readonly index: number;
  readonly slots: 1 | 2;
  readonly text: string;
}

const MAX_REGISTER = 10;

/** True where the kernel's text of the instruction says all of its fields. */
function isExpressible(insns: readonly Insn[], index: number, row: InsnRow): boolean {
  const insn = insns[index]!;
  if (insn.dst > MAX_REGISTER || (row.fields.includes('src') && insn.src > MAX_REGISTER)) return false;
  if (row.hidden.some((f) => f !== 'imm2' && insn[f] !== 0)) return false;
  if (reservedFieldInUse(row, insn) !== undefined) return false;
  if (row.slots === 1) return true;
  const next = insns[index + 1];
  if (next === undefined || next.code !== 0 || next.dst !== 0 || next.src !== 0 || next.off !== 0)
    return false;
  return row.fields.includes('imm2') || next.imm === 0;
}

function rawText(insn: Insn): string {
  return `.insn 0x${hexByte(insn.code)}, ${insn.dst}, ${insn.src}, ${insn.off}, ${insn.imm}`;
}

/** One entry an instruction; a 64-bit load is one entry of two slots. */
export function disassembleInsns(
  insns: readonly Insn[],
  options: DisassembleOptions = {},
): DisassembledInsn[] {
  const lossless = options.lossless !== false && options.syntax !== 'llvm';
  const lines: DisassembledInsn[] = [];
  for (let index = 0; index < insns.length; ) {
    const row = rowOf(insns[index]!);
    const whole = row !== undefined && (row.slots === 1 || index + 1 < insns.length);
    if (lossless && !(whole && isExpressible(insns, index, row))) {
      const comment = whole
        ? formatInsn(insns, index, options)
        : formatInsn(insns.slice(index, index + 1), 0);
      lines.push({ index, slots: 1, text: `${rawText(insns[index]!)} ; ${comment}` });
      index++;
      continue;
    }
    const slots = whole ? row.slots : 1;
    lines.push({ index, slots, text: formatInsn(insns, index, options) });
    index += slots;
  }
  return lines;
}

/** A program as text, one instruction a line, with a newline at the end. */
export function disassemble(insns: readonly Insn[], options: DisassembleOptions = {}): string {
  let text = '';
  for (const line of disassembleInsns(insns, options)) {
    text += options.index === true ? `${String(line.index).padStart(4)}: ${line.text}\n` : `${line.text}\n`;
  }
  return text;
}
