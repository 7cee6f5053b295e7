/** Tokens to syntax tree. */

export { beginOf } from './expressions.ts';
export { parse } from './parser.ts';
export { nearest } from './spelling.ts';
export type * from './syntax.ts';
export { MAX_NESTING, MAX_TREE_DEPTH } from './syntax.ts';
