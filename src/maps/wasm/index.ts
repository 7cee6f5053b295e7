export * from './array';
export * from './hash';
export * from './lpm';
export * from './packet';
export * from './queue';
export * from './ringbuf';
export * from './runtime';
export * from './strings';
