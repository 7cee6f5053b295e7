/**
 * The frames of a capture on all CPUs of an embedded kernel: pieces of the file lie in buffers of the kernel's memory, and the CPU that is
 * free takes the next one; where all others are busy, CPU 0 does. Frames of one piece run in their order, pieces at the same time.
 */
import type { CpuFrames, KernelCpus } from '../../contracts/cpus.ts';

const PIECE = 1 << 20;
/** No interface captures longer ones (libpcap: MAXIMUM_SNAPLEN). */
export const LONGEST_FRAME = 1 << 18;
const RECORD_HEADER = 16;
const CAPTURED_LENGTH = 8;

export interface ParallelRequest {
  readonly ifindex: number;
  /** Nanoseconds of a tick of the time stamps. */
  readonly tick: number;
  /** Monotonic time of the first frame. */
  readonly start: bigint;
}

export class ParallelFrames {
  readonly #request: ParallelRequest;
  readonly #all: CpuFrames[];
  /** Buffers that nothing runs over. */
  readonly #idle: CpuFrames[];
  /** CPUs other than 0 that run nothing. */
  readonly #free: number[];
  readonly #running = new Set<Promise<void>>();
  /** What is being filled, and bytes of the next record at its start. */
  #filling: CpuFrames | undefined;
  #left = 0;
  #first: bigint | undefined;
  #failure: unknown;
  frames = 0;
  /** No program has been stopped by a fault. */
  sound = true;
  readonly actions = new Map<number, number>();

  private constructor(cpus: KernelCpus, request: ParallelRequest, buffers: CpuFrames[]) {
    this.#request = request;
    this.#all = buffers;
    this.#idle = [...buffers];
    this.#free = Array.from({ length: cpus.count - 1 }, (_, i) => i + 1);
  }

  /** Null where frames must be received one by one. */
  static open(cpus: KernelCpus, request: ParallelRequest): ParallelFrames | null {
    const { ifindex, tick } = request;
    const size = PIECE + RECORD_HEADER + LONGEST_FRAME;
    const buffers: CpuFrames[] = [];
    // One a CPU, and one that is filled meanwhile.
    for (let i = 0; i <= cpus.count; i++) {
      const frames = cpus.frames({ ifindex, size, tick });
      if (frames === null) return null;
      buffers.push(frames);
    }
    return new ParallelFrames(cpus, request, buffers);
  }

  /** Where the next bytes go. */
  async room(): Promise<Uint8Array> {
    while (this.#filling === undefined) {
      this.#filling = this.#idle.pop();
      if (this.#filling === undefined) await Promise.race(this.#running);
    }
    return this.#filling.bytes.subarray(this.#left);
  }

  /** Runs what is complete. False where no more is taken. */
  async take(length: number): Promise<boolean> {
    const frames = this.#filling!;
    const { bytes } = frames;
    const end = this.#left + length;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const whole = completeRecords(view, end, LONGEST_FRAME);
    if (this.#first === undefined && end >= RECORD_HEADER) this.#first = this.#stamp(view);
    if (whole === 0) {
      this.#left = end;
      // A record that is too long ends it.
      return end < bytes.length;
    }
    const rest = bytes.slice(whole, end);
    this.#filling = undefined;
    this.#start(frames, whole);
    if (this.sound) {
      await this.room();
      this.#filling!.bytes.set(rest);
      this.#left = rest.length;
    }
    // What was thrown on another CPU.
    if (this.#failure !== undefined) throw this.#failure;
    return this.sound;
  }

  /** Bytes of a record that is not complete, or too long. */
  rest(): Uint8Array {
    return this.#filling?.bytes.slice(0, this.#left) ?? new Uint8Array();
  }

  async finish(): Promise<void> {
    await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure;
  }

  async close(): Promise<void> {
    await Promise.all(this.#running);
    for (const frames of this.#all) frames.free();
  }

  #start(frames: CpuFrames, length: number): void {
    const cpu = this.#free.pop() ?? 0;
    const time = { start: this.#request.start, first: this.#first ?? 0n };
    const running = frames.run(cpu, { length, time }).then(
      (counts) => {
        this.frames += counts.frames;
        this.sound &&= !counts.faulted;
        for (const [action, times] of counts.actions)
          this.actions.set(action, (this.actions.get(action) ?? 0) + times);
      },
      (error: unknown) => {
        this.#failure ??= error;
      },
    );
    const done = running.then(() => {
      this.#running.delete(done);
      this.#idle.push(frames);
      if (cpu !== 0) this.#free.push(cpu);
    });
    this.#running.add(done);
  }

  #stamp(view: DataView): bigint {
    return (
      BigInt(view.getUint32(0, true)) * 1_000_000_000n + BigInt(view.getUint32(4, true) * this.#request.tick)
    );
  }
}

/** Where the first record starts that is not complete before `end`, or is longer than a frame may be. */
function completeRecords(view: DataView, end: number, longest: number): number {
  let at = 0;
  while (at + RECORD_HEADER <= end) {
    const length = view.getUint32(at + CAPTURED_LENGTH, true);
    if (length > longest || at + RECORD_HEADER + length > end) break;
    at += RECORD_HEADER + length;
  }
  return at;
}
