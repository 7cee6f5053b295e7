/**
 * After verification: what the verifier has proven becomes final addresses, offsets and call targets (kernel:
 * bpf_convert_ctx_accesses, bpf_do_misc_fixups, bpf_opt_remove_dead_code).
 *
 * Invariant: the result runs as the program did, on a machine whose contexts, maps and helpers are those of `env`; every
 * instruction knows where it came from, and no instruction is left that no path reaches.
 */
import * as c from '../asm/construct.ts';
import { CALL, CLASS, insnClass, insnMode, insnOp, JMP_OP, LD_IMM64, MODE, PSEUDO } from '../asm/opcodes.ts';
import type {
  CallableFunction,
  CallTarget,
  ExecutableProgram,
  ExecutableSubprog,
} from '../contracts/engine.ts';
import type { Insn } from '../contracts/insn.ts';
import type { KfuncTable } from '../contracts/kfuncs.ts';
import type { Arena, BpfMap, MapInfo } from '../contracts/maps.ts';
import type { HelperTable } from '../contracts/runtime.ts';
import type { InsnFacts, SubprogInfo, VerifiedProgram } from '../contracts/verify.ts';
import { KERNEL_HI_SIGNED } from '../memory/address.ts';
import { CALLBACK_SHAPES, helperById, helperFor, kfuncsByName } from '../spec/index.ts';
import type { HelperRow } from '../spec/types.ts';
import { alignUp } from '../util/bytes.ts';
import { BpfError, InternalError } from '../util/errors.ts';
import { castAddress, isAddressCast, pagesOf } from './arena.ts';
import { BUDGET_CHECK, loopStarts } from './budget.ts';
import { convertContextAccess } from './context.ts';
import { Emitter, SHOWN_FUNCTION } from './emitter.ts';
import { EXCEPTION_STACK, type ExceptionCode, emitLanding, emitThrow } from './exceptions.ts';
import { emitBudget, emitMayGoto, MAY_GOTO_STACK } from './may-goto.ts';
import { emitPacketLoad, type PacketLoads } from './packet-load.ts';

/** Instructions that a packet load becomes at most, with room. */
const MOST_OF_A_LOAD = 24;
/** `gotol`: its distance has 32 bits (RFC 9669 section 4.3). */
const FAR_JUMP: Insn = { code: CLASS.JMP32 | JMP_OP.JA, dst: 0, src: 0, off: 0, imm: 0 };

export interface RewriteEnv {
  /** For fault reports and dumps. */
  readonly name: string;
  readonly helpers: HelperTable;
  /** The live map behind what the verifier knew. */
  readonly map: (info: MapInfo) => BpfMap;
  /** Absent: programs with legacy packet loads are refused. */
  readonly packetLoads?: PacketLoads | undefined;
  /** Absent: programs that call kernel functions are refused. */
  readonly kfuncs?: KfuncTable;
  /** Put BUDGET_CHECKs where loops and subprograms begin. */
  readonly budgeted?: boolean;
}

export interface Rewritten {
  readonly program: ExecutableProgram;
  /** Instructions as `prog dump xlated` gets them: map ids in place of addresses. */
  readonly xlated: Uint8Array;
}

const isCode = (insn: Insn, cls: number, op: number): boolean =>
  insnClass(insn.code) === cls && insnOp(insn.code) === op;
const isMayGoto = (insn: Insn): boolean => isCode(insn, CLASS.JMP, JMP_OP.JCOND);

/** Throws BpfError: ENOTSUPP where this kernel lacks a helper or an instruction, ERANGE where a jump grows too long. */
export function rewrite(verified: VerifiedProgram, env: RewriteEnv): Rewritten {
  return new Rewriter(verified, env).run();
}

/** Bytes of a frame's stack: the program's own, and with the counter of may_goto. */
interface FrameUse {
  readonly depth: number;
  readonly top: number;
  /** Of the main function. */
  readonly main: boolean;
}

class Rewriter {
  readonly #verified: VerifiedProgram;
  readonly #env: RewriteEnv;
  readonly #insns: readonly Insn[];
  readonly #out: Emitter;
  /** Number of a subprogram before → after; -1 where no path reaches it. */
  readonly #renumbered: number[] = [];
  readonly #kept: SubprogInfo[] = [];
  readonly #startAt = new Map<number, number>();
  #budgeted = false;
  /** Subprograms (numbers before) that throw, or call one that does. */
  readonly #throwing: ReadonlySet<number>;
  #exceptionCode: ExceptionCode | undefined;
  /** The program's arena; a program has one at most. */
  readonly #arena: Arena | undefined;
  readonly #callees = new Map<HelperRow, Map<BpfMap | undefined, CallableFunction>>();

  constructor(verified: VerifiedProgram, env: RewriteEnv) {
    this.#verified = verified;
    this.#env = env;
    this.#insns = verified.request.insns;
    this.#out = new Emitter(this.#insns.length);
    const arena = verified.usedMaps.find(({ type }) => type.directValue && type.oncePerProgram);
    this.#arena = arena === undefined ? undefined : env.map(arena).arena;
    verified.subprogs.forEach((subprog, i) => {
      this.#startAt.set(subprog.start, i);
      const lives = this.#seen(subprog.start);
      this.#renumbered.push(lives ? this.#kept.length : -1);
      if (lives) this.#kept.push(subprog);
    });
    this.#throwing = this.#findThrowing();
  }

  #throws(i: number): boolean {
    const name = this.#verified.facts[i]?.kfunc;
    return this.#seen(i) && name !== undefined && kfuncsByName(name).some((row) => row.throws === true);
  }

  #findThrowing(): ReadonlySet<number> {
    const { subprogs, facts } = this.#verified;
    const throwing = new Set<number>();
    for (let before = -1; before !== throwing.size; ) {
      before = throwing.size;
      subprogs.forEach(({ start, end }, index) => {
        for (let i = start; i < end; i++) {
          const callee = this.#isLocalCall(i) ? facts[i]?.subprog : undefined;
          if (this.#throws(i) || (callee !== undefined && throwing.has(callee))) throwing.add(index);
        }
      });
    }
    return throwing;
  }

  #isLocalCall(i: number): boolean {
    const insn = this.#insns[i]!;
    return this.#seen(i) && isCode(insn, CLASS.JMP, JMP_OP.CALL) && insn.src === CALL.LOCAL;
  }

  /** Whether the subprogram calls one that may throw. */
  #lands(subprog: SubprogInfo): boolean {
    for (let i = subprog.start; i < subprog.end; i++) {
      const callee = this.#isLocalCall(i) ? this.#verified.facts[i]?.subprog : undefined;
      if (callee !== undefined && this.#throwing.has(callee)) return true;
    }
    return false;
  }

  #exceptions(i: number): ExceptionCode {
    if (this.#exceptionCode === undefined) {
      const find = (name: string) =>
        this.#env.kfuncs?.resolve(name, { writesPacket: false }) ??
        this.#refuse(i, 'exceptions are not implemented by this kernel');
      const handler = this.#verified.subprogs.findIndex(
        ({ exceptionCallback }) => exceptionCallback === true,
      );
      this.#exceptionCode = {
        out: this.#out,
        handler: handler < 0 ? -1 : (this.#renumbered[handler] ?? -1),
        raise: find('bpf_throw'),
        pending: find('exception_pending'),
        take: find('exception_take'),
      };
    }
    return this.#exceptionCode;
  }

  run(): Rewritten {
    const out = this.#out;
    const subprogs: ExecutableSubprog[] = [];
    this.#kept.forEach((subprog, i) => {
      const start = out.length;
      out.entries.push(start);
      const own = alignUp(subprog.stackDepth, 8);
      const budget = this.#hasMayGoto(subprog);
      if (budget) emitBudget(out, subprog.start, own);
      const top = own + (budget ? MAY_GOTO_STACK : 0);
      this.#body(subprog, own, top);
      subprogs.push({
        start,
        end: out.length,
        stackDepth: top + (this.#lands(subprog) ? EXCEPTION_STACK : 0),
        name: subprog.name ?? (i === 0 ? this.#env.name : `subprog_${i}`),
      });
    });
    // What it tail-calls may have checks, and this program's run sets their budget.
    if (this.#env.budgeted && out.calls.some((call) => call?.kind === 'tail_call')) this.#budgeted = true;
    out.link();
    return {
      program: {
        name: this.#env.name,
        insns: out.insns,
        calls: out.calls,
        origin: Int32Array.from(out.origin),
        probeLoads: out.probeLoads,
        ...(out.values.size === 0 ? {} : { values: out.values }),
        subprogs,
        ...(this.#arena === undefined
          ? {}
          : { arena: { pages: pagesOf(this.#arena), accesses: out.arenaAccesses } }),
        ...(this.#budgeted ? { budgeted: true } : {}),
      },
      xlated: out.dump(),
    };
  }

  #seen(index: number): boolean {
    return this.#verified.seen[index] === 1;
  }

  #hasMayGoto(subprog: SubprogInfo): boolean {
    for (let i = subprog.start; i < subprog.end; i++)
      if (this.#seen(i) && isMayGoto(this.#insns[i]!)) return true;
    return false;
  }

  #body(subprog: SubprogInfo, stackDepth: number, top: number): void {
    const checked = this.#env.budgeted ? loopStarts(this.#insns, subprog) : undefined;
    for (let i = subprog.start; i < subprog.end; i++) {
      const insn = this.#insns[i]!;
      const wide = insn.code === LD_IMM64;
      this.#out.place(i);
      if (checked?.has(i) && this.#seen(i)) {
        this.#out.emit(i, BUDGET_CHECK);
        this.#budgeted = true;
      }
      if (this.#seen(i))
        this.#insn(i, insn, this.#verified.facts[i] ?? {}, {
          depth: stackDepth,
          top,
          main: subprog.start === 0,
        });
      if (wide) this.#out.place(++i);
    }
  }

  #insn(i: number, insn: Insn, facts: InsnFacts, frame: FrameUse): void {
    switch (insnClass(insn.code)) {
      case CLASS.LD:
        if (insn.code === LD_IMM64) this.#immediate(i, insn, facts);
        else this.#packetLoad(i, insn);
        break;
      case CLASS.LDX:
      case CLASS.ST:
      case CLASS.STX:
        this.#access(i, insn, facts);
        break;
      case CLASS.JMP:
      case CLASS.JMP32:
        this.#jump(i, insn, facts, frame);
        break;
      default:
        this.#out.emit(i, isAddressCast(insn) ? this.#cast(i, insn) : insn);
    }
  }

  #cast(i: number, insn: Insn): Insn {
    if (this.#arena === undefined)
      this.#refuse(i, 'addr_space_cast in a program without one of the arenas of this kernel');
    return castAddress(insn, this.#arena);
  }

  #refuse(i: number, what: string): never {
    throw new BpfError('ENOTSUPP', `program ${this.#env.name}: instruction ${i}: ${what}`);
  }

  #immediate(i: number, insn: Insn, facts: InsnFacts): void {
    const out = this.#out;
    const upper = this.#insns[i + 1]?.imm ?? 0;
    if (facts.map !== undefined) {
      const map = this.#env.map(facts.map);
      if (map.shapeOnly) this.#refuse(i, `map type ${facts.map.type.name} is not implemented by this kernel`);
      const valueOffset = facts.mapValueOffset;
      const id = facts.map.id;
      if (valueOffset === undefined) {
        const shown = { pseudo: PSEUDO.MAP_FD, low: id, high: 0 };
        out.immediate(i, insn.dst, map.layout.address, KERNEL_HI_SIGNED, shown);
        return;
      }
      if (map.arena !== undefined) {
        const address = map.arena.map() + BigInt(valueOffset);
        const shown = { pseudo: PSEUDO.MAP_VALUE, low: id, high: valueOffset };
        out.immediate(i, insn.dst, Number(address & 0xffff_ffffn), map.arena.userHigh, shown);
        return;
      }
      const address = map.valueAddress(valueOffset);
      if (address < 0)
        throw BpfError.fromReturn(address, `map '${facts.map.name}' has no value at offset ${valueOffset}`);
      const shown = { pseudo: PSEUDO.MAP_VALUE, low: id, high: valueOffset };
      const from = address - valueOffset;
      out.values.set(out.insns.length, { from, upto: from + facts.map.valueSize });
      out.immediate(i, insn.dst, address, KERNEL_HI_SIGNED, shown);
      return;
    }
    if (insn.src === PSEUDO.FUNC) {
      const index = facts.subprog ?? this.#subprogAt(i + 1 + insn.imm);
      out.immediate(i, insn.dst, 0, 0, SHOWN_FUNCTION, this.#callback(i, index));
      return;
    }
    if (insn.src !== PSEUDO.NONE)
      this.#refuse(
        i,
        `address of ${facts.symbol ?? 'a kernel variable'}: kernel symbols are not implemented by this kernel`,
      );
    out.immediate(i, insn.dst, insn.imm, upper);
  }

  #subprogAt(start: number): number {
    const index = this.#startAt.get(start);
    if (index === undefined) throw new InternalError(`no subprogram starts at instruction ${start}`);
    return index;
  }

  #callback(i: number, index: number): CallTarget {
    const shape = this.#verified.subprogs[index]?.callbackShape;
    const row = Object.entries(CALLBACK_SHAPES).find(([name]) => name === shape)?.[1];
    const number = this.#renumbered[index] ?? -1;
    // A function whose address is taken and that no helper ever calls: its code is gone, and so is the use of the address.
    if (row === undefined || number < 0)
      return this.#refuse(i, `function ${index} is never passed to a helper that calls it`);
    return { kind: 'callback', index: number, params: row.params };
  }

  #packetLoad(i: number, insn: Insn): void {
    const loads = this.#env.packetLoads;
    if (loads === undefined) this.#refuse(i, 'legacy packet loads are not implemented by this kernel');
    emitPacketLoad(this.#out, i, insn, loads);
  }

  #access(i: number, insn: Insn, facts: InsnFacts): void {
    const out = this.#out;
    if (facts.ctxOffset !== undefined && insnMode(insn.code) !== MODE.ATOMIC) {
      const write = insnClass(insn.code) !== CLASS.LDX;
      const converted = convertContextAccess(
        this.#verified.request.progType.ctx,
        insn,
        facts.ctxOffset,
        write,
      );
      if (converted !== null) out.emit(i, converted);
      return;
    }
    const at = out.emit(i, insn);
    if (facts.probeMem) out.probeLoads.add(at);
    if (facts.arena) out.arenaAccesses.add(at);
  }

  /** Whether packet loads, which become many instructions, may put the target out of reach of 16 bits. */
  #mayBeFar(i: number, target: number): boolean {
    if (Math.abs(target - i) * MOST_OF_A_LOAD <= 0x7fff) return false;
    for (let at = Math.min(i, target); at < Math.max(i, target); at++) {
      const { code } = this.#insns[at]!;
      if (insnClass(code) === CLASS.LD && code !== LD_IMM64) return true;
    }
    return false;
  }

  #jump(i: number, insn: Insn, facts: InsnFacts, frame: FrameUse): void {
    const out = this.#out;
    const op = insnOp(insn.code);
    const narrow = insnClass(insn.code) === CLASS.JMP32;
    if (!narrow && op === JMP_OP.EXIT) out.emit(i, insn);
    else if (!narrow && op === JMP_OP.CALL) this.#call(i, insn, facts, frame);
    else if (op === JMP_OP.JA) {
      const target = i + 1 + (narrow ? insn.imm : insn.off);
      out.jump(i, this.#mayBeFar(i, target) ? FAR_JUMP : insn, target);
    } else {
      const target = i + 1 + insn.off;
      // One side that no path takes: the jump is always or never made.
      if (!this.#seen(target)) return;
      if (isMayGoto(insn)) emitMayGoto(out, i, frame.depth, target);
      else if (!this.#seen(i + 1)) out.jump(i, this.#mayBeFar(i, target) ? FAR_JUMP : c.ja(0), target);
      else if (this.#mayBeFar(i, target)) {
        out.emit(i, { ...insn, off: 1 });
        out.emit(i, c.ja(1));
        out.jump(i, FAR_JUMP, target);
      } else out.jump(i, insn, target);
    }
  }

  #call(i: number, insn: Insn, facts: InsnFacts, frame: FrameUse): void {
    if (insn.src === CALL.LOCAL) {
      const index = this.#renumbered[facts.subprog ?? this.#subprogAt(i + 1 + insn.imm)] ?? -1;
      if (index < 0) throw new InternalError(`instruction ${i} calls a function that no path reaches`);
      this.#out.callSubprog(i, insn, index);
      const before = facts.subprog ?? this.#subprogAt(i + 1 + insn.imm);
      if (this.#throwing.has(before)) emitLanding(this.#exceptions(i), i, frame.main, frame.top);
      return;
    }
    if (insn.src === CALL.KFUNC) {
      this.#kfunc(i, insn, facts, frame);
      return;
    }
    const { request } = this.#verified;
    const found = (request.helpers ?? helperById)(insn.imm);
    if (found === undefined)
      throw new InternalError(`instruction ${i} calls helper ${insn.imm}, which has no row`);
    const row = helperFor(found, request.progType.name);
    // An inner map is known by the shape that it was verified with only: which map it is shows at run time.
    const { callMap } = facts;
    const map =
      callMap !== undefined && this.#verified.usedMaps.includes(callMap) ? this.#env.map(callMap) : undefined;
    if (row.tailCall) {
      this.#out.emit(i, insn, map === undefined ? { kind: 'tail_call' } : { kind: 'tail_call', map });
      return;
    }
    const callee = this.#callee(row, map);
    if (callee === undefined)
      this.#refuse(i, `helper ${row.name}#${row.id} is not implemented by this kernel`);
    this.#out.emit(i, insn, {
      kind: 'function',
      callee,
      row,
      ...(map === undefined ? {} : { map }),
      ...(row.lock === undefined ? {} : { lock: row.lock }),
    });
  }

  /** One function for all calls of a helper with the same map, so that engines see that it is one. */
  #callee(row: HelperRow, map: BpfMap | undefined): CallableFunction | undefined {
    let byMap = this.#callees.get(row);
    if (byMap === undefined) {
      byMap = new Map();
      this.#callees.set(row, byMap);
    }
    let callee = byMap.get(map);
    if (callee === undefined) {
      callee = this.#env.helpers.resolve(row, map);
      if (callee !== undefined) byMap.set(map, callee);
    }
    return callee;
  }

  #kfunc(i: number, insn: Insn, facts: InsnFacts, frame: FrameUse): void {
    if (this.#throws(i)) {
      emitThrow(this.#exceptions(i), i, frame.main);
      return;
    }
    const { kfunc: name, object } = facts;
    const writesPacket = this.#verified.request.progType.packet?.write === true;
    const site = object === undefined ? { writesPacket } : { writesPacket, object };
    const callee = name === undefined ? undefined : this.#env.kfuncs?.resolve(name, site);
    if (callee === undefined)
      this.#refuse(i, `kernel function ${name ?? `#${insn.imm}`} is not implemented by this kernel`);
    const lock = kfuncsByName(callee.name).find((row) => row.lock !== undefined)?.lock;
    this.#out.emit(i, insn, { kind: 'function', callee, ...(lock === undefined ? {} : { lock }) });
  }
}
