/** A translation unit to a module: functions, and static data with its bytes and relocations. */

import { toHex } from '../../util/index.ts';
import {
  core,
  type FunctionDecl,
  type Initializer,
  QUAL_CONST,
  QUAL_VOLATILE,
  qualifiers,
  type StringExpr,
  type TranslationUnit,
  type VarDecl,
} from '../ast/index.ts';
import { Func, type Global, type GlobalReloc, type Module, newGlobal } from '../ir/index.ts';
import type { DiagnosticSink } from '../source/index.ts';
import { evaluateStatic } from './constants.ts';
import type { ModuleContext } from './context.ts';
import { declareParameters, lowerFunction } from './function.ts';
import { alignOf, sizeOf } from './types.ts';

const MAX_DATA = 1 << 28;

class ModuleLowering implements ModuleContext {
  readonly sink: DiagnosticSink;
  readonly globals: Global[] = [];
  readonly funcs: Func[] = [];
  private readonly byVariable = new Map<string, Global>();
  private readonly byFunction = new Map<string, Func>();
  private readonly byDecl = new Map<VarDecl, Global>();
  private readonly literals = new Map<string, Global>();
  private readonly taken = new Map<string, number>();

  private readonly decls: ReadonlyMap<string, FunctionDecl>;

  constructor(sink: DiagnosticSink, functions: readonly FunctionDecl[]) {
    this.sink = sink;
    this.decls = new Map(functions.map((decl) => [decl.name, decl]));
  }

  functionNamed(name: string): Func | undefined {
    const decl = this.decls.get(name);
    return decl === undefined ? undefined : this.funcOf(decl);
  }

  funcOf(decl: FunctionDecl): Func {
    let func = this.byFunction.get(decl.name);
    if (func === undefined) {
      func = new Func(decl.name);
      this.byFunction.set(decl.name, func);
      this.funcs.push(func);
    }
    if (func.decl === undefined || (decl.body !== null && func.decl !== decl)) {
      func.decl = decl;
      func.loc = decl.loc;
      const { attributes } = decl;
      const isDefined = decl.body !== null;
      // An inline function that is nobody's external definition is ours alone.
      func.linkage =
        decl.static || (decl.inline && isDefined && attributes.weak !== true && attributes.used !== true)
          ? 'static'
          : attributes.weak === true
            ? isDefined
              ? 'weak'
              : 'extern-weak'
            : isDefined
              ? 'global'
              : 'extern';
      func.section = attributes.section;
      func.hidden = attributes.visibility === 'hidden' || attributes.visibility === 'internal';
      func.alwaysInline = attributes.alwaysInline === true;
      func.noInline = attributes.noinline === true || attributes.optnone === true;
      func.inlineHint = decl.inline;
      func.used = attributes.used === true;
      func.naked = attributes.naked === true;
      declareParameters(func, decl);
    }
    return func;
  }

  globalOf(decl: VarDecl): Global {
    const known = this.byDecl.get(decl);
    if (known !== undefined) return known;
    // Statics of functions may share a name with others.
    const local = decl.owner !== null && decl.storage === 'static';
    const shared = local || decl.name === '' ? undefined : this.byVariable.get(decl.name);
    const global = shared ?? this.makeGlobal(decl, local);
    this.byDecl.set(decl, global);
    if (!local && decl.name !== '') this.byVariable.set(decl.name, global);
    return global;
  }

  private uniqueName(name: string): string {
    const count = this.taken.get(name) ?? 0;
    this.taken.set(name, count + 1);
    return count === 0 ? name : `${name}.${count}`;
  }

  private makeGlobal(decl: VarDecl, local: boolean): Global {
    const base =
      decl.name === '' ? '.compoundliteral' : local ? `${decl.owner!.name}.${decl.name}` : decl.name;
    const aligned = decl.attributes.aligned ?? 0;
    const global = newGlobal(
      this.uniqueName(base),
      sizeOf(decl.type),
      Math.max(1, aligned || alignOf(decl.type)),
    );
    const { attributes } = decl;
    const weak = attributes.weak === true;
    global.linkage =
      decl.storage === 'static'
        ? 'static'
        : decl.storage === 'extern'
          ? weak
            ? 'extern-weak'
            : 'extern'
          : weak
            ? 'weak'
            : 'global';
    global.section = attributes.section;
    global.hidden = attributes.visibility === 'hidden' || attributes.visibility === 'internal';
    const quals = qualifiers(decl.type);
    global.constant = (quals & QUAL_CONST) !== 0;
    // What the loader may change before the program runs is volatile, or belongs to it by name.
    global.readonlyContents =
      global.constant &&
      (quals & QUAL_VOLATILE) === 0 &&
      decl.storage !== 'extern' &&
      !weak &&
      attributes.section === undefined;
    global.used = attributes.used === true;
    global.decl = decl;
    global.loc = decl.loc;
    this.globals.push(global);
    return global;
  }

  literal(expr: StringExpr): Global {
    const key = toHex(expr.bytes);
    let global = this.literals.get(key);
    if (global === undefined) {
      const number = this.literals.size;
      global = newGlobal(number === 0 ? '.L.str' : `.L.str.${number}`, expr.bytes.length, 1);
      const element = core(expr.type);
      if (element.kind === 'array') global.align = alignOf(element.element);
      global.linkage = 'static';
      global.constant = true;
      global.readonlyContents = true;
      global.literal = true;
      global.init = expr.bytes;
      this.literals.set(key, global);
      this.globals.push(global);
    }
    return global;
  }

  /** Bytes and relocations of a variable with an initialiser. */
  fill(global: Global, init: Initializer): void {
    if (global.size > MAX_DATA) {
      this.sink.error('object-too-large', `'${global.name}' is too large`, init.loc);
      return;
    }
    const tail = init.entries.reduce((end, entry) => Math.max(end, entry.offset + sizeOf(entry.type)), 0);
    // A flexible last member takes its room from the initialiser.
    if (tail > global.size) global.size = tail;
    const bytes = new Uint8Array(global.size);
    const relocs: GlobalReloc[] = [];
    for (const entry of init.entries) {
      if (entry.value.kind === 'string') {
        bytes.set(
          entry.value.bytes.subarray(0, Math.min(sizeOf(entry.type), global.size - entry.offset)),
          entry.offset,
        );
        continue;
      }
      const { value: expr } = entry;
      if (expr.kind === 'error') continue;
      const inner = expr.kind === 'cast' && expr.how === 'load' ? expr.operand : expr;
      if (inner.kind === 'compound-literal' && inner.decl.init !== null) {
        const part = newGlobal('', sizeOf(inner.type), 1);
        this.fill(part, inner.decl.init);
        if (part.init !== undefined)
          bytes.set(part.init.subarray(0, global.size - entry.offset), entry.offset);
        for (const reloc of part.relocs) relocs.push({ ...reloc, offset: reloc.offset + entry.offset });
        continue;
      }
      const known = evaluateStatic(this, expr);
      if (known === undefined) {
        this.sink.error('not-constant', 'initializer element is not a compile-time constant', expr.loc);
        continue;
      }
      if (known.base !== undefined) {
        if (sizeOf(entry.type) !== 8 || entry.bits !== null) {
          this.sink.error('not-constant', 'initializer element is not a compile-time constant', expr.loc);
          continue;
        }
        relocs.push({ offset: entry.offset, target: known.base, addend: Number(known.value) });
        continue;
      }
      if (entry.bits === null) putBits(bytes, entry.offset * 8, sizeOf(entry.type) * 8, known.value);
      else putBits(bytes, entry.bits.offset, entry.bits.width, known.value);
    }
    global.relocs = relocs;
    if (relocs.length > 0 || bytes.some((byte) => byte !== 0)) global.init = bytes;
  }
}

function putBits(bytes: Uint8Array, offset: number, width: number, value: bigint): void {
  let rest = BigInt.asUintN(width, value);
  let at = offset;
  for (let left = width; left > 0; ) {
    const skip = at % 8;
    const take = Math.min(8 - skip, left);
    const index = Math.floor(at / 8);
    if (index >= bytes.length) return;
    bytes[index]! |= Number(rest & ((1n << BigInt(take)) - 1n)) << skip;
    rest >>= BigInt(take);
    at += take;
    left -= take;
  }
}

/** Lowers everything that is defined; unused statics are dropped later. */
export function lowerUnit(unit: TranslationUnit, sink: DiagnosticSink): Module {
  const lowering = new ModuleLowering(sink, unit.functions);
  for (const decl of unit.variables) {
    if (decl.storage === 'extern' && !decl.referenced) continue;
    const global = lowering.globalOf(decl);
    if (decl.init !== null && decl.storage !== 'extern' && global.init === undefined) {
      global.decl = decl;
      lowering.fill(global, decl.init);
    }
  }
  for (const decl of unit.functions) {
    if (decl.body === null) continue;
    const func = lowering.funcOf(decl);
    if (func.blocks.length === 0) lowerFunction(lowering, decl, func);
  }
  return { globals: lowering.globals, funcs: lowering.funcs };
}
