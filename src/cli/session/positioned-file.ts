/** A file that is read piece by piece, without a stream in between. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { fileError } from '../files.ts';

export class PositionedFile {
  readonly path: string;
  readonly isRegular: boolean;
  position = 0;
  readonly #fd: number;

  constructor(path: string) {
    this.path = path;
    try {
      this.#fd = openSync(path, 'r');
      this.isRegular = fstatSync(this.#fd).isFile();
    } catch (error) {
      throw fileError(path, error, 'read it');
    }
  }

  /** The part of `room` that was filled; empty at the end. */
  read(room: Uint8Array): Uint8Array {
    try {
      const length = readSync(this.#fd, room, 0, room.length, this.position);
      this.position += length;
      return room.subarray(0, length);
    } catch (error) {
      throw fileError(this.path, error, 'read it');
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
