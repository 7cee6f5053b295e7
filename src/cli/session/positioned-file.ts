/** A file that is read piece by piece, without a stream in between. */
import { closeSync, fstatSync, openSync, read, readSync } from 'node:fs';
import { fileError } from '../files.ts';

export class PositionedFile {
  readonly path: string;
  readonly isRegular: boolean;
  /** Bytes that it had when it was opened. */
  readonly size: number;
  position = 0;
  readonly #fd: number;

  constructor(path: string) {
    this.path = path;
    try {
      this.#fd = openSync(path, 'r');
      const stat = fstatSync(this.#fd);
      this.isRegular = stat.isFile();
      this.size = stat.size;
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

  /** Bytes from another position on, read while this thread goes on; how many. `position` stays.*/
  readAhead(room: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      read(this.#fd, room, 0, room.length, position, (error, length) => {
        if (error === null) resolve(length);
        else reject(fileError(this.path, error, 'read it'));
      });
    });
  }

  close(): void {
    closeSync(this.#fd);
  }
}
