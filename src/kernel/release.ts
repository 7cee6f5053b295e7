/**
 * An embedded kernel of an older release: what it has not is refused as that kernel would, and says since when there is it. The
 * tables are those of spec/releases; what they do not name is as in the newest release.
 */
import type { Btf } from '../btf/index.ts';
import { COMMANDS, type Needed, type Release } from '../spec/index.ts';
import { UnsupportedFeatureError } from '../util/errors.ts';

/** Throws UnsupportedFeatureError with EINVAL where something is needed that the release lacks. */
export function requireNothing(release: Release, needed: Needed | undefined): void {
  if (needed !== undefined) throw new UnsupportedFeatureError('EINVAL', needed, release.name);
}

/** BTF_LOAD: kinds of types by release. */
export function checkBtfKinds(release: Release, btf: Btf): void {
  if (release.knowsEveryBtfKind) return;
  for (let id = 1; id < btf.typeCount; id++) {
    const type = btf.type(id);
    requireNothing(release, release.btfKindNeeds(type.kind));
    if (type.kind === 'func' && type.linkage === 'global')
      requireNothing(release, release.btfKindNeeds('func_global'));
  }
}

/** Methods of the contract whose command the release has not, each with what to throw. */
export function missingCommands(release: Release): ReadonlyMap<string, Needed> {
  return new Map(
    COMMANDS.filter((row) => row.objectKind === undefined && !release.isSince(row.since)).map((row) => [
      row.method,
      { what: row.name, since: row.since },
    ]),
  );
}
