/**
 * perf_event_open(2): the events that programs hang on (tracepoints, probes, samples) and the rings behind PERF_EVENT_ARRAY.
 * Types and bits of probes are what /sys/bus/event_source says, as they differ between kernels.
 */
import { readFileSync } from 'node:fs';
import type { Fd, PerfEventAttr } from '../contracts/kernel.ts';
import { PERF_SAMPLE, PERF_SW_IDS, PERF_TYPE, UAPI_LAYOUTS } from '../uapi/index.ts';
import { errnoName } from '../util/errno.ts';
import { BpfError } from '../util/errors.ts';
import type { Frame } from './arena.ts';
import { errnoText, hintFor } from './bpf.ts';
import type { Host } from './host.ts';
import { type FieldValue, Struct } from './layout.ts';
import { hasProbeEvents, makeProbeEvent, type ProbeEvent, type ProbeKind } from './probe-events.ts';

const PERF_FLAG_FD_CLOEXEC = 8;
/** _IO('$', 0) and _IOW('$', 8, u32) of linux/perf_event.h. */
const PERF_EVENT_IOC_ENABLE = 0x2400;
const PERF_EVENT_IOC_SET_BPF = 0x4004_2408;
const F_DUPFD_CLOEXEC = 1030;
const REF_CTR_OFFSET_SHIFT = 32n;
const ALL = -1;

interface Opening {
  readonly fields: Readonly<Record<string, FieldValue | undefined>>;
  readonly pid?: number | undefined;
  readonly cpu?: number | undefined;
  /** For messages. */
  readonly what: string;
  /** What was made for this event and goes with it. */
  readonly event?: ProbeEvent;
}

type Kind = PerfEventAttr['kind'];
type OfKind<K extends Kind> = Extract<PerfEventAttr, { kind: K }>;

const OPENINGS: { readonly [K in Kind]: (host: Host, frame: Frame, attr: OfKind<K>) => Opening } = {
  bpf_output: (_host, _frame, attr) => {
    if (!Number.isInteger(attr.pages) || attr.pages < 1 || (attr.pages & (attr.pages - 1)) !== 0)
      throw new BpfError('EINVAL', `a perf ring needs a power of two of data pages, not ${attr.pages}`);
    return {
      fields: {
        type: PERF_TYPE.PERF_TYPE_SOFTWARE,
        config: PERF_SW_IDS.PERF_COUNT_SW_BPF_OUTPUT,
        sample_type: PERF_SAMPLE.PERF_SAMPLE_RAW,
        sample_period: 1,
        wakeup_events: attr.wakeupEvents ?? 1,
      },
      pid: attr.pid,
      cpu: attr.cpu,
      what: `a ring for CPU ${attr.cpu}`,
    };
  },
  tracepoint: (host, _frame, attr) => ({
    fields: {
      type: PERF_TYPE.PERF_TYPE_TRACEPOINT,
      config: host.tracefs.eventId(attr.category, attr.name),
    },
    pid: attr.pid,
    cpu: attr.cpu,
    what: `tracepoint ${attr.category}/${attr.name}`,
  }),
  kprobe: (host, frame, attr) => {
    const offset = attr.offset ?? 0n;
    return probe(host, 'kprobe', attr.retprobe === true, {
      fields: { kprobe_func: frame.text(attr.symbol).address, probe_offset: offset },
      place: offset === 0n ? attr.symbol : `${attr.symbol}+0x${offset.toString(16)}`,
      what: `${attr.retprobe ? 'kretprobe' : 'kprobe'} ${attr.symbol}`,
      maxactive: attr.retprobe === true ? (attr.maxactive ?? 0) : 0,
    });
  },
  uprobe: (host, frame, attr) => {
    const counter = attr.refCtrOffset ?? 0n;
    const place = `${attr.path}:0x${attr.offset.toString(16)}`;
    const opening = probe(host, 'uprobe', attr.retprobe === true, {
      fields: { uprobe_path: frame.text(attr.path).address, probe_offset: attr.offset },
      config: counter << REF_CTR_OFFSET_SHIFT,
      place: counter === 0n ? place : `${place}(0x${counter.toString(16)})`,
      what: `${attr.retprobe ? 'uretprobe' : 'uprobe'} ${attr.path}+0x${attr.offset.toString(16)}`,
    });
    return { ...opening, pid: attr.pid };
  },
  sampling: (_host, _frame, attr) => ({
    fields: {
      type: attr.type,
      config: attr.config,
      ...(attr.frequency === undefined
        ? { sample_period: attr.period ?? 1n }
        : { sample_freq: attr.frequency, freq: 1 }),
    },
    pid: attr.pid,
    cpu: attr.cpu,
    what: `sampling type ${attr.type} config ${attr.config}`,
  }),
};

/** By perf_event_open itself, else by an event of tracefs; that alone takes a number of calls under way. */
function probe(
  host: Host,
  kind: ProbeKind,
  retprobe: boolean,
  where: Opening & { readonly config?: bigint; readonly place: string; readonly maxactive?: number },
): Opening {
  const { fields, config = 0n, place, what, maxactive = 0 } = where;
  const pmu = maxactive === 0 ? probePmu(kind) : undefined;
  if (pmu !== undefined) {
    const flag = retprobe ? pmu.retprobe : 0n;
    return { fields: { ...fields, type: pmu.type, config: flag | config }, what };
  }
  let event: ProbeEvent;
  try {
    event = makeProbeEvent(host, kind, place, retprobe, maxactive);
  } catch (error) {
    if (!(error instanceof BpfError) || hasProbeEvents(host, kind)) throw error;
    throw new BpfError('ENOENT', `this kernel has no ${kind}s`, {
      cause: error,
      hint: `it is built without ${kind === 'kprobe' ? 'CONFIG_KPROBE_EVENTS' : 'CONFIG_UPROBE_EVENTS'}, or /sys is not mounted`,
    });
  }
  return { fields: { type: PERF_TYPE.PERF_TYPE_TRACEPOINT, config: event.id }, what, event };
}

export function perfEventOpen(host: Host, attr: PerfEventAttr): Fd {
  return host.bpf.scope((frame) => {
    const opening = OPENINGS[attr.kind](host, frame, attr as never);
    const layout = UAPI_LAYOUTS.perf_event_attr;
    const block = frame.room(layout.size);
    // The size of what is used: older kernels know less, and E2BIG comes for what is not zero only.
    new Struct(layout, block.bytes).set({ size: layout.size, ...opening.fields });
    const pid = opening.pid ?? ALL;
    // One of the two must be named; an event of a process follows it on all CPUs.
    const cpu = opening.cpu ?? (pid === ALL ? 0 : ALL);
    const fd = host.native.call('perf_event_open', block.address, pid, cpu, ALL, PERF_FLAG_FD_CLOEXEC);
    const { event } = opening;
    if (fd < 0) {
      event?.remove();
      const code = errnoName(-fd);
      throw new BpfError(code, `perf_event_open: ${opening.what}: ${errnoText(code)}`, hintFor(code));
    }
    return host.fds.own(fd, {
      kind: 'perf_event',
      ...(attr.kind === 'bpf_output' ? { pages: attr.pages } : {}),
      ...(event === undefined ? {} : { onClose: () => host.fds.whenFree(event.remove) }),
    });
  });
}

/** Attaching as kernels before 5.15 have it, without a link: the descriptor that comes back keeps the event. */
export function attachByIoctl(host: Host, event: number, program: Fd): Fd {
  const set = host.native.call('ioctl', event, PERF_EVENT_IOC_SET_BPF, program);
  const done = set < 0 ? set : host.native.call('ioctl', event, PERF_EVENT_IOC_ENABLE, 0);
  const fd = done < 0 ? done : host.native.call('fcntl', event, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) throw BpfError.fromReturn(fd, 'attaching a program to a perf event');
  return host.fds.own(fd, { kind: 'perf_event' });
}

interface ProbePmu {
  readonly type: number;
  /** Bit of `config` that asks for the return. */
  readonly retprobe: bigint;
}

/** Undefined where perf_event_open knows no such probes: before 4.17, or built without them. */
function probePmu(kind: ProbeKind): ProbePmu | undefined {
  const directory = `/sys/bus/event_source/devices/${kind}`;
  try {
    const type = Number(readFileSync(`${directory}/type`, 'utf8'));
    const bit = /config:(\d+)/.exec(readFileSync(`${directory}/format/retprobe`, 'utf8'))?.[1] ?? '0';
    return { type, retprobe: 1n << BigInt(bit) };
  } catch {
    return undefined;
  }
}
