/** Statements and functions to IR. Locals live in memory here; `passes/promote.ts` moves them to registers. */
import type {
  AsmStmt,
  CaseStmt,
  DefaultStmt,
  Expr,
  FunctionDecl,
  Label,
  LoopStmt,
  Stmt,
  SwitchStmt,
  VarDecl,
} from '../ast/index.ts';
import {
  type Block,
  Builder,
  bitsOf,
  constant,
  type Func,
  Inst,
  type Param,
  type Value,
} from '../ir/index.ts';
import { opaqueResult } from './builtins.ts';
import type { ModuleContext, Place } from './context.ts';
import { ExprLowering } from './expr.ts';
import { initialise, loadPlace, storePlace } from './memory.ts';
import {
  alignOf,
  functionType,
  isAggregate,
  isSigned,
  isVoid,
  passedType,
  scalarType,
  sizeOf,
} from './types.ts';

interface Scope {
  readonly key: unknown;
  readonly cleanups: VarDecl[];
}

interface Jump {
  readonly breakTo: Block;
  readonly continueTo: Block | undefined;
  readonly depth: number;
}

const RANGE_AS_CASES = 64n;

class FunctionLowering extends ExprLowering {
  private readonly decl: FunctionDecl;
  private readonly scopes: Scope[] = [];
  private readonly jumps: Jump[] = [];
  private readonly labels = new Map<Label, Block>();
  private readonly labelScopes = new Map<Label, readonly unknown[]>();
  private readonly cases = new Map<CaseStmt | DefaultStmt, Block>();
  private returnBlock: Block | undefined;
  private readonly results: [Value, Block][] = [];
  private readonly resultPointer: Value | undefined;

  constructor(module: ModuleContext, decl: FunctionDecl, func: Func) {
    super(module, new Builder(func));
    this.decl = decl;
    const type = functionType(decl.type);
    const byMemory = type !== undefined && isAggregate(type.result);
    if (byMemory) this.resultPointer = func.params[0];
    const shift = byMemory ? 1 : 0;
    decl.parameters.forEach((parameter, i) => {
      const param = func.params[i + shift]!;
      this.builder.loc = parameter.loc;
      if (isAggregate(parameter.type)) {
        // The caller made a copy.
        this.locals.set(parameter, param);
        return;
      }
      const home = this.builder.alloca(sizeOf(parameter.type), alignOf(parameter.type), parameter.name);
      this.locals.set(parameter, home);
      const wanted = scalarType(parameter.type) ?? 'i64';
      this.builder.store(this.builder.resize(param, wanted, false), home);
    });
  }

  run(): void {
    const { builder, decl } = this;
    if (decl.body === null) return;
    this.collectLabels(decl.body, []);
    this.statement(decl.body);
    if (!builder.terminated) {
      builder.loc = decl.end ?? decl.loc;
      const type = functionType(decl.type);
      // A value that nobody asks for may be missing.
      if (builder.func.returnType !== 'void' && type !== undefined && !isVoid(type.result))
        this.returnValue(constant(builder.func.returnType, 0n));
      else this.returnValue(undefined);
    }
    if (this.returnBlock !== undefined) {
      builder.start(this.returnBlock);
      const { results } = this;
      if (results.length === 0) builder.ret(undefined);
      else if (results.length === 1) builder.ret(results[0]![0]);
      else builder.ret(builder.phi(results[0]![0].type, results));
    }
    for (const block of builder.func.blocks) {
      if (block.terminator !== undefined) continue;
      builder.block = block;
      builder.unreachable();
    }
  }

  private returnValue(value: Value | undefined): void {
    const { builder } = this;
    if (builder.terminated) return;
    this.returnBlock ??= builder.newBlock('return');
    if (value !== undefined) this.results.push([value, builder.block]);
    builder.br(this.returnBlock);
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Scopes

  enterScope(key: unknown): void {
    this.scopes.push({ key, cleanups: [] });
  }

  leaveScope(): void {
    const scope = this.scopes.pop()!;
    if (!this.builder.terminated) this.cleanUp(scope);
  }

  private cleanUp(scope: Scope): void {
    for (let i = scope.cleanups.length - 1; i >= 0; i--) {
      const variable = scope.cleanups[i]!;
      const func = this.module.funcOf(variable.attributes.cleanup!);
      this.builder.call(func.returnType, { kind: 'function', func }, [this.locals.get(variable)!]);
    }
  }

  /** Runs the cleanups of all scopes above `depth`, which stay open. */
  private unwind(depth: number): void {
    for (let i = this.scopes.length - 1; i >= depth; i--) this.cleanUp(this.scopes[i]!);
  }

  private collectLabels(statement: Stmt, path: readonly unknown[]): void {
    // Only needed where something is cleaned up; cheap enough to do always. The parser bounds the depth.
    switch (statement.kind) {
      case 'compound': {
        const inner = [...path, statement];
        for (const one of statement.body) this.collectLabels(one, inner);
        return;
      }
      case 'if':
        this.collectLabels(statement.then, path);
        if (statement.otherwise !== null) this.collectLabels(statement.otherwise, path);
        return;
      case 'loop':
        this.collectLabels(statement.body, [...path, statement]);
        return;
      case 'switch':
        this.collectLabels(statement.body, path);
        return;
      case 'label':
        this.labelScopes.set(statement.label, path);
        this.collectLabels(statement.body, path);
        return;
      case 'case':
      case 'default':
        this.collectLabels(statement.body, path);
        return;
      default:
    }
  }

  private labelBlock(label: Label): Block {
    let block = this.labels.get(label);
    if (block === undefined) {
      block = this.builder.newBlock(label.name);
      this.labels.set(label, block);
    }
    return block;
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Statements

  statement(statement: Stmt): void {
    const { builder } = this;
    if (builder.terminated) builder.start(builder.newBlock('dead'));
    if (statement.loc !== 0) builder.loc = statement.loc;
    switch (statement.kind) {
      case 'compound':
        this.enterScope(statement);
        for (const one of statement.body) this.statement(one);
        builder.loc = statement.end;
        this.leaveScope();
        return;
      case 'decl':
        for (const variable of statement.variables) this.declare(variable);
        return;
      case 'expr':
        this.discard(statement.expr);
        return;
      case 'if': {
        const yes = builder.newBlock('if.then');
        const end = builder.newBlock('if.end');
        const no = statement.otherwise === null ? end : builder.newBlock('if.else');
        this.branch(statement.cond, yes, no);
        builder.start(yes);
        this.statement(statement.then);
        builder.br(end);
        if (statement.otherwise !== null) {
          builder.start(no);
          this.statement(statement.otherwise);
          builder.br(end);
        }
        builder.start(end);
        return;
      }
      case 'loop':
        this.loop(statement);
        return;
      case 'switch':
        this.switchStatement(statement);
        return;
      case 'case':
      case 'default': {
        const block = this.cases.get(statement) ?? builder.newBlock('case');
        builder.br(block);
        builder.start(block);
        this.statement(statement.body);
        return;
      }
      case 'label': {
        const block = this.labelBlock(statement.label);
        builder.br(block);
        builder.start(block);
        this.statement(statement.body);
        return;
      }
      case 'goto': {
        const path = this.labelScopes.get(statement.label) ?? [];
        const open = new Set(path);
        let depth = this.scopes.length;
        while (depth > 0 && !open.has(this.scopes[depth - 1]!.key)) depth--;
        this.unwind(depth);
        builder.br(this.labelBlock(statement.label));
        return;
      }
      case 'break':
      case 'continue': {
        const jump =
          statement.kind === 'break'
            ? this.jumps[this.jumps.length - 1]
            : this.jumps.findLast((one) => one.continueTo !== undefined);
        if (jump === undefined) return;
        this.unwind(jump.depth);
        builder.br(statement.kind === 'break' ? jump.breakTo : jump.continueTo!);
        return;
      }
      case 'return':
        this.returnStatement(statement.value);
        return;
      case 'asm':
        this.asm(statement);
        return;
      case 'null':
        return;
    }
  }

  private declare(variable: VarDecl): void {
    const { builder } = this;
    let home = this.locals.get(variable);
    if (home === undefined) {
      home = builder.alloca(
        Math.max(1, sizeOf(variable.type)),
        Math.max(alignOf(variable.type), variable.attributes.aligned ?? 0),
        variable.name,
      );
      this.locals.set(variable, home);
    }
    builder.loc = variable.loc;
    builder.add(new Inst('lifetime', 'void', [home]));
    initialise(this, variable, home);
    if (variable.attributes.cleanup !== undefined)
      this.scopes[this.scopes.length - 1]?.cleanups.push(variable);
  }

  private returnStatement(value: Expr | null): void {
    const { builder } = this;
    const type = functionType(this.decl.type);
    let result: Value | undefined;
    if (value !== null && type !== undefined) {
      if (isAggregate(value.type) && this.resultPointer !== undefined)
        this.evaluateInto(this.resultPointer, value);
      else if (isVoid(type.result)) this.discard(value);
      else {
        const scalar = this.value(value);
        builder.loc = value.loc;
        const passed = passedType(type.result);
        result = scalar.type === passed ? scalar : builder.resize(scalar, passed, isSigned(type.result));
      }
    } else if (builder.func.returnType !== 'void') result = constant(builder.func.returnType, 0n);
    this.unwind(0);
    this.returnValue(result);
  }

  private loop(statement: LoopStmt): void {
    const { builder } = this;
    this.enterScope(statement);
    if (statement.init !== null) this.statement(statement.init);
    const test = builder.newBlock(`${statement.form}.cond`);
    const body = builder.newBlock(`${statement.form}.body`);
    const step = builder.newBlock(`${statement.form}.step`);
    const end = builder.newBlock(`${statement.form}.end`);
    builder.br(statement.form === 'do' ? body : test);
    const jump = { breakTo: end, continueTo: step, depth: this.scopes.length };
    if (statement.form !== 'do') {
      builder.start(test);
      builder.loc = statement.cond?.loc ?? statement.loc;
      if (statement.cond === null) builder.br(body);
      else this.branch(statement.cond, body, end);
    }
    builder.start(body);
    this.jumps.push(jump);
    this.statement(statement.body);
    this.jumps.pop();
    builder.br(step);
    builder.start(step);
    if (statement.step !== null) {
      builder.loc = statement.step.loc;
      this.discard(statement.step);
    }
    if (statement.form === 'do') {
      builder.br(test);
      builder.start(test);
      builder.loc = statement.cond?.loc ?? statement.loc;
      const from = builder.func.blocks.length;
      if (statement.cond === null) builder.br(body);
      else this.branch(statement.cond, body, end);
      for (const block of [test, ...builder.func.blocks.slice(from)]) this.hint(block, body, statement);
    } else {
      builder.loc = statement.cond?.loc ?? statement.loc;
      builder.br(test);
      this.hint(builder.block, test, statement);
    }
    builder.start(end);
    this.leaveScope();
  }

  private hint(block: Block, header: Block, statement: LoopStmt): void {
    const { terminator } = block;
    if (statement.hint === null || terminator === undefined || !terminator.targets.includes(header)) return;
    const { hint } = statement;
    terminator.unroll = hint.unroll === 'disable' ? -1 : hint.count === null ? -2 : hint.count;
  }

  private switchStatement(statement: SwitchStmt): void {
    const { builder } = this;
    const value = this.value(statement.value);
    const end = builder.newBlock('switch.end');
    const fallback = statement.fallback === null ? end : builder.newBlock('default');
    if (statement.fallback !== null) this.cases.set(statement.fallback, fallback);
    const bits = bitsOf(value.type);
    const plain: [bigint, Block][] = [];
    const seen = new Set<bigint>();
    builder.loc = statement.loc;
    for (const one of statement.cases) {
      const block = builder.newBlock('case');
      this.cases.set(one, block);
      if (one.high < one.low) continue;
      if (one.high - one.low < RANGE_AS_CASES) {
        for (let n = one.low; n <= one.high; n++) {
          const number = BigInt.asUintN(bits, n);
          if (seen.has(number)) continue;
          seen.add(number);
          plain.push([number, block]);
        }
        continue;
      }
      // value - low <= high - low, unsigned.
      const next = builder.newBlock('range');
      const from = builder.binary('sub', value, constant(value.type, one.low));
      builder.condbr(builder.icmp('ule', from, constant(value.type, one.high - one.low)), block, next);
      builder.start(next);
    }
    if (plain.length === 0) builder.br(fallback);
    else builder.switch(value, fallback, plain);
    builder.start(builder.newBlock('switch.body'));
    this.jumps.push({ breakTo: end, continueTo: undefined, depth: this.scopes.length });
    this.statement(statement.body);
    this.jumps.pop();
    builder.br(end);
    builder.start(end);
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Inline assembly

  private calledBy(template: string): Map<string, Func> {
    const calls = new Map<string, Func>();
    for (const [, name] of template.matchAll(/\bcall\s+([A-Za-z_]\w*)/g)) {
      const func = this.module.functionNamed(name!);
      if (func !== undefined) calls.set(name!, func);
    }
    return calls;
  }

  private asm(statement: AsmStmt): void {
    const { builder } = this;
    const isGoto = statement.labels.length > 0;
    if (isGoto && statement.outputs.length > 0) {
      this.error('asm-goto', "'asm goto' with outputs is not supported", statement.loc);
      return;
    }
    const args: Value[] = [];
    const places: (Place | undefined)[] = [];
    const outputs = statement.outputs.map((output) => {
      const letters = output.constraint.replace(/[=+&%]/g, '');
      const memory = /m/.test(letters) && !/r/.test(letters);
      const place = this.place(output.expr);
      const readWrite = output.constraint.includes('+');
      const type = scalarType(output.expr.type) ?? 'i64';
      if (memory) args.push(this.addressOf(place));
      else if (readWrite) args.push(loadPlace(this, place));
      places.push(memory ? undefined : place);
      return { constraint: letters, name: output.name ?? undefined, memory, readWrite, type };
    });
    const inputs = statement.inputs.map((input) => {
      const letters = input.constraint.replace(/[=+&%]/g, '');
      const memory = /m/.test(letters) && !/[ri]/.test(letters);
      if (memory || isAggregate(input.expr.type)) args.push(this.addressOf(this.place(input.expr)));
      else args.push(wholeRegister(this.value(input.expr)));
      return { constraint: letters, name: input.name ?? undefined, memory };
    });
    builder.loc = statement.loc;
    const made = new Inst(isGoto ? 'asmgoto' : 'asm', 'void', args);
    const next = builder.newBlock('asm.next');
    if (isGoto) made.targets = [next, ...statement.labels.map((label) => this.labelBlock(label))];
    const inst = builder.add(made);
    inst.asm = {
      template: statement.basic ? statement.template.replaceAll('%', '%%') : statement.template,
      outputs,
      inputs,
      clobbers: statement.clobbers,
      volatile: statement.volatile || outputs.length === 0,
      calls: this.calledBy(statement.template),
      labels: statement.labels.map((label) => label.name),
      memory: isGoto || statement.clobbers.includes('memory') || outputs.some((output) => output.memory),
    };
    if (isGoto) builder.start(next);
    places.forEach((place, i) => {
      if (place === undefined) return;
      const type = scalarType(place.type) ?? 'i64';
      storePlace(this, place, opaqueResult(this, inst, i, type));
    });
  }
}

/** Gives a function its parameters as the calling convention has them. */
export function declareParameters(func: Func, decl: FunctionDecl): void {
  const type = functionType(decl.type);
  if (type === undefined) return;
  const params: Param[] = [];
  const add = (irType: Param['type'], name: string): void => {
    params.push({ kind: 'param', type: irType, index: params.length, name, users: new Set() });
  };
  if (isAggregate(type.result)) add('ptr', 'result');
  if (decl.body === null)
    for (const parameter of type.parameters) add(passedType(parameter.type), parameter.name ?? '');
  else for (const parameter of decl.parameters) add(passedType(parameter.type), parameter.name);
  func.params = params;
  func.returnType = isAggregate(type.result) ? 'void' : passedType(type.result);
}

export function lowerFunction(module: ModuleContext, decl: FunctionDecl, func: Func): void {
  new FunctionLowering(module, decl, func).run();
}

/** What inline assembly gets for a value cut to less than a word: the register as it is, as from clang; `(short)x` is a known way to say so. */
function wholeRegister(value: Value): Value {
  const isCut =
    value.kind === 'inst' && value.op === 'trunc' && (value.type === 'i8' || value.type === 'i16');
  return isCut ? value.args[0]! : value;
}
