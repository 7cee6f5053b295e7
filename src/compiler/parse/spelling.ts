/** Suggestions for misspelt names: the nearest one by edit distance, as near as clang wants it. */

/** Names compared in one question; more would be slow on hostile input. */
const MAX_CANDIDATES = 50_000;

/** Edits (insert, delete, replace, swap neighbours) from `a` to `b`, or `limit + 1` where it is more than `limit`. */
export function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let before: number[] = [];
  let previous: number[] = [];
  for (let j = 0; j <= b.length; j++) previous.push(j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    let best = i;
    for (let j = 1; j <= b.length; j++) {
      const same = a.charCodeAt(i - 1) === b.charCodeAt(j - 1);
      let cost = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (same ? 0 : 1));
      if (
        i > 1 &&
        j > 1 &&
        a.charCodeAt(i - 1) === b.charCodeAt(j - 2) &&
        a.charCodeAt(i - 2) === b.charCodeAt(j - 1)
      )
        cost = Math.min(cost, before[j - 2]! + 1);
      row.push(cost);
      if (cost < best) best = cost;
    }
    if (best > limit) return limit + 1;
    before = previous;
    previous = row;
  }
  return previous[b.length]!;
}

/** The one nearest name within a third of the length; null where none is near or two are equally near. */
export function nearest(name: string, candidates: Iterable<string>): string | null {
  if (name.length < 2 || name.length > 128) return null;
  let limit = Math.floor((name.length + 2) / 3);
  let found: string | null = null;
  let ties = 0;
  let seen = 0;
  for (const candidate of candidates) {
    if (++seen > MAX_CANDIDATES) break;
    if (candidate === name || candidate.length < 2) continue;
    const distance = editDistance(name, candidate, limit);
    if (distance > limit || distance >= candidate.length) continue;
    if (found !== null && distance === limit) {
      ties++;
      continue;
    }
    found = candidate;
    limit = distance;
    ties = 0;
  }
  return ties > 0 ? null : found;
}
