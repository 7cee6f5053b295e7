import { describe, expect, it } from 'vitest';
import {
  ATTACH_TYPES,
  attachTypeById,
  attachTypeByName,
  COMMANDS,
  commandById,
  commandByName,
  HELPERS,
  helperAllowed,
  helperById,
  helperByName,
  helperFor,
  helperProgTypes,
  linkTypeName,
  MAP_TYPES,
  mapTypeById,
  mapTypeByName,
  PROG_GROUPS,
  PROG_TYPES,
  progTypeById,
  progTypeByName,
  returnRange,
  SECTIONS,
} from '../../src/spec/index.ts';
import {
  BPF_ATTACH_TYPE,
  BPF_CMD,
  BPF_FUNC,
  BPF_LINK_TYPE,
  BPF_MAP_FLAGS,
  BPF_MAP_TYPE,
  BPF_PROG_TYPE,
  UAPI_LAYOUTS,
} from '../../src/uapi/index.ts';

/** Members of a UAPI enum that are values and not ends of lists. */
function members(table: Readonly<Record<string, number>>): [string, number][] {
  return Object.entries(table).filter(([name]) => !/^__|_UNSPEC$|_unspec$/.test(name));
}

const programNames = new Set(PROG_TYPES.map(({ name }) => name));
const mapNames = new Set(MAP_TYPES.map(({ name }) => name));
const attachNames = new Set(ATTACH_TYPES.map(({ name }) => name));

describe('every id of the UAPI has its row', () => {
  it('helpers', () => {
    for (const [constant, id] of members(BPF_FUNC)) {
      const name = constant.replace('BPF_FUNC_', 'bpf_');
      expect(helperById(id)?.name).toBe(name);
      expect(helperByName(name)?.id).toBe(id);
    }
    expect(HELPERS).toHaveLength(211);
    expect(helperByName('map_lookup_elem')?.id).toBe(1);
    expect(helperById(212)).toBeUndefined();
  });

  it('map types', () => {
    for (const [constant, id] of members(BPF_MAP_TYPE)) {
      const row = mapTypeById(id);
      expect(row, constant).toBeDefined();
      // Deprecated names share their number with the new ones.
      if (!constant.endsWith('_DEPRECATED')) expect(mapTypeByName(constant)?.id).toBe(id);
    }
    expect(MAP_TYPES).toHaveLength(33);
  });

  it('program types', () => {
    for (const [constant, id] of members(BPF_PROG_TYPE)) {
      expect(progTypeById(id)?.constant).toBe(constant);
      expect(progTypeByName(constant)?.id).toBe(id);
    }
    expect(PROG_TYPES).toHaveLength(32);
  });

  it('commands', () => {
    for (const [constant, id] of members(BPF_CMD)) {
      expect(commandById(id), constant).toBeDefined();
      expect(commandByName(constant)?.id).toBe(id);
    }
    expect(commandByName('PROG_RUN')?.method).toBe('progTestRun');
  });

  it('attach types and link types', () => {
    for (const [constant, id] of members(BPF_ATTACH_TYPE)) {
      expect(attachTypeByName(constant)?.id).toBe(id);
      expect(attachTypeById(id)).toBeDefined();
    }
    for (const [constant, id] of members(BPF_LINK_TYPE))
      expect(linkTypeName(id)).toBe(constant.replace('BPF_LINK_TYPE_', '').toLowerCase());
  });
});

describe('names that rows use exist', () => {
  it('in helpers', () => {
    expect(new Set(HELPERS.map(({ name }) => name)).size).toBe(HELPERS.length);
    for (const row of HELPERS) {
      expect(row.since, row.name).toMatch(/^\d+\.\d+$/);
      expect(row.args.length + (row.rawArgs?.length ?? 0), row.name).toBeLessThanOrEqual(5);
      for (const name of [row.allowed, ...(row.variants ?? []).map(({ allowed }) => allowed)].flat())
        expect(programNames.has(name) || name in PROG_GROUPS || name === 'all', `${row.name}: ${name}`).toBe(
          true,
        );
      for (const name of helperProgTypes(row))
        expect(programNames.has(name), `${row.name}: ${name}`).toBe(true);
      for (const name of row.mapTypes ?? []) expect(mapNames.has(name), `${row.name}: ${name}`).toBe(true);
      for (const [type, names] of Object.entries(row.attachTypes ?? {})) {
        expect(helperProgTypes(row).has(type), `${row.name}: ${type}`).toBe(true);
        for (const name of names) expect(attachNames.has(name), `${row.name}: ${name}`).toBe(true);
      }
      for (const name of row.exceptAttachTypes ?? []) expect(attachNames.has(name)).toBe(true);
    }
  });

  it('in groups, which name no program type', () => {
    for (const [group, types] of Object.entries(PROG_GROUPS)) {
      expect(programNames.has(group), group).toBe(false);
      for (const type of types) expect(programNames.has(type), type).toBe(true);
    }
  });

  it('in map types', () => {
    for (const row of MAP_TYPES) {
      for (const name of [...row.flags, ...(row.requiredFlags ?? [])])
        expect(BPF_MAP_FLAGS).toHaveProperty(name);
      for (const name of row.helpers) expect(helperByName(name), `${row.name}: ${name}`).toBeDefined();
    }
  });

  it('in program types', () => {
    for (const row of PROG_TYPES) {
      const named = [
        row.attachTypes,
        row.sleepableAttachTypes,
        row.ctx.fields.flatMap((f) => f.attachTypes ?? []),
      ];
      for (const name of named.flat())
        if (name) expect(attachNames.has(name), `${row.name}: ${name}`).toBe(true);
      for (const range of row.returns ?? []) expect(range.min).toBeLessThanOrEqual(range.max);
    }
  });

  it('in sections', () => {
    expect(new Set(SECTIONS.map(({ name }) => name)).size).toBe(SECTIONS.length);
    for (const row of SECTIONS) {
      const type = progTypeByName(row.progType);
      expect(type, row.name).toBeDefined();
      if (row.attachType === undefined) continue;
      expect(attachNames.has(row.attachType), row.name).toBe(true);
      if (type?.attachTypes) expect(type.attachTypes, row.name).toContain(row.attachType);
    }
  });
});

describe('context layouts', () => {
  it('lie inside their struct and do not overlap', () => {
    for (const { name, ctx } of PROG_TYPES) {
      let end = 0;
      for (const field of [...ctx.fields].sort((a, b) => a.offset - b.offset)) {
        expect(field.offset, `${name}: ${field.name}`).toBeGreaterThanOrEqual(end);
        end = field.offset + field.size;
        expect(end, `${name}: ${field.name}`).toBeLessThanOrEqual(ctx.size);
      }
    }
  });

  it('keep every modelled value in a place of its own, aligned, inside the backing', () => {
    for (const { name, ctx } of PROG_TYPES) {
      const used = new Set<number>();
      for (const { name: field, backing, kind } of ctx.fields) {
        if (backing === undefined) continue;
        expect(backing.offset % backing.size, `${name}: ${field}`).toBe(0);
        expect(backing.offset + backing.size).toBeLessThanOrEqual(ctx.backingSize ?? 0);
        if (kind !== undefined) expect(backing.size, `${name}: ${field}`).toBe(8);
        for (let i = 0; i < backing.size; i++) {
          expect(used.has(backing.offset + i), `${name}: ${field}`).toBe(false);
          used.add(backing.offset + i);
        }
      }
    }
  });

  it('have the sizes of the UAPI', () => {
    expect(UAPI_LAYOUTS.xdp_md.size).toBe(24);
    expect(progTypeByName('xdp')?.ctx.size).toBe(24);
    expect(progTypeByName('kprobe')?.ctx.size).toBe(168);
  });
});

describe('who may call what', () => {
  it('by program type and attach type', () => {
    const allowed = (helper: string, type: string, attachType?: string): boolean =>
      helperAllowed(helperByName(helper)!, type, attachType);
    expect(allowed('bpf_map_lookup_elem', 'xdp')).toBe(true);
    expect(allowed('bpf_xdp_adjust_head', 'xdp')).toBe(true);
    expect(allowed('bpf_xdp_adjust_head', 'sched_cls')).toBe(false);
    expect(allowed('bpf_probe_read', 'xdp')).toBe(false);
    expect(allowed('bpf_probe_read', 'kprobe')).toBe(true);
    expect(allowed('bpf_bind', 'cgroup_sock_addr', 'CGROUP_INET4_CONNECT')).toBe(true);
    expect(allowed('bpf_bind', 'cgroup_sock_addr', 'CGROUP_INET4_BIND')).toBe(false);
    expect(allowed('bpf_get_retval', 'cgroup_skb', 'CGROUP_INET_EGRESS')).toBe(false);
    expect(allowed('bpf_seq_printf', 'tracing', 'TRACE_ITER')).toBe(true);
    expect(allowed('bpf_seq_printf', 'tracing', 'TRACE_FENTRY')).toBe(false);
    expect(allowed('bpf_ktime_get_ns', 'lirc_mode2')).toBe(true);
    expect(allowed('bpf_loop', 'lirc_mode2')).toBe(false);
  });

  it('with the prototype of the type', () => {
    const cookie = helperByName('bpf_get_socket_cookie')!;
    expect(helperFor(cookie, 'socket_filter').args[0]?.kind).toBe('ctx');
    expect(helperFor(cookie, 'tracing').args[0]?.kind).toBe('btf_id_sock_common');
    const stackid = helperByName('bpf_get_stackid')!;
    expect(helperFor(stackid, 'kprobe').gplOnly).toBe(true);
  });

  it('and what it may return', () => {
    const range = (type: string, attachType?: string) => returnRange(progTypeByName(type)!, attachType);
    expect(range('xdp')).toBeNull();
    expect(range('cgroup_skb', 'CGROUP_INET_EGRESS')).toMatchObject({ min: 0, max: 3 });
    expect(range('cgroup_skb', 'CGROUP_INET_INGRESS')).toMatchObject({ min: 0, max: 1 });
    expect(range('tracing', 'TRACE_FENTRY')).toMatchObject({ min: 0, max: 0 });
    expect(range('tracing', 'TRACE_RAW_TP')).toBeNull();
  });
});

describe('COMMANDS', () => {
  it('stand at the index of their number', () => {
    COMMANDS.forEach((row, i) => {
      expect(row.id).toBe(i);
    });
  });
});
