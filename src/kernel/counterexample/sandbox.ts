/**
 * A throwaway machine in which a refused program runs unverified, in the checking interpreter: its own linear memory, copies of the
 * maps, no descriptors, no devices. Nothing that the program does can get out of it.
 *
 * The program is rewritten with what the verifier knows of the paths that it did explore; a run that leaves them is stopped.
 */
import { CLASS, insnClass, insnOp, JMP_OP, LD_IMM64 } from '../../asm/index.ts';
import type { LiveContext } from '../../contracts/hooks.ts';
import type { BpfMap, MapInfo } from '../../contracts/maps.ts';
import type { HelperTable } from '../../contracts/runtime.ts';
import type { Rejection, VerifiedProgram, VerifyRequest } from '../../contracts/verify.ts';
import { testRunHook } from '../../hooks/index.ts';
import { createInterpreter, type InsnEvent, type InterpretedProgram } from '../../interpreter/index.ts';
import { createMap } from '../../maps/index.ts';
import { STACK_BYTES, STACKS } from '../../memory/index.ts';
import { rewrite } from '../../rewrite/index.ts';
import { type HelperRow, helperById } from '../../spec/index.ts';
import { BpfError, ProgramFault } from '../../util/errors.ts';
import { verify } from '../../verifier/index.ts';
import { Machine } from '../machine.ts';
import { mapResolver } from '../map-resolver.ts';
import { MapObject } from '../objects.ts';
import { CONTEXT_FIELDS, type ContextFields, fullContext, type Input } from './input.ts';
import { ENDLESS, JUDGES, type Moment } from './oracle.ts';

/** Instructions of one run. */
const RUN_LIMIT = 100_000;
/** A run that has not ended after so many is taken for endless. */
const ENDLESS_LIMIT = 1_000_000;
/** Instructions of a path that are kept. */
const MAX_TRACE = 8192;
/** Bytes of all maps together that are copied. */
const MAX_MAPS = 32 << 20;
/** Instructions that the verifier may look at once more. */
const MAX_EXPLORED = 200_000;
/** Bytes of a stack frame (MAX_BPF_STACK). */
const FRAME = 512;
const PAINT = 0xa5;
const RAW_CONTEXT = 512;
/** Receive queues that any interface may be thought to have. */
const RX_QUEUES = 0xffff;

/** A comparison that a run made. */
export interface Comparison {
  readonly left: bigint;
  readonly right: bigint;
}

export interface Lookup {
  readonly map: number;
  readonly key: Uint8Array;
}

export interface RunResult {
  /** What goes wrong; undefined: nothing did. */
  readonly wrong: { readonly what: string; readonly insn: number } | undefined;
  /** Instructions that ran. */
  readonly trace: readonly number[];
  /** Operands of the comparisons, by position in the trace. */
  readonly comparisons: ReadonlyMap<number, Comparison>;
  readonly lookups: readonly Lookup[];
  readonly calls: readonly {
    readonly insn: number;
    readonly helper: string;
    readonly returned: number;
    readonly nullable: boolean;
  }[];
  readonly packet: { readonly start: number; readonly length: number } | undefined;
  /** Registers' low halves when the refused instruction was reached last. */
  readonly atTarget: Int32Array | undefined;
  readonly rejected: boolean;
}

export interface Contents {
  /** Bytes of the one value of maps that programs access directly (globals), by map. */
  readonly values: ReadonlyMap<MapInfo, Uint8Array>;
}

class Stop {
  readonly what: string;

  constructor(what: string) {
    this.what = what;
  }
}

/** Throws BpfError where the program cannot be run here. */
export class Sandbox {
  readonly maps: MapInfo[] = [];
  /** Bytes of `Input.context`. */
  readonly contextSize: number;
  readonly hasPacket: boolean;
  /** What can be chosen of the context of a program that sees packets. */
  readonly #fields: ContextFields | undefined;
  readonly #machine: Machine;
  readonly #prepared: InterpretedProgram;
  readonly #request: VerifyRequest;
  readonly #rejection: Rejection;
  readonly #explored: Uint8Array;
  readonly #live: BpfMap[] = [];
  readonly #contents: Contents;
  readonly #rows: readonly (HelperRow | undefined)[];
  readonly #compares: Uint8Array;

  // Of the run in progress.
  #input: Input | undefined;
  #trace: number[] = [];
  #steps = 0;
  #comparisons = new Map<number, Comparison>();
  #lookups: Lookup[] = [];
  #calls: { insn: number; helper: string; returned: number; nullable: boolean }[] = [];
  #held = new Map<number, number>();
  #lastCall = -1;
  #context: LiveContext | undefined;
  #atTarget: Int32Array | undefined;
  #paint = PAINT;
  #wrong: { what: string; insn: number } | undefined;

  constructor(request: VerifyRequest, rejection: Rejection, contents: Contents) {
    this.#request = request;
    this.#rejection = rejection;
    this.#contents = contents;
    const { verified, explored } = exploreAround(request);
    this.#explored = explored;
    const endless = ENDLESS.has(rejection.reason.kind);
    const interpreter = createInterpreter({
      strict: true,
      instructionLimit: endless ? ENDLESS_LIMIT : RUN_LIMIT,
    });
    this.#machine = new Machine({
      memory: { initialPages: 64, maximumPages: 2048 },
      possibleCpus: 1,
      randomSeed: 1,
      onOops: () => {},
      engines: { interpreter },
      ...(request.kernelBtf === undefined ? {} : { kernelBtf: request.kernelBtf }),
    });
    this.#rows = request.insns.map((insn) =>
      insnClass(insn.code) === CLASS.JMP && insnOp(insn.code) === JMP_OP.CALL && insn.src === 0
        ? (request.helpers ?? helperById)(insn.imm)
        : undefined,
    );
    this.#compares = Uint8Array.from(request.insns, (insn) => {
      const cls = insnClass(insn.code);
      const op = insnOp(insn.code);
      const jump = cls === CLASS.JMP || cls === CLASS.JMP32;
      return jump && op !== JMP_OP.JA && op !== JMP_OP.CALL && op !== JMP_OP.EXIT && op !== JMP_OP.JCOND
        ? 1
        : 0;
    });
    const clones = new Map<MapInfo, BpfMap>();
    let room = MAX_MAPS;
    for (const info of verified.usedMaps) {
      room -= info.maxEntries * (info.valueSize + info.keySize);
      if (room < 0) throw new BpfError('ENOMEM', 'its maps are too large to be copied');
      this.maps.push(info);
      const map = this.#clone(info);
      this.#live.push(map);
      clones.set(info, map);
    }
    const { program } = rewrite(verified, {
      name: request.progType.name,
      helpers: this.#watched(this.#machine.helpers),
      packetLoads: this.#machine.packetLoads,
      map: (info) => clones.get(info)!,
    });
    this.#prepared = interpreter.prepare(program, this.#machine.engineEnv);
    const { name, ctx } = request.progType;
    this.hasPacket = ctx.access === 'fields' && testRunHook(name) !== undefined;
    if (!this.hasPacket && ctx.fields.some((field) => field.kind !== undefined && field.kind !== 'scalar'))
      throw new BpfError('EOPNOTSUPP', `contexts of ${name} programs cannot be made up`);
    this.#fields = this.hasPacket ? CONTEXT_FIELDS[ctx.struct] : undefined;
    if (this.hasPacket) this.contextSize = this.#fields?.fields.reduce((sum, { size }) => sum + size, 0) ?? 0;
    else this.contextSize = ctx.btfTyped ? 0 : Math.min(ctx.size || RAW_CONTEXT, RAW_CONTEXT);
  }

  /** `Input.context` with nothing chosen. */
  plainContext(): Uint8Array {
    return Uint8Array.from({ length: this.contextSize }, (_, i) => this.#fields?.initial?.[i] ?? 0);
  }

  /** The context of an input as PROG_TEST_RUN takes it; empty: none is needed. */
  contextOf({ packet, context }: Input): Uint8Array {
    if (!this.hasPacket) return context;
    return this.#fields === undefined ? new Uint8Array() : fullContext(this.#fields, context, packet.length);
  }

  #clone(info: MapInfo, depth = 0): BpfMap {
    const machine = this.#machine;
    const inner = info.inner === undefined || depth > 0 ? undefined : this.#clone(info.inner, depth + 1);
    const map = createMap(
      {
        id: machine.maps.reserve(),
        name: info.name,
        type: info.type,
        keySize: info.keySize,
        valueSize: info.valueSize,
        maxEntries: info.maxEntries,
        flags: info.flags,
        mapExtra: 0n,
        ...(inner === undefined ? {} : { inner }),
        ...(info.specialFields === undefined ? {} : { specialFields: info.specialFields }),
        ...(info.hasBtf === undefined ? {} : { hasBtf: info.hasBtf }),
      },
      { memory: machine.memory, module: machine.mapsModule, resolver: mapResolver(machine), possibleCpus: 1 },
    );
    machine.addMap(new MapObject({ map, btf: undefined, mapExtra: 0n }, machine));
    return map;
  }

  /** Helpers whose results are noted, and that fail when the input says so. */
  #watched(table: HelperTable): HelperTable {
    return {
      resolve: (row, map) => {
        const callee = table.resolve(row, map);
        if (callee === undefined) return undefined;
        // A lookup fails for want of the key only: that is a matter of the map's contents.
        const nullable = row.ret.nullable === true && row.ret.kind !== 'map_value';
        const fn = (...words: number[]): number => {
          const number = this.#calls.length;
          const fails = nullable && this.#input?.failing.has(number) === true;
          const returned: number = fails ? 0 : callee.fn(...words);
          this.#calls.push({ insn: this.#lastCall, helper: row.name, returned, nullable });
          if (row.acquires && returned !== 0) this.#held.set(returned, this.#lastCall);
          return returned;
        };
        return { ...callee, fn };
      },
    };
  }

  #see(event: InsnEvent): void {
    const { insn } = event;
    if (this.#explored[insn] !== 1) throw new Stop('left what was explored');
    this.#steps++;
    if (this.#trace.length < MAX_TRACE) {
      if (this.#compares[insn] === 1) this.#comparisons.set(this.#trace.length, this.#compared(event));
      this.#trace.push(insn);
    }
    const row = this.#rows[insn];
    if (row !== undefined) this.#call(event, row);
    if (insn !== this.#rejection.insn) return;
    this.#atTarget = event.low.slice();
    const what = JUDGES[this.#rejection.reason.kind]?.(this.#moment(event));
    if (what === null || what === undefined) return;
    this.#wrong = { what, insn };
    throw new Stop('goes wrong');
  }

  #moment(event: InsnEvent): Moment {
    const { u8 } = this.#machine.memory;
    const at = this.#rejection.reason.insn;
    return {
      event,
      insn: this.#request.insns[event.insn]!,
      reason: this.#rejection.reason,
      packet: this.#packet(),
      held: [...this.#held].find(([, insn]) => insn === at)?.[0] ?? 0,
      untouched: (offset) => offset >= STACKS && offset < STACKS + STACK_BYTES && u8[offset] === this.#paint,
    };
  }

  #packet(): { start: number; length: number } | undefined {
    return this.hasPacket && this.#context !== undefined
      ? this.#machine.packets.ops.data(this.#context.address)
      : undefined;
  }

  #compared({ insn, low, high }: InsnEvent): Comparison {
    const at = this.#request.insns[insn]!;
    const wide = insnClass(at.code) === CLASS.JMP;
    const word = (r: number): bigint => {
      const bits = BigInt(low[r]! >>> 0);
      return wide ? (BigInt(high[r]! >>> 0) << 32n) | bits : bits;
    };
    const right = (at.code & 8) !== 0 ? word(at.src) : BigInt.asUintN(wide ? 64 : 32, BigInt(at.imm));
    return { left: word(at.dst), right };
  }

  #call(event: InsnEvent, row: HelperRow): void {
    this.#lastCall = event.insn;
    row.args.forEach((arg, i) => {
      const register = i + 1;
      if (arg.release) this.#held.delete(event.low[register]!);
      if (arg.kind !== 'map_key') return;
      const index = this.#live.findIndex((map) => map.layout.address === event.low[1]);
      const info = this.maps[index];
      const at = event.low[register]!;
      if (
        info !== undefined &&
        at > 0 &&
        at + info.keySize <= this.#machine.memory.size &&
        this.#lookups.length < 64
      )
        this.#lookups.push({ map: index, key: this.#machine.memory.read(at, info.keySize).slice() });
    });
  }

  /** Every run starts from the same state. */
  #reset(input: Input): void {
    this.#input = input;
    this.#trace = [];
    this.#steps = 0;
    this.#comparisons = new Map();
    this.#lookups = [];
    this.#calls = [];
    this.#held = new Map();
    this.#lastCall = -1;
    this.#atTarget = undefined;
    this.#wrong = undefined;
    this.maps.forEach((info, i) => {
      const map = this.#live[i]!;
      empty(map, info);
      const globals = this.#contents.values.get(info);
      if (globals !== undefined) map.update(new Uint8Array(info.keySize), globals, 0);
      for (const { key, value } of input.maps.get(i) ?? []) map.update(key, value, 0);
    });
  }

  run(input: Input): RunResult {
    const first = this.#once(input, PAINT);
    if (first.wrong === undefined || this.#rejection.reason.kind !== 'stack_uninitialised') return first;
    // Bytes that look like the paint may have been written: with another paint they stay what they are.
    const second = this.#once(input, PAINT ^ 0xff);
    return second.wrong === undefined ? second : first;
  }

  #once(input: Input, paint: number): RunResult {
    this.#reset(input);
    const { memory } = this.#machine;
    this.#paint = paint;
    memory.u8.fill(paint, STACKS, STACKS + STACK_BYTES);
    try {
      this.#context = this.#open(input);
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      return { ...this.#result(), rejected: true };
    }
    const packet = this.#packet();
    // What a run before this one had written is nobody's value now.
    this.#prepared.observe((event) => this.#see(event));
    try {
      this.#prepared.run(this.#context.address, 0);
    } catch (error) {
      this.#ended(error);
    } finally {
      this.#context.release();
      this.#context = undefined;
    }
    return { ...this.#result(), packet };
  }

  #open(input: Input): LiveContext {
    const { packet, context } = input;
    const { memory, packets } = this.#machine;
    const type = this.#request.progType;
    const hook = testRunHook(type.name);
    if (this.hasPacket && hook !== undefined)
      return hook(
        { data: packet, ctx: this.contextOf(input), flags: 0, cpu: 0, repeat: 0, batchSize: 0 },
        { memory, packets, type, maxCtxOffset: 0, rxQueues: () => RX_QUEUES },
      );
    const size = Math.max(8, type.ctx.btfTyped ? RAW_CONTEXT : this.contextSize);
    const address = memory.allocate(size, 'context');
    memory.u8.fill(0, address, address + size);
    memory.write(address, context);
    const none = () => new Uint8Array();
    return { address, packet: none, userContext: none, release: () => memory.free(address) };
  }

  /** The run ended by an exception: a stop of ours, or a fault. */
  #ended(error: unknown): void {
    for (let cause: unknown = error; cause !== undefined; cause = (cause as { cause?: unknown }).cause)
      if (cause instanceof Stop) return;
    if (!(error instanceof ProgramFault)) throw error;
    const { kind } = this.#rejection.reason;
    if (ENDLESS.has(kind) && this.#steps >= ENDLESS_LIMIT - 1)
      this.#wrong = {
        what: `the program has not ended after ${ENDLESS_LIMIT.toLocaleString('en')} instructions`,
        insn: error.insn,
      };
    else if (error.insn === this.#rejection.insn)
      this.#wrong = { what: error.message.replace(/^program [^:]*: /, ''), insn: error.insn };
  }

  #result(): RunResult {
    return {
      wrong: this.#wrong,
      trace: this.#trace,
      comparisons: this.#comparisons,
      lookups: this.#lookups,
      calls: this.#calls,
      packet: undefined,
      atTarget: this.#atTarget,
      rejected: false,
    };
  }
}

/** Explores every path but the refused ones: what is known of the instructions there, and which those are. */
function exploreAround(request: VerifyRequest): { verified: VerifiedProgram; explored: Uint8Array } {
  const explored = new Uint8Array(request.insns.length);
  const { logLimit: _, ...rest } = request;
  let processed = 0;
  const result = verify(
    { ...rest, logLevel: 0 },
    {
      insn: (at) => {
        explored[at] = 1;
        if (++processed > MAX_EXPLORED) throw new BpfError('E2BIG', 'it is too complex to be explored again');
      },
      refused: () => true,
    },
  );
  if (result.verdict === 'reject') throw new BpfError(result.errno, result.message);
  // All code stays: a run that gets where nothing is known is stopped there.
  const seen = result.seen.map((_, i) => (request.insns[i - 1]?.code === LD_IMM64 ? 0 : 1));
  // The refused access may need more stack than those that were accepted.
  const subprogs = result.subprogs.map((subprog) => ({ ...subprog, stackDepth: FRAME }));
  return { verified: { ...result, seen, subprogs }, explored };
}

function empty(map: BpfMap, info: MapInfo): void {
  for (let i = 0; i < Math.min(info.maxEntries, 4096); i++) {
    const key = map.nextKey(null);
    if (typeof key === 'number') return;
    if (map.delete(key) < 0) break;
  }
  // Arrays: back to zero.
  const zero = new Uint8Array(map.userValueSize);
  let key = map.nextKey(null);
  for (let i = 0; i < Math.min(info.maxEntries, 256) && typeof key !== 'number'; i++) {
    map.update(key, zero, 0);
    key = map.nextKey(key);
  }
}
