/**
 * A load or store of 1, 2, 4 or 8 bytes through a pointer of any kind: dispatches to the rules of what it points to.
 * Kernel 6.18: check_mem_access.
 */
import type { RefusalReason } from '../../contracts/refusal.ts';
import { UAPI_LAYOUTS } from '../../uapi/index.ts';
import { coerceToSize, coerceToSizeSx, formatVarOff, isZero } from '../domain/index.ts';
import type { Env } from '../env.ts';
import {
  BASE_MASK,
  CONST_PTR_TO_MAP,
  isPacketPointer,
  isSockPointer,
  MEM_RDONLY,
  PTR_TO_ARENA,
  PTR_TO_BTF_ID,
  PTR_TO_BUF,
  PTR_TO_CTX,
  PTR_TO_FLOW_KEYS,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_STACK,
  PTR_TO_TP_BUFFER,
  PTR_UNTRUSTED,
  type Reg,
  SCALAR,
  scalarReg,
  typeName,
  UNKNOWN_REG,
} from '../registers.ts';
import { accessKernelStruct, accessMapObject } from './btf-access.ts';
import { accessCtx } from './ctx.ts';
import { accessMapValue } from './map-value.ts';
import { checkPacket, mayWritePacket } from './packet.ts';
import { checkAlignment, checkRegion } from './pointer-checks.ts';
import { accessSock } from './sock.ts';
import { checkStackBounds, readStack, writeStack } from './stack.ts';

const FLOW_KEYS_SIZE = UAPI_LAYOUTS.bpf_flow_keys.size;

export interface Access {
  /** Register with the pointer. */
  readonly ptr: number;
  /** Offset of the instruction, without the pointer's own. */
  readonly off: number;
  readonly size: number;
  readonly write: boolean;
  /** Register that is stored, or loaded into; -1 for none. */
  readonly value: number;
  /** Alignment matters for this access whatever the flags say (atomics). */
  readonly strict?: boolean;
  /** The load sign-extends. */
  readonly signed?: boolean;
}

/** Why the register cannot be dereferenced. */
function pointerReason(n: number, reg: Reg): RefusalReason {
  if (reg.type === SCALAR) return { kind: 'not_a_pointer', register: n };
  return { kind: reg.maybeNull ? 'null_pointer' : 'not_accessible', register: n, given: typeName(reg.type) };
}

function invalidAccess(env: Env, n: number, reg: Reg): never {
  env.fail('EACCES', `R${n} invalid mem access '${typeName(reg.type)}'`, pointerReason(n, reg));
}

function refuseLeak(env: Env, value: number, where: string): void {
  if (value >= 0 && env.isLeak(env.reg(value)))
    env.fail('EACCES', `R${value} leaks addr into ${where}`, {
      kind: 'pointer_leak',
      register: value,
      detail: where,
    });
}

function accessMem(env: Env, n: number, reg: Reg, off: number, a: Access): void {
  const rdonly = (reg.type & MEM_RDONLY) !== 0;
  if (reg.maybeNull) invalidAccess(env, n, reg);
  if (a.write && rdonly)
    env.fail('EACCES', `R${n} cannot write into ${typeName(reg.type)}`, {
      kind: 'read_only',
      register: n,
      given: typeName(reg.type),
      write: true,
    });
  if (a.write) refuseLeak(env, a.value, 'mem');
  if (!(rdonly && (reg.type & PTR_UNTRUSTED) !== 0)) checkRegion(env, n, off, a.size, reg.raw, false);
  else env.factsOf(env.insn).probeMem = true;
  if (a.value >= 0 && !a.write) env.setUnknown(a.value);
}

/** Buffers have no size that is known at load: only constant offsets from 0 up. */
export function checkBuffer(env: Env, n: number, reg: Reg, off: number, size: number, what: string): void {
  if (off < 0)
    env.fail('EACCES', `R${n} invalid ${what} buffer access: off=${off}, size=${size}`, {
      kind: 'negative_offset',
      register: n,
      region: 'buffer',
      offset: off,
      size,
    });
  if (!isZero(reg.v)) {
    env.fail(
      'EACCES',
      `R${n} invalid variable buffer offset: off=${off}, var_off=${formatVarOff(reg.v.tnum)}`,
      { kind: 'variable_offset', register: n, region: 'buffer' },
    );
  }
}

function accessBuf(env: Env, n: number, reg: Reg, off: number, a: Access): void {
  const rdonly = (reg.type & MEM_RDONLY) !== 0;
  if (rdonly && a.write)
    env.fail('EACCES', `R${n} cannot write into ${typeName(reg.type)}`, {
      kind: 'read_only',
      register: n,
      given: typeName(reg.type),
      write: true,
    });
  checkBuffer(env, n, reg, off, a.size, rdonly ? 'rdonly' : 'rdwr');
  if (a.value >= 0 && !a.write) env.setUnknown(a.value);
}

function accessFlowKeys(env: Env, off: number, a: Access): void {
  if (a.write) refuseLeak(env, a.value, 'flow keys');
  if (off < 0 || off + a.size > FLOW_KEYS_SIZE) {
    env.fail('EACCES', `invalid access to flow keys off=${off} size=${a.size}`, {
      kind: 'region_bounds',
      region: 'flow_keys',
      offset: off,
      size: a.size,
      limit: FLOW_KEYS_SIZE,
    });
  }
  if (!a.write && a.value >= 0) env.setUnknown(a.value);
}

function accessPacket(env: Env, n: number, off: number, a: Access): void {
  if (a.write && !mayWritePacket(env))
    env.fail('EACCES', 'cannot write into packet', {
      kind: 'packet_read_only',
      register: n,
      region: 'packet',
      write: true,
    });
  if (a.write) refuseLeak(env, a.value, 'packet');
  checkPacket(env, n, off, a.size, false);
  if (!a.write && a.value >= 0) env.setUnknown(a.value);
}

function accessMapKey(env: Env, n: number, reg: Reg, off: number, a: Access): void {
  if (a.write)
    env.fail('EACCES', `write to change key R${n} not allowed`, {
      kind: 'read_only',
      register: n,
      region: 'map_key',
      write: true,
    });
  checkRegion(env, n, off, a.size, reg.map!.keySize, false);
  if (a.value >= 0) env.setUnknown(a.value);
}

function dispatch(env: Env, reg: Reg, off: number, a: Access): void {
  const n = a.ptr;
  const { type } = reg;
  const base = type & BASE_MASK;
  if (type === PTR_TO_STACK) {
    checkStackBounds(env, n, off, a.size, a.write);
    if (a.write) writeStack(env, n, off, a.size, a.value);
    else readStack(env, n, off, a.size, a.value);
  } else if (type === PTR_TO_MAP_VALUE) {
    accessMapValue(env, n, off, a.size, a.write, a.value, a.signed === true);
  } else if (type === PTR_TO_CTX) {
    accessCtx(env, n, off, a.size, a.write, a.value, a.signed === true);
  } else if (isPacketPointer(type)) {
    accessPacket(env, n, off, a);
  } else if (base === PTR_TO_MEM) {
    accessMem(env, n, reg, off, a);
  } else if (type === PTR_TO_MAP_KEY) {
    accessMapKey(env, n, reg, off, a);
  } else if (type === PTR_TO_FLOW_KEYS) {
    accessFlowKeys(env, off, a);
  } else if (isSockPointer(type)) {
    accessSock(env, n, off, a.size, a.write, a.value);
  } else if (type === PTR_TO_TP_BUFFER) {
    checkBuffer(env, n, reg, off, a.size, 'tracepoint');
    if (!a.write && a.value >= 0) env.setUnknown(a.value);
  } else if (base === PTR_TO_BTF_ID && !reg.maybeNull) {
    accessKernelStruct(env, n, off, a.size, a.write, a.value);
  } else if (type === CONST_PTR_TO_MAP) {
    accessMapObject(env, n, off, a.size, a.write, a.value);
  } else if (base === PTR_TO_BUF) {
    accessBuf(env, n, reg, off, a);
  } else if (type === PTR_TO_ARENA) {
    env.factsOf(env.insn).arena = true;
    if (!a.write && a.value >= 0) env.setReg(a.value, UNKNOWN_REG);
  } else {
    invalidAccess(env, n, reg);
  }
}

/** Checks the access and, for a load, sets the register it goes into. */
export function accessMemory(env: Env, a: Access): void {
  const reg = env.reg(a.ptr);
  checkAlignment(env, reg, a.off, a.size, a.strict === true);
  dispatch(env, reg, a.off + reg.off, a);
  if (a.size >= 8 || a.value < 0 || a.write) return;
  const loaded = env.reg(a.value);
  if (loaded.type !== SCALAR) return;
  const v = a.signed ? coerceToSizeSx(loaded.v, a.size) : coerceToSize(loaded.v, a.size);
  if (v !== loaded.v) env.setReg(a.value, scalarReg(v, loaded.id, loaded.off));
}
