/** Types, conversions, constants: syntax tree to typed tree. */
export {
  alignOf,
  BUILTIN_TYPES,
  CHAR,
  compatible,
  INT,
  integerOf,
  integerOfSize,
  isComplete,
  isInteger,
  isPointer,
  isScalar,
  isVoid,
  LONG,
  pointerTo,
  sizeOf,
  UINT,
  ULONG,
  unqualified,
  VOID,
  VOID_POINTER,
  wrap,
} from './arithmetic-types.ts';
export type { SemaOptions, TableNote } from './base.ts';
export { arithmetic, type Constant, evaluate, evaluateAddress, evaluateInteger } from './evaluate.ts';
export { quoteType, typeName } from './print-type.ts';
export { analyze } from './sema.ts';
