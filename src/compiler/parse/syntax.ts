/**
 * The syntax tree: what was written, before types. Made by the parser, read by `sema`, which is its only customer.
 *
 * Owns shapes only. `depth` of an expression is the height of its tree; the parser keeps it under `MAX_TREE_DEPTH`, so
 * that whoever walks trees recursively stays within the JavaScript stack.
 */
import type { Token } from '../preprocess/index.ts';
import type { DiagnosticState, Location } from '../source/index.ts';

/** Brackets of any kind inside each other (clang's -fbracket-depth), and statements inside statements. */
export const MAX_NESTING = 256;
/** Height of one expression. */
export const MAX_TREE_DEPTH = 800;

export interface Attribute {
  /** Without the underscores around it: `__packed__` is `packed`. */
  readonly name: string;
  readonly args: readonly SExpr[];
  readonly loc: Location;
}

// ---------------------------------------------------------------------------------------------------------------
// Types

export type TypeSpecifier =
  /** `int`, `unsigned long` …: the canonical name, a key of `sema`'s table. */
  | { readonly kind: 'builtin'; readonly name: string }
  | { readonly kind: 'name'; readonly name: string; readonly loc: Location }
  | RecordSpecifier
  | EnumSpecifier
  | { readonly kind: 'typeof-expr'; readonly expr: SExpr; readonly unqual: boolean }
  | { readonly kind: 'typeof-type'; readonly type: TypeName; readonly unqual: boolean }
  | { readonly kind: 'auto'; readonly loc: Location }
  | { readonly kind: 'atomic'; readonly type: TypeName }
  /** An error was reported; stands for int. */
  | { readonly kind: 'error' };

export interface RecordSpecifier {
  readonly kind: 'record';
  readonly union: boolean;
  readonly tag: string | null;
  /** Null for a mere mention. */
  readonly members: readonly MemberDeclaration[] | null;
  readonly attributes: readonly Attribute[];
  /** `#pragma pack(n)` in force, else 0. */
  readonly pack: number;
  /** Of the tag, or of the keyword. */
  readonly loc: Location;
  /** `struct x;` alone or a definition: declares a new tag in this scope. */
  readonly declares: boolean;
}

export interface MemberDeclaration {
  readonly specifiers: Specifiers;
  readonly declarators: readonly { readonly declarator: Declarator; readonly width: SExpr | null }[];
  readonly staticAssert: StaticAssert | null;
  readonly loc: Location;
}

export interface EnumSpecifier {
  readonly kind: 'enum';
  readonly tag: string | null;
  readonly enumerators:
    | readonly { readonly name: string; readonly value: SExpr | null; readonly loc: Location }[]
    | null;
  readonly fixed: TypeName | null;
  readonly attributes: readonly Attribute[];
  readonly loc: Location;
}

export type StorageClass = 'typedef' | 'extern' | 'static' | 'auto' | 'register' | null;

export interface Specifiers {
  readonly type: TypeSpecifier;
  /** Bits as `QUAL_*` of `ast`. */
  readonly quals: number;
  readonly storage: StorageClass;
  readonly inline: boolean;
  readonly noreturn: boolean;
  readonly threadLocal: boolean;
  readonly attributes: readonly Attribute[];
  readonly alignas: readonly (SExpr | TypeName)[];
  readonly loc: Location;
}

export interface SParameter {
  readonly specifiers: Specifiers;
  readonly declarator: Declarator;
}

/** One step of a declarator. Steps are listed from the name outwards; the last one applies to the specifiers' type. */
export type DeclaratorStep =
  | {
      readonly kind: 'pointer';
      readonly quals: number;
      readonly attributes: readonly Attribute[];
      readonly loc: Location;
    }
  | {
      readonly kind: 'array';
      readonly size: SExpr | null;
      readonly quals: number;
      readonly star: boolean;
      readonly loc: Location;
    }
  | {
      readonly kind: 'function';
      readonly parameters: readonly SParameter[];
      readonly variadic: boolean;
      readonly prototyped: boolean;
      readonly loc: Location;
    };

export interface Declarator {
  readonly name: string | null;
  /** Of the name; where there is none, of what stands in its place. */
  readonly loc: Location;
  readonly steps: readonly DeclaratorStep[];
  readonly attributes: readonly Attribute[];
  /** `asm("name")` */
  readonly asmLabel: string | null;
}

export interface TypeName {
  readonly kind: 'type-name';
  readonly specifiers: Specifiers;
  readonly declarator: Declarator;
  readonly loc: Location;
}

// ---------------------------------------------------------------------------------------------------------------
// Expressions

interface SExprBase {
  readonly loc: Location;
  readonly depth: number;
}

export type SExpr = SExprBase &
  (
    | { readonly kind: 'name'; readonly name: string }
    | { readonly kind: 'number'; readonly text: string }
    | { readonly kind: 'char'; readonly text: string }
    | { readonly kind: 'string'; readonly tokens: readonly Token[] }
    | { readonly kind: 'function-name' }
    | { readonly kind: 'unary'; readonly op: '+' | '-' | '~' | '!' | '*' | '&'; readonly operand: SExpr }
    | {
        readonly kind: 'inc-dec';
        readonly op: '++' | '--';
        readonly prefix: boolean;
        readonly operand: SExpr;
      }
    | {
        readonly kind: 'binary';
        readonly op: string;
        readonly left: SExpr;
        readonly right: SExpr;
        readonly begin: Location;
      }
    | {
        readonly kind: 'assign';
        readonly op: string;
        readonly left: SExpr;
        readonly right: SExpr;
        readonly begin: Location;
      }
    | {
        readonly kind: 'conditional';
        readonly cond: SExpr;
        readonly then: SExpr | null;
        readonly otherwise: SExpr;
      }
    | { readonly kind: 'cast'; readonly type: TypeName; readonly operand: SExpr }
    | {
        readonly kind: 'call';
        readonly callee: SExpr;
        readonly args: readonly SExpr[];
        readonly end: Location;
      }
    | {
        readonly kind: 'member';
        readonly object: SExpr;
        readonly arrow: boolean;
        readonly name: string;
        readonly nameLoc: Location;
      }
    | { readonly kind: 'subscript'; readonly object: SExpr; readonly index: SExpr }
    | { readonly kind: 'sizeof-expr'; readonly operand: SExpr; readonly align: boolean }
    | { readonly kind: 'sizeof-type'; readonly type: TypeName; readonly align: boolean }
    | { readonly kind: 'compound-literal'; readonly type: TypeName; readonly list: SInitList }
    | { readonly kind: 'statement-expr'; readonly body: SCompound }
    | {
        readonly kind: 'generic';
        readonly control: SExpr;
        readonly choices: readonly {
          readonly type: TypeName | null;
          readonly expr: SExpr;
          readonly loc: Location;
        }[];
      }
    | {
        readonly kind: 'offsetof';
        readonly type: TypeName;
        readonly path: readonly (
          | { readonly name: string; readonly loc: Location }
          | { readonly index: SExpr }
        )[];
      }
    | { readonly kind: 'types-compatible'; readonly left: TypeName; readonly right: TypeName }
    | { readonly kind: 'paren'; readonly inner: SExpr }
    | { readonly kind: 'label-address'; readonly name: string }
    | { readonly kind: 'va-arg'; readonly list: SExpr; readonly type: TypeName }
    | { readonly kind: 'error' }
  );

export type SExprKind = SExpr['kind'];

export type SDesignator =
  | { readonly kind: 'field'; readonly name: string; readonly loc: Location }
  | { readonly kind: 'index'; readonly low: SExpr; readonly high: SExpr | null; readonly loc: Location };

export interface SInitItem {
  readonly designators: readonly SDesignator[];
  readonly value: SInit;
  readonly loc: Location;
}

export interface SInitList {
  readonly kind: 'list';
  readonly items: readonly SInitItem[];
  readonly loc: Location;
  readonly end: Location;
}

export type SInit = SInitList | SExpr;

// ---------------------------------------------------------------------------------------------------------------
// Statements and declarations

export interface StaticAssert {
  readonly kind: 'static-assert';
  readonly cond: SExpr;
  readonly message: readonly Token[];
  readonly loc: Location;
}

export interface SInitDeclarator {
  readonly declarator: Declarator;
  readonly init: SInit | null;
}

export interface SDeclaration {
  readonly kind: 'declaration';
  readonly specifiers: Specifiers;
  readonly declarators: readonly SInitDeclarator[];
  /** At file scope: what pragmas said where it began. */
  readonly state?: DiagnosticState;
  readonly loc: Location;
}

export interface SFunctionDefinition {
  readonly kind: 'function';
  readonly specifiers: Specifiers;
  readonly declarator: Declarator;
  readonly body: SCompound;
  readonly state: DiagnosticState;
  /** Errors met while it was read. */
  readonly errors: number;
  readonly loc: Location;
}

export interface SFileAsm {
  readonly kind: 'file-asm';
  readonly template: readonly Token[];
  readonly loc: Location;
}

/** `#pragma clang attribute push(__attribute__((…)), apply_to = record)`; pop has no attribute. */
export interface SAttributePragma {
  readonly kind: 'attribute-pragma';
  readonly attributes: readonly Attribute[] | null;
  readonly targets: readonly string[];
  readonly loc: Location;
}

export type STopLevel = SDeclaration | SFunctionDefinition | StaticAssert | SFileAsm | SAttributePragma;

export interface SCompound {
  readonly kind: 'compound';
  readonly body: readonly SStmt[];
  readonly loc: Location;
  readonly end: Location;
}

export interface SAsmOperand {
  readonly name: string | null;
  readonly constraint: readonly Token[];
  readonly expr: SExpr;
  readonly loc: Location;
}

export interface SLoopHint {
  readonly unroll: 'full' | 'enable' | 'disable' | 'count';
  readonly count: SExpr | null;
}

export type SStmt =
  | SCompound
  | SDeclaration
  | StaticAssert
  | { readonly kind: 'expr'; readonly expr: SExpr; readonly loc: Location }
  | {
      readonly kind: 'if';
      readonly cond: SExpr;
      readonly then: SStmt;
      readonly otherwise: SStmt | null;
      readonly loc: Location;
    }
  | {
      readonly kind: 'while';
      readonly cond: SExpr;
      readonly body: SStmt;
      readonly hint: SLoopHint | null;
      readonly loc: Location;
    }
  | {
      readonly kind: 'do';
      readonly cond: SExpr;
      readonly body: SStmt;
      readonly hint: SLoopHint | null;
      readonly loc: Location;
    }
  | {
      readonly kind: 'for';
      readonly init: SDeclaration | SExpr | null;
      readonly cond: SExpr | null;
      readonly step: SExpr | null;
      readonly body: SStmt;
      readonly hint: SLoopHint | null;
      readonly loc: Location;
    }
  | { readonly kind: 'switch'; readonly value: SExpr; readonly body: SStmt; readonly loc: Location }
  | {
      readonly kind: 'case';
      readonly low: SExpr;
      readonly high: SExpr | null;
      readonly body: SStmt;
      readonly loc: Location;
    }
  | { readonly kind: 'default'; readonly body: SStmt; readonly loc: Location }
  | {
      readonly kind: 'label';
      readonly name: string;
      readonly body: SStmt;
      readonly attributes: readonly Attribute[];
      readonly loc: Location;
    }
  | { readonly kind: 'goto'; readonly name: string; readonly nameLoc: Location; readonly loc: Location }
  | { readonly kind: 'break' | 'continue'; readonly loc: Location }
  | { readonly kind: 'return'; readonly value: SExpr | null; readonly loc: Location }
  | {
      readonly kind: 'local-labels';
      readonly names: readonly { readonly name: string; readonly loc: Location }[];
      readonly loc: Location;
    }
  | {
      readonly kind: 'asm';
      readonly template: readonly Token[];
      readonly outputs: readonly SAsmOperand[];
      readonly inputs: readonly SAsmOperand[];
      readonly clobbers: readonly (readonly Token[])[];
      readonly labels: readonly { readonly name: string; readonly loc: Location }[];
      readonly volatile: boolean;
      readonly basic: boolean;
      readonly loc: Location;
    }
  /** From here on `#pragma GCC diagnostic` says something else. */
  | { readonly kind: 'diagnostic-state'; readonly state: DiagnosticState; readonly loc: Location }
  | { readonly kind: 'null'; readonly attributes: readonly Attribute[]; readonly loc: Location };
