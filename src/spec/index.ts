/** The tables: helpers, map types, program types, sections, attach types, commands; and look-ups in them. Data only. */
export * from './abi.ts';
export * from './attach-lists.ts';
export * from './attach-types.ts';
export * from './commands.ts';
export * from './contexts/modelled.ts';
export { SOCK_FACADE, TCP_SOCK_FACADE } from './contexts/sock.ts';
export * from './ctx-access.ts';
export * from './helpers/classic.ts';
export * from './helpers.ts';
export * from './kfuncs/index.ts';
export * from './map-create.ts';
export * from './map-types.ts';
export * from './prog-groups.ts';
export * from './prog-types.ts';
export * from './releases/index.ts';
export * from './sections.ts';
export type * from './types.ts';
export * from './writable-fields.ts';
