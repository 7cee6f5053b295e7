/** ELF object → `ObjectSpec`: programs with symbolic relocations, maps, BTF. Knows no kernel. */
export { resolveCore } from './core.ts';
export { dataMapName } from './data-maps.ts';
export { linkObjects } from './linker.ts';
export { objectName, type ParseObjectOptions, parseObject } from './parse.ts';
export type * from './types.ts';
