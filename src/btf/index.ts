export * from './btf.ts';
export * from './build.ts';
export * from './core.ts';
export { describeCore } from './core-spec.ts';
export * from './ext.ts';
export * from './format.ts';
export * from './types.ts';
