/** What the kinds of attachment share: what they are told, what they attach, what they give back. */
import type { Fd, Kernel } from '../../contracts/kernel.ts';
import type { SectionRow } from '../../spec/index.ts';
import type { BpfLink } from '../link.ts';
import type { BpfMap } from '../map.ts';

export type AttachKind = NonNullable<SectionRow['attach']>;

/** Something with a descriptor: a program, a link, a map. */
export interface HasFd {
  readonly fd: Fd;
}

/** A perf event to sample by (perf_event_open(2)). `type` and `config`: PERF_TYPE_*, PERF_COUNT_*. */
export interface SamplingOptions {
  readonly type: number;
  readonly config: bigint;
  /** One sample every so many events; for clocks: nanoseconds. */
  readonly period?: bigint;
  /** Samples a second, instead of `period`. */
  readonly frequency?: number;
  /** One CPU only; default all that are online, or with `pid` wherever the process runs. */
  readonly cpu?: number;
}

export interface IterOptions {
  /** Elements of this map (`iter/bpf_map_elem`, `iter/bpf_sk_storage_map`). */
  readonly map?: HasFd;
  /** Tasks and what they have: one thread, or all threads of one process. */
  readonly tid?: number;
  readonly pid?: number;
  /** `iter/cgroup`: from this cgroup on, in this order. */
  readonly cgroup?: string | Fd;
  readonly order?: 'self_only' | 'descendants_pre' | 'descendants_post' | 'ancestors_up';
}

export interface NetfilterOptions {
  /** NFPROTO_IPV4 (2), NFPROTO_IPV6 (10) */
  readonly pf: number;
  /** NF_INET_* */
  readonly hooknum: number;
  readonly priority: number;
  /** Packets are put together before the program sees them. */
  readonly defrag?: boolean;
}

/** Names are those of libbpf's option structs; each kind takes what it has a use for. */
export interface AttachOptions {
  /** Overrides what stands behind the `/` of the section: function, `category/tracepoint`, `binary:function+offset`. */
  readonly target?: string;
  /** Network interface by name or index: XDP, tcx, tc, netkit. */
  readonly interface?: string | number;
  /** Which of the three places of XDP; default: the kernel's choice. */
  readonly xdpMode?: 'skb' | 'native' | 'hw';
  /** Only events of this process. */
  readonly pid?: number;
  /** bpf_get_attach_cookie, bpf_usdt_cookie */
  readonly cookie?: bigint;
  /** kretprobe: how many calls may be under way at once, at most 4096; default: the kernel's choice. */
  readonly maxactive?: number;
  /** Offset of the semaphore that the probe counts up (uprobe), bytes in the file. */
  readonly refCtrOffset?: bigint;
  // Multi-probes: instead of a pattern behind the section's `/`.
  readonly symbols?: readonly string[];
  readonly addresses?: readonly bigint[];
  readonly offsets?: readonly bigint[];
  readonly refCtrOffsets?: readonly bigint[];
  readonly cookies?: readonly bigint[];
  /** A cgroup (v2) by path or descriptor. */
  readonly cgroup?: string | Fd;
  /** A network namespace by path (`/proc/self/ns/net`, `/run/netns/NAME`) or descriptor. */
  readonly netns?: string | Fd;
  /** sk_skb, sk_msg: the sockmap. */
  readonly map?: BpfMap | HasFd;
  /** Where the section leaves it open (`cgroup/skb`): `CGROUP_INET_EGRESS`. */
  readonly attachType?: string;
  readonly perfEvent?: SamplingOptions;
  readonly iter?: IterOptions;
  readonly netfilter?: NetfilterOptions;
  /** freplace: the program whose function is replaced, where that was not said at load. */
  readonly replaced?: HasFd;
  // Order among several programs of one place (tcx, netkit, cgroup): BPF_F_BEFORE, BPF_F_AFTER, BPF_F_ID, BPF_F_LINK.
  readonly flags?: number;
  readonly relativeFd?: Fd;
  readonly relativeId?: number;
  readonly expectedRevision?: bigint;
}

/** A loaded program as the attachers see it. */
export interface Attachable {
  readonly name: string;
  readonly fd: Fd;
  /** What stands behind the section's `/`. */
  readonly attachTo: string | undefined;
  /** Of the section: `TCX_INGRESS`. */
  readonly attachType?: string | undefined;
  /** Maps of its object, for kinds that keep something there. */
  readonly maps?: ObjectMaps | undefined;
}

/** One for each object: what is kept for an object hangs on it. */
export interface ObjectMaps {
  find(name: string): BpfMap | undefined;
}

export type Attacher = (kernel: Kernel, program: Attachable, options: AttachOptions) => BpfLink;

export interface AttachRow {
  readonly attach: Attacher;
  /**
   * Whether enough is known to attach it when the whole object is attached: bare sections (`SEC("tracepoint")`: targets of tail
   * calls, or programs that the caller attaches by hand) are left out, as libbpf leaves them out.
   */
  readonly ready: (options: AttachOptions, target: string | undefined) => boolean;
}
