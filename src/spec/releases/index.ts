/** What Linux had when: rules of the verifier, instructions, helpers, contexts, flags by release. */
export * from './contexts.ts';
export * from './helpers.ts';
export * from './insns.ts';
export * from './objects.ts';
export * from './release.ts';
export * from './rules.ts';
export * from './version.ts';
