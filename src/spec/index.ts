/** The tables: helpers, map types, program types, sections, attach types, commands; and look-ups in them. Data only. */
export * from './abi.ts';
export * from './attach-types.ts';
export * from './commands.ts';
export * from './helpers.ts';
export * from './map-types.ts';
export * from './prog-groups.ts';
export * from './sections.ts';
export type * from './types.ts';
