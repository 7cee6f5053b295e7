/** Inputs with which a refused program really goes wrong. */

export type { Contents } from './sandbox.ts';
export { findInput } from './search.ts';
