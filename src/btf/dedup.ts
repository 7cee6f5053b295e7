/**
 * Types that say the same become one. Two types are the same where no path through their references tells them apart: classes of
 * types are split until all members of a class refer to the same classes (partition refinement), so cycles need no special care.
 *
 * Variables, data sections and functions stay apart: the same name may stand for different ones (`static`).
 */
import { mapReferences } from './references.ts';
import type { BtfType } from './types.ts';

/** Rounds are as many as the longest chain that tells two types apart; where they take more than this, nothing is merged. */
const MAX_VISITS = 4_000_000;

const APART: ReadonlySet<BtfType['kind']> = new Set(['var', 'datasec', 'func']);

/**
 * For types with ids 1, 2, … : the types that remain, and the new id of every old one. A forward declaration is not its struct.
 */
export function dedupTypes(types: readonly BtfType[]): { types: BtfType[]; ids: readonly number[] } {
  const first = (type: BtfType, at: number): string =>
    APART.has(type.kind) ? `#${at}` : stringify(mapReferences(type, () => 0));
  let classes = number(types.map(first));
  for (let round = 0; ; round++) {
    if (round * types.length > MAX_VISITS)
      return { types: [...types], ids: [0, ...types.map((_, i) => i + 1)] };
    const current = classes;
    const refined = number(
      types.map((type, at) => {
        const references: number[] = [current.of[at]];
        mapReferences(type, (id) => {
          references.push(id === 0 ? -1 : (current.of[id - 1] ?? -2));
          return 0;
        });
        return references.join(',');
      }),
    );
    classes = refined;
    if (refined.count === current.count) break;
  }
  const kept: BtfType[] = [];
  const idOf = new Map<number, number>();
  const ids = [0];
  types.forEach((type, at) => {
    let id = idOf.get(classes.of[at]);
    if (id === undefined) {
      id = kept.push(type);
      idOf.set(classes.of[at], id);
    }
    ids.push(id);
  });
  return { types: kept.map((type) => mapReferences(type, (id) => ids[id] ?? id)), ids };
}

const stringify = (type: BtfType): string =>
  JSON.stringify(type, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));

function number(keys: readonly string[]): { of: readonly number[]; count: number } {
  const known = new Map<string, number>();
  const of = keys.map((key) => {
    let one = known.get(key);
    if (one === undefined) {
      one = known.size;
      known.set(key, one);
    }
    return one;
  });
  return { of, count: known.size };
}
