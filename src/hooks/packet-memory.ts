/**
 * A packet in the linear memory with room before and behind it, and the edges that packet helpers move. The modelled
 * context (spec: MODELLED_XDP, MODELLED_SKB) holds the edges as guest addresses: data_meta <= data <= data_end inside
 * [buffer, buffer_end).
 */
import type { LiveContext } from '../contracts/hooks.ts';
import type { PacketOps } from '../contracts/runtime.ts';
import { type GuestMemory, KERNEL_HI } from '../memory/index.ts';
import { ERRNO } from '../util/errno.ts';

const ETH_HLEN = 14;

/** Offsets of the edges in a modelled context: the same names in all of them. */
export interface EdgeOffsets {
  readonly data: number;
  readonly data_end: number;
  readonly data_meta: number;
  readonly buffer: number;
  readonly buffer_end: number;
}

/** What differs between frames of a driver (XDP) and socket buffers. */
export interface PacketRules {
  /** Bytes at the start of the buffer that the packet may not grow into (XDP: struct xdp_frame). */
  readonly reservedHead: number;
  /** Shortest packet that may be left (ETH_HLEN). */
  readonly minLength: number;
  /** Longest packet that helpers may make; absent: what the buffer holds. */
  readonly maxLength?: number;
  /** Offset of a u32 that holds the packet's length, 0 where there is none. */
  readonly lengthField: number;
  /** Metadata before the packet: a multiple of 4, at most this. */
  readonly maxMeta: number;
}

export class PacketMemory implements PacketOps {
  readonly #memory: GuestMemory;
  readonly #ctx: number;
  readonly #edges: EdgeOffsets;
  readonly #rules: PacketRules;
  /** Where the link-layer header starts, which is before `data` where it has been pulled off. */
  #link = 0;

  constructor(memory: GuestMemory, ctx: number, edges: EdgeOffsets, rules: PacketRules) {
    this.#memory = memory;
    this.#ctx = ctx;
    this.#edges = edges;
    this.#rules = rules;
  }

  /** Sets all edges; offsets in the linear memory. `link`: where the link-layer header starts (default: at `data`). */
  place(buffer: number, bufferEnd: number, data: number, dataEnd: number, link = data): void {
    this.#link = link;
    const { u32 } = this.#memory;
    const ctx = this.#ctx;
    const edges = this.#edges;
    setEdge(u32, ctx + edges.buffer, buffer);
    setEdge(u32, ctx + edges.buffer_end, bufferEnd);
    setEdge(u32, ctx + edges.data_meta, data);
    setEdge(u32, ctx + edges.data, data);
    setEdge(u32, ctx + edges.data_end, dataEnd);
    this.#updateLength();
  }

  /** The first `length` bytes of the packet become metadata before it. */
  splitMeta(length: number): void {
    this.#set('data', this.edge('data') + length);
    this.#updateLength();
  }

  edge(name: keyof EdgeOffsets): number {
    return this.#memory.u32[(this.#ctx + this.#edges[name]) >>> 2];
  }

  data(): { start: number; length: number } {
    const start = this.edge('data');
    return { start, length: this.edge('data_end') - start };
  }

  headers(): { link: number; network: number } {
    return { link: this.#link, network: this.#link + ETH_HLEN };
  }

  adjustHead(_ctx: number, delta: number): number {
    const meta = this.edge('data_meta');
    const data = this.edge('data');
    const metaLength = data - meta;
    const moved = data + delta;
    if (moved < this.edge('buffer') + this.#rules.reservedHead + metaLength) return -ERRNO.EINVAL;
    if (moved > this.edge('data_end') - this.#rules.minLength) return -ERRNO.EINVAL;
    if (delta < 0 && this.#tooLong(-delta)) return -ERRNO.EINVAL;
    this.#memory.u8.copyWithin(meta + delta, meta, data);
    this.#set('data_meta', meta + delta);
    this.#set('data', moved);
    this.#updateLength();
    return 0;
  }

  adjustTail(_ctx: number, delta: number): number {
    const end = this.edge('data_end');
    const moved = end + delta;
    if (moved > this.edge('buffer_end') || moved < this.edge('data') + this.#rules.minLength)
      return -ERRNO.EINVAL;
    if (delta > 0 && this.#tooLong(delta)) return -ERRNO.EINVAL;
    // What a longer packet shows must not be what an earlier one left there.
    if (delta > 0) this.#memory.u8.fill(0, end, moved);
    this.#set('data_end', moved);
    this.#updateLength();
    return 0;
  }

  adjustMeta(_ctx: number, delta: number): number {
    const meta = this.edge('data_meta') + delta;
    const data = this.edge('data');
    if (meta < this.edge('buffer') + this.#rules.reservedHead || meta > data) return -ERRNO.EINVAL;
    const length = data - meta;
    if (length % 4 !== 0 || length > this.#rules.maxMeta) return -ERRNO.EACCES;
    this.#set('data_meta', meta);
    return 0;
  }

  #set(name: keyof EdgeOffsets, offset: number): void {
    setEdge(this.#memory.u32, this.#ctx + this.#edges[name], offset);
  }

  #tooLong(more: number): boolean {
    const { maxLength } = this.#rules;
    return maxLength !== undefined && this.edge('data_end') - this.edge('data') + more > maxLength;
  }

  #updateLength(): void {
    const { lengthField } = this.#rules;
    if (lengthField !== 0)
      this.#memory.u32[(this.#ctx + lengthField) >>> 2] = this.edge('data_end') - this.edge('data');
  }
}

/** An edge is a guest address: the offset, and the upper half of the kernel's addresses. */
function setEdge(u32: Uint32Array, at: number, offset: number): void {
  u32[at >>> 2] = offset;
  u32[(at >>> 2) + 1] = KERNEL_HI;
}

/** One modelled context with memory for its packet: used again for one packet after another. */
export interface PacketSlot {
  /** Offset of the context. */
  readonly address: number;
  readonly packet: PacketMemory;
  /** The packet's buffer; what an earlier packet left there may still be. */
  buffer: number;
  capacity: number;
}

/** What a kind of packets needs to make slots. */
export interface SlotKind {
  readonly label: string;
  readonly contextSize: number;
  readonly edges: EdgeOffsets;
  readonly rules: PacketRules;
}

/** Tells the packet helpers for good where the packet of a context lies. */
export type RegisterPacket = (ctx: number, packet: PacketMemory) => void;

/** Slots of one kind: as many as packets were handled at the same time, which is one unless runs nest. */
export class PacketSlots {
  readonly #memory: GuestMemory;
  readonly #kind: SlotKind;
  readonly #register: RegisterPacket;
  readonly #free: PacketSlot[] = [];

  constructor(memory: GuestMemory, kind: SlotKind, register: RegisterPacket) {
    this.#memory = memory;
    this.#kind = kind;
    this.#register = register;
  }

  /** A slot whose context is zeroed and whose buffer has `size` bytes at least. */
  take(size: number): PacketSlot {
    const slot = this.#free.pop() ?? this.#make();
    try {
      if (size > slot.capacity) this.#grow(slot, size);
    } catch (error) {
      this.#free.push(slot);
      throw error;
    }
    this.#memory.u8.fill(0, slot.address, slot.address + this.#kind.contextSize);
    return slot;
  }

  give(slot: PacketSlot): void {
    this.#free.push(slot);
  }

  #make(): PacketSlot {
    const { label, contextSize, edges, rules } = this.#kind;
    const address = this.#memory.allocate(contextSize, label);
    const packet = new PacketMemory(this.#memory, address, edges, rules);
    this.#register(address, packet);
    return { address, packet, buffer: 0, capacity: 0 };
  }

  #grow(slot: PacketSlot, size: number): void {
    if (slot.capacity > 0) this.#memory.free(slot.buffer);
    slot.capacity = 0;
    slot.buffer = this.#memory.allocate(size, 'packet');
    slot.capacity = size;
  }
}

/** A test run without a context in gives none out. */
export function withoutUserContext(context: LiveContext): LiveContext {
  return {
    address: context.address,
    packet: () => context.packet(),
    userContext: () => new Uint8Array(),
    release: () => context.release(),
  };
}
