/** LDX, ST, STX and atomics. Kernel 6.18: check_load_mem, check_store_reg, check_atomic. */
import { ATOMIC, accessBytes, insnMode, MODE, SIZE } from '../../asm/opcodes.ts';
import type { Insn } from '../../contracts/insn.ts';
import { RULES } from '../../spec/index.ts';
import { checkInvariants } from '../domain/index.ts';
import type { Env } from '../env.ts';
import {
  BASE_MASK,
  isPacketPointer,
  isSockPointer,
  MEM_RDONLY,
  PTR_TO_ARENA,
  PTR_TO_BTF_ID,
  PTR_TO_CTX,
  PTR_TO_FLOW_KEYS,
  PTR_TO_MEM,
  PTR_TO_SOCK_COMMON,
  PTR_TO_SOCKET,
  PTR_TO_TCP_SOCK,
  PTR_TO_XDP_SOCK,
  PTR_UNTRUSTED,
  SCALAR,
  scalarReg,
  typeName,
} from '../registers.ts';
import { accessMemory } from './memory.ts';

/** Kinds whose loads and stores are rewritten: an instruction may not meet such a kind on one path and another on the next. */
const REWRITTEN = new Set([
  PTR_TO_CTX,
  PTR_TO_SOCKET,
  PTR_TO_SOCK_COMMON,
  PTR_TO_TCP_SOCK,
  PTR_TO_XDP_SOCK,
  PTR_TO_BTF_ID,
  PTR_TO_ARENA,
]);

function isMemOrBtf(type: number): boolean {
  const base = type & BASE_MASK;
  return base === PTR_TO_MEM || base === PTR_TO_BTF_ID;
}

/** Every path must come to the instruction with the same kind of pointer, where the kind decides its code. */
export function savePointerType(env: Env, type: number, trustMayDiffer: boolean): void {
  const previous = env.ptrType[env.insn]!;
  if (previous === 0) {
    env.ptrType[env.insn] = type;
    return;
  }
  if (type === previous || !(REWRITTEN.has(type & BASE_MASK) || REWRITTEN.has(previous & BASE_MASK))) return;
  if (trustMayDiffer && isMemOrBtf(type) && isMemOrBtf(previous)) {
    const base =
      (type & BASE_MASK) === PTR_TO_MEM || (previous & BASE_MASK) === PTR_TO_MEM ? PTR_TO_MEM : PTR_TO_BTF_ID;
    env.ptrType[env.insn] = base | ((type | previous) & (PTR_UNTRUSTED | MEM_RDONLY));
    return;
  }
  env.fail('EINVAL', 'same insn cannot be used with different pointers', { kind: 'mixed_pointers' });
}

/** Bounds that contradict themselves are forgotten (or, when that is tested for, refused). */
export function sanityCheck(env: Env, n: number, context: string): void {
  const reg = env.reg(n);
  if (reg.type !== SCALAR) return;
  const v = checkInvariants(reg.v, context, (line) => {
    if (env.testRegInvariants) env.fail('EFAULT', line, { kind: 'bounds_violated' });
    env.verbose(`${line}\n`);
  });
  if (v !== reg.v) env.setReg(n, scalarReg(v, reg.id, reg.off));
}

function load(
  env: Env,
  insn: Insn,
  strict: boolean,
  signed: boolean,
  trustMayDiffer: boolean,
  context: string,
): void {
  env.readReg(insn.src);
  env.checkWritable(insn.dst);
  const { type } = env.reg(insn.src);
  accessMemory(env, {
    ptr: insn.src,
    off: insn.off,
    size: accessBytes(insn.code),
    write: false,
    value: insn.dst,
    strict,
    signed,
  });
  savePointerType(env, type, trustMayDiffer);
  sanityCheck(env, insn.dst, context);
}

export function checkLoad(env: Env, insn: Insn): void {
  load(env, insn, false, insnMode(insn.code) === MODE.MEMSX, true, 'ldx');
}

function store(env: Env, insn: Insn, strict: boolean): void {
  env.readReg(insn.src);
  env.readReg(insn.dst);
  const { type } = env.reg(insn.dst);
  accessMemory(env, {
    ptr: insn.dst,
    off: insn.off,
    size: accessBytes(insn.code),
    write: true,
    value: insn.src,
    strict,
  });
  savePointerType(env, type, false);
}

export function checkStoreReg(env: Env, insn: Insn): void {
  if (insnMode(insn.code) !== MODE.MEM || insn.imm !== 0)
    env.fail('EINVAL', 'BPF_STX uses reserved fields', { kind: 'encoding' });
  store(env, insn, false);
}

export function checkStoreImm(env: Env, insn: Insn): void {
  if (insnMode(insn.code) !== MODE.MEM || insn.src !== 0)
    env.fail('EINVAL', 'BPF_ST uses reserved fields', { kind: 'encoding' });
  env.readReg(insn.dst);
  const { type } = env.reg(insn.dst);
  if (type === PTR_TO_CTX && !env.release.has('constant_stores_into_context')) {
    env.fail('EACCES', `BPF_ST stores into R${insn.dst} ctx is not allowed`, {
      kind: 'context_access',
      register: insn.dst,
      write: true,
      needs: RULES.constant_stores_into_context,
    });
  }
  accessMemory(env, { ptr: insn.dst, off: insn.off, size: accessBytes(insn.code), write: true, value: -1 });
  savePointerType(env, type, false);
}

/** What x86-64's JIT cannot make for an arena, where an access may fault. */
const NOT_IN_ARENAS: ReadonlySet<number> = new Set(
  [ATOMIC.AND, ATOMIC.OR, ATOMIC.XOR].map((op) => op | ATOMIC.FETCH),
);

/** Atomics work on memory of the program, not on what a facade or the packet stands for. */
function atomicAllowed(type: number, op: number): boolean {
  if (type === PTR_TO_ARENA) return !NOT_IN_ARENAS.has(op);
  return type !== PTR_TO_CTX && !isPacketPointer(type) && type !== PTR_TO_FLOW_KEYS && !isSockPointer(type);
}

function refuseAtomic(env: Env, what: string, n: number): void {
  const { type } = env.reg(n);
  if (!atomicAllowed(type, env.insns[env.insn]!.imm)) {
    env.fail('EACCES', `BPF_ATOMIC ${what} R${n} ${typeName(type)} is not allowed`, {
      kind: 'atomic_target',
      register: n,
      given: typeName(type),
    });
  }
}

function readModifyWrite(env: Env, insn: Insn): void {
  const sizeBits = insn.code & 0x18;
  if (sizeBits !== SIZE.W && sizeBits !== SIZE.DW)
    env.fail('EINVAL', 'invalid atomic operand size', { kind: 'encoding' });
  const size = accessBytes(insn.code);
  env.readReg(insn.src);
  env.readReg(insn.dst);
  if (insn.imm === ATOMIC.CMPXCHG) {
    if (env.isLeak(env.readReg(0)))
      env.fail('EACCES', 'R0 leaks addr into mem', { kind: 'pointer_leak', register: 0, detail: 'memory' });
  }
  if (env.isLeak(env.reg(insn.src)))
    env.fail('EACCES', `R${insn.src} leaks addr into mem`, {
      kind: 'pointer_leak',
      register: insn.src,
      detail: 'memory',
    });
  refuseAtomic(env, 'stores into', insn.dst);
  let loaded = -1;
  if ((insn.imm & ATOMIC.FETCH) !== 0) {
    loaded = insn.imm === ATOMIC.CMPXCHG ? 0 : insn.src;
    env.checkWritable(loaded);
    env.setUnknown(loaded);
  }
  const { dst: ptr, off } = insn;
  accessMemory(env, { ptr, off, size, write: false, value: -1, strict: true });
  if (loaded >= 0) accessMemory(env, { ptr, off, size, write: false, value: loaded, strict: true });
  if (env.reg(insn.dst).type === PTR_TO_ARENA) savePointerType(env, PTR_TO_ARENA, false);
  accessMemory(env, { ptr, off, size, write: true, value: -1, strict: true });
}

const READ_MODIFY_WRITE: ReadonlySet<number> = new Set([
  ...[ATOMIC.ADD, ATOMIC.AND, ATOMIC.OR, ATOMIC.XOR].flatMap((op) => [op, op | ATOMIC.FETCH]),
  ATOMIC.XCHG,
  ATOMIC.CMPXCHG,
]);

export function checkAtomic(env: Env, insn: Insn): void {
  if (READ_MODIFY_WRITE.has(insn.imm)) {
    readModifyWrite(env, insn);
  } else if (insn.imm === ATOMIC.LOAD_ACQ) {
    load(env, insn, true, false, false, 'atomic_load');
    refuseAtomic(env, 'loads from', insn.src);
  } else if (insn.imm === ATOMIC.STORE_REL) {
    store(env, insn, true);
    refuseAtomic(env, 'stores into', insn.dst);
  } else {
    env.fail(
      'EINVAL',
      `BPF_ATOMIC uses invalid atomic opcode ${(insn.imm >>> 0).toString(16).padStart(2, '0')}`,
      { kind: 'encoding' },
    );
  }
}
