/** Type-based aliasing (C11 6.5p7): what an access says about the object that it touches. */
import { type CType, core, type RecordType } from '../ast/index.ts';
import type { AliasTag } from '../ir/index.ts';
import type { Place } from './context.ts';

const parts = new WeakMap<RecordType, ReadonlySet<object>>();
const NOTHING: ReadonlySet<object> = new Set();

function partsOf(record: RecordType): ReadonlySet<object> {
  const known = parts.get(record);
  if (known !== undefined) return known;
  const found = new Set<object>();
  const work: RecordType[] = [record];
  while (work.length > 0) {
    const one = work.pop()!;
    if (found.has(one)) continue;
    found.add(one);
    for (const field of one.fields) {
      let type = core(field.type);
      while (type.kind === 'array') type = core(type.element);
      if (type.kind === 'record') work.push(type);
    }
  }
  parts.set(record, found);
  return found;
}

/** Signed and unsigned are one; characters may be anything; pointers are pointers. */
function scalarName(type: CType): string | undefined {
  const is = core(type);
  switch (is.kind) {
    case 'integer':
      if (is.bool) return '_Bool';
      if (is.char) return 'char';
      return `${is.size} ${is.rank}`;
    case 'enum':
      return undefined;
    case 'pointer':
      return 'pointer';
    default:
      return undefined;
  }
}

/** Undefined: may be anything. */
export function aliasTag(place: Place): AliasTag | undefined {
  if (place.bits !== undefined || place.root === null) return undefined;
  const scalar = scalarName(place.type);
  const { root } = place;
  // A character may be a part of anything, unless it is a member of a known record.
  if (scalar === undefined || (scalar === 'char' && root === undefined)) return undefined;
  return { scalar, root, parts: root === undefined ? NOTHING : partsOf(root) };
}
