/** Files that hold events: packet captures and recordings of system calls. */
export * from './strace/index.ts';
