/** Compiled functions and data to an ELF object. */
export * from './object.ts';
