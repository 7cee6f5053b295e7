/** The C compiler. */
export { type CompileInput, type CompileOptions, type CompileResult, compile } from './compile.ts';
export {
  BCC_HEADER,
  bccHeaders,
  bccPlainTypes,
  builtinHeader,
  builtinHeaderNames,
  headersWithVmlinux,
  vmlinuxHeader,
  vmlinuxHeaderFor,
} from './headers/index.ts';
export {
  type IncludePaths,
  type IncludeResolver,
  Preprocessor,
  type PreprocessorOptions,
  printMacros,
  printPreprocessed,
} from './preprocess/index.ts';
export type { TableNote } from './sema/index.ts';
export {
  type Diagnostic,
  DiagnosticSink,
  formatDiagnostics,
  type Note,
  type Position,
  SourceManager,
} from './source/index.ts';
