/** Which helpers the embedded kernel has; derived from the registry. */
import { HELPERS, helperByName } from '../spec/helpers.ts';
import { HELPER_IMPLEMENTATIONS } from './registry.ts';

/** Names of the helpers that `createHelpers` can resolve (some only where the kernel around offers what they need). */
export const IMPLEMENTED_HELPERS: readonly string[] = Object.keys(HELPER_IMPLEMENTATIONS).filter(
  // What only converted classic programs call is in no user's table.
  (name) => helperByName(name) !== undefined,
);

/** Ids of the same, ascending. */
export const IMPLEMENTED_HELPER_IDS: readonly number[] = HELPERS.filter((row) =>
  Object.hasOwn(HELPER_IMPLEMENTATIONS, row.name),
).map((row) => row.id);
