/**
 * Generates `src/uapi/generated/*.ts` from the BTF of a running kernel (enums, struct layouts) and from its UAPI
 * header (constants that exist only as `#define`).
 *
 *   npm run generate:uapi -- [--btf FILE] [--header FILE] [--check]
 *
 * BTF is read with `bpftool btf dump file FILE format raw -j`. Without `--header` the macros keep as they are. `--check`
 * writes nothing and fails when a file would change; on a machine with another kernel series than the one recorded in
 * the files it says so and succeeds, because other kernels rightly give other tables.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

interface BtfMember {
  name: string;
  type_id: number;
  bits_offset: number;
  bitfield_size?: number;
}
interface BtfEntry {
  id: number;
  kind: string;
  name: string;
  size?: number;
  type_id?: number;
  nr_elems?: number;
  members?: BtfMember[];
  values?: { name: string; val: number }[];
}

const OUT = fileURLToPath(new URL('../src/uapi/generated/', import.meta.url));

/** Named enums: BTF name → exported name. */
const ENUMS: Record<string, string> = {
  bpf_cmd: 'BPF_CMD',
  bpf_map_type: 'BPF_MAP_TYPE',
  bpf_prog_type: 'BPF_PROG_TYPE',
  bpf_attach_type: 'BPF_ATTACH_TYPE',
  bpf_link_type: 'BPF_LINK_TYPE',
  bpf_func_id: 'BPF_FUNC',
  bpf_perf_event_type: 'BPF_PERF_EVENT_TYPE',
  bpf_stats_type: 'BPF_STATS_TYPE',
  bpf_task_fd_type: 'BPF_TASK_FD_TYPE',
  bpf_cgroup_iter_order: 'BPF_CGROUP_ITER_ORDER',
  bpf_stack_build_id_status: 'BPF_STACK_BUILD_ID_STATUS',
  bpf_core_relo_kind: 'BPF_CORE_RELO_KIND',
  bpf_adj_room_mode: 'BPF_ADJ_ROOM_MODE',
  bpf_hdr_start_off: 'BPF_HDR_START_OFF',
  bpf_lwt_encap_mode: 'BPF_LWT_ENCAP_MODE',
  bpf_check_mtu_flags: 'BPF_CHECK_MTU_FLAGS',
  bpf_check_mtu_ret: 'BPF_CHECK_MTU_RET',
  bpf_addr_space_cast: 'BPF_ADDR_SPACE_CAST',
  bpf_cond_pseudo_jmp: 'BPF_COND_PSEUDO_JMP',
  bpf_kfunc_flags: 'BPF_KFUNC_FLAGS',
  bpf_stream_id: 'BPF_STREAM_ID',
  bpf_ret_code: 'BPF_RET_CODE',
  btf_func_linkage: 'BTF_FUNC_LINKAGE',
  xdp_action: 'XDP_ACTION',
  sk_action: 'SK_ACTION',
  tcx_action_base: 'TCX_ACTION',
  perf_type_id: 'PERF_TYPE',
  perf_hw_id: 'PERF_HW_ID',
  perf_sw_ids: 'PERF_SW_IDS',
  perf_hw_cache_id: 'PERF_HW_CACHE_ID',
  perf_hw_cache_op_id: 'PERF_HW_CACHE_OP_ID',
  perf_hw_cache_op_result_id: 'PERF_HW_CACHE_OP_RESULT_ID',
  perf_event_sample_format: 'PERF_SAMPLE',
  perf_event_read_format: 'PERF_FORMAT',
  perf_event_type: 'PERF_RECORD',
  perf_branch_sample_type: 'PERF_SAMPLE_BRANCH',
};

/** Anonymous enums, found by their first member → exported name. */
const ANONYMOUS: Record<string, string> = {
  BPF_REG_0: 'BPF_REG',
  BPF_ANY: 'BPF_UPDATE_FLAGS',
  BPF_F_NO_PREALLOC: 'BPF_MAP_FLAGS',
  BPF_F_INDEX_MASK: 'BPF_PERF_OUTPUT_FLAGS',
  BPF_F_GET_BRANCH_RECORDS_SIZE: 'BPF_BRANCH_FLAGS',
  BPF_F_UPROBE_MULTI_RETURN: 'BPF_UPROBE_MULTI_FLAGS',
  BPF_F_KPROBE_MULTI_RETURN: 'BPF_KPROBE_MULTI_FLAGS',
  BPF_F_TIMER_ABS: 'BPF_TIMER_FLAGS',
  BPF_RB_NO_WAKEUP: 'BPF_RB_WAKEUP_FLAGS',
  BPF_RB_AVAIL_DATA: 'BPF_RB_QUERY',
  BPF_RINGBUF_BUSY_BIT: 'BPF_RINGBUF',
  BPF_LOCAL_STORAGE_GET_F_CREATE: 'BPF_LOCAL_STORAGE_FLAGS',
  BPF_F_INGRESS: 'BPF_REDIRECT_FLAGS',
  BPF_F_SKIP_FIELD_MASK: 'BPF_STACK_FLAGS',
  BPF_F_SYSCTL_BASE_NAME: 'BPF_SYSCTL_FLAGS',
  BPF_F_BPRM_SECUREEXEC: 'BPF_BPRM_FLAGS',
  BPF_SKEL_KERNEL: 'BPF_SKEL_FLAGS',
  BPF_SOCK_OPS_VOID: 'BPF_SOCK_OPS_OP',
  BPF_SOCK_OPS_RTO_CB_FLAG: 'BPF_SOCK_OPS_CB_FLAGS',
  SK_BPF_CB_TX_TIMESTAMPING: 'SK_BPF_CB',
  BPF_FLOW_DISSECTOR_F_PARSE_1ST_FRAG: 'BPF_FLOW_DISSECTOR_FLAGS',
  BPF_F_RECOMPUTE_CSUM: 'BPF_SKB_STORE_FLAGS',
  BPF_F_HDR_FIELD_MASK: 'BPF_CSUM_FLAGS',
  BPF_F_PSEUDO_HDR: 'BPF_CSUM_L4_FLAGS',
  BPF_F_TUNINFO_IPV6: 'BPF_TUNNEL_KEY_FLAGS',
  BPF_F_TUNINFO_FLAGS: 'BPF_GET_TUNNEL_KEY_FLAGS',
  BPF_F_ZERO_CSUM_TX: 'BPF_SET_TUNNEL_KEY_FLAGS',
  BPF_CSUM_LEVEL_QUERY: 'BPF_CSUM_LEVEL',
  BPF_F_ADJ_ROOM_FIXED_GSO: 'BPF_ADJ_ROOM_FLAGS',
  BPF_ADJ_ROOM_ENCAP_L2_MASK: 'BPF_ADJ_ROOM_ENCAP',
  BPF_SK_LOOKUP_F_REPLACE: 'BPF_SK_LOOKUP_FLAGS',
  BPF_SKB_TSTAMP_UNSPEC: 'BPF_SKB_TSTAMP',
  TCP_BPF_IW: 'TCP_BPF',
  BPF_LOAD_HDR_OPT_TCP_SYN: 'BPF_LOAD_HDR_OPT_FLAGS',
  BPF_FIB_LOOKUP_DIRECT: 'BPF_FIB_LOOKUP_FLAGS',
  BPF_FIB_LKUP_RET_SUCCESS: 'BPF_FIB_LKUP_RET',
  BPF_F_CURRENT_NETNS: 'BPF_NETNS',
  BPF_TCP_ESTABLISHED: 'BPF_TCP_STATE',
  BPF_WRITE_HDR_TCP_CURRENT_MSS: 'BPF_WRITE_HDR_TCP',
  BTF_F_COMPACT: 'BTF_SHOW_FLAGS',
  BTF_KIND_UNKN: 'BTF_KIND',
  BTF_VAR_STATIC: 'BTF_VAR_LINKAGE',
};

/** Structs and unions whose layout is exported. */
const LAYOUTS =
  `xdp_md __sk_buff bpf_sock bpf_sock_addr bpf_sock_ops sk_msg_md sk_reuseport_md bpf_sk_lookup bpf_sysctl
bpf_sockopt bpf_cgroup_dev_ctx bpf_perf_event_data pt_regs bpf_map_info bpf_prog_info bpf_link_info bpf_btf_info
bpf_token_info bpf_flow_keys bpf_tcp_sock bpf_sock_tuple bpf_fib_lookup bpf_redir_neigh bpf_spin_lock bpf_res_spin_lock
bpf_timer bpf_wq bpf_dynptr bpf_list_head bpf_list_node bpf_rb_root bpf_rb_node bpf_refcount bpf_iter_num btf_ptr bpf_insn
bpf_attr bpf_iter_link_info bpf_tunnel_key bpf_xfrm_state bpf_pidns_info bpf_perf_event_value bpf_devmap_val
bpf_cpumap_val bpf_func_info bpf_line_info bpf_core_relo bpf_cgroup_storage_key bpf_stack_build_id bpf_nf_ctx
btf_header btf_type btf_member btf_array btf_param btf_var btf_var_secinfo btf_decl_tag btf_enum btf_enum64
perf_event_attr perf_event_header perf_event_mmap_page sockaddr_xdp xdp_desc xdp_umem_reg sock_filter`.split(
    /\s+/,
  );

const HEADER_MACROS =
  /^#define\s+((?:BPF_(?!PROG_LOAD_|TAG_)|MAX_BPF_|XDP_PACKET|BPF_F_)[A-Z0-9_]*)[ \t]+((?:[^\n/\\]|\/(?!\*))+)/gm;

function main(): void {
  const { values } = parseArgs({
    options: {
      btf: { type: 'string', default: '/sys/kernel/btf/vmlinux' },
      header: { type: 'string' },
      check: { type: 'boolean', default: false },
    },
  });
  const recorded = recordedSeries();
  if (values.check && recorded !== undefined && !release().startsWith(`${recorded}.`)) {
    console.log(`uapi check skipped: tables are of Linux ${recorded}, this machine runs ${release()}`);
    return;
  }
  if (!existsSync(values.btf)) {
    console.log(`uapi generation needs kernel BTF; ${values.btf} does not exist`);
    process.exitCode = values.check ? 0 : 1;
    return;
  }
  if (values.check && !hasBpftool()) {
    console.log('uapi check skipped: bpftool is missing');
    return;
  }
  const command = `bpftool btf dump file ${values.btf} format raw -j`;
  const types: BtfEntry[] = JSON.parse(
    execFileSync('bpftool', command.split(' ').slice(1), { maxBuffer: 1 << 28, encoding: 'utf8' }),
  ).types;
  const series = release().split('.').slice(0, 2).join('.');
  const head = `// GENERATED by tools/generate-uapi.ts; do not edit.\n// Linux ${series} (x86-64): ${command}\n\n`;
  const files = new Map<string, string>();
  files.set('enums.ts', head + emitEnums(types));
  files.set('layouts.ts', head + emitLayouts(types));
  if (values.header !== undefined) {
    const from = `// GENERATED by tools/generate-uapi.ts --header; do not edit.\n// Linux ${series}: include/uapi/linux/bpf.h, its #define constants\n\n`;
    files.set('macros.ts', from + emitMacros(readFileSync(values.header, 'utf8')));
  }
  for (const [name, text] of files) {
    const path = OUT + name;
    const old = existsSync(path) ? readFileSync(path, 'utf8') : '';
    if (old === text) continue;
    if (values.check) {
      console.error(`src/uapi/generated/${name} is stale: run npm run generate:uapi`);
      process.exitCode = 1;
    } else {
      writeFileSync(path, text);
      console.log(`wrote src/uapi/generated/${name}`);
    }
  }
}

function hasBpftool(): boolean {
  try {
    execFileSync('bpftool', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function recordedSeries(): string | undefined {
  const path = `${OUT}enums.ts`;
  return existsSync(path) ? /Linux (\d+\.\d+)/.exec(readFileSync(path, 'utf8'))?.[1] : undefined;
}

function emitEnums(types: BtfEntry[]): string {
  let text = '';
  const seen = new Set<string>();
  for (const type of types) {
    if (type.kind !== 'ENUM' && type.kind !== 'ENUM64') continue;
    const members = type.values ?? [];
    const first = members[0]?.name ?? '';
    const name = ENUMS[type.name] ?? (type.name === '(anon)' ? ANONYMOUS[first] : undefined);
    if (name === undefined || seen.has(name)) continue;
    seen.add(name);
    text += `/** ${type.name === '(anon)' ? `anonymous enum of ${first}` : `enum ${type.name}`} */\nexport const ${name} = {\n`;
    for (const { name: member, val } of members) text += `  ${member}: ${val},\n`;
    text += '} as const;\n\n';
  }
  const missing = [...Object.values(ENUMS), ...Object.values(ANONYMOUS)].filter((name) => !seen.has(name));
  if (missing.length > 0) throw new Error(`not in this kernel's BTF: ${missing.join(', ')}`);
  return text;
}

function emitLayouts(types: BtfEntry[]): string {
  const byId = new Map(types.map((type) => [type.id, type]));
  const byName = new Map<string, BtfEntry>();
  for (const type of types)
    if ((type.kind === 'STRUCT' || type.kind === 'UNION') && !byName.has(type.name))
      byName.set(type.name, type);

  const resolve = (id: number): BtfEntry | undefined => {
    let type = byId.get(id);
    while (type !== undefined && ['TYPEDEF', 'CONST', 'VOLATILE', 'RESTRICT', 'TYPE_TAG'].includes(type.kind))
      type = byId.get(type.type_id ?? 0);
    return type;
  };
  const sizeOf = (id: number): number => {
    const type = resolve(id);
    if (type === undefined) return 0;
    if (type.kind === 'PTR') return 8;
    if (type.kind === 'ARRAY') return (type.nr_elems ?? 0) * sizeOf(type.type_id ?? 0);
    return type.size ?? 0;
  };
  const fieldsOf = (type: BtfEntry, base: number, prefix: string): string => {
    let text = '';
    for (const member of type.members ?? []) {
      const bits = member.bitfield_size ?? 0;
      const offset = base + Math.floor(member.bits_offset / 8);
      const inner = resolve(member.type_id);
      const composite = inner !== undefined && (inner.kind === 'STRUCT' || inner.kind === 'UNION');
      if (member.name === '(anon)' && inner !== undefined && composite) {
        text += fieldsOf(inner, offset, prefix);
        continue;
      }
      const name = prefix + member.name;
      if (bits > 0) {
        const unit = sizeOf(member.type_id);
        const start = Math.floor(member.bits_offset / (8 * unit)) * unit;
        const bit = member.bits_offset - 8 * start;
        text += `    { name: '${name}', offset: ${base + start}, size: ${unit}, bit: ${bit}, bits: ${bits} },\n`;
        continue;
      }
      text += `    { name: '${name}', offset: ${offset}, size: ${sizeOf(member.type_id)} },\n`;
      if (inner !== undefined && composite && inner.name === '(anon)')
        text += fieldsOf(inner, offset, `${name}.`);
    }
    return text;
  };

  let text =
    "import type { UapiLayout } from '../layout.ts';\n\n/** Struct and union layouts; members of nested anonymous types are `outer.inner`. Bytes. */\nexport const UAPI_LAYOUTS = {\n";
  for (const name of LAYOUTS) {
    const type = byName.get(name);
    if (type === undefined) throw new Error(`not in this kernel's BTF: ${name}`);
    text += `  ${name}: { name: '${name}', size: ${type.size ?? 0}, fields: [\n${fieldsOf(type, 0, '')}  ] },\n`;
  }
  return `${text}} as const satisfies Record<string, UapiLayout>;\n`;
}

/** The integer constants among the macros; each may use those before it. Function-like macros are left out. */
function emitMacros(header: string): string {
  const known = new Map<string, bigint>();
  for (const [, name = '', body = ''] of header.matchAll(HEADER_MACROS)) {
    const value = evaluate(body.trim(), known);
    if (value !== undefined && !known.has(name)) known.set(name, value);
  }
  let text = '/** Object-like macros of linux/bpf.h with integer values. */\nexport const BPF_MACROS = {\n';
  for (const [name, value] of known) text += `  ${name}: ${value},\n`;
  return `${text}} as const;\n`;
}

/** `(1U << 3)`, `0x10`, `A | B`, a decimal number, or a name known already. */
function evaluate(expression: string, known: ReadonlyMap<string, bigint>): bigint | undefined {
  const bare = expression.replace(/^\((.*)\)$/, '$1').trim();
  const parts = bare.split('|').map((part) => part.trim());
  if (parts.length > 1) {
    let sum = 0n;
    for (const part of parts) {
      const value = evaluate(part, known);
      if (value === undefined) return undefined;
      sum |= value;
    }
    return sum;
  }
  const shift = /^(\S+)\s*<<\s*(\S+)$/.exec(bare);
  if (shift !== null) {
    const [left, right] = [evaluate(shift[1] ?? '', known), evaluate(shift[2] ?? '', known)];
    return left === undefined || right === undefined ? undefined : left << right;
  }
  const digits = /^(0x[0-9a-fA-F]+|\d+)[UL]*$/.exec(bare)?.[1];
  return digits === undefined ? known.get(bare) : BigInt(digits);
}

main();
