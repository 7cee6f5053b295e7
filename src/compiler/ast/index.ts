/** The typed tree and the types: the contract between `sema` and `lower`. */
export type * from './ast.ts';
export * from './types.ts';
