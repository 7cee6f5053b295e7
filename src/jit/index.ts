/** The compiling engine: verified programs to WebAssembly. */
export { CodeCache, type CodeCacheOptions, sharedCodeCache } from './cache.ts';
export { type CompileJob, type CompileResult, runCompileJob } from './elsewhere.ts';
export { type CompileCode, createJit, type JitOptions } from './engine.ts';
export { createStubs, type EntryStub } from './stubs.ts';
