/** Source text to tokens: lexer and preprocessor (C11 5.1.1.2, translation phases 1 to 4). */
export type { Token, TokenKind, TokenSource } from './token.ts';
