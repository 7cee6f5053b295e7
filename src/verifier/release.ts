/**
 * What the target release does not know yet. The rules themselves are rows of spec/releases; other checks ask `env.release` where
 * they are applied.
 */
import type { Insn } from '../contracts/insn.ts';
import type { Release } from '../spec/index.ts';
import type { Deductions } from './domain/index.ts';
import type { Env } from './env.ts';
import { attachTypeName, helperRow } from './helper-table.ts';

/** Refuses an instruction that the release has not; `early`: those that are refused before paths are followed. */
export function checkInsnRelease(env: Env, insn: Insn, at: number, early: boolean): void {
  if (env.release.knowsEveryInsn) return;
  const unknown = env.release.unknownInsn(insn);
  if (unknown === undefined || (unknown.early === true) !== early) return;
  env.fail('EINVAL', unknown.message(insn), {
    kind: 'encoding',
    at,
    needs: { what: unknown.what, since: unknown.since },
  });
}

/** For the reason of a refused call: what the release lacks, undefined where it is something else. */
export function helperLacks(env: Env, id: number): { what: string; since: string } | undefined {
  const row = helperRow(env, id);
  return row === undefined ? undefined : env.release.helperNeeds(row, env.progTypeName, attachTypeName(env));
}

const DEDUCTIONS = [
  'bounds_of_halves',
  'bits_of_both_ranges',
  'products_by_parts',
  'equality_by_range',
  'ranges_of_both_operands',
  'bitwise_ranges',
  'negative_products',
  'wrapped_sums',
  'product_unions',
  'bits_decide',
  'single_values',
  'signs_of_halves',
  'forked_masks',
] as const satisfies readonly (keyof Deductions)[];

const known = new WeakMap<Release, Deductions | 'all'>();

/** What the release deduces of numbers; null where that is what the newest does. */
export function deductionsOf(release: Release): Deductions | null {
  let deductions = known.get(release);
  if (deductions === undefined) {
    const rows = DEDUCTIONS.map((rule) => [rule, release.has(rule)] as const);
    const some = Object.fromEntries(rows) as Record<keyof Deductions, boolean>;
    deductions = rows.every(([, has]) => has) ? 'all' : some;
    known.set(release, deductions);
  }
  return deductions === 'all' ? null : deductions;
}
