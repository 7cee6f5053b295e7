/** Inline assembly: operands get registers before allocation, text and instructions after it. */
import { assembleProgram, CALL, CLASS, JMP_OP } from '../../asm/index.ts';
import type { Insn } from '../../contracts/insn.ts';
import { BpfError } from '../../util/index.ts';
import { type AsmInfo, type Inst, isConst, signedValue, type Value } from '../ir/index.ts';
import type { Location } from '../source/index.ts';
import {
  type AsmUse,
  FRAME_POINTER,
  type MBlock,
  type MInst,
  PSEUDO_ASM,
  type Register,
  type Slot,
  type SymbolRef,
} from './mir.ts';

/** What is needed of the selector. */
export interface AsmHost {
  readonly values: ReadonlyMap<Value, Register>;
  newRegister(): Register;
  register(value: Value): Register;
  into(dst: Register, value: Value): void;
  move(dst: Register, src: Register): void;
  address(pointer: Value): {
    readonly base: Register;
    readonly offset: number;
    readonly slot: Slot | undefined;
  };
  emit(code: number, dst: Register, src: Register): MInst;
  complain(code: string, message: string, location: Location | undefined): void;
}

function clobbered(names: readonly string[]): Register[] {
  const registers: Register[] = [];
  for (const name of names) {
    const match = /^[rw](\d)$/.exec(name);
    if (match !== null) registers.push(Number(match[1]));
  }
  return registers;
}

type Operand = AsmUse['operands'][number];

const plain = (register: Register): Operand => ({
  register,
  text: undefined,
  symbol: undefined,
  memory: false,
  offset: 0,
  slot: undefined,
});

/** An immediate where the constraint allows one and the value is known. */
function immediate(value: Value, constraint: string): Operand | undefined {
  if (!/[insI-P]/.test(constraint)) return undefined;
  if (isConst(value)) return { ...plain(-1), text: String(signedValue(value)) };
  let base: Value = value;
  let addend = 0;
  while (base.kind === 'inst' && base.op === 'ptradd' && isConst(base.args[1])) {
    addend += Number(signedValue(base.args[1]));
    base = base.args[0]!;
  }
  if (base.kind === 'global' || base.kind === 'function')
    return { ...plain(-1), symbol: { target: base, addend } };
  return undefined;
}

function memoryOperand(selector: AsmHost, pointer: Value): Operand {
  const { base, offset, slot } = selector.address(pointer);
  return { ...plain(base), memory: true, offset, slot };
}

/** A register that the constraint names: `{r1}` (register variables). */
function fixedRegister(constraint: string): Register | undefined {
  const match = /^\{[rw](\d+)\}$/.exec(constraint);
  return match === null ? undefined : Number(match[1]);
}

export function selectAsm(selector: AsmHost, inst: Inst, targets: MBlock[]): void {
  const info = inst.asm!;
  const operands: Operand[] = [];
  const defs: Register[] = [];
  const uses: Register[] = [];
  const after: [Register, Register][] = [];
  let at = 0;
  const results = new Map<number, Inst>();
  for (const user of inst.users) if (user.op === 'opaque') results.set(user.size, user);
  const outputs: Register[] = [];
  info.outputs.forEach((output, i) => {
    if (output.memory) {
      const operand = memoryOperand(selector, inst.args[at++]!);
      operands.push(operand);
      if (operand.register !== FRAME_POINTER) uses.push(operand.register);
      outputs.push(-1);
      return;
    }
    const result = results.get(i);
    const wanted = result === undefined ? undefined : selector.values.get(result);
    const fixed = fixedRegister(output.constraint);
    const register = fixed ?? wanted ?? selector.newRegister();
    if (fixed !== undefined && wanted !== undefined) after.push([wanted, fixed]);
    if (output.readWrite) {
      selector.into(register, inst.args[at++]!);
      uses.push(register);
    }
    defs.push(register);
    outputs.push(register);
    operands.push(plain(register));
  });
  info.inputs.forEach((input) => {
    const value = inst.args[at++]!;
    if (input.memory) {
      const operand = memoryOperand(selector, value);
      operands.push(operand);
      if (operand.register !== FRAME_POINTER) uses.push(operand.register);
      return;
    }
    const tied = /^\d+$/.test(input.constraint) ? outputs[Number(input.constraint)] : undefined;
    if (tied !== undefined && tied >= 0) {
      selector.into(tied, value);
      uses.push(tied);
      operands.push(plain(tied));
      return;
    }
    const known = immediate(value, input.constraint);
    if (known !== undefined) {
      operands.push(known);
      return;
    }
    if (!/[rwXgp{]/.test(input.constraint)) {
      selector.complain(
        'invalid-asm-operand',
        `constraint '${input.constraint}' expects an integer constant expression`,
        inst.loc,
      );
    }
    const fixed = fixedRegister(input.constraint);
    // A copy, so that the template may not change the value itself.
    const register = fixed ?? selector.register(value);
    if (fixed !== undefined) selector.into(fixed, value);
    uses.push(register);
    operands.push(plain(register));
  });
  const mi = selector.emit(PSEUDO_ASM, -1, -1);
  mi.asm = {
    info,
    operands,
    defs,
    uses,
    clobbers: clobbered(info.clobbers).filter((r) => !defs.includes(r)),
    targets,
  };
  for (const [to, from] of after) selector.move(to, from);
}

export interface AsmText {
  readonly insns: Insn[];
  /** Symbols by the slot whose immediate they fill. */
  readonly symbols: { readonly insn: number; readonly symbol: SymbolRef }[];
  /** Jumps to the labels of `asm goto`, by index. */
  readonly jumps: { readonly insn: number; readonly label: number }[];
}

const LABEL = 'asm_goto_label_';
const MARK = 0x7ead_0000n;

const CALL_CODE = CLASS.JMP | JMP_OP.CALL;

/** Numbers without the suffixes that C gives them. */
function plainNumbers(text: string): string {
  return text.replace(/\b(0[xX][0-9a-fA-F]+|\d+)[uUlL]+\b/g, '$1');
}

/** `.8byte`: an instruction as a number. */
function rawWords(text: string): string {
  return text.replace(/\.(?:8byte|quad)\s+(-?\d+)/g, (_, digits: string) => {
    const word = BigInt.asUintN(64, BigInt(digits));
    const field = (from: number, bits: number): bigint =>
      (word >> BigInt(from)) & ((1n << BigInt(bits)) - 1n);
    const off = BigInt.asIntN(16, field(16, 16));
    const imm = BigInt.asIntN(32, field(32, 32));
    return `.insn ${field(0, 8)}, ${field(8, 4)}, ${field(12, 4)}, ${off}, ${imm}`;
  });
}

/** Calls by name become marks, as other symbols do. */
function nameCalls(text: string, calls: AsmInfo['calls'], symbols: SymbolRef[]): string {
  if (calls.size === 0) return text;
  return text.replace(/\bcall\s+([A-Za-z_]\w*)/g, (whole, name: string) => {
    const target = calls.get(name);
    if (target === undefined) return whole;
    symbols.push({ target, addend: 0 });
    return `call 0x${(MARK + BigInt(symbols.length)).toString(16)}`;
  });
}

/** The instructions of an asm statement whose registers are known. Throws BpfError EINVAL. */
export function assembleAsm(mi: MInst): AsmText {
  const { info, operands } = mi.asm!;
  const symbols: SymbolRef[] = [];
  const names = new Map<string, number>();
  [...info.outputs, ...info.inputs].forEach((operand, i) => {
    if (operand.name !== undefined) names.set(operand.name, i);
  });
  const show = (modifier: string, index: number): string => {
    const operand = operands[index];
    if (operand === undefined)
      throw new BpfError('EINVAL', `invalid operand number ${index} in inline asm string`);
    if (operand.memory) {
      const offset = operand.offset + (operand.slot?.offset ?? 0);
      return `(r${operand.register} ${offset < 0 ? '-' : '+'} ${Math.abs(offset)})`;
    }
    if (operand.symbol !== undefined) {
      symbols.push(operand.symbol);
      return `0x${(MARK + BigInt(symbols.length)).toString(16)}`;
    }
    if (operand.text !== undefined) return operand.text;
    const constraint = [...info.outputs, ...info.inputs][index]!.constraint;
    return `${modifier === 'w' || constraint === 'w' ? 'w' : 'r'}${operand.register}`;
  };
  const text = info.template.replace(
    /%(?:%|([a-zA-Z]?)(?:\[([^\]]+)\]|(\d+))|=)/g,
    (whole, modifier: string | undefined, name: string | undefined, number: string | undefined) => {
      if (whole === '%%') return '%';
      if (whole === '%=') return String((mi.loc ?? 0) as number);
      if (modifier === 'l') {
        const label = name === undefined ? Number(number) - operands.length : info.labels.indexOf(name);
        if (label < 0 || label >= info.labels.length)
          throw new BpfError('EINVAL', `unknown label in inline assembly: ${name ?? number}`);
        return `${LABEL}${label}`;
      }
      if (name !== undefined) {
        const index = names.get(name);
        if (index === undefined)
          throw new BpfError('EINVAL', `unknown symbolic operand name in inline assembly: ${name}`);
        return show(modifier ?? '', index);
      }
      return show(modifier ?? '', Number(number));
    },
  );
  // The labels of `asm goto` stand for instructions behind the text, which are taken off again.
  // The first one is the end of the text itself, where its own jumps may go.
  const trailer = ['end', ...info.labels]
    .map((_, i) => `\n${LABEL}${i - 1 < 0 ? 'end' : i - 1}: exit`)
    .join('');
  const program = assembleProgram(nameCalls(rawWords(plainNumbers(text)) + trailer, info.calls, symbols), {
    syntax: 'llvm',
  });
  const found: { insn: number; symbol: SymbolRef }[] = [];
  program.insns.forEach((insn, i) => {
    const index = insn.imm - Number(MARK);
    const symbol = index >= 1 && index <= symbols.length ? symbols[index - 1] : undefined;
    if (symbol === undefined) return;
    insn.imm = symbol.addend;
    if (insn.code === CALL_CODE) {
      insn.src = CALL.LOCAL;
      insn.imm = -1;
    }
    found.push({ insn: i, symbol });
  });
  const size = program.insns.length - info.labels.length - 1;
  const jumps: { insn: number; label: number }[] = [];
  program.insns.slice(0, size).forEach((insn, i) => {
    const cls = insn.code & 7;
    const op = insn.code & 0xf0;
    const isJump = (cls === CLASS.JMP || cls === CLASS.JMP32) && op !== JMP_OP.CALL && op !== JMP_OP.EXIT;
    const label = isJump ? i + insn.off - size : -1;
    // A number may lead into what stands behind the text: it is taken as it is.
    if (label >= 0 && label < info.labels.length) jumps.push({ insn: i, label });
  });
  return { insns: program.insns.slice(0, size), symbols: found, jumps };
}
