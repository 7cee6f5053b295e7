/**
 * What a kernel of some release does not have, by the releases in the tables: the one place that turns a refusal (EINVAL, E2BIG,
 * "unknown func") into the name of what is missing and the release that has it.
 */
import {
  type AttachTypeRow,
  attachTypeById,
  commandByName,
  helperById,
  mapTypeById,
  progTypeById,
} from '../spec/index.ts';
import { type AttrField, attrRow, type BpfCommand } from './attr.ts';
import { isOlder } from './release.ts';

export interface Lacking {
  /** `map type ringbuf`, `BPF_LINK_CREATE with link_create.tcx.relative_fd` */
  readonly what: string;
  /** First release that has it. */
  readonly since: string;
}

/** Numbers, addresses and names of a command's attributes, by the keys of `attr.ts`. */
type Values = Readonly<Record<string, number | bigint | string | undefined>>;

interface Row {
  readonly name: string;
  readonly since: string;
}

/** Attributes that hold a number of a table, in the order in which they are looked at. */
const NUMBERED: readonly (readonly [
  key: string,
  what: string,
  row: (id: number, command: string) => Row | undefined,
])[] = [
  ['mapType', 'map type', mapTypeById],
  ['progType', 'program type', progTypeById],
  ['expectedAttachType', 'attach type', (id) => lowered(attachTypeById(id))],
  ['attachType', 'attach type', (id) => lowered(attachTypeById(id))],
  ['attachType', 'a link of attach type', linkRow],
];

function lowered(row: AttachTypeRow | undefined): Row | undefined {
  return row === undefined ? undefined : { name: row.name.toLowerCase(), since: row.since };
}

function linkRow(id: number, command: string): Row | undefined {
  const row = command === 'BPF_LINK_CREATE' ? attachTypeById(id) : undefined;
  return row === undefined ? undefined : { name: row.name.toLowerCase(), since: row.linkSince };
}

/** The first thing that a command asks for and that a kernel of `release` does not have; undefined: it has everything. */
export function lackingOf(release: string, command: BpfCommand, values: Values): Lacking | undefined {
  const since = commandByName(command)?.since;
  if (since !== undefined && isOlder(release, since)) return { what: command, since };
  for (const [key, what, rowOf] of NUMBERED) {
    const value = values[key];
    if (value === undefined) continue;
    const row = rowOf(Number(value), command);
    if (row !== undefined && isOlder(release, row.since))
      return { what: `${what} ${row.name}`, since: row.since };
  }
  for (const [key, field] of attrRow(command).fields) {
    if (values[key] && isTooNew(release, field))
      return { what: `${command} with ${field.layout.name}`, since: field.since! };
  }
  return undefined;
}

export function isTooNew(release: string, field: AttrField): boolean {
  return field.since !== undefined && isOlder(release, field.since);
}

const CALL = 0x85;

/** The helper that an instruction calls, where a kernel of `release` does not have it. `insn` is 8 bytes. */
export function lackingHelper(release: string, insn: DataView): Lacking | undefined {
  // The source register says what is called: 0 is a helper.
  if (insn.byteLength < 8 || insn.getUint8(0) !== CALL || insn.getUint8(1) >> 4 !== 0) return undefined;
  const row = helperById(insn.getInt32(4, true));
  return row !== undefined && isOlder(release, row.since)
    ? { what: `helper ${row.name}`, since: row.since }
    : undefined;
}
