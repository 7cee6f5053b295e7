/** The C compiler. */
export { type CompileInput, type CompileOptions, type CompileResult, compile } from './compile.ts';
export type { IncludePaths, IncludeResolver } from './preprocess/index.ts';
export { type Diagnostic, type Note, type Position, SourceManager } from './source/index.ts';
