/**
 * Socket buffers: packets behind a modelled `sk_buff` for all program types whose context is `__sk_buff`, and
 * PROG_TEST_RUN on them (net/bpf/test_run.c: bpf_prog_test_run_skb).
 */
import type { Hook, HookEnv, LiveContext, TestRunInput } from '../contracts/hooks.ts';
import type { GuestMemory } from '../memory/index.ts';
import { MODELLED_SKB, MODELLED_SKB_SIZE } from '../spec/index.ts';
import { UAPI_LAYOUTS } from '../uapi/index.ts';
import { BpfError } from '../util/errors.ts';
import { PacketBuffer, PacketMemory, type PacketRules } from './packet-memory.ts';
import type { RegisterPacket } from './xdp.ts';

/** NET_SKB_PAD + NET_IP_ALIGN, and what the kernel keeps behind the data. */
const HEADROOM = 256;
const TAILROOM = 320;
const MAX_TEST_PACKET = 4096 - 66 - TAILROOM;
const ETH_HLEN = 14;
/** Ethernet types below this are lengths (IEEE 802.3). */
const ETH_P_802_3_MIN = 0x600;
const ETH_P_802_2 = 4;
/** enum: PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST, PACKET_OTHERHOST */
const PACKET = { host: 0, broadcast: 1, multicast: 2, otherhost: 3 } as const;
const AF_INET = 2;
const AF_INET6 = 10;
const RULES: PacketRules = { reservedHead: 0, minLength: 0, lengthField: MODELLED_SKB.len, maxMeta: 252 };

const SK_BUFF = UAPI_LAYOUTS.__sk_buff;
type SkBuffField = (typeof SK_BUFF)['fields'][number]['name'];

/** Fields of `__sk_buff` that PROG_TEST_RUN takes from and gives back to its caller; all others must be 0. */
const USER_FIELDS: readonly SkBuffField[] = [
  'mark',
  'priority',
  'ingress_ifindex',
  'ifindex',
  'cb',
  'tstamp',
  'wire_len',
  'gso_segs',
  'gso_size',
  'hwtstamp',
];

export interface SkbPacket {
  /** From the Ethernet header on. */
  readonly data: Uint8Array;
  readonly ifindex: number;
  /** The program's view starts behind the Ethernet header. */
  readonly pulled?: boolean;
}

export class SkbContexts {
  readonly #memory: GuestMemory;
  readonly #register: RegisterPacket;
  readonly #packets: PacketBuffer;
  readonly #contexts: PacketBuffer;

  constructor(memory: GuestMemory, register: RegisterPacket) {
    this.#memory = memory;
    this.#register = register;
    this.#packets = new PacketBuffer(memory, 'packet');
    this.#contexts = new PacketBuffer(memory, 'sk_buff');
  }

  open(input: SkbPacket): LiveContext {
    const memory = this.#memory;
    const room = HEADROOM + input.data.length + TAILROOM;
    const buffer = this.#packets.take(room);
    const ctx = this.#contexts.take(MODELLED_SKB_SIZE);
    const address = ctx.start;
    memory.u8.fill(0, address, address + MODELLED_SKB_SIZE);
    const packet = new PacketMemory(memory, address, MODELLED_SKB, RULES);
    const start = buffer.start + HEADROOM;
    // A packet that grows at its head must not show what earlier ones left there.
    memory.u8.fill(0, buffer.start, start);
    memory.write(start, input.data);
    const pulled = input.pulled ? ETH_HLEN : 0;
    packet.place(
      buffer.start,
      buffer.start + room - TAILROOM,
      start + pulled,
      start + input.data.length,
      start,
    );
    this.#describe(address, input);
    this.#register(address, packet);
    return {
      address,
      packet: () => {
        const { start: data, length } = packet.data();
        // The Ethernet header that was pulled off is given back as zeros, as the kernel's test run does.
        const bytes = new Uint8Array(pulled + length);
        bytes.set(memory.u8.subarray(data, data + length), pulled);
        return bytes;
      },
      userContext: () => userContext(memory, address),
      release: () => {
        this.#register(address, null);
        ctx.release();
        buffer.release();
      },
    };
  }

  /** What the network stack knows of a packet that has just come in (eth_type_trans). */
  #describe(address: number, { data, ifindex }: SkbPacket): void {
    const { u32 } = this.#memory;
    const set = (offset: number, value: number) => {
      u32[(address + offset) >>> 2] = value;
    };
    const type = data.length >= ETH_HLEN ? (data[12] << 8) | data[13] : 0;
    const protocol = type >= ETH_P_802_3_MIN ? type : ETH_P_802_2;
    // Network byte order in a little-endian word.
    set(MODELLED_SKB.protocol, ((protocol & 0xff) << 8) | (protocol >> 8));
    set(MODELLED_SKB.pkt_type, packetType(data));
    set(MODELLED_SKB.ifindex, ifindex);
    set(MODELLED_SKB.wire_len, data.length);
    if (protocol === 0x0800) set(MODELLED_SKB.family, AF_INET);
    if (protocol === 0x86dd) set(MODELLED_SKB.family, AF_INET6);
  }
}

/** By the destination address; the modelled interfaces take every unicast frame as theirs. */
function packetType(data: Uint8Array): number {
  if (data.length < 6 || (data[0] & 1) === 0) return PACKET.host;
  return data.subarray(0, 6).every((byte) => byte === 0xff) ? PACKET.broadcast : PACKET.multicast;
}

function fieldOf(name: SkBuffField): { offset: number; size: number } {
  return SK_BUFF.fields.find((field) => field.name === name)!;
}

function userContext(memory: GuestMemory, address: number): Uint8Array {
  const bytes = new Uint8Array(SK_BUFF.size);
  for (const name of USER_FIELDS) {
    const { offset, size } = fieldOf(name);
    bytes.set(memory.read(address + MODELLED_SKB[name], size), offset);
  }
  return bytes;
}

/** Copies what the caller may set into the modelled context; EINVAL where another field is not 0. */
function applyContext(memory: GuestMemory, address: number, ctx: Uint8Array): void {
  if (ctx.subarray(SK_BUFF.size).some((byte) => byte !== 0))
    throw new BpfError('E2BIG', `__sk_buff has ${SK_BUFF.size} bytes; what follows must be 0`);
  const rest = new Uint8Array(SK_BUFF.size);
  rest.set(ctx.subarray(0, SK_BUFF.size));
  for (const name of USER_FIELDS) {
    const { offset, size } = fieldOf(name);
    const given = rest.slice(offset, offset + size);
    // 0 means "as it is" for what the packet itself determines.
    if (given.some((byte) => byte !== 0)) memory.write(address + MODELLED_SKB[name], given);
    rest.fill(0, offset, offset + size);
  }
  const bad = rest.findIndex((byte) => byte !== 0);
  if (bad >= 0) {
    throw new BpfError(
      'EINVAL',
      `byte ${bad} of the context is set, but only these fields of __sk_buff may be: ${USER_FIELDS.join(', ')}`,
    );
  }
}

/** Types whose programs see the packet from the Ethernet header on. */
const LAYER_2 = new Set(['sched_cls', 'sched_act']);

function testRun({ data, ctx, flags }: TestRunInput, env: HookEnv): LiveContext {
  if (flags !== 0) throw new BpfError('EINVAL', `unknown test run flags 0x${flags.toString(16)}`);
  if (data.length < ETH_HLEN || data.length > MAX_TEST_PACKET) {
    throw new BpfError(
      'EINVAL',
      `a ${env.type.name} test run takes packets of ${ETH_HLEN} to ${MAX_TEST_PACKET} bytes, not ${data.length}`,
    );
  }
  const context = env.packets.skb({ data, ifindex: 1, pulled: !LAYER_2.has(env.type.name) });
  if (ctx.length === 0) return { ...context, userContext: () => new Uint8Array() };
  try {
    applyContext(env.memory, context.address, ctx);
  } catch (error) {
    context.release();
    throw error;
  }
  return context;
}

export const SKB_HOOK: Hook = {
  progTypes: [
    'socket_filter',
    'sched_cls',
    'sched_act',
    'cgroup_skb',
    'lwt_in',
    'lwt_out',
    'lwt_xmit',
    'lwt_seg6local',
  ],
  testRun,
};
