export { type ExecutableOptions, executable } from './executable.ts';
