/** Source text to tokens: lexer and preprocessor (C11 5.1.1.2, translation phases 1 to 4). */

export { isKnownAttribute } from './features.ts';
export { BUILTIN_DIRECTORY, type IncludePaths, type IncludeResolver } from './includes.ts';
export {
  type CharacterSize,
  characterSizeOf,
  characterValue,
  type FloatLiteral,
  type IntegerLiteral,
  type LiteralSink,
  numberValue,
  type TextLiteral,
  textValue,
} from './literals.ts';
export type { Macro } from './macro.ts';
export type { PredefinedOptions } from './predefined.ts';
export { Preprocessor, type PreprocessorOptions } from './preprocessor.ts';
export { printMacros, printPreprocessed } from './print.ts';
export { editDistance, similarName } from './similar.ts';
export type { PlainText, Token, TokenKind, TokenSource, Word } from './token.ts';
