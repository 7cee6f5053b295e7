/**
 * Machine code before registers are given: BPF instructions over virtual registers, in blocks.
 *
 * Registers 0 to 10 are the machine's own, others virtual. A virtual register may be written more than once.
 */
import { ALU_OP, ATOMIC, CLASS, JMP_OP, MODE, SOURCE } from '../../asm/index.ts';
import type { AsmInfo, CoreInfo, Func, Global, Inst } from '../ir/index.ts';
import type { Location } from '../source/index.ts';

export type Register = number;
export const FIRST_VIRTUAL = 16;
export const FRAME_POINTER = 10;

/** A place in the frame: a variable of the source, or a spilled register. Its offset is known after allocation. */
export interface Slot {
  readonly size: number;
  readonly align: number;
  /** From the frame pointer, negative; 0: not placed yet. */
  offset: number;
  /** The variable; undefined for spills. */
  readonly alloca: Inst | undefined;
}

export interface SymbolRef {
  readonly target: Global | Func;
  readonly addend: number;
}

export interface AsmUse {
  readonly info: AsmInfo;
  /** Registers of operands in order of the template's numbers; -1 for immediates. */
  readonly operands: {
    register: Register;
    text: string | undefined;
    symbol: SymbolRef | undefined;
    memory: boolean;
    offset: number;
    slot: Slot | undefined;
  }[];
  defs: Register[];
  uses: Register[];
  readonly clobbers: readonly Register[];
  /** `asm goto`: where its labels are. */
  targets: MBlock[];
}

/** Pseudo operations: codes beyond a byte. */
export const PSEUDO_FRAME = 0x100;
export const PSEUDO_ASM = 0x101;
/** Defines its register with anything: an undefined value. */
export const PSEUDO_UNDEF = 0x102;

export class MInst {
  code: number;
  dst: Register;
  src: Register;
  off: number;
  imm: number;
  /** ld_imm64 */
  wide: bigint = 0n;
  target: MBlock | undefined = undefined;
  symbol: SymbolRef | undefined = undefined;
  slot: Slot | undefined = undefined;
  core: CoreInfo | undefined = undefined;
  asm: AsmUse | undefined = undefined;
  loc: Location | undefined = undefined;
  /** Calls: number of arguments. */
  args = 0;

  constructor(code: number, dst: Register, src: Register, off: number, imm: number) {
    this.code = code;
    this.dst = dst;
    this.src = src;
    this.off = off;
    this.imm = imm;
  }
}

export class MBlock {
  insts: MInst[] = [];
  id = 0;
  /** Blocks that follow: taken target of the last jump, and where control goes otherwise. */
  succs: MBlock[] = [];
  depth = 0;
  /** What follows where no jump is taken; placed or jumped to by the layout. */
  fallthrough: MBlock | undefined = undefined;
}

export interface MFunc {
  readonly func: Func;
  readonly blocks: MBlock[];
  registers: number;
  readonly slots: Slot[];
  /** For each virtual register: made by the allocator, never spilled again. */
  readonly temporary: Set<Register>;
}

const ALU_MOV = ALU_OP.MOV;
const CALL_CODE = CLASS.JMP | JMP_OP.CALL;
const EXIT_CODE = CLASS.JMP | JMP_OP.EXIT;
export const LD_IMM64_CODE = 0x18;

export const isMove = (mi: MInst): boolean => mi.code === (CLASS.ALU64 | ALU_MOV | SOURCE.X) && mi.off === 0;
export const isCall = (mi: MInst): boolean => mi.code === CALL_CODE || mi.code === (CALL_CODE | SOURCE.X);
export const isExit = (mi: MInst): boolean => mi.code === EXIT_CODE;

const isAtomicMode = (code: number): boolean => (code & 0xe0) === MODE.ATOMIC && (code & 7) === CLASS.STX;
const isFetch = (mi: MInst): boolean =>
  isAtomicMode(mi.code) && (mi.imm & ATOMIC.FETCH) !== 0 && mi.imm < 0x100;

/** Calls `use` with each register it reads. */
export function forUses(mi: MInst, use: (register: Register) => void): void {
  const { code } = mi;
  if (code >= 0x100) {
    if (code === PSEUDO_ASM) for (const register of mi.asm!.uses) use(register);
    return;
  }
  switch (code & 7) {
    case CLASS.ALU:
    case CLASS.ALU64: {
      const op = code & 0xf0;
      if (op === ALU_MOV) {
        if ((code & SOURCE.X) !== 0) use(mi.src);
        return;
      }
      use(mi.dst);
      if ((code & SOURCE.X) !== 0 && op !== ALU_OP.NEG && op !== ALU_OP.END) use(mi.src);
      return;
    }
    case CLASS.LDX:
      use(mi.src);
      return;
    case CLASS.ST:
      use(mi.dst);
      return;
    case CLASS.STX:
      use(mi.dst);
      if (isAtomicMode(code) && mi.imm === ATOMIC.LOAD_ACQ) {
        return;
      }
      use(mi.src);
      if (isAtomicMode(code) && mi.imm === ATOMIC.CMPXCHG) use(0);
      return;
    case CLASS.LD:
      if (code === LD_IMM64_CODE) return;
      use(6);
      if ((code & 0xe0) === MODE.IND) use(mi.src);
      return;
    default: {
      const op = code & 0xf0;
      if (op === JMP_OP.CALL) {
        for (let i = 1; i <= mi.args; i++) use(i);
        if ((code & SOURCE.X) !== 0) use(mi.dst);
        return;
      }
      if (op === JMP_OP.EXIT) {
        if (mi.args === 1) use(0);
        return;
      }
      if (op === JMP_OP.JA || op === JMP_OP.JCOND) return;
      use(mi.dst);
      if ((code & SOURCE.X) !== 0) use(mi.src);
    }
  }
}

/** Calls `def` with each register it writes (calls: all that they may destroy). */
export function forDefs(mi: MInst, def: (register: Register) => void): void {
  const { code } = mi;
  if (code >= 0x100) {
    if (code === PSEUDO_ASM) {
      for (const register of mi.asm!.defs) def(register);
      for (const register of mi.asm!.clobbers) def(register);
    } else def(mi.dst);
    return;
  }
  switch (code & 7) {
    case CLASS.ALU:
    case CLASS.ALU64:
    case CLASS.LDX:
      def(mi.dst);
      return;
    case CLASS.LD:
      if (code === LD_IMM64_CODE) def(mi.dst);
      else for (let i = 0; i <= 5; i++) def(i);
      return;
    case CLASS.STX:
      if (!isAtomicMode(code)) return;
      if (mi.imm === ATOMIC.CMPXCHG) def(0);
      else if (isFetch(mi) || mi.imm === ATOMIC.LOAD_ACQ) def(mi.src);
      return;
    case CLASS.JMP:
      if ((code & 0xf0) === JMP_OP.CALL) for (let i = 0; i <= 5; i++) def(i);
      return;
    default:
  }
}

/** Rewrites the registers of an instruction. */
export function mapRegisters(mi: MInst, map: (register: Register) => Register): void {
  if (mi.code === PSEUDO_ASM) {
    const asm = mi.asm!;
    asm.defs = asm.defs.map(map);
    asm.uses = asm.uses.map(map);
    for (const operand of asm.operands) if (operand.register >= 0) operand.register = map(operand.register);
    return;
  }
  if (mi.dst >= 0) mi.dst = map(mi.dst);
  if (mi.src >= 0) mi.src = map(mi.src);
}

/** Without effect besides the register it defines. */
export function isPure(mi: MInst): boolean {
  if (mi.code === PSEUDO_FRAME || mi.code === PSEUDO_UNDEF || mi.code === LD_IMM64_CODE) return true;
  const cls = mi.code & 7;
  return mi.code < 0x100 && (cls === CLASS.ALU || cls === CLASS.ALU64);
}

/** Can be made again anywhere instead of kept: constants and addresses. */
export function isRematerialisable(mi: MInst): boolean {
  if (mi.code === PSEUDO_FRAME || mi.code === LD_IMM64_CODE || mi.code === PSEUDO_UNDEF) return true;
  const cls = mi.code & 7;
  return (
    mi.code < 0x100 &&
    (cls === CLASS.ALU || cls === CLASS.ALU64) &&
    (mi.code & 0xf8) === ALU_MOV &&
    mi.core === undefined
  );
}
