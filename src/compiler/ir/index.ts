/** Typed SSA: the language between the front end and the code generator. */
export * from './analysis.ts';
export * from './builder.ts';
export * from './ir.ts';
export * from './print.ts';
export * from './verify.ts';
