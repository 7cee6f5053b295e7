/** The typed tree to IR. */
export { lowerUnit } from './module.ts';
export { alignOf, functionType, scalarType, sizeOf } from './types.ts';
