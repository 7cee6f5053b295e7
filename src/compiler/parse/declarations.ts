/** Declaration specifiers, declarators, type names, initialisers (C11 6.7). */
import { QUAL_ATOMIC } from '../ast/index.ts';
import type { Token } from '../preprocess/index.ts';
import type { Location } from '../source/index.ts';
import { DeclaratorParser, NO_ATTRIBUTES, type SpecifierContext } from './declarators.ts';
import { isReserved, SPECIFIERS } from './keywords.ts';
import { nearest } from './spelling.ts';
import type { Attribute, SExpr, Specifiers, StorageClass, TypeName, TypeSpecifier } from './syntax.ts';

const ERROR_TYPE: TypeSpecifier = { kind: 'error' };
const BUILTIN = new Map<string, TypeSpecifier>();

export function builtin(name: string): TypeSpecifier {
  let type = BUILTIN.get(name);
  if (type === undefined) {
    type = { kind: 'builtin', name };
    BUILTIN.set(name, type);
  }
  return type;
}

/** Specifiers that cannot follow a type. */
const FRESH: ReadonlySet<string> = new Set([
  'base',
  'sign',
  'length',
  'record',
  'enum',
  'typeof',
  'typeof-unqual',
]);

/** Behind an identifier, these make it a declarator whose type was forgotten. */
const AFTER_DECLARATOR: ReadonlySet<string> = new Set([',', ';', '=', '(', '[', ')', ':', '{']);

export abstract class DeclarationParser extends DeclaratorParser {
  protected abstract recordSpecifier(union: boolean, keyword: Token): TypeSpecifier;
  protected abstract enumSpecifier(keyword: Token): TypeSpecifier;

  protected startsType(token: Token): boolean {
    if (token.kind !== 'identifier') return false;
    const word = SPECIFIERS.get(token.text);
    if (word === undefined) return this.scopes.isTypedef(token.text);
    return word.role !== 'extension';
  }

  protected startsDeclaration(token: Token): boolean {
    return this.startsType(token) && token.text !== '__attribute__';
  }

  protected specifiers(context: SpecifierContext): Specifiers {
    const start = this.tok;
    let type: TypeSpecifier | null = null;
    let base = '';
    let longs = 0;
    let sign: boolean | null = null;
    let quals = 0;
    let storage: StorageClass = null;
    let inline = false;
    let noreturn = false;
    let threadLocal = false;
    let attributes: Attribute[] | null = null;
    const alignas: (SExpr | TypeName)[] = [];
    for (;;) {
      const token = this.tok;
      if (token.kind !== 'identifier') {
        if (token.kind === 'punct' && token.text === '[' && this.startsBracketAttributes()) {
          if (type !== null || base !== '') break;
          attributes ??= [];
          this.attributes(attributes);
          continue;
        }
        break;
      }
      const word = SPECIFIERS.get(token.text);
      if (word === undefined) {
        if (type !== null || base !== '' || longs > 0 || sign !== null) break;
        if (this.scopes.isTypedef(token.text)) {
          this.advance();
          type = { kind: 'name', name: token.text, loc: token.location };
          continue;
        }
        type = this.unknownType(token, context);
        if (type === null) break;
        continue;
      }
      switch (word.role) {
        case 'storage':
          if (storage !== null && storage !== word.storage)
            this.error('storage', `cannot combine with previous '${storage}' declaration specifier`);
          storage = word.storage;
          this.advance();
          break;
        case 'qualifier':
          quals |= word.qual;
          this.advance();
          break;
        case 'base':
          if (type !== null || (base !== '' && !combines(base, word.base)))
            this.error(
              'specifiers',
              `cannot combine with previous '${base || 'type-name'}' declaration specifier`,
            );
          else base = base === 'short' || word.base === 'short' ? 'short' : word.base;
          this.advance();
          break;
        case 'length':
          if (++longs > 2)
            this.error('specifiers', "cannot combine with previous 'long long' declaration specifier");
          this.advance();
          break;
        case 'sign':
          if (sign !== null && sign !== word.signed)
            this.error(
              'specifiers',
              `cannot combine with previous '${sign ? 'signed' : 'unsigned'}' declaration specifier`,
            );
          sign = word.signed;
          this.advance();
          break;
        case 'record':
          this.advance();
          type = this.another(type, base, this.recordSpecifier(word.union, token), token);
          this.endOfDefinition(type, context);
          break;
        case 'enum':
          this.advance();
          type = this.another(type, base, this.enumSpecifier(token), token);
          this.endOfDefinition(type, context);
          break;
        case 'typeof':
        case 'typeof-unqual':
          this.advance();
          type = this.another(type, base, this.typeOf(word.role === 'typeof-unqual', token), token);
          break;
        case 'auto-type':
          this.advance();
          type = { kind: 'auto', loc: token.location };
          break;
        case 'atomic': {
          this.advance();
          if (!this.is('(')) {
            quals |= QUAL_ATOMIC;
            break;
          }
          const open = this.advance();
          const inner = this.typeName();
          this.close(open);
          type = this.another(type, base, { kind: 'atomic', type: inner }, token);
          break;
        }
        case 'inline':
          inline = true;
          this.advance();
          break;
        case 'noreturn':
          noreturn = true;
          this.advance();
          break;
        case 'thread':
          threadLocal = true;
          this.advance();
          break;
        case 'attribute':
          attributes ??= [];
          this.attributes(attributes);
          break;
        case 'alignas': {
          this.advance();
          const open = this.expect('(', " after '_Alignas'");
          alignas.push(this.startsType(this.tok) ? this.typeName() : this.conditional());
          this.close(open);
          break;
        }
        case 'extension':
          this.advance();
          break;
        case 'refused':
          this.error('unsupported', word.message);
          this.advance();
          break;
      }
    }
    if (base !== '' || longs > 0 || sign !== null) {
      if (type !== null)
        this.error(
          'specifiers',
          'cannot combine with previous type-name declaration specifier',
          start.location,
        );
      else type = this.arithmetic(base, longs, sign, start);
    }
    if (type === null) {
      if (context === 'type-name') this.fail('expected', 'expected a type', start.location);
      type = this.noType(start, context);
    }
    return {
      type,
      quals,
      storage,
      inline,
      noreturn,
      threadLocal,
      attributes: attributes ?? NO_ATTRIBUTES,
      alignas,
      loc: start.location,
    };
  }

  /** Behind `struct { … }` a new declaration begins: its `;` was forgotten. */
  private endOfDefinition(type: TypeSpecifier, context: SpecifierContext): void {
    if (context === 'type-name' || context === 'parameter') return;
    const defined =
      (type.kind === 'record' && type.members !== null) ||
      (type.kind === 'enum' && type.enumerators !== null);
    if (!defined) return;
    const next = this.tok.kind === 'identifier' ? SPECIFIERS.get(this.tok.text) : undefined;
    const starts =
      (next !== undefined && FRESH.has(next.role)) ||
      (next?.role === 'storage' && this.tok.startOfLine) ||
      (this.tok.kind === 'identifier' && this.tok.startOfLine && this.scopes.isTypedef(this.tok.text)) ||
      this.tok.kind === 'eof';
    if (!starts) return;
    const word = type.kind === 'enum' ? 'enum' : type.kind === 'record' && type.union ? 'union' : 'struct';
    this.insertSemicolon(`after ${word}`);
  }

  private another(
    before: TypeSpecifier | null,
    base: string,
    type: TypeSpecifier,
    token: Token,
  ): TypeSpecifier {
    if (before !== null || base !== '')
      this.error('specifiers', 'cannot combine with previous declaration specifier', token.location);
    return type;
  }

  private noType(start: Token, context: SpecifierContext): TypeSpecifier {
    if (context === 'parameter' && this.tok === start && this.tok.kind !== 'identifier')
      this.fail('expected', 'expected parameter declarator');
    if (this.tok.kind === 'identifier' || this.is('*') || this.is('(')) {
      this.error(
        'implicit-int',
        "type specifier missing, defaults to 'int'; ISO C99 and later do not support implicit int",
        this.tok === start ? start.location : this.tok.location,
      );
      return builtin('int');
    }
    if (this.tok === start && context !== 'parameter')
      this.fail('expected', context === 'external' ? "expected identifier or '('" : 'expected a type');
    this.error(
      'implicit-int',
      "type specifier missing, defaults to 'int'; ISO C99 and later do not support implicit int",
    );
    return builtin('int');
  }

  /** An identifier stands where a type is wanted. Null where it is more likely the declarator. */
  private unknownType(token: Token, context: SpecifierContext): TypeSpecifier | null {
    if (isReserved(token.text)) return null;
    const next = this.peek();
    const declarator =
      (next.kind === 'punct' && AFTER_DECLARATOR.has(next.text)) ||
      next.kind === 'eof' ||
      next.text === '__attribute__';
    if (declarator && context !== 'type-name') return null;
    const tag = this.scopes.tagKind(token);
    this.advance();
    if (tag !== undefined) {
      this.diagnostics.error(
        'missing-tag-keyword',
        `must use '${tag}' tag to refer to type '${token.text}'`,
        token.location,
        { fixits: [{ range: { begin: token.location, end: 0 }, text: `${tag} ` }] },
      );
      return ERROR_TYPE;
    }
    const near = this.suggestType(token.text);
    if (near === null) {
      if (context === 'block')
        this.error('undeclared-identifier', `use of undeclared identifier '${token.text}'`, token.location);
      else this.error('unknown-type', `unknown type name '${token.text}'`, token.location);
      return ERROR_TYPE;
    }
    const declared = this.scopes.locationOf(near);
    this.diagnostics.error(
      'unknown-type',
      `unknown type name '${token.text}'; did you mean '${near}'?`,
      token.location,
      {
        notes: declared > 0 ? [{ message: `'${near}' declared here`, location: declared }] : [],
        fixits: [{ range: { begin: token.location, end: token.location }, text: near }],
      },
    );
    return { kind: 'name', name: near, loc: token.location };
  }

  private suggestions = 0;

  protected suggestType(name: string): string | null {
    if (++this.suggestions > 50) return null;
    return nearest(name, this.scopes.typedefNames());
  }

  private arithmetic(base: string, longs: number, sign: boolean | null, start: Token): TypeSpecifier {
    const invalid = (what: string): TypeSpecifier => {
      this.error('specifiers', what, start.location);
      return builtin('int');
    };
    switch (base) {
      case '':
      case 'int':
        return builtin(
          `${sign === false ? 'unsigned ' : ''}${longs === 0 ? 'int' : longs === 1 ? 'long' : 'long long'}`,
        );
      case 'char':
        if (longs > 0) return invalid(`'long char' is invalid`);
        return builtin(sign === null ? 'char' : sign ? 'signed char' : 'unsigned char');
      case 'short':
        if (longs > 0) return invalid(`'long short' is invalid`);
        return builtin(sign === false ? 'unsigned short' : 'short');
      case '__int128':
        if (longs > 0) return invalid(`'long __int128' is invalid`);
        return builtin(sign === false ? 'unsigned __int128' : '__int128');
      case 'double':
        if (sign !== null) return invalid(`'double' cannot be signed or unsigned`);
        if (longs > 1) return invalid(`'long long double' is invalid`);
        return builtin(longs === 1 ? 'long double' : 'double');
      default:
        if (sign !== null) return invalid(`'${base}' cannot be signed or unsigned`);
        if (longs > 0) return invalid(`'long ${base}' is invalid`);
        return builtin(base);
    }
  }

  private typeOf(unqual: boolean, keyword: Token): TypeSpecifier {
    if (!this.is('(')) this.fail('expected', `expected '(' after '${keyword.text}'`);
    const open = this.advance();
    this.enter();
    let result: TypeSpecifier;
    if (this.startsType(this.tok)) result = { kind: 'typeof-type', type: this.typeName(), unqual };
    else result = { kind: 'typeof-expr', expr: this.expression(), unqual };
    this.close(open);
    this.leave();
    return result;
  }

  protected typeName(): TypeName {
    const { location } = this.tok;
    const specifiers = this.specifiers('type-name');
    const declarator = this.declarator('abstract');
    return { kind: 'type-name', specifiers, declarator, loc: location };
  }

  protected declareName(name: string, storage: StorageClass, location: Location): void {
    if (storage === 'typedef') this.scopes.declareTypedef(name, location);
    else this.scopes.declareOrdinary(name);
  }
}

/** `short int`, `int short`. */
function combines(before: string, word: string): boolean {
  return (before === 'short' && word === 'int') || (before === 'int' && word === 'short');
}
