/**
 * Where the images of programs lie, by entry number: one table in the shared memory that the making thread writes and all read. An image
 * is there before its number can stand in a program array, and stays until no CPU can be on its way to it.
 */
import type { GuestMemory } from '../../memory/index.ts';
import { BpfError } from '../../util/errors.ts';
import { fromUtf8, utf8 } from '../../util/index.ts';
import { decodeImage, encodeImage, type ProgramImage } from './image.ts';

/** Numbers of programs that there may be; those of programs that have gone count until no CPU can be on its way to them. */
export const ENTRIES = 4096;
const SLOT = 8;

export class ProgramDirectory {
  readonly address: number;
  readonly #memory: GuestMemory;

  /** `address`: that of the table that another thread has made. */
  constructor(memory: GuestMemory, address?: number) {
    this.#memory = memory;
    this.address = address ?? memory.takeFresh(ENTRIES * SLOT);
    if (this.address === 0) throw new BpfError('ENOMEM', 'no room for the directory of programs');
  }

  publish(entry: number, image: ProgramImage): void {
    if (entry >= ENTRIES)
      throw new BpfError('ENOSPC', `a kernel with several CPUs has at most ${ENTRIES - 1} programs`);
    const bytes = utf8(encodeImage(image));
    const at = this.#memory.allocate(bytes.length, `image of program ${image.id}`);
    this.#memory.write(at, bytes);
    const slot = (this.address + entry * SLOT) >>> 2;
    this.#memory.u32[slot + 1] = bytes.length;
    Atomics.store(this.#memory.u32, slot, at);
  }

  read(entry: number): ProgramImage | undefined {
    if (entry >= ENTRIES) return undefined;
    const slot = (this.address + entry * SLOT) >>> 2;
    const at = Atomics.load(this.#memory.u32, slot);
    if (at === 0) return undefined;
    return decodeImage(fromUtf8(this.#memory.read(at, this.#memory.u32[slot + 1]!)));
  }

  withdraw(entry: number): void {
    const slot = (this.address + entry * SLOT) >>> 2;
    const at = this.#memory.u32[slot]!;
    if (at === 0) return;
    Atomics.store(this.#memory.u32, slot, 0);
    this.#memory.free(at);
  }
}
