/**
 * IR to BPF instructions over virtual registers. Blocks are read backwards, so that a value is made only where somebody wants it
 * in a register: addresses fold into loads and stores, comparisons into jumps.
 *
 * Invariants for the kernel's verifier: a 32-bit value that is used as 64 bits is zero-extended once, where it is defined, so the
 * register that was compared is the one that is used; loads keep their order and their size; a field of the context is read by
 * one load with a constant offset. Every 32-bit value is held zero-extended unless all its readers look at 32 bits only.
 */
import { ALU_OP, ATOMIC, CLASS, JMP_OP, MODE, SIZE, SOURCE } from '../../asm/index.ts';
import {
  type Block,
  bitsOf,
  bytesOf,
  constant,
  Dominators,
  FLAG,
  type Func,
  findLoops,
  type Inst,
  isConst,
  loopDepths,
  SWAPPED,
  signedValue,
  type Value,
} from '../ir/index.ts';
import { selectAsm } from './asm-operands.ts';
import { type Complain, fitsS32, SelectorBase, type Target } from './isel-base.ts';

import { ALU, ATOMICS, COMMUTATIVE, JUMP, looksAt32, PSEUDO_LABEL, SIZES, split } from './isel-tables.ts';
import { LD_IMM64_CODE, MBlock, type MFunc, PSEUDO_UNDEF, type Register } from './mir.ts';

export type { Complain } from './isel-base.ts';

interface Condition {
  readonly op: number;
  readonly wide: boolean;
  readonly left: Register;
  readonly right: Register | undefined;
  readonly imm: number;
}

export class Selector extends SelectorBase {
  run(): MFunc {
    const { func } = this.fn;
    const dom = new Dominators(func);
    const depths = loopDepths(findLoops(dom));
    for (const block of dom.order) {
      const made = new MBlock();
      made.depth = depths.get(block) ?? 0;
      this.blocks.set(block, made);
      for (const inst of block.insts) {
        if (inst.op !== 'phi') break;
        if (inst.users.size === 0) continue;
        this.register(inst);
        this.phiCopies.set(inst, this.newRegister());
      }
    }
    const parts: MBlock[][] = [];
    for (let i = dom.order.length - 1; i >= 0; i--) {
      const block = dom.order[i]!;
      parts.push(this.selectBlock(block, i === 0));
    }
    for (const part of parts.reverse()) for (const block of part) this.fn.blocks.push(block);
    return this.fn;
  }

  private selectBlock(block: Block, isEntry: boolean): MBlock[] {
    this.reversed = [];
    this.chunkEnds = [];
    this.shared = new Map();
    const made = this.blocks.get(block)!;
    for (let i = block.insts.length - 1; i >= 0; i--) {
      const inst = block.insts[i]!;
      if (inst.op === 'phi') break;
      this.chunk = [];
      // What follows a call must not be kept in a register over it if it can be made again.
      if (inst.op === 'call' || inst.op === 'asm') this.flushShared();
      this.select(inst, made);
      this.endChunk(inst.loc);
    }
    this.flushShared();
    this.chunk = [];
    if (isEntry) {
      for (const param of this.fn.func.params) {
        const register = this.values.get(param);
        if (register === undefined) continue;
        if (param.index >= 5) continue;
        const clean = param.type === 'i32' && this.alu32 && !looksAt32(param);
        if (clean) this.emit(CLASS.ALU | ALU_OP.MOV | SOURCE.X, register, param.index + 1);
        else this.move(register, param.index + 1);
      }
    }
    for (const inst of block.insts) {
      if (inst.op !== 'phi') break;
      const copy = this.phiCopies.get(inst);
      if (copy !== undefined) this.move(this.register(inst), copy);
    }
    this.endChunk(block.insts[0]?.loc);
    return split(made, this.reversed.reverse());
  }

  private copiesTo(from: Block, target: Block): void {
    for (const phi of target.insts) {
      if (phi.op !== 'phi') return;
      const copy = this.phiCopies.get(phi);
      if (copy === undefined) continue;
      this.into(copy, phi.args[phi.targets.indexOf(from)]!);
    }
  }

  private select(inst: Inst, made: MBlock): void {
    switch (inst.op) {
      case 'br':
        this.copiesTo(inst.block!, inst.targets[0]!);
        made.fallthrough = this.blocks.get(inst.targets[0]!);
        return;
      case 'condbr': {
        const [yes, no] = inst.targets;
        this.copiesTo(inst.block!, yes!);
        if (no !== yes) this.copiesTo(inst.block!, no!);
        const condition = this.condition(inst.args[0]!);
        this.jump(condition, this.blocks.get(yes!)!);
        made.fallthrough = this.blocks.get(no!);
        return;
      }
      case 'asmgoto': {
        for (const target of new Set(inst.targets)) this.copiesTo(inst.block!, target);
        selectAsm(
          this,
          inst,
          inst.targets.slice(1).map((target) => this.blocks.get(target)!),
        );
        made.fallthrough = this.blocks.get(inst.targets[0]!);
        return;
      }
      case 'ret': {
        // A naked function has nothing but its assembly.
        if (this.fn.func.naked) return;
        let value: Value | undefined = inst.args[0];
        // Nobody reads it: see passes/interprocedural.ts.
        if (value?.kind === 'undef' && this.fn.func.linkage === 'static') value = undefined;
        if (value !== undefined) this.into(0, value);
        this.emit(CLASS.JMP | JMP_OP.EXIT, -1, -1).args = value === undefined ? 0 : 1;
        return;
      }
      case 'unreachable': {
        if (this.fn.func.naked) return;
        // Not reached; the verifier wants every path to end.
        this.emit(CLASS.JMP | JMP_OP.EXIT, -1, -1).args = 0;
        return;
      }
      case 'store':
        this.store(inst);
        return;
      case 'load':
        if (inst.has(FLAG.VOLATILE) || this.values.has(inst)) this.load(inst);
        return;
      case 'call':
        this.call(inst);
        return;
      case 'atomic':
        this.atomicOp(inst);
        return;
      case 'asm':
        selectAsm(this, inst, []);
        return;
      case 'alloca':
      case 'icmp':
      case 'lifetime':
        return;
      default:
    }
    const dst = this.values.get(inst);
    if (dst === undefined) return;
    this.value(inst, dst);
  }

  private value(inst: Inst, dst: Register): void {
    const [a, b] = inst.args;
    switch (inst.op) {
      case 'ptradd':
        this.binary(inst, 'add', true, dst);
        return;
      case 'opaque':
        // The register that the asm writes.
        return;
      case 'zext':
        this.choose(dst, a!, constant(inst.type, 1n), constant(inst.type, 0n));
        return;
      case 'sext': {
        const from = bitsOf(a!.type);
        if (a!.type === 'i1') {
          this.choose(dst, a!, constant(inst.type, -1n), constant(inst.type, 0n));
        } else this.signExtend(dst, a!, from, inst.type !== 'i32');
        return;
      }
      case 'trunc':
        this.emit(CLASS.ALU | ALU_OP.MOV | SOURCE.X, dst, this.register(a!));
        return;
      case 'select':
        this.choose(dst, a!, b!, inst.args[2]!);
        return;
      case 'bswap': {
        const bits = bitsOf(inst.mem);
        this.into(dst, a!);
        if (this.cpu >= 4) this.emit(CLASS.ALU64 | ALU_OP.END, dst, -1, 0, bits);
        else this.emit(CLASS.ALU | ALU_OP.END | SOURCE.X, dst, -1, 0, bits);
        return;
      }
      case 'core': {
        const info = inst.core!;
        // Kinds of types are ids, which the loader may put into 64 bits; the others are small numbers.
        const mi =
          info.relo === 6 ||
          info.relo === 7 ||
          (inst.type === 'i64' && (info.relo === 10 || info.relo === 11))
            ? this.emit(LD_IMM64_CODE, dst, -1)
            : this.emit(CLASS.ALU64 | ALU_OP.MOV, dst, -1, 0, Number(BigInt.asIntN(32, info.local)));
        mi.wide = BigInt.asUintN(64, info.local);
        mi.core = info;
        return;
      }
      default:
        this.binary(inst, inst.op, inst.type !== 'i32', dst);
    }
  }

  signExtend(dst: Register, value: Value, from: number, wide: boolean): void {
    const to = wide ? 64 : 32;
    if (this.cpu >= 4) {
      const cls = wide ? CLASS.ALU64 : CLASS.ALU;
      this.emit(cls | ALU_OP.MOV | SOURCE.X, dst, this.register(value), from);
      return;
    }
    const cls = wide ? CLASS.ALU64 : CLASS.ALU;
    this.into(dst, value);
    this.emit(cls | ALU_OP.LSH, dst, -1, 0, to - from);
    this.emit(cls | ALU_OP.ARSH, dst, -1, 0, to - from);
  }

  private binary(inst: Inst, op: string, wide: boolean, dst: Register): void {
    let a = inst.args[0]!;
    let b = inst.args[1]!;
    const cls = wide ? CLASS.ALU64 : CLASS.ALU;
    const commutes = COMMUTATIVE.has(op);
    if (commutes && isConst(a)) [a, b] = [b, a];
    if (op === 'sub' && isConst(a) && a.value === 0n) {
      this.into(dst, b);
      this.emit(cls | ALU_OP.NEG, dst, -1);
      return;
    }
    const signedDivision = op === 'sdiv' || op === 'srem';
    if (signedDivision && this.cpu < 4) {
      this.complain(
        'unsupported-signed-division',
        'unsupported signed division, please convert to unsigned div/mod.',
        inst.loc,
      );
    }
    if (isConst(b)) {
      const value = signedValue(b);
      if (op === 'and' && wide && b.value === 0xffff_ffffn) {
        if (this.alu32) {
          this.emit(CLASS.ALU | ALU_OP.MOV | SOURCE.X, dst, this.register(a));
          return;
        }
        this.into(dst, a);
        this.emit(cls | ALU_OP.LSH, dst, -1, 0, 32);
        this.emit(cls | ALU_OP.RSH, dst, -1, 0, 32);
        return;
      }
      // (x << n) >> n with a sign is a sign extension.
      if (op === 'ashr' && a.kind === 'inst' && a.op === 'shl' && this.cpu >= 4) {
        const by = a.args[1]!;
        const bits = (wide ? 64 : 32) - Number(b.value);
        if (isConst(by) && by.value === b.value && (bits === 8 || bits === 16 || (bits === 32 && wide))) {
          this.emit(cls | ALU_OP.MOV | SOURCE.X, dst, this.register(a.args[0]!), bits);
          return;
        }
      }
      // A core operand is patched in its own instruction: never an immediate here.
      if (fitsS32(value)) {
        let code = ALU[op]!;
        let imm = Number(value);
        if (op === 'sub' && imm !== -0x8000_0000) {
          code = ALU_OP.ADD;
          imm = -imm;
        }
        this.into(dst, a);
        this.emit(cls | code, dst, -1, signedDivision ? 1 : 0, imm);
        return;
      }
    }
    // `base += offset` of a relocated offset: the loader patches the immediate of the addition.
    if (b.kind === 'inst' && b.op === 'core' && op === 'add' && wide && b.core!.relo === 0) {
      this.into(dst, a);
      const mi = this.emit(cls | ALU_OP.ADD, dst, -1, 0, Number(b.core!.local));
      mi.core = b.core;
      return;
    }
    if (commutes && usesOf(a) > 1 && usesOf(b) === 1) [a, b] = [b, a];
    const right = this.register(b);
    this.into(dst, a);
    this.emit(cls | ALU[op]! | SOURCE.X, dst, right, signedDivision ? 1 : 0);
  }

  /** `dst = condition ? yes : no` */
  private choose(dst: Register, condition: Value, yes: Value, no: Value): void {
    const jump = this.condition(condition);
    const target = new MBlock();
    this.into(dst, yes);
    this.jump(jump, target);
    this.into(dst, no);
    this.emit(PSEUDO_LABEL, -1, -1).target = target;
  }

  condition(value: Value): Condition {
    if (value.kind !== 'inst' || value.op !== 'icmp') {
      // Any other truth value is 0 or 1.
      return { op: JMP_OP.JNE, wide: true, left: this.register(value), right: undefined, imm: 0 };
    }
    let { pred } = value;
    let [a, b] = value.args as [Value, Value];
    if (isConst(a) && !isConst(b)) {
      [a, b] = [b, a];
      pred = SWAPPED[pred];
    }
    const wide = a.type !== 'i32';
    if (isConst(b) && fitsS32(signedValue(b))) {
      if ((pred === 'ne' || pred === 'eq') && b.value === 0n && pred === 'ne') {
        // a & b != 0
        if (a.kind === 'inst' && a.op === 'and' && a.users.size === 1 && isConst(a.args[1])) {
          const mask = signedValue(a.args[1]);
          if (fitsS32(mask))
            return {
              op: JMP_OP.JSET,
              wide,
              left: this.register(a.args[0]!),
              right: undefined,
              imm: Number(mask),
            };
        }
      }
      if (this.cpu >= 2 || !/^[us]l/.test(pred))
        return {
          op: JUMP[pred],
          wide,
          left: this.register(a),
          right: undefined,
          imm: Number(signedValue(b)),
        };
    }
    if (this.cpu < 2 && /^[us]l/.test(pred)) {
      [a, b] = [b, a];
      pred = SWAPPED[pred];
    }
    return { op: JUMP[pred], wide, left: this.register(a), right: this.register(b), imm: 0 };
  }

  private jump(condition: Condition, target: MBlock): void {
    const cls = condition.wide ? CLASS.JMP : CLASS.JMP32;
    const { op, left, right, imm } = condition;
    const mi =
      right === undefined
        ? this.emit(cls | op, left, -1, 0, imm)
        : this.emit(cls | op | SOURCE.X, left, right);
    mi.target = target;
  }

  private load(inst: Inst): void {
    const dst = this.register(inst);
    const { base, offset, slot, core } = this.address(inst.args[0]!);
    const signed = inst.has(FLAG.SIGNED) && bytesOf(inst.mem) < bytesOf(inst.type);
    const mode = signed && this.cpu >= 4 ? MODE.MEMSX : MODE.MEM;
    const mi = this.emit(CLASS.LDX | mode | SIZES[inst.mem], dst, base, offset);
    mi.slot = slot;
    mi.core = core?.core;
    // Sign-extending loads fill the whole register; 32-bit values are held zero-extended.
    if (mode === MODE.MEMSX && inst.type === 'i32' && !looksAt32(inst))
      this.emit(CLASS.ALU | ALU_OP.MOV | SOURCE.X, dst, dst);
  }

  private store(inst: Inst): void {
    const value = inst.args[1]!;
    if (value.kind === 'undef') return;
    const size = SIZES[inst.mem];
    if (isConst(value) && this.cpu >= 4 && fitsS32(BigInt.asIntN(bitsOf(inst.mem), value.value))) {
      const { base, offset, slot, core } = this.address(inst.args[0]!);
      const imm = Number(BigInt.asIntN(bitsOf(inst.mem), value.value));
      const mi = this.emit(CLASS.ST | MODE.MEM | size, base, -1, offset, imm);
      mi.slot = slot;
      mi.core = core?.core;
      return;
    }
    const source = isConst(value)
      ? this.register(constant('i64', BigInt.asUintN(bitsOf(inst.mem), value.value)))
      : this.register(value);
    const { base, offset, slot, core } = this.address(inst.args[0]!);
    const mi = this.emit(CLASS.STX | MODE.MEM | size, base, source, offset);
    mi.slot = slot;
    mi.core = core?.core;
  }

  private call(inst: Inst): void {
    const callee = inst.callee!;
    let args = inst.args;
    let through: Register | undefined;
    if (callee.kind === 'pointer') {
      through = this.register(args[0]!);
      args = args.slice(1);
    }
    if (args.length > 5) {
      this.complain(
        'too-many-arguments',
        `too many arguments in the call: ${args.length}, and BPF has registers for 5`,
        inst.loc,
      );
      args = args.slice(0, 5);
    }
    const isOurs = callee.kind === 'function' && callee.func.linkage === 'static';
    args.forEach((arg, i) => {
      if (arg.kind === 'undef' && isOurs) this.emit(PSEUDO_UNDEF, i + 1, -1);
      else this.into(i + 1, arg);
    });
    if (callee.kind === 'helper') this.emit(CLASS.JMP | JMP_OP.CALL, -1, 0, 0, callee.id).args = args.length;
    else if (callee.kind === 'function') {
      const mi = this.emit(CLASS.JMP | JMP_OP.CALL, -1, 1, 0, -1);
      mi.args = args.length;
      mi.symbol = { target: callee.func, addend: 0 };
    } else this.emit(CLASS.JMP | JMP_OP.CALL | SOURCE.X, through!, -1).args = args.length;
    const dst = this.values.get(inst);
    if (dst === undefined) return;
    const clean = inst.type === 'i32' && this.alu32 && !looksAt32(inst);
    if (clean) this.emit(CLASS.ALU | ALU_OP.MOV | SOURCE.X, dst, 0);
    else this.move(dst, 0);
  }

  private atomicOp(inst: Inst): void {
    const [, value, extra] = inst.args;
    const size = SIZES[inst.mem];
    if (size !== SIZE.W && size !== SIZE.DW) {
      this.complain('unsupported-atomic', 'atomic operations are on 4 or 8 bytes', inst.loc);
      return;
    }
    const wanted = this.values.get(inst);
    const code = CLASS.STX | MODE.ATOMIC | size;
    if (inst.atomic === 'cmpxchg') {
      const source = this.register(extra!);
      const place = this.address(inst.args[0]!);
      this.into(0, value!);
      const mi = this.emit(code, place.base, source, place.offset, ATOMIC.CMPXCHG);
      mi.slot = place.slot;
      mi.core = place.core?.core;
      if (wanted !== undefined) this.move(wanted, 0);
      return;
    }
    const fetch = wanted !== undefined || inst.atomic === 'xchg';
    if (fetch && this.cpu < 3)
      this.complain(
        'unsupported-atomic',
        'atomic operations that give the old value need -mcpu=v3 or later',
        inst.loc,
      );
    const source = fetch || inst.atomic === 'sub' ? this.newRegister() : this.register(value!);
    if (fetch || inst.atomic === 'sub') this.into(source, value!);
    if (inst.atomic === 'sub') this.emit(CLASS.ALU64 | ALU_OP.NEG, source, -1);
    const place = this.address(inst.args[0]!);
    const imm = ATOMICS[inst.atomic]! | (fetch ? ATOMIC.FETCH : 0);
    const mi = this.emit(code, place.base, source, place.offset, imm);
    mi.slot = place.slot;
    mi.core = place.core?.core;
    if (wanted !== undefined) this.move(wanted, source);
  }
}

const usesOf = (value: Value): number =>
  value.kind === 'inst' || value.kind === 'param' ? value.users.size : 0;

export function selectInstructions(func: Func, target: Target, complain: Complain): MFunc {
  return new Selector(func, target, complain).run();
}
