/**
 * Arguments of helpers: which kinds of registers each kind of argument takes (a table), and what else must hold: memory of
 * the right size and initialised, maps, references, locks, timers, strings. Kernel 6.18: check_func_arg and what it calls.
 */
import type { MapInfo, SpecialField } from '../contracts/maps.ts';
import type { ArgKind, HelperArg, HelperRow } from '../spec/types.ts';
import { markPrecise, markSlotPrecise } from './backtrack.ts';
import { constNumber, isConst } from './domain/index.ts';
import { checkDynptrArg, dynptrHoldsReference } from './dynptr.ts';
import type { Env } from './env.ts';
import { checkConstString, checkFieldPointer, checkSpinLock } from './helper-fields.ts';
import { checkHelperMemory, checkSizeArg, type HelperMemory } from './helper-memory.ts';
import { kernelStruct, structMatches } from './kernel-types.ts';
import { inTreeCallback } from './kfunc/resolve.ts';
import {
  BASE_MASK,
  CONST_PTR_TO_DYNPTR,
  CONST_PTR_TO_MAP,
  DYNPTR_MASK,
  fieldsBehind,
  isAllocated,
  isNull,
  isPacketPointer,
  MAYBE_NULL,
  MEM_ALLOC,
  MEM_PERCPU,
  MEM_RCU,
  MEM_RDONLY,
  MEM_RINGBUF,
  NON_OWN_REF,
  PTR_TO_ARENA,
  PTR_TO_BTF_ID,
  PTR_TO_BUF,
  PTR_TO_CTX,
  PTR_TO_FUNC,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_PACKET,
  PTR_TO_PACKET_META,
  PTR_TO_SOCK_COMMON,
  PTR_TO_SOCKET,
  PTR_TO_STACK,
  PTR_TO_TCP_SOCK,
  PTR_TO_XDP_SOCK,
  PTR_TRUSTED,
  type Reg,
  SCALAR,
  type StructRef,
  typeName,
} from './registers.ts';
import { isSpilledScalar, STACK_SPILL, STACK_ZERO, slotType } from './state.ts';
import { checkKptrType, isKptr } from './transfer/map-value.ts';
import { accessMemory } from './transfer/memory.ts';
import { mayPassPacket } from './transfer/packet.ts';
import { checkAlignment, checkUnmodified } from './transfer/pointer-checks.ts';

const SOCKS = [PTR_TO_SOCK_COMMON, PTR_TO_SOCKET, PTR_TO_TCP_SOCK, PTR_TO_XDP_SOCK] as const;
const MEMORY = [
  PTR_TO_STACK,
  PTR_TO_PACKET,
  PTR_TO_PACKET_META,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_MEM | MEM_RINGBUF,
  PTR_TO_BUF,
  PTR_TO_BTF_ID | PTR_TRUSTED,
] as const;

/** Kinds of registers that an argument takes, in the order the log names them. */
const ACCEPTED: Readonly<Record<Exclude<ArgKind, 'anything'>, readonly number[]>> = {
  map_key: MEMORY,
  map_value: MEMORY,
  mem: MEMORY,
  const_size: [SCALAR],
  const_size_or_zero: [SCALAR],
  const_alloc_size_or_zero: [SCALAR],
  const_map_ptr: [CONST_PTR_TO_MAP],
  ctx: [PTR_TO_CTX],
  sock_common: SOCKS,
  btf_id_sock_common: [...SOCKS, PTR_TO_BTF_ID, PTR_TO_BTF_ID | PTR_TRUSTED],
  socket: [PTR_TO_SOCKET],
  btf_id: [PTR_TO_BTF_ID, PTR_TO_BTF_ID | PTR_TRUSTED, PTR_TO_BTF_ID | MEM_RCU],
  spin_lock: [PTR_TO_MAP_VALUE, PTR_TO_BTF_ID | MEM_ALLOC],
  ringbuf_mem: [PTR_TO_MEM | MEM_RINGBUF],
  percpu_btf_id: [
    PTR_TO_BTF_ID | MEM_PERCPU,
    PTR_TO_BTF_ID | MEM_PERCPU | MEM_RCU,
    PTR_TO_BTF_ID | MEM_PERCPU | PTR_TRUSTED,
  ],
  func: [PTR_TO_FUNC],
  stack: [PTR_TO_STACK],
  const_str: [PTR_TO_MAP_VALUE],
  timer: [PTR_TO_MAP_VALUE],
  kptr_xchg_dest: [PTR_TO_MAP_VALUE, PTR_TO_BTF_ID | MEM_ALLOC],
  dynptr: [PTR_TO_STACK, CONST_PTR_TO_DYNPTR],
};

/** What the arguments checked so far say about the call. */
export interface CallMeta {
  readonly helper: HelperRow;
  map: MapInfo | null;
  mapUid: number;
  /** Argument register whose reference the call gives back; 0 for none. */
  releaseReg: number;
  refObjId: number;
  /** Memory that the helper fills, without needing it initialised. */
  rawMode: boolean;
  rawReg: number;
  rawSize: number;
  /** Greatest size of the last memory argument. */
  maxSize: number;
  /** Size of the memory that the helper returns. */
  memSize: bigint;
  /** Key of a lookup that is known; -1 where it is not. */
  constantKey: bigint;
  subprog: number;
  kptr: SpecialField | null;
  struct: StructRef | null;
  /** The per-CPU argument is an object of bpf_percpu_obj_new, not a variable. */
  percpuObject: boolean;
}

export function newCallMeta(helper: HelperRow): CallMeta {
  return {
    helper,
    map: null,
    mapUid: 0,
    releaseReg: 0,
    refObjId: 0,
    rawMode: false,
    rawReg: 0,
    rawSize: 0,
    maxSize: 0,
    memSize: 0n,
    constantKey: -1n,
    subprog: 0,
    kptr: null,
    struct: null,
    percpuObject: false,
  };
}

/** Kinds that a socket map's value argument has instead: a socket. */
function effectiveKind(env: Env, arg: HelperArg, meta: CallMeta): ArgKind {
  if (arg.kind !== 'map_value' || meta.map?.type.holds !== 'socket') return arg.kind;
  if (arg.nullable || arg.uninit)
    env.fail('EINVAL', 'invalid arg_type for sockmap/sockhash', { kind: 'internal' });
  return 'btf_id_sock_common';
}

interface ArgRules {
  readonly kind: ArgKind;
  readonly nullable?: boolean;
  readonly rdonly?: boolean;
  readonly release?: boolean;
  readonly btfType?: string | undefined;
  /** bpf_kptr_xchg's second argument: what the field holds. */
  readonly kptr?: SpecialField | null;
  readonly helperName?: string;
}

/** The register is of a kind that the argument takes. */
export function checkRegType(env: Env, n: number, rules: ArgRules): void {
  const reg = env.reg(n);
  const accepted = ACCEPTED[rules.kind as Exclude<ArgKind, 'anything'>];
  let { type } = reg;
  if (rules.rdonly) type &= ~MEM_RDONLY;
  if (rules.nullable) type &= ~MAYBE_NULL;
  if (rules.kptr) type &= ~(MEM_ALLOC | MEM_PERCPU);
  if (rules.kind === 'mem') type &= ~DYNPTR_MASK;
  if (!accepted.includes(type)) {
    env.fail('EACCES', `R${n} type=${typeName(reg.type)} expected=${accepted.map(typeName).join(', ')}`, {
      kind: 'argument_type',
      register: n,
      argument: n,
      given: typeName(reg.type),
      expected: accepted.map(typeName).join(', '),
      function: rules.helperName ?? '',
    });
  }
  if (reg.base !== PTR_TO_BTF_ID) return;
  if (accepted === MEMORY) {
    if (!rules.rdonly) {
      env.fail(
        'EACCES',
        `${rules.helperName ?? ''}() may write into memory pointed by R${n} type=${typeName(reg.type)}`,
        { kind: 'read_only', register: n, argument: n, function: rules.helperName ?? '' },
      );
    }
    return;
  }
  if (isAllocated(reg.type) && rules.kptr) {
    if ((reg.type & ~(BASE_MASK | MEM_ALLOC | MEM_PERCPU)) !== 0) {
      env.fail('EFAULT', 'verifier bug: invalid PTR_TO_BTF_ID register for type match', {
        kind: 'argument_reference',
        register: n,
        argument: n,
        given: typeName(reg.type),
      });
    }
    checkKptrType(env, rules.kptr, reg, n);
    return;
  }
  if ((reg.type & (MEM_PERCPU | MEM_ALLOC)) !== 0) return;
  if (reg.maybeNull && (!rules.nullable || rules.release)) {
    env.fail('EACCES', `Possibly NULL pointer passed to helper arg${n}`, {
      kind: 'argument_null',
      register: n,
      argument: n,
      function: rules.helperName ?? '',
    });
  }
  if (rules.kptr) {
    checkKptrType(env, rules.kptr, reg, n);
    return;
  }
  const wanted = rules.btfType ?? 'sock_common';
  const strict = rules.release === true && wanted !== 'sock_common';
  if (!structMatches(env, reg.struct, reg.off, wanted, strict)) {
    env.fail('EACCES', `R${n} is of type ${reg.struct?.name ?? '?'} but ${wanted} is expected`, {
      kind: 'argument_type',
      register: n,
      argument: n,
      given: reg.struct?.name ?? '?',
      expected: wanted,
      function: rules.helperName ?? '',
    });
  }
}

/** Flags of pointers to structs that may have a fixed offset. */
const FIXED_OFFSET_FLAGS: ReadonlySet<number> = new Set([
  0,
  MEM_ALLOC,
  PTR_TRUSTED,
  MEM_RCU,
  MEM_ALLOC | NON_OWN_REF,
  MEM_ALLOC | NON_OWN_REF | MEM_RCU,
]);

/** Which pointers may be passed with an offset. */
export function checkArgOffset(env: Env, n: number, release: boolean, dynptr: boolean): void {
  const reg = env.reg(n);
  const { type } = reg;
  if (release) {
    if (dynptr && type === PTR_TO_STACK) return;
    if (reg.off !== 0) {
      env.fail('EINVAL', `R${n} must have zero offset when passed to release func or trusted arg to kfunc`, {
        kind: 'argument_offset',
        register: n,
        argument: n,
        offset: reg.off,
      });
    }
    checkUnmodified(env, reg, n, false);
    return;
  }
  const base = type & BASE_MASK;
  const flags = type & ~BASE_MASK;
  switch (base) {
    case SCALAR:
    case PTR_TO_ARENA:
    case PTR_TO_STACK:
    case PTR_TO_PACKET:
    case PTR_TO_PACKET_META:
    case PTR_TO_MAP_KEY:
    case PTR_TO_MAP_VALUE:
      if (flags === 0) return;
      break;
    case PTR_TO_MEM:
      if (flags === 0 || flags === MEM_RDONLY || flags === MEM_RINGBUF) return;
      break;
    case PTR_TO_BUF:
      if (flags === 0 || flags === MEM_RDONLY) return;
      break;
    case PTR_TO_BTF_ID:
      if (FIXED_OFFSET_FLAGS.has(flags)) {
        checkUnmodified(env, reg, n, true);
        return;
      }
      break;
    default:
      break;
  }
  checkUnmodified(env, reg, n, false);
}

/** The key of a lookup, where the stack holds a constant; -1 otherwise. */
function constantKey(env: Env, key: Reg, size: number): bigint {
  if (!env.bpfCapable || key.type !== PTR_TO_STACK || !isConst(key.v)) return -1n;
  const byte = -(key.off + constNumber(key.v)) - 1;
  const spi = byte >> 3;
  const slot = env.frameOf(key).stack[spi]!;
  let zeros = 0;
  for (let i = byte & 7; i >= 0 && slotType(slot.types, i) === STACK_ZERO; i--) zeros++;
  if (zeros >= size) return 0n;
  if (!isSpilledScalar(slot)) return -1n;
  let spilled = 0;
  for (let i = byte & 7; i >= 0 && slotType(slot.types, i) === STACK_SPILL; i--) spilled++;
  if (spilled !== size || !isConst(slot.reg.v)) return -1n;
  markSlotPrecise(env, key.frameno, spi);
  return slot.reg.v.tnum.value;
}

function checkKptrDest(env: Env, n: number, meta: CallMeta): void {
  const reg = env.reg(n);
  const { map } = reg;
  if (map !== null && !isAllocated(reg.type)) {
    if (!map.hasBtf)
      env.fail('EINVAL', `map '${map.name}' has to have BTF in order to use bpf_kptr_xchg`, {
        kind: 'argument_field',
        register: n,
        argument: n,
        map: map.name,
        field: 'kptr',
        detail: 'no types',
      });
    meta.map = map;
  }
  if (!isConst(reg.v)) {
    env.fail('EINVAL', `R${n} doesn't have constant offset. kptr has to be at the constant offset`, {
      kind: 'argument_offset',
      register: n,
      argument: n,
      field: 'kptr',
      detail: 'variable',
    });
  }
  const fields = fieldsBehind(reg).filter((field) => isKptr(field) && field.kind !== 'uptr');
  if (fields.length === 0)
    env.fail('EINVAL', `R${n} has no valid kptr`, {
      kind: 'argument_field',
      register: n,
      argument: n,
      field: 'kptr',
    });
  const at = reg.off + constNumber(reg.v);
  const field = fields.find((f) => f.offset === at);
  if (field === undefined)
    env.fail('EACCES', `off=${at} doesn't point to kptr`, {
      kind: 'argument_field',
      register: n,
      argument: n,
      field: 'kptr',
      offset: at,
      detail: 'other place',
    });
  if (field.kind === 'kptr_untrusted')
    env.fail('EACCES', `off=${at} kptr isn't referenced kptr`, {
      kind: 'argument_field',
      register: n,
      argument: n,
      field: 'kptr',
      offset: at,
      detail: 'not referenced',
    });
  meta.kptr = field;
}

function noteRelease(env: Env, n: number, arg: HelperArg, meta: CallMeta): void {
  const reg = env.reg(n);
  if (arg.kind === 'dynptr') {
    if (reg.type !== PTR_TO_STACK)
      env.fail('EINVAL', 'cannot release unowned const bpf_dynptr', {
        kind: 'release_unowned',
        register: n,
        argument: n,
      });
    if (!dynptrHoldsReference(env, reg))
      env.fail('EINVAL', `arg ${n} is an unacquired reference`, {
        kind: 'release_unowned',
        register: n,
        argument: n,
      });
  } else if (reg.refObjId === 0 && !isNull(reg)) {
    env.fail('EINVAL', `R${n} must be referenced when passed to release function`, {
      kind: 'release_unowned',
      register: n,
      argument: n,
    });
  }
  meta.releaseReg = n;
}

/** Checks argument `index` (from 0) of the helper, and notes in `meta` what it says about the call. */
export function checkHelperArg(env: Env, index: number, meta: CallMeta): void {
  const arg = meta.helper.args[index]!;
  const n = index + 1;
  env.readReg(n);
  const reg = env.reg(n);
  if (arg.kind === 'anything') {
    if (env.isLeak(reg))
      env.fail('EACCES', `R${n} leaks addr into helper function`, {
        kind: 'pointer_leak',
        register: n,
        argument: n,
        detail: 'helper',
      });
    return;
  }
  if (isPacketPointer(reg.type) && !mayPassPacket(env, meta.helper)) {
    env.fail('EACCES', 'helper access to the packet is not allowed', {
      kind: 'argument_packet',
      register: n,
      argument: n,
      function: meta.helper.name,
    });
  }
  const kind = effectiveKind(env, arg, meta);
  if (!(isNull(reg) && arg.nullable)) {
    const kptrArg = meta.kptr !== null && kind === 'btf_id' ? meta.kptr : null;
    checkRegType(env, n, {
      kind,
      nullable: arg.nullable === true,
      rdonly: arg.rdonly === true,
      release: arg.release === true,
      btfType: arg.btfType,
      kptr: kptrArg,
      helperName: meta.helper.name,
    });
    checkArgOffset(env, n, arg.release === true, kind === 'dynptr');
  }
  if (arg.release) noteRelease(env, n, arg, meta);
  if (reg.refObjId !== 0 && kind !== 'kptr_xchg_dest') {
    if (meta.refObjId !== 0) {
      env.fail('EACCES', `more than one arg with ref_obj_id R${n} ${reg.refObjId} ${meta.refObjId}`, {
        kind: 'argument_reference',
        detail: 'two',
        register: n,
        argument: n,
      });
    }
    meta.refObjId = reg.refObjId;
  }
  checkKind(env, n, kind, arg, meta);
}

function rawTarget(meta: CallMeta, n: number): (size: number) => void {
  return (size) => {
    meta.rawSize = size;
    meta.rawReg = n;
  };
}

function memoryAccess(meta: CallMeta, n: number, write: boolean, zeroSize: boolean): HelperMemory {
  return meta.rawMode ? { write, zeroSize, onRaw: rawTarget(meta, n) } : { write, zeroSize };
}

function checkKind(env: Env, n: number, kind: ArgKind, arg: HelperArg, meta: CallMeta): void {
  const reg = env.reg(n);
  const { helper } = meta;
  switch (kind) {
    case 'const_map_ptr':
      if (meta.map !== null && (meta.map !== reg.map || meta.mapUid !== reg.mapUid)) {
        env.fail(
          'EINVAL',
          `timer pointer in R1 map_uid=${meta.mapUid} doesn't match map pointer in R2 map_uid=${reg.mapUid}`,
          { kind: 'argument_map', register: n, argument: n, detail: 'another map' },
        );
      }
      meta.map = reg.map;
      meta.mapUid = reg.mapUid;
      break;
    case 'map_key': {
      const map = meta.map!;
      checkHelperMemory(env, n, map.keySize, { write: false, zeroSize: false });
      if (map.type.everyKeyExists && env.release.has('constant_keys'))
        meta.constantKey = constantKey(env, reg, map.keySize);
      break;
    }
    case 'map_value':
      if (arg.nullable && isNull(reg)) return;
      // Of a bloom filter the value is what is asked for, not what is filled in.
      meta.rawMode = arg.uninit === true && !meta.map!.type.peeksInput;
      checkHelperMemory(
        env,
        n,
        meta.map!.valueSize,
        memoryAccess(meta, n, arg.write === true && !meta.map!.type.peeksInput, false),
      );
      break;
    case 'percpu_btf_id':
      if (reg.struct === null)
        env.fail('EACCES', `Helper has invalid btf_id in R${n}`, {
          kind: 'argument_type',
          register: n,
          argument: n,
        });
      meta.struct = reg.struct;
      meta.percpuObject = (reg.type & MEM_RCU) !== 0;
      break;
    case 'spin_lock':
      if (inTreeCallback(env)) {
        env.fail('EACCES', "can't spin_{lock,unlock} in rbtree cb", {
          kind: 'lock_mismatch',
          detail: 'callback',
        });
      }
      checkSpinLock(env, n, { acquire: helper.lock === 'acquire' });
      break;
    case 'timer':
      checkFieldPointer(env, n, 'timer');
      meta.mapUid = reg.mapUid;
      meta.map = reg.map;
      break;
    case 'func':
      meta.subprog = reg.raw;
      break;
    case 'mem':
      meta.rawMode = arg.uninit === true;
      if (arg.fixedSize !== undefined) {
        checkHelperMemory(env, n, arg.fixedSize, memoryAccess(meta, n, arg.write === true, false));
        if (arg.aligned) checkAlignment(env, reg, 0, arg.fixedSize, true);
      }
      break;
    case 'const_size':
    case 'const_size_or_zero': {
      const memory = helper.args[n - 2]!;
      checkSizeArg(
        env,
        n,
        memoryAccess(meta, n - 1, memory.write === true, kind === 'const_size_or_zero'),
        meta,
      );
      break;
    }
    case 'dynptr':
      checkDynptrArg(env, n, arg, (off) =>
        accessMemory(env, { ptr: n, off, size: 8, write: true, value: -1 }),
      );
      break;
    case 'const_alloc_size_or_zero':
      if (!isConst(reg.v))
        env.fail('EACCES', `R${n} is not a known constant'`, {
          kind: 'argument_constant',
          register: n,
          argument: n,
        });
      meta.memSize = reg.v.tnum.value;
      markPrecise(env, n);
      break;
    case 'const_str':
      checkConstString(env, n);
      break;
    case 'kptr_xchg_dest':
      checkKptrDest(env, n, meta);
      break;
    default:
      break;
  }
}

/** The struct behind a typed return value. */
export function returnStruct(env: Env, name: string | undefined): StructRef {
  return kernelStruct(env, name ?? '');
}
