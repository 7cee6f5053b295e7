/** R0 after a call of a kernel function. Kernel 6.18: check_special_kfunc and the end of check_kfunc_call. */
import type { BtfType } from '../../btf/index.ts';
import { kernelContextId } from '../context-types.ts';
import type { Env } from '../env.ts';
import { fieldStruct, kernelStructById, localStruct } from '../kernel-types.ts';
import { acquireReference } from '../references.ts';
import {
  DYNPTR_MEMORY,
  DYNPTR_PACKET,
  MAYBE_NULL,
  MEM_ALLOC,
  MEM_PERCPU,
  MEM_RCU,
  MEM_RDONLY,
  mayPointToSpinLock,
  NOT_INIT_REG,
  PTR_TO_BTF_ID,
  PTR_TO_MEM,
  PTR_TRUSTED,
  PTR_UNTRUSTED,
  pointerReg,
  type Reg,
  UNKNOWN_REG,
  ZERO_REG,
} from '../registers.ts';
import { graphNode, nonOwningFlags } from '../transfer/callback.ts';
import { mayWritePacket } from '../transfer/packet.ts';
import { isScalarStruct, isScalarType, kindText, nameText, typeBehind } from './arg-kind.ts';
import { iterOf } from './iter.ts';
import type { KfuncMeta } from './types.ts';

/** BPF_GLOBAL_PERCPU_MA_MAX_SIZE */
const MAX_PERCPU_OBJECT = 512;

function refuseCall(env: Env, meta: KfuncMeta, text: string): never {
  return env.fail('EINVAL', text, { kind: 'argument_constant', function: meta.kfunc.name });
}

/** bpf_obj_new: the argument is a type id of the program's own BTF. */
function newObject(env: Env, meta: KfuncMeta, percpu: boolean): Reg {
  const { btf } = env.request;
  const id = meta.constant ?? 0n;
  if (id > 0xffff_ffffn || id < 0n) {
    refuseCall(env, meta, 'local type ID argument must be in range [0, U32_MAX]');
  }
  if (btf === undefined) refuseCall(env, meta, 'bpf_obj_new/bpf_percpu_obj_new requires prog BTF');
  const type: BtfType | null = id === 0n || id >= BigInt(btf.typeCount) ? null : btf.type(Number(id));
  if (type?.kind !== 'struct') {
    refuseCall(env, meta, 'bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct');
  }
  const struct = localStruct(env, btf, Number(id));
  if (percpu) {
    if (type.size > MAX_PERCPU_OBJECT) {
      refuseCall(
        env,
        meta,
        `bpf_percpu_obj_new type size (${type.size}) is greater than ${MAX_PERCPU_OBJECT}`,
      );
    }
    if (!isScalarStruct(env, btf, type)) {
      refuseCall(env, meta, 'bpf_percpu_obj_new type ID argument must be of a struct of scalars');
    }
    if ((struct.fields?.length ?? 0) > 0) {
      refuseCall(env, meta, 'bpf_percpu_obj_new type ID argument must not contain special fields');
    }
  }
  env.factsOf(env.insn).object = { size: type.size, fields: struct.fields ?? [] };
  return pointerReg(PTR_TO_BTF_ID | MEM_ALLOC | (percpu ? MEM_PERCPU : 0), { struct });
}

/** The kernel's own struct behind the context. */
function kernelContext(env: Env, meta: KfuncMeta): Reg {
  const { kernelBtf, progType } = env.request;
  const id = kernelContextId(env, progType);
  if (kernelBtf === undefined || id === 0)
    env.refuse('EINVAL', { kind: 'argument_type', function: meta.kfunc.name });
  return pointerReg(PTR_TO_BTF_ID | PTR_TRUSTED, { struct: kernelStructById(env, kernelBtf, id) });
}

function readOnlyCast(env: Env, meta: KfuncMeta): Reg {
  const { btf } = meta.kfunc;
  const id = meta.constant ?? 0n;
  if (id === 0n) return pointerReg(PTR_TO_MEM | MEM_RDONLY | PTR_UNTRUSTED, { raw: 0 });
  if (id < 0n || id >= BigInt(btf.typeCount)) {
    refuseCall(env, meta, `Unknown type ID ${BigInt.asIntN(64, id)} passed to kfunc bpf_rdonly_cast`);
  }
  const { kind } = btf.type(Number(id));
  if (kind !== 'struct' && kind !== 'union') {
    refuseCall(env, meta, 'kfunc bpf_rdonly_cast type ID argument must be of a struct or void');
  }
  return pointerReg(PTR_TO_BTF_ID | PTR_UNTRUSTED, { struct: kernelStructById(env, btf, Number(id)) });
}

function slice(env: Env, meta: KfuncMeta, writable: boolean): Reg {
  const { dynptr } = meta;
  const type = dynptr?.dynptr?.type;
  const packet = type === 'skb' || type === 'xdp' || type === 'skb_meta';
  if (writable && !mayWritePacket(env)) {
    env.fail('EINVAL', 'the prog does not allow writes to packet data', {
      kind: 'packet_read_only',
      function: meta.kfunc.name,
    });
  }
  const flags = (packet ? DYNPTR_PACKET : DYNPTR_MEMORY) | (writable ? 0 : MEM_RDONLY);
  return pointerReg(PTR_TO_MEM | flags, { raw: Number(meta.constant ?? 0n), dynptrId: dynptr?.id ?? 0 });
}

function isNode(type: BtfType | null): boolean {
  return type?.kind === 'struct' && (type.name === 'bpf_list_node' || type.name === 'bpf_rb_node');
}

/** Results that BTF does not tell; null for the others. */
function specialResult(env: Env, meta: KfuncMeta, target: BtfType | null): Reg | null {
  if (!meta.kfunc.builtIn) return null;
  switch (meta.row.returns) {
    case 'new_object':
      return newObject(env, meta, false);
    case 'new_percpu_object':
      return newObject(env, meta, true);
    case 'same_object':
      env.factsOf(env.insn).object = { size: 0, fields: meta.struct?.fields ?? [] };
      return pointerReg(PTR_TO_BTF_ID | MEM_ALLOC, { struct: meta.struct });
    case 'kernel_ctx':
      return kernelContext(env, meta);
    case 'rdonly_cast':
      return readOnlyCast(env, meta);
    case 'slice':
      return slice(env, meta, false);
    case 'slice_rdwr':
      return slice(env, meta, true);
    default:
      return isNode(target) && meta.root !== null ? graphNode(env, meta.root, 0) : null;
  }
}

/** Memory of a known size. */
function memoryResult(env: Env, meta: KfuncMeta, pointee: number, target: BtfType): Reg {
  const { kfunc, row } = meta;
  let size = row.returnSize ?? meta.returnSize;
  let readOnly = row.returnSize === undefined && meta.returnReadOnly;
  if (size <= 0) {
    try {
      size = kfunc.btf.sizeOf(pointee);
      readOnly = true;
    } catch {
      env.fail(
        'EINVAL',
        `kernel function ${kfunc.name} returns pointer type ${kindText(target)} ${nameText(target)} is not supported`,
        { kind: 'function_not_allowed', function: kfunc.name, detail: 'result' },
      );
    }
  }
  const flags = (readOnly ? MEM_RDONLY : 0) | (row.flags.has('rcu_protected') ? MEM_RCU : 0);
  return pointerReg(PTR_TO_MEM | flags, { raw: size, refObjId: meta.refObjId });
}

function structResult(env: Env, meta: KfuncMeta, pointee: number): Reg {
  const { kfunc, row } = meta;
  let flags = 0;
  if (row.untrustedResult) flags |= PTR_UNTRUSTED;
  else if (row.flags.has('rcu_protected')) flags |= MEM_RCU;
  if (row.flags.has('iter_next')) {
    flags |= (iterOf(env.cur, meta).type & MEM_RCU) !== 0 ? MEM_RCU : PTR_TRUSTED;
  }
  return pointerReg(PTR_TO_BTF_ID | flags, { struct: kernelStructById(env, kfunc.btf, pointee) });
}

function pointerResult(env: Env, meta: KfuncMeta, pointeeId: number): Reg {
  const { kfunc, row } = meta;
  const pointee = pointeeId === 0 ? 0 : kfunc.btf.resolve(pointeeId);
  const target = pointee === 0 ? null : kfunc.btf.type(pointee);
  let reg =
    specialResult(env, meta, target) ??
    (target === null
      ? UNKNOWN_REG
      : target.kind === 'struct'
        ? structResult(env, meta, pointee)
        : memoryResult(env, meta, pointee, target));
  const nullable = row.flags.has('ret_null') && !(row.returns === 'same_object' && meta.owning);
  if (nullable) reg = reg.with({ type: reg.type | MAYBE_NULL, id: env.nextId() });
  if (row.flags.has('acquire')) {
    const id = acquireReference(env, env.insn);
    reg = reg.with({ refObjId: id, ...(nullable ? { id } : {}) });
  } else if (isNode(target)) {
    reg = reg.with({ type: reg.type | nonOwningFlags(fieldStruct(env, meta.root!)) });
  }
  if (reg.id === 0 && mayPointToSpinLock(reg)) reg = reg.with({ id: env.nextId() });
  return reg;
}

/** Sets R0; R1–R5 are gone already. */
export function setKfuncResult(env: Env, meta: KfuncMeta): void {
  const { kfunc, row } = meta;
  const type = typeBehind(kfunc.btf, kfunc.proto.returnType);
  if (row.flags.has('acquire')) {
    const target = type?.kind === 'ptr' ? typeBehind(kfunc.btf, type.type) : null;
    const typed = target?.kind === 'struct' || target?.kind === 'union';
    if (!typed && row.returns === undefined) {
      env.fail('EINVAL', 'acquire kernel function does not return PTR_TO_BTF_ID', {
        kind: 'function_not_allowed',
        function: kfunc.name,
      });
    }
  }
  if (isScalarType(type)) env.setReg(0, row.lock === 'acquire' ? ZERO_REG : UNKNOWN_REG);
  else if (type?.kind === 'ptr') env.setReg(0, pointerResult(env, meta, type.type));
  else env.setReg(0, NOT_INIT_REG);
}
