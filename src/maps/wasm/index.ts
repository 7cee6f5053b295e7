export * from './array';
export * from './hash';
export * from './lpm';
export * from './queue';
export * from './ringbuf';
export * from './runtime';
