/** What a map holds, read with its types: for tables, JSON and bpftool's dumps. */
import type { Kernel } from '../contracts/kernel.ts';
import type { BpfMap, BpfObject, BtfValue } from '../libbpf/index.ts';
import { BpfError } from '../util/errors.ts';
import { toJson } from './json.ts';
import type { Output } from './output.ts';
import { formatAddress } from './values.ts';

export interface MapEntry {
  readonly keyBytes: Uint8Array;
  readonly valueBytes: Uint8Array;
  readonly key: BtfValue;
  /** Per-CPU maps: one a CPU. */
  readonly value: BtfValue | readonly BtfValue[];
  /** The value is all zero bytes. */
  readonly zero: boolean;
}

/** Names of the objects behind ids, for maps that hold programs or maps. */
type Namer = (id: BtfValue) => BtfValue;

/**
 * All entries. Keys that are numbers come in order; entries that vanish meanwhile are left out. Undefined: maps of this type
 * cannot be walked or looked up.
 */
export function readEntries(map: BpfMap, name: Namer = (id) => id): MapEntry[] | undefined {
  const entries: MapEntry[] = [];
  try {
    if (map.definition.keySize === 0) return takeAll(map);
    for (const [keyBytes, valueBytes] of map.entryBytes()) {
      const value = map.get(keyBytes);
      if (value === undefined) continue;
      entries.push({
        keyBytes,
        valueBytes,
        key: map.type.prefixKey ? formatNetwork(keyBytes) : map.decodeKey(keyBytes),
        value: map.type.holds === undefined ? value : name(value as BtfValue),
        zero: valueBytes.every((byte) => byte === 0),
      });
    }
  } catch (error) {
    if (error instanceof BpfError) return undefined;
    throw error;
  }
  return entries.sort((a, b) => compareKeys(a.key, b.key));
}

/** What is in a queue or stack, in the order of taking it out: it is empty afterwards. */
function takeAll(map: BpfMap): MapEntry[] {
  const entries: MapEntry[] = [];
  const none = new Uint8Array();
  for (let i = 0; i < map.definition.maxEntries; i++) {
    const value = map.take();
    if (value === undefined) break;
    entries.push({ keyBytes: none, valueBytes: none, key: i, value, zero: false });
  }
  return entries;
}

/** Programs and maps of an object by the id that the kernel gave them. */
export function namesById(kernel: Kernel, object: BpfObject, kind: 'prog' | 'map'): Namer {
  const names = new Map<number, string>();
  const owners = kind === 'prog' ? object.programs.filter(({ loaded }) => loaded) : object.maps;
  for (const { fd, name } of owners) {
    const info = kernel.objGetInfoByFd({ bpfFd: fd });
    names.set(info.id, name);
  }
  return (id) => (typeof id === 'number' ? (names.get(id) ?? id) : id);
}

export function namerFor(kernel: Kernel, object: BpfObject, map: BpfMap): Namer {
  const { holds } = map.type;
  return holds === 'prog' || holds === 'map' ? namesById(kernel, object, holds) : (id) => id;
}

function formatNetwork(key: Uint8Array): string {
  const length = new DataView(key.buffer, key.byteOffset).getUint32(0, true);
  return `${formatAddress(key.subarray(4))}/${length}`;
}

function compareKeys(a: BtfValue, b: BtfValue): number {
  const number = (value: BtfValue) => typeof value === 'number' || typeof value === 'bigint';
  if (number(a) && number(b)) return a! < b! ? -1 : a! > b! ? 1 : 0;
  return typeof a === 'string' && typeof b === 'string' ? (a < b ? -1 : a > b ? 1 : 0) : 0;
}

/** One row an entry; members of structs become columns. */
export function printEntries(out: Output, entries: readonly MapEntry[], limit: number): void {
  const shown = entries.slice(0, limit);
  const rows = shown.map(({ key, value }) => mergeColumns(columnsOf('key', key), valueColumns(value)));
  const titles = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const numeric = (title: string) => rows.every((row) => /^(-?\d+)?$/.test(row[title] ?? ''));
  out.table(
    titles.map((title) => ({ title, align: numeric(title) ? 'right' : 'left' })),
    rows.map((row) => titles.map((title) => row[title] ?? '')),
  );
  if (entries.length > limit)
    out.line(out.color.dim(`… and ${entries.length - limit} more; --map shows them all`));
}

/** A member of the value that is called as one of the key's says whose it is. */
function mergeColumns(key: Record<string, string>, value: Record<string, string>): Record<string, string> {
  const row = { ...key };
  for (const [title, text] of Object.entries(value)) row[title in key ? `value.${title}` : title] = text;
  return row;
}

function valueColumns(value: MapEntry['value']): Record<string, string> {
  if (!Array.isArray(value) || value.length < 2)
    return columnsOf('value', Array.isArray(value) ? value[0] : value);
  if (value.every((one) => typeof one !== 'object' || one === null))
    return Object.fromEntries(value.map((one, cpu) => [`cpu ${cpu}`, cell(one)]));
  return { values: value.map((one) => toJson(one)).join('\n') };
}

function columnsOf(title: string, value: BtfValue): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { [title]: cell(value) };
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, cell(member)]));
}

export function cell(value: BtfValue): string {
  return typeof value === 'string' ? value : toJson(value);
}
