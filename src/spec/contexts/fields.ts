/** Short forms for the rows of context layouts. Offsets and sizes come from the generated UAPI layouts. */
import { UAPI_LAYOUTS, type UapiField } from '../../uapi/index.ts';
import type { CtxField } from '../types.ts';

/** What a field allows beyond a load of its own size. */
export type FieldRules = Partial<Omit<CtxField, 'name' | 'offset' | 'size'>>;

export type UapiStruct = keyof typeof UAPI_LAYOUTS;

/** Rules that several structs share. */
export const NARROW: FieldRules = { narrow: true };
export const SOCK_POINTER: FieldRules = { kind: 'sock' };

function uapiField(struct: UapiStruct, name: string): UapiField {
  const field = UAPI_LAYOUTS[struct].fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw new Error(`struct ${struct} has no field ${name}`);
  return field;
}

/** One row for a field of `struct`: loads of the field's own size, no stores, unless `rules` says more. */
export function field(struct: UapiStruct, name: string, rules: FieldRules = {}): CtxField {
  const { offset, size } = uapiField(struct, name);
  return { name, offset, size, read: true, write: false, ...rules };
}

/** One row an element of an array of 4-byte words: `cb[0]`, `cb[1]` … */
export function words(struct: UapiStruct, name: string, rules: FieldRules = {}): CtxField[] {
  const { offset, size } = uapiField(struct, name);
  return Array.from({ length: size / 4 }, (_, i) => ({
    name: `${name}[${i}]`,
    offset: offset + 4 * i,
    size: 4,
    read: true,
    write: false,
    ...rules,
  }));
}

export function sizeOf(struct: UapiStruct): number {
  return UAPI_LAYOUTS[struct].size;
}
