/**
 * The typed tree: what `sema` makes and `lower` reads.
 *
 * Invariants:
 * - Every expression has its type, its location (the place a debugger should show: the operator of a binary
 *   expression, the callee of a call …) and says whether it designates an object (`lvalue`).
 * - All conversions are explicit: an operand is either an lvalue where one is wanted, or has exactly the core type
 *   that the operation needs. Reading an object is a `cast` with `how: 'load'`.
 * - Integer constant expressions that the language demands (case labels, array lengths, enumerators, `sizeof`) are
 *   already numbers. Other constants are left to the passes; `evaluate()` in `sema` folds them for static data.
 * - Names are resolved: a reference holds the declaration itself.
 */

import type { Location } from '../source/index.ts';
import type { BuiltinName } from './builtins.ts';
import type { CType, EnumType, Field, FunctionType, RecordType, TypedefType } from './types.ts';

// ---------------------------------------------------------------------------------------------------------------
// Expressions

interface ExprBase {
  readonly type: CType;
  /** It designates an object (or, for `decl-ref` of a function type, a function). */
  readonly lvalue: boolean;
  readonly loc: Location;
}

/** An integer, also of enum, bool or pointer type (null, or a constant cast to a pointer). `value` is in range of the type. */
export interface IntExpr extends ExprBase {
  readonly kind: 'int';
  readonly value: bigint;
}

/** A floating constant: only reaches `lower` where it was already reported as an error. */
export interface FloatExpr extends ExprBase {
  readonly kind: 'float';
  readonly value: number;
}

/** A string literal as an lvalue of array type. `bytes` includes the final NUL and has the array's size. */
export interface StringExpr extends ExprBase {
  readonly kind: 'string';
  readonly bytes: Uint8Array;
}

export interface DeclRefExpr extends ExprBase {
  readonly kind: 'decl-ref';
  readonly decl: VarDecl | FunctionDecl;
}

/** `-` and `~` on a promoted integer; `!` on any scalar, giving int. */
export interface UnaryExpr extends ExprBase {
  readonly kind: 'unary';
  readonly op: '-' | '~' | '!';
  readonly operand: Expr;
}

export type ArithmeticOp = '+' | '-' | '*' | '/' | '%' | '&' | '|' | '^' | '<<' | '>>';
export type CompareOp = '==' | '!=' | '<' | '>' | '<=' | '>=';

/**
 * Integer arithmetic: both operands have the type of the result (for shifts the left one has; the right one is a
 * promoted integer of its own type). Signedness of `/ % >>` is that of the result type.
 */
export interface BinaryExpr extends ExprBase {
  readonly kind: 'binary';
  readonly op: ArithmeticOp;
  readonly left: Expr;
  readonly right: Expr;
}

/** Both operands have the same core type (integer or pointer); the result is an int 0 or 1. Pointers compare unsigned. */
export interface CompareExpr extends ExprBase {
  readonly kind: 'compare';
  readonly op: CompareOp;
  readonly left: Expr;
  readonly right: Expr;
}

/** `&&` and `||` over scalars; the result is an int 0 or 1. */
export interface LogicalExpr extends ExprBase {
  readonly kind: 'logical';
  readonly op: '&&' | '||';
  readonly left: Expr;
  readonly right: Expr;
}

/** pointer ± index; `index` is a 64-bit integer, `scale` the size of the pointed-to type in bytes (1 for void). */
export interface PointerAddExpr extends ExprBase {
  readonly kind: 'pointer-add';
  readonly op: '+' | '-';
  readonly pointer: Expr;
  readonly index: Expr;
  readonly scale: number;
  /** CO-RE: inside of `__builtin_preserve_access_index`. */
  readonly preserve: boolean;
}

/** pointer − pointer, divided by `scale`; type long. */
export interface PointerDiffExpr extends ExprBase {
  readonly kind: 'pointer-diff';
  readonly left: Expr;
  readonly right: Expr;
  readonly scale: number;
}

/** `target = value`; value already has the target's type. The result is the value, not an lvalue. Records are copied. */
export interface AssignExpr extends ExprBase {
  readonly kind: 'assign';
  readonly target: Expr;
  readonly value: Expr;
}

/**
 * `target op= value` on integers: target = (T)((C)target op value), with C = `computation`; `value` has type C, or for
 * shifts its own promoted type. The target is evaluated once.
 */
export interface CompoundAssignExpr extends ExprBase {
  readonly kind: 'compound-assign';
  readonly op: ArithmeticOp;
  readonly target: Expr;
  readonly value: Expr;
  readonly computation: CType;
}

/** `target += index` on pointers. */
export interface PointerAssignExpr extends ExprBase {
  readonly kind: 'pointer-assign';
  readonly op: '+' | '-';
  readonly target: Expr;
  readonly index: Expr;
  readonly scale: number;
}

/** `++` and `--`; `step` is 1, or the size of the pointed-to type. */
export interface IncDecExpr extends ExprBase {
  readonly kind: 'inc-dec';
  readonly op: '++' | '--';
  readonly prefix: boolean;
  readonly target: Expr;
  readonly step: number;
}

/**
 * - `load`: lvalue to its value (qualifiers dropped from the type).
 * - `decay`: array lvalue to pointer to its first element; function to pointer.
 * - `integer`: truncate or extend by the *source's* sign; enums and bools count as integers. To `_Bool` it is `to-bool`.
 * - `to-bool`: scalar ≠ 0.
 * - `pointer`: pointer to pointer, same bits. `int-to-pointer` and `pointer-to-int`: 64 bits (integers of other sizes
 *   get an `integer` cast as well). `null`: a null pointer constant to a pointer.
 * - `address-space`: pointer to pointer of another address space.
 * - `void`: the value is dropped. `same`: only the type's name changes.
 */
export type CastKind =
  | 'load'
  | 'decay'
  | 'integer'
  | 'to-bool'
  | 'pointer'
  | 'int-to-pointer'
  | 'pointer-to-int'
  | 'null'
  | 'address-space'
  | 'void'
  | 'same';

export interface CastExpr extends ExprBase {
  readonly kind: 'cast';
  readonly how: CastKind;
  readonly operand: Expr;
  /** Written by the user. */
  readonly explicit: boolean;
}

/** `c ? a : b`. With `then` null it is GNU `c ?: b`: `cond` has the result's type and is evaluated once. */
export interface ConditionalExpr extends ExprBase {
  readonly kind: 'conditional';
  readonly cond: Expr;
  readonly then: Expr | null;
  readonly otherwise: Expr;
}

export interface CommaExpr extends ExprBase {
  readonly kind: 'comma';
  readonly left: Expr;
  readonly right: Expr;
}

/**
 * A call. `callee` is a pointer to function: `decay` of a `decl-ref` for a direct call; an integer cast to a pointer
 * is a helper call by number (`(void *) 1`), possibly read through a `static const` pointer variable whose
 * initialiser is that constant. Arguments are converted to the parameters' types.
 */
export interface CallExpr extends ExprBase {
  readonly kind: 'call';
  readonly callee: Expr;
  readonly args: readonly Expr[];
  readonly functionType: FunctionType;
  /** Constant of the callee where it is a helper's number, else null. */
  readonly helper: number | null;
}

/**
 * A call of a builtin that `sema` did not resolve itself. `name` is the canonical one, without `__builtin_`, where
 * spellings are folded (see `sema/builtins.ts` for the table: names, argument types, meaning). `immediates` are
 * arguments that must be constants (memory order, CO-RE kinds …). `typeArg` is the type that type builtins ask about.
 */
export interface BuiltinExpr extends ExprBase {
  readonly kind: 'builtin';
  readonly name: BuiltinName;
  readonly args: readonly Expr[];
  readonly immediates: readonly number[];
  readonly typeArg: CType | null;
}

/** `record.field`. `record` has a record type; an lvalue unless it is the value of a call. Arrows are member of deref. */
export interface MemberExpr extends ExprBase {
  readonly kind: 'member';
  readonly record: Expr;
  readonly field: Field;
  /** CO-RE: the access must be relocatable (attribute on the record, or inside of the builtin). */
  readonly preserve: boolean;
}

/** `*pointer`. */
export interface DerefExpr extends ExprBase {
  readonly kind: 'deref';
  readonly pointer: Expr;
}

/** `base[index]`: base is a pointer (often a `decay`), index a 64-bit integer, scale the element's size. */
export interface SubscriptExpr extends ExprBase {
  readonly kind: 'subscript';
  readonly base: Expr;
  readonly index: Expr;
  readonly scale: number;
  readonly preserve: boolean;
}

/** `&lvalue`. */
export interface AddressExpr extends ExprBase {
  readonly kind: 'address';
  readonly operand: Expr;
}

/** `(T){ … }`: an unnamed object; `decl` is its hidden variable (static at file scope). Initialised at each evaluation. */
export interface CompoundLiteralExpr extends ExprBase {
  readonly kind: 'compound-literal';
  readonly decl: VarDecl;
}

/** `({ … })`. Its value is that of the last statement where that is an expression; `body.body` holds it last. */
export interface StatementExpr extends ExprBase {
  readonly kind: 'statement-expr';
  readonly body: CompoundStmt;
  /** The value; not in `body`. Null where the type is void and the last statement is no expression. */
  readonly result: Expr | null;
}

/** Takes the place of what could not be understood; an error was reported. */
export interface ErrorExpr extends ExprBase {
  readonly kind: 'error';
}

export type Expr =
  | IntExpr
  | FloatExpr
  | StringExpr
  | DeclRefExpr
  | UnaryExpr
  | BinaryExpr
  | CompareExpr
  | LogicalExpr
  | PointerAddExpr
  | PointerDiffExpr
  | AssignExpr
  | CompoundAssignExpr
  | PointerAssignExpr
  | IncDecExpr
  | CastExpr
  | ConditionalExpr
  | CommaExpr
  | CallExpr
  | BuiltinExpr
  | MemberExpr
  | DerefExpr
  | SubscriptExpr
  | AddressExpr
  | CompoundLiteralExpr
  | StatementExpr
  | ErrorExpr;

// ---------------------------------------------------------------------------------------------------------------
// Initialisers

/** One scalar (or whole record, or character array from a string) of an initialiser. */
export interface InitEntry {
  /** Bytes from the start of the object. */
  readonly offset: number;
  readonly type: CType;
  /** A bit-field: its place counted from bit 0 of the *whole object*, and its width; `offset` is then floor(bit / 8). */
  readonly bits: { readonly offset: number; readonly width: number } | null;
  /**
   * Converted to `type`. For a character array: a `string` expression whose bytes are cut or shorter than the array
   * (the rest is zero). For a record: an rvalue of that type.
   */
  readonly value: Expr;
}

/** An initialiser, flattened, in order of offset; entries never overlap (a later designator replaced the earlier one). */
export interface Initializer {
  readonly type: CType;
  readonly entries: readonly InitEntry[];
  /** Whether bytes that no entry covers must be zeroed (true for every braced list and short string). */
  readonly zero: boolean;
  readonly loc: Location;
}

// ---------------------------------------------------------------------------------------------------------------
// Declarations

export interface DeclAttributes {
  section?: string;
  /** In bytes; 0 or absent for the type's own. */
  aligned?: number;
  weak?: true;
  used?: true;
  unused?: true;
  alwaysInline?: true;
  noinline?: true;
  naked?: true;
  noreturn?: true;
  hot?: true;
  cold?: true;
  pure?: true;
  const?: true;
  optnone?: true;
  noBuiltin?: true;
  visibility?: 'default' | 'hidden' | 'protected' | 'internal';
  alias?: string;
  declTags?: string[];
  /** Function called with the variable's address when its scope ends. */
  cleanup?: FunctionDecl;
  deprecated?: string;
  warnUnusedResult?: true;
}

/**
 * `local`: lives in the frame; `parameter` the same. `static`: one object, internal linkage (also block-scope
 * statics). `global`: defined here (a tentative definition too). `extern`: declared only (kconfig, ksym …).
 */
export type VarStorage = 'local' | 'parameter' | 'static' | 'global' | 'extern';

export interface VarDecl {
  readonly kind: 'var';
  readonly name: string;
  /** Unique within one compilation. */
  readonly id: number;
  /** Arrays have their length here once the initialiser was read. */
  type: CType;
  storage: VarStorage;
  readonly register: boolean;
  threadLocal: boolean;
  attributes: DeclAttributes;
  init: Initializer | null;
  /** The function it belongs to, for locals, parameters and block-scope statics. */
  readonly owner: FunctionDecl | null;
  readonly loc: Location;
  /** `&x` occurs, or an array or record access that needs memory. */
  addressTaken: boolean;
  /** Something refers to it. */
  referenced: boolean;
}

export interface FunctionDecl {
  readonly kind: 'function';
  readonly name: string;
  readonly id: number;
  /** Core type is `function`. */
  type: CType;
  /** The parameters of the definition (of the first declaration where there is none). */
  parameters: VarDecl[];
  body: CompoundStmt | null;
  /** `static`: internal linkage. */
  static: boolean;
  inline: boolean;
  attributes: DeclAttributes;
  /** Location of the name, in the definition where there is one. */
  loc: Location;
  /** Closing brace of the body. */
  end: Location | null;
  referenced: boolean;
}

// ---------------------------------------------------------------------------------------------------------------
// Statements

export interface CompoundStmt {
  readonly kind: 'compound';
  readonly body: readonly Stmt[];
  readonly loc: Location;
  /** Closing brace. */
  readonly end: Location;
}

export interface DeclStmt {
  readonly kind: 'decl';
  /** Local variables in order; statics and externs are not here (see `TranslationUnit.variables`). */
  readonly variables: readonly VarDecl[];
  readonly loc: Location;
}

export interface ExprStmt {
  readonly kind: 'expr';
  readonly expr: Expr;
  readonly loc: Location;
}

export interface IfStmt {
  readonly kind: 'if';
  /** A scalar. */
  readonly cond: Expr;
  readonly then: Stmt;
  readonly otherwise: Stmt | null;
  readonly loc: Location;
}

/** `#pragma unroll`, `#pragma clang loop unroll(...)`: count null means as far as it goes. */
export type LoopHint =
  | { readonly unroll: 'full' | 'enable' | 'disable'; readonly count: null }
  | { readonly unroll: 'count'; readonly count: number };

export interface LoopStmt {
  readonly kind: 'loop';
  /** `do`: the condition is tested after the body. */
  readonly form: 'while' | 'do' | 'for';
  /** `for`: declarations or an expression; its variables live in the loop. */
  readonly init: Stmt | null;
  /** A scalar; null means true. */
  readonly cond: Expr | null;
  readonly step: Expr | null;
  readonly body: Stmt;
  readonly hint: LoopHint | null;
  readonly loc: Location;
}

export interface SwitchStmt {
  readonly kind: 'switch';
  /** A promoted integer. */
  readonly value: Expr;
  readonly body: Stmt;
  /** Every label of this switch, in order; the statements themselves stand in `body` as `case` statements. */
  readonly cases: readonly CaseStmt[];
  readonly fallback: DefaultStmt | null;
  readonly loc: Location;
}

export interface CaseStmt {
  readonly kind: 'case';
  /** Both in the type of the switch value; equal unless it is a GNU range. */
  readonly low: bigint;
  readonly high: bigint;
  body: Stmt;
  readonly loc: Location;
}

export interface DefaultStmt {
  readonly kind: 'default';
  body: Stmt;
  readonly loc: Location;
}

/** A label's identity; `goto` and `label` statements share it. */
export interface Label {
  readonly name: string;
  readonly loc: Location;
}

export interface LabelStmt {
  readonly kind: 'label';
  readonly label: Label;
  readonly body: Stmt;
  readonly loc: Location;
}

export interface GotoStmt {
  readonly kind: 'goto';
  readonly label: Label;
  readonly loc: Location;
}

export interface JumpStmt {
  readonly kind: 'break' | 'continue';
  readonly loc: Location;
}

export interface ReturnStmt {
  readonly kind: 'return';
  /** Converted to the function's result type. */
  readonly value: Expr | null;
  readonly loc: Location;
}

export interface AsmOperand {
  /** `[name]`, or null. */
  readonly name: string | null;
  /** `=r`, `+r`, `ri`, `0`, `+m` … */
  readonly constraint: string;
  /** An lvalue for outputs and memory operands, a value else. */
  readonly expr: Expr;
}

export interface AsmStmt {
  readonly kind: 'asm';
  readonly template: string;
  readonly outputs: readonly AsmOperand[];
  readonly inputs: readonly AsmOperand[];
  readonly clobbers: readonly string[];
  readonly labels: readonly Label[];
  readonly volatile: boolean;
  /** Without operands, `%` is not special in the template. */
  readonly basic: boolean;
  readonly loc: Location;
}

export interface NullStmt {
  readonly kind: 'null';
  readonly loc: Location;
}

export type Stmt =
  | CompoundStmt
  | DeclStmt
  | ExprStmt
  | IfStmt
  | LoopStmt
  | SwitchStmt
  | CaseStmt
  | DefaultStmt
  | LabelStmt
  | GotoStmt
  | JumpStmt
  | ReturnStmt
  | AsmStmt
  | NullStmt;

// ---------------------------------------------------------------------------------------------------------------
// The whole

export interface TranslationUnit {
  /** In order of first declaration, those without a body included. */
  readonly functions: readonly FunctionDecl[];
  /** Everything with static storage, block-scope statics and file-scope compound literals included. */
  readonly variables: readonly VarDecl[];
  readonly records: readonly RecordType[];
  readonly enums: readonly EnumType[];
  readonly typedefs: readonly TypedefType[];
  /** File-scope `asm("…")`. */
  readonly asm: readonly { readonly template: string; readonly loc: Location }[];
  /** Functions that have another name in the object: `int f(void) asm("name")`. */
  readonly asmLabels: ReadonlyMap<FunctionDecl, string>;
  /** BCC dialect: the record that each table of events is handed, by the table's name. They stay in the object's BTF. */
  readonly events: ReadonlyMap<string, RecordType>;
}
