/** Files that hold events: packet captures and recordings of system calls. */
export * from './packets/index.ts';
export * from './strace/index.ts';
