/**
 * XDP: frames as a driver hands them over, behind a modelled `xdp_buff`, and PROG_TEST_RUN on them
 * (net/bpf/test_run.c: bpf_prog_test_run_xdp; the frame is linear, as in one page).
 */
import type { Hook, HookEnv, LiveContext, TestRunInput } from '../contracts/hooks.ts';
import type { GuestMemory } from '../memory/index.ts';
import { MODELLED_XDP, MODELLED_XDP_SIZE } from '../spec/index.ts';
import { UAPI_LAYOUTS } from '../uapi/index.ts';
import { concatBytes } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import { PacketBuffer, PacketMemory, type PacketRules } from './packet-memory.ts';

/** XDP_PACKET_HEADROOM, and what the kernel keeps behind the frame (struct skb_shared_info). */
const HEADROOM = 256;
const TAILROOM = 320;
const PAGE_SIZE = 4096;
const ETH_HLEN = 14;
/** Most of a frame that lies in one piece in PROG_TEST_RUN. */
const MAX_LINEAR = PAGE_SIZE - HEADROOM - TAILROOM;
/** sizeof(struct xdp_frame), which lives at the start of the headroom. */
const XDP_FRAME_SIZE = 40;
/** Metadata has no more room than the headroom leaves. */
const MAX_META = HEADROOM - XDP_FRAME_SIZE;
/** MAX_SKB_FRAGS: pages behind the linear part. */
const MAX_FRAGMENTS = 17;
const RULES: PacketRules = {
  reservedHead: XDP_FRAME_SIZE,
  minLength: ETH_HLEN,
  lengthField: 0,
  maxMeta: MAX_META,
};

const XDP_MD = UAPI_LAYOUTS.xdp_md;

export interface XdpFrame {
  readonly data: Uint8Array;
  readonly ifindex: number;
  readonly rxQueue: number;
  /** Bytes at the start of `data` that are metadata before the frame. */
  readonly meta?: number;
  /** Bytes of `data` that lie in one piece (default: all); the rest is in fragments that programs do not see. */
  readonly linear?: number;
}

/** Tells the packet helpers where the packet of a context lies; null: the context is gone. */
export type RegisterPacket = (ctx: number, ops: PacketMemory | null) => void;

/** Contexts for frames, over one buffer that is used again for every frame. */
export class XdpContexts {
  readonly #memory: GuestMemory;
  readonly #register: RegisterPacket;
  readonly #frames: PacketBuffer;
  readonly #contexts: PacketBuffer;

  constructor(memory: GuestMemory, register: RegisterPacket) {
    this.#memory = memory;
    this.#register = register;
    this.#frames = new PacketBuffer(memory, 'packet');
    this.#contexts = new PacketBuffer(memory, 'xdp_buff');
  }

  open(frame: XdpFrame): LiveContext {
    const memory = this.#memory;
    // A frame of a capture may be larger than a page (merged by the driver): it gets the room it needs.
    const linear = frame.linear ?? frame.data.length;
    const room = Math.max(PAGE_SIZE, HEADROOM + linear + TAILROOM);
    const buffer = this.#frames.take(room);
    const ctx = this.#contexts.take(MODELLED_XDP_SIZE);
    const address = ctx.start;
    memory.u8.fill(0, address, address + MODELLED_XDP_SIZE);
    const packet = new PacketMemory(memory, address, MODELLED_XDP, RULES);
    const meta = frame.meta ?? 0;
    const data = buffer.start + HEADROOM;
    // bpf_xdp_adjust_head must not show what earlier frames left before this one.
    memory.u8.fill(0, buffer.start, data);
    const fragments = frame.data.subarray(linear);
    memory.write(data, fragments.length === 0 ? frame.data : frame.data.subarray(0, linear));
    packet.place(buffer.start, buffer.start + room - TAILROOM, data, data + linear);
    if (meta > 0) packet.splitMeta(meta);
    memory.u32[(address + MODELLED_XDP.ingress_ifindex) >>> 2] = frame.ifindex;
    memory.u32[(address + MODELLED_XDP.rx_queue_index) >>> 2] = frame.rxQueue;
    this.#register(address, packet);
    return {
      address,
      packet: () => {
        const start = packet.edge('data_meta');
        const bytes = memory.read(start, packet.edge('data_end') - start);
        return fragments.length === 0 ? bytes : concatBytes([bytes, fragments]);
      },
      userContext: () => userContext(memory, address, packet),
      release: () => {
        this.#register(address, null);
        ctx.release();
        buffer.release();
      },
    };
  }
}

/** `xdp_md` as PROG_TEST_RUN gives it back: edges relative to the start of the metadata. */
function userContext(memory: GuestMemory, address: number, packet: PacketMemory): Uint8Array {
  const bytes = new Uint8Array(XDP_MD.size);
  const view = new DataView(bytes.buffer);
  const meta = packet.edge('data_meta');
  view.setUint32(0, packet.edge('data') - meta, true);
  view.setUint32(4, packet.edge('data_end') - meta, true);
  view.setUint32(12, memory.u32[(address + MODELLED_XDP.ingress_ifindex) >>> 2], true);
  view.setUint32(16, memory.u32[(address + MODELLED_XDP.rx_queue_index) >>> 2], true);
  return bytes;
}

function testRun({ data, ctx, flags, batchSize }: TestRunInput, env: HookEnv): LiveContext {
  if (flags !== 0) throw new BpfError('EINVAL', 'live frames (BPF_F_TEST_XDP_LIVE_FRAMES) are not modelled');
  if (batchSize !== 0) throw new BpfError('EINVAL', 'a batch size is for live frames');
  const asked =
    ctx.length > 0 ? readContext(ctx, data.length, env) : { ...DEFAULT_CONTEXT, end: data.length };
  if (data.length - asked.meta < ETH_HLEN)
    throw new BpfError('EINVAL', `a frame has at least ${ETH_HLEN} bytes, not ${data.length - asked.meta}`);
  const linear = Math.min(asked.end, MAX_LINEAR);
  if (data.length - linear > MAX_FRAGMENTS * PAGE_SIZE)
    throw new BpfError(
      'ENOMEM',
      `a frame of ${data.length} bytes: at most ${MAX_FRAGMENTS} pages follow its head`,
    );
  const { meta, ifindex, rxQueue } = asked;
  const context = env.packets.xdp({ data, ifindex, rxQueue, meta, linear });
  return ctx.length > 0 ? context : { ...context, userContext: () => new Uint8Array() };
}

interface AskedContext {
  readonly meta: number;
  readonly end: number;
  readonly ifindex: number;
  readonly rxQueue: number;
}

/** Test runs without a context see the loopback interface. */
const DEFAULT_CONTEXT = { meta: 0, ifindex: 1, rxQueue: 0 };

/** What a caller's `xdp_md` asks for (kernel: xdp_convert_md_to_buff); EINVAL for what it may not ask. */
function readContext(ctx: Uint8Array, dataSize: number, env: HookEnv): AskedContext {
  const bytes = new Uint8Array(XDP_MD.size);
  if (ctx.subarray(XDP_MD.size).some((byte) => byte !== 0))
    throw new BpfError('E2BIG', `xdp_md has ${XDP_MD.size} bytes; what follows must be 0`);
  bytes.set(ctx.subarray(0, XDP_MD.size));
  const view = new DataView(bytes.buffer);
  const [meta, end, dataMeta, ifindex, rxQueue, egress] = [0, 4, 8, 12, 16, 20].map((at) =>
    view.getUint32(at, true),
  );
  if (end > dataSize || meta > end)
    throw new BpfError(
      'EINVAL',
      `ctx.data ${meta} and ctx.data_end ${end} do not lie in order in ${dataSize} bytes`,
    );
  if (dataMeta !== 0) throw new BpfError('EINVAL', 'ctx.data_meta must be 0: metadata starts with the data');
  if (meta % 4 !== 0 || meta > MAX_META)
    throw new BpfError(
      'EINVAL',
      `ctx.data is ${meta}: metadata has a multiple of 4 bytes, at most ${MAX_META}`,
    );
  if (egress !== 0) throw new BpfError('EINVAL', 'ctx.egress_ifindex must be 0');
  if (ifindex === 0 && rxQueue !== 0)
    throw new BpfError('EINVAL', 'ctx.rx_queue_index needs an ingress_ifindex');
  if (ifindex !== 0) {
    const queues = env.rxQueues(ifindex);
    if (queues === undefined) throw new BpfError('ENODEV', `there is no network interface ${ifindex}`);
    if (rxQueue >= queues) throw new BpfError('EINVAL', `interface ${ifindex} has ${queues} receive queues`);
  }
  return { meta, end, ifindex, rxQueue };
}

export const XDP_HOOK: Hook = { progTypes: ['xdp'], testRun };
