/**
 * Loads through typed kernel pointers: the kernel's BTF says which member lies at the offset and what a load of it gives.
 * Such loads may fault; they then read 0, so only reads are allowed. Kernel 6.18: check_ptr_to_btf_access,
 * btf_struct_access.
 */
import type { Btf, BtfMember } from '../../btf/index.ts';
import { WRITABLE_FIELDS } from '../../spec/index.ts';
import { formatVarOff, isZero } from '../domain/index.ts';
import type { Env } from '../env.ts';
import { kernelStruct, kernelStructById } from '../kernel-types.ts';
import {
  isAllocated,
  isTrusted,
  MAYBE_NULL,
  MEM_PERCPU,
  MEM_RCU,
  MEM_RDONLY,
  MEM_USER,
  NON_OWN_REF,
  PTR_TO_BTF_ID,
  PTR_TO_MEM,
  PTR_TRUSTED,
  PTR_UNTRUSTED,
  pointerReg,
  type Reg,
  type StructRef,
  typeName,
  UNKNOWN_REG,
} from '../registers.ts';
import { structOpsMember } from '../struct-ops.ts';
import { fieldName, inRcuSection } from './map-value.ts';

export interface Walked {
  /** The struct that the loaded pointer points to; null for other pointers and for scalars. */
  readonly struct: StructRef | null;
  /** A pointer to something else than a struct: loads through it are probed, whatever their offset. */
  readonly pointer: boolean;
  readonly flags: number;
  readonly field: string;
  /** The struct the member belongs to. */
  readonly owner: string;
}

function tagFlags(btf: Btf, id: number): number {
  let flags = 0;
  for (let at = id, depth = 0; depth < 32; depth++) {
    const type = btf.type(at);
    if (type.kind === 'type_tag') {
      if (type.name === 'user') flags |= MEM_USER;
      if (type.name === 'percpu') flags |= MEM_PERCPU;
      if (type.name === 'rcu') flags |= MEM_RCU;
    } else if (
      type.kind !== 'const' &&
      type.kind !== 'volatile' &&
      type.kind !== 'typedef' &&
      type.kind !== 'restrict'
    ) {
      break;
    }
    at = type.type;
  }
  return flags;
}

/** First byte behind the member. */
function memberEnd(btf: Btf, member: BtfMember): number {
  const start = member.bitOffset >> 3;
  if (member.bitSize !== 0) return start + Math.ceil(((member.bitOffset & 7) + member.bitSize) / 8);
  return start + btf.sizeOf(member.type);
}

/** Finds the member at `off`; refuses accesses across its end. */
function walkStruct(env: Env, btf: Btf, id: number, offset: number, size: number): Walked {
  let at = btf.resolve(id);
  let off = offset;
  let owner = '';
  let untrusted = 0;
  for (let depth = 0; depth < 32; depth++) {
    const type = btf.type(at);
    if (type.kind !== 'struct' && type.kind !== 'union') break;
    // Which member of a union is in use is not known.
    if (type.kind === 'union' && type.members.length !== 1) untrusted = PTR_UNTRUSTED;
    // Members of anonymous structs belong to the struct around them.
    if (type.name !== '') owner = type.name;
    if (off + size > type.size) {
      const last = type.members[type.members.length - 1];
      const tail = last === undefined ? null : btf.resolved(last.type);
      if (tail === null || tail.kind !== 'array' || tail.count !== 0) {
        env.fail('EACCES', `access beyond struct ${owner} at off ${off} size ${size}`, {
          kind: 'struct_access',
          region: 'struct',
          struct: owner,
          offset: off,
          size,
          detail: 'beyond its end',
        });
      }
      return { struct: null, pointer: false, flags: 0, field: last!.name, owner };
    }
    // Of the members of a union a pointer counts first: the kernel takes the first member that fits.
    const member = type.members.find((m) => m.bitOffset >> 3 < off + size && off < memberEnd(btf, m));
    if (member === undefined)
      env.fail('EACCES', `access beyond the end of member of struct:${owner}`, {
        kind: 'struct_access',
        region: 'struct',
        struct: owner,
        offset: off,
        size,
        detail: 'beyond its end',
      });
    if (member.bitSize !== 0) return { struct: null, pointer: false, flags: 0, field: member.name, owner };
    const start = member.bitOffset >> 3;
    let inner = btf.resolve(member.type);
    let innerOff = off - start;
    const memberSize = btf.sizeOf(member.type);
    for (let t = btf.type(inner); t.kind === 'array'; t = btf.type(inner)) {
      inner = btf.resolve(t.type);
      const element = btf.sizeOf(inner);
      innerOff = element === 0 ? 0 : innerOff % element;
    }
    const innerType = btf.type(inner);
    if (innerType.kind === 'struct' || innerType.kind === 'union') {
      at = inner;
      off = innerOff;
      continue;
    }
    if (innerType.kind === 'ptr') {
      if (innerOff !== 0 || size !== 8) {
        if (innerOff + size > 8)
          env.fail(
            'EACCES',
            `access beyond the end of member ${member.name} (mend:${start + 8}) in struct ${owner} with off ${off} size ${size}`,
            {
              kind: 'struct_access',
              region: 'struct',
              struct: owner,
              field: member.name,
              offset: off,
              size,
              detail: 'beyond the member',
            },
          );
        env.fail(
          'EACCES',
          `cannot access ptr member ${member.name} with moff ${start} in struct ${owner} with off ${off} size ${size}`,
          {
            kind: 'struct_access',
            region: 'struct',
            struct: owner,
            field: member.name,
            offset: off,
            size,
            detail: 'part of a pointer',
          },
        );
      }
      const target = btf.resolve(innerType.type);
      const kind = btf.kind(target);
      if (kind !== 'struct' && kind !== 'union') {
        return { struct: null, pointer: true, flags: 0, field: member.name, owner };
      }
      return {
        pointer: true,
        struct: kernelStructById(env, btf, target),
        flags: tagFlags(btf, innerType.type) | untrusted,
        field: member.name,
        owner,
      };
    }
    // Loads inside a member, and over several elements of an array, are all right.
    if (off + size > start + memberSize) {
      env.fail(
        'EACCES',
        `access beyond the end of member ${member.name} (mend:${start + memberSize}) in struct ${owner} with off ${off} size ${size}`,
        {
          kind: 'struct_access',
          region: 'struct',
          struct: owner,
          field: member.name,
          offset: off,
          size,
          detail: 'beyond the member',
        },
      );
    }
    return { struct: null, pointer: false, flags: 0, field: member.name, owner };
  }
  return env.fail('EINVAL', `Type '${btf.name(at)}' is not a struct`, {
    kind: 'struct_access',
    region: 'struct',
    struct: btf.name(at),
    detail: 'no struct',
  });
}

/** What a load gives that is no pointer to a struct. */
function loadedValue(walked: Walked): Reg {
  return walked.pointer ? pointerReg(PTR_TO_MEM | MEM_RDONLY | PTR_UNTRUSTED, {}) : UNKNOWN_REG;
}

/** Members that keep the trust of the struct they are loaded from. */
const TRUSTED_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  bpf_iter_meta: ['seq'],
  bpf_iter__task: ['meta', 'task'],
  linux_binprm: ['file'],
  file: ['f_inode'],
};
const TRUSTED_OR_NULL_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  dentry: ['d_inode'],
  socket: ['sk'],
};
const RCU_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  task_struct: ['cpus_ptr', 'cgroups', 'real_parent', 'group_leader'],
  cgroup: ['kn'],
  css_set: ['dfl_cgrp'],
  cgroup_subsys_state: ['cgroup'],
};
const RCU_OR_NULL_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  mm_struct: ['exe_file'],
  sk_buff: ['sk'],
  request_sock: ['sk'],
};

function has(table: Readonly<Record<string, readonly string[]>>, walked: Walked): boolean {
  return table[walked.owner]?.includes(walked.field) === true;
}

function flagsOf(env: Env, from: Reg, walked: Walked): number {
  if ((from.type & PTR_UNTRUSTED) !== 0) return PTR_UNTRUSTED;
  const kept = walked.flags & (MEM_USER | MEM_PERCPU | PTR_UNTRUSTED);
  if (!isTrusted(from) && (from.type & MEM_RCU) === 0) return kept;
  if (has(TRUSTED_MEMBERS, walked)) return walked.flags | PTR_TRUSTED;
  if (has(TRUSTED_OR_NULL_MEMBERS, walked)) return walked.flags | PTR_TRUSTED | MAYBE_NULL;
  if (!inRcuSection(env) || from.maybeNull) return PTR_UNTRUSTED;
  if (has(RCU_MEMBERS, walked)) return walked.flags | MEM_RCU;
  const rcuOrNull = has(RCU_OR_NULL_MEMBERS, walked);
  if ((walked.flags & MEM_RCU) !== 0 || rcuOrNull) {
    return (rcuOrNull ? walked.flags & ~PTR_UNTRUSTED : walked.flags) | MEM_RCU | MAYBE_NULL;
  }
  return kept;
}

/** A store into a struct of the kernel: only into the fields that the program's type may write. */
function checkKernelWrite(env: Env, n: number, struct: StructRef, off: number, size: number): void {
  const common = {
    register: n,
    region: 'struct',
    struct: struct.name,
    write: true,
    offset: off,
    size,
  } as const;
  const refuse = (text: string): never => env.fail('EACCES', text, { kind: 'read_only', ...common });
  const { btf } = struct;
  const structOps = structOpsMember(env)?.struct;
  const row = WRITABLE_FIELDS.find(
    ({ progTypes, structOps: only, structs }) =>
      progTypes.includes(env.progTypeName) &&
      (only === undefined || only === structOps) &&
      structs.includes(struct.name),
  );
  if (row === undefined || btf === undefined) refuse('only read is supported');
  const name = row!.structs[0]!;
  const { id } = kernelStruct(env, name);
  const { fields, ranges = [], whole, silent } = row!;
  if (whole) return;
  for (const path of [...fields, ...ranges]) {
    const field = btf!.findPath(id, path);
    const start = field === undefined ? -1 : field.bitOffset >> 3;
    const end = field === undefined ? -1 : start + btf!.sizeOf(field.type);
    if (ranges.includes(path) ? off < start || off >= end : off !== start || start < 0) continue;
    if (off + size <= end) return;
    refuse(`write access at off ${off} with size ${size} beyond the member of ${name} ended at ${end}`);
  }
  if (silent) env.refuse('EACCES', { kind: 'read_only', ...common });
  refuse(`no write support to ${name} at off ${off}`);
}

/** Fields of the program's objects that only the kernel's functions may touch. */
function checkSpecialFields(env: Env, n: number, struct: StructRef, off: number, size: number): void {
  for (const field of struct.fields ?? []) {
    if (off >= field.offset + field.size || field.offset >= off + size) continue;
    const name = fieldName(field.kind);
    env.fail('EACCES', `direct access to ${name} is disallowed`, {
      kind: 'special_field',
      register: n,
      struct: struct.name,
      field: name,
      offset: off,
      size,
    });
  }
}

/** A load or store of `size` bytes through register `n`; `off` includes its fixed offset. */
export function accessKernelStruct(
  env: Env,
  n: number,
  off: number,
  size: number,
  write: boolean,
  value: number,
): void {
  const reg = env.reg(n);
  const struct = reg.struct!;
  if (!env.allowPtrLeaks) {
    env.fail('EPERM', `'struct ${struct.name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN`, {
      kind: 'capability',
      expected: 'CAP_PERFMON',
      struct: struct.name,
    });
  }
  if (!env.request.gplCompatible && struct.kernel) {
    env.fail('EINVAL', `Cannot access kernel 'struct ${struct.name}' from non-GPL compatible program`, {
      kind: 'licence',
      struct: struct.name,
    });
  }
  if (off < 0)
    env.fail('EACCES', `R${n} is ptr_${struct.name} invalid negative access: off=${off}`, {
      kind: 'struct_access',
      register: n,
      region: 'struct',
      struct: struct.name,
      offset: off,
      size,
      detail: 'before its start',
    });
  if (!isZero(reg.v)) {
    env.fail(
      'EACCES',
      `R${n} is ptr_${struct.name} invalid variable offset: off=${off}, var_off=${formatVarOff(reg.v.tnum)}`,
      { kind: 'variable_offset', register: n, region: 'struct', struct: struct.name },
    );
  }
  if ((reg.type & MEM_USER) !== 0) {
    env.fail('EACCES', `R${n} is ptr_${struct.name} access user memory: off=${off}`, {
      kind: 'struct_access',
      register: n,
      region: 'struct',
      struct: struct.name,
      offset: off,
      size,
      detail: 'user memory',
    });
  }
  if ((reg.type & MEM_PERCPU) !== 0) {
    env.fail('EACCES', `R${n} is ptr_${struct.name} access percpu memory: off=${off}`, {
      kind: 'struct_access',
      register: n,
      region: 'struct',
      struct: struct.name,
      offset: off,
      size,
      detail: 'per-CPU memory',
    });
  }
  const object = isAllocated(reg.type);
  if (write && !object) {
    checkKernelWrite(env, n, struct, off, size);
    return;
  }
  if (object) {
    // Linux takes such a pointer for a bug of its own, and refuses it all the same.
    if ((reg.type & (NON_OWN_REF | MEM_RCU)) === 0 && reg.refObjId === 0) {
      env.fail('EFAULT', 'verifier bug: ref_obj_id for allocated object must be non-zero', {
        kind: 'not_accessible',
        register: n,
        struct: struct.name,
        given: typeName(reg.type),
      });
    }
    checkSpecialFields(env, n, struct, off, size);
  }
  if (struct.btf === undefined) {
    env.fail('EACCES', `access to struct ${struct.name} needs the kernel's BTF`, {
      kind: 'missing_kernel_types',
      struct: struct.name,
    });
  }
  const walked = walkStruct(env, struct.btf, struct.id, off, size);
  if (!object || (reg.type & PTR_UNTRUSTED) !== 0) env.factsOf(env.insn).probeMem = true;
  if (value < 0 || write) return;
  // Objects of the program hold numbers where their types have pointers to structs.
  if (walked.struct === null || object) {
    env.setReg(value, walked.struct === null ? loadedValue(walked) : UNKNOWN_REG);
    return;
  }
  const flags = flagsOf(env, reg, walked);
  env.setReg(
    value,
    pointerReg(PTR_TO_BTF_ID | flags, {
      struct: walked.struct,
      id: (flags & MAYBE_NULL) !== 0 ? env.nextId() : 0,
    }),
  );
}

/** Loads through a map pointer: the kernel's struct behind it, which every program may read. */
export function accessMapObject(
  env: Env,
  n: number,
  off: number,
  size: number,
  write: boolean,
  value: number,
): void {
  const name = env.reg(n).map?.type.kernelStruct ?? 'bpf_map';
  if (!env.allowPtrLeaks) {
    env.fail('EPERM', `'struct ${name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN`, {
      kind: 'capability',
      expected: 'CAP_PERFMON',
      struct: name,
    });
  }
  if (off < 0)
    env.fail('EACCES', `R${n} is ${name} invalid negative access: off=${off}`, {
      kind: 'struct_access',
      register: n,
      region: 'struct',
      struct: name,
      offset: off,
      size,
      detail: 'before its start',
    });
  if (write)
    env.fail('EACCES', `only read from ${name} is supported`, {
      kind: 'read_only',
      register: n,
      region: 'struct',
      struct: name,
      write: true,
    });
  const struct = kernelStruct(env, name);
  if (struct.btf === undefined) {
    env.fail('ENOTSUPP', 'map_ptr access not supported without CONFIG_DEBUG_INFO_BTF', {
      kind: 'missing_kernel_types',
      struct: name,
    });
  }
  const walked = walkStruct(env, struct.btf, struct.id, off, size);
  env.factsOf(env.insn).probeMem = true;
  if (value < 0) return;
  env.setReg(
    value,
    walked.struct === null
      ? loadedValue(walked)
      : pointerReg(PTR_TO_BTF_ID | (walked.flags & (MEM_USER | MEM_PERCPU)), { struct: walked.struct }),
  );
}
