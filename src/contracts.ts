/** The seams between rooms of one height: types only, nothing that runs. */
export type * from './contracts/annotations.ts';
export type * from './contracts/background.ts';
export type * from './contracts/cpus.ts';
export type * from './contracts/engine.ts';
export type * from './contracts/events.ts';
export type * from './contracts/hooks.ts';
export type * from './contracts/insn.ts';
export type * from './contracts/kernel.ts';
export type * from './contracts/maps.ts';
export type * from './contracts/observe.ts';
export type * from './contracts/refusal.ts';
export type * from './contracts/runtime.ts';
export type * from './contracts/verify.ts';
