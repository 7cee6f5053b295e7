/** Attaching through links: LINK_CREATE with the part of its attributes that the attach type has, and what is done to links. */
import type { Fd, LinkCreateAttr, LinkUpdateAttr } from '../contracts/kernel.ts';
import { attachTypeById } from '../spec/index.ts';
import { BPF_ATTACH_TYPE } from '../uapi/index.ts';
import { ERRNO } from '../util/errno.ts';
import { BpfError } from '../util/errors.ts';
import type { Frame } from './arena.ts';
import type { AttrValues } from './bpf.ts';
import type { Host } from './host.ts';
import { attachByIoctl } from './perf-events.ts';
import { isOlder } from './release.ts';

const A = BPF_ATTACH_TYPE;

type Part = (attr: LinkCreateAttr, frame: Frame) => AttrValues;

const TRACING: Part = (attr) => ({
  'tracing.targetBtfId': attr.targetBtfId,
  'tracing.cookie': attr.bpfCookie,
});
const KPROBES: Part = (attr, frame) => kprobeMulti(attr, frame);
const UPROBES: Part = (attr, frame) => uprobeMulti(attr, frame);
const TCX = relative('tcx');
const NETKIT = relative('netkit');

/** Attach type → its part of the union; all others are programs of cgroups and network namespaces. */
const PARTS: Readonly<Record<number, Part>> = {
  [A.BPF_PERF_EVENT]: (attr) => ({ 'perfEvent.bpfCookie': attr.bpfCookie }),
  [A.BPF_TRACE_RAW_TP]: TRACING,
  [A.BPF_TRACE_FENTRY]: TRACING,
  [A.BPF_TRACE_FEXIT]: TRACING,
  [A.BPF_MODIFY_RETURN]: TRACING,
  [A.BPF_LSM_MAC]: TRACING,
  [A.BPF_TRACE_ITER]: (attr, frame) => ({
    iterInfo: attr.iterInfo === undefined ? 0 : frame.put(attr.iterInfo).address,
    iterInfoLen: attr.iterInfo?.length,
  }),
  [A.BPF_TRACE_KPROBE_MULTI]: KPROBES,
  [A.BPF_TRACE_KPROBE_SESSION]: KPROBES,
  [A.BPF_TRACE_UPROBE_MULTI]: UPROBES,
  [A.BPF_TRACE_UPROBE_SESSION]: UPROBES,
  [A.BPF_NETFILTER]: (attr) => ({
    'netfilter.pf': attr.netfilter?.pf,
    'netfilter.hooknum': attr.netfilter?.hooknum,
    'netfilter.priority': attr.netfilter?.priority,
    'netfilter.flags': attr.netfilter?.flags,
  }),
  [A.BPF_TCX_INGRESS]: TCX,
  [A.BPF_TCX_EGRESS]: TCX,
  [A.BPF_NETKIT_PRIMARY]: NETKIT,
  [A.BPF_NETKIT_PEER]: NETKIT,
};
const CGROUP = relative('cgroup');

/** What a kernel must be built with for some attach types; without it, it answers EOPNOTSUPP. */
const CONFIGURED: Readonly<Record<number, string>> = {
  [A.BPF_TRACE_KPROBE_MULTI]: 'CONFIG_FPROBE',
  [A.BPF_TRACE_KPROBE_SESSION]: 'CONFIG_FPROBE',
  [A.BPF_NETKIT_PRIMARY]: 'CONFIG_NETKIT',
  [A.BPF_NETKIT_PEER]: 'CONFIG_NETKIT',
};

function relative(part: string): Part {
  return (attr) => ({
    ...(attr.relativeFd === undefined ? {} : { [`${part}.relativeFd`]: attr.relativeFd }),
    ...(attr.relativeId === undefined ? {} : { [`${part}.relativeId`]: attr.relativeId }),
    [`${part}.expectedRevision`]: attr.expectedRevision,
  });
}

function kprobeMulti({ kprobeMulti: multi }: LinkCreateAttr, frame: Frame): AttrValues {
  if (multi === undefined) return {};
  const { symbols, addresses, cookies } = multi;
  const count = symbols?.length ?? addresses?.length ?? 0;
  sameLength('cookies', cookies, count);
  return {
    'kprobeMulti.flags': multi.flags,
    'kprobeMulti.cnt': count,
    'kprobeMulti.syms':
      symbols === undefined ? 0 : frame.words(symbols.map((symbol) => frame.text(symbol).address)).address,
    'kprobeMulti.addrs': addresses === undefined ? 0 : frame.words(addresses).address,
    'kprobeMulti.cookies': cookies === undefined ? 0 : frame.words(cookies).address,
  };
}

function uprobeMulti({ uprobeMulti: multi }: LinkCreateAttr, frame: Frame): AttrValues {
  if (multi === undefined) return {};
  sameLength('cookies', multi.cookies, multi.offsets.length);
  sameLength('reference counter offsets', multi.refCtrOffsets, multi.offsets.length);
  const words = (values: readonly bigint[] | undefined) =>
    values === undefined ? 0 : frame.words(values).address;
  return {
    'uprobeMulti.path': frame.text(multi.path).address,
    'uprobeMulti.offsets': words(multi.offsets),
    'uprobeMulti.refCtrOffsets': words(multi.refCtrOffsets),
    'uprobeMulti.cookies': words(multi.cookies),
    'uprobeMulti.cnt': multi.offsets.length,
    'uprobeMulti.flags': multi.flags,
    'uprobeMulti.pid': multi.pid,
  };
}

/** The kernel takes one count for all arrays. */
function sameLength(what: string, values: readonly unknown[] | undefined, count: number): void {
  if (values !== undefined && values.length !== count)
    throw new BpfError('EINVAL', `${values.length} ${what} for ${count} probes`);
}

export function linkCreate(host: Host, attr: LinkCreateAttr): Fd {
  return host.bpf.scope((frame) => {
    const part = PARTS[attr.attachType] ?? CGROUP;
    const target = attr.targetIfindex === undefined ? attr.targetFd : undefined;
    const values: AttrValues = {
      ...(attr.mapFd === undefined ? { progFd: attr.progFd } : { mapFd: attr.mapFd }),
      ...(target === undefined ? { targetIfindex: attr.targetIfindex } : { targetFd: target }),
      attachType: attr.attachType,
      flags: attr.flags,
      ...part(attr, frame),
      ...(attr.targetBtfId !== undefined && part !== TRACING ? { targetBtfId: attr.targetBtfId } : {}),
    };
    const reply = host.bpf.try(frame, 'BPF_LINK_CREATE', values);
    if (reply.ret >= 0) return host.fds.own(reply.ret, { kind: 'link' });
    if (
      attr.attachType === A.BPF_PERF_EVENT &&
      reply.ret === -ERRNO.EINVAL &&
      isOlder(host.native.release, '5.15')
    )
      return attachByIoctl(host, attr.targetFd ?? -1, attr.progFd);
    throw refusal(host, attr, reply.ret, values);
  });
}

function refusal(host: Host, attr: LinkCreateAttr, ret: number, values: AttrValues): BpfError {
  const name = attachTypeById(attr.attachType)?.name.toLowerCase() ?? attr.attachType;
  const option = ret === -ERRNO.EOPNOTSUPP ? CONFIGURED[attr.attachType] : undefined;
  if (option === undefined) return host.bpf.error('BPF_LINK_CREATE', ret, values, `attach type ${name}`);
  return new BpfError(
    'EOPNOTSUPP',
    `this kernel is built without ${option}: no links of attach type ${name}`,
  );
}

export function linkUpdate(host: Host, attr: LinkUpdateAttr): void {
  host.bpf.simple('BPF_LINK_UPDATE', { ...attr });
}

export function rawTracepointOpen(
  host: Host,
  attr: { readonly name: string | null; readonly progFd: Fd; readonly cookie?: bigint },
): Fd {
  return host.bpf.scope((frame) => {
    const { ret } = host.bpf.run(
      frame,
      'BPF_RAW_TRACEPOINT_OPEN',
      {
        name: attr.name === null ? 0 : frame.text(attr.name).address,
        progFd: attr.progFd,
        cookie: attr.cookie,
      },
      attr.name === null ? 'the target of the program' : `raw tracepoint ${attr.name}`,
    );
    return host.fds.own(ret, { kind: 'link' });
  });
}
