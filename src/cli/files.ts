/** Reading and writing the files of a command line: what cannot be read is said with its path and what to do. */
import {
  createReadStream,
  createWriteStream,
  readFileSync,
  statSync,
  type WriteStream,
  writeFileSync,
} from 'node:fs';
import { basename } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { type Btf, parseBtf } from '../btf/index.ts';
import { isElf, parseElf } from '../elf/index.ts';
import { BpfObject } from '../libbpf/index.ts';
import { fromUtf8 } from '../util/bytes.ts';
import { ERRNO, type ErrnoName } from '../util/errno.ts';
import { BpfError } from '../util/errors.ts';

/** Objects larger than this are no BPF objects; a device or a wrong file is not read into memory. */
const MAX_FILE = 1 << 30;
const MAX_CONFIG = 64 << 20;

const HINTS: Partial<Record<ErrnoName, string>> = {
  ENOENT: 'check the path',
  EACCES: 'you may not read or write it: check its permissions',
  EISDIR: 'give a file, not a directory',
};

/** An error of the file system as the one error of this program. */
export function fileError(path: string, error: unknown, doing: string): BpfError {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const known: ErrnoName = code in ERRNO ? (code as ErrnoName) : 'EIO';
  const text = REASONS[known] ?? (error as Error).message;
  const hint = HINTS[known];
  return new BpfError(known, `${path}: cannot ${doing}: ${text}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

const REASONS: Partial<Record<ErrnoName, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
};

export function readFile(path: string): Uint8Array {
  try {
    const info = statSync(path);
    if (info.size > MAX_FILE)
      throw new BpfError('EFBIG', `${path}: ${info.size} bytes are too many: at most ${MAX_FILE} are read`);
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    if (error instanceof BpfError) throw error;
    throw fileError(path, error, 'read it');
  }
}

export function writeFile(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch (error) {
    throw fileError(path, error, 'write it');
  }
}

/** The pieces of a file as they are read, for files that may be larger than memory. */
export async function* readPieces(path: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of createReadStream(path)) yield piece as Uint8Array;
  } catch (error) {
    throw fileError(path, error, 'read it');
  }
}

/** Size in bytes, 0 where it has none (a pipe). */
export function fileSize(path: string): number {
  try {
    return statSync(path).size;
  } catch (error) {
    throw fileError(path, error, 'read it');
  }
}

/** A file that is written piece by piece; `write` resolves when there is room again. */
export class FileWriter {
  readonly #stream: WriteStream;
  readonly #path: string;
  #error: unknown;

  constructor(path: string) {
    this.#path = path;
    this.#stream = createWriteStream(path);
    this.#stream.on('error', (error) => {
      this.#error = error;
    });
  }

  async write(piece: Uint8Array): Promise<void> {
    if (this.#error !== undefined) throw fileError(this.#path, this.#error, 'write it');
    if (this.#stream.write(piece)) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        this.#stream.off('drain', done).off('error', done);
        resolve();
      };
      this.#stream.on('drain', done).on('error', done);
    });
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#stream.once('error', () => resolve());
      this.#stream.end(() => resolve());
    });
    if (this.#error !== undefined) throw fileError(this.#path, this.#error, 'write it');
  }
}

/** An object file, parsed; what is wrong with it is said with its path. */
export function openObject(path: string): BpfObject {
  const bytes = readFile(path);
  return inFile(path, () => BpfObject.open(bytes, { name: basename(path) }));
}

/** BTF of a kernel: raw, as in /sys/kernel/btf/vmlinux, or the section .BTF of an ELF file. */
export function readBtf(path: string): Btf {
  const bytes = readFile(path);
  return inFile(path, () => {
    if (!isElf(bytes)) return parseBtf(bytes);
    const section = parseElf(bytes).sections.find(({ name }) => name === '.BTF');
    if (section === undefined) throw new BpfError('ENOENT', 'the ELF file has no section .BTF');
    return parseBtf(section.data);
  });
}

/** `CONFIG_X=value` lines, gzipped or not. */
export function readKconfig(path: string): ReadonlyMap<string, string> {
  const bytes = readFile(path);
  const gzipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
  const text = inFile(path, () => fromUtf8(gzipped ? unzip(bytes) : bytes));
  return new Map([...text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]));
}

function unzip(bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_CONFIG });
  } catch (error) {
    throw new BpfError('EINVAL', 'it cannot be unzipped', { cause: error });
  }
}

/** Runs `read` and puts the path before the message of what it throws. */
export function inFile<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw withPath(path, error);
  }
}

export function withPath(path: string, error: unknown): unknown {
  if (!(error instanceof BpfError) || error.message.startsWith(`${path}:`)) return error;
  return new BpfError(error.code as ErrnoName, `${path}: ${error.message}`, {
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });
}
