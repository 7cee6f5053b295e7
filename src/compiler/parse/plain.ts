/**
 * Members and enumerators as headers made from types have them (`const struct page *pages[16];`, `unsigned int flags: 3;`,
 * `int (*open)(struct inode *, struct file *);`, `NAME = 5,`), read from the text without making tokens.
 *
 * Each function gives the very nodes that the parser makes of the tokens, or null: then nothing was reported, nothing declared that
 * the parser will not declare again, and the parser reads the same place itself. So anything doubtful is null here, above all every mistake.
 */
import type { PlainText, Word } from '../preprocess/index.ts';
import type { Location } from '../source/index.ts';
import { builtin } from './declarations.ts';
import { NO_ATTRIBUTES } from './declarators.ts';
import { isReserved, SPECIFIERS, type SpecifierWord } from './keywords.ts';
import type { TypedefScopes } from './scopes.ts';
import type {
  Declarator,
  DeclaratorStep,
  MemberDeclaration,
  SExpr,
  SParameter,
  Specifiers,
  TypeSpecifier,
} from './syntax.ts';

const SEMICOLON = 59;
const STAR = 42;
const OPEN = 40;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
const CLOSE = 41;
const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;
const COLON = 58;
const COMMA = 44;
const EQUALS = 61;
/** Pointers to pointers and arrays of arrays that are read here. */
const MOST_STEPS = 6;
/** Records inside each other: what is read in vain is read again as tokens, once a level. */
const MOST_DEPTH = 3;

const ORDINARY: SpecifierWord = { role: 'refused', message: '' };
/** Ordinary, and a typedef at file scope. */
const TYPEDEF: SpecifierWord = { role: 'refused', message: '' };
const RESERVED: SpecifierWord = { role: 'refused', message: '' };
const NO_STEPS: readonly DeclaratorStep[] = [];
const NO_DECLARATORS: MemberDeclaration['declarators'] = [];
const NO_ALIGNAS: Specifiers['alignas'] = [];

/** What the word is to the grammar; the table remembers it. */
function roleOf(word: Word): SpecifierWord {
  if (word.memo === null)
    word.memo = SPECIFIERS.get(word.text) ?? (isReserved(word.text) ? RESERVED : ORDINARY);
  return word.memo as SpecifierWord;
}

function isOrdinary(role: SpecifierWord): boolean {
  return role === ORDINARY || role === TYPEDEF;
}

export class PlainReader {
  private readonly scopes: TypedefScopes;
  private text!: PlainText;
  /** `#pragma pack` in force. */
  private pack = 0;
  /** Of records inside each other; 0 where there may be none, in parameters. */
  private depth = 0;
  /** The word behind the specifiers last read, and where it stands; null where another character does. */
  private behind: Word | null = null;
  private behindAt: Location = 0;

  constructor(scopes: TypedefScopes) {
    this.scopes = scopes;
  }

  /** Appends all members from the text's place on that can be read here. The text stands behind the `;` of the last one. */
  members(text: PlainText, pack: number, into: MemberDeclaration[]): boolean {
    this.text = text;
    this.pack = pack;
    let behind = 0;
    for (;;) {
      text.lineCode();
      this.depth = 1;
      const member = this.member();
      if (member === null) break;
      into.push(member);
      behind = text.at;
    }
    text.at = behind;
    return behind > 0;
  }

  /** `struct tag { members };`, whole, or null; the text stands behind the `;`. `pack` as above. */
  record(text: PlainText, pack: number): Specifiers | null {
    this.text = text;
    this.pack = pack;
    const begin = text.location;
    const keyword = text.word();
    if (keyword === null) return null;
    const role = roleOf(keyword);
    if (role.role !== 'record') return null;
    text.code();
    const loc = text.location;
    const tag = text.word();
    if (tag === null || !isOrdinary(roleOf(tag)) || text.code() !== OPEN_BRACE) return null;
    text.at++;
    tag.tag = role.union ? 'union' : 'struct';
    const members: MemberDeclaration[] = [];
    while (text.lineCode() !== CLOSE_BRACE) {
      this.depth = 1;
      const member = this.member();
      if (member === null) return null;
      members.push(member);
    }
    text.at++;
    if (text.code() !== SEMICOLON) return null;
    text.at++;
    return specifiersOf(
      {
        kind: 'record',
        union: role.union,
        tag: tag.text,
        members,
        attributes: NO_ATTRIBUTES,
        pack,
        loc,
        declares: true,
      },
      0,
      begin,
    );
  }

  /** The same for enumerators; the text stands behind the `,` of the last one. */
  enumerators(text: PlainText, into: { name: string; value: SExpr | null; loc: Location }[]): boolean {
    let behind = 0;
    for (;;) {
      text.lineCode();
      const loc = text.location;
      const word = text.word();
      if (word === null || !isOrdinary(roleOf(word))) break;
      let value: SExpr | null = null;
      let code = text.code();
      if (code === EQUALS) {
        text.at++;
        text.code();
        const at = text.location;
        const number = text.number();
        if (number === null) break;
        value = { kind: 'number', text: number, loc: at, depth: 1 };
        code = text.code();
      }
      if (code !== COMMA) break;
      text.at++;
      this.scopes.declareOrdinary(word.text);
      into.push({ name: word.text, value, loc });
      behind = text.at;
    }
    text.at = behind;
    return behind > 0;
  }

  private member(): MemberDeclaration | null {
    const { text } = this;
    const loc = text.location;
    const specifiers = this.specifiers();
    if (specifiers === null) return null;
    let steps: readonly DeclaratorStep[] = NO_STEPS;
    let word = this.behind;
    let at = this.behindAt;
    if (word === null) {
      const code = text.code();
      if (code === SEMICOLON && specifiers.type.kind === 'record' && specifiers.type.members !== null) {
        text.at++;
        return { specifiers, declarators: NO_DECLARATORS, staticAssert: null, loc };
      }
      const pointers = code === STAR ? this.pointers() : NO_STEPS;
      if (pointers === null) return null;
      word = this.behind;
      at = this.behindAt;
      if (word === null) {
        if (text.code() !== OPEN) return null;
        const inner = this.functionPointer(pointers);
        if (inner === null || text.code() !== SEMICOLON) return null;
        text.at++;
        return { specifiers, declarators: [{ declarator: inner, width: null }], staticAssert: null, loc };
      }
      steps = pointers;
    }
    if (!isOrdinary(roleOf(word))) return null;
    let code = text.code();
    let width: SExpr | null = null;
    if (code === OPEN_BRACKET) {
      const arrays = this.arrays(steps);
      if (arrays === null) return null;
      steps = arrays;
      code = text.code();
    }
    if (code === COLON) {
      text.at++;
      text.code();
      const begin = text.location;
      const number = text.number();
      if (number === null) return null;
      width = { kind: 'number', text: number, loc: begin, depth: 1 };
      code = text.code();
    }
    if (code !== SEMICOLON) return null;
    text.at++;
    return {
      specifiers,
      declarators: [{ declarator: named(word.text, at, steps), width }],
      staticAssert: null,
      loc,
    };
  }

  /** Type and qualifiers. The word behind them, which is no specifier, has been read into `behind`. */
  private specifiers(): Specifiers | null {
    const { text } = this;
    const loc = text.location;
    let type: TypeSpecifier | null = null;
    let base = '';
    let longs = 0;
    let sign: boolean | null = null;
    let quals = 0;
    this.behind = null;
    for (;;) {
      text.code();
      const start = text.location;
      const word = text.word();
      if (word === null) break;
      const role = roleOf(word);
      if (role === ORDINARY || role === TYPEDEF) {
        if (type !== null || base !== '' || longs > 0 || sign !== null) {
          this.behind = word;
          this.behindAt = start;
          break;
        }
        if (role !== TYPEDEF || this.scopes.depth > 1) {
          if (!this.scopes.isTypedef(word.text)) return null;
          // What is a typedef at file scope stays one there.
          if (this.scopes.depth === 1) word.memo = TYPEDEF;
        }
        type = { kind: 'name', name: word.text, loc: start };
        continue;
      }
      switch (role.role) {
        case 'qualifier':
          quals |= role.qual;
          break;
        case 'base':
          if (base !== '') {
            if ((base !== 'short' || role.base !== 'int') && (base !== 'int' || role.base !== 'short'))
              return null;
            base = 'short';
          } else base = role.base;
          break;
        case 'length':
          if (++longs > 2) return null;
          break;
        case 'sign':
          if (sign !== null) return null;
          sign = role.signed;
          break;
        case 'enum':
        case 'record': {
          text.code();
          const loc = text.location;
          const tag = text.word();
          if (tag === null) {
            // `struct { … }` inside of a record.
            if (type !== null || base !== '' || longs > 0 || sign !== null || role.role !== 'record')
              return null;
            type = this.anonymous(role.union, start);
            if (type === null) return null;
            break;
          }
          if (type !== null || !isOrdinary(roleOf(tag))) return null;
          // A definition, a fixed type, or a declaration of the tag alone.
          const code = text.code();
          if (
            code < 65
              ? code !== STAR && code !== OPEN && code !== CLOSE && code !== COMMA
              : code === OPEN_BRACE
          )
            return null;
          if (role.role !== 'record') {
            tag.tag = 'enum';
            type = {
              kind: 'enum',
              tag: tag.text,
              enumerators: null,
              fixed: null,
              attributes: NO_ATTRIBUTES,
              loc,
            };
          } else {
            tag.tag = role.union ? 'union' : 'struct';
            type = {
              kind: 'record',
              union: role.union,
              tag: tag.text,
              members: null,
              attributes: NO_ATTRIBUTES,
              pack: this.pack,
              loc,
              declares: false,
            };
          }
          break;
        }
        default:
          return null;
      }
    }
    if (base !== '' || longs > 0 || sign !== null) {
      if (type !== null) return null;
      type = arithmetic(base, longs, sign);
    }
    if (type === null) return null;
    return specifiersOf(type, quals, loc);
  }

  /** `{ members }` of a record without a tag; `loc` is that of its keyword. Null outside of records. */
  private anonymous(union: boolean, loc: Location): TypeSpecifier | null {
    const { text } = this;
    if (this.depth === 0 || this.depth > MOST_DEPTH || text.code() !== OPEN_BRACE) return null;
    text.at++;
    this.depth++;
    const members: MemberDeclaration[] = [];
    while (text.lineCode() !== CLOSE_BRACE) {
      const member = this.member();
      if (member === null) return null;
      members.push(member);
    }
    this.depth--;
    text.at++;
    this.behind = null;
    return {
      kind: 'record',
      union,
      tag: null,
      members,
      attributes: NO_ATTRIBUTES,
      pack: this.pack,
      loc,
      declares: true,
    };
  }

  /** `*` and their qualifiers, the last one first; the name behind them is read into `behind`. */
  private pointers(): readonly DeclaratorStep[] | null {
    const { text } = this;
    let steps: DeclaratorStep[] | null = null;
    while (text.code() === STAR) {
      const loc = text.location;
      text.at++;
      let quals = 0;
      for (;;) {
        text.code();
        const at = text.location;
        const word = text.word();
        if (word === null) break;
        const role = roleOf(word);
        if (role.role === 'qualifier') {
          quals |= role.qual;
          continue;
        }
        if (!isOrdinary(role)) return null;
        this.behind = word;
        this.behindAt = at;
        break;
      }
      const step: DeclaratorStep = { kind: 'pointer', quals, attributes: NO_ATTRIBUTES, loc };
      if (steps === null) steps = [step];
      else if (steps.length > MOST_STEPS) return null;
      else steps.unshift(step);
      if (this.behind !== null) break;
    }
    return steps;
  }

  /** `[4][]` in front of the pointers. */
  private arrays(pointers: readonly DeclaratorStep[]): readonly DeclaratorStep[] | null {
    const { text } = this;
    let steps: DeclaratorStep[] | null = null;
    while (text.code() === OPEN_BRACKET) {
      const loc = text.location;
      text.at++;
      let size: SExpr | null = null;
      if (text.code() !== CLOSE_BRACKET) {
        const at = text.location;
        const number = text.number();
        if (number === null || text.code() !== CLOSE_BRACKET) return null;
        size = { kind: 'number', text: number, loc: at, depth: 1 };
      }
      text.at++;
      const step: DeclaratorStep = { kind: 'array', size, quals: 0, star: false, loc };
      if (steps === null) steps = [step];
      else if (steps.length > MOST_STEPS) return null;
      else steps.push(step);
    }
    if (steps === null) return null;
    for (const pointer of pointers) steps.push(pointer);
    return steps;
  }

  /** `(*name)(parameters)` in front of the pointers of what it returns. */
  private functionPointer(pointers: readonly DeclaratorStep[]): Declarator | null {
    const { text } = this;
    text.at++;
    if (text.code() !== STAR) return null;
    const inner = this.pointers();
    const word = this.behind;
    const loc = this.behindAt;
    if (inner === null || word === null) return null;
    let own = inner;
    if (text.code() === OPEN_BRACKET) {
      const arrays = this.arrays(inner);
      if (arrays === null) return null;
      own = arrays;
    }
    if (text.code() !== CLOSE) return null;
    text.at++;
    if (text.code() !== OPEN) return null;
    const begin = text.location;
    text.at++;
    const { depth } = this;
    this.depth = 0;
    const parameters = this.parameters();
    this.depth = depth;
    if (parameters === null) return null;
    const step: DeclaratorStep = {
      kind: 'function',
      parameters: parameters === VOID ? NO_PARAMETERS : parameters,
      variadic: false,
      prototyped: true,
      loc: begin,
    };
    return named(word.text, loc, [...own, step, ...pointers]);
  }

  /** The types up to `)`; names and whatever is more than pointers is not for here. */
  private parameters(): readonly SParameter[] | null {
    const { text } = this;
    const result: SParameter[] = [];
    for (;;) {
      text.code();
      const specifiers = this.specifiers();
      if (specifiers === null || this.behind !== null) return null;
      let steps: readonly DeclaratorStep[] = NO_STEPS;
      let code = text.code();
      if (code === STAR) {
        const pointers = this.pointers();
        if (pointers === null || this.behind !== null) return null;
        steps = pointers;
        code = text.code();
      }
      if (code !== COMMA && code !== CLOSE) return null;
      const loc = text.location;
      text.at++;
      if (code === CLOSE && result.length === 0 && steps.length === 0 && isVoid(specifiers))
        return specifiers.quals === 0 ? VOID : null;
      const declarator = { name: null, loc, steps, attributes: NO_ATTRIBUTES, asmLabel: null };
      result.push({ specifiers, declarator });
      if (code === CLOSE) return result;
    }
  }
}

const NO_PARAMETERS: readonly SParameter[] = [];
/** `(void)` */
const VOID: readonly SParameter[] = [];

function isVoid({ type }: Specifiers): boolean {
  return type.kind === 'builtin' && type.name === 'void';
}

function specifiersOf(type: TypeSpecifier, quals: number, loc: Location): Specifiers {
  return {
    type,
    quals,
    storage: null,
    inline: false,
    noreturn: false,
    threadLocal: false,
    attributes: NO_ATTRIBUTES,
    alignas: NO_ALIGNAS,
    loc,
  };
}

function named(name: string, loc: Location, steps: readonly DeclaratorStep[]): Declarator {
  return { name, loc, steps, attributes: NO_ATTRIBUTES, asmLabel: null };
}

/** The type that the words make together; null for combinations that are wrong. */
function arithmetic(base: string, longs: number, sign: boolean | null): TypeSpecifier | null {
  switch (base) {
    case '':
    case 'int':
      if (sign === false)
        return longs === 0 ? UNSIGNED_INT : longs === 1 ? UNSIGNED_LONG : UNSIGNED_LONG_LONG;
      return longs === 0 ? INT : longs === 1 ? LONG : LONG_LONG;
    case 'char':
      if (longs > 0) return null;
      return sign === null ? CHAR : sign ? SIGNED_CHAR : UNSIGNED_CHAR;
    case 'short':
      if (longs > 0) return null;
      return sign === false ? UNSIGNED_SHORT : SHORT;
    case 'void':
    case '_Bool':
      return longs > 0 || sign !== null ? null : base === 'void' ? VOID_TYPE : BOOL;
    default:
      return null;
  }
}

const INT = builtin('int');
const LONG = builtin('long');
const LONG_LONG = builtin('long long');
const UNSIGNED_INT = builtin('unsigned int');
const UNSIGNED_LONG = builtin('unsigned long');
const UNSIGNED_LONG_LONG = builtin('unsigned long long');
const CHAR = builtin('char');
const SIGNED_CHAR = builtin('signed char');
const UNSIGNED_CHAR = builtin('unsigned char');
const SHORT = builtin('short');
const UNSIGNED_SHORT = builtin('unsigned short');
const VOID_TYPE = builtin('void');
const BOOL = builtin('_Bool');
