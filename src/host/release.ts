/** Kernel releases: which is older. */

/** `6.18.44-fc` → [6, 18]; what is no release counts as newest, so that nothing is refused because of a strange name. */
function parts(release: string): readonly [number, number] {
  const match = /^(\d+)\.(\d+)/.exec(release);
  return match === null ? [Number.POSITIVE_INFINITY, 0] : [Number(match[1]), Number(match[2])];
}

export function isOlder(release: string, than: string): boolean {
  const [major, minor] = parts(release);
  const [otherMajor, otherMinor] = parts(than);
  return major < otherMajor || (major === otherMajor && minor < otherMinor);
}
