/**
 * Socket buffers: packets behind a modelled `sk_buff` for all program types whose context is `__sk_buff`, and
 * PROG_TEST_RUN on them (net/bpf/test_run.c: bpf_prog_test_run_skb).
 */
import type { Hook, HookEnv, LiveContext, TestRunInput } from '../contracts/hooks.ts';
import type { GuestMemory } from '../memory/index.ts';
import { MODELLED_SKB, MODELLED_SKB_SIZE } from '../spec/index.ts';
import { UAPI_LAYOUTS } from '../uapi/index.ts';
import { BpfError } from '../util/errors.ts';
import { type PacketRules, PacketSlots, type RegisterPacket, withoutUserContext } from './packet-memory.ts';

/** NET_SKB_PAD and sizeof(struct skb_shared_info): what a page has before and behind a packet. */
const PAD = 64;
const SHARED_INFO = 320;
const MAX_TEST_PACKET = 4096 - PAD - SHARED_INFO;
/** Longest that helpers make a packet (SKB_MAX_ALLOC). Room for that much lies before and behind each one. */
const MAX_LENGTH = 16_384 - SHARED_INFO;
const ROOM = 16_384;
/** BPF_F_TEST_SKB_CHECKSUM_COMPLETE */
const TEST_FLAGS = 4;
const MAX_WIRE_LENGTH = 65_536;
const MAX_SEGMENTS = 65_535;
const ETH_HLEN = 14;
/** Ethernet types below this are lengths (IEEE 802.3). */
const ETH_P_802_3_MIN = 0x600;
const ETH_P_802_2 = 4;
/** enum: PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST, PACKET_OTHERHOST */
const PACKET = { host: 0, broadcast: 1, multicast: 2, otherhost: 3 } as const;
const LOOPBACK_IFINDEX = 1;
const ARPHRD_ETHER = 1;
const ARPHRD_LOOPBACK = 772;
const AF_INET = 2;
const AF_INET6 = 10;
const RULES: PacketRules = {
  reservedHead: 0,
  minLength: 0,
  maxLength: MAX_LENGTH,
  lengthField: MODELLED_SKB.len,
  maxMeta: 252,
};
/** Shortest packet of a protocol in a test run: its header is looked into. */
const MIN_HEADERS: Readonly<Record<number, number>> = { 2048: 20, 34525: 40 };

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
  /** enum: PACKET_HOST …; absent: as an interface sees it that takes every unicast frame. */
  readonly packetType?: number;
}

export class SkbContexts {
  readonly #memory: GuestMemory;
  readonly #slots: PacketSlots;

  constructor(memory: GuestMemory, register: RegisterPacket) {
    this.#memory = memory;
    const kind = { label: 'sk_buff', contextSize: MODELLED_SKB_SIZE, edges: MODELLED_SKB, rules: RULES };
    this.#slots = new PacketSlots(memory, kind, register);
  }

  open(input: SkbPacket): LiveContext {
    const memory = this.#memory;
    const room = ROOM + input.data.length + ROOM;
    const slot = this.#slots.take(room);
    const start = slot.buffer + ROOM;
    memory.write(start, input.data);
    const pulled = input.pulled ? ETH_HLEN : 0;
    const end = start + input.data.length;
    slot.packet.place(slot.buffer, slot.buffer + room, start + pulled, end, start);
    this.#describe(slot.address, input);
    return {
      address: slot.address,
      packet: () => {
        const { start: data, length } = slot.packet.data();
        // The Ethernet header that was pulled off is given back as zeros, as the kernel's test run does.
        const bytes = new Uint8Array(pulled + length);
        bytes.set(memory.u8.subarray(data, data + length), pulled);
        return bytes;
      },
      userContext: () => userContext(memory, slot.address),
      release: () => this.#slots.give(slot),
    };
  }

  /** What the network stack knows of a packet that has just come in (eth_type_trans). */
  #describe(address: number, { data, ifindex, packetType }: SkbPacket): void {
    const { u32 } = this.#memory;
    const set = (offset: number, value: number) => {
      u32[(address + offset) >>> 2] = value;
    };
    const protocol = protocolOf(data);
    // Network byte order in a little-endian word.
    set(MODELLED_SKB.protocol, ((protocol & 0xff) << 8) | (protocol >> 8));
    set(MODELLED_SKB.pkt_type, packetType ?? packetTypeOf(data));
    set(MODELLED_SKB.ifindex, ifindex);
    set(MODELLED_SKB.wire_len, data.length);
    set(MODELLED_SKB.hardware_type, ifindex === LOOPBACK_IFINDEX ? ARPHRD_LOOPBACK : ARPHRD_ETHER);
    if (protocol === 0x0800) set(MODELLED_SKB.family, AF_INET);
    if (protocol === 0x86dd) set(MODELLED_SKB.family, AF_INET6);
  }
}

/** The Ethernet type; frames that carry a length there are 802.2. */
function protocolOf(data: Uint8Array): number {
  const type = data.length >= ETH_HLEN ? (data[12] << 8) | data[13] : 0;
  return type >= ETH_P_802_3_MIN ? type : ETH_P_802_2;
}

/** By the destination address; the modelled interfaces take every unicast frame as theirs. */
function packetTypeOf(data: Uint8Array): number {
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
function applyContext(env: HookEnv, address: number, ctx: Uint8Array): void {
  const { memory } = env;
  if (ctx.subarray(SK_BUFF.size).some((byte) => byte !== 0))
    throw new BpfError('E2BIG', `__sk_buff has ${SK_BUFF.size} bytes; what follows must be 0`);
  const rest = new Uint8Array(SK_BUFF.size);
  rest.set(ctx.subarray(0, SK_BUFF.size));
  checkFields(env, rest, memory.u32[(address + MODELLED_SKB.len) >>> 2]);
  // The length on the wire of a packet with a context is at least its own.
  memory.u32[(address + MODELLED_SKB.wire_len) >>> 2] = memory.u32[(address + MODELLED_SKB.len) >>> 2];
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

function checkFields(env: HookEnv, ctx: Uint8Array, length: number): void {
  const field = (name: SkBuffField) => new DataView(ctx.buffer).getUint32(fieldOf(name).offset, true);
  const ifindex = field('ifindex');
  if (ifindex > 1 && env.rxQueues(ifindex) === undefined)
    throw new BpfError('ENODEV', `ctx.ifindex: there is no network interface ${ifindex}`);
  const wire = field('wire_len');
  if (wire !== 0 && (wire < length || wire > MAX_WIRE_LENGTH))
    throw new BpfError(
      'EINVAL',
      `ctx.wire_len ${wire} is not between the packet's ${length} and ${MAX_WIRE_LENGTH}`,
    );
  if (field('gso_segs') > MAX_SEGMENTS)
    throw new BpfError('EINVAL', `ctx.gso_segs is at most ${MAX_SEGMENTS}`);
}

/** Types whose programs see the packet from the Ethernet header on. */
const LAYER_2 = new Set(['sched_cls', 'sched_act']);

function testRun({ data, ctx, flags, cpu, batchSize }: TestRunInput, env: HookEnv): LiveContext {
  if ((flags & ~TEST_FLAGS) !== 0)
    throw new BpfError('EINVAL', `unknown test run flags 0x${flags.toString(16)}`);
  if (cpu !== 0 || batchSize !== 0)
    throw new BpfError('EINVAL', `a ${env.type.name} test run takes neither a processor nor a batch size`);
  const least = ETH_HLEN + (MIN_HEADERS[protocolOf(data)] ?? 0);
  if (data.length < least || data.length > MAX_TEST_PACKET) {
    throw new BpfError(
      'EINVAL',
      `a ${env.type.name} test run takes packets of ${least} to ${MAX_TEST_PACKET} bytes, not ${data.length}`,
    );
  }
  const context = env.packets.skb({
    data,
    ifindex: 1,
    pulled: !LAYER_2.has(env.type.name),
    packetType: loopbackPacketType(data),
  });
  env.memory.u32[(context.address + MODELLED_SKB.wire_len) >>> 2] = 0;
  if (ctx.length === 0) return withoutUserContext(context);
  try {
    applyContext(env, context.address, ctx);
  } catch (error) {
    context.release();
    throw error;
  }
  return context;
}

/** The loopback interface of test runs has zeros for its address and for broadcast. */
function loopbackPacketType(data: Uint8Array): number {
  if (data.subarray(0, 6).every((byte) => byte === 0)) return PACKET.host;
  return (data[0] & 1) !== 0 ? PACKET.multicast : PACKET.otherhost;
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
