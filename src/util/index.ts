export * from './bytes.ts';
export * from './errno.ts';
export * from './errors.ts';
export type * from './explanation.ts';
export * from './random.ts';
export * from './u64.ts';
