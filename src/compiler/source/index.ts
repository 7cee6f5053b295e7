/** Source text, places in it, and what is said about them. */
export {
  type Diagnostic,
  type DiagnosticDetails,
  type DiagnosticOptions,
  DiagnosticSink,
  type DiagnosticState,
  type FixIt,
  type Note,
  type Severity,
} from './diagnostic.ts';
export {
  FIRST_MACRO_LOCATION,
  isMacroLocation,
  type Location,
  NO_LOCATION,
  type Position,
  type SourceRange,
} from './location.ts';
export {
  lineStarts,
  makeSourceText,
  type SourceFile,
  SourceManager,
  type SourceText,
  tokenLength,
} from './manager.ts';
export { formatDiagnostic, formatDiagnostics, type PrintOptions } from './print.ts';
