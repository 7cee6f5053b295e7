/** Abstract values of the verifier: tnums and scalars with bounds, their arithmetic, refinement by branches, and text. */
export * from './alu.ts';
export * from './branch.ts';
export * from './format.ts';
export * from './linked.ts';
export * from './scalar.ts';
export * from './sync.ts';
export * from './tnum.ts';
