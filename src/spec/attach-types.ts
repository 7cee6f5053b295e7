/** Attach types of the UAPI (enum bpf_attach_type) by number and by name without `BPF_`: `XDP`, `TRACE_FENTRY`. */
import { BPF_ATTACH_TYPE, BPF_LINK_TYPE } from '../uapi/index.ts';

export interface AttachTypeRow {
  readonly id: number;
  /** `TRACE_FENTRY` */
  readonly name: string;
  /** `BPF_TRACE_FENTRY` */
  readonly constant: string;
  /** Programs of sections with `attachBtf`: what their target is called in the kernel's BTF. */
  readonly target: BtfTarget;
  /** First release with it. */
  readonly since: string;
  /** First release in which LINK_CREATE takes it; before, programs are attached in another way. */
  readonly linkSince: string;
  /** PROG_TEST_RUN refuses programs for it: they run inside of maps only. */
  readonly noTestRun: boolean;
}

/** `prefix` + the name after the section's slash, of that kind. */
export interface BtfTarget {
  readonly prefix: string;
  readonly kind: 'func' | 'typedef';
}

const FUNCTION: BtfTarget = { prefix: '', kind: 'func' };

const IN_MAPS = new Set(['XDP_DEVMAP', 'XDP_CPUMAP']);

/** Targets that are not the function of that name. */
const TARGETS: Readonly<Record<string, BtfTarget>> = {
  TRACE_RAW_TP: { prefix: 'btf_trace_', kind: 'typedef' },
  LSM_MAC: { prefix: 'bpf_lsm_', kind: 'func' },
  LSM_CGROUP: { prefix: 'bpf_lsm_', kind: 'func' },
  TRACE_ITER: { prefix: 'bpf_iter_', kind: 'func' },
};

/** Numbers are handed out in order: a release holds for the types from the named one up to the next. */
const SINCE: Readonly<Record<string, string>> = {
  CGROUP_INET_INGRESS: '4.10',
  CGROUP_SOCK_OPS: '4.13',
  SK_SKB_STREAM_PARSER: '4.14',
  CGROUP_DEVICE: '4.15',
  SK_MSG_VERDICT: '4.17',
  CGROUP_UDP4_SENDMSG: '4.18',
  FLOW_DISSECTOR: '4.20',
  CGROUP_SYSCTL: '5.2',
  CGROUP_GETSOCKOPT: '5.3',
  TRACE_RAW_TP: '5.5',
  MODIFY_RETURN: '5.7',
  TRACE_ITER: '5.8',
  CGROUP_INET_SOCK_RELEASE: '5.9',
  SK_SKB_VERDICT: '5.13',
  SK_REUSEPORT_SELECT: '5.14',
  PERF_EVENT: '5.15',
  TRACE_KPROBE_MULTI: '5.18',
  LSM_CGROUP: '6.0',
  STRUCT_OPS: '6.4',
  TCX_INGRESS: '6.6',
  CGROUP_UNIX_CONNECT: '6.7',
  TRACE_KPROBE_SESSION: '6.10',
  TRACE_UPROBE_SESSION: '6.13',
};

/** Where links came later than the attach type itself; the command LINK_CREATE is of 5.7. */
const LINK_SINCE: Readonly<Record<string, string>> = {
  FLOW_DISSECTOR: '5.8',
  SK_SKB_STREAM_PARSER: '6.10',
  SK_SKB_STREAM_VERDICT: '6.10',
  SK_SKB_VERDICT: '6.10',
  SK_MSG_VERDICT: '6.10',
  TRACE_RAW_TP: '5.19',
  TRACE_FENTRY: '5.19',
  TRACE_FEXIT: '5.19',
  MODIFY_RETURN: '5.19',
  LSM_MAC: '5.19',
};

export const ATTACH_TYPES: readonly AttachTypeRow[] = attachTypes();

function attachTypes(): AttachTypeRow[] {
  let since = '';
  return Object.entries(BPF_ATTACH_TYPE)
    .filter(([constant]) => !constant.startsWith('__'))
    .map(([constant, id]) => {
      const name = constant.replace(/^BPF_/, '');
      since = SINCE[name] ?? since;
      const linkSince = LINK_SINCE[name] ?? since;
      const target = TARGETS[name] ?? FUNCTION;
      return { id, name, constant, target, since, linkSince, noTestRun: IN_MAPS.has(name) };
    });
}

const BY_NAME: ReadonlyMap<string, AttachTypeRow> = new Map(ATTACH_TYPES.map((row) => [row.name, row]));

export function attachTypeById(id: number): AttachTypeRow | undefined {
  return ATTACH_TYPES[id];
}

/** By name, with or without `BPF_`, in either case. */
export function attachTypeByName(name: string): AttachTypeRow | undefined {
  return BY_NAME.get(name.toUpperCase().replace(/^BPF_/, ''));
}

const LINK_TYPE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(BPF_LINK_TYPE)
    .filter(([constant]) => !constant.startsWith('__'))
    .map(([constant, id]) => [id, constant.replace(/^BPF_LINK_TYPE_/, '').toLowerCase()]),
);

/** bpftool's name of a link type: `perf_event`, `xdp`. */
export function linkTypeName(id: number): string | undefined {
  return LINK_TYPE_NAMES.get(id);
}
