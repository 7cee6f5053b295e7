/** Declarations of objects, functions and typedefs, at file scope and in blocks (C11 6.7, 6.9). */
import {
  type CompoundStmt,
  type CType,
  core,
  type DeclAttributes,
  elementOf,
  type FunctionDecl,
  type FunctionType,
  QUAL_CONST,
  qualify,
  type TypedefType,
  type VarDecl,
  type VarStorage,
} from '../ast/index.ts';
import type {
  Declarator,
  SCompound,
  SDeclaration,
  SFunctionDefinition,
  SInit,
  SInitDeclarator,
  Specifiers,
} from '../parse/index.ts';
import type { Location } from '../source/index.ts';
import { compatible, INT, isComplete, isVoid, unqualified } from './arithmetic-types.ts';
import type { LabelState } from './base.ts';
import { InitializerSema } from './initializers.ts';

export abstract class DeclarationSema extends InitializerSema {
  protected abstract functionBody(decl: FunctionDecl, body: SCompound): CompoundStmt;

  /** Local variables that a block-scope declaration made. */
  protected declaration(node: SDeclaration): VarDecl[] {
    const { specifiers } = node;
    const locals: VarDecl[] = [];
    const auto = specifiers.type.kind === 'auto';
    const base = auto ? INT : this.specifierType(specifiers);
    if (node.declarators.length === 0) {
      this.emptyDeclaration(specifiers, node.loc);
      return locals;
    }
    for (const item of node.declarators) {
      const { declarator } = item;
      let type = auto ? this.deduce(item, specifiers) : this.declaratorType(base, declarator);
      if (declarator.attributes.length > 0) type = this.typeAttributes(type, declarator.attributes);
      if (specifiers.storage === 'typedef') this.typedef(type, specifiers, declarator);
      else if (core(type).kind === 'function') {
        this.functionDeclaration(type, specifiers, declarator, false);
        if (item.init !== null)
          this.error(
            'initializer',
            `illegal initializer (only variables can be initialized)`,
            declarator.loc,
          );
      } else if (this.atFileScope) this.fileVariable(type, specifiers, declarator, item.init);
      else {
        const local = this.blockVariable(type, specifiers, declarator, item.init);
        if (local !== null) locals.push(local);
      }
    }
    return locals;
  }

  private emptyDeclaration(specifiers: Specifiers, loc: Location): void {
    const { type } = specifiers;
    if (type.kind === 'record' && type.tag !== null) return;
    if (type.kind === 'enum' || type.kind === 'error') return;
    this.warning(
      'missing-declarations',
      specifiers.storage === 'typedef' ? 'typedef requires a name' : 'declaration does not declare anything',
      loc,
    );
  }

  /** `__auto_type x = …;` */
  private deduce(item: SInitDeclarator, specifiers: Specifiers): CType {
    const { declarator, init } = item;
    if (init === null || init.kind === 'list') {
      this.error(
        'auto-type',
        `declaration of variable '${declarator.name}' with deduced type '__auto_type' requires an initializer`,
        declarator.loc,
      );
      return INT;
    }
    this.unevaluated++;
    const value = this.rvalue(this.expr(init));
    this.unevaluated--;
    return qualify(unqualified(value.type), specifiers.quals);
  }

  // -------------------------------------------------------------------------------------------------------------

  private typedef(type: CType, specifiers: Specifiers, declarator: Declarator): void {
    const name = declarator.name!;
    const before = this.lookupHere(name);
    const has = specifiers.attributes.length > 0 || declarator.attributes.length > 0;
    const own = has ? this.fieldAttributes([specifiers.attributes, declarator.attributes]) : null;
    if (before !== undefined) {
      if (before.kind === 'typedef' && compatible(before.type.underlying, type)) return;
      this.error(
        'redefinition',
        before.kind === 'typedef'
          ? `typedef redefinition with different types (${this.quote(type)} vs ${this.quote(before.type.underlying)})`
          : `redefinition of '${name}' as different kind of symbol`,
        declarator.loc,
        [{ message: 'previous definition is here', location: this.locationOf(before) }],
      );
      return;
    }
    const result: TypedefType = {
      kind: 'typedef',
      name,
      underlying: type,
      align: own?.aligned ?? 0,
      declTags: own?.declTags ?? [],
      location: declarator.loc,
    };
    if ((type.kind === 'record' || type.kind === 'enum') && type.tag === null) type.typedefName ??= name;
    this.typedefs.push(result);
    this.declare(name, { kind: 'typedef', type: result });
  }

  private attributesOf(specifiers: Specifiers, declarator: Declarator, into: DeclAttributes): void {
    if (specifiers.attributes.length > 0) this.declAttributes(specifiers.attributes, into);
    if (declarator.attributes.length > 0) this.declAttributes(declarator.attributes, into);
    if (specifiers.noreturn) into.noreturn = true;
    for (const asked of specifiers.alignas) {
      const value = this.alignasValue(asked);
      if (value > (into.aligned ?? 0)) into.aligned = value;
    }
  }

  /** A symbol of the same name at file scope, seen from a block too. */
  private linked(name: string) {
    return this.lookupHere(name) ?? this.scopes[0]!.names?.get(name);
  }

  protected functionDeclaration(
    type: CType,
    specifiers: Specifiers,
    declarator: Declarator,
    definition: boolean,
  ): FunctionDecl {
    const name = declarator.name!;
    const isStatic = specifiers.storage === 'static';
    const before = this.linked(name);
    if (before !== undefined && before.kind !== 'function') {
      this.error('redefinition', `redefinition of '${name}' as different kind of symbol`, declarator.loc, [
        { message: 'previous definition is here', location: this.locationOf(before) },
      ]);
    }
    let decl: FunctionDecl;
    if (before?.kind === 'function') {
      decl = before;
      if (!compatible(decl.type, type, false)) {
        this.error('conflicting-types', `conflicting types for '${name}'`, declarator.loc, [
          {
            message: `previous ${decl.body === null ? 'declaration' : 'definition'} is here`,
            location: decl.loc,
          },
        ]);
        if (definition) decl.type = type;
      } else if (definition || !(core(decl.type) as FunctionType).prototyped) decl.type = type;
      if (isStatic && !decl.static)
        this.error(
          'linkage',
          `static declaration of '${name}' follows non-static declaration`,
          declarator.loc,
          [{ message: 'previous declaration is here', location: decl.loc }],
        );
      if (specifiers.inline) decl.inline = true;
      if (definition) decl.loc = declarator.loc;
    } else {
      decl = {
        kind: 'function',
        name,
        id: this.nextId++,
        type,
        parameters: [],
        body: null,
        static: isStatic,
        inline: specifiers.inline,
        attributes: {},
        loc: declarator.loc,
        end: null,
        referenced: false,
      };
      this.functions.push(decl);
    }
    if (!this.atFileScope) this.scopes[0]!.names!.set(name, decl);
    this.declare(name, decl);
    this.attributesOf(specifiers, declarator, decl.attributes);
    if (declarator.asmLabel !== null) this.asmLabels.set(decl, declarator.asmLabel);
    for (const pushed of this.pushedAttributes)
      if (pushed.targets.includes('function')) this.declAttributes(pushed.attributes, decl.attributes);
    if (decl.parameters.length === 0 || definition) decl.parameters = this.parameters(decl, type, declarator);
    return decl;
  }

  private parameters(owner: FunctionDecl, type: CType, declarator: Declarator): VarDecl[] {
    const at = core(type) as FunctionType;
    const step = declarator.steps[0];
    return at.parameters.map((parameter, i): VarDecl => {
      const written = step?.kind === 'function' ? step.parameters[i] : undefined;
      const attributes: DeclAttributes = {};
      if (written !== undefined) this.attributesOf(written.specifiers, written.declarator, attributes);
      return {
        kind: 'var',
        name: parameter.name ?? '',
        id: this.nextId++,
        type: parameter.type,
        storage: 'parameter',
        register: written?.specifiers.storage === 'register',
        threadLocal: false,
        attributes,
        init: null,
        owner,
        loc: written?.declarator.loc ?? declarator.loc,
        addressTaken: false,
        referenced: false,
      };
    });
  }

  protected functionDefinition(node: SFunctionDefinition): void {
    const { specifiers, declarator } = node;
    const type = this.declaratorType(
      specifiers.type.kind === 'auto' ? INT : this.specifierType(specifiers),
      declarator,
    );
    if (specifiers.storage === 'typedef') {
      this.error('typedef', "function definition declared 'typedef'", node.loc);
      return;
    }
    const at = core(type);
    if (at.kind !== 'function') return;
    const before = this.lookupHere(declarator.name!);
    if (before?.kind === 'function' && before.body !== null) {
      this.error('redefinition', `redefinition of '${declarator.name}'`, declarator.loc, [
        { message: 'previous definition is here', location: before.loc },
      ]);
      return;
    }
    const decl = this.functionDeclaration(type, specifiers, declarator, true);
    if (at.variadic)
      this.error(
        'variadic',
        `variadic function '${decl.name}' cannot be defined on BPF: arguments are passed in registers only`,
        declarator.loc,
      );
    if (!isVoid(at.result))
      this.requireComplete(
        at.result,
        declarator.loc,
        (quoted) => `incomplete result type ${quoted} in function definition`,
      );
    decl.end = node.body.end;
    this.dialectFunction(decl);
    this.pushScope();
    decl.parameters.forEach((parameter, i) => {
      if (at.parameters[i]!.name === null) {
        this.warning(
          'c23-extensions',
          'omitting the parameter name in a function definition is a C23 extension',
          parameter.loc,
        );
        return;
      }
      if (this.lookupHere(parameter.name) !== undefined)
        this.error('redefinition', `redefinition of parameter '${parameter.name}'`, parameter.loc);
      if (!isComplete(parameter.type))
        this.error(
          'incomplete',
          `variable has incomplete type ${this.quote(parameter.type)}`,
          parameter.loc,
          this.forwardNote(parameter.type),
        );
      this.declare(parameter.name, parameter);
    });
    this.function = { decl, result: at.result, labels: new Map<string, LabelState>(), locals: [] };
    decl.body = this.functionBody(decl, node.body);
    this.function = null;
    this.popScope();
  }

  // -------------------------------------------------------------------------------------------------------------

  private newVariable(
    type: CType,
    specifiers: Specifiers,
    declarator: Declarator,
    storage: VarStorage,
  ): VarDecl {
    const attributes: DeclAttributes = {};
    const variable: VarDecl = {
      kind: 'var',
      name: declarator.name!,
      id: this.nextId++,
      type,
      storage,
      register: specifiers.storage === 'register',
      threadLocal: specifiers.threadLocal,
      attributes,
      init: null,
      owner: this.function?.decl ?? null,
      loc: declarator.loc,
      addressTaken: false,
      referenced: false,
    };
    this.attributesOf(specifiers, declarator, attributes);
    for (const pushed of this.pushedAttributes)
      if (pushed.targets.some((target) => target === 'variable' || target === 'is_global'))
        this.declAttributes(pushed.attributes, attributes);
    return variable;
  }

  private fileVariable(
    type: CType,
    specifiers: Specifiers,
    declarator: Declarator,
    init: SInit | null,
  ): void {
    const name = declarator.name!;
    const { storage } = specifiers;
    if (storage === 'auto' || storage === 'register')
      this.error('storage', `illegal storage class on file-scoped variable`, declarator.loc);
    const wanted: VarStorage =
      storage === 'static' ? 'static' : storage === 'extern' && init === null ? 'extern' : 'global';
    const before = this.lookupHere(name);
    let variable: VarDecl;
    if (before !== undefined && before.kind !== 'var') {
      this.error('redefinition', `redefinition of '${name}' as different kind of symbol`, declarator.loc, [
        { message: 'previous definition is here', location: this.locationOf(before) },
      ]);
      return;
    }
    if (this.refusedType(type, name, declarator.loc, storage === 'extern')) return;
    if (before !== undefined) {
      variable = before;
      if (!this.mergeVariable(variable, type, wanted, init, specifiers, declarator)) return;
    } else {
      variable = this.newVariable(type, specifiers, declarator, wanted);
      this.variables.push(variable);
      this.declare(name, variable);
    }
    if (storage === 'extern' && init !== null)
      this.warning('extern-initializer', "'extern' variable has an initializer", declarator.loc);
    if (init !== null) {
      this.initialize(variable, init, declarator.loc);
      this.completeAfterInit(variable, declarator.loc);
    }
  }

  private refusedType(type: CType, name: string, loc: Location, external: boolean): boolean {
    const at = core(type);
    if (at.kind === 'void' && !external) {
      this.error('incomplete', `variable has incomplete type ${this.quote(type)}`, loc);
      return true;
    }
    if (at.kind === 'array' && at.variable) {
      this.error(
        'variable-array',
        this.function === null
          ? 'variable length array declaration not allowed at file scope'
          : `variable length array '${name}' is not supported on BPF: the stack has a fixed layout`,
        loc,
      );
      return true;
    }
    return false;
  }

  private mergeVariable(
    variable: VarDecl,
    type: CType,
    wanted: VarStorage,
    init: SInit | null,
    specifiers: Specifiers,
    declarator: Declarator,
  ): boolean {
    const previous = [
      {
        message: `previous ${variable.init === null ? 'declaration' : 'definition'} is here`,
        location: variable.loc,
      },
    ];
    if (!compatible(variable.type, type)) {
      this.error(
        'redefinition',
        `redefinition of '${variable.name}' with a different type: ${this.quote(type)} vs ${this.quote(variable.type)}`,
        declarator.loc,
        previous,
      );
      return false;
    }
    if (init !== null && variable.init !== null) {
      this.error('redefinition', `redefinition of '${variable.name}'`, declarator.loc, previous);
      return false;
    }
    if (wanted === 'static' && variable.storage !== 'static') {
      this.error(
        'linkage',
        `static declaration of '${variable.name}' follows non-static declaration`,
        declarator.loc,
        previous,
      );
      return false;
    }
    if (wanted === 'global' && variable.storage === 'static' && specifiers.storage !== 'extern') {
      this.error(
        'linkage',
        `non-static declaration of '${variable.name}' follows static declaration`,
        declarator.loc,
        previous,
      );
      return false;
    }
    if (wanted === 'global' && variable.storage === 'extern') variable.storage = 'global';
    const at = core(variable.type);
    if (at.kind === 'array' && at.length === null) variable.type = type;
    this.attributesOf(specifiers, declarator, variable.attributes);
    return true;
  }

  private completeAfterInit(variable: VarDecl, loc: Location): void {
    if (!isComplete(variable.type) && core(variable.type).kind !== 'array')
      this.error(
        'incomplete',
        `variable has incomplete type ${this.quote(variable.type)}`,
        loc,
        this.forwardNote(variable.type),
      );
  }

  private blockVariable(
    type: CType,
    specifiers: Specifiers,
    declarator: Declarator,
    init: SInit | null,
  ): VarDecl | null {
    const name = declarator.name!;
    const { storage } = specifiers;
    const before = this.lookupHere(name);
    if (
      before !== undefined &&
      !(before.kind === 'var' && before.storage === 'extern' && storage === 'extern')
    ) {
      this.error(
        'redefinition',
        `redefinition of '${name}'${before.kind === 'var' ? '' : ' as different kind of symbol'}`,
        declarator.loc,
        [{ message: 'previous definition is here', location: this.locationOf(before) }],
      );
    }
    if (this.refusedType(type, name, declarator.loc, storage === 'extern')) {
      this.declareBroken(name, specifiers, declarator);
      return null;
    }
    if (storage === 'extern') {
      const outer = this.linked(name);
      if (outer?.kind === 'var' && compatible(outer.type, type)) {
        this.declare(name, outer);
        return null;
      }
      const variable = this.newVariable(type, specifiers, declarator, 'extern');
      this.variables.push(variable);
      this.declare(name, variable);
      return null;
    }
    const isStatic = storage === 'static';
    const variable = this.newVariable(type, specifiers, declarator, isStatic ? 'static' : 'local');
    this.declare(name, variable);
    if (isStatic) this.variables.push(variable);
    else this.function?.locals.push(variable);
    if (init !== null) this.initialize(variable, init, declarator.loc);
    if (!isComplete(variable.type)) {
      const at = core(variable.type);
      if (at.kind === 'array')
        this.error(
          'incomplete',
          `definition of variable with array type needs an explicit size or an initializer`,
          declarator.loc,
        );
      else
        this.error(
          'incomplete',
          `variable has incomplete type ${this.quote(variable.type)}`,
          declarator.loc,
          this.forwardNote(variable.type),
        );
      variable.type = INT;
    }
    return isStatic ? null : variable;
  }

  /** So that uses of a refused variable say nothing more. */
  private declareBroken(name: string, specifiers: Specifiers, declarator: Declarator): void {
    const variable = this.newVariable(
      { kind: 'array', element: INT, length: 1, variable: false },
      specifiers,
      declarator,
      'local',
    );
    variable.referenced = true;
    this.declare(name, variable);
  }

  /** At the end: what was only declared is completed. */
  protected finishVariables(): void {
    for (const variable of this.variables) {
      if (variable.storage === 'extern') continue;
      const at = core(variable.type);
      if (at.kind === 'array' && at.length === null) {
        if (variable.init === null) {
          this.warning(
            'tentative-definition-array',
            'tentative array definition assumed to have one element',
            variable.loc,
          );
          variable.type = { kind: 'array', element: elementOf(variable.type), length: 1, variable: false };
        }
      } else if (!isComplete(variable.type) && variable.storage !== 'local')
        this.error(
          'incomplete',
          `tentative definition has type ${this.quote(variable.type)} that is never completed`,
          variable.loc,
          this.forwardNote(variable.type),
        );
    }
  }

  protected constQualified(type: CType): CType {
    return qualify(type, QUAL_CONST);
  }
}
