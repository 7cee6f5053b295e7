/**
 * Special fields of structs and map values, found in their BTF (Linux 6.18: btf_parse_fields, btf_parse_struct_metas): locks,
 * timers, work queues, kernel pointers, roots and nodes of lists and trees. Programs may not touch them directly.
 */
import type { Btf, BtfType } from '../btf/index.ts';
import type { SpecialField } from '../contracts/maps.ts';
import type { ErrnoName } from '../util/errno.ts';
import { BpfError } from '../util/errors.ts';

type Kind = SpecialField['kind'];

interface StructRow {
  readonly kind: Kind;
  readonly size: number;
  readonly align: number;
  /** One a value. */
  readonly once?: true;
  /** Arrays of them are allowed. */
  readonly repeats?: true;
}

/** Structs that are special by their name. */
const SPECIAL_STRUCTS: Readonly<Record<string, StructRow>> = {
  bpf_spin_lock: { kind: 'spin_lock', size: 4, align: 4, once: true },
  bpf_res_spin_lock: { kind: 'res_spin_lock', size: 4, align: 4, once: true },
  bpf_timer: { kind: 'timer', size: 16, align: 8, once: true },
  bpf_wq: { kind: 'workqueue', size: 16, align: 8, once: true },
  bpf_task_work: { kind: 'task_work', size: 8, align: 8, once: true },
  bpf_list_head: { kind: 'list_head', size: 16, align: 8, repeats: true },
  bpf_list_node: { kind: 'list_node', size: 24, align: 8 },
  bpf_rb_root: { kind: 'rb_root', size: 16, align: 8, repeats: true },
  bpf_rb_node: { kind: 'rb_node', size: 32, align: 8 },
  bpf_refcount: { kind: 'refcount', size: 4, align: 4 },
};

/** Type tags that make a pointer special. */
const POINTER_TAGS: Readonly<Record<string, Kind>> = {
  kptr_untrusted: 'kptr_untrusted',
  kptr: 'kptr_ref',
  percpu_kptr: 'kptr_percpu',
  uptr: 'uptr',
};

/** What map values may have, and what objects that programs allocate may have. */
const IN_VALUES: ReadonlySet<Kind> = new Set([
  'spin_lock',
  'res_spin_lock',
  'timer',
  'workqueue',
  'task_work',
  'list_head',
  'rb_root',
  'refcount',
  'kptr_untrusted',
  'kptr_ref',
  'kptr_percpu',
  'uptr',
] as const);
const IN_OBJECTS: ReadonlySet<Kind> = new Set([
  'spin_lock',
  'res_spin_lock',
  'list_head',
  'list_node',
  'rb_root',
  'rb_node',
  'refcount',
  'kptr_untrusted',
  'kptr_ref',
  'kptr_percpu',
] as const);

/** Structs of the kernel that a program may own a reference to, kept in a map: their kind of object has a destructor. */
const OWNABLE = new Set([
  'task_struct',
  'cgroup',
  'bpf_cpumask',
  'bpf_crypto_ctx',
  'sk_buff',
  'prog_test_ref_kfunc',
  'prog_test_member',
]);

/** BTF_FIELDS_MAX */
const MAX_FIELDS = 11;
/** MAX_RESOLVE_DEPTH */
const MAX_DEPTH = 15;

function refuse(errno: ErrnoName, what: string): never {
  throw new BpfError(errno, what);
}

const tagIndexes = new WeakMap<Btf, Map<number, { componentIndex: number; name: string }[]>>();

/** Declaration tags of a type, in order of their ids. */
export function declTags(btf: Btf, id: number): readonly { componentIndex: number; name: string }[] {
  let index = tagIndexes.get(btf);
  if (index === undefined) {
    index = new Map();
    for (const [, type] of btf.types()) {
      if (type.kind !== 'decl_tag') continue;
      const tags = index.get(type.type);
      if (tags === undefined) index.set(type.type, [type]);
      else tags.push(type);
    }
    tagIndexes.set(btf, index);
  }
  return index.get(id) ?? [];
}

class Search {
  readonly btf: Btf;
  readonly kernelBtf: Btf | undefined;
  readonly allowed: ReadonlySet<Kind>;
  readonly fields: SpecialField[] = [];
  /** Structs without special fields: looked into once, however often they occur. */
  readonly #plain = new Set<number>();

  constructor(btf: Btf, kernelBtf: Btf | undefined, allowed: ReadonlySet<Kind>) {
    this.btf = btf;
    this.kernelBtf = kernelBtf;
    this.allowed = allowed;
  }

  private add(field: SpecialField): void {
    if (this.fields.length >= MAX_FIELDS)
      refuse('E2BIG', `there may be ${MAX_FIELDS} special fields in a type`);
    this.fields.push(field);
  }

  /** Elements of an array have the fields of the first one. */
  private repeat(from: number, count: number, size: number): void {
    const first = this.fields.slice(from);
    for (let i = 1; i < count; i++) {
      for (const field of first) {
        const repeats =
          POINTER_KINDS.has(field.kind) || field.kind === 'list_head' || field.kind === 'rb_root';
        if (!repeats) refuse('EINVAL', `there is no array of ${field.kind} fields`);
        this.add({ ...field, offset: field.offset + i * size });
      }
    }
  }

  /** The struct by the name in the kernel's BTF; where it has none, the program's own. */
  private pointee(id: number, name: string): NonNullable<SpecialField['struct']> {
    const kernel = this.kernelBtf?.find(name, 'struct');
    if (this.kernelBtf !== undefined && kernel !== undefined)
      return { btf: this.kernelBtf, id: kernel, kernel: true };
    // Types of an embedded kernel do not tell all structs of Linux.
    const partial = this.kernelBtf?.find('task_struct', 'struct') === undefined;
    return { btf: this.btf, id, kernel: partial && OWNABLE.has(name) };
  }

  private pointer(type: BtfType, offset: number): void {
    const { btf } = this;
    const pointer = type.kind === 'volatile' ? btf.type(type.type) : type;
    if (pointer.kind !== 'ptr' || pointer.type === 0) return;
    const tag = btf.type(pointer.type);
    if (tag.kind !== 'type_tag') return;
    const inner = tag.type === 0 ? null : btf.type(tag.type);
    if (inner?.kind === 'type_tag') refuse('EINVAL', `a pointer has two tags: ${tag.name}, ${inner.name}`);
    const kind = POINTER_TAGS[tag.name];
    if (kind === undefined) refuse('EINVAL', `a pointer has the unknown tag ${tag.name}`);
    if (!this.allowed.has(kind)) return;
    const id = btf.resolve(tag.type);
    const target = btf.type(id);
    if (target.kind !== 'struct')
      refuse('EINVAL', `a ${tag.name} points to a ${target.kind}, not to a struct`);
    const struct = this.pointee(id, target.name);
    if (kind === 'kptr_ref' && struct.kernel && !OWNABLE.has(target.name)) {
      refuse('ENOENT', `programs cannot own a struct ${target.name}: it has no destructor`);
    }
    this.add({ kind, offset, size: 8, target: target.name, struct });
  }

  /** `contains:STRUCT:MEMBER` of a root: what its elements are. */
  private root(row: StructRow, offset: number, owner: number, index: number): void {
    const { btf } = this;
    const tags = declTags(btf, owner).filter(
      (tag) => tag.componentIndex === index && tag.name.startsWith('contains:'),
    );
    const match = /^contains:([^:]*):(.+)$/.exec(tags[0]?.name ?? '');
    if (tags.length !== 1 || match === null) refuse('EINVAL', `a ${row.kind} does not say what it contains`);
    const [, target, member] = match;
    const id = btf.find(target!, 'struct');
    if (id === undefined) refuse('ENOENT', `a ${row.kind} contains struct ${target}, which is not there`);
    const type = btf.type(id);
    const members = type.kind === 'struct' ? type.members.filter(({ name }) => name === member) : [];
    if (members.length === 0) refuse('ENOENT', `struct ${target} has no member ${member}`);
    const node = btf.type(members[0]!.type);
    const wanted = row.kind === 'list_head' ? 'bpf_list_node' : 'bpf_rb_node';
    const at = members[0]!.bitOffset;
    if (members.length > 1 || node.kind !== 'struct' || node.name !== wanted || at % 64 !== 0) {
      refuse('EINVAL', `member ${member} of struct ${target} is no ${wanted}`);
    }
    const { kind, size } = row;
    const struct = { btf, id, kernel: false };
    this.add({ kind, offset, size, target: target!, struct, nodeOffset: at / 8 });
  }

  /** `owner`, `index`: the type and member that tags name; `expected`: bytes of a variable, 0 for members. */
  member(
    typeId: number,
    offset: number,
    expected: number,
    owner: number,
    index: number,
    seen: Set<Kind>,
    depth: number,
  ): void {
    const { btf } = this;
    let count = 1;
    let id = typeId;
    let type = btf.type(id);
    for (let i = 0; type.kind === 'array'; i++) {
      if (i >= MAX_DEPTH) refuse('E2BIG', 'arrays are nested too deep');
      count *= type.count;
      id = type.type;
      type = btf.type(id);
    }
    if (count === 0) return;
    const from = this.fields.length;
    const row = type.kind === 'struct' ? SPECIAL_STRUCTS[type.name] : undefined;
    if (row !== undefined && this.allowed.has(row.kind)) {
      if (row.once) {
        if (seen.has(row.kind)) refuse('E2BIG', `there is more than one ${row.kind}`);
        seen.add(row.kind);
      }
      const { kind, size, align } = row;
      if ((expected !== 0 && expected !== size * count) || offset % align !== 0) return;
      if (type.kind !== 'struct' || type.size !== size) return;
      if (kind === 'list_head' || kind === 'rb_root') this.root(row, offset, owner, index);
      else this.add({ kind, offset, size });
      this.repeat(from, count, size);
    } else if (type.kind === 'struct') {
      if (expected !== 0 && expected !== type.size * count) return;
      this.struct(id, offset, depth + 1);
      this.repeat(from, count, type.size);
    } else {
      if ((expected !== 0 && expected !== 8 * count) || offset % 8 !== 0) return;
      this.pointer(type, offset);
      if (this.fields.length > from) this.repeat(from, count, 8);
    }
  }

  struct(id: number, base: number, depth: number): void {
    if (depth >= MAX_DEPTH) refuse('E2BIG', 'structs are nested too deep');
    const type = this.btf.type(id);
    if (type.kind !== 'struct' || this.#plain.has(id)) return;
    const before = this.fields.length;
    const seen = new Set<Kind>();
    type.members.forEach((member, i) => {
      if (member.bitOffset % 8 !== 0 || member.bitSize !== 0) return;
      this.member(member.type, base + member.bitOffset / 8, 0, id, i, seen, depth);
    });
    if (this.fields.length === before) this.#plain.add(id);
  }

  section(type: Extract<BtfType, { kind: 'datasec' }>): void {
    const seen = new Set<Kind>();
    for (const entry of type.vars) {
      const variable = this.btf.type(entry.type);
      if (variable.kind !== 'var') continue;
      this.member(variable.type, entry.offset, entry.size, entry.type, -1, seen, 0);
    }
  }
}

const POINTER_KINDS: ReadonlySet<Kind> = new Set(Object.values(POINTER_TAGS));

function check(fields: readonly SpecialField[]): void {
  let end = 0;
  for (const field of fields) {
    if (field.offset < end) refuse('EEXIST', 'special fields lie one over the other');
    end = field.offset + field.size;
  }
  const has = (...kinds: readonly Kind[]): boolean => fields.some((field) => kinds.includes(field.kind));
  if (has('spin_lock') && has('res_spin_lock')) refuse('EINVAL', 'there are two kinds of locks');
  if (has('list_head', 'rb_root') && !has('spin_lock', 'res_spin_lock'))
    refuse('EINVAL', 'a list or tree needs a bpf_spin_lock beside it');
  if (has('list_node') && has('rb_node') && !has('refcount'))
    refuse('EINVAL', 'an object that is in a list and in a tree needs a bpf_refcount');
}

/** A root's elements must be known as such; what is in a list or tree itself cannot own something that owns something. */
function checkOwnership(fields: readonly SpecialField[], kernelBtf: Btf | undefined): void {
  const isNode = fields.some(({ kind }) => kind === 'list_node' || kind === 'rb_node');
  for (const { kind, struct } of fields) {
    if ((kind !== 'list_head' && kind !== 'rb_root') || struct === undefined || !isNode) continue;
    const elements = objectFields(struct.btf, struct.id, kernelBtf);
    if (elements.some((field) => field.kind === 'list_head' || field.kind === 'rb_root'))
      refuse('ELOOP', 'a struct that lists or trees hold owns one that owns others');
  }
}

function fieldsOfValue(search: Search, valueTypeId: number): SpecialField[] {
  const { btf } = search;
  try {
    const id = btf.resolve(valueTypeId);
    const type = btf.type(id);
    if (type.kind === 'struct') search.struct(id, 0, 0);
    else if (type.kind === 'datasec') search.section(type);
    check(search.fields);
    return search.fields;
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    return [];
  }
}

/**
 * Special fields of a map's value type, ascending. Where they contradict one another (two locks, a list without a lock) there are none,
 * as in Linux: programs that need them are refused. Errors: EINVAL and E2BIG for uptrs that cannot be.
 */
export function findSpecialFields(btf: Btf, valueTypeId: number, kernelBtf?: Btf): SpecialField[] {
  const search = new Search(btf, kernelBtf, IN_VALUES);
  const fields = fieldsOfValue(search, valueTypeId);
  for (const field of fields) {
    if (field.kind !== 'uptr') continue;
    const size = field.struct?.kernel ? 0 : field.struct!.btf.sizeOf(field.struct!.id);
    if (size === 0) refuse('EINVAL', `a uptr points to struct ${field.target}, which no program can share`);
    if (size > 4096) refuse('E2BIG', `a uptr points to struct ${field.target}, which is larger than a page`);
  }
  return fields.sort((a, b) => a.offset - b.offset);
}

const records = new WeakMap<Btf, Map<number, readonly SpecialField[]>>();

/** Special fields of a struct that programs allocate. A struct that cannot be one has none. */
export function objectFields(btf: Btf, id: number, kernelBtf?: Btf): readonly SpecialField[] {
  let known = records.get(btf);
  if (known === undefined) {
    known = new Map();
    records.set(btf, known);
  }
  let fields = known.get(id);
  if (fields === undefined) {
    known.set(id, []);
    const search = new Search(btf, kernelBtf, IN_OBJECTS);
    try {
      search.struct(id, 0, 0);
      check(search.fields);
      checkOwnership(search.fields, kernelBtf);
      fields = search.fields.sort((a, b) => a.offset - b.offset);
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      fields = [];
    }
    known.set(id, fields);
  }
  return fields;
}
