/**
 * Abstract values of the verifier: tnums and scalars with bounds, their arithmetic, refinement by branches, links between
 * registers, and text. Everything handed out is immutable and shared by reference.
 */
export * from './alu.ts';
export { flipJump, type Refined } from './branch.ts';
export * from './deductions.ts';
export * from './format.ts';
export * from './invariants.ts';
export * from './jump.ts';
export * from './linked.ts';
export * from './narrow.ts';
export * from './scalar.ts';
export * from './tnum.ts';
