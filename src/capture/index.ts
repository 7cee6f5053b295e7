/** Files that hold events: packet captures, recordings of system calls, recordings of perf. */
export * from './packets/index.ts';
export * from './perf/index.ts';
export * from './strace/index.ts';
