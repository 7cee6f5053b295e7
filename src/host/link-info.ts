/** The union of `struct bpf_link_info` by link type: numbers as they are, names and arrays fetched with a second call. */
import type { LinkInfo } from '../contracts/kernel.ts';
import { BPF_LINK_TYPE, UAPI_LAYOUTS } from '../uapi/index.ts';
import { readCString } from '../util/bytes.ts';
import type { Block, Frame } from './arena.ts';
import { camel } from './attr.ts';
import type { FieldValue, Struct } from './layout.ts';

interface Part {
  /** Member of the union, with the dot. */
  readonly prefix: string;
  /** Pointer to a string, and the length field that goes with it. */
  readonly text?: readonly [string, string];
  /** Pointers to 64-bit words, and the field that has their number. */
  readonly arrays?: readonly [readonly string[], string];
}

const T = BPF_LINK_TYPE;

const PARTS: Readonly<Record<number, Part>> = {
  [T.BPF_LINK_TYPE_RAW_TRACEPOINT]: { prefix: 'raw_tracepoint.', text: ['tp_name', 'tp_name_len'] },
  [T.BPF_LINK_TYPE_TRACING]: { prefix: 'tracing.' },
  [T.BPF_LINK_TYPE_CGROUP]: { prefix: 'cgroup.' },
  [T.BPF_LINK_TYPE_ITER]: { prefix: 'iter.', text: ['target_name', 'target_name_len'] },
  [T.BPF_LINK_TYPE_NETNS]: { prefix: 'netns.' },
  [T.BPF_LINK_TYPE_XDP]: { prefix: 'xdp.' },
  [T.BPF_LINK_TYPE_STRUCT_OPS]: { prefix: 'struct_ops.' },
  [T.BPF_LINK_TYPE_NETFILTER]: { prefix: 'netfilter.' },
  [T.BPF_LINK_TYPE_KPROBE_MULTI]: { prefix: 'kprobe_multi.', arrays: [['addrs', 'cookies'], 'count'] },
  [T.BPF_LINK_TYPE_UPROBE_MULTI]: {
    prefix: 'uprobe_multi.',
    text: ['path', 'path_size'],
    arrays: [['offsets', 'ref_ctr_offsets', 'cookies'], 'count'],
  },
  [T.BPF_LINK_TYPE_TCX]: { prefix: 'tcx.' },
  [T.BPF_LINK_TYPE_NETKIT]: { prefix: 'netkit.' },
  [T.BPF_LINK_TYPE_SOCKMAP]: { prefix: 'sockmap.' },
};

/** enum bpf_perf_event_type → member of the union inside of `perf_event`. */
const PERF_PARTS: Readonly<Record<number, Part>> = {
  1: { prefix: 'perf_event.uprobe.', text: ['file_name', 'name_len'] },
  2: { prefix: 'perf_event.uprobe.', text: ['file_name', 'name_len'] },
  3: { prefix: 'perf_event.kprobe.', text: ['func_name', 'name_len'] },
  4: { prefix: 'perf_event.kprobe.', text: ['func_name', 'name_len'] },
  5: { prefix: 'perf_event.tracepoint.', text: ['tp_name', 'name_len'] },
  6: { prefix: 'perf_event.event.' },
};

const TEXT_ROOM = 4096;
const MAX_ARRAY = 1 << 16;

type Detail = LinkInfo['details'][string];

export function linkDetails(
  info: Struct,
  again: (filled: Readonly<Record<string, FieldValue>>) => Struct,
  frame: Frame,
): LinkInfo['details'] {
  const type = info.u32('type');
  const isPerf = type === T.BPF_LINK_TYPE_PERF_EVENT;
  const part = isPerf ? PERF_PARTS[info.u32('perf_event.type')] : PARTS[type];
  if (part === undefined) return isPerf ? { type: info.u32('perf_event.type') } : {};
  const { text, arrays } = part;
  const filled: Record<string, FieldValue> = {};
  const blocks = new Map<string, Block>();
  const ask = (name: string, block: Block): void => {
    blocks.set(name, block);
    filled[part.prefix + name] = block.address;
  };
  if (text !== undefined) {
    ask(text[0], frame.room(TEXT_ROOM));
    filled[part.prefix + text[1]] = TEXT_ROOM;
  }
  if (arrays !== undefined) {
    const count = Math.min(info.u32(part.prefix + arrays[1]), MAX_ARRAY);
    if (count > 0) {
      for (const name of arrays[0]) ask(name, frame.room(8 * count));
      filled[part.prefix + arrays[1]] = count;
    }
  }
  const full = blocks.size === 0 ? info : again(filled);
  const details: Record<string, Detail> = isPerf ? { type: info.u32('perf_event.type') } : {};
  for (const field of UAPI_LAYOUTS.bpf_link_info.fields) {
    if (!field.name.startsWith(part.prefix)) continue;
    const name = field.name.slice(part.prefix.length);
    const block = blocks.get(name);
    if (name === text?.[0]) details[camel(name)] = readCString(block!.bytes);
    else if (arrays?.[0].includes(name)) details[camel(name)] = block === undefined ? [] : wordsOf(block);
    else if (name !== text?.[1] && (field.size === 4 || field.size === 8))
      details[camel(name)] = field.size === 4 ? full.u32(field.name) : full.u64(field.name);
  }
  return details;
}

function wordsOf(block: Block): bigint[] {
  return [...new BigUint64Array(block.bytes.slice().buffer)];
}
