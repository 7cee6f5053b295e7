/**
 * Attaching a program by what its section says, or by what the caller says: one file a kind of attachment, chosen by the section
 * row's `attach` field (libbpf: SEC_DEF attach functions).
 */
import type { Kernel } from '../../contracts/kernel.ts';
import { BpfError } from '../../util/errors.ts';
import type { BpfLink } from '../link.ts';
import { ATTACHERS } from './table.ts';
import type { Attachable, AttachKind, AttachOptions } from './types.ts';

export { iteratorText, readIterator } from './iter.ts';
export { attachStructOps, type StructOpsMap } from './struct-ops.ts';
export { interfaceIndex, sectionAttachType } from './support.ts';
export { attachTc, type TcOptions } from './tc.ts';
export type {
  Attachable,
  AttachKind,
  AttachOptions,
  IterOptions,
  NetfilterOptions,
  ObjectMaps,
  SamplingOptions,
} from './types.ts';

/** Whether attaching the whole object attaches this program. */
export function attachesWithObject(
  kind: AttachKind | undefined,
  attachTo: string | undefined,
  options: AttachOptions,
): boolean {
  return kind !== undefined && ATTACHERS[kind].ready(options, options.target ?? attachTo);
}

export function attachProgram(
  kernel: Kernel,
  kind: AttachKind | undefined,
  program: Attachable,
  options: AttachOptions,
): BpfLink {
  if (kind === undefined) {
    throw new BpfError(
      'EOPNOTSUPP',
      `program '${program.name}': its section does not say what to attach it to`,
      { hint: 'attachSocket, attachTc and attachAs do it by hand' },
    );
  }
  return ATTACHERS[kind].attach(kernel, program, options);
}
