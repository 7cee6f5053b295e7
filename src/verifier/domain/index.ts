/**
 * Abstract values of the verifier: tnums and scalars with bounds, their arithmetic, refinement by branches, links between
 * registers, and text. Everything handed out is immutable and shared by reference.
 */
export * from './alu.ts';
export * from './branch.ts';
export * from './format.ts';
export * from './invariants.ts';
export * from './linked.ts';
export * from './narrow.ts';
export * from './scalar.ts';
export * from './tnum.ts';
