/**
 * Calls of helpers: may the program call it, are the arguments right, what does it do to references, callbacks and packet
 * pointers, and what is R0 afterwards. Everything comes from the helper's row. Kernel 6.18: check_helper_call.
 */
import type { Insn } from '../../contracts/insn.ts';
import type { MapInfo } from '../../contracts/maps.ts';
import { RULES } from '../../spec/index.ts';
import type { HelperRow } from '../../spec/types.ts';
import { markPrecise } from '../backtrack.ts';
import { isConst, unknown, withBounds } from '../domain/index.ts';
import { dynptrOf, releaseDynptr } from '../dynptr.ts';
import type { Env } from '../env.ts';
import type { Explored } from '../explored.ts';
import { isValidFormat } from '../format-string.ts';
import { type CallMeta, checkHelperArg, newCallMeta } from '../helper-args.ts';
import { attachTypeName, helperIdUnknown, helperName, helperPrototype } from '../helper-table.ts';
import { fieldStruct, kernelStruct } from '../kernel-types.ts';
import { MAX_CPUS, MAX_ERRNO } from '../limits.ts';
import { BPF_F_RDONLY_PROG } from '../map-flags.ts';
import {
  acquireReference,
  checkResourceLeak,
  dropReference,
  invalidated,
  releaseReference,
} from '../references.ts';
import {
  hasSpecialField,
  isNull,
  MAYBE_NULL,
  MEM_ALLOC,
  MEM_PERCPU,
  MEM_RCU,
  MEM_RDONLY,
  MEM_RINGBUF,
  NOT_INIT_REG,
  PTR_TO_BTF_ID,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_SOCK_COMMON,
  PTR_TO_SOCKET,
  PTR_TO_TCP_SOCK,
  PTR_TRUSTED,
  pointerReg,
  type Reg,
  SCALAR,
  scalarReg,
  typeName,
  UNKNOWN_REG,
} from '../registers.ts';
import { helperLacks } from '../release.ts';
import { returnToCaller } from './call.ts';
import { type CallbackCall, enterCallback, pushCallback } from './callback.ts';
import { inRcuSection } from './map-value.ts';
import { accessMemory } from './memory.ts';
import { clearPacketPointers } from './packet.ts';

function callbackOf({ helper, subprog, map }: CallMeta): CallbackCall {
  return { subprog, shape: helper.callbackShape!, async: helper.callback === 'async', map };
}

function findHelper(env: Env, id: number): HelperRow {
  if (helperIdUnknown(env, id)) {
    const needs = helperLacks(env, id);
    const name = needs === undefined ? helperName(id) : 'unknown';
    env.fail('EINVAL', `invalid func ${name}#${id}`, {
      kind: 'function_unknown',
      function: helperName(id),
      ...(needs === undefined ? {} : { needs }),
    });
  }
  const row = helperPrototype(env, id);
  if (row === null) {
    const needs = helperLacks(env, id);
    const text = env.release.has('helper_refused_by_type')
      ? 'program of this type cannot use helper'
      : 'unknown func';
    return env.fail('EINVAL', `${text} ${helperName(id)}#${id}`, {
      kind: 'function_not_allowed',
      function: helperName(id),
      ...(needs === undefined ? {} : { needs }),
    });
  }
  if (row.gplOnly && !env.request.gplCompatible) {
    env.fail('EINVAL', 'cannot call GPL-restricted function from non-GPL compatible program', {
      kind: 'licence',
      function: row.name,
    });
  }
  if (row.mightSleep && !env.cur.sleepable) {
    env.fail('EINVAL', 'helper call might sleep in a non-sleepable prog', {
      kind: 'function_sleeps',
      function: row.name,
    });
  }
  if (row.mightSleep) {
    const { activeRcuLock, activePreemptLocks, activeIrqId } = env.cur;
    const section = activeRcuLock
      ? 'rcu_read_lock region'
      : activePreemptLocks > 0
        ? 'non-preemptible region'
        : activeIrqId !== 0
          ? 'IRQ-disabled region'
          : null;
    if (section !== null) {
      env.fail('EINVAL', `sleepable helper ${row.name}#${row.id} in ${section}`, {
        kind: 'function_sleeps',
        function: row.name,
        detail: section,
      });
    }
  }
  return row;
}

/** The one map, and the constant key, that every path passes at this call. */
function recordCall(env: Env, meta: CallMeta): void {
  const { map, helper } = meta;
  if (map === null) return;
  if (
    (map.flags & BPF_F_RDONLY_PROG) !== 0 &&
    helper.mapAccess !== undefined &&
    helper.mapAccess !== 'read'
  ) {
    env.fail('EACCES', 'write into map forbidden', {
      kind: 'read_only',
      map: map.name,
      region: 'map_value',
      register: 1,
      argument: 1,
      write: true,
    });
  }
  const facts = env.factsOf(env.insn);
  // An inner map is known only by what it looks like.
  const known = env.usedMaps.includes(map);
  if (known && facts.callMap === undefined && !facts.callMapPoisoned) {
    facts.callMap = map;
  } else if (!known || facts.callMap !== map) {
    delete facts.callMap;
    facts.callMapPoisoned = true;
  }
}

function recordKey(env: Env, key: bigint | null): void {
  const facts = env.factsOf(env.insn);
  const value = key === null || key > 0xffff_ffffn ? null : Number(key);
  if (value !== null && facts.constantKey === undefined && !facts.keyPoisoned) {
    facts.constantKey = value;
  } else if (facts.constantKey !== value) {
    delete facts.constantKey;
    facts.keyPoisoned = true;
  }
}

/** The index of a tail call, where it is known and in the array. */
function recordTailCallIndex(env: Env, meta: CallMeta): void {
  if (meta.map?.type.holds !== 'prog')
    env.fail('EINVAL', 'expected prog array map for tail call', {
      kind: 'argument_map',
      register: 2,
      argument: 2,
      expected: 'prog_array',
    });
  const index = env.reg(3);
  const max = BigInt(meta.map?.maxEntries ?? 0);
  if (index.type === SCALAR && isConst(index.v) && index.v.tnum.value < max) {
    markPrecise(env, 3);
    recordKey(env, index.v.tnum.value);
  } else {
    recordKey(env, null);
  }
}

/** A constant format with an array of 64-bit values behind it: all conversions must have a value. */
function checkFormat(env: Env, helper: HelperRow): void {
  const at = helper.args.findIndex(
    (arg, i) => arg.kind === 'const_str' && helper.args[i + 1]?.kind === 'mem',
  );
  if (at < 0) return;
  const size = Number(env.reg(at + 3).v.tnum.value);
  if (size % 8 !== 0) env.refuse('EINVAL', { kind: 'format_string', function: helper.name });
  const fmt = env.reg(at + 1);
  const { valueSize, constant } = fmt.map!;
  let text = '';
  for (let off = fmt.off + Number(fmt.v.tnum.value); off < valueSize; off++) {
    const byte = Number(constant?.(off, 1) ?? 0n);
    if (byte === 0) break;
    text += String.fromCharCode(byte);
  }
  if (!isValidFormat(text, size / 8))
    env.fail('EINVAL', 'Invalid format string', { kind: 'format_string', function: helper.name });
}

/** The object goes into a map or another object; per-CPU memory stays readable until the end of the RCU section. */
function giveToField(env: Env, id: number): boolean {
  if (!dropReference(env.cur, id)) return false;
  const gone = invalidated(env);
  const percpu = MEM_ALLOC | MEM_PERCPU;
  const rcu = inRcuSection(env);
  env.cur.mapRegs((reg) => {
    if (reg.refObjId !== id) return reg;
    if (!rcu || (reg.type & percpu) !== percpu) return gone;
    return reg.with({ type: (reg.type & ~MEM_ALLOC) | MEM_RCU, refObjId: 0 });
  });
  return true;
}

function release(env: Env, meta: CallMeta): void {
  const n = meta.releaseReg;
  if (n === 0) return;
  const { helper } = meta;
  let done: boolean;
  if (helper.args[n - 1]!.kind === 'dynptr') done = releaseDynptr(env, env.reg(n));
  else if (meta.kptr !== null && meta.refObjId !== 0) done = giveToField(env, meta.refObjId);
  else if (meta.refObjId !== 0) done = releaseReference(env, meta.refObjId);
  else done = isNull(env.reg(n));
  if (!done)
    env.fail('EINVAL', `func ${helper.name}#${helper.id} reference has not been acquired before`, {
      kind: 'release_unowned',
      register: n,
      argument: n,
      function: helper.name,
    });
}

/** Whether the loop could be inlined: flags 0 and one callback on every path. Looking at the flags makes them matter. */
function noteInlineLoop(env: Env, subprog: number): void {
  const zeroFlags = (): boolean => {
    if (!isNull(env.reg(4))) return false;
    markPrecise(env, 4);
    return true;
  };
  const known = env.inlineLoops.get(env.insn);
  if (known === undefined) env.inlineLoops.set(env.insn, zeroFlags() ? subprog : -1);
  else if (known >= 0 && !(zeroFlags() && known === subprog)) env.inlineLoops.set(env.insn, -1);
}

/** What the call does before R0 is set: callbacks, tail calls, the dynptr behind a slice. */
function runEffects(env: Env, meta: CallMeta): { packet: boolean; dynptr: Reg | null } {
  const { helper } = meta;
  let packet = helper.changesPacket === true;
  let dynptr: Reg | null = null;
  if (helper.tailCall) checkResourceLeak(env, true, 'tail_call');
  if (helper.tailCall && env.subprogs.length > 1 && !env.release.has('tail_calls_beside_subprograms')) {
    env.fail('EINVAL', 'tail_calls are not allowed in programs with bpf-to-bpf calls', {
      kind: 'function_not_allowed',
      function: helper.name,
      needs: RULES.tail_calls_beside_subprograms,
    });
  }
  if (helper.zeroFlagsArg !== undefined && !isNull(env.reg(helper.zeroFlagsArg + 1))) {
    env.fail('EINVAL', `${helper.name.replace(/^bpf_/, '')}() doesn't support non-zero flags`, {
      kind: 'function_flags',
      function: helper.name,
      register: 4,
      argument: 4,
    });
  }
  if (helper.callbackShape === 'loop') {
    noteInlineLoop(env, meta.subprog);
    markPrecise(env, 1);
    const frame = env.cur.frame;
    if (BigInt(frame.callbackDepth) < env.reg(1).v.umax || !env.release.has('callbacks_again')) {
      pushCallback(env, callbackOf(meta));
    } else {
      env.cur.ownCurrent().callbackDepth = 0;
      if (env.logsAll) env.verbose(`frame${env.cur.curframe} bpf_loop iteration limit reached\n`);
    }
  } else if (helper.callback !== undefined) {
    pushCallback(env, callbackOf(meta));
  }
  const at = helper.args.findIndex((arg) => arg.kind === 'dynptr');
  if (at >= 0 && helper.args[at]!.uninit) {
    // Made from memory: only a map value lives long enough.
    const first = helper.args[0]!;
    const type = env.reg(1).type;
    if (first.kind === 'mem' && at > 0 && type !== PTR_TO_MAP_VALUE) {
      env.fail('EACCES', `Unsupported reg type ${typeName(type)} for bpf_dynptr_from_mem data`, {
        kind: 'argument_type',
        given: typeName(type),
        function: helper.name,
        register: 1,
        argument: 1,
      });
    }
  } else if (at >= 0) {
    dynptr = dynptrOf(env, env.reg(at + 1));
    const type = dynptr.dynptr?.type;
    if (helper.writesDynptr && (type === 'skb' || type === 'skb_meta')) packet = true;
  }
  return { packet, dynptr };
}

function mapValue(env: Env, meta: CallMeta, nullable: boolean): Reg {
  const map = meta.map as MapInfo;
  let maybeNull = nullable;
  // An array has every key below its size.
  if (meta.constantKey >= 0n && meta.constantKey < BigInt(map.maxEntries) && meta.helper.args.length === 2) {
    maybeNull = false;
  }
  const id = !maybeNull && hasSpecialField(map, 'spin_lock', 'res_spin_lock') ? env.nextId() : 0;
  return pointerReg(PTR_TO_MAP_VALUE | (maybeNull ? MAYBE_NULL : 0), { map, mapUid: meta.mapUid, id });
}

function typedResult(env: Env, meta: CallMeta, flags: number): Reg {
  const { ret } = meta.helper;
  if (meta.kptr !== null) {
    const struct = fieldStruct(env, meta.kptr);
    const memory = struct.kernel ? 0 : MEM_ALLOC | (meta.kptr.kind === 'kptr_percpu' ? MEM_PERCPU : 0);
    return pointerReg(PTR_TO_BTF_ID | flags | memory, { struct });
  }
  return pointerReg(PTR_TO_BTF_ID | flags | (ret.trusted ? PTR_TRUSTED : 0), {
    struct: kernelStruct(env, ret.btfType ?? ''),
  });
}

/** This processor's copy of a per-CPU variable or object. */
function percpuResult(meta: CallMeta, flags: number): Reg {
  const struct = meta.struct!;
  const kind = struct.btf?.kind(struct.btf.resolve(struct.id)) ?? 'struct';
  if (kind !== 'struct' && kind !== 'union') {
    return pointerReg(PTR_TO_MEM | flags, { raw: struct.btf!.sizeOf(struct.id) });
  }
  if (meta.percpuObject) return pointerReg(PTR_TO_BTF_ID | MEM_ALLOC | MEM_RCU, { struct });
  return pointerReg(PTR_TO_BTF_ID | (flags & ~MEM_RDONLY), { struct });
}

/** R0 after the call, before its id and reference. */
function result(env: Env, meta: CallMeta): Reg {
  const { ret } = meta.helper;
  const flags = (ret.nullable ? MAYBE_NULL : 0) | (ret.rdonly ? MEM_RDONLY : 0);
  switch (ret.kind) {
    case 'integer':
      return UNKNOWN_REG;
    case 'void':
      return NOT_INIT_REG;
    case 'map_value':
      return mapValue(env, meta, ret.nullable === true);
    case 'socket':
      return pointerReg(PTR_TO_SOCKET | flags);
    case 'sock_common':
      return pointerReg(PTR_TO_SOCK_COMMON | flags);
    case 'tcp_sock':
      return pointerReg(PTR_TO_TCP_SOCK | flags);
    case 'mem':
    case 'dynptr_mem':
      return pointerReg(PTR_TO_MEM | flags, { raw: Number(meta.memSize) });
    case 'ringbuf_mem':
      return pointerReg(PTR_TO_MEM | MEM_RINGBUF | flags, { raw: Number(meta.memSize) });
    case 'mem_or_btf_id':
      return percpuResult(meta, flags);
    case 'btf_id':
      return typedResult(env, meta, flags);
  }
}

/** Bounds of an integer result that the helper promises. */
function refineResult(env: Env, meta: CallMeta): void {
  const { range } = meta.helper.ret;
  if (range === 'errno_or_size') {
    const v = withBounds(unknown(), {
      smin: BigInt(-MAX_ERRNO),
      smax: BigInt(meta.maxSize),
      s32min: -MAX_ERRNO,
      s32max: meta.maxSize,
    });
    env.setReg(0, scalarReg(v));
  } else if (range === 'cpu' && env.release.has('processor_range')) {
    const last = env.request.possibleCpus === undefined ? MAX_CPUS - 1 : env.request.possibleCpus - 1;
    const v = withBounds(unknown(), {
      smin: 0n,
      smax: BigInt(last),
      umin: 0n,
      umax: BigInt(last),
      s32min: 0,
      s32max: last,
      u32min: 0,
      u32max: last,
    });
    env.setReg(0, scalarReg(v));
  }
}

function isAcquiring(helper: HelperRow, map: MapInfo | null): boolean {
  return (
    helper.acquires === true || (map !== null && helper.acquiresForMaps?.includes(map.type.name) === true)
  );
}

/** The map type takes this helper, and the helper this map type. */
function checkMapHelper(env: Env, meta: CallMeta): void {
  const { map, helper } = meta;
  if (map === null) return;
  let allowed =
    map.type.helpers.includes(helper.name) || !helper.args.some((arg) => arg.kind === 'const_map_ptr');
  if (
    allowed &&
    map.type.holds === 'socket' &&
    helper.mapAccess === 'write' &&
    helper.mapTypes === undefined
  ) {
    const { updatesSockmap } = env.request.progType;
    const deletes = helper.args.length === 2;
    allowed =
      updatesSockmap === true ||
      (updatesSockmap === 'delete' && deletes) ||
      (Array.isArray(updatesSockmap) && updatesSockmap.includes(attachTypeName(env)));
    if (!allowed) env.verbose('cannot update sockmap in this context\n');
  }
  if (allowed && helper.mapTypes !== undefined) allowed = helper.mapTypes.includes(map.type.name);
  if (!allowed)
    env.fail('EINVAL', `cannot pass map_type ${map.type.id} into func ${helper.name}#${helper.id}`, {
      kind: 'argument_map',
      function: helper.name,
      map: map.name,
      given: map.type.name,
      register: 1,
      argument: 1,
    });
}

/** In a function, a tail call that fails returns to the caller as if with an unknown result. */
function tailCallInSubprog(env: Env, explored: Explored): boolean {
  if (env.cur.curframe === 0) return false;
  env.scratched.regs |= 1;
  env.pushPath(env.insn + 1, env.insn, false);
  clearPacketPointers(env);
  env.setReg(0, UNKNOWN_REG);
  returnToCaller(env, explored);
  env.insn--;
  return true;
}

export function checkHelperCall(env: Env, explored: Explored, insn: Insn): void {
  const helper = findHelper(env, insn.imm);
  const meta = newCallMeta(helper);
  for (let i = 0; i < helper.args.length; i++) checkHelperArg(env, i, meta);
  recordCall(env, meta);
  if (helper.tailCall) recordTailCallIndex(env, meta);
  else if (meta.map?.type.everyKeyExists) recordKey(env, meta.constantKey >= 0n ? meta.constantKey : null);
  const access = { ptr: meta.rawReg, off: 0, size: 1, write: true, value: -1 };
  for (; access.off < meta.rawSize; access.off++) accessMemory(env, access);
  release(env, meta);
  checkFormat(env, helper);
  const { packet, dynptr } = runEffects(env, meta);

  env.clobberCallerSaved();
  let r0 = result(env, meta);
  if (r0.maybeNull) r0 = r0.with({ id: env.nextId() });
  if (helper.ret.kind === 'dynptr_mem' && dynptr !== null) {
    r0 = r0.with({ dynptrId: dynptr.id, refObjId: dynptr.refObjId });
  } else if (helper.castOf !== undefined) {
    r0 = r0.with({ refObjId: meta.refObjId });
  } else if (isAcquiring(helper, meta.map)) {
    const id = acquireReference(env, env.insn);
    r0 = r0.with({ id, refObjId: id });
  }
  env.setReg(0, r0);
  refineResult(env, meta);
  checkMapHelper(env, meta);

  let changesPacket = packet;
  // A tail call of the main program that fails has changed nothing.
  if (helper.tailCall && !tailCallInSubprog(env, explored)) changesPacket = false;
  if (changesPacket) clearPacketPointers(env);
  enterCallback(env);
}
