/**
 * Where the arguments of a USDT probe are: the operands of sys/sdt.h (`SIZE@OPERAND`, assembler syntax of the machine) → the bytes
 * of `struct __bpf_usdt_spec` (libbpf's usdt.bpf.h), from which bpf_usdt_arg() reads them.
 */
import { BpfError } from '../../util/errors.ts';
import { MACHINES } from './executable.ts';

const MAX_ARGUMENTS = 12;
const ARGUMENT_SIZE = 16;
export const USDT_SPEC_SIZE = MAX_ARGUMENTS * ARGUMENT_SIZE + 16;

/** enum __bpf_usdt_arg_type; a register pair with scale came with libbpf 1.7. */
const TYPES = { constant: 0, register: 1, memory: 2, indexed: 3 } as const;

export interface UsdtArgument {
  readonly kind: keyof typeof TYPES;
  /** Bytes: 1, 2, 4 or 8. */
  readonly size: number;
  readonly signed: boolean;
  /** The constant, or the offset in memory. */
  readonly value: bigint;
  /** Offset of the register in struct pt_regs. */
  readonly register: number;
  readonly index: number;
  /** Logarithm of the scale. */
  readonly scaleShift: number;
}

type Operand = Omit<UsdtArgument, 'size' | 'signed'>;
type Parser = (operand: string) => Operand | undefined;

/** struct pt_regs of x86-64: 64-bit register → its narrower names. */
const X86_REGISTERS: readonly (readonly string[])[] = [
  ['r15', 'r15d', 'r15w', 'r15b'],
  ['r14', 'r14d', 'r14w', 'r14b'],
  ['r13', 'r13d', 'r13w', 'r13b'],
  ['r12', 'r12d', 'r12w', 'r12b'],
  ['rbp', 'ebp', 'bp', 'bpl'],
  ['rbx', 'ebx', 'bx', 'bl'],
  ['r11', 'r11d', 'r11w', 'r11b'],
  ['r10', 'r10d', 'r10w', 'r10b'],
  ['r9', 'r9d', 'r9w', 'r9b'],
  ['r8', 'r8d', 'r8w', 'r8b'],
  ['rax', 'eax', 'ax', 'al'],
  ['rcx', 'ecx', 'cx', 'cl'],
  ['rdx', 'edx', 'dx', 'dl'],
  ['rsi', 'esi', 'si', 'sil'],
  ['rdi', 'edi', 'di', 'dil'],
  [],
  ['rip', 'eip'],
  [],
  [],
  ['rsp', 'esp', 'sp', 'spl'],
];

const X86_OFFSETS: ReadonlyMap<string, number> = new Map(
  X86_REGISTERS.flatMap((names, index) => names.map((name) => [name, 8 * index] as const)),
);

const plain = (kind: UsdtArgument['kind'], register: number, value = 0n): Operand => ({
  kind,
  register,
  value,
  index: 0,
  scaleShift: 0,
});

function x86(operand: string): Operand | undefined {
  const constant = /^\$(-?\w+)$/.exec(operand);
  if (constant !== null) return maybe(integer(constant[1]), (value) => plain('constant', 0, value));
  const direct = /^%(\w+)$/.exec(operand);
  if (direct !== null) return maybe(X86_OFFSETS.get(direct[1]), (register) => plain('register', register));
  const memory = /^(-?\w+)?\(%(\w+)(?:,%(\w+)(?:,([1248]))?)?\)$/.exec(operand);
  if (memory === null) return undefined;
  const [, offset = '0', base, index, scale = '1'] = memory;
  const value = integer(offset);
  const register = X86_OFFSETS.get(base);
  if (value === undefined || register === undefined) return undefined;
  if (index === undefined) return plain('memory', register, value);
  return maybe(X86_OFFSETS.get(index), (at) => ({
    kind: 'indexed',
    register,
    value,
    index: at,
    scaleShift: Math.log2(Number(scale)),
  }));
}

/** struct user_pt_regs of aarch64: x0 to x30, sp, pc. */
function armRegister(name: string): number | undefined {
  if (name === 'sp') return 8 * 31;
  const match = /^[xw](\d{1,2})$/.exec(name);
  return match !== null && Number(match[1]) <= 30 ? 8 * Number(match[1]) : undefined;
}

function aarch64(operand: string): Operand | undefined {
  const constant = integer(operand);
  if (constant !== undefined) return plain('constant', 0, constant);
  const memory = /^\[(\w+)(?:,#?(-?\w+))?\]$/.exec(operand);
  if (memory === null) return maybe(armRegister(operand), (register) => plain('register', register));
  const value = integer(memory[2] ?? '0');
  return value === undefined
    ? undefined
    : maybe(armRegister(memory[1]), (register) => plain('memory', register, value));
}

const PARSERS: Readonly<Record<number, Parser>> = {
  [MACHINES.x86_64]: x86,
  [MACHINES.aarch64]: aarch64,
};

/** Throws EINVAL for operands that are not understood, EOPNOTSUPP for other machines, E2BIG for more than twelve. */
export function parseUsdtArguments(text: string, machine: number): UsdtArgument[] {
  const parser = PARSERS[machine];
  if (parser === undefined)
    throw new BpfError('EOPNOTSUPP', `USDT arguments of ELF machine ${machine} are not known`, {
      hint: 'x86-64 and aarch64 are',
    });
  // Operands may have spaces inside of brackets.
  const words = text.replace(/\s*,\s*/g, ',').trim();
  const list = words === '' ? [] : words.split(/\s+/);
  if (list.length > MAX_ARGUMENTS)
    throw new BpfError('E2BIG', `a USDT probe has ${list.length} arguments; ${MAX_ARGUMENTS} can be read`);
  return list.map((word) => {
    const match = /^(-?)([1248])@(.+)$/.exec(word);
    const operand = match === null ? undefined : parser(match[3]);
    if (match === null || operand === undefined)
      throw new BpfError('EINVAL', `the USDT argument '${word}' is not understood`);
    return { ...operand, size: Number(match[2]), signed: match[1] === '-' };
  });
}

/** struct __bpf_usdt_spec. */
export function encodeUsdtSpec(list: readonly UsdtArgument[], cookie: bigint): Uint8Array {
  const bytes = new Uint8Array(USDT_SPEC_SIZE);
  const view = new DataView(bytes.buffer);
  list.forEach((argument, index) => {
    const at = index * ARGUMENT_SIZE;
    view.setBigInt64(at, BigInt.asIntN(64, argument.value), true);
    // arg_type has 8 of 32 bits, the index register 12 and the scale 4 of the next 16; all 32 are the type before libbpf 1.7.
    view.setUint32(at + 8, TYPES[argument.kind] | (argument.index << 8) | (argument.scaleShift << 20), true);
    view.setInt16(at + 12, argument.register, true);
    view.setUint8(at + 14, argument.signed ? 1 : 0);
    view.setInt8(at + 15, 64 - 8 * argument.size);
  });
  view.setBigUint64(MAX_ARGUMENTS * ARGUMENT_SIZE, BigInt.asUintN(64, cookie), true);
  view.setInt16(MAX_ARGUMENTS * ARGUMENT_SIZE + 8, list.length, true);
  return bytes;
}

function integer(text: string): bigint | undefined {
  const match = /^(-?)(0x[0-9a-f]{1,16}|\d{1,20})$/i.exec(text);
  if (match === null) return undefined;
  return match[1] === '-' ? -BigInt(match[2]) : BigInt(match[2]);
}

function maybe<T, R>(value: T | undefined, make: (value: T) => R): R | undefined {
  return value === undefined ? undefined : make(value);
}
