/**
 * `union bpf_attr` as a table: for each command of bpf(2) its fields with the Linux release that brought them. Offsets and sizes
 * are those of the generated layout; a field that is missing there is an error at first use, one that is missing here fails a test.
 *
 * A row is a list of words, each `[*|=]name[@release][?]`: `*` is an address, `=` is (also) written by the kernel, `?` may be left
 * out on a kernel older than `release`, because nothing is lost but names and debug information.
 */
import { UAPI_LAYOUTS, type UapiField } from '../uapi/index.ts';
import { InternalError } from '../util/errors.ts';
import { fieldOf } from './layout.ts';

export interface AttrField {
  /** Key in calls: camelCase, without the name of the command's struct: `mapFd`, `kprobeMulti.syms`. */
  readonly key: string;
  readonly layout: UapiField;
  readonly pointer: boolean;
  readonly since: string | undefined;
  readonly optional: boolean;
}

export interface AttrRow {
  readonly command: string;
  readonly fields: ReadonlyMap<string, AttrField>;
  /** Bytes that the kernel must have room for, because it writes there. */
  readonly minSize: number;
}

const ELEM = 'map_fd *key *value flags';
const BATCH = '*in_batch *out_batch *keys *values =count map_fd elem_flags flags';
const NEXT_ID = 'start_id =next_id open_flags';
const BY_ID = 'open_flags@4.15 fd_by_id_token_fd@6.15';
const ATTACH =
  'target_fd target_ifindex@6.6 attach_bpf_fd attach_type attach_flags replace_bpf_fd@5.5 relative_fd@6.6 relative_id@6.6 expected_revision@6.6';

/** Command → [struct inside of the union, fields]. */
const TABLE: Readonly<Record<string, readonly [string, string]>> = {
  BPF_MAP_CREATE: [
    '',
    `map_type key_size value_size max_entries map_flags inner_map_fd@4.12 numa_node@4.14 map_name@4.15? map_ifindex@4.16
     btf_fd@4.18? btf_key_type_id@4.18? btf_value_type_id@4.18? btf_vmlinux_value_type_id@5.6 map_extra@5.16
     value_type_btf_obj_fd@6.9 map_token_fd@6.9 *excl_prog_hash@6.18 excl_prog_hash_size@6.18`,
  ],
  BPF_MAP_LOOKUP_ELEM: ['', ELEM],
  BPF_MAP_UPDATE_ELEM: ['', ELEM],
  BPF_MAP_DELETE_ELEM: ['', ELEM],
  BPF_MAP_GET_NEXT_KEY: ['', 'map_fd *key *next_key'],
  BPF_PROG_LOAD: [
    '',
    `prog_type insn_cnt *insns *license log_level log_size *log_buf kern_version@4.1? prog_flags@4.12 prog_name@4.15?
     prog_ifindex@4.15 expected_attach_type@4.17 prog_btf_fd@5.0? func_info_rec_size@5.0? *func_info@5.0? func_info_cnt@5.0?
     line_info_rec_size@5.0? *line_info@5.0? line_info_cnt@5.0? attach_btf_id@5.5 attach_prog_fd@5.5 attach_btf_obj_fd@5.11
     *fd_array@5.14 core_relo_cnt@5.17 *core_relos@5.17 core_relo_rec_size@5.17 =log_true_size@6.4 prog_token_fd@6.9
     fd_array_cnt@6.14 *signature@6.18 signature_size@6.18 keyring_id@6.18`,
  ],
  BPF_OBJ_PIN: ['', '*pathname bpf_fd file_flags@4.15 path_fd@6.5'],
  BPF_OBJ_GET: ['', '*pathname bpf_fd file_flags@4.15 path_fd@6.5'],
  BPF_PROG_ATTACH: ['', ATTACH],
  BPF_PROG_DETACH: ['', ATTACH],
  BPF_PROG_TEST_RUN: [
    'test',
    `prog_fd =retval data_size_in =data_size_out *data_in *data_out repeat =duration ctx_size_in@5.2 =ctx_size_out@5.2
     *ctx_in@5.2 *ctx_out@5.2 flags@5.10 cpu@5.10 batch_size@5.18`,
  ],
  BPF_PROG_GET_NEXT_ID: ['', NEXT_ID],
  BPF_MAP_GET_NEXT_ID: ['', NEXT_ID],
  BPF_BTF_GET_NEXT_ID: ['', NEXT_ID],
  BPF_LINK_GET_NEXT_ID: ['', NEXT_ID],
  BPF_PROG_GET_FD_BY_ID: ['', `prog_id ${BY_ID}`],
  BPF_MAP_GET_FD_BY_ID: ['', `map_id ${BY_ID}`],
  BPF_BTF_GET_FD_BY_ID: ['', `btf_id ${BY_ID}`],
  BPF_LINK_GET_FD_BY_ID: ['', `link_id ${BY_ID}`],
  BPF_OBJ_GET_INFO_BY_FD: ['info', 'bpf_fd =info_len *info'],
  BPF_PROG_QUERY: [
    'query',
    `target_fd target_ifindex@6.6 attach_type query_flags =attach_flags *prog_ids =prog_cnt =count *prog_attach_flags@6.0
     *link_ids@6.6 *link_attach_flags@6.6 =revision@6.6`,
  ],
  BPF_RAW_TRACEPOINT_OPEN: ['raw_tracepoint', '*name prog_fd cookie@6.10'],
  BPF_BTF_LOAD: [
    '',
    '*btf *btf_log_buf btf_size btf_log_size btf_log_level =btf_log_true_size@6.4 btf_flags@6.9 btf_token_fd@6.9',
  ],
  BPF_TASK_FD_QUERY: [
    'task_fd_query',
    'pid fd flags =buf_len *buf =prog_id =fd_type =probe_offset =probe_addr',
  ],
  BPF_MAP_LOOKUP_AND_DELETE_ELEM: ['', ELEM],
  BPF_MAP_FREEZE: ['', 'map_fd'],
  BPF_MAP_LOOKUP_BATCH: ['batch', BATCH],
  BPF_MAP_LOOKUP_AND_DELETE_BATCH: ['batch', BATCH],
  BPF_MAP_UPDATE_BATCH: ['batch', BATCH],
  BPF_MAP_DELETE_BATCH: ['batch', BATCH],
  BPF_LINK_CREATE: [
    'link_create',
    `prog_fd map_fd@6.4 target_fd target_ifindex attach_type flags target_btf_id@5.10 *iter_info@5.9 iter_info_len@5.9
     perf_event.bpf_cookie@5.15 kprobe_multi.flags@5.18 kprobe_multi.cnt@5.18 *kprobe_multi.syms@5.18 *kprobe_multi.addrs@5.18
     *kprobe_multi.cookies@5.18 tracing.target_btf_id@5.19 tracing.cookie@5.19 netfilter.pf@6.4 netfilter.hooknum@6.4
     netfilter.priority@6.4 netfilter.flags@6.4 tcx.relative_fd@6.6 tcx.relative_id@6.6 tcx.expected_revision@6.6
     *uprobe_multi.path@6.6 *uprobe_multi.offsets@6.6 *uprobe_multi.ref_ctr_offsets@6.6 *uprobe_multi.cookies@6.6
     uprobe_multi.cnt@6.6 uprobe_multi.flags@6.6 uprobe_multi.pid@6.6 netkit.relative_fd@6.7 netkit.relative_id@6.7
     netkit.expected_revision@6.7 cgroup.relative_fd@6.17 cgroup.relative_id@6.17 cgroup.expected_revision@6.17`,
  ],
  BPF_LINK_UPDATE: ['link_update', 'link_fd new_prog_fd new_map_fd@6.4 flags old_prog_fd old_map_fd@6.4'],
  BPF_LINK_DETACH: ['link_detach', 'link_fd'],
  BPF_ENABLE_STATS: ['enable_stats', 'type'],
  BPF_ITER_CREATE: ['iter_create', 'link_fd flags'],
  BPF_PROG_BIND_MAP: ['prog_bind_map', 'prog_fd map_fd flags'],
  BPF_TOKEN_CREATE: ['token_create', 'flags bpffs_fd'],
  BPF_PROG_STREAM_READ_BY_FD: ['prog_stream_read', '*stream_buf stream_buf_len stream_id prog_fd'],
};

export type BpfCommand = `BPF_${string}`;

export const ATTR_COMMANDS: readonly string[] = Object.keys(TABLE);

const ROWS = new Map<string, AttrRow>();

export function attrRow(command: string): AttrRow {
  let row = ROWS.get(command);
  if (row === undefined) {
    const source = TABLE[command];
    if (source === undefined) throw new InternalError(`no attributes are known of ${command}`);
    row = parseRow(command, ...source);
    ROWS.set(command, row);
  }
  return row;
}

const WORD = /^([*=]?)([a-z0-9_.]+)(?:@([\d.]+))?(\??)$/;

function parseRow(command: string, struct: string, words: string): AttrRow {
  const fields = new Map<string, AttrField>();
  let minSize = 0;
  for (const word of words.split(/\s+/)) {
    const [, mark, name, since, optional] = WORD.exec(word)!;
    const layout = fieldOf(UAPI_LAYOUTS.bpf_attr, struct === '' ? name : `${struct}.${name}`);
    if (mark === '=') minSize = Math.max(minSize, layout.offset + layout.size);
    const key = camel(name);
    fields.set(key, { key, layout, pointer: mark === '*', since, optional: optional === '?' });
  }
  return { command, fields, minSize };
}

/** `kprobe_multi.syms` → `kprobeMulti.syms` */
export function camel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
