/**
 * Whether a program may load or store `size` bytes at a constant offset of its context: the one reading of CtxLayout that
 * verifier, rewrite and documentation share (kernel: is_valid_access of each program type).
 */
import type { Capability, CtxField, CtxLayout } from './types.ts';

export interface CtxAccess {
  /** The field behind a facade; undefined for raw contexts. */
  readonly field: CtxField | undefined;
  /** Capability that the access needs. */
  readonly capability: Capability | undefined;
}

export interface CtxRequest {
  readonly offset: number;
  /** 1, 2, 4 or 8 bytes. */
  readonly size: number;
  readonly write: boolean;
  /** The load sign-extends. */
  readonly signed?: boolean;
  /** Expected attach type of the program, UAPI name without BPF_. */
  readonly attachType?: string | undefined;
}

/** Null where the kernel says "invalid bpf_context access". */
export function ctxAccess(layout: CtxLayout, request: CtxRequest): CtxAccess | null {
  const { offset, size, write } = request;
  if (offset < 0 || offset >= layout.size || offset % size !== 0) return null;
  return layout.access === 'raw'
    ? rawAccess(layout, request)
    : fieldAccess(layout, offset, size, write, request);
}

function rawAccess(layout: CtxLayout, { offset, size, write, signed }: CtxRequest): CtxAccess | null {
  if (write && !layout.rawWrite) return null;
  if (offset < (layout.rawMin ?? 0)) return null;
  if (layout.rawSizes !== undefined && !layout.rawSizes.includes(size)) return null;
  if (layout.btfTyped && offset % 8 !== 0) return null;
  const field = layout.fields.find((candidate) => candidate.offset === offset);
  if (field !== undefined && (size !== field.size || signed)) return null;
  return { field, capability: undefined };
}

function fieldAccess(
  layout: CtxLayout,
  offset: number,
  size: number,
  write: boolean,
  request: CtxRequest,
): CtxAccess | null {
  const at = layout.fields.findIndex((field) => offset >= field.offset && offset < field.offset + field.size);
  const field = layout.fields[at];
  if (field === undefined || !(write ? field.write : field.read)) return null;
  if (!attachTypeAllows(field.attachTypes, request)) return null;
  if (write && !attachTypeAllows(field.writeAttachTypes, request)) return null;
  if (field.kind !== undefined && field.kind !== 'scalar' && request.signed) return null;
  if (!sizeAllowed(layout, at, field, offset, size, write)) return null;
  return { field, capability: write ? (field.writeCapability ?? field.capability) : field.capability };
}

function attachTypeAllows(needed: readonly string[] | undefined, { attachType }: CtxRequest): boolean {
  return needed === undefined || (attachType !== undefined && needed.includes(attachType));
}

function sizeAllowed(
  layout: CtxLayout,
  at: number,
  field: CtxField,
  offset: number,
  size: number,
  write: boolean,
): boolean {
  const atStart = offset === field.offset;
  if (atStart && size === field.size) return true;
  if (!write && atStart && field.alsoSizes?.includes(size)) return true;
  if (field.wide && atStart && size === 2 * field.size) {
    const next = layout.fields[at + 1];
    return next?.wide === true && next.offset === offset + field.size && sameArray(field, next);
  }
  if (size >= field.size || !(write ? field.narrowWrite : field.narrow)) return false;
  return (atStart || !field.narrowAtStart) && size >= (field.minSize ?? 1);
}

/** `cb[1]` and `cb[2]`, but not the last word of one array and the first of the next. */
function sameArray(a: CtxField, b: CtxField): boolean {
  return a.name.replace(/\[\d+\]$/, '') === b.name.replace(/\[\d+\]$/, '');
}
