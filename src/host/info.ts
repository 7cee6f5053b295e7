/** OBJ_GET_INFO_BY_FD: the four structures with their arrays, asked for once for the sizes and once for the contents. */
import { readFileSync } from 'node:fs';
import type { BtfInfo, Fd, LinkInfo, MapInfoAttr, ObjectInfo, ProgInfo } from '../contracts/kernel.ts';
import { UAPI_LAYOUTS, type UapiLayout } from '../uapi/index.ts';
import { readCString, toHex } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import type { Block, Frame } from './arena.ts';
import type { Host } from './host.ts';
import { type FieldValue, Struct } from './layout.ts';
import { linkDetails } from './link-info.ts';

/** Asks the kernel for the structure of `fd`; `filled` says which addresses and sizes stand in it before. */
export function query(
  host: Host,
  frame: Frame,
  fd: Fd,
  layout: UapiLayout,
  filled: Readonly<Record<string, FieldValue>> = {},
): Struct {
  const info = frame.room(layout.size);
  new Struct(layout, info.bytes).set(filled);
  const values = { bpfFd: fd, infoLen: layout.size, info: info.address };
  const reply = host.bpf.run(frame, 'BPF_OBJ_GET_INFO_BY_FD', values);
  return new Struct(layout, info.bytes.slice(0, reply.field('infoLen')));
}

export function objGetInfoByFd(host: Host, attr: { readonly bpfFd: Fd }): ObjectInfo {
  const fd = attr.bpfFd;
  let kind: string;
  try {
    kind = host.fds.kind(fd);
  } catch (error) {
    // What the command itself answers to a closed descriptor.
    throw new BpfError('EBADFD', (error as Error).message, { cause: error });
  }
  return host.bpf.scope((frame) => {
    switch (kind) {
      case 'prog':
        return { kind: 'prog', ...progInfo(host, frame, fd) };
      case 'map':
        return { kind: 'map', ...mapInfo(host, frame, fd) };
      case 'link':
        return { kind: 'link', ...linkInfo(host, frame, fd) };
      case 'btf':
        return { kind: 'btf', ...btfInfo(host, fd) };
      default:
        throw new BpfError('EINVAL', `descriptor ${fd} is no program, map, link or BTF`);
    }
  });
}

/** Arrays of `struct bpf_prog_info`: pointer, number of elements, bytes of an element. */
const PROG_ARRAYS = [
  ['jited_prog_insns', 'jited_prog_len', 1],
  ['xlated_prog_insns', 'xlated_prog_len', 1],
  ['map_ids', 'nr_map_ids', 4],
  ['jited_ksyms', 'nr_jited_ksyms', 8],
  ['jited_func_lens', 'nr_jited_func_lens', 4],
  ['func_info', 'nr_func_info', 'func_info_rec_size'],
  ['line_info', 'nr_line_info', 'line_info_rec_size'],
  ['jited_line_info', 'nr_jited_line_info', 'jited_line_info_rec_size'],
  ['prog_tags', 'nr_prog_tags', 8],
] as const;

type ProgArray = (typeof PROG_ARRAYS)[number][0];

function progInfo(host: Host, frame: Frame, fd: Fd): ProgInfo {
  const layout = UAPI_LAYOUTS.bpf_prog_info;
  const sizes = query(host, frame, fd, layout);
  const filled: Record<string, FieldValue> = {};
  const blocks = new Map<ProgArray, Block>();
  for (const [pointer, count, size] of PROG_ARRAYS) {
    const length = sizes.u32(count) * (typeof size === 'number' ? size : sizes.u32(size));
    if (length === 0) continue;
    const block = frame.room(length);
    blocks.set(pointer, block);
    filled[pointer] = block.address;
    filled[count] = sizes.u32(count);
    if (typeof size === 'string') filled[size] = sizes.u32(size);
  }
  const info = query(host, frame, fd, layout, filled);
  // A pointer that the kernel has cleared: it does not show that to us.
  const bytes = (name: ProgArray): Uint8Array =>
    info.u64(name) === 0n ? new Uint8Array() : (blocks.get(name)?.bytes.slice() ?? new Uint8Array());
  const words = (name: ProgArray): bigint[] => [...new BigUint64Array(bytes(name).buffer)];
  const halves = (name: ProgArray): number[] => [...new Uint32Array(bytes(name).buffer)];
  const tags = bytes('prog_tags');
  return {
    type: info.u32('type'),
    id: info.u32('id'),
    tag: toHex(info.part('tag')),
    name: info.text('name'),
    jited: sizes.u32('jited_prog_len') > 0,
    jitedProgLen: sizes.u32('jited_prog_len'),
    xlatedInsns: bytes('xlated_prog_insns'),
    loadTime: info.u64('load_time'),
    createdByUid: info.u32('created_by_uid'),
    mapIds: halves('map_ids'),
    gplCompatible: info.u32('gpl_compatible') === 1,
    btfId: info.u32('btf_id'),
    funcInfo: bytes('func_info'),
    lineInfo: bytes('line_info'),
    runTimeNs: info.u64('run_time_ns'),
    runCnt: info.u64('run_cnt'),
    recursionMisses: info.u64('recursion_misses'),
    verifiedInsns: info.u32('verified_insns'),
    attachBtfId: info.u32('attach_btf_id'),
    jitedDump: '',
    ifindex: info.u32('ifindex'),
    netnsDev: info.u64('netns_dev'),
    netnsIno: info.u64('netns_ino'),
    attachBtfObjId: info.u32('attach_btf_obj_id'),
    jitedInsns: bytes('jited_prog_insns'),
    jitedKsyms: words('jited_ksyms'),
    jitedFuncLens: halves('jited_func_lens'),
    jitedLineInfo: words('jited_line_info'),
    progTags: Array.from({ length: tags.length / 8 }, (_, i) => toHex(tags.subarray(8 * i, 8 * i + 8))),
  };
}

function mapInfo(host: Host, frame: Frame, fd: Fd): MapInfoAttr {
  const info = query(host, frame, fd, UAPI_LAYOUTS.bpf_map_info);
  const shown = fdInfo(fd);
  return {
    type: info.u32('type'),
    id: info.u32('id'),
    keySize: info.u32('key_size'),
    valueSize: info.u32('value_size'),
    maxEntries: info.u32('max_entries'),
    mapFlags: info.u32('map_flags'),
    name: info.text('name'),
    btfId: info.u32('btf_id'),
    btfKeyTypeId: info.u32('btf_key_type_id'),
    btfValueTypeId: info.u32('btf_value_type_id'),
    btfVmlinuxValueTypeId: info.u32('btf_vmlinux_value_type_id'),
    mapExtra: info.u64('map_extra'),
    ifindex: info.u32('ifindex'),
    memlock: Number(shown.get('memlock') ?? 0),
    frozen: shown.get('frozen') === '1',
    netnsDev: info.u64('netns_dev'),
    netnsIno: info.u64('netns_ino'),
    btfVmlinuxId: info.u32('btf_vmlinux_id'),
  };
}

function linkInfo(host: Host, frame: Frame, fd: Fd): LinkInfo {
  const layout = UAPI_LAYOUTS.bpf_link_info;
  const info = query(host, frame, fd, layout);
  return {
    type: info.u32('type'),
    id: info.u32('id'),
    progId: info.u32('prog_id'),
    details: linkDetails(info, (filled) => query(host, frame, fd, layout, filled), frame),
  };
}

export function btfInfo(host: Host, fd: Fd): BtfInfo {
  return host.bpf.scope((frame) => btfInfoIn(host, frame, fd));
}

function btfInfoIn(host: Host, frame: Frame, fd: Fd): BtfInfo {
  const layout = UAPI_LAYOUTS.bpf_btf_info;
  const NAME_ROOM = 256;
  const sizes = query(host, frame, fd, layout);
  const data = frame.room(sizes.u32('btf_size'));
  const name = frame.room(NAME_ROOM);
  const info = query(host, frame, fd, layout, {
    btf: data.address,
    btf_size: data.bytes.length,
    name: name.address,
    name_len: NAME_ROOM,
  });
  return {
    id: info.u32('id'),
    name: readCString(name.bytes),
    kernelBtf: info.u32('kernel_btf') !== 0,
    data: data.bytes.slice(),
  };
}

/** What /proc shows of a descriptor: `name:\tvalue`. */
export function fdInfo(fd: Fd): ReadonlyMap<string, string> {
  let text = '';
  try {
    text = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
  } catch {
    // Without /proc there is nothing to show.
  }
  return new Map(
    text
      .split('\n')
      .filter((line) => line.includes(':'))
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]),
  );
}
