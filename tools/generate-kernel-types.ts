/**
 * Generates `src/spec/generated/kernel-types.ts`: the types that the embedded kernel has of its own when no Linux's BTF is given, with
 * the names and member types of the running kernel. Only what is listed here; anonymous members are made flat.
 *
 *   npx tsx tools/generate-kernel-types.ts [BTF FILE]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type Btf, type BtfComposite, type BtfType, parseBtf } from '../src/btf/index.ts';

const OUT = fileURLToPath(new URL('../src/spec/generated/kernel-types.ts', import.meta.url));

/** Struct → members to keep; `*` keeps all. What programs of tracers and of the security hooks read. */
const STRUCTS: Readonly<Record<string, string>> = {
  task_struct: `__state flags on_cpu prio static_prio normal_prio rt_priority policy nr_cpus_allowed exit_state exit_code exit_signal
    pid tgid real_parent parent group_leader utime stime nvcsw nivcsw start_time start_boottime min_flt maj_flt real_cred cred comm
    fs files nsproxy signal mm active_mm cgroups thread_pid sessionid loginuid`,
  cred: 'uid gid suid sgid euid egid fsuid fsgid securebits cap_inheritable cap_permitted cap_effective cap_bset cap_ambient user_ns',
  signal_struct: 'nr_threads group_exit_code',
  mm_struct: `total_vm pgd start_code end_code start_data end_data start_brk brk start_stack arg_start arg_end env_start env_end
    exe_file owner`,
  nsproxy: 'uts_ns ipc_ns mnt_ns pid_ns_for_children net_ns cgroup_ns',
  ns_common: 'inum',
  uts_namespace: 'name ns',
  ipc_namespace: 'ns',
  mnt_namespace: 'ns',
  pid_namespace: 'level ns',
  user_namespace: 'level ns',
  cgroup_namespace: 'ns',
  net: 'ns net_cookie',
  new_utsname: '*',
  css_set: 'dfl_cgrp',
  cgroup: 'level kn',
  kernfs_node: 'id name',
  linux_binprm: 'file argc envc filename interp mm cred p',
  file: 'f_mode f_flags f_inode f_path f_pos f_cred',
  path: '*',
  dentry: 'd_parent d_name d_inode d_sb',
  qstr: '*',
  vfsmount: 'mnt_root mnt_sb mnt_flags',
  inode: 'i_mode i_uid i_gid i_ino i_size i_sb i_rdev',
  super_block: 's_dev s_magic s_id s_root',
  sock_common: `skc_daddr skc_rcv_saddr skc_hash skc_dport skc_num skc_family skc_state skc_bound_dev_if skc_net skc_v6_daddr
    skc_v6_rcv_saddr skc_cookie`,
  sock: '__sk_common sk_protocol sk_type sk_mark sk_priority sk_err sk_rcvbuf sk_sndbuf sk_socket sk_uid sk_max_ack_backlog sk_ack_backlog',
  socket: 'state type file sk',
  inet_sock: 'sk inet_saddr inet_sport inet_id',
  inet_connection_sock: 'icsk_inet icsk_retransmits',
  tcp_sock: `inet_conn bytes_received bytes_acked bytes_sent segs_in segs_out total_retrans srtt_us snd_cwnd rcv_nxt snd_nxt lost_out
    retrans_out packets_out`,
  sk_buff:
    'sk dev len data_len mac_len protocol skb_iif hash mark network_header transport_header mac_header head data end tail',
  net_device: 'name ifindex mtu flags',
  request: 'q part cmd_flags __data_len __sector start_time_ns io_start_time_ns',
  request_queue: 'disk',
  gendisk: 'major first_minor disk_name',
  block_device: 'bd_start_sect bd_nr_sectors bd_dev',
  bio: 'bi_bdev bi_opf bi_iter',
  bvec_iter: '*',
  filename: 'name uptr',
  open_how: '*',
  sockaddr: '*',
  sockaddr_in: '*',
  sockaddr_in6: '*',
  vm_area_struct: 'vm_start vm_end vm_flags vm_file',
  kernel_siginfo: 'si_signo si_errno si_code',
  pt_regs: '*',
  trace_entry: '*',
  trace_event_raw_sys_enter: '*',
  trace_event_raw_sys_exit: '*',
  trace_event_raw_sched_process_exec: '*',
  trace_event_raw_sched_process_fork: '*',
  trace_event_raw_sched_process_exit: '*',
  trace_event_raw_sched_process_template: '*',
  trace_event_raw_sched_switch: '*',
  trace_event_raw_sched_wakeup_template: '*',
  trace_event_raw_signal_generate: '*',
  trace_event_raw_inet_sock_set_state: '*',
  trace_event_raw_block_rq: '*',
  trace_event_raw_block_rq_completion: '*',
};

/** Names that programs use beside those that members have. */
const TYPEDEFS = `
u8 u16 u32 u64 s8 s16 s32 s64 __u8 __u16 __u32 __u64 __s8 __s16 __s32 __s64 __be16 __be32 __be64 __le16 __le32 __le64 __sum16 __wsum
uint8_t uint16_t uint32_t uint64_t int8_t int16_t int32_t int64_t uintptr_t size_t ssize_t bool pid_t uid_t gid_t mode_t umode_t dev_t
loff_t off_t sector_t ktime_t gfp_t
`
  .trim()
  .split(/\s+/);

/** Raw tracepoints whose arguments are told (`btf_trace_…`). */
const TRACEPOINTS = `
sys_enter sys_exit sched_process_fork sched_process_exec sched_process_exit sched_process_free sched_switch sched_wakeup
sched_wakeup_new sched_waking signal_generate signal_deliver task_newtask task_rename inet_sock_set_state tcp_retransmit_skb
tcp_send_reset tcp_receive_reset tcp_destroy_sock kfree_skb consume_skb netif_receive_skb net_dev_queue net_dev_xmit
block_rq_insert block_rq_issue block_rq_complete block_bio_queue block_bio_complete cgroup_attach_task
`
  .trim()
  .split(/\s+/);

/** Functions that programs are often attached to, and hooks of the security module (`bpf_lsm_…`). */
const FUNCTIONS = `
do_unlinkat do_rmdir do_sys_openat2 do_filp_open vfs_open vfs_read vfs_write vfs_fsync vfs_unlink vfs_create vfs_mkdir vfs_rename
vfs_statx filp_close tcp_connect tcp_v4_connect tcp_v6_connect tcp_close tcp_set_state tcp_sendmsg tcp_recvmsg tcp_rcv_established
inet_csk_accept inet_listen udp_sendmsg udp_recvmsg ip_queue_xmit __netif_receive_skb dev_queue_xmit kfree_skb_reason
wake_up_new_task do_exit begin_new_exec oom_kill_process blk_mq_start_request mark_page_accessed ksys_read ksys_write
bpf_lsm_file_open bpf_lsm_file_permission bpf_lsm_file_ioctl bpf_lsm_file_mprotect bpf_lsm_mmap_file bpf_lsm_bprm_check_security
bpf_lsm_bprm_committed_creds bpf_lsm_task_alloc bpf_lsm_task_kill bpf_lsm_task_setnice bpf_lsm_cred_prepare bpf_lsm_socket_create
bpf_lsm_socket_connect bpf_lsm_socket_bind bpf_lsm_socket_listen bpf_lsm_socket_sendmsg bpf_lsm_inode_create bpf_lsm_inode_unlink
bpf_lsm_inode_mkdir bpf_lsm_inode_rename bpf_lsm_inode_permission bpf_lsm_path_unlink bpf_lsm_path_mkdir bpf_lsm_path_rename
bpf_lsm_ptrace_access_check bpf_lsm_capable bpf_lsm_bpf bpf_lsm_sb_mount bpf_lsm_kernel_read_file
`
  .trim()
  .split(/\s+/);

const btf: Btf = parseBtf(new Uint8Array(readFileSync(process.argv[2] ?? '/sys/kernel/btf/vmlinux')));
type Group = readonly Member[];
type Member =
  | string
  | { readonly union: Group; readonly name: string }
  | { readonly struct: Group; readonly name: string };

const structs = new Map<string, readonly Member[]>();
const typedefs = new Map<string, string | readonly Member[]>();
const enums = new Map<string, readonly string[]>();
const MODIFIERS = new Set<BtfType['kind']>(['volatile', 'restrict', 'type_tag']);

function resolved(id: number): BtfType {
  let type = btf.type(id);
  while (MODIFIERS.has(type.kind) && 'type' in type) type = btf.type(type.type);
  return type;
}

/** Text of a type; `''` for functions, which become `void`. */
function text(id: number, byValue: boolean): string {
  const type = resolved(id);
  switch (type.kind) {
    case 'void':
    case 'func_proto':
      return 'void';
    case 'int':
      return type.name;
    case 'const':
      return `const ${text(type.type, byValue)}`;
    case 'ptr': {
      const to = text(type.type, false);
      return to.endsWith('*') ? `${to}*` : `${to} *`;
    }
    case 'typedef': {
      if (typedefs.has(type.name)) return type.name;
      const under = resolved(type.type);
      if ((under.kind === 'struct' || under.kind === 'union') && under.name === '') {
        typedefs.set(type.name, []);
        typedefs.set(type.name, membersOf(under, undefined));
      } else {
        typedefs.set(type.name, '');
        typedefs.set(type.name, text(type.type, byValue));
      }
      return type.name;
    }
    case 'enum':
      if (type.name === '') return 'unsigned int';
      enums.set(
        type.name,
        type.values.map(({ name, value }) => `${name} = ${value}`),
      );
      return `enum ${type.name}`;
    case 'struct':
    case 'union':
      if (type.name === '') return 'void';
      if (byValue) struct(type.name, '*');
      return `${type.kind === 'union' && !byValue ? 'union' : 'struct'} ${type.name}`;
    case 'fwd':
      return `${type.of} ${type.name}`;
    default:
      throw new Error(`${type.kind} is not expected`);
  }
}

/** Members by name. Bit-fields are left out, and what is anonymous around one member, or no other kind than what it stands in. */
function membersOf(composite: BtfComposite, wanted: ReadonlySet<string> | undefined): Member[] {
  const { kind: of } = composite;
  const rows: Member[] = [];
  for (const member of composite.members) {
    const type = resolved(member.type);
    const whole = wanted === undefined || wanted.has(member.name);
    if ('members' in type && type.name === '') {
      if (member.name !== '' && !whole) continue;
      const inner = membersOf(type, member.name === '' ? wanted : undefined);
      if (inner.length === 0) continue;
      if (member.name === '' && (inner.length === 1 || type.kind === of)) rows.push(...inner);
      else if (type.kind === 'union') rows.push({ union: inner, name: member.name });
      else rows.push({ struct: inner, name: member.name });
      continue;
    }
    if (member.bitSize !== 0 || !whole) continue;
    let at = type;
    let count = '';
    while (at.kind === 'array') {
      count += `[${at.count}]`;
      at = resolved(at.type);
    }
    const element = count === '' ? member.type : elementOf(member.type);
    const row = declared(text(element, true), `${member.name}${count}`);
    const [, byValue] = /^struct (\w+) [^*]/.exec(row) ?? [];
    if (byValue !== undefined && structs.get(byValue)?.length === 0) continue;
    rows.push(row);
  }
  return rows;
}

function elementOf(id: number): number {
  let at = id;
  for (let type = resolved(at); type.kind === 'array'; type = resolved(at)) at = type.type;
  return at;
}

const declared = (type: string, name: string): string =>
  type.endsWith('*') ? `${type}${name}` : `${type} ${name}`;

function struct(name: string, fallback?: string): void {
  if (structs.has(name)) return;
  const wanted = STRUCTS[name] ?? fallback;
  if (wanted === undefined) return;
  const id = btf.find(name, 'struct') ?? btf.find(name, 'union');
  if (id === undefined) {
    console.error(`not in this BTF: struct ${name}`);
    return;
  }
  const type = btf.type(id);
  if (!('members' in type)) return;
  structs.set(name, []);
  const names = wanted === '*' ? undefined : new Set(wanted.trim().split(/\s+/));
  const rows = membersOf(type as BtfComposite, names);
  structs.set(name, rows);
  for (const one of names ?? [])
    if (!JSON.stringify(rows).includes(` ${one}`) && !JSON.stringify(rows).includes(`*${one}`))
      console.error(`not there: ${name}.${one}`);
}

for (const name of Object.keys(STRUCTS)) struct(name);
for (const name of TYPEDEFS) {
  const id = btf.find(name, 'typedef');
  if (id === undefined) console.error(`not in this BTF: typedef ${name}`);
  else text(id, true);
}
const tracepoints: [string, readonly string[]][] = [];
for (const name of TRACEPOINTS) {
  const id = btf.find(`btf_trace_${name}`, 'typedef');
  const typedef = id === undefined ? undefined : btf.type(id);
  const pointer = typedef?.kind === 'typedef' ? resolved(typedef.type) : undefined;
  const proto = pointer?.kind === 'ptr' ? resolved(pointer.type) : undefined;
  if (proto?.kind !== 'func_proto') {
    console.error(`not in this BTF: tracepoint ${name}`);
    continue;
  }
  tracepoints.push([
    name,
    proto.params.slice(1).map((param, i) => declared(text(param.type, false), param.name || `arg${i}`)),
  ]);
}

const functions: [string, string][] = [];
for (const name of FUNCTIONS) {
  const id = btf.find(name, 'func');
  const func = id === undefined ? undefined : btf.type(id);
  const proto = func?.kind === 'func' ? resolved(func.type) : undefined;
  if (proto?.kind !== 'func_proto') {
    console.error(`not in this BTF: function ${name}`);
    continue;
  }
  const params = proto.params.map((param, i) => declared(text(param.type, false), param.name || `arg${i}`));
  functions.push([name, `${declared(text(proto.returnType, false), name)}(${params.join(', ')})`]);
}

type Value = string | readonly Member[];

function quote(value: Value | Member): string {
  if (typeof value === 'string') return `'${value}'`;
  if ('union' in value) return `{ union: ${quote(value.union)}, name: '${value.name}' }`;
  if ('struct' in value) return `{ struct: ${quote(value.struct)}, name: '${value.name}' }`;
  return `[${value.map(quote).join(', ')}]`;
}

const record = (name: string, comment: string, type: string, rows: Iterable<readonly [string, Value]>) =>
  `/** ${comment} */\nexport const ${name}: Readonly<Record<string, ${type}>> = {\n${[...rows]
    .filter(([, value]) => value.length > 0)
    .map(([key, value]) => `  ${key}: ${quote(value)},`)
    .join('\n')}\n};\n`;

writeFileSync(
  OUT,
  `// GENERATED by \`npx tsx tools/generate-kernel-types.ts\`. Do not edit.
// Linux ${release().replace(/^(\d+\.\d+).*/, '$1')} (x86-64): /sys/kernel/btf/vmlinux

/** A declaration as in C, or a struct or union without a type name. */
export type KernelMember =
  | string
  | { readonly union: readonly KernelMember[]; readonly name: string }
  | { readonly struct: readonly KernelMember[]; readonly name: string };

${record('KERNEL_OBJECTS', 'Members that are kept, in order, as C declares them.', 'readonly KernelMember[]', structs)}
${record('KERNEL_TYPEDEFS', 'What a name stands for; a list: the members of a struct without a name.', 'string | readonly KernelMember[]', typedefs)}
${record('KERNEL_ENUMS', 'Enumerators with their values.', 'readonly string[]', enums)}
${record('KERNEL_TRACEPOINTS', 'Arguments of raw tracepoints.', 'readonly string[]', tracepoints)}
${record('KERNEL_FUNCTIONS', 'Prototypes of functions that programs are attached to.', 'string', functions)}`,
);
console.log(
  `${structs.size} structs, ${typedefs.size} typedefs, ${enums.size} enums, ${tracepoints.length} tracepoints`,
);
