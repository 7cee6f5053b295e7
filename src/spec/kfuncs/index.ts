/** Kernel functions that programs may call: rows by name, and which row a program gets. */
import { COMMON_KFUNCS } from './common.ts';
import { CPUMASK_KFUNCS } from './cpumask.ts';
import { GENERIC_KFUNCS } from './generic.ts';
import { NET_KFUNCS } from './net.ts';
import { HOOK_TYPES_SINCE, rowOfRelease } from './older.ts';
import { OTHER_KFUNCS } from './other.ts';
import type { KfuncHook, KfuncRow } from './row.ts';
import { SCHED_EXT_KFUNCS } from './sched-ext.ts';

export { nameBeforeRenaming } from './older.ts';
export { KFUNC_CALLBACKS, KFUNC_PROTOTYPES, KFUNC_STRUCTS } from './prototypes.ts';
export type { KfuncEffects, KfuncFlag, KfuncHook, KfuncRow } from './row.ts';
export { kfuncSince } from './since.ts';

/** All rows; a function that two sets have with different flags has two. */
export const KFUNCS: readonly KfuncRow[] = [
  ...COMMON_KFUNCS,
  ...GENERIC_KFUNCS,
  ...CPUMASK_KFUNCS,
  ...NET_KFUNCS,
  ...SCHED_EXT_KFUNCS,
  ...OTHER_KFUNCS,
];

/** The set of a program type (bpf_prog_type_to_kfunc_hook); types without one may call the common functions only. */
const HOOKS: Readonly<Record<string, KfuncHook>> = {
  xdp: 'xdp',
  sched_cls: 'tc',
  sched_act: 'sched_act',
  struct_ops: 'struct_ops',
  tracing: 'tracing',
  tracepoint: 'tracing',
  perf_event: 'tracing',
  lsm: 'tracing',
  syscall: 'syscall',
  cgroup_skb: 'cgroup',
  cgroup_sock: 'cgroup',
  cgroup_device: 'cgroup',
  cgroup_sock_addr: 'cgroup',
  cgroup_sockopt: 'cgroup',
  cgroup_sysctl: 'cgroup',
  sock_ops: 'cgroup',
  sk_skb: 'sk_skb',
  socket_filter: 'socket_filter',
  lwt_out: 'lwt',
  lwt_in: 'lwt',
  lwt_xmit: 'lwt',
  lwt_seg6local: 'lwt',
  netfilter: 'netfilter',
  kprobe: 'kprobe',
};

let byName: Map<string, KfuncRow[]> | undefined;

/** Rows of that name; none for functions that no program may call. */
export function kfuncsByName(name: string): readonly KfuncRow[] {
  if (byName === undefined) {
    byName = new Map();
    for (const row of KFUNCS) {
      const rows = byName.get(row.name);
      if (rows === undefined) byName.set(row.name, [row]);
      else rows.push(row);
    }
  }
  return byName.get(name) ?? [];
}

/** Who asks: names of spec rows; `structOps` is the struct whose member the program is. */
export interface KfuncCaller {
  readonly progType: string;
  readonly attachType?: string;
  readonly structOps?: string;
}

function permits(row: KfuncRow, caller: KfuncCaller): boolean {
  if (row.progTypes !== undefined && !row.progTypes.includes(caller.progType)) return false;
  if (row.attachTypes !== undefined && !row.attachTypes.includes(caller.attachType ?? '')) return false;
  return row.structOps === undefined || row.structOps.includes(caller.structOps ?? '');
}

/**
 * The row of the function for a program; undefined where it may not call it. `isSince` says whether the kernel has what came
 * with a release; without, it is the newest.
 */
export function kfuncFor(
  name: string,
  caller: KfuncCaller,
  isSince?: (release: string) => boolean,
): KfuncRow | undefined {
  const typeSince = HOOK_TYPES_SINCE[caller.progType];
  const known = isSince === undefined || typeSince === undefined || isSince(typeSince);
  const hook = known ? HOOKS[caller.progType] : undefined;
  const rows = kfuncsByName(name);
  return (isSince === undefined ? rows : rows.map((row) => rowOfRelease(row, isSince))).find(
    (row) =>
      row.hooks.includes('common') ||
      (hook !== undefined && row.hooks.includes(hook) && permits(row, caller)),
  );
}
