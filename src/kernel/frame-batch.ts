/**
 * Frames of a capture in bulk (contract `FrameBatch`): the capture's bytes lie in the linear memory, and the engine's packet loop
 * runs the interface's XDP program over them. Nothing else may see the frames, and the program must leave their edges alone.
 */
import type { FrameBatch } from '../contracts/kernel.ts';
import { RUN_STATE } from '../memory/layout.ts';
import { MODELLED_XDP, MODELLED_XDP_SIZE } from '../spec/index.ts';
import { XDP_ACTION } from '../uapi/index.ts';
import { InternalError } from '../util/errors.ts';
import type { Machine } from './machine.ts';
import type { ProgObject } from './objects.ts';
import { oops, reclaim } from './run.ts';

/** Bytes of a capture that are run at once: few enough to be still in the processor's cache, where reading has left them. */
const PIECE = 1 << 19;
/** Bytes that are read ahead at once: many, as a thread that reads is told of each piece, and few enough for the caches that processors share. */
const PIECE_AHEAD = 1 << 21;
/** Room in front of such a piece for what is left of the one before it. */
const HEADROOM = 1 << 16;
/** Label of the memory where it lies. */
const BUFFER = 'capture';
const RECORD_HEADER = 16;
/** Where a record says how many bytes were captured. */
const CAPTURED_LENGTH = 8;
/** What the packet loop counts, and behind it another result. */
const RESULTS = 5;
/** A frame has no room around it. */
const EDGES = {
  starts: [MODELLED_XDP.data, MODELLED_XDP.data_meta, MODELLED_XDP.buffer],
  ends: [MODELLED_XDP.data_end, MODELLED_XDP.buffer_end],
};

export interface BatchRequest {
  readonly ifindex: number;
  readonly tick: number;
  readonly start: bigint;
  readonly longest: number;
}

/** Null where the frames must be received one by one. */
export function openFrameBatch(machine: Machine, request: BatchRequest): FrameBatch | null {
  const device = machine.devices.byIndex(request.ifindex);
  if (device === undefined) return null;
  const [attachment, ...others] = machine.points.at(device.xdpPoint);
  if (attachment === undefined || others.length > 0 || machine.points.at('socket').length > 0) return null;
  const { program } = attachment;
  const { executable, movesPacket } = program.parts;
  if (movesPacket || executable.runFrames === undefined || program.fault !== undefined) return null;
  return new KernelFrameBatch(machine, program, request);
}

class KernelFrameBatch implements FrameBatch {
  readonly #machine: Machine;
  readonly #program: ProgObject;
  readonly #request: BatchRequest;
  #buffer: number;
  #size = PIECE;
  readonly #ctx: number;
  /** Bytes at the start of the buffer that belong to the next record. */
  #left = 0;
  /** Pieces that are read ahead, each behind its headroom: those that nobody fills, and those that were given and not taken. */
  readonly #spare: number[] = [];
  readonly #given: number[] = [];
  /** Time stamp of the first frame, nanoseconds. */
  #first: bigint | undefined;
  frames = 0;
  readonly actions = new Map<number, number>();

  constructor(machine: Machine, program: ProgObject, request: BatchRequest) {
    this.#machine = machine;
    this.#program = program;
    this.#request = request;
    const { memory } = machine;
    this.#buffer = memory.allocate(this.#size, BUFFER);
    this.#ctx = memory.allocate(MODELLED_XDP_SIZE + (RESULTS + 1) * 4, 'xdp_buff');
    memory.u8.fill(0, this.#ctx, this.#ctx + MODELLED_XDP_SIZE + (RESULTS + 1) * 4);
    memory.u32[(this.#ctx + MODELLED_XDP.ingress_ifindex) >>> 2] = request.ifindex;
  }

  rest(): Uint8Array {
    return this.#machine.memory.u8.subarray(this.#buffer, this.#buffer + this.#left);
  }

  room(): Uint8Array {
    const { memory } = this.#machine;
    // Only a record that is longer than a piece needs more.
    const known = this.#left >= RECORD_HEADER;
    const length = known ? memory.view.getUint32(this.#buffer + CAPTURED_LENGTH, true) : 0;
    const size = Math.max(PIECE, RECORD_HEADER + Math.min(length, this.#request.longest));
    this.#reserve(size);
    return memory.u8.subarray(this.#buffer + this.#left, this.#buffer + size);
  }

  /** Makes the buffer, with what is left in it, at least so large. */
  #reserve(size: number): void {
    if (size <= this.#size) return;
    const { memory } = this.#machine;
    const larger = memory.allocate(size, BUFFER);
    memory.u8.copyWithin(larger, this.#buffer, this.#buffer + this.#left);
    memory.free(this.#buffer);
    this.#buffer = larger;
    this.#size = size;
  }

  ahead(): Uint8Array {
    const { memory } = this.#machine;
    const piece = this.#spare.pop() ?? memory.allocate(HEADROOM + PIECE_AHEAD, BUFFER);
    this.#given.push(piece);
    return memory.u8.subarray(piece + HEADROOM, piece + HEADROOM + PIECE_AHEAD);
  }

  take(length: number): boolean {
    return this.#run(this.#buffer, this.#buffer + this.#left + length);
  }

  takeAhead(length: number): boolean {
    const piece = this.#given.shift();
    if (piece === undefined) throw new InternalError('no piece was given to be read ahead');
    const { u8 } = this.#machine.memory;
    const bytes = piece + HEADROOM;
    try {
      if (this.#left <= HEADROOM) {
        const start = bytes - this.#left;
        u8.copyWithin(start, this.#buffer, this.#buffer + this.#left);
        return this.#run(start, bytes + length);
      }
      this.#reserve(this.#left + length);
      this.#machine.memory.u8.copyWithin(this.#buffer + this.#left, bytes, bytes + length);
      return this.take(length);
    } finally {
      this.#spare.push(piece);
    }
  }

  /** Runs the records of [start, end); what is left of them goes to the start of the buffer. */
  #run(start: number, end: number): boolean {
    const machine = this.#machine;
    if (this.#first === undefined && end - start >= RECORD_HEADER) {
      this.#first = this.#stamp(start);
      machine.clock.setEpoch(this.#first - this.#request.start);
    }
    const first = this.#first ?? 0n;
    machine.clock.follow(
      () =>
        this.#request.start +
        this.#stamp(machine.memory.u32[(RUN_STATE.frame + machine.memory.cpuDelta) >>> 2]!) -
        first,
    );
    const stats = machine.keepsStats;
    const began = stats ? performance.now() : 0;
    const before = this.frames;
    const outer = machine.running;
    const level = machine.level++;
    machine.running = this.#program;
    let sound = true;
    let at = start;
    try {
      const { longest } = this.#request;
      const counts = this.#ctx + MODELLED_XDP_SIZE;
      do {
        const run = { at, end, longest, ctx: this.#ctx, edges: EDGES, counts };
        at = this.#program.parts.executable.runFrames!(run, level);
      } while (this.#collect());
    } catch (error) {
      sound = false;
      this.#collect();
      oops(machine, this.#program, error);
      // A program that faults drops.
      at = machine.memory.u32[(RUN_STATE.frame + machine.memory.cpuDelta) >>> 2]!;
      at += RECORD_HEADER + machine.memory.view.getUint32(at + CAPTURED_LENGTH, true);
      this.#add(XDP_ACTION.XDP_ABORTED, 1);
    } finally {
      machine.level = level;
      machine.running = outer;
      // Where the clock stands between two takes.
      const now = machine.clock.monotonic();
      machine.clock.follow(undefined);
      if (this.frames > 0 || at > start) machine.clock.advanceTo(now);
      machine.redirects.clear();
      reclaim(machine);
    }
    if (stats) {
      this.#program.runCount += this.frames - before;
      this.#program.runTimeNs += (performance.now() - began) * 1e6;
    }
    // Nothing of the buffer itself is left where the records lie elsewhere.
    if (start !== this.#buffer) this.#left = 0;
    this.#reserve(end - at);
    this.#left = end - at;
    machine.memory.u8.copyWithin(this.#buffer, at, end);
    return sound;
  }

  close(): void {
    for (const piece of [...this.#spare, ...this.#given]) this.#machine.memory.free(piece);
    this.#machine.memory.free(this.#buffer);
    this.#machine.memory.free(this.#ctx);
  }

  /** Moves the loop's counts to `actions`; whether it stopped at a result that it does not count. */
  #collect(): boolean {
    const { u32 } = this.#machine.memory;
    const counts = (this.#ctx + MODELLED_XDP_SIZE) >>> 2;
    for (let result = 0; result < RESULTS; result++) this.#add(result, u32[counts + result]!);
    const other = u32[counts + RESULTS]!;
    if (other !== 0) this.#add(other, 1);
    u32.fill(0, counts, counts + RESULTS + 1);
    return other !== 0;
  }

  #add(action: number, times: number): void {
    if (times === 0) return;
    this.frames += times;
    this.actions.set(action, (this.actions.get(action) ?? 0) + times);
  }

  /** Time stamp of the record at an offset of the memory. */
  #stamp(at: number): bigint {
    const { view } = this.#machine.memory;
    const ticks = view.getUint32(at + 4, true) * this.#request.tick;
    return BigInt(view.getUint32(at, true)) * 1_000_000_000n + BigInt(ticks);
  }
}
