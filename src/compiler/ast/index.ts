/** The typed tree and the types: the contract between `sema` and `lower`. */
export type * from './ast.ts';
export type * from './builtins.ts';
export * from './types.ts';
