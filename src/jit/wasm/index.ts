export * from './module.ts';
export * from './opcodes.ts';
export * from './print.ts';
export * from './writer.ts';
