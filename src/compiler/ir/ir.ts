/**
 * The intermediate language: functions of basic blocks of instructions in SSA form.
 *
 * Invariants (checked by `verify.ts`): a value is defined once and before its uses; every block ends with its one terminator;
 * phis stand first and have one operand for each predecessor; aggregates live in memory only. Integers have 1, 8, 16, 32 or
 * 64 bits and no sign: operations have. Constants are held zero-extended. Pointers are 64 bits wide.
 *
 * Context loads, packet comparisons and null checks keep the shape that the source has, since the kernel's verifier has to
 * follow them: see the notes of the passes.
 */
import { InternalError } from '../../util/index.ts';
import type { Location } from '../source/index.ts';

export type IrType = 'void' | 'i1' | 'i8' | 'i16' | 'i32' | 'i64' | 'ptr';
/** What memory holds. */
export type MemType = 'i8' | 'i16' | 'i32' | 'i64' | 'ptr';

export const TYPE_BITS: Readonly<Record<IrType, number>> = {
  void: 0,
  i1: 1,
  i8: 8,
  i16: 16,
  i32: 32,
  i64: 64,
  ptr: 64,
};

export const bitsOf = (type: IrType): number => TYPE_BITS[type];
export const bytesOf = (type: IrType): number => Math.max(1, TYPE_BITS[type] >> 3);

/** The integer type with that many bits. */
export function intType(bits: number): 'i1' | 'i8' | 'i16' | 'i32' | 'i64' {
  switch (bits) {
    case 1:
      return 'i1';
    case 8:
      return 'i8';
    case 16:
      return 'i16';
    case 32:
      return 'i32';
    case 64:
      return 'i64';
    default:
      throw new InternalError(`an integer of ${bits} bits`);
  }
}

export type BinaryOp =
  | 'add'
  | 'sub'
  | 'mul'
  | 'udiv'
  | 'sdiv'
  | 'urem'
  | 'srem'
  | 'and'
  | 'or'
  | 'xor'
  | 'shl'
  | 'lshr'
  | 'ashr';

export const BINARY_OPS: ReadonlySet<string> = new Set<BinaryOp>([
  'add',
  'sub',
  'mul',
  'udiv',
  'sdiv',
  'urem',
  'srem',
  'and',
  'or',
  'xor',
  'shl',
  'lshr',
  'ashr',
]);

export type Op =
  | BinaryOp
  | 'icmp'
  | 'zext'
  | 'sext'
  | 'trunc'
  | 'ptrtoint'
  | 'inttoptr'
  | 'ptradd'
  | 'select'
  | 'bswap'
  | 'phi'
  | 'alloca'
  | 'lifetime'
  | 'load'
  | 'store'
  | 'memcpy'
  | 'memset'
  | 'memmove'
  | 'memcmp'
  | 'atomic'
  | 'call'
  | 'asm'
  /** `asm goto`: a terminator; target 0 is what follows, the others are the labels in order. */
  | 'asmgoto'
  | 'core'
  | 'constant_p'
  /** `strlen`, `strcmp`, `strncmp` (`name`): known while compiling or not at all. */
  | 'libcall'
  | 'opaque'
  | 'br'
  | 'condbr'
  | 'switch'
  | 'ret'
  | 'unreachable';

export type Predicate = 'eq' | 'ne' | 'ult' | 'ule' | 'ugt' | 'uge' | 'slt' | 'sle' | 'sgt' | 'sge';

/** The predicate that is true where the other is false. */
export const INVERSE: Readonly<Record<Predicate, Predicate>> = {
  eq: 'ne',
  ne: 'eq',
  ult: 'uge',
  ule: 'ugt',
  ugt: 'ule',
  uge: 'ult',
  slt: 'sge',
  sle: 'sgt',
  sgt: 'sle',
  sge: 'slt',
};

/** The predicate with its operands exchanged. */
export const SWAPPED: Readonly<Record<Predicate, Predicate>> = {
  eq: 'eq',
  ne: 'ne',
  ult: 'ugt',
  ule: 'uge',
  ugt: 'ult',
  uge: 'ule',
  slt: 'sgt',
  sle: 'sge',
  sgt: 'slt',
  sge: 'sle',
};

export interface Const {
  readonly kind: 'const';
  readonly type: IrType;
  /** Zero-extended. */
  readonly value: bigint;
}

/** A value that may be anything: uninitialised memory. */
export interface Undef {
  readonly kind: 'undef';
  readonly type: IrType;
}

export interface Param {
  readonly kind: 'param';
  type: IrType;
  readonly index: number;
  readonly name: string;
  readonly users: Set<Inst>;
}

export interface GlobalReloc {
  readonly offset: number;
  readonly target: Global | Func;
  readonly addend: number;
}

export type Linkage = 'static' | 'global' | 'weak' | 'extern' | 'extern-weak';

/** A variable. As a value: its address. */
export interface Global {
  readonly kind: 'global';
  readonly type: 'ptr';
  readonly name: string;
  linkage: Linkage;
  hidden: boolean;
  /** As the source says; undefined: by its contents. */
  section: string | undefined;
  size: number;
  align: number;
  /** Never written: `.rodata`. */
  constant: boolean;
  /** Written to by nobody that can be seen: its contents are those of `init`. */
  readonlyContents: boolean;
  /** Undefined: zeros, or an extern. */
  init: Uint8Array | undefined;
  relocs: GlobalReloc[];
  /** A string literal without name. */
  literal: boolean;
  used: boolean;
  /** What the front end knows of it; for BTF. */
  decl: unknown;
  loc: Location | undefined;
}

export type Value = Const | Undef | Param | Inst | Global | Func;

export type Callee =
  | { readonly kind: 'helper'; readonly id: number }
  | { readonly kind: 'function'; readonly func: Func }
  /** Through a pointer: operand 0. */
  | { readonly kind: 'pointer' };

export type AtomicOp = 'add' | 'sub' | 'or' | 'and' | 'xor' | 'xchg' | 'cmpxchg' | 'load' | 'store';

export interface AsmOperand {
  /** Constraint letters without `=`, `+`, `&`: `r`, `i`, `m`, `ri`, a number, `{r0}`… */
  readonly constraint: string;
  readonly name: string | undefined;
  /** The operand is an address; the template sees `(r1 + 8)`. */
  readonly memory: boolean;
}

/**
 * Operands of the instruction: for each output that is memory or read as well, its address or first value, then the inputs. What
 * it writes to registers comes out of `opaque` instructions behind it, whose `size` is the index of the output.
 */
export interface AsmInfo {
  readonly template: string;
  readonly outputs: readonly (AsmOperand & { readonly readWrite: boolean; readonly type: IrType })[];
  readonly inputs: readonly AsmOperand[];
  readonly clobbers: readonly string[];
  readonly volatile: boolean;
  /** Functions that the template calls by their names. */
  readonly calls: ReadonlyMap<string, Func>;
  /** Names of the labels of `asm goto`; the targets of the instruction behind the first. */
  readonly labels: readonly string[];
  readonly memory: boolean;
}

/** A value that the loader writes: `.BTF.ext` has a record for the instruction that holds it. */
/** What an access says about its object: two accesses of different scalar types, or into unrelated records, do not meet. */
export interface AliasTag {
  readonly scalar: string;
  /** The record that the access started from; undefined for a plain object. */
  readonly root: object | undefined;
  /** `root` and the records inside of it. */
  readonly parts: ReadonlySet<object>;
}

export function mayAlias(a: AliasTag | undefined, b: AliasTag | undefined): boolean {
  if (a === undefined || b === undefined) return true;
  if (a.scalar !== b.scalar && a.scalar !== 'char' && b.scalar !== 'char') return false;
  if (a.root === undefined || b.root === undefined) return true;
  return a.parts.has(b.root) || b.parts.has(a.root);
}

export interface CoreInfo {
  /** Number of the kind (UAPI: enum bpf_core_relo_kind). */
  readonly relo: number;
  /** The front end's type at the root. */
  readonly root: unknown;
  /** `0:1:2` */
  readonly access: string;
  /** The value for the compiler's own types. */
  readonly local: bigint;
}

/** Flags of instructions. RECORD, of a load or inttoptr: the source says that the pointer is one to a record. */
export const FLAG = {
  VOLATILE: 1,
  NSW: 2,
  NUW: 4,
  SIGNED: 8,
  FETCH: 16,
  NNEG: 32,
  KEEP: 64,
  RECORD: 128,
} as const;

const NO_USERS: Set<Inst> = new Set();

export class Inst {
  readonly kind = 'inst';
  op: Op;
  type: IrType;
  args: Value[];
  block: Block | undefined = undefined;
  loc: Location | undefined = undefined;
  /** Shared and always empty where there is no value. What inline assembly writes refers to it. */
  readonly users: Set<Inst>;
  /** Given by the printer and by passes that number. */
  id = 0;
  flags = 0;
  /** icmp */
  pred: Predicate = 'eq';
  /** load, store, atomic, and memory operands */
  mem: MemType = 'i64';
  /** Successors of a terminator; incoming blocks of a phi. */
  targets: Block[] = [];
  /** switch: the values of targets 1…; target 0 is the default. */
  cases: bigint[] = [];
  /** alloca */
  size = 0;
  align = 1;
  name = '';
  callee: Callee | undefined = undefined;
  atomic: AtomicOp = 'add';
  asm: AsmInfo | undefined = undefined;
  core: CoreInfo | undefined = undefined;
  /** load, store */
  alias: AliasTag | undefined = undefined;
  /** unroll and other hints of the loop that this back edge closes: 0 unset, -1 off, -2 full, n count */
  unroll = 0;

  constructor(op: Op, type: IrType, args: Value[]) {
    this.op = op;
    this.type = type;
    this.users = type !== 'void' || op === 'asm' || op === 'asmgoto' ? new Set() : NO_USERS;
    this.args = args;
    for (const arg of args) addUser(arg, this);
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }
}

export class Block {
  readonly func: Func;
  name: string;
  id = 0;
  insts: Inst[] = [];
  /** Filled in by `computePreds`. */
  preds: Block[] = [];

  constructor(func: Func, name: string) {
    this.func = func;
    this.name = name;
  }

  get terminator(): Inst | undefined {
    const last = this.insts[this.insts.length - 1];
    return last !== undefined && isTerminator(last.op) ? last : undefined;
  }

  get succs(): readonly Block[] {
    return this.terminator?.targets ?? [];
  }
}

/** A function. As a value: its address. */
export class Func {
  readonly kind = 'function';
  readonly type = 'ptr';
  readonly name: string;
  linkage: Linkage = 'global';
  hidden = false;
  section: string | undefined = undefined;
  params: Param[] = [];
  returnType: IrType = 'void';
  blocks: Block[] = [];
  alwaysInline = false;
  noInline = false;
  inlineHint = false;
  used = false;
  naked = false;
  /** What calls of it do besides giving a result: `reads` depends on memory, `none` on its arguments alone. */
  effects: 'any' | 'reads' | 'none' = 'any';
  /** What the front end knows of it; for BTF. */
  decl: unknown = undefined;
  loc: Location | undefined = undefined;

  constructor(name: string) {
    this.name = name;
  }

  get entry(): Block {
    const first = this.blocks[0];
    if (first === undefined) throw new InternalError(`${this.name} has no body`);
    return first;
  }

  get isDeclaration(): boolean {
    return this.blocks.length === 0;
  }
}

export interface Module {
  readonly globals: Global[];
  readonly funcs: Func[];
}

/** Asked for each block by every pass: comparisons of interned strings are cheaper than a look-up. */
export const isTerminator = (op: Op): boolean =>
  op === 'br' ||
  op === 'condbr' ||
  op === 'ret' ||
  op === 'switch' ||
  op === 'unreachable' ||
  op === 'asmgoto';

function addUser(value: Value, user: Inst): void {
  if (value.kind === 'inst' || value.kind === 'param') value.users.add(user);
}

function dropUser(value: Value, user: Inst): void {
  if ((value.kind === 'inst' || value.kind === 'param') && !user.args.includes(value))
    value.users.delete(user);
}

export function setArg(inst: Inst, index: number, value: Value): void {
  const old = inst.args[index]!;
  if (old === value) return;
  inst.args[index] = value;
  dropUser(old, inst);
  addUser(value, inst);
}

export function pushArg(inst: Inst, value: Value): void {
  inst.args.push(value);
  addUser(value, inst);
}

export function removeArg(inst: Inst, index: number): void {
  const [old] = inst.args.splice(index, 1);
  if (old !== undefined) dropUser(old, inst);
}

export function setArgs(inst: Inst, args: Value[]): void {
  const old = inst.args;
  inst.args = args;
  for (const value of old) dropUser(value, inst);
  for (const value of args) addUser(value, inst);
}

/** Every use of `old` becomes a use of `value`. */
export function replaceUses(old: Inst | Param, value: Value): void {
  if (old === value) return;
  for (const user of [...old.users]) {
    for (let i = 0; i < user.args.length; i++) if (user.args[i] === old) user.args[i] = value;
    addUser(value, user);
  }
  old.users.clear();
}

/** Lets go of its operands; the caller takes it out of its block. */
export function detach(inst: Inst): void {
  const { args } = inst;
  inst.args = [];
  for (const arg of args) dropUser(arg, inst);
  inst.block = undefined;
}

/** Takes instructions that are marked (block undefined) out of the function's blocks: one walk for many. */
export function sweep(func: Func): void {
  for (const block of func.blocks) {
    if (block.insts.some((inst) => inst.block !== block))
      block.insts = block.insts.filter((inst) => inst.block === block);
  }
}

const SMALL: ReadonlyMap<IrType, readonly Const[]> = new Map(
  (['i1', 'i8', 'i16', 'i32', 'i64', 'ptr'] as const).map((type) => [
    type,
    Array.from(
      { length: type === 'i1' ? 2 : 65 },
      (_, i): Const => ({ kind: 'const', type, value: BigInt(i) }),
    ),
  ]),
);

/** A constant; takes any bigint and cuts it to the type. */
export function constant(type: IrType, value: bigint): Const {
  const cut = BigInt.asUintN(TYPE_BITS[type], value);
  if (cut <= 64n) {
    const small = SMALL.get(type)?.[Number(cut)];
    if (small !== undefined) return small;
  }
  return { kind: 'const', type, value: cut };
}

export const undef = (type: IrType): Undef => ({ kind: 'undef', type });

/** The constant as a signed number of its width. */
export const signedValue = (value: Const): bigint => BigInt.asIntN(TYPE_BITS[value.type], value.value);

export const isConst = (value: Value | undefined): value is Const => value?.kind === 'const';
export const isConstOf = (value: Value | undefined, n: bigint): boolean =>
  value?.kind === 'const' && value.value === n;

export const sameValue = (a: Value, b: Value): boolean =>
  a === b || (a.kind === 'const' && b.kind === 'const' && a.type === b.type && a.value === b.value);

/** Predecessors of all blocks, and ids in the order of the list. */
export function computePreds(func: Func): void {
  func.blocks.forEach((block, i) => {
    block.id = i;
  });
  linkPreds(func);
}

/** Predecessors alone: ids stay, and with them what dominators of before know of the blocks that are left. */
export function linkPreds(func: Func): void {
  for (const block of func.blocks) block.preds = [];
  for (const block of func.blocks) for (const succ of block.succs) succ.preds.push(block);
}

/** Whether it does something besides giving a value. */
export function hasEffect(inst: Inst): boolean {
  switch (inst.op) {
    case 'store':
    case 'memcpy':
    case 'memset':
    case 'memmove':
    case 'atomic':
    case 'lifetime':
    case 'br':
    case 'condbr':
    case 'switch':
    case 'asmgoto':
    case 'ret':
    case 'unreachable':
      return true;
    case 'call':
      return inst.callee?.kind !== 'function' || inst.callee.func.effects === 'any';
    case 'load':
      return (inst.flags & FLAG.VOLATILE) !== 0;
    case 'asm':
      return inst.asm?.volatile !== false;
    case 'opaque':
      return inst.has(FLAG.KEEP);
    default:
      return false;
  }
}

/** Whether it may write memory. */
export function writesMemory(inst: Inst): boolean {
  switch (inst.op) {
    case 'store':
    case 'memcpy':
    case 'memset':
    case 'memmove':
    case 'atomic':
    case 'call':
    case 'asmgoto':
      return true;
    case 'asm':
      return inst.asm?.memory !== false || inst.asm.volatile;
    case 'load':
      return (inst.flags & FLAG.VOLATILE) !== 0;
    default:
      return false;
  }
}

export function newGlobal(name: string, size: number, align: number): Global {
  return {
    kind: 'global',
    type: 'ptr',
    name,
    linkage: 'global',
    hidden: false,
    section: undefined,
    size,
    align,
    constant: false,
    readonlyContents: false,
    init: undefined,
    relocs: [],
    literal: false,
    used: false,
    decl: undefined,
    loc: undefined,
  };
}
