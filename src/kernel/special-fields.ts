/**
 * Special fields of map values, found in the value's BTF type (kernel: btf_parse_fields): locks, timers, work queues,
 * kptrs. The verifier forbids programs to touch them directly; maps keep them across updates.
 */
import type { Btf, BtfType } from '../btf/index.ts';
import type { SpecialField } from '../contracts/maps.ts';
import { BpfError } from '../util/errors.ts';

/** Structs that are special by their name, with the number of them that one value may have. */
const SPECIAL_STRUCTS: Readonly<Record<string, { kind: SpecialField['kind']; size: number; once: boolean }>> =
  {
    bpf_spin_lock: { kind: 'spin_lock', size: 4, once: true },
    bpf_timer: { kind: 'timer', size: 16, once: true },
    bpf_wq: { kind: 'workqueue', size: 16, once: true },
    bpf_refcount: { kind: 'refcount', size: 4, once: true },
    bpf_list_head: { kind: 'list_head', size: 16, once: false },
    bpf_list_node: { kind: 'list_node', size: 24, once: false },
    bpf_rb_root: { kind: 'rb_root', size: 16, once: false },
    bpf_rb_node: { kind: 'rb_node', size: 32, once: false },
  };

/** Type tags that make a pointer a kptr. */
const KPTR_TAGS: Readonly<Record<string, SpecialField['kind']>> = {
  kptr_untrusted: 'kptr_untrusted',
  kptr: 'kptr_ref',
  percpu_kptr: 'kptr_percpu',
};

/** BTF_FIELDS_MAX */
const MAX_FIELDS = 11;
const MAX_DEPTH = 8;

/** Fields in ascending order of offset. Throws EINVAL where a lock stands twice, E2BIG where there are too many. */
export function findSpecialFields(btf: Btf, valueTypeId: number): SpecialField[] {
  const fields: SpecialField[] = [];
  collect(btf, valueTypeId, 0, 0, fields);
  const seen = new Set<string>();
  for (const field of fields) {
    const row = Object.values(SPECIAL_STRUCTS).find((special) => special.kind === field.kind);
    if (row?.once && seen.has(field.kind)) {
      throw new BpfError('E2BIG', `the value type ${btf.name(valueTypeId)} has more than one ${field.kind}`);
    }
    seen.add(field.kind);
  }
  return fields.sort((a, b) => a.offset - b.offset);
}

function collect(btf: Btf, typeId: number, base: number, depth: number, fields: SpecialField[]): void {
  if (depth > MAX_DEPTH) return;
  const type = btf.resolved(typeId);
  if (type.kind === 'array') {
    const size = btf.sizeOf(type.type);
    // A huge array has its special fields in the first elements already, or none.
    for (let i = 0; i < Math.min(type.count, MAX_FIELDS + 1); i++)
      collect(btf, type.type, base + i * size, depth + 1, fields);
    return;
  }
  if (type.kind !== 'struct' && type.kind !== 'datasec') return;
  const members =
    type.kind === 'datasec'
      ? type.vars.map((entry) => ({ type: varType(btf, entry.type), offset: entry.offset }))
      : type.members.map((member) => ({ type: member.type, offset: member.bitOffset / 8 }));
  for (const member of members) {
    const offset = base + member.offset;
    const target = btf.resolved(member.type);
    if (target.kind === 'struct' && SPECIAL_STRUCTS[target.name] !== undefined) {
      const { kind, size } = SPECIAL_STRUCTS[target.name];
      add(fields, { kind, offset, size });
    } else if (target.kind === 'ptr') {
      const kptr = kptrOf(btf, target);
      if (kptr !== undefined) add(fields, { ...kptr, offset, size: 8 });
    } else collect(btf, member.type, offset, depth + 1, fields);
  }
}

function add(fields: SpecialField[], field: SpecialField): void {
  if (fields.length >= MAX_FIELDS)
    throw new BpfError('E2BIG', `a map value may have ${MAX_FIELDS} special fields`);
  fields.push(field);
}

function varType(btf: Btf, id: number): number {
  const type = btf.type(id);
  return type.kind === 'var' ? type.type : id;
}

function kptrOf(
  btf: Btf,
  pointer: Extract<BtfType, { kind: 'ptr' }>,
): Pick<SpecialField, 'kind' | 'target'> | undefined {
  let kind: SpecialField['kind'] | undefined;
  let at = btf.type(pointer.type);
  for (let hops = 0; hops < MAX_DEPTH; hops++) {
    if (at.kind === 'type_tag') kind ??= KPTR_TAGS[at.name];
    else if (at.kind !== 'const' && at.kind !== 'volatile' && at.kind !== 'typedef') break;
    at = btf.type(at.type);
  }
  if (kind === undefined) return undefined;
  return at.kind === 'struct' ? { kind, target: at.name } : { kind };
}
