export * from './address.ts';
export * from './allocator.ts';
export * from './arena-pages.ts';
export * from './guest-memory.ts';
export * from './layout.ts';
