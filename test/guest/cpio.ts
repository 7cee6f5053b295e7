/**
 * Writes the "newc" archive that Linux unpacks as its first root file system (Documentation/driver-api/early-userspace/
 * buffer-format). Several archives may follow each other, each padded to 4 bytes, so a large one that never changes and a
 * small one of today's build make one image. Everything belongs to root and carries no time: equal input, equal bytes.
 */
import { once } from 'node:events';
import { createWriteStream, readFileSync, realpathSync, statSync } from 'node:fs';
import { finished } from 'node:stream/promises';

export type Entry =
  | { readonly path: string; readonly kind: 'directory' }
  | { readonly path: string; readonly kind: 'link'; readonly target: string }
  | { readonly path: string; readonly kind: 'device'; readonly major: number; readonly minor: number }
  | {
      readonly path: string;
      readonly kind: 'file';
      /** The bytes, or a file of this machine that holds them. */
      readonly from: Uint8Array | { readonly file: string };
      readonly executable?: boolean;
    };

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;
const TRAILER = 'TRAILER!!!';

interface Header {
  readonly mode: number;
  readonly links: number;
  readonly size: number;
  readonly major: number;
  readonly minor: number;
}

const padding = (length: number): Buffer => Buffer.alloc((4 - (length % 4)) % 4);

function header(name: string, inode: number, fields: Header): Buffer {
  const path = Buffer.from(`${name}\0`);
  // magic, then 13 numbers of 8 hexadecimal digits
  const numbers = [
    inode,
    fields.mode,
    0, // uid
    0, // gid
    fields.links,
    0, // mtime
    fields.size,
    0, // device of the archive
    0,
    fields.major,
    fields.minor,
    path.length,
    0, // checksum, of the crc variant only
  ];
  const head = Buffer.from(`070701${numbers.map((n) => n.toString(16).padStart(8, '0')).join('')}`);
  return Buffer.concat([head, path, padding(head.length + path.length)]);
}

/** The directories above the entries that no entry makes itself, outermost first. */
function parents(entries: readonly Entry[]): Entry[] {
  const made = new Set(entries.filter((entry) => entry.kind === 'directory').map((entry) => entry.path));
  const missing: Entry[] = [];
  for (const { path } of entries) {
    const parts = path.split('/').slice(0, -1);
    for (let count = 1; count <= parts.length; count++) {
      const above = parts.slice(0, count).join('/');
      if (above === '' || made.has(above)) continue;
      made.add(above);
      missing.push({ path: above, kind: 'directory' });
    }
  }
  return missing;
}

function parts(entry: Entry, inode: number): Buffer[] {
  const name = entry.path.replace(/^\//, '');
  const none = { links: 1, size: 0, major: 0, minor: 0 };
  switch (entry.kind) {
    case 'directory':
      return [header(name, inode, { ...none, mode: S_IFDIR | 0o755, links: 2 })];
    case 'device':
      return [
        header(name, inode, { ...none, mode: S_IFCHR | 0o600, major: entry.major, minor: entry.minor }),
      ];
    case 'link': {
      const target = Buffer.from(entry.target);
      const head = header(name, inode, { ...none, mode: S_IFLNK | 0o777, size: target.length });
      return [head, target, padding(target.length)];
    }
    case 'file': {
      const bytes = 'file' in entry.from ? readFileSync(realpathSync(entry.from.file)) : entry.from;
      const executable =
        entry.executable ?? ('file' in entry.from && (statSync(entry.from.file).mode & 0o100) !== 0);
      const head = header(name, inode, {
        ...none,
        mode: S_IFREG | (executable ? 0o755 : 0o644),
        size: bytes.length,
      });
      return [head, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), padding(bytes.length)];
    }
  }
}

/** Writes the entries, and the directories above them, to a file. Absolute paths; a path given twice is an error. */
export async function writeCpio(output: string, entries: readonly Entry[]): Promise<void> {
  const seen = new Set<string>();
  for (const { path } of entries) {
    if (seen.has(path)) throw new Error(`the archive would hold ${path} twice`);
    seen.add(path);
  }
  const stream = createWriteStream(output);
  let inode = 1;
  for (const entry of [...parents(entries), ...entries]) {
    for (const part of parts(entry, inode++)) {
      if (part.length > 0 && !stream.write(part)) await once(stream, 'drain');
    }
  }
  stream.end(
    Buffer.concat([
      header(TRAILER, 0, { mode: 0, links: 1, size: 0, major: 0, minor: 0 }),
      Buffer.alloc(512),
    ]),
  );
  await finished(stream);
}
