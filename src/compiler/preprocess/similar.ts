/** Names that a misspelt word may have meant: the nearest by edits, near enough to be worth saying. */

/** The candidate with the fewest edits, at most `limit` (default: a third of the length); null when none is that near, or two are. */
export function similarName(
  word: string,
  candidates: Iterable<string>,
  limit = Math.max(1, Math.floor(word.length / 3)),
): string | null {
  let best: string | null = null;
  let least = limit + 1;
  let tied = false;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) > Math.min(limit, least)) continue;
    const distance = editDistance(word, candidate, Math.min(limit, least));
    if (distance > limit || distance > least) continue;
    tied = distance === least && best !== null;
    if (distance < least || best === null) {
      best = candidate;
      least = distance;
    }
  }
  return tied ? null : best;
}

/** Insertions, deletions and replacements between two words; anything above `limit` reads as `limit + 1`. */
export function editDistance(one: string, other: string, limit: number): number {
  let row = Array.from({ length: other.length + 1 }, (_, i) => i);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    let smallest = i;
    for (let j = 1; j <= other.length; j++) {
      const same = one.charCodeAt(i - 1) === other.charCodeAt(j - 1) ? 0 : 1;
      const cost = Math.min(row[j - 1]! + same, row[j]! + 1, next[j - 1]! + 1);
      next.push(cost);
      if (cost < smallest) smallest = cost;
    }
    if (smallest > limit) return limit + 1;
    row = next;
  }
  return Math.min(row[other.length]!, limit + 1);
}
