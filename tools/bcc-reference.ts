/**
 * The names of BCC and what they are here: `npx tsx tools/bcc-reference.ts --write` puts the tables into docs/bcc.md. The names are those of BCC's
 * docs/reference_guide.md, of the macros in its helpers.h, of the methods that its rewriter knows and of the public methods of its Python
 * classes (BCC 6d0a964c). test/bcc/reference.test.ts compares the page with these rows, and the rows with the code: what is said to be there is.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What can be looked up of a name. */
export type Check =
  /** A macro of the dialect. */
  | 'macro'
  /** A function that programs call. */
  | 'function'
  /** How a function's name begins. */
  | 'prefix'
  /** A method of tables in C. */
  | 'method'
  /** In TypeScript: of the class, or of the kernel. */
  | 'BPF'
  | 'USDT'
  | 'Table'
  | 'Kernel'
  /** Of `tsbpf/bcc` itself. */
  | 'module';

export interface Row {
  readonly bcc: string;
  /** Name to look up here; absent where it is not there, and `note` says why. Several: all are. */
  readonly here?: string | readonly string[];
  readonly check?: Check;
  readonly note?: string;
}

export interface Section {
  readonly title: string;
  readonly check: Check;
  readonly rows: readonly Row[];
}

const same = (names: string, check?: Check): Row[] =>
  names.split(/\s+/).map((name) => ({ bcc: name, here: name, ...(check === undefined ? {} : { check }) }));

/** Python's name in JavaScript's spelling. */
const camel = (name: string): string =>
  name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const renamed = (names: string): Row[] =>
  names.split(/\s+/).map((name) => ({ bcc: name, here: camel(name) }));

const NO_C_TYPES = 'values are JavaScript values by the BTF of the program; there are no ctypes';

export const SECTIONS: readonly Section[] = [
  {
    title: 'C: programs',
    check: 'macro',
    rows: [
      ...same(
        'kprobe__ kretprobe__ tracepoint__ raw_tracepoint__ kfunc__ kretfunc__ kmod_ret__ lsm__ bpf_iter__',
        'prefix',
      ),
      {
        bcc: 'syscall__',
        note: 'arguments from the registers of the system call; attach it with `attachKprobe`',
      },
      ...same('TRACEPOINT_PROBE RAW_TRACEPOINT_PROBE KFUNC_PROBE KRETFUNC_PROBE KMOD_RET LSM_PROBE BPF_ITER'),
      {
        bcc: 'MODULE_KFUNC_PROBE',
        here: 'MODULE_KFUNC_PROBE',
        note: 'the module is found by the name of the function',
      },
      { bcc: 'MODULE_KRETFUNC_PROBE', here: 'MODULE_KRETFUNC_PROBE', note: 'the same' },
      ...same('TP_DATA_LOC_READ TP_DATA_LOC_READ_CONST TP_DATA_LOC_READ_STR'),
      ...same(
        'PT_REGS_PARM1 PT_REGS_PARM2 PT_REGS_PARM3 PT_REGS_PARM4 PT_REGS_PARM5 PT_REGS_PARM6 PT_REGS_RC PT_REGS_RET',
      ),
      ...same(
        'PT_REGS_FP PT_REGS_IP PT_REGS_SP PT_REGS_SYSCALL_CTX PT_REGS_PARM1_SYSCALL PT_REGS_PARM2_SYSCALL',
      ),
      ...same('PT_REGS_PARM3_SYSCALL PT_REGS_PARM4_SYSCALL PT_REGS_PARM5_SYSCALL PT_REGS_PARM6_SYSCALL'),
      { bcc: 'BPF_LICENSE', note: 'read from the text; GPL where there is none' },
      { bcc: 'bpf_usdt_readarg', here: 'bpf_usdt_readarg', note: 'one function may serve several probes' },
      { bcc: 'bpf_usdt_readarg_p', here: 'bpf_usdt_readarg_p' },
    ],
  },
  {
    title: 'C: data and output',
    check: 'function',
    rows: [
      ...same(
        'bpf_probe_read bpf_probe_read_str bpf_probe_read_kernel bpf_probe_read_kernel_str bpf_probe_read_user',
      ),
      ...same(
        'bpf_probe_read_user_str bpf_ktime_get_ns bpf_get_current_pid_tgid bpf_get_ns_current_pid_tgid',
      ),
      ...same(
        'bpf_get_current_uid_gid bpf_get_current_comm bpf_get_current_task bpf_get_prandom_u32 bpf_log2 bpf_log2l',
      ),
      ...same('bpf_override_return load_byte load_half load_word load_dword bpf_dext_pkt bpf_dins_pkt'),
      ...same('bpf_l3_csum_replace_ bpf_l4_csum_replace_'),
      { bcc: 'bpf_trace_printk', here: 'bpf_trace_printk', note: 'the length of the literal is put in' },
      ...same('bpf_num_cpus lock_xadd cursor_advance incr_cksum_l3 incr_cksum_l4 BPF_PACKET_HEADER', 'macro'),
      ...same('CUR_CPU_IDENTIFIER BPF_MAX_STACK_DEPTH MASK', 'macro'),
      { bcc: 'MASK128', note: 'there are no 128-bit integers' },
      { bcc: 'bcc/proto.h', note: 'all of its headers; `BPF_PACKET_HEADER` makes more' },
    ],
  },
  {
    title: 'C: tables',
    check: 'macro',
    rows: [
      ...same(
        'BPF_TABLE BPF_F_TABLE BPF_HASH BPF_PERCPU_HASH BPF_ARRAY BPF_PERCPU_ARRAY BPF_HISTOGRAM BPF_LPM_TRIE',
      ),
      { bcc: 'BPF_LRU_HASH', here: 'BPF_LRU_HASH', note: 'BCC has it by BPF_TABLE("lru_hash", …)' },
      ...same(
        'BPF_STACK_TRACE BPF_STACK_TRACE_BUILDID BPF_PERF_OUTPUT BPF_PERF_ARRAY BPF_RINGBUF_OUTPUT BPF_CGROUP_ARRAY',
      ),
      ...same(
        'BPF_PROG_ARRAY BPF_DEVMAP BPF_CPUMAP BPF_XSKMAP BPF_XDP_REDIRECT_MAP BPF_ARRAY_OF_MAPS BPF_HASH_OF_MAPS',
      ),
      ...same(
        'BPF_SK_STORAGE BPF_INODE_STORAGE BPF_TASK_STORAGE BPF_CGROUP_STORAGE BPF_PERCPU_CGROUP_STORAGE',
      ),
      ...same('BPF_SOCKMAP BPF_SOCKHASH BPF_QUEUE BPF_STACK BPF_QUEUESTACK BPF_QUEUESTACK_PINNED'),
      ...same('BPF_QUEUESTACK_PUBLIC BPF_QUEUESTACK_SHARED BPF_TABLE_PUBLIC BPF_TABLE_PINNED'),
      {
        bcc: 'BPF_TABLE_SHARED',
        here: 'BPF_TABLE_SHARED',
        note: 'shared with all programs of the process on that kernel: there are no namespaces of programs',
      },
      {
        bcc: 'BPF_ANNOTATE_KV_PAIR',
        here: 'BPF_ANNOTATE_KV_PAIR',
        note: 'nothing: keys and values have types',
      },
    ],
  },
  {
    title: 'C: methods of tables',
    check: 'method',
    rows: [
      ...same(
        'lookup lookup_or_try_init lookup_or_init update insert delete increment atomic_increment push pop peek',
      ),
      ...same(
        'perf_submit perf_submit_skb ringbuf_output ringbuf_reserve ringbuf_submit ringbuf_discard ringbuf_query',
      ),
      ...same(
        'get_stackid perf_read perf_counter_value call check_current_task redirect_map sock_map_update',
      ),
      ...same(
        'sock_hash_update msg_redirect_hash sk_redirect_hash sk_storage_get sk_storage_delete inode_storage_get',
      ),
      ...same('inode_storage_delete task_storage_get task_storage_delete get_local_storage'),
    ],
  },
  {
    title: 'Python: BPF',
    check: 'BPF',
    rows: [
      {
        bcc: 'BPF(text, src_file, cflags, usdt_contexts)',
        here: 'create',
        note: '`new BPF({ kernel, text, srcFile, cflags, usdtContexts })`',
      },
      {
        bcc: 'BPF(debug=…)',
        here: ['DEBUG_LLVM_IR', 'DEBUG_BPF', 'DEBUG_PREPROCESSOR', 'DEBUG_SOURCE'],
        check: 'module',
        note: '`debug`, to `writeError`; the IR is our compiler’s',
      },
      {
        bcc: 'DEBUG_BPF_REGISTER_STATE, DEBUG_BTF',
        here: ['DEBUG_BPF_REGISTER_STATE', 'DEBUG_BTF'],
        check: 'module',
        note: 'the second shows types of tables and events',
      },
      { bcc: 'BPF(device=…)', note: 'programs on NICs are not loaded through this front end' },
      { bcc: 'b["name"]', here: 'get' },
      ...renamed('get_table load_func load_funcs dump_func disassemble_func cleanup close'),
      { bcc: 'with BPF(…) as b', note: '`using b = new BPF(…)`' },
      { bcc: 'attach_kprobe(event, event_off, event_re, fn_name)', here: 'attachKprobe' },
      {
        bcc: 'attach_kretprobe(event, event_re, fn_name, maxactive)',
        here: 'attachKretprobe',
        note: 'the embedded kernel misses no return, whatever `maxactive` is',
      },
      {
        bcc: 'attach_uprobe(name, sym, sym_re, addr, sym_off, fn_name, pid)',
        here: 'attachUprobe',
        note: '`addr` is an offset in the file',
      },
      { bcc: 'attach_uretprobe', here: 'attachUretprobe' },
      { bcc: 'attach_tracepoint(tp, tp_re, fn_name)', here: 'attachTracepoint' },
      ...renamed('attach_raw_tracepoint attach_kfunc attach_kretfunc attach_fmod_ret attach_lsm'),
      {
        bcc: 'attach_perf_event(ev_type, ev_config, fn_name, sample_period, sample_freq, pid, cpu)',
        here: 'attachPerfEvent',
      },
      { bcc: 'attach_perf_event_raw', note: 'a `perf_event_attr` of one’s own is not passed on' },
      { bcc: 'attach_xdp(dev, fn, flags)', here: 'attachXdp', note: 'flags as a number, or `{ mode }`' },
      { bcc: 'remove_xdp', here: 'removeXdp' },
      {
        bcc: 'attach_raw_socket(fn, dev)',
        here: 'attachRawSocket',
        note: 'gives the socket; without `dev` one of all interfaces',
      },
      {
        bcc: 'fn.sock',
        here: 'packets',
        note: '`for await (const bytes of b.packets(socket))`, or `kernel.readFd(socket, size)`',
      },
      ...renamed('attach_func detach_func detach_kprobe detach_kretprobe detach_uprobe detach_uretprobe'),
      ...renamed(
        'detach_tracepoint detach_raw_tracepoint detach_kfunc detach_kretfunc detach_fmod_ret detach_lsm detach_perf_event',
      ),
      ...renamed('trace_print trace_fields'),
      { bcc: 'trace_open, trace_readline', here: 'tracePipe', check: 'Kernel', note: '`kernel.tracePipe()`' },
      {
        bcc: 'perf_buffer_poll(timeout)',
        here: 'perfBufferPoll',
        note: '`await`; `poll` waits for both kinds of buffers',
      },
      { bcc: 'ring_buffer_poll(timeout)', here: 'ringBufferPoll' },
      ...renamed('perf_buffer_consume ring_buffer_consume'),
      { bcc: 'kprobe_poll', here: 'perfBufferPoll', note: 'the older name' },
      { bcc: 'ksym(addr, show_module, show_offset)', here: 'ksym' },
      { bcc: 'ksymname', here: 'ksymname' },
      {
        bcc: 'sym(addr, pid, show_module, show_offset)',
        here: 'sym',
        note: 'names of C++ stay as the linker has them',
      },
      { bcc: 'num_open_kprobes', here: 'numOpenKprobes' },
      ...renamed('num_open_uprobes num_open_tracepoints get_probe_limit'),
      { bcc: 'get_syscall_fnname', here: 'getSyscallFnName' },
      { bcc: 'get_syscall_prefix', here: 'getSyscallPrefix' },
      { bcc: 'fix_syscall_fnname', here: 'fixSyscallFnName' },
      ...renamed(
        'get_kprobe_functions get_tracepoints get_user_functions get_user_functions_and_addresses get_user_addresses',
      ),
      ...renamed('tracepoint_exists find_library find_exe kernel_struct_has_field kernel_enum_has_val'),
      ...renamed(
        'support_kfunc support_fmod_ret support_lsm support_raw_tracepoint support_raw_tracepoint_in_module',
      ),
      { bcc: 'monotonic_time', here: 'monotonicTime' },
      { bcc: 'generate_auto_includes', note: 'includes bring types that are there anyway' },
      { bcc: 'decode_table', note: NO_C_TYPES },
      { bcc: 'add_module', note: 'symbols of modules are known' },
      { bcc: 'free_bcc_memory, donothing', note: 'there is no compiler’s memory to give back' },
      ...same(
        'SOCKET_FILTER KPROBE SCHED_CLS SCHED_ACT TRACEPOINT XDP PERF_EVENT CGROUP_SKB CGROUP_SOCK LWT_IN LWT_OUT',
      ),
      ...same('LWT_XMIT SOCK_OPS SK_SKB CGROUP_DEVICE SK_MSG RAW_TRACEPOINT CGROUP_SOCK_ADDR TRACING LSM'),
      ...same(
        'XDP_ABORTED XDP_DROP XDP_PASS XDP_TX XDP_REDIRECT XDP_FLAGS_UPDATE_IF_NOEXIST XDP_FLAGS_SKB_MODE',
      ),
      ...same('XDP_FLAGS_DRV_MODE XDP_FLAGS_HW_MODE'),
      { bcc: 'XDP_FLAGS_REPLACE', note: 'BCC does not support it either' },
      ...same('PerfType PerfHWConfig PerfSWConfig', 'module'),
      { bcc: 'BPFAttachType', note: '`attachFunc` takes the kernel’s names: `CGROUP_INET_EGRESS`' },
    ],
  },
  {
    title: 'Python: USDT',
    check: 'USDT',
    rows: [
      { bcc: 'USDT(pid, path)', here: 'enumerateProbes', note: '`new USDT({ kernel, pid, path })`' },
      ...renamed(
        'enable_probe enable_probe_or_bail enumerate_probes enumerate_active_probes get_probe_arg_ctype',
      ),
      {
        bcc: 'get_text',
        here: 'getText',
        note: 'places and operands as a comment: no C has to be generated',
      },
      { bcc: 'get_context', note: 'give the object itself' },
      { bcc: 'attach_uprobes', here: 'attachUsdt', check: 'BPF' },
      {
        bcc: 'get_location, get_argument',
        here: 'enumerateProbes',
        note: '`locations`, `arguments` of a probe',
      },
    ],
  },
  {
    title: 'Python: tables',
    check: 'Table',
    rows: [
      { bcc: 't[k]', here: 'get' },
      { bcc: 't[k] = v', here: 'set', note: 'program arrays take functions, maps of maps take tables' },
      { bcc: 'del t[k]', here: 'delete' },
      { bcc: 'len(t)', here: 'size' },
      { bcc: 'k in t', here: 'has' },
      ...renamed('items keys values clear zero next pop peek sum max average walk event'),
      {
        bcc: 'push(leaf, flags)',
        here: 'push',
        note: '`BPF_EXIST`: the oldest element goes where there is no room',
      },
      { bcc: 'iteritems, itervalues, iter', here: ['entries', 'values'] },
      { bcc: 'clearitem', here: 'clearItem' },
      { bcc: 'getvalue', here: 'get', note: 'per-CPU tables give one value a CPU' },
      { bcc: 'items_lookup_batch', here: 'itemsLookupBatch' },
      { bcc: 'items_lookup_and_delete_batch', here: 'itemsLookupAndDeleteBatch' },
      {
        bcc: 'items_update_batch(keys, values)',
        here: 'itemsUpdateBatch',
        note: 'pairs: `[[key, value], …]`',
      },
      { bcc: 'items_delete_batch(keys)', here: 'itemsDeleteBatch' },
      { bcc: 'print_log2_hist', here: ['printLog2Hist', 'log2Hist'], note: 'the second gives the text' },
      { bcc: 'print_linear_hist', here: ['printLinearHist', 'linearHist'] },
      {
        bcc: 'print_json_hist',
        here: ['printJsonHist', 'jsonHist'],
        note: 'objects in place of Python’s dictionaries',
      },
      {
        bcc: 'open_perf_buffer(callback, page_cnt, lost_cb)',
        here: 'openPerfBuffer',
        note: '`{ pageCount, onLost }`',
      },
      {
        bcc: 'open_ring_buffer(callback)',
        here: 'openRingBuffer',
        note: '`{ onLost }`, which BCC cannot tell: `BPF_RINGBUF_OUTPUT` tables count what they had no room for (`lost`)',
      },
      {
        bcc: 'open_perf_event(typ, config, pid)',
        here: 'openPerfEvent',
        note: 'host only: the embedded kernel has no counters',
      },
      { bcc: 'get_fd', here: 'map', note: '`table.map.fd`' },
      { bcc: 'key_sprintf, leaf_sprintf, key_scanf, leaf_scanf', note: NO_C_TYPES },
      { bcc: 'Key, Leaf', note: NO_C_TYPES },
      { bcc: 'decode_c_struct', note: NO_C_TYPES },
    ],
  },
];

const names = (here: Row['here']): readonly string[] =>
  here === undefined ? [] : typeof here === 'string' ? [here] : here;

/** The names to look up of a row. */
export const namesOf = (row: Row): readonly string[] => names(row.here);

/** All sections as tables; rows that are the same here share a line. */
export function markdown(): string {
  return SECTIONS.map(({ title, check, rows }) => {
    const plain = rows
      .filter((row) => row.note === undefined && row.here === row.bcc)
      .map((row) => `\`${row.bcc}\``);
    const others = rows.filter((row) => !(row.note === undefined && row.here === row.bcc));
    const lines = others.map((row) => {
      const bcc =
        row.bcc.split(', ').length > 1 && !row.bcc.includes('(')
          ? row.bcc
              .split(', ')
              .map((one) => `\`${one}\``)
              .join(', ')
          : `\`${row.bcc}\``;
      const here =
        namesOf(row)
          .map((name) => `\`${name}\``)
          .join(', ') || '–';
      return `| ${bcc} | ${here} | ${row.note ?? ''} |`;
    });
    const under = check === 'BPF' || check === 'Table' || check === 'USDT' ? 'BCC in Python' : 'BCC';
    return [
      `### ${title}`,
      ...(plain.length === 0 ? [] : [`The same here: ${plain.join(', ')}.`]),
      ...(lines.length === 0 ? [] : [[`| ${under} | here | |`, '|---|---|---|', ...lines].join('\n')]),
    ].join('\n\n');
  }).join('\n\n');
}

export const BEGIN = '<!-- made by tools/bcc-reference.ts -->';
export const END = '<!-- end -->';
const PAGE = fileURLToPath(new URL('../docs/bcc.md', import.meta.url));

if (process.argv[1] === fileURLToPath(import.meta.url) && process.argv.includes('--write')) {
  const text = readFileSync(PAGE, 'utf8');
  const [before] = text.split(BEGIN);
  const after = text.split(END)[1];
  if (after === undefined) throw new Error(`${PAGE} has no place for the tables`);
  writeFileSync(PAGE, `${before}${BEGIN}\n\n${markdown()}\n\n${END}${after}`);
}
