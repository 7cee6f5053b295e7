/**
 * How each web (`webs.ts`) is represented: as an i64, or as the i32 that is its low half where the high half is known or nobody looks
 * at it. Two analyses over the webs, each linear: what is known of high halves (from the most hopeful guess downwards), and whose
 * high halves are looked at (from where they are, back through moves and sums, whose low halves depend on low halves alone).
 */
import {
  ALU_OP,
  accessBytes,
  CLASS,
  insnClass,
  insnMode,
  insnOp,
  insnSource,
  JMP_OP,
  LD_IMM64,
  MODE,
  SOURCE,
} from '../asm/opcodes.ts';
import type { CallTarget, ExecutableProgram } from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { givesCpu } from './usage.ts';
import { slotOf, type Webs } from './webs.ts';

/** i64; or i32, of which the upper half is: zero; that of a kernel address, or zero for NULL; nobody's concern. */
export const FORM = { wide: 0, zero: 1, pointer: 2, low: 3 } as const;

const ZERO = 1;
const POINTER = 2;
/** A pointer that cannot be NULL; only together with POINTER. */
const NOT_NULL = 4;
const ANYTHING = ZERO | POINTER | NOT_NULL;

/** What one definition says: facts that hold anyway, and those that hold where they hold for its operands. */
interface Rule {
  facts: number;
  /** Facts taken over from the destination before, and from the source (nodes; -1: not that one). */
  dst: number;
  src: number;
  /** Of those operands: one is enough (`and`), or all must have the fact. */
  any: boolean;
  take: number;
}

export class Forms {
  readonly #webs: Webs;
  readonly #program: ExecutableProgram;
  /** By web: facts; whether the upper half is looked at; form. */
  readonly #facts: Uint8Array;
  readonly #demanded: Uint8Array;
  readonly #form: Uint8Array;
  /** Linked lists by web of definitions that depend on it. */
  readonly #head: Int32Array;
  readonly #next: number[] = [];
  readonly #item: number[] = [];
  readonly #pending: number[] = [];
  readonly #dstNode: Int32Array;
  readonly #srcNode: Int32Array;

  /** `entry`: mask of the registers that the function takes as parameters, which are i64s and may be anything. */
  constructor(program: ExecutableProgram, webs: Webs, entry: number, parameters: readonly number[]) {
    this.#program = program;
    this.#webs = webs;
    this.#facts = new Uint8Array(webs.nodes).fill(ANYTHING);
    this.#demanded = new Uint8Array(webs.nodes);
    this.#form = new Uint8Array(webs.nodes);
    this.#head = new Int32Array(webs.nodes).fill(-1);
    this.#dstNode = new Int32Array(webs.size).fill(-1);
    this.#srcNode = new Int32Array(webs.size).fill(-1);
    for (let r = 0; r < 10; r++) {
      const node = webs.inNode(0, r);
      if (node < 0) continue;
      // A register that nothing has set holds what locals begin with.
      this.#facts[webs.find(node)] = (entry >>> r) & 1 ? 0 : ZERO | POINTER;
    }
    this.#learn();
    this.#demand(parameters);
    for (let node = 0; node < webs.nodes; node++) {
      const facts = this.#facts[node]!;
      this.#form[node] =
        this.#demanded[node] === 0
          ? FORM.low
          : facts & ZERO
            ? FORM.zero
            : facts & POINTER
              ? FORM.pointer
              : FORM.wide;
    }
  }

  form(node: number): number {
    return node < 0 ? FORM.wide : this.#form[this.#webs.find(node)]!;
  }

  /** The upper half is zero. */
  isZero(node: number): boolean {
    return node >= 0 && (this.#facts[this.#webs.find(node)]! & ZERO) !== 0;
  }

  /** A kernel address or NULL. */
  isPointer(node: number): boolean {
    return node >= 0 && (this.#facts[this.#webs.find(node)]! & POINTER) !== 0;
  }

  mayBeNull(node: number): boolean {
    return node < 0 || (this.#facts[this.#webs.find(node)]! & NOT_NULL) === 0;
  }

  // -------------------------------------------------------------------------------------------------------------
  // What is known

  #link(web: number, item: number): void {
    this.#item.push(item);
    this.#next.push(this.#head[web]!);
    this.#head[web] = this.#item.length - 1;
  }

  #learn(): void {
    const webs = this.#webs;
    const { insns } = this.#program;
    const rule: Rule = { facts: 0, dst: -1, src: -1, any: false, take: 0 };
    webs.walk((i, current) => {
      const at = i - webs.start;
      const insn = insns[i]!;
      const slot = insnClass(insn.code) === CLASS.LDX ? slotOf(webs.slots, insn) : -1;
      this.#dstNode[at] = insn.dst < 10 ? current[insn.dst]! : -1;
      this.#srcNode[at] = slot >= 0 ? current[slot]! : insn.src < 10 ? current[insn.src]! : -1;
      if (webs.writes(i) < 0) return;
      this.#rule(i, rule);
      if (rule.dst >= 0) this.#link(webs.find(rule.dst), i);
      if (rule.src >= 0) this.#link(webs.find(rule.src), i);
      this.#pending.push(i);
    });
    while (this.#pending.length > 0) {
      const i = this.#pending.pop()!;
      this.#rule(i, rule);
      const dst = rule.dst < 0 ? 0 : this.#facts[webs.find(rule.dst)]!;
      const src = rule.src < 0 ? 0 : this.#facts[webs.find(rule.src)]!;
      const taken =
        rule.any || rule.dst < 0 || rule.src < 0 ? (rule.dst < 0 && rule.src < 0 ? 0 : dst | src) : dst & src;
      const facts = rule.facts | (taken & rule.take);
      const web = webs.find(i - webs.start);
      const before = this.#facts[web]!;
      if ((before & facts) === before) continue;
      this.#facts[web] = before & facts;
      for (let link = this.#head[web]!; link >= 0; link = this.#next[link]!)
        this.#pending.push(this.#item[link]!);
    }
  }

  /** What the definition at `i` makes of its operands. */
  #rule(i: number, rule: Rule): void {
    const { insns, calls } = this.#program;
    const insn = insns[i]!;
    const at = i - this.#webs.start;
    rule.facts = 0;
    rule.dst = -1;
    rule.src = -1;
    rule.any = false;
    rule.take = 0;
    switch (insnClass(insn.code)) {
      case CLASS.ALU:
        if (insnOp(insn.code) === ALU_OP.END && insn.imm === 64) {
          if (insnSource(insn.code) !== SOURCE.X) this.#take(rule, this.#dstNode[at]!, -1, ANYTHING);
        } else rule.facts = ZERO;
        break;
      case CLASS.ALU64:
        this.#wideRule(insn, at, rule);
        break;
      case CLASS.LDX:
        if (insnMode(insn.code) === MODE.MEMSX) break;
        if (accessBytes(insn.code) < 8) rule.facts = ZERO;
        else if (slotOf(this.#webs.slots, insn) >= 0) this.#take(rule, -1, this.#srcNode[at]!, ANYTHING);
        break;
      case CLASS.ST:
        rule.facts = accessBytes(insn.code) < 8 ? ZERO : constantFacts(insn.imm, insn.imm >> 31);
        break;
      case CLASS.STX:
        // What an atomic operation fetches from an arena's page that is not there is nothing: the register stays.
        if (this.#program.arena?.accesses.has(i) && insnMode(insn.code) === MODE.ATOMIC) break;
        if (accessBytes(insn.code) < 8) rule.facts = ZERO;
        else if (insnMode(insn.code) !== MODE.ATOMIC) this.#take(rule, -1, this.#srcNode[at]!, ANYTHING);
        break;
      case CLASS.LD:
        if (insn.code !== LD_IMM64) break;
        rule.facts = calls[i] === undefined ? constantFacts(insn.imm, insns[i + 1]?.imm ?? 0) : ZERO;
        break;
      case CLASS.JMP:
        rule.facts = resultFacts(calls[i]);
        break;
    }
  }

  #take(rule: Rule, dst: number, src: number, take: number): void {
    rule.dst = dst;
    rule.src = src;
    rule.take = take;
  }

  #wideRule(insn: Insn, at: number, rule: Rule): void {
    const dst = this.#dstNode[at]!;
    const src = this.#srcNode[at]!;
    const immediate = insnSource(insn.code) === SOURCE.K;
    switch (insnOp(insn.code)) {
      case ALU_OP.MOV:
        if (immediate) rule.facts = constantFacts(insn.imm, insn.imm >> 31);
        else if (insn.off !== 0) break;
        else if (insn.src === 10) rule.facts = POINTER | NOT_NULL;
        else this.#take(rule, -1, src, ANYTHING);
        break;
      case ALU_OP.OR:
      case ALU_OP.XOR:
        if (!immediate) {
          if (dst >= 0 && src >= 0) this.#take(rule, dst, src, ZERO);
        } else if (insn.imm >= 0) this.#take(rule, dst, -1, ZERO);
        break;
      case ALU_OP.AND:
        if (!immediate) {
          this.#take(rule, dst, src, ZERO);
          rule.any = true;
        } else if (insn.imm >= 0) rule.facts = ZERO;
        else this.#take(rule, dst, -1, ZERO);
        break;
      case ALU_OP.RSH:
        if (immediate && (insn.imm & 63) >= 32) rule.facts = ZERO;
        else this.#take(rule, dst, -1, ZERO);
        break;
      case ALU_OP.ARSH:
        this.#take(rule, dst, -1, ZERO);
        break;
      case ALU_OP.DIV:
      case ALU_OP.MOD:
        // A quotient and a remainder are no greater than the dividend.
        if (insn.off === 0) this.#take(rule, dst, -1, ZERO);
        break;
      case ALU_OP.END:
        if (insn.imm !== 64) rule.facts = ZERO;
        break;
    }
  }

  // -------------------------------------------------------------------------------------------------------------
  // What is looked at

  #demand(parameters: readonly number[]): void {
    const webs = this.#webs;
    const { insns, calls } = this.#program;
    this.#head.fill(-1);
    this.#next.length = 0;
    this.#item.length = 0;
    webs.walk((i, current) => {
      const insn = insns[i]!;
      const at = i - webs.start;
      const dst = this.#dstNode[at]!;
      const src = this.#srcNode[at]!;
      const { code } = insn;
      switch (insnClass(code)) {
        case CLASS.ALU:
          if (insnOp(code) === ALU_OP.END && insn.imm === 64) {
            if (insnSource(code) === SOURCE.X) this.#need(dst);
            else this.#passes(at, dst);
          }
          break;
        case CLASS.ALU64:
          this.#wideDemand(insn, at, dst, src);
          break;
        case CLASS.LDX:
          if (slotOf(webs.slots, insn) >= 0) {
            if (accessBytes(code) === 8) this.#passes(at, src);
          } else if (this.#program.probeLoads.has(i)) this.#need(src);
          break;
        case CLASS.STX:
          if (insnMode(code) === MODE.ATOMIC) {
            this.#need(src);
            this.#need(current[0]!);
          } else if (accessBytes(code) === 8) {
            if (slotOf(webs.slots, insn) >= 0) this.#passes(at, src);
            else this.#need(src);
          }
          break;
        case CLASS.JMP:
          if (insnOp(code) === JMP_OP.EXIT) this.#need(current[0]!);
          else if (insnOp(code) === JMP_OP.CALL) this.#demandArguments(calls[i], parameters, current);
          else if (!this.#comparesLow(insn, dst, src)) {
            this.#need(dst);
            if (insnSource(code) === SOURCE.X) this.#need(src);
          }
          break;
      }
    });
    while (this.#pending.length > 0) {
      const web = this.#pending.pop()!;
      for (let link = this.#head[web]!; link >= 0; link = this.#next[link]!) this.#need(this.#item[link]!);
    }
  }

  /** Somebody looks at the upper half of the node. */
  #need(node: number): void {
    if (node < 0) return;
    const web = this.#webs.find(node);
    if (this.#demanded[web] !== 0) return;
    this.#demanded[web] = 1;
    this.#pending.push(web);
  }

  /** The upper half of the result of the instruction at a place depends on that of the operand. */
  #passes(at: number, node: number): void {
    if (node >= 0) this.#link(this.#webs.find(at), this.#webs.find(node));
  }

  #demandArguments(target: CallTarget | undefined, parameters: readonly number[], current: Int32Array): void {
    switch (target?.kind) {
      case 'function':
        for (let i = 0; i < target.callee.params.length; i++) {
          const isWhole = target.callee.params[i] === 'u64' || target.row?.callbackShape !== undefined;
          if (isWhole) this.#need(current[i + 1]!);
        }
        break;
      case 'subprog':
        for (let r = 1; r <= 5; r++)
          if (((parameters[target.index] ?? ~0) >>> r) & 1) this.#need(current[r]!);
        break;
      case 'tail_call':
        this.#need(current[1]!);
        break;
    }
  }

  /** Whether a 64-bit comparison is one of the low halves, by what is known of the upper ones. */
  #comparesLow(insn: Insn, dst: number, src: number): boolean {
    if (insnSource(insn.code) === SOURCE.K)
      return comparesLowWith(insn, this.isZero(dst), this.isPointer(dst));
    return this.isZero(dst) && this.isZero(src);
  }

  /** As `comparesLow` for the emitter: the instruction at `i` of the program. */
  comparesLow(i: number): boolean {
    const at = i - this.#webs.start;
    return this.#comparesLow(this.#program.insns[i]!, this.#dstNode[at]!, this.#srcNode[at]!);
  }

  #wideDemand(insn: Insn, at: number, dst: number, src: number): void {
    const immediate = insnSource(insn.code) === SOURCE.K;
    switch (insnOp(insn.code)) {
      case ALU_OP.MOV:
        if (!immediate && insn.off === 0) this.#passes(at, src);
        else if (!immediate && insn.off === 1) this.#need(src);
        break;
      case ALU_OP.AND:
        if (immediate && insn.imm >= 0) break;
        this.#passes(at, dst);
        if (!immediate) this.#passes(at, src);
        break;
      case ALU_OP.ADD:
      case ALU_OP.SUB:
      case ALU_OP.MUL:
      case ALU_OP.OR:
      case ALU_OP.XOR:
        this.#passes(at, dst);
        if (!immediate) this.#passes(at, src);
        break;
      case ALU_OP.NEG:
      case ALU_OP.LSH:
        this.#passes(at, dst);
        break;
      case ALU_OP.RSH:
      case ALU_OP.ARSH:
        this.#need(dst);
        break;
      case ALU_OP.DIV:
      case ALU_OP.MOD:
        this.#need(dst);
        if (!immediate) this.#need(src);
        break;
      case ALU_OP.END:
        if (insn.imm === 64) this.#need(dst);
        break;
    }
  }
}

/** Comparison with an immediate: of a number below 2^32 with one that is not negative, or of a pointer with NULL. */
function comparesLowWith(insn: Insn, isZero: boolean, isPointer: boolean): boolean {
  const op = insnOp(insn.code);
  if (op === JMP_OP.JSET) return insn.imm >= 0;
  if (isZero && insn.imm >= 0) return true;
  return isPointer && insn.imm === 0 && (op === JMP_OP.JEQ || op === JMP_OP.JNE);
}

function constantFacts(low: number, high: number): number {
  if (high === 0) return low === 0 ? ZERO | POINTER : ZERO;
  return high === KERNEL_HI_SIGNED && low !== 0 ? POINTER | NOT_NULL : 0;
}

function resultFacts(target: CallTarget | undefined): number {
  if (target?.kind !== 'function') return 0;
  // What calls back may be code of ours, whatever the callee's result is like.
  if (target.row?.callbackShape !== undefined) return 0;
  const { result, random } = target.callee;
  if (random || givesCpu(target.row)) return ZERO;
  return result === 'ptr' ? POINTER : result === 'void' ? ZERO | POINTER : 0;
}
