/** Specifiers and declarators to types (C11 6.7.2, 6.7.6), and the constants that types ask for. */
import {
  type CType,
  core,
  type EnumType,
  elementOf,
  type ParameterType,
  QUAL_ATOMIC,
  QUAL_RESTRICT,
  qualify,
  type RecordType,
} from '../ast/index.ts';
import type {
  Declarator,
  DeclaratorStep,
  EnumSpecifier,
  RecordSpecifier,
  SExpr,
  Specifiers,
  StaticAssert,
  TypeName,
} from '../parse/index.ts';
import type { Location } from '../source/index.ts';
import {
  BUILTIN_TYPES,
  INT,
  INT128,
  isComplete,
  isInteger,
  pointerTo,
  sizeOf,
  UINT128,
  unqualified,
} from './arithmetic-types.ts';
import { AttributeSema } from './attributes.ts';
import { evaluateInteger } from './evaluate.ts';
import { MAX_OBJECT_SIZE } from './layout.ts';
import { stringText } from './literals.ts';

const PREDEFINED: ReadonlyMap<string, CType> = new Map<string, CType>([
  ['__int128_t', INT128],
  ['__uint128_t', UINT128],
]);

/** Types nested in types, so that walks along them are bounded. */
const MAX_TYPE_DEPTH = 1000;

export abstract class TypeSema extends AttributeSema {
  /** While the parameters of a function are read. */
  protected inParameters = false;

  protected abstract record(spec: RecordSpecifier): RecordType;
  protected abstract enumeration(spec: EnumSpecifier): EnumType;

  protected specifierType(specifiers: Specifiers): CType {
    const spec = specifiers.type;
    let type: CType;
    switch (spec.kind) {
      case 'builtin':
        type = BUILTIN_TYPES.get(spec.name)!;
        break;
      case 'name': {
        const found = this.lookup(spec.name);
        if (found?.kind === 'typedef') type = found.type;
        else {
          const predefined = PREDEFINED.get(spec.name) ?? BUILTIN_TYPES.get(spec.name);
          if (predefined === undefined)
            this.error('unknown-type', `unknown type name '${spec.name}'`, spec.loc);
          type = predefined ?? INT;
        }
        break;
      }
      case 'record':
        type = this.record(spec);
        break;
      case 'enum':
        type = this.enumeration(spec);
        break;
      case 'typeof-expr': {
        this.unevaluated++;
        const expr = this.expr(spec.expr);
        this.unevaluated--;
        type = spec.unqual ? unqualified(expr.type) : expr.type;
        break;
      }
      case 'typeof-type':
        type = this.typeOfName(spec.type);
        if (spec.unqual) type = unqualified(type);
        break;
      case 'atomic':
        type = qualify(this.typeOfName(spec.type), QUAL_ATOMIC);
        break;
      case 'auto':
        // The declaration replaces it by the initialiser's type.
        this.error('auto-type', "'__auto_type' not allowed here", spec.loc);
        type = INT;
        break;
      case 'error':
        type = INT;
        break;
    }
    type = this.qualified(type, specifiers.quals, specifiers.loc);
    if (specifiers.attributes.length > 0 && spec.kind !== 'error')
      type = this.typeAttributes(type, specifiers.attributes);
    return type;
  }

  private qualified(type: CType, quals: number, loc: Location): CType {
    if (quals === 0) return type;
    if (quals & QUAL_RESTRICT && core(type).kind !== 'pointer') {
      this.error(
        'qualifier',
        `restrict requires a pointer or reference (${this.quote(type)} is invalid)`,
        loc,
      );
      return qualify(type, quals & ~QUAL_RESTRICT);
    }
    return qualify(type, quals);
  }

  /** The declarator's type around `base`. */
  protected declaratorType(base: CType, declarator: Declarator): CType {
    let type = base;
    for (let i = declarator.steps.length - 1; i >= 0; i--)
      type = this.step(type, declarator.steps[i]!, declarator);
    return type;
  }

  /** The depth of a type derived from `inner`. Walks along types recurse, so chains of typedefs have an end. */
  private derive(inner: CType, loc: Location): number {
    const depth = depthOf(inner) + 1;
    if (depth > MAX_TYPE_DEPTH)
      this.diagnostics.fatal('nesting', `a type made of more than ${MAX_TYPE_DEPTH} parts`, loc);
    return depth;
  }

  private step(type: CType, step: DeclaratorStep, declarator: Declarator): CType {
    switch (step.kind) {
      case 'pointer': {
        const pointer = qualify(
          { kind: 'pointer', pointee: type, depth: this.derive(type, declarator.loc) },
          step.quals,
        );
        return step.attributes.length > 0 ? this.typeAttributes(pointer, step.attributes) : pointer;
      }
      case 'array':
        return this.arrayType(type, step.size, step.loc, declarator);
      case 'function': {
        const at = core(type);
        if (at.kind === 'function' || at.kind === 'array') {
          this.error(
            'function-result',
            `function cannot return ${at.kind} type ${this.quote(type)}`,
            declarator.loc,
          );
          return { kind: 'function', result: INT, parameters: [], variadic: false, prototyped: false };
        }
        const parameters = this.parameterTypes(step);
        let depth = this.derive(type, declarator.loc);
        for (const parameter of parameters)
          depth = Math.max(depth, this.derive(parameter.type, declarator.loc));
        return {
          kind: 'function',
          result: type,
          parameters,
          variadic: step.variadic,
          prototyped: step.prototyped,
          depth,
        };
      }
    }
  }

  private parameterTypes(step: DeclaratorStep & { kind: 'function' }): ParameterType[] {
    if (step.parameters.length === 0) return [];
    this.pushScope();
    const outside = this.inParameters;
    this.inParameters = true;
    const result = step.parameters.map((parameter): ParameterType => {
      const { declarator, specifiers } = parameter;
      const declared = this.declaratorType(this.specifierType(specifiers), declarator);
      const { declTags } = this.fieldAttributes([specifiers.attributes, declarator.attributes]);
      const type = this.parameterType(declared, declarator);
      if (declarator.name !== null) {
        // Later parameters may name it in array lengths and typeof.
        this.declare(declarator.name, {
          kind: 'var',
          name: declarator.name,
          id: 0,
          type,
          storage: 'parameter',
          register: false,
          threadLocal: false,
          attributes: {},
          init: null,
          owner: null,
          loc: declarator.loc,
          addressTaken: false,
          referenced: false,
        });
      }
      return { name: declarator.name, type, declTags };
    });
    this.inParameters = outside;
    this.popScope();
    return result;
  }

  /** Arrays and functions become pointers. */
  private parameterType(type: CType, declarator: Declarator): CType {
    const at = core(type);
    if (at.kind === 'array') {
      const step = declarator.steps[0];
      return qualify(pointerTo(elementOf(type)), step?.kind === 'array' ? step.quals : 0);
    }
    if (at.kind === 'function') return pointerTo(type);
    if (at.kind === 'void') {
      this.error(
        'void-parameter',
        declarator.name === null
          ? "'void' must be the first and only parameter if specified"
          : "argument may not have 'void' type",
        declarator.loc,
      );
      return INT;
    }
    return type;
  }

  private arrayType(element: CType, size: SExpr | null, loc: Location, declarator: Declarator): CType {
    const at = core(element);
    let length: number | null = null;
    let variable = false;
    const named = declarator.name === null ? 'array' : `'${declarator.name}'`;
    if (at.kind === 'function' || at.kind === 'void') {
      this.error(
        'array-element',
        at.kind === 'void'
          ? `array has incomplete element type ${this.quote(element)}`
          : `${named} declared as array of functions of type ${this.quote(element)}`,
        declarator.loc,
      );
      return { kind: 'array', element: INT, length: 1, variable: false };
    }
    if (!isComplete(element) && !(at.kind === 'array' && at.variable)) {
      this.error('incomplete', `array has incomplete element type ${this.quote(element)}`, declarator.loc);
      return { kind: 'array', element: INT, length: 1, variable: false };
    }
    if (size !== null && isSmallDecimal(size) && Number(size.text) * sizeOf(element) < MAX_OBJECT_SIZE)
      length = Number(size.text);
    else if (size !== null) {
      const expr = this.rvalue(this.expr(size));
      if (expr.kind === 'error') length = 1;
      else if (!isInteger(expr.type)) {
        this.error('array-size', `size of array has non-integer type ${this.quote(expr.type)}`, size.loc);
        length = 1;
      } else {
        const value = evaluateInteger(expr, true);
        if (value === null) variable = true;
        else if (value < 0n) {
          this.error(
            'array-size',
            declarator.name === null
              ? 'array size is negative'
              : `${named} declared as an array with a negative size`,
            size.loc,
          );
          length = 1;
        } else if (Number(value) * Math.max(1, sizeOf(element)) >= MAX_OBJECT_SIZE) {
          this.error('array-size', 'array is too large', size.loc);
          length = 1;
        } else length = Number(value);
      }
    }
    return { kind: 'array', element, length, variable, depth: this.derive(element, loc) };
  }

  protected typeOfName(name: TypeName): CType {
    return this.declaratorType(this.specifierType(name.specifiers), name.declarator);
  }

  protected requireComplete(type: CType, loc: Location, message: (quoted: string) => string): boolean {
    if (isComplete(type)) return true;
    this.error('incomplete', message(this.quote(type)), loc, this.forwardNote(type));
    return false;
  }

  /** `forward declaration of 'struct x'` */
  protected forwardNote(type: CType): { message: string; location: Location }[] {
    let at = core(type);
    while (at.kind === 'array') at = core(at.element);
    return at.kind === 'record' || at.kind === 'enum'
      ? [{ message: `forward declaration of ${this.quote(at)}`, location: at.location }]
      : [];
  }

  // -------------------------------------------------------------------------------------------------------------
  // Constants

  /** The value of a constant expression that the language demands; null after an error. */
  protected integerConstant(node: SExpr, what: string): bigint | null {
    if (isSmallDecimal(node)) return BigInt(node.text);
    const expr = this.rvalue(this.expr(node));
    if (expr.kind === 'error') return null;
    if (!isInteger(expr.type)) {
      this.error('constant', `expression is not an ${what}`, node.loc);
      return null;
    }
    const value = evaluateInteger(expr, true);
    if (value === null) this.error('constant', `expression is not an ${what}`, this.beginOf(node));
    return value;
  }

  protected abstract beginOf(node: SExpr): Location;

  protected staticAssert(node: StaticAssert): void {
    const expr = this.rvalue(this.expr(node.cond));
    if (expr.kind === 'error') return;
    const value = evaluateInteger(expr, true);
    if (value === null) {
      this.error(
        'static-assert',
        'static assertion expression is not an integral constant expression',
        this.beginOf(node.cond),
      );
      return;
    }
    if (value !== 0n) return;
    const text = node.message.length > 0 ? `: ${stringText(node.message)}` : '';
    this.error('static-assert', `static assertion failed${text}`, this.beginOf(node.cond));
  }
}

const DECIMAL = /^(?:0|[1-9][0-9]*)$/;

/** An `int` whose value is what its digits say: nothing else needs to be asked of it. */
export function isSmallDecimal(node: SExpr): node is SExpr & { readonly kind: 'number' } {
  return node.kind === 'number' && node.text.length < 9 && DECIMAL.test(node.text);
}

function depthOf(type: CType): number {
  const at = core(type);
  return at.kind === 'pointer' || at.kind === 'array' || at.kind === 'function' ? (at.depth ?? 0) : 0;
}
