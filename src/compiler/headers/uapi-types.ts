/**
 * Members of the UAPI's records (`generated/records.ts`, C as our own dump writes it: a member a line) as rows, from which the embedded
 * kernel's BTF is made: a Linux's has them too, and programs that include vmlinux.h are relocated onto them.
 */
import type { KernelMember } from '../../spec/index.ts';
import { InternalError } from '../../util/errors.ts';
import { UAPI_RECORDS } from './generated/records.ts';

export interface UapiRecord {
  readonly kind: 'struct' | 'union';
  readonly members: readonly KernelMember[];
}

/** Structs and unions by name; enums of that table are in `src/uapi` with all the others. */
export const UAPI_RECORD_NAMES: readonly string[] = Object.keys(UAPI_RECORDS).filter((name) =>
  /^(?:struct|union) /.test(UAPI_RECORDS[name]!),
);

/** Undefined for what is no record of the UAPI. */
export function uapiRecord(name: string): UapiRecord | undefined {
  if (!Object.hasOwn(UAPI_RECORDS, name)) return undefined;
  const [head = '', ...lines] = UAPI_RECORDS[name]!.split('\n');
  const kind = /^(struct|union) /.exec(head)?.[1] as UapiRecord['kind'] | undefined;
  if (kind === undefined) return undefined;
  const outer: { kind: UapiRecord['kind']; members: KernelMember[] }[] = [];
  let open = { kind, members: [] as KernelMember[] };
  for (const line of lines.slice(0, -1)) {
    const text = line.trim().replace(/;$/, '');
    if (text === 'struct {' || text === 'union {') {
      outer.push(open);
      open = { kind: text === 'struct {' ? 'struct' : 'union', members: [] };
    } else if (text.startsWith('}')) {
      const around = outer.pop();
      if (around === undefined) throw new InternalError(`the record '${name}' closes more than it opens`);
      const inner = { name: text.slice(1).trim() };
      around.members.push(
        open.kind === 'struct' ? { ...inner, struct: open.members } : { ...inner, union: open.members },
      );
      open = around;
    } else open.members.push(text);
  }
  return open;
}
