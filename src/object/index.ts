export { dataMapName } from './data-maps.ts';
export { objectName, type ParseObjectOptions, parseObject } from './parse.ts';
export type * from './types.ts';
