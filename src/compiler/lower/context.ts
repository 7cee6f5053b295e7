/** What all parts of lowering a function share. The parts are functions over this class, so that none has to import another. */
import type { CType, Expr, FunctionDecl, RecordType, Stmt, StringExpr, VarDecl } from '../ast/index.ts';
import type { Builder, Func, Global, Value } from '../ir/index.ts';
import type { DiagnosticSink, Location } from '../source/index.ts';

/** Accesses of members that the loader may move: one relocation for the chain. */
export interface CoreChain {
  readonly base: Value;
  readonly root: CType;
  readonly path: readonly number[];
  /** Bits. */
  readonly offset: number;
}

/** Where an object is. */
export interface Place {
  /** Undefined while `chain` says it. */
  readonly address: Value | undefined;
  readonly chain: CoreChain | undefined;
  readonly type: CType;
  readonly volatile: boolean;
  /** The record that the access started from; null where it went through a union or an array of characters: it may be anything. */
  readonly root?: RecordType | null | undefined;
  /** A bit-field: from the first bit at the address (of the record) and its width. */
  readonly bits: { readonly offset: number; readonly width: number; readonly recordSize: number } | undefined;
}

export interface ModuleContext {
  readonly sink: DiagnosticSink;
  globalOf(decl: VarDecl): Global;
  funcOf(decl: FunctionDecl): Func;
  literal(expr: StringExpr): Global;
  /** A function of the translation unit by name. */
  functionNamed(name: string): Func | undefined;
}

export abstract class LowerContext {
  readonly module: ModuleContext;
  readonly builder: Builder;
  readonly locals = new Map<VarDecl, Value>();

  constructor(module: ModuleContext, builder: Builder) {
    this.module = module;
    this.builder = builder;
  }

  /** A scalar; for records the address of an object that holds it. */
  abstract value(expr: Expr): Value;
  abstract place(expr: Expr): Place;
  abstract addressOf(place: Place): Value;
  /** Evaluates a record or array into memory. */
  abstract evaluateInto(address: Value, expr: Expr): void;
  abstract statement(statement: Stmt): void;

  error(code: string, message: string, loc: Location): void {
    this.module.sink.error(code, message, loc);
  }
}
