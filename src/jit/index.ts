/** The compiling engine: verified programs to WebAssembly. */
export { createJit, type JitOptions } from './engine.ts';
