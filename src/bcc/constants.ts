import { PERF_HW_ID, PERF_SW_IDS, PERF_TYPE } from '../uapi/index.ts';

type Without<Prefix extends string, T> = {
  readonly [K in keyof T as K extends `${Prefix}${infer Rest}` ? Rest : never]: T[K];
};

/** The same numbers, by the rest of their names. */
function without<const Prefix extends string, T extends Readonly<Record<string, number>>>(
  prefix: Prefix,
  table: T,
): Without<Prefix, T> {
  const entries = Object.entries(table).map(([name, value]) => [name.slice(prefix.length), value]);
  return Object.fromEntries(entries) as Without<Prefix, T>;
}

/** `PerfType.SOFTWARE`, for `attachPerfEvent` and `openPerfEvent`. */
export const PerfType = without('PERF_TYPE_', PERF_TYPE);
export const PerfHWConfig = without('PERF_COUNT_HW_', PERF_HW_ID);
export const PerfSWConfig = without('PERF_COUNT_SW_', PERF_SW_IDS);

/** Names that BCC's users write as `BPF.XDP`: types of programs, verdicts and flags of XDP. */
// biome-ignore lint/complexity/noStaticOnlyClass: BPF has them from here
export class Constants {
  // Types of programs for `loadFunc`.
  static readonly SOCKET_FILTER = 'socket_filter';
  static readonly KPROBE = 'kprobe';
  static readonly SCHED_CLS = 'sched_cls';
  static readonly SCHED_ACT = 'sched_act';
  static readonly TRACEPOINT = 'tracepoint';
  static readonly XDP = 'xdp';
  static readonly PERF_EVENT = 'perf_event';
  static readonly CGROUP_SKB = 'cgroup_skb';
  static readonly CGROUP_SOCK = 'cgroup_sock';
  static readonly LWT_IN = 'lwt_in';
  static readonly LWT_OUT = 'lwt_out';
  static readonly LWT_XMIT = 'lwt_xmit';
  static readonly SOCK_OPS = 'sock_ops';
  static readonly SK_SKB = 'sk_skb';
  static readonly CGROUP_DEVICE = 'cgroup_device';
  static readonly SK_MSG = 'sk_msg';
  static readonly RAW_TRACEPOINT = 'raw_tracepoint';
  static readonly CGROUP_SOCK_ADDR = 'cgroup_sock_addr';
  static readonly TRACING = 'tracing';
  static readonly LSM = 'lsm';
  // Verdicts of XDP.
  static readonly XDP_ABORTED = 0;
  static readonly XDP_DROP = 1;
  static readonly XDP_PASS = 2;
  static readonly XDP_TX = 3;
  static readonly XDP_REDIRECT = 4;
  // Flags of `attachXdp`.
  static readonly XDP_FLAGS_UPDATE_IF_NOEXIST = 1;
  static readonly XDP_FLAGS_SKB_MODE = 2;
  static readonly XDP_FLAGS_DRV_MODE = 4;
  static readonly XDP_FLAGS_HW_MODE = 8;
}
