/**
 * The verifier: `verify(request)` says whether Linux 6.18 would accept the program, with its log, errno and counters, and
 * what rewrite and JIT may rely on. Reads tables and BTF, never an implementation.
 */

export { Annotator } from './annotate.ts';
export { isContextType } from './context-types.ts';
export * from './domain/index.ts';
export { explain, REASONS } from './explain/index.ts';
export {
  type AttachingProgram,
  type FoundTarget,
  findTarget,
  type TargetRefusal,
  traces,
} from './program-target.ts';
export { findSpecialFields, objectFields } from './special-fields.ts';
export { verify } from './verify.ts';
