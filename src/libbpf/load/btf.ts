/**
 * BTF_LOAD of an object's types: as they are, else rewritten for a kernel that does not know all kinds, else not at all where nothing
 * is made of them (libbpf: kernel_needs_btf).
 */
import type { Fd, Kernel } from '../../contracts/kernel.ts';
import { BpfError } from '../../util/errors.ts';
import { btfSupport, sanitizeBtf } from './sanitize-btf.ts';

export interface LoadedBtf {
  readonly fd: Fd | undefined;
  /** Why the kernel did not take them. */
  readonly error: BpfError | undefined;
}

export function loadBtf(kernel: Kernel, btf: Uint8Array | undefined, required: boolean): LoadedBtf {
  if (btf === undefined) return { fd: undefined, error: undefined };
  const first = attempt(kernel, btf);
  if (first.fd !== undefined) return first;
  // Who may load no BTF at all learns nothing from trying.
  const forbidden = first.error?.code === 'EPERM' || first.error?.code === 'EACCES';
  const sanitized = forbidden ? undefined : sanitizeBtf(btf, btfSupport(kernel));
  const last = sanitized === undefined ? first : attempt(kernel, sanitized);
  if (last.error !== undefined && required) throw last.error;
  return last;
}

function attempt(kernel: Kernel, btf: Uint8Array): LoadedBtf {
  try {
    return { fd: kernel.btfLoad({ btf }), error: undefined };
  } catch (error) {
    if (error instanceof BpfError) return { fd: undefined, error };
    throw error;
  }
}
