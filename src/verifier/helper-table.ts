/** Which helper prototype a program gets for an id: the table's row, its variant for the program type, privileges. */
import { helperNameById } from '../asm/index.ts';
import {
  attachTypeById,
  HELPERS,
  helperAllowed,
  helperById,
  helperFor,
  type Release,
} from '../spec/index.ts';
import type { Capability, HelperRow } from '../spec/types.ts';
import type { Env } from './env.ts';
import { structOpsHelper } from './struct-ops.ts';

/** One past the highest helper id of the target kernel; ids beyond have no name in its log. */
const HELPER_ID_LIMIT = 212;

function hasCapability(env: Env, capability: Capability | undefined): boolean {
  const c = env.request.credentials;
  switch (capability) {
    case undefined:
    case 'none':
      return true;
    case 'bpf':
      return c.capBpf || c.capSysAdmin;
    case 'perfmon':
      return c.capPerfmon || c.capSysAdmin;
    case 'net_admin':
      return c.capNetAdmin || c.capSysAdmin;
    case 'sys_admin':
      return c.capSysAdmin;
  }
}

/**
 * UAPI name (without BPF_) of the program's expected attach type; undefined where its type has none. 0 may stand for the
 * type's default.
 */
export function attachTypeName(env: Env): string | undefined {
  const { progType, expectedAttachType } = env.request;
  const name = attachTypeById(expectedAttachType)?.name;
  const { attachTypes, defaultAttachType } = progType;
  if (expectedAttachType !== 0) return name;
  if (defaultAttachType !== undefined) return defaultAttachType;
  return name !== undefined && attachTypes?.includes(name) ? name : undefined;
}

const newestHelpers = new WeakMap<Release, number>();

/** The highest id that the release has. */
function newestHelper(release: Release): number {
  let newest = newestHelpers.get(release);
  if (newest === undefined) {
    newest = Math.max(...HELPERS.filter((row) => release.hasHelper(row)).map((row) => row.id));
    newestHelpers.set(release, newest);
  }
  return newest;
}

/** The row of an id, whatever may call it and wherever it exists. */
export function helperRow(env: Env, id: number): HelperRow | undefined {
  return (env.request.helpers ?? helperById)(id);
}

/** Whether the id lies outside the table, and the request adds no row for it: such a call is `invalid func unknown`. */
export function helperIdUnknown(env: Env, id: number): boolean {
  if (id < 0) return true;
  if (id >= HELPER_ID_LIMIT) return env.request.helpers?.(id) === undefined;
  const row = helperRow(env, id);
  // Numbers are handed out in order.
  return row !== undefined && !env.release.hasHelper(row) && id > newestHelper(env.release);
}

/** The prototype as this program sees it; null where it may not call the helper. */
export function helperPrototype(env: Env, id: number): HelperRow | null {
  if (env.hasCachedHelper(id)) return env.helper(id);
  const row = helperRow(env, id);
  let found: HelperRow | null = null;
  if (
    row !== undefined &&
    !env.request.progType.replacesFunctions &&
    helperAllowed(row, env.progTypeName, attachTypeName(env)) &&
    structOpsHelper(env, row) &&
    hasCapability(env, row.capability) &&
    env.release.helperNeeds(row, env.progTypeName, attachTypeName(env)) === undefined
  ) {
    found = helperFor(row, env.progTypeName);
  }
  env.cacheHelper(id, found);
  return found;
}

export function helperName(id: number): string {
  return helperNameById(id) ?? 'unknown';
}
