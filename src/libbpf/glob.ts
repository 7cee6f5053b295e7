/** Patterns of multi-probes: `*` and `?` as libbpf's glob_match has them, everything else stands for itself. */

export function isGlob(pattern: string): boolean {
  return /[*?]/.test(pattern);
}

/** In time linear in the product of the lengths, whatever the pattern. */
export function globMatch(text: string, pattern: string): boolean {
  let at = 0;
  let p = 0;
  let star = -1;
  let mark = 0;
  while (at < text.length) {
    if (pattern[p] === '*') {
      star = p++;
      mark = at;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[at])) {
      p++;
      at++;
    } else if (star >= 0) {
      p = star + 1;
      at = ++mark;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
