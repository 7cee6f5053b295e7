export { type AttachedParts, attachMap } from './attached.ts';
export type { ElementVisitor, EmbeddedMap, MapContext, ProgramOps } from './base.ts';
export { checkMapCreate } from './create-check.ts';
export { checkTemplate, sameShape } from './inner-map.ts';
export * as MAP_HEADER from './layout.ts';
export { createMapsModule, type MapsModule, type MapsWasm, mapsCode } from './module.ts';
export { createMap, IMPLEMENTED_MAP_TYPES, programOps } from './registry.ts';
export { type RingAreas, RingBufMap } from './ringbuf.ts';
export { StackTraceMap } from './stack-trace.ts';
