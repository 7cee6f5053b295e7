/** Every helper of the UAPI (enum bpf_func_id of Linux 6.18), one row each, by family in helpers/. */
import { CORE_HELPERS } from './helpers/core.ts';
import { DYNPTR_HELPERS } from './helpers/dynptr.ts';
import { PROBE_HELPERS } from './helpers/probe.ts';
import { RINGBUF_HELPERS } from './helpers/ringbuf.ts';
import { SKB_HELPERS } from './helpers/skb.ts';
import { SOCK_HELPERS } from './helpers/sock.ts';
import { SOCKMAP_HELPERS } from './helpers/sockmap.ts';
import { STORAGE_HELPERS } from './helpers/storage.ts';
import { SYSTEM_HELPERS } from './helpers/system.ts';
import { TEXT_HELPERS } from './helpers/text.ts';
import { TRACING_HELPERS } from './helpers/tracing.ts';
import { XDP_HELPERS } from './helpers/xdp.ts';
import { expandProgTypes } from './prog-groups.ts';
import type { HelperRow, HelperVariant } from './types.ts';

/** All rows, by ascending id. */
export const HELPERS: readonly HelperRow[] = [
  ...CORE_HELPERS,
  ...DYNPTR_HELPERS,
  ...PROBE_HELPERS,
  ...RINGBUF_HELPERS,
  ...SKB_HELPERS,
  ...SOCK_HELPERS,
  ...SOCKMAP_HELPERS,
  ...STORAGE_HELPERS,
  ...SYSTEM_HELPERS,
  ...TEXT_HELPERS,
  ...TRACING_HELPERS,
  ...XDP_HELPERS,
].sort((a, b) => a.id - b.id);

const BY_ID: ReadonlyMap<number, HelperRow> = new Map(HELPERS.map((row) => [row.id, row]));
const BY_NAME: ReadonlyMap<string, HelperRow> = new Map(HELPERS.map((row) => [row.name, row]));

export function helperById(id: number): HelperRow | undefined {
  return BY_ID.get(id);
}

/** By full name, `bpf_map_lookup_elem`, or without the prefix. */
export function helperByName(name: string): HelperRow | undefined {
  return BY_NAME.get(name) ?? BY_NAME.get(`bpf_${name}`);
}

const allowedTypes = new WeakMap<readonly string[], ReadonlySet<string>>();

function typesOf(names: readonly string[]): ReadonlySet<string> {
  let types = allowedTypes.get(names);
  if (types === undefined) {
    types = expandProgTypes(names);
    allowedTypes.set(names, types);
  }
  return types;
}

/** Names of the program types that may call the helper, groups expanded. */
export function helperProgTypes(row: HelperRow): ReadonlySet<string> {
  return typesOf(row.allowed);
}

/**
 * Whether a program of `progType` (`xdp`) with `attachType` (UAPI name without BPF_; undefined where the type has none)
 * gets the helper from its type's func_proto. Capabilities, GPL and sleepability are separate fields of the row.
 */
export function helperAllowed(row: HelperRow, progType: string, attachType?: string): boolean {
  if (!typesOf(row.allowed).has(progType)) return false;
  const needed = row.attachTypes?.[progType];
  if (needed !== undefined && (attachType === undefined || !needed.includes(attachType))) return false;
  return attachType === undefined || !row.exceptAttachTypes?.includes(attachType);
}

/** The row as programs of `progType` see it: with the variant's prototype where the type has another one. */
export function helperFor(row: HelperRow, progType: string): HelperRow {
  const variant = row.variants?.find(({ allowed }) => typesOf(allowed).has(progType));
  if (variant === undefined) return row;
  let found = rowsOfVariants.get(variant);
  if (found === undefined) {
    found = rowOfVariant(row, variant);
    rowsOfVariants.set(variant, found);
  }
  return found;
}

/** One row for each, so that it is the same one wherever it is asked for. */
const rowsOfVariants = new WeakMap<HelperVariant, HelperRow>();

function rowOfVariant(row: HelperRow, variant: HelperVariant): HelperRow {
  const { gplOnly: rowGpl, pktAccess: rowPkt, variants: _, ...rest } = row;
  const { args, ret, gplOnly = rowGpl, pktAccess = rowPkt } = variant;
  return {
    ...rest,
    args: args ?? row.args,
    ret: ret ?? row.ret,
    ...(gplOnly ? { gplOnly: true as const } : {}),
    ...(pktAccess ? { pktAccess: true as const } : {}),
  };
}
