/** The seam between loader, verifier and rewrite: what is verified, and what was proven. */
import type { Btf } from '../btf/index.ts';
import type { HelperRow, ProgTypeRow } from '../spec/types.ts';
import type { ErrnoName } from '../util/errno.ts';
import type { Insn } from './insn.ts';
import type { KfuncSite } from './kfuncs.ts';
import type { MapInfo } from './maps.ts';
import type { RefusalReason } from './refusal.ts';

export interface Credentials {
  readonly uid: number;
  /** CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_ADMIN; CAP_SYS_ADMIN implies the others, as in Linux. */
  readonly capBpf: boolean;
  readonly capPerfmon: boolean;
  readonly capNetAdmin: boolean;
  readonly capSysAdmin: boolean;
  /** Where they have them: 0, the first user namespace (default), or another one, whose capabilities count through tokens only. */
  readonly userNamespace?: number;
}

/** One record of `.BTF.ext` line info, for programs loaded with BTF: instruction index → C source. */
export interface LineInfo {
  readonly insn: number;
  readonly file: string;
  readonly text: string;
  readonly line: number;
  readonly column: number;
}

/** One record of function info: a function starts at `insn` and has BTF type `typeId`. */
export interface FuncInfo {
  readonly insn: number;
  readonly typeId: number;
}

/** A function of a loaded program, as far as those who replace or trace it need to know it. */
export interface TargetFunction {
  /** Of its BTF. */
  readonly typeId: number;
  /** Somebody passed other arguments than its BTF says: it counts as a function of five numbers. */
  readonly unreliable?: true;
  readonly changesPacket?: true;
  readonly mightSleep?: true;
  /** Runs when the program throws. */
  readonly exceptionCallback?: true;
}

/** The loaded program whose function is replaced (freplace) or traced: attach_prog_fd. `attachBtfId` is of its BTF. */
export interface TargetProgram {
  readonly progType: ProgTypeRow;
  readonly expectedAttachType: number;
  /** Of a program that replaces functions: the type of those that it was loaded for. */
  readonly replaces?: ProgTypeRow;
  readonly btf?: Btf;
  readonly functions: readonly TargetFunction[];
  readonly jited: boolean;
  /** It traces a tracing program itself. */
  readonly tracesTracing: boolean;
}

export interface VerifyRequest {
  readonly progType: ProgTypeRow;
  /** Number of `enum bpf_attach_type`. */
  readonly expectedAttachType: number;
  /** Instructions as loaded. The verifier does not change them. */
  readonly insns: readonly Insn[];
  readonly gplCompatible: boolean;
  /** Map of the fd (or fd_array index) in a pseudo load; a number is -errno, for the message "fd N is not pointing to valid bpf_map". */
  readonly mapByFd: (fd: number) => MapInfo | number;
  readonly mapByIndex?: (index: number) => MapInfo | number;
  /** BTF of a module by the index of its fd in fd_array, for calls of the module's functions; other BTF is `not_module`. */
  readonly btfByIndex?: (index: number) => Btf | 'not_module' | undefined;
  readonly credentials: Credentials;
  /** BPF_F_STRICT_ALIGNMENT, BPF_F_ANY_ALIGNMENT, BPF_F_TEST_STATE_FREQ, BPF_F_SLEEPABLE … of PROG_LOAD. */
  readonly flags: number;
  /** 0 none, 1 the failing path and statistics, 2 every instruction, 4 statistics only; bits as in `log_level`. */
  readonly logLevel: number;
  /** The program's own BTF with function and line info. */
  readonly btf?: Btf;
  readonly funcInfo?: readonly FuncInfo[];
  readonly lineInfo?: readonly LineInfo[];
  /** The kernel's BTF, for BTF-typed pointers; absent: programs that need it are refused. */
  readonly kernelBtf?: Btf;
  readonly attachBtfId?: number;
  readonly target?: TargetProgram;
  /** Whether the program will be compiled; default true. */
  readonly jitRequested?: boolean;
  /** Helpers that exist on the target kernel (default: all rows of the table). */
  readonly helpers?: (id: number) => HelperRow | undefined;
  /** Release of Linux whose rules count, `6.1`; default the newest that the tables know. Errors: EINVAL for text that is none. */
  readonly release?: string;
  /** Possible processors of the target machine: bounds bpf_get_smp_processor_id's result; default 8192. */
  readonly possibleCpus?: number;
  /** Most bytes of log that are kept (the tail at level 1, all at 2); default 16 MiB. */
  readonly logLimit?: number;
}

/** What the verifier found out about one instruction; rewrite and JIT act on it. Indexes are those of the request. */
export interface InsnFacts {
  /** Load or store through the context at this constant offset. */
  readonly ctxOffset?: number;
  /** Access to a UAPI facade of a modelled kernel object (bpf_sock …): row to convert with. */
  readonly facade?: { readonly struct: string; readonly offset: number };
  /** ld_imm64: the map whose header (`map`) or value (`map` and `mapValueOffset`) is loaded. */
  readonly map?: MapInfo;
  readonly mapValueOffset?: number;
  /** Helper call: the one map that every path passes; absent where paths differ. */
  readonly callMap?: MapInfo;
  /** Helper call with a constant key on every path (array lookups, tail calls). */
  readonly constantKey?: number;
  /** 64-bit immediate: the address of this variable or function of the kernel. */
  readonly symbol?: string;
  /** Call of a kernel function, by name. */
  readonly kfunc?: string;
  /** Such a call makes, gives back or links an object of the program's own types: its size (0 where not said) and special fields. */
  readonly object?: KfuncSite['object'];
  /** Access through a pointer into the program's arena. */
  readonly arena?: true;
  /** Load through a BTF pointer that may fault: it then reads 0. */
  readonly probeMem?: true;
  /** Call or function-pointer load: index of the subprogram. */
  readonly subprog?: number;
}

export interface SubprogInfo {
  /** First instruction and one past the last. */
  readonly start: number;
  readonly end: number;
  /** Bytes of stack that the frame needs. */
  readonly stackDepth: number;
  readonly name?: string;
  readonly isGlobal?: boolean;
  /** Called as a callback by a helper: shape of its arguments. */
  readonly callbackShape?: string;
  readonly hasTailCall?: boolean;
  /** Runs when the program throws. */
  readonly exceptionCallback?: boolean;
  /** BTF id of the function; see TargetFunction for the others. */
  readonly typeId?: number;
  readonly unreliable?: true;
  readonly changesPacket?: true;
  readonly mightSleep?: true;
}

export interface VerifyStats {
  /** Instructions processed over all paths ("processed N insns"). */
  readonly insnsProcessed: number;
  readonly totalStates: number;
  readonly peakStates: number;
  readonly maxStatesPerInsn: number;
  /** "stack depth 8+16". */
  readonly stackDepth: readonly number[];
  readonly microseconds: number;
}

export interface VerifiedProgram {
  readonly verdict: 'accept';
  readonly request: VerifyRequest;
  /** One entry an instruction slot; undefined where nothing is to be said. */
  readonly facts: readonly (InsnFacts | undefined)[];
  /** 1 where some path got there; the rest is dead code. */
  readonly seen: Uint8Array;
  readonly subprogs: readonly SubprogInfo[];
  /** In order of first use. */
  readonly usedMaps: readonly MapInfo[];
  readonly log: string;
  readonly stats: VerifyStats;
}

/** A register that matters for a refusal: as the log shows it (`scalar(umax=255,…)`), and the same as data. */
export interface RegisterNote {
  readonly register: string;
  readonly state: string;
  /** `map_value_or_null`, `pkt`, `scalar`, … as in the log; `unwritten`. */
  readonly type: string;
  readonly mayBeNull?: boolean;
  readonly map?: string;
  /** Of a pointer: its constant offset; of a packet pointer: bytes that are proven to be there. */
  readonly offset?: number;
  readonly range?: number;
  /** Of a scalar, or of the variable part of a pointer's offset. */
  readonly smin?: bigint;
  readonly smax?: bigint;
  readonly umin?: bigint;
  readonly umax?: bigint;
}

export interface Rejection {
  readonly verdict: 'reject';
  readonly errno: ErrnoName;
  /** Last line of the log: the reason. */
  readonly message: string;
  /** The reason as data; `explain` makes sentences of it. */
  readonly reason: RefusalReason;
  /** Offending instruction, -1 where it is none. */
  readonly insn: number;
  readonly source?: LineInfo;
  /** Registers named by the message or used by the instruction. */
  readonly registers: readonly RegisterNote[];
  /** Instructions of the failing path, oldest first, at most the last 4096. */
  readonly path: readonly number[];
  readonly log: string;
  readonly stats: VerifyStats;
}

export type VerifyResult = VerifiedProgram | Rejection;
