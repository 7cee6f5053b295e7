/** The kinds of attachment: one row for each value of the section table's `attach` field. A kind without a row is a compile error. */
import { CGROUP } from './cgroup.ts';
import { ITER } from './iter.ts';
import { KPROBE, KRETPROBE, KRETSYSCALL, KSYSCALL } from './kprobe.ts';
import { KPROBE_MULTI, KPROBE_SESSION, KRETPROBE_MULTI } from './kprobe-multi.ts';
import { FLOW_DISSECTOR, NETFILTER, NETKIT, SK_LOOKUP, TCX } from './network.ts';
import { PERF_EVENT } from './perf-event.ts';
import { RAW_TRACEPOINT } from './raw-tracepoint.ts';
import { SOCKMAP } from './sockmap.ts';
import { STRUCT_OPS } from './struct-ops.ts';
import { FREPLACE, TRACE } from './trace.ts';
import { TRACEPOINT } from './tracepoint.ts';
import type { AttachKind, AttachRow } from './types.ts';
import { UPROBE, URETPROBE } from './uprobe.ts';
import { UPROBE_MULTI, UPROBE_SESSION, URETPROBE_MULTI } from './uprobe-multi.ts';
import { USDT } from './usdt.ts';
import { XDP } from './xdp.ts';

export const ATTACHERS: Readonly<Record<AttachKind, AttachRow>> = {
  kprobe: KPROBE,
  kretprobe: KRETPROBE,
  ksyscall: KSYSCALL,
  kretsyscall: KRETSYSCALL,
  kprobe_multi: KPROBE_MULTI,
  kretprobe_multi: KRETPROBE_MULTI,
  kprobe_session: KPROBE_SESSION,
  uprobe: UPROBE,
  uretprobe: URETPROBE,
  uprobe_multi: UPROBE_MULTI,
  uretprobe_multi: URETPROBE_MULTI,
  uprobe_session: UPROBE_SESSION,
  usdt: USDT,
  tracepoint: TRACEPOINT,
  raw_tracepoint: RAW_TRACEPOINT,
  trace: TRACE,
  lsm: TRACE,
  freplace: FREPLACE,
  perf_event: PERF_EVENT,
  iter: ITER,
  xdp: XDP,
  tcx: TCX,
  netkit: NETKIT,
  cgroup: CGROUP,
  sockmap: SOCKMAP,
  sk_lookup: SK_LOOKUP,
  flow_dissector: FLOW_DISSECTOR,
  netfilter: NETFILTER,
  struct_ops: STRUCT_OPS,
};
