/** Appends instructions to a block. Constants are folded later, by `passes`; here only what would be silly to write down. */
import type { Location } from '../source/index.ts';
import {
  type AtomicOp,
  type BinaryOp,
  Block,
  bitsOf,
  type Callee,
  type CoreInfo,
  constant,
  FLAG,
  type Func,
  Inst,
  type IrType,
  isConstOf,
  type MemType,
  type Predicate,
  type Value,
} from './ir.ts';

export class Builder {
  readonly func: Func;
  block: Block;
  loc: Location | undefined = undefined;

  constructor(func: Func) {
    this.func = func;
    this.block = func.blocks[0] ?? this.newBlock('entry');
    if (func.blocks.length === 0) func.blocks.push(this.block);
  }

  newBlock(name: string): Block {
    return new Block(this.func, name);
  }

  /** Puts a block at the end of the function and goes on in it. */
  start(block: Block): void {
    this.func.blocks.push(block);
    this.block = block;
  }

  get terminated(): boolean {
    return this.block.terminator !== undefined;
  }

  add(inst: Inst): Inst {
    inst.loc ??= this.loc;
    inst.block = this.block;
    this.block.insts.push(inst);
    return inst;
  }

  binary(op: BinaryOp, a: Value, b: Value, flags = 0): Inst {
    const inst = this.add(new Inst(op, a.type, [a, b]));
    inst.flags = flags;
    return inst;
  }

  icmp(pred: Predicate, a: Value, b: Value): Inst {
    const inst = this.add(new Inst('icmp', 'i1', [a, b]));
    inst.pred = pred;
    return inst;
  }

  /** To a wider or narrower integer. */
  resize(value: Value, type: IrType, signed: boolean): Value {
    const from = bitsOf(value.type);
    const to = bitsOf(type);
    if (value.type === type) return value;
    if (value.type === 'ptr') return this.resize(this.add(new Inst('ptrtoint', 'i64', [value])), type, false);
    if (type === 'ptr') return this.add(new Inst('inttoptr', 'ptr', [this.resize(value, 'i64', signed)]));
    if (value.kind === 'const')
      return constant(type, signed ? BigInt.asIntN(from, value.value) : value.value);
    if (to < from) return this.add(new Inst('trunc', type, [value]));
    return this.add(new Inst(signed && value.type !== 'i1' ? 'sext' : 'zext', type, [value]));
  }

  ptradd(base: Value, offset: Value | bigint): Value {
    const by = typeof offset === 'bigint' ? constant('i64', offset) : offset;
    if (isConstOf(by, 0n)) return base;
    return this.add(new Inst('ptradd', 'ptr', [base, by]));
  }

  alloca(size: number, align: number, name: string): Inst {
    const inst = new Inst('alloca', 'ptr', []);
    inst.size = size;
    inst.align = align;
    inst.name = name;
    inst.loc = this.loc;
    const entry = this.func.entry;
    inst.block = entry;
    // Allocas stand first.
    let at = 0;
    while (entry.insts[at]?.op === 'alloca') at++;
    entry.insts.splice(at, 0, inst);
    return inst;
  }

  load(type: MemType, address: Value, flags = 0): Inst {
    const inst = this.add(new Inst('load', type, [address]));
    inst.mem = type;
    inst.flags = flags;
    return inst;
  }

  store(value: Value, address: Value, flags = 0): Inst {
    const inst = new Inst('store', 'void', [address, value]);
    inst.mem = value.type === 'i1' ? 'i8' : (value.type as MemType);
    inst.flags = flags;
    return this.add(inst);
  }

  memory(op: 'memcpy' | 'memset' | 'memmove', to: Value, from: Value, size: Value, align: number): Inst {
    const inst = this.add(new Inst(op, 'void', [to, from, size]));
    inst.align = align;
    return inst;
  }

  call(type: IrType, callee: Callee, args: Value[]): Inst {
    const inst = this.add(new Inst('call', type, args));
    inst.callee = callee;
    return inst;
  }

  atomic(op: AtomicOp, mem: MemType, args: Value[], fetch: boolean): Inst {
    const inst = this.add(new Inst('atomic', op === 'store' ? 'void' : mem, args));
    inst.atomic = op;
    inst.mem = mem;
    if (fetch) inst.flags |= FLAG.FETCH;
    return inst;
  }

  core(type: IrType, info: CoreInfo): Inst {
    const inst = this.add(new Inst('core', type, []));
    inst.core = info;
    return inst;
  }

  br(target: Block): void {
    if (this.terminated) return;
    const inst = new Inst('br', 'void', []);
    inst.targets = [target];
    this.add(inst);
  }

  condbr(condition: Value, yes: Block, no: Block): void {
    if (this.terminated) return;
    if (condition.kind === 'const') {
      this.br(condition.value === 0n ? no : yes);
      return;
    }
    const inst = new Inst('condbr', 'void', [condition]);
    inst.targets = [yes, no];
    this.add(inst);
  }

  switch(value: Value, fallback: Block, cases: readonly (readonly [bigint, Block])[]): void {
    if (this.terminated) return;
    const inst = new Inst('switch', 'void', [value]);
    inst.targets = [fallback, ...cases.map(([, block]) => block)];
    inst.cases = cases.map(([number]) => BigInt.asUintN(bitsOf(value.type), number));
    this.add(inst);
  }

  ret(value: Value | undefined): void {
    if (!this.terminated) this.add(new Inst('ret', 'void', value === undefined ? [] : [value]));
  }

  unreachable(): void {
    if (!this.terminated) this.add(new Inst('unreachable', 'void', []));
  }

  phi(type: IrType, incoming: readonly (readonly [Value, Block])[]): Inst {
    const inst = new Inst(
      'phi',
      type,
      incoming.map(([value]) => value),
    );
    inst.targets = incoming.map(([, block]) => block);
    inst.loc = this.loc;
    inst.block = this.block;
    let at = 0;
    while (this.block.insts[at]?.op === 'phi') at++;
    this.block.insts.splice(at, 0, inst);
    return inst;
  }
}
