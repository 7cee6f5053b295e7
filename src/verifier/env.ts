/**
 * One verification under way: the request, what is known of each instruction and subprogram, the current state, the
 * paths still to be explored, and the counters. The checks are functions over it, one concern a file.
 */
import { type FormatOptions, formatInsn, KERNEL_LOG } from '../asm/disasm.ts';
import { CALL, CLASS, JMP_OP } from '../asm/opcodes.ts';
import type { Insn } from '../contracts/insn.ts';
import type { MapInfo } from '../contracts/maps.ts';
import type { RefusalReason } from '../contracts/refusal.ts';
import type { InsnFacts, LineInfo, TargetProgram, VerifyRequest } from '../contracts/verify.ts';
import { type Release, releaseOf } from '../spec/index.ts';
import type { HelperRow } from '../spec/types.ts';
import type { ErrnoName } from '../util/errno.ts';
import {
  F_ANY_ALIGNMENT,
  F_STRICT_ALIGNMENT,
  F_TEST_REG_INVARIANTS,
  F_TEST_STATE_FREQ,
  JUMP_SEQUENCE_LIMIT,
} from './limits.ts';
import { formatLine, formatState, LOG_ALL, LOG_INSNS, Log, lineOf, Scratched, stateIndent } from './log.ts';
import { Refusal } from './refusal.ts';
import {
  NOT_INIT,
  NOT_INIT_REG,
  PTR_TO_MAP_VALUE,
  type Reg,
  SCALAR,
  type StructRef,
  UNKNOWN_REG,
} from './registers.ts';
import { Frame, HistoryEntry, type LinkedReg, MAIN_CALLSITE, type RetvalRange, VState } from './state.ts';
import type { Watcher } from './watch.ts';
import { inWordsOf } from './words.ts';

/** Marks of an instruction (kernel: insn_aux_data bits). */
export const PRUNE_POINT = 1;
export const JUMP_POINT = 2;
export const FORCE_CHECKPOINT = 4;
export const CALLS_CALLBACK = 8;
/** Speculative paths stop before this instruction, or after it. */
export const NOSPEC = 16;
export const NOSPEC_RESULT = 32;
/** The call advances an iterator: loops around it converge by the iterator's state. */
export const ITER_NEXT = 64;

/** What a parameter of a global function must be, from its BTF. */
export interface SubprogArg {
  readonly kind: 'scalar' | 'ctx' | 'mem' | 'btf_id' | 'dynptr' | 'arena';
  readonly nullable?: boolean;
  readonly trusted?: boolean;
  readonly untrusted?: boolean;
  readonly rdonly?: boolean;
  readonly memSize?: number;
  readonly struct?: StructRef;
}

export interface Subprog {
  readonly start: number;
  end: number;
  stackDepth: number;
  hasTailCall: boolean;
  tailCallReachable: boolean;
  hasLdAbs: boolean;
  changesPacket: boolean;
  mightSleep: boolean;
  isCallback: boolean;
  isAsyncCallback: boolean;
  callbackShape?: string;
  /** In `Env.postorder`. */
  postorderStart: number;
  postorderEnd: number;
  // From BTF.
  name: string;
  typeId: number;
  linkage: 'static' | 'global' | 'none';
  unreliable: boolean;
  called: boolean;
  verified: boolean;
  args?: readonly SubprogArg[];
}

export function makeSubprog(start: number): Subprog {
  return {
    start,
    end: 0,
    stackDepth: 0,
    hasTailCall: false,
    tailCallReachable: false,
    hasLdAbs: false,
    changesPacket: false,
    mightSleep: false,
    isCallback: false,
    isAsyncCallback: false,
    postorderStart: 0,
    postorderEnd: 0,
    name: '',
    typeId: 0,
    linkage: 'none',
    unreliable: false,
    called: false,
    verified: false,
  };
}

/** Facts of an instruction while they are being collected. */
export type MutableFacts = {
  -readonly [K in keyof InsnFacts]: InsnFacts[K];
} & { callMapPoisoned?: boolean; keyPoisoned?: boolean };

/** A path to be explored later. */
interface Pending {
  readonly state: VState;
  readonly insn: number;
  readonly prev: number;
  readonly logEnd: number;
  readonly pathLength: number;
}

/** Which stack slots may still be read; `live-stack.ts` implements it. */
export interface StackLiveness {
  startInsn(insn: number): void;
  commitInsn(): void;
  resetCurrent(): void;
  markRead(frame: number, slot: number): void;
  markWrite(frame: number, slot: number): void;
  update(): void;
  startQuery(state: VState): void;
  isAlive(frame: number, slot: number): boolean;
}

export class Env {
  /** As asked for; of a program that replaces a function, from `replace` on, with type and attach type of its target. */
  request: VerifyRequest;
  /** The program replaces a function of another one. */
  readonly replaces: boolean;
  readonly insns: readonly Insn[];
  readonly count: number;
  readonly log: Log;
  readonly scratched = new Scratched();
  /** Whoever looks on. */
  readonly watcher: Watcher | null;

  /** Whose rules count. */
  readonly release: Release;

  // Privileges (kernel: env->allow_ptr_leaks & co.).
  readonly allowPtrLeaks: boolean;
  readonly allowUninitStack: boolean;
  /** Copies of a number are refined together; 32-bit ones; spilled ones; those at a distance; in 32 bits. Fields, as they are asked often. */
  readonly linksCopies: boolean;
  readonly linksHalves: boolean;
  readonly linksSpills: boolean;
  readonly linksSums: boolean;
  readonly linksSumsOfHalves: boolean;
  readonly bypassSpecV1: boolean;
  readonly bypassSpecV4: boolean;
  readonly bpfCapable: boolean;
  readonly strictAlignment: boolean;
  readonly testStateFreq: boolean;
  readonly testRegInvariants: boolean;

  // Per instruction.
  readonly marks: Uint8Array;
  readonly scc: Int32Array;
  readonly liveRegs: Uint16Array;
  /** Type of the pointer that a load or store goes through, 0 before the first. */
  readonly ptrType: Int32Array;
  readonly aluState: Int32Array;
  readonly aluLimit: Int32Array;
  readonly seen: Uint8Array;
  readonly facts: (MutableFacts | undefined)[];
  readonly mapOf: (MapInfo | undefined)[];

  subprogs: Subprog[] = [];
  readonly usedMaps: MapInfo[] = [];
  postorder: Int32Array = new Int32Array(0);
  liveStack!: StackLiveness;
  cgroupStorages = new Set<number>();
  /** Calls of bpf_loop: the one callback that could be inlined, or -1. */
  readonly inlineLoops = new Map<number, number>();
  arena: MapInfo | null = null;
  /** What loads of kernel symbols give, by instruction. */
  readonly symbols = new Map<number, Reg>();
  /** Subprogram that runs when the program throws; 0 for none of its own. */
  exceptionCallback = 0;
  /** References that came with arguments of the program, by index of the argument. */
  readonly argumentRefs = new Map<number, number>();
  /** Some path throws. */
  seenException = false;
  /** Unprivileged: masks of pointer arithmetic were computed, scalars must match exactly. */
  exploreAluLimits = false;

  // The path being explored.
  cur: VState = new VState();
  insn = 0;
  prevInsn = -1;
  private historyOpen = false;
  private pending: Pending[] = [];
  /** Instructions of the current path, oldest first: the first `pathLength` ones. */
  private steps = new Int32Array(1024);
  private pathLength = 0;
  /** For backtrack.ts: what it has to look at of each instruction; made when it is first needed. */
  trackMasks: Int32Array | null = null;

  // Counters.
  idGen = 0;
  /** The callback that the call at the current instruction enters when it is done (only before 6.6). */
  entering: { subprog: number; args: readonly Reg[]; range: RetvalRange } | null = null;
  insnsProcessed = 0;
  jumpsProcessed = 0;
  prevInsnsProcessed = 0;
  prevJumpsProcessed = 0;
  totalStates = 0;
  peakStates = 0;
  maxStatesPerInsn = 0;
  exploredStates = 0;
  freeListSize = 0;
  backEdges = 0;

  // Printing.
  private prevLine: LineInfo | undefined;
  private prevLogEnd = 0;
  private insnPrintLength = 0;
  private readonly insnTexts: (string | undefined)[];
  private readonly helperCache = new Map<number, HelperRow | null>();

  constructor(request: VerifyRequest, watcher: Watcher | null = null) {
    this.request = request;
    this.replaces = request.progType.replacesFunctions === true;
    this.watcher = watcher;
    this.insns = request.insns;
    this.count = request.insns.length;
    this.log = new Log(request.logLevel, request.logLimit);
    this.release = releaseOf(request.release);
    const { capSysAdmin } = request.credentials;
    // Before they were split off, CAP_SYS_ADMIN stood for them.
    const split = this.release.has('cap_bpf');
    const perfmon = capSysAdmin || (split && request.credentials.capPerfmon);
    const capBpf = split && request.credentials.capBpf;
    this.allowPtrLeaks = perfmon;
    this.allowUninitStack = perfmon && this.release.has('uninit_stack_reads');
    this.linksCopies = this.release.has('linked_copies');
    this.linksHalves = this.release.has('linked_halves');
    this.linksSpills = this.release.has('linked_spills');
    this.linksSums = this.release.has('linked_sums');
    this.linksSumsOfHalves = this.release.has('linked_sums_of_halves');
    this.bypassSpecV1 = perfmon;
    this.bypassSpecV4 = perfmon;
    this.bpfCapable = capSysAdmin || capBpf;
    this.strictAlignment =
      (request.flags & F_STRICT_ALIGNMENT) !== 0 && (request.flags & F_ANY_ALIGNMENT) === 0;
    this.testStateFreq = this.bpfCapable && (request.flags & F_TEST_STATE_FREQ) !== 0;
    this.testRegInvariants = (request.flags & F_TEST_REG_INVARIANTS) !== 0;
    this.marks = new Uint8Array(this.count);
    this.scc = new Int32Array(this.count);
    this.liveRegs = new Uint16Array(this.count);
    this.ptrType = new Int32Array(this.count);
    this.aluState = new Int32Array(this.count);
    this.aluLimit = new Int32Array(this.count);
    this.seen = new Uint8Array(this.count);
    this.facts = new Array(this.count);
    this.mapOf = new Array(this.count);
    this.insnTexts = new Array(this.count);
  }

  // -------------------------------------------------------------------------------------------------------------
  // Refusals and the log

  /** The function of `target` may be replaced: from here on the rules are those of its program's type. */
  replace({ progType, expectedAttachType }: TargetProgram): void {
    this.request = { ...this.request, progType, expectedAttachType };
    this.helperCache.clear();
  }

  /** Adds a line to the log and ends the verification (or the speculative path). */
  fail(errno: ErrnoName, message: string, reason: RefusalReason): never {
    this.log.write(`${inWordsOf(this.release, message)}\n`);
    throw new Refusal(errno, reason);
  }

  /** Ends the verification; the text is in the log already, or there is none. */
  refuse(errno: ErrnoName, reason: RefusalReason): never {
    throw new Refusal(errno, reason);
  }

  verbose(text: string): void {
    this.log.write(text);
  }

  get logsInsns(): boolean {
    return (this.log.level & LOG_INSNS) !== 0;
  }

  get logsAll(): boolean {
    return (this.log.level & LOG_ALL) !== 0;
  }

  private readonly insnFormat: FormatOptions = { ...KERNEL_LOG, kfuncName: () => '' };

  /** The log prints calls whatever their reserved fields hold; the disassembler is stricter. */
  private formatCall(insn: Insn, index: number): string {
    if (insn.src > CALL.KFUNC) return `(85) call unknown#${insn.imm}`;
    const plain: Insn[] = [];
    plain[index] = { ...insn, dst: 0, off: insn.src === CALL.KFUNC ? insn.off : 0 };
    return formatInsn(plain, index, this.insnFormat);
  }

  insnText(index: number): string {
    let text = this.insnTexts[index];
    if (text === undefined) {
      const insn = this.insns[index]!;
      const call = insn.code === (CLASS.JMP | JMP_OP.CALL);
      text = call ? this.formatCall(insn, index) : formatInsn(this.insns, index, this.insnFormat);
      this.insnTexts[index] = text;
    }
    return text;
  }

  /** The source line of an instruction, unless it was the last one printed. */
  verboseLine(index: number, prefix: string): void {
    const line = lineOf(this.request.lineInfo, index);
    if (line === undefined || line === this.prevLine) return;
    if (this.prevLine !== undefined && line.file === this.prevLine.file && line.line === this.prevLine.line)
      return;
    this.log.write(prefix);
    this.log.write(formatLine(line));
    this.prevLine = line;
  }

  forgetLine(): void {
    this.prevLine = undefined;
  }

  printState(state: VState, frameno: number, all: boolean): void {
    this.log.write(
      formatState(state, frameno, { scratched: all ? null : this.scratched, allPrecise: !this.bpfCapable }),
    );
    if (!all) this.scratched.clear();
  }

  /** What the last instruction changed, behind its text where that was the last thing printed. */
  printInsnState(state: VState, frameno: number): void {
    if (this.prevLogEnd !== 0 && this.prevLogEnd === this.log.end) {
      this.log.cutTo(this.prevLogEnd - 1);
      this.log.write(`${' '.repeat(Math.max(1, stateIndent(this.insnPrintLength)))};`);
    } else {
      this.log.write(`${this.insn}:`);
    }
    this.printState(state, frameno, false);
  }

  /** The instruction about to be checked. */
  printInsn(): void {
    if (this.scratched.any) this.printInsnState(this.cur, this.cur.curframe);
    this.verboseLine(this.insn, '; ');
    const start = this.log.end;
    this.log.write(`${this.insn}: `);
    this.log.write(`${this.insnText(this.insn)}\n`);
    this.insnPrintLength = this.log.end - start;
    this.prevLogEnd = this.log.end;
  }

  // -------------------------------------------------------------------------------------------------------------
  // Registers of the current frame

  reg(n: number): Reg {
    const frames = this.cur.frames;
    return frames[frames.length - 1]!.regs[n]!;
  }

  setReg(n: number, reg: Reg): void {
    this.cur.setReg(n, reg);
  }

  /** The register as a source operand: it must have been written. */
  readReg(n: number): Reg {
    if (n > 10) this.fail('EINVAL', `R${n} is invalid`, { kind: 'register_unknown', register: n });
    this.scratched.regs |= 1 << n;
    const reg = this.reg(n);
    if (reg.type === NOT_INIT)
      this.fail('EACCES', `R${n} !read_ok`, { kind: 'register_unwritten', register: n });
    return reg;
  }

  /** The register as a destination: it may be written. */
  checkWritable(n: number): void {
    if (n > 10) this.fail('EINVAL', `R${n} is invalid`, { kind: 'register_unknown', register: n });
    this.scratched.regs |= 1 << n;
    if (n === 10)
      this.fail('EACCES', 'frame pointer is read only', { kind: 'frame_pointer_written', register: n });
  }

  setUnknown(n: number): void {
    this.setReg(n, UNKNOWN_REG);
  }

  /** R0–R5 after a call. */
  clobberCallerSaved(): void {
    const regs = this.cur.ownCurrent().regs;
    for (let n = 0; n <= 5; n++) regs[n] = NOT_INIT_REG;
    this.scratched.regs |= 0x3f;
  }

  /** Whether the register would leak an address to an unprivileged program. */
  isLeak(reg: Reg): boolean {
    return !this.allowPtrLeaks && reg.type !== SCALAR;
  }

  /** The frame whose stack the register points to. */
  frameOf(reg: Reg): Frame {
    return this.cur.frames[reg.frameno]!;
  }

  nextId(): number {
    return ++this.idGen;
  }

  factsOf(index: number): MutableFacts {
    let facts = this.facts[index];
    if (facts === undefined) {
      facts = {};
      this.facts[index] = facts;
    }
    return facts;
  }

  /** The prototype of a helper for this program; null where the kernel has none of that id. */
  helper(id: number): HelperRow | null {
    let row = this.helperCache.get(id);
    if (row === undefined) {
      row = this.request.helpers?.(id) ?? null;
      this.helperCache.set(id, row);
    }
    return row;
  }

  cacheHelper(id: number, row: HelperRow | null): void {
    this.helperCache.set(id, row);
  }

  hasCachedHelper(id: number): boolean {
    return this.helperCache.has(id);
  }

  /** Adds stack to a frame and notes the depth that its function needs. */
  growStack(frameno: number, bytes: number): void {
    const frame = this.cur.frames[frameno]!;
    if (frame.stack.length * 8 >= bytes) return;
    this.cur.growStack(frameno, bytes);
    const depth = this.cur.frames[frameno]!.stack.length * 8;
    const subprog = this.subprogs[frame.subprog]!;
    if (subprog.stackDepth < depth) subprog.stackDepth = depth;
  }

  // -------------------------------------------------------------------------------------------------------------
  // Paths

  /** Notes that the path goes through the instruction. */
  trace(insn: number): void {
    if (this.pathLength === this.steps.length) {
      const longer = new Int32Array(2 * this.pathLength);
      longer.set(this.steps);
      this.steps = longer;
    }
    this.steps[this.pathLength++] = insn;
  }

  /** The last instructions of the current path, at most `count`, oldest first. */
  lastSteps(count: number): number[] {
    return [...this.steps.subarray(Math.max(0, this.pathLength - count), this.pathLength)];
  }

  get hasPath(): boolean {
    return this.pathLength > 0;
  }

  startPath(): void {
    this.pathLength = 0;
  }

  startInsn(): void {
    this.historyOpen = false;
  }

  /** Records that the current instruction did not just follow the one before it, or touched what `flags` says. */
  pushHistory(flags: number, linked: readonly LinkedReg[] | null = null): void {
    const { cur } = this;
    const last = cur.history;
    if (this.historyOpen && last !== null) {
      cur.history = new HistoryEntry(last.insn, last.prev, last.flags | flags, linked, last.older);
      return;
    }
    cur.history = new HistoryEntry(this.insn, this.prevInsn, flags, linked, last);
    this.historyOpen = true;
  }

  /** Queues a copy of the current state, to be continued at `insn`; `tooMany` is the errno when there is no room. */
  pushPath(
    insn: number,
    prev: number,
    speculative: boolean,
    tooMany: 'EFAULT' | 'ENOMEM' = 'EFAULT',
  ): VState {
    const state = this.cur.copy();
    if (speculative) state.speculative = true;
    this.pending.push({ state, insn, prev, logEnd: this.log.end, pathLength: this.pathLength });
    if (this.pending.length > JUMP_SEQUENCE_LIMIT) {
      this.fail(tooMany, `The sequence of ${this.pending.length} jumps is too complex.`, {
        kind: 'too_many_paths',
        limit: JUMP_SEQUENCE_LIMIT,
      });
    }
    if (state.parent !== null) state.parent.branches++;
    return state;
  }

  /** Queues an asynchronous callback: it starts with a stack of its own. */
  pushAsync(insn: number, prev: number, subprog: number, sleepable: boolean): VState {
    const state = new VState();
    state.sleepable = sleepable;
    state.frames.push(new Frame(state.owner, MAIN_CALLSITE, 0, subprog));
    this.pending.push({ state, insn, prev, logEnd: this.log.end, pathLength: this.pathLength });
    if (this.pending.length > JUMP_SEQUENCE_LIMIT) {
      this.fail('EFAULT', `The sequence of ${this.pending.length} jumps is too complex for async cb.`, {
        kind: 'too_many_paths',
        limit: JUMP_SEQUENCE_LIMIT,
      });
    }
    this.scratched.markAll();
    return state;
  }

  /** Continues the path queued last; false where there is none. */
  popPath(cutLog: boolean): boolean {
    const next = this.pending.pop();
    if (next === undefined) return false;
    this.cur = next.state;
    if (cutLog) this.log.cutTo(next.logEnd);
    this.insn = next.insn;
    this.prevInsn = next.prev;
    this.pathLength = Math.min(this.pathLength, next.pathLength);
    return true;
  }

  dropPaths(): void {
    this.pending = [];
  }

  get pendingPaths(): number {
    return this.pending.length;
  }

  updatePeak(): void {
    const states = this.exploredStates + this.freeListSize + this.backEdges;
    if (states > this.peakStates) this.peakStates = states;
  }

  /** Index of the subprogram that contains `insn`. */
  subprogAt(insn: number): number {
    let low = 0;
    let high = this.subprogs.length - 1;
    while (low < high) {
      const middle = low + ((high - low + 1) >> 1);
      if (this.subprogs[middle]!.start <= insn) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Index of the subprogram that starts at `insn`, or -1. */
  subprogStartingAt(insn: number): number {
    if (insn < 0 || insn >= this.count || this.subprogs.length === 0) return -1;
    const index = this.subprogAt(insn);
    return this.subprogs[index]!.start === insn ? index : -1;
  }

  get progTypeName(): string {
    return this.request.progType.name;
  }

  isMapValue(reg: Reg): boolean {
    return reg.type === PTR_TO_MAP_VALUE;
  }
}
