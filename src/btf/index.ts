export * from './btf.ts';
export * from './build.ts';
export * from './ext.ts';
export * from './format.ts';
export * from './types.ts';
