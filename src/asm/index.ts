/** Instructions: encode, decode, text both ways, builder. Everything derives from the rows of `table.ts`. */
export * from './assemble.ts';
export * from './builder.ts';
export * from './construct.ts';
export * from './decode.ts';
export * from './disasm.ts';
export * from './encode.ts';
export { helperIdByName, helperNameById } from './helpers.ts';
export * from './lookup.ts';
export * from './opcodes.ts';
export * from './table.ts';
