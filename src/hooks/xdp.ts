/**
 * XDP: frames as a driver hands them over, behind a modelled `xdp_buff`, and PROG_TEST_RUN on them
 * (net/bpf/test_run.c: bpf_prog_test_run_xdp; the frame is linear, as in one page).
 */
import type { Hook, HookEnv, LiveContext, TestRunInput } from '../contracts/hooks.ts';
import type { GuestMemory } from '../memory/index.ts';
import { MODELLED_XDP, MODELLED_XDP_SIZE } from '../spec/index.ts';
import { UAPI_LAYOUTS } from '../uapi/index.ts';
import { BpfError } from '../util/errors.ts';
import { PacketBuffer, PacketMemory, type PacketRules } from './packet-memory.ts';

/** XDP_PACKET_HEADROOM, and what the kernel keeps behind the frame (struct skb_shared_info). */
const HEADROOM = 256;
const TAILROOM = 320;
const PAGE_SIZE = 4096;
const ETH_HLEN = 14;
/** Most that PROG_TEST_RUN takes as one linear frame. */
const MAX_TEST_FRAME = PAGE_SIZE - HEADROOM - TAILROOM;
/** sizeof(struct xdp_frame), which lives at the start of the headroom. */
const XDP_FRAME_SIZE = 40;
const MAX_META = 255;
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
    const room = Math.max(PAGE_SIZE, HEADROOM + frame.data.length + TAILROOM);
    const buffer = this.#frames.take(room);
    const ctx = this.#contexts.take(MODELLED_XDP_SIZE);
    const address = ctx.start;
    memory.u8.fill(0, address, address + MODELLED_XDP_SIZE);
    const packet = new PacketMemory(memory, address, MODELLED_XDP, RULES);
    const meta = frame.meta ?? 0;
    const data = buffer.start + HEADROOM;
    // bpf_xdp_adjust_head must not show what earlier frames left before this one.
    memory.u8.fill(0, buffer.start, data);
    memory.write(data, frame.data);
    packet.place(buffer.start, buffer.start + room - TAILROOM, data, data + frame.data.length);
    if (meta > 0) packet.splitMeta(meta);
    memory.u32[(address + MODELLED_XDP.ingress_ifindex) >>> 2] = frame.ifindex;
    memory.u32[(address + MODELLED_XDP.rx_queue_index) >>> 2] = frame.rxQueue;
    this.#register(address, packet);
    return {
      address,
      packet: () => memory.read(packet.edge('data_meta'), packet.edge('data_end') - packet.edge('data_meta')),
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

function testRun({ data, ctx, flags }: TestRunInput, env: HookEnv): LiveContext {
  if (flags !== 0) throw new BpfError('EINVAL', 'live frames (BPF_F_TEST_XDP_LIVE_FRAMES) are not modelled');
  const frame = { data, ifindex: 1, rxQueue: 0, meta: 0 };
  if (ctx.length > 0) frame.meta = checkContext(ctx, data.length);
  const length = data.length - frame.meta;
  if (length < ETH_HLEN || data.length > MAX_TEST_FRAME) {
    throw new BpfError(
      'EINVAL',
      `an XDP test run takes frames of ${ETH_HLEN} to ${MAX_TEST_FRAME} bytes, not ${length}`,
    );
  }
  const context = env.packets.xdp(frame);
  return ctx.length > 0 ? context : { ...context, userContext: () => new Uint8Array() };
}

/** The metadata length that a context asks for; EINVAL for what the kernel does not take. */
function checkContext(ctx: Uint8Array, dataSize: number): number {
  const bytes = new Uint8Array(XDP_MD.size);
  if (ctx.subarray(XDP_MD.size).some((byte) => byte !== 0))
    throw new BpfError('E2BIG', `xdp_md has ${XDP_MD.size} bytes; what follows must be 0`);
  bytes.set(ctx.subarray(0, XDP_MD.size));
  const view = new DataView(bytes.buffer);
  const field = (offset: number) => view.getUint32(offset, true);
  const meta = field(0);
  if (field(4) !== dataSize)
    throw new BpfError('EINVAL', `ctx.data_end is ${field(4)}; it must be the size of the data, ${dataSize}`);
  if (field(8) !== 0) throw new BpfError('EINVAL', 'ctx.data_meta must be 0: metadata starts with the data');
  if (meta % 4 !== 0 || meta > MAX_META || meta > dataSize)
    throw new BpfError(
      'EINVAL',
      `ctx.data is ${meta}: metadata has a multiple of 4 bytes, at most ${MAX_META}`,
    );
  if (field(20) !== 0) throw new BpfError('EINVAL', 'ctx.egress_ifindex must be 0');
  if (field(12) === 0 && field(16) !== 0)
    throw new BpfError('EINVAL', 'ctx.rx_queue_index needs an ingress_ifindex');
  if (field(12) > 1) throw new BpfError('ENODEV', `there is no receive queue on interface ${field(12)}`);
  return meta;
}

export const XDP_HOOK: Hook = { progTypes: ['xdp'], testRun };
