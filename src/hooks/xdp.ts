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
import { FramePool } from './frame-pool.ts';
import {
  type PacketMemory,
  type PacketRules,
  type PacketSlot,
  PacketSlots,
  type RegisterPacket,
  withoutUserContext,
} from './packet-memory.ts';

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

/** Contexts for frames. */
export class XdpContexts {
  readonly #memory: GuestMemory;
  readonly #slots: PacketSlots;
  readonly #pool = new FramePool();

  constructor(memory: GuestMemory, register: RegisterPacket) {
    this.#memory = memory;
    const kind = { label: 'xdp_buff', contextSize: MODELLED_XDP_SIZE, edges: MODELLED_XDP, rules: RULES };
    this.#slots = new PacketSlots(memory, kind, register);
  }

  open(frame: XdpFrame): LiveContext {
    const memory = this.#memory;
    const linear = frame.linear ?? frame.data.length;
    // A frame of a capture may be larger than a page (merged by the driver): it gets the room it needs.
    const room = Math.max(PAGE_SIZE, HEADROOM + linear + TAILROOM);
    const slot = this.#slots.take(room);
    const data = slot.buffer + HEADROOM;
    // What a head that grows shows must not be what an earlier packet left there.
    memory.u8.fill(0, slot.buffer, data);
    const whole = linear === frame.data.length;
    memory.write(data, whole ? frame.data : frame.data.subarray(0, linear));
    slot.packet.place(slot.buffer, slot.buffer + room - TAILROOM, data, data + linear);
    if (frame.meta) slot.packet.splitMeta(frame.meta);
    const { u32 } = memory;
    u32[(slot.address + MODELLED_XDP.ingress_ifindex) >>> 2] = frame.ifindex;
    u32[(slot.address + MODELLED_XDP.rx_queue_index) >>> 2] = frame.rxQueue;
    const fragments = whole ? undefined : frame.data.subarray(linear);
    return new LiveFrame(memory, this.#slots, slot, this.#pool, fragments);
  }
}

class LiveFrame implements LiveContext {
  readonly address: number;
  readonly #memory: GuestMemory;
  readonly #slots: PacketSlots;
  readonly #slot: PacketSlot;
  readonly #pool: FramePool;
  readonly #fragments: Uint8Array | undefined;

  constructor(
    memory: GuestMemory,
    slots: PacketSlots,
    slot: PacketSlot,
    pool: FramePool,
    fragments: Uint8Array | undefined,
  ) {
    this.address = slot.address;
    this.#memory = memory;
    this.#slots = slots;
    this.#slot = slot;
    this.#pool = pool;
    this.#fragments = fragments;
  }

  packet(): Uint8Array {
    const { packet } = this.#slot;
    const start = packet.edge('data_meta');
    const bytes = this.#pool.copy(this.#memory, start, packet.edge('data_end') - start);
    return this.#fragments === undefined ? bytes : concatBytes([bytes, this.#fragments]);
  }

  userContext(): Uint8Array {
    return userContext(this.#memory, this.address, this.#slot.packet);
  }

  release(): void {
    this.#slots.give(this.#slot);
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
  return ctx.length > 0 ? context : withoutUserContext(context);
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
