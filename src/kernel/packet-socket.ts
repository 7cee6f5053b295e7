/**
 * Packet sockets of the embedded kernel (packet(7)): each sees the frames that all interfaces, or the one that it is bound to, receive;
 * its program says how much of a frame is kept. What nobody reads is dropped once the receive buffer is full.
 */
import { BpfError } from '../util/errors.ts';
import { KernelObject } from './fd-table.ts';
import type { Machine } from './machine.ts';
import type { Attachment, ProgObject } from './objects.ts';

/** net.core.rmem_default */
const RECEIVE_BUFFER = 212_992;
/** What a frame takes beside its bytes (struct sk_buff and the like). */
const FRAME_OVERHEAD = 768;

export class SocketObject extends KernelObject {
  readonly what = 'socket';
  readonly #machine: Machine;
  /** 0: all interfaces. */
  #ifindex = 0;
  #attachment: Attachment | undefined;
  #queue: Uint8Array[] = [];
  #queued = 0;

  constructor(machine: Machine) {
    super();
    this.#machine = machine;
  }

  attach(program: ProgObject): void {
    this.#detach();
    this.#attachment = { program: program.get(), cookie: 0n, socket: this };
    this.#machine.points.attach('socket', this.#attachment);
  }

  /** Errors: ENODEV. */
  bind(ifindex: number): void {
    if (ifindex !== 0 && this.#machine.devices.byIndex(ifindex) === undefined)
      throw new BpfError('ENODEV', `there is no network interface ${ifindex}`);
    this.#ifindex = ifindex;
  }

  isFor(ifindex: number): boolean {
    return this.#ifindex === 0 || this.#ifindex === ifindex;
  }

  /** The first `kept` bytes of a frame, 0: none of it. */
  deliver(data: Uint8Array, kept: number): void {
    const room = kept + FRAME_OVERHEAD;
    if (kept === 0 || this.#queued + room > RECEIVE_BUFFER) return;
    this.#queue.push(data.slice(0, kept));
    this.#queued += room;
  }

  /** The oldest packet, cut to `size`. Errors: EAGAIN where there is none. */
  read(size: number): Uint8Array {
    const packet = this.#queue.shift();
    if (packet === undefined) throw new BpfError('EAGAIN', 'the socket has no packet');
    this.#queued -= packet.length + FRAME_OVERHEAD;
    return packet.subarray(0, size);
  }

  #detach(): void {
    if (this.#attachment === undefined) return;
    this.#machine.points.detach('socket', this.#attachment);
    this.#attachment.program.put();
    this.#attachment = undefined;
  }

  protected destroy(): void {
    this.#detach();
    this.#queue = [];
  }
}
