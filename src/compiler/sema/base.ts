/** What all parts of the semantic analysis share: scopes, messages, node makers, the unit being built. */
import {
  type CType,
  core,
  type EnumType,
  type Expr,
  type FunctionDecl,
  type IntExpr,
  type Label,
  type RecordType,
  type TypedefType,
  type VarDecl,
} from '../ast/index.ts';
import type { Attribute, SCompound, SExpr, SInit, TypeName } from '../parse/index.ts';
import { nearest } from '../parse/index.ts';
import type { DiagnosticSink, FixIt, Location, Note } from '../source/index.ts';
import { INT } from './arithmetic-types.ts';
import type { Report } from './lint.ts';
import { quoteType, typeName } from './print-type.ts';

export type Symbol =
  | VarDecl
  | FunctionDecl
  | { readonly kind: 'typedef'; readonly type: TypedefType }
  | { readonly kind: 'enumerator'; type: CType; readonly value: bigint; readonly loc: Location };

interface Scope {
  names: Map<string, Symbol> | null;
  tags: Map<string, RecordType | EnumType> | null;
}

/** A label of the function being read. */
export interface LabelState {
  readonly label: Label;
  defined: boolean;
  used: boolean;
  /** First use, for the message. */
  readonly loc: Location;
}

export interface FunctionState {
  readonly decl: FunctionDecl;
  readonly result: CType;
  readonly labels: Map<string, LabelState>;
  readonly locals: VarDecl[];
}

/** BCC dialect: what a table has to do with others than its program. */
export interface TableNote {
  /** Path below a bpffs. */
  readonly pinned?: string;
  /** Maps of maps: the table whose shape those have that it holds. */
  readonly inner?: string;
  /** Lent to other programs of the process, or (`extern`) one of theirs. */
  readonly sharing?: 'public' | 'shared' | 'extern';
}

export interface SemaOptions {
  /** `-fno-builtin`: functions named like the library's are ordinary functions. */
  readonly noBuiltin?: boolean;
  /** Names of macros that take arguments, for calls that are misspelt. */
  readonly macros?: () => Iterable<string>;
  /** `bcc`: the C of the BPF Compiler Collection (see `bcc.ts`). */
  readonly dialect?: 'bcc';
  /** The dialect's `TRACEPOINT_PROBE`: text of an event's format file in tracefs. */
  readonly tracepointFormat?: (category: string, name: string) => string | undefined;
  /** The dialect's tables that have to do with others, as they are declared. */
  readonly onTable?: (name: string, note: TableNote) => void;
}

export abstract class SemaBase {
  protected readonly diagnostics: DiagnosticSink;
  protected readonly options: SemaOptions;
  protected readonly scopes: Scope[] = [{ names: new Map(), tags: new Map() }];
  protected nextId = 1;
  protected readonly records: RecordType[] = [];
  protected readonly enums: EnumType[] = [];
  protected readonly typedefs: TypedefType[] = [];
  protected readonly functions: FunctionDecl[] = [];
  protected readonly variables: VarDecl[] = [];
  /** BCC dialect: what each table of events is handed. */
  protected readonly events = new Map<string, RecordType>();
  protected function: FunctionState | null = null;
  /** > 0 inside of `__builtin_preserve_access_index(…)`. */
  protected preserving = 0;
  /** > 0 where nothing is evaluated: sizeof, typeof, _Generic's control. */
  protected unevaluated = 0;
  /** How often each local variable is meant, without what only stores to it. */
  protected readonly reads = new Map<VarDecl, number>();
  /** `#pragma clang attribute` in force. */
  protected readonly pushedAttributes: { attributes: readonly Attribute[]; targets: readonly string[] }[] =
    [];

  constructor(diagnostics: DiagnosticSink, options: SemaOptions) {
    this.diagnostics = diagnostics;
    this.options = options;
  }

  // Implemented further down the chain of classes.
  protected abstract expr(node: SExpr): Expr;
  protected abstract rvalue(expr: Expr): Expr;
  protected abstract typeOfName(name: TypeName): CType;
  protected abstract compoundBody(body: SCompound): Expr;
  protected abstract initialize(variable: VarDecl, init: SInit, loc: Location): void;

  /** A dialect's own kinds of calls; null where it is none of them. */
  protected dialectCall(_node: Extract<SExpr, { readonly kind: 'call' }>): Expr | null {
    return null;
  }

  /** What a dialect says of a function that is defined; its body has not been read. */
  protected dialectFunction(_decl: FunctionDecl): void {}

  // -------------------------------------------------------------------------------------------------------------

  protected error(
    code: string,
    message: string,
    loc: Location,
    notes: readonly Note[] = [],
    fixits: readonly FixIt[] = [],
  ): void {
    this.diagnostics.error(code, message, loc, { notes, fixits });
  }

  protected warning(code: string, message: string, loc: Location, notes: readonly Note[] = []): void {
    this.diagnostics.warning(code, message, loc, { notes });
  }

  /** `warning` for the questions of `lint.ts`; nothing is said of what is not evaluated. */
  protected readonly lint: Report = (code, message, loc) => {
    if (this.unevaluated === 0) this.warning(code, message, loc);
  };

  private readonly place = (record: RecordType | EnumType): string => {
    const at = this.diagnostics.sources.position(record.location);
    return at === null ? '' : ` at ${at.path}:${at.line}:${at.column}`;
  };

  /** `'u32' (aka 'unsigned int')` */
  protected quote(type: CType): string {
    return quoteType(type, this.place);
  }

  protected spell(type: CType): string {
    return typeName(type, this.place);
  }

  // -------------------------------------------------------------------------------------------------------------

  protected pushScope(): void {
    this.scopes.push({ names: null, tags: null });
  }

  protected popScope(): void {
    this.scopes.pop();
  }

  protected get atFileScope(): boolean {
    return this.scopes.length === 1;
  }

  protected lookup(name: string): Symbol | undefined {
    for (let i = this.scopes.length - 1; i >= 0; i--) {
      const found = this.scopes[i]!.names?.get(name);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  protected lookupHere(name: string): Symbol | undefined {
    return this.scopes[this.scopes.length - 1]!.names?.get(name);
  }

  protected declare(name: string, symbol: Symbol): void {
    const scope = this.scopes[this.scopes.length - 1]!;
    scope.names ??= new Map();
    scope.names.set(name, symbol);
  }

  protected lookupTag(name: string): RecordType | EnumType | undefined {
    for (let i = this.scopes.length - 1; i >= 0; i--) {
      const found = this.scopes[i]!.tags?.get(name);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  protected lookupTagHere(name: string): RecordType | EnumType | undefined {
    return this.scopes[this.scopes.length - 1]!.tags?.get(name);
  }

  protected declareTag(name: string, tag: RecordType | EnumType): void {
    const scope = this.scopes[this.scopes.length - 1]!;
    scope.tags ??= new Map();
    scope.tags.set(name, tag);
  }

  private suggestions = 0;

  /** The visible name that was probably meant. */
  protected suggestName(
    name: string,
    accept: (symbol: Symbol) => boolean,
    more: Iterable<string> = [],
  ): string | null {
    if (++this.suggestions > 50) return null;
    const { scopes } = this;
    function* names(): Iterable<string> {
      yield* more;
      for (let i = scopes.length - 1; i >= 0; i--)
        for (const [candidate, symbol] of scopes[i]!.names ?? []) if (accept(symbol)) yield candidate;
    }
    return nearest(name, names());
  }

  // -------------------------------------------------------------------------------------------------------------

  protected errorExpr(loc: Location): Expr {
    return { kind: 'error', type: INT, lvalue: false, loc };
  }

  protected intExpr(value: bigint, type: CType, loc: Location): IntExpr {
    return { kind: 'int', value, type, lvalue: false, loc };
  }

  protected locationOf(symbol: Symbol): Location {
    if (symbol.kind === 'typedef') return symbol.type.location;
    return symbol.loc;
  }

  /** Fields of a record by name, those of anonymous members included. */
  protected findField(record: RecordType, name: string): readonly RecordType['fields'][number][] | undefined {
    if (record.lookup === null) {
      const lookup = new Map<string, readonly RecordType['fields'][number][]>();
      for (const field of record.fields) {
        if (field.name !== null) lookup.set(field.name, [field]);
        else {
          const inner = core(field.type);
          if (inner.kind !== 'record') continue;
          this.findField(inner, '');
          for (const [innerName, path] of inner.lookup ?? []) lookup.set(innerName, [field, ...path]);
        }
      }
      if (!record.complete) return lookup.get(name);
      record.lookup = lookup;
    }
    return record.lookup.get(name);
  }
}
