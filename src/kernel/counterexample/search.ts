/**
 * The search for an input with which a refused program really goes wrong. Directed by the path that was refused: a run that
 * leaves it shows which comparison it failed, and the next inputs are those that turn it (bytes that equal the operand, the
 * packet's length, a map entry that was looked up and not there). Edge values and seeded random ones do the rest.
 */

import { CLASS, insnClass, insnOp, JMP_OP } from '../../asm/index.ts';
import type { Insn } from '../../contracts/insn.ts';
import type { Rejection, VerifyRequest } from '../../contracts/verify.ts';
import { toHex } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import type { Counterexample, SearchOptions, SearchResult } from '../../util/explanation.ts';
import { Random } from '../../util/random.ts';
import { type Entry, frame, type Input, LENGTHS, mutateBytes, substitute } from './input.ts';
import { JUDGES } from './oracle.ts';
import { type Contents, type RunResult, Sandbox } from './sandbox.ts';

const MILLISECONDS = 500;
const TRIES = 2000;
/** Inputs that came far and are worth changing. */
const KEPT = 24;
/** So many inputs that a run asked for are tried, then a random change of one that came far: what is asked for may not end. */
const ASKED = 2;
const MIN_PACKET = 14;
const MAX_PACKET = 2048;

interface Kept {
  readonly input: Input;
  readonly result: RunResult;
  /** How far it followed the path. */
  readonly score: number;
}

class Search {
  readonly #sandbox: Sandbox;
  readonly #insns: readonly Insn[];
  readonly #path: readonly number[];
  readonly #target: number;
  readonly #random: Random;
  readonly #queue: Input[] = [];
  readonly #seen = new Set<string>();
  #best: Kept[] = [];
  #tried = 0;

  constructor(request: VerifyRequest, rejection: Rejection, sandbox: Sandbox, seed: number) {
    this.#sandbox = sandbox;
    this.#insns = request.insns;
    this.#path = rejection.path[0] === 0 ? rejection.path : [];
    this.#target = rejection.insn;
    this.#random = new Random(seed);
    for (const input of this.#seeds()) this.#queue.push(input);
  }

  /** The first inputs: plain ones. */
  *#seeds(): Iterable<Input> {
    const { hasPacket, contextSize } = this.#sandbox;
    const none = { maps: new Map<number, readonly Entry[]>(), failing: new Set<number>() };
    if (hasPacket)
      for (const length of LENGTHS)
        yield { packet: frame(length), context: this.#sandbox.plainContext(), ...none };
    else {
      yield { packet: new Uint8Array(), context: new Uint8Array(contextSize), ...none };
      yield { packet: new Uint8Array(), context: new Uint8Array(contextSize).fill(0xff), ...none };
    }
  }

  next(): Input {
    this.#tried++;
    while (this.#tried % (ASKED + 1) !== 0 || this.#best.length === 0) {
      const queued = this.#queue.shift();
      if (queued === undefined) break;
      if (this.#fresh(queued)) return queued;
    }
    return this.#mutant();
  }

  #fresh(input: Input): boolean {
    const key = `${toHex(input.packet)}|${toHex(input.context)}|${[...input.failing]}|${[...input.maps].map(([map, entries]) => `${map}:${entries.map(({ key, value }) => `${toHex(key)}=${toHex(value)}`)}`)}`;
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    return true;
  }

  #mutant(): Input {
    const random = this.#random;
    const base = this.#best[random.below(this.#best.length)]?.input ?? [...this.#seeds()][0]!;
    let { packet, context } = base;
    const maps = new Map(base.maps);
    const rounds = 1 + random.below(3);
    for (let i = 0; i < rounds; i++) {
      const what = random.below(4);
      if (what === 0 && this.#sandbox.hasPacket) {
        const length = MIN_PACKET + random.below(random.below(8) === 0 ? 1500 : 80);
        packet = Uint8Array.from({ length }, (_, at) => packet[at] ?? 0);
      } else if (what <= 2 || maps.size === 0) {
        if (!this.#sandbox.hasPacket || random.below(3) > 0) packet = mutateBytes(packet, random);
        if (!this.#sandbox.hasPacket || random.below(3) === 0) context = mutateBytes(context, random);
      } else {
        const all = [...maps];
        const [map, entries] = all[random.below(all.length)]!;
        const at = random.below(entries.length);
        maps.set(
          map,
          entries.map((entry, k) =>
            k === at ? { ...entry, value: mutateBytes(entry.value, random) } : entry,
          ),
        );
      }
    }
    return { ...base, packet, context, maps };
  }

  /** Learns from a run. */
  learn(input: Input, result: RunResult): void {
    if (result.rejected) return;
    const score = this.#follows(result.trace);
    // An exit, or what functions share, is reached on other paths too, where nothing is wrong.
    const reached = result.atTarget !== undefined && (this.#path.length === 0 || score >= this.#path.length);
    const worst = this.#best[this.#best.length - 1];
    if (this.#best.length < KEPT || worst === undefined || score > worst.score || reached) {
      this.#best.push({ input, result, score: score + (reached ? 1e6 : 0) });
      this.#best.sort((a, b) => b.score - a.score);
      this.#best = this.#best.slice(0, KEPT);
    }
    for (const [map, key] of this.#missing(input, result))
      this.#queue.push(...this.#withEntry(input, map, key));
    result.calls.forEach(({ nullable, returned }, number) => {
      if (nullable && returned !== 0 && input.failing.size < 4)
        this.#queue.push({ ...input, failing: new Set([...input.failing, number]) });
    });
    if (result.atTarget !== undefined) this.#atTarget(input, result);
    if (!reached) this.#turn(input, result, score);
  }

  /** How many instructions of the path the run followed. */
  #follows(trace: readonly number[]): number {
    let n = 0;
    while (n < trace.length && n < this.#path.length && trace[n] === this.#path[n]) n++;
    return n;
  }

  /** Keys that were looked up, and that the input has no entry for. */
  #missing(input: Input, { lookups }: RunResult): [number, Uint8Array][] {
    return lookups
      .filter(({ map, key }) => {
        const { holds, name } = this.#sandbox.maps[map]!.type as { holds?: string; name: string };
        const have = input.maps.get(map)?.some((entry) => toHex(entry.key) === toHex(key));
        return holds === undefined && have !== true && name !== '';
      })
      .map(({ map, key }): [number, Uint8Array] => [map, key]);
  }

  #withEntry(input: Input, map: number, key: Uint8Array): Input[] {
    const { valueSize } = this.#sandbox.maps[map]!;
    if (valueSize === 0 || valueSize > 4096) return [];
    return [
      new Uint8Array(valueSize),
      new Uint8Array(valueSize).fill(0xff),
      this.#random.bytes(valueSize),
    ].map((value) => {
      const maps = new Map(input.maps);
      maps.set(map, [...(maps.get(map) ?? []), { key, value }]);
      return { ...input, maps };
    });
  }

  /** The packet's end around the access: one byte short, and less. */
  #atTarget(input: Input, { packet, atTarget }: RunResult): void {
    if (packet === undefined || atTarget === undefined) return;
    const insn = this.#insns[this.#target]!;
    const registers = insnClass(insn.code) === CLASS.JMP ? [1, 2, 3, 4, 5] : [insn.dst, insn.src];
    for (const r of registers) {
      const at = atTarget[r]! + (insnClass(insn.code) === CLASS.JMP ? 0 : insn.off) - packet.start;
      for (const length of [at, at + 1, at + 2, at + 3, at + 7]) this.#resize(input, length);
    }
  }

  #resize(input: Input, length: number): void {
    if (length < MIN_PACKET || length > MAX_PACKET || length === input.packet.length) return;
    this.#queue.push({ ...input, packet: Uint8Array.from({ length }, (_, i) => input.packet[i] ?? 0) });
  }

  /** Inputs with which the comparison that left the path may come out the other way. */
  #turn(input: Input, { trace, comparisons, packet }: RunResult, score: number): void {
    // The last comparison before the run left the path; without a path any may be the one.
    const positions = this.#path.length > 0 ? [score - 1] : [...comparisons.keys()].slice(-8);
    for (const position of positions) {
      const compared = comparisons.get(position);
      const insn = this.#insns[trace[position] ?? -1];
      if (compared === undefined || insn === undefined) continue;
      const { left, right } = compared;
      if (packet !== undefined) {
        const distance = (n: bigint) => Number(n & 0xffff_ffffn) - packet.start;
        for (const n of [distance(left), distance(right)])
          if (n > 0 && n <= MAX_PACKET)
            for (const length of [n, n - 1, n + 1, n + 64]) this.#resize(input, length);
      }
      for (const [from, others] of [
        [left, wanted(insn, right)],
        [right, wanted(insn, left)],
      ] as const) {
        for (const to of others) {
          for (const bytes of substitute(input.packet, from, to, 6))
            this.#queue.push({ ...input, packet: bytes });
          for (const bytes of substitute(input.context, from, to, 6))
            this.#queue.push({ ...input, context: bytes });
          this.#substituteInMaps(input, from, to);
        }
      }
    }
  }

  #substituteInMaps(input: Input, from: bigint, to: bigint): void {
    for (const [map, entries] of input.maps)
      entries.forEach((entry, at) => {
        for (const value of substitute(entry.value, from, to, 4)) {
          const maps = new Map(input.maps);
          maps.set(
            map,
            entries.map((other, k) => (k === at ? { ...other, value } : other)),
          );
          this.#queue.push({ ...input, maps });
        }
      });
  }
}

/** Values around the other operand: one of them turns the comparison. */
function wanted(insn: Insn, other: bigint): bigint[] {
  const bits = insnClass(insn.code) === CLASS.JMP ? 64 : 32;
  const near = insnOp(insn.code) === JMP_OP.JSET ? [other, 0n] : [other, other + 1n, other - 1n];
  return near.map((n) => BigInt.asUintN(bits, n));
}

/** Runs the refused program unverified, in a machine of its own, with one input after the other until one goes wrong. */
export function findInput(
  request: VerifyRequest,
  rejection: Rejection,
  contents: Contents,
  { milliseconds = MILLISECONDS, tries: most = TRIES, seed = 1 }: SearchOptions = {},
): SearchResult {
  const started = performance.now();
  const spent = () => performance.now() - started;
  const nothing = (note: string): SearchResult => ({ tries: 0, milliseconds: spent(), note });
  if (JUDGES[rejection.reason.kind] === undefined) return nothing('no run would show this kind of refusal');
  let sandbox: Sandbox;
  try {
    sandbox = new Sandbox(request, rejection, contents);
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    return nothing(`the program cannot be run here: ${error.message}`);
  }
  const search = new Search(request, rejection, sandbox, seed);
  let tries = 0;
  while (tries < most && spent() < milliseconds) {
    const input = search.next();
    tries++;
    const result = sandbox.run(input);
    if (result.wrong !== undefined) {
      const small = simplified(sandbox, { input, result });
      return { found: counterexample(request, sandbox, small), tries, milliseconds: spent() };
    }
    search.learn(input, result);
  }
  return { tries, milliseconds: spent(), ...(tries === 0 ? { note: 'there was no time for it' } : {}) };
}

interface Found {
  readonly input: Input;
  readonly result: RunResult;
}

/** Runs spent on making an input easier to read. */
const SIMPLIFY = 256;

/** An input that goes wrong at the same instruction, with fewer and plainer bytes. */
function simplified(sandbox: Sandbox, found: Found): Found {
  let best = found;
  let left = SIMPLIFY;
  const adopt = (change: Partial<Input>): boolean => {
    if (left-- <= 0) return false;
    const input = { ...best.input, ...change };
    const result = sandbox.run(input);
    if (result.wrong === undefined || result.wrong.insn !== best.result.wrong?.insn) return false;
    best = { input, result };
    return true;
  };
  if (best.input.packet.length > 0 && !adopt({ packet: new Uint8Array(MIN_PACKET) }))
    adopt({ packet: new Uint8Array(best.input.packet.length) });
  if (best.input.context.length > 0) adopt({ context: sandbox.plainContext() });
  for (const field of ['packet', 'context'] as const) {
    const plain = field === 'context' ? sandbox.plainContext() : new Uint8Array(best.input.packet.length);
    for (let size = best.input[field].length >> 1; size >= 1 && left > 0; size >>= 1) {
      for (let at = 0; at < best.input[field].length && left > 0; at += size) {
        const now = best.input[field];
        if (now.subarray(at, at + size).every((byte, i) => byte === plain[at + i])) continue;
        const simpler = now.slice();
        simpler.set(plain.subarray(at, at + size), at);
        adopt({ [field]: simpler });
      }
    }
  }
  for (const [map, entries] of best.input.maps) {
    const zero = entries.map(({ key, value }) => ({ key, value: new Uint8Array(value.length) }));
    const without = new Map(best.input.maps);
    without.delete(map);
    if (!adopt({ maps: without })) adopt({ maps: new Map(best.input.maps).set(map, zero) });
  }
  if (best.input.failing.size > 0) adopt({ failing: new Set() });
  return best;
}

function counterexample(request: VerifyRequest, sandbox: Sandbox, { input, result }: Found): Counterexample {
  const { what, insn } = result.wrong!;
  const source = request.lineInfo?.filter((line) => line.insn <= insn).at(-1);
  const used = new Set(result.lookups.map(({ map, key }) => `${map}:${toHex(key)}`));
  return {
    what,
    insn,
    ...(source === undefined
      ? {}
      : {
          source: {
            file: source.file.replace(/^\.\//, ''),
            line: source.line,
            column: source.column,
            text: source.text,
          },
        }),
    ...(sandbox.hasPacket ? { packet: toHex(input.packet) } : {}),
    ...contextShown(sandbox, input),
    maps: [...input.maps].flatMap(([map, entries]) =>
      entries
        .filter(({ key }) => used.has(`${map}:${toHex(key)}`))
        .map(({ key, value }) => ({ map: sandbox.maps[map]!.name, key: toHex(key), value: toHex(value) })),
    ),
    helpers: result.calls
      .filter(({ nullable, returned }) => nullable && returned === 0)
      .map(({ insn: at, helper }) => ({ insn: at, helper, returned: 'NULL' })),
    trace: result.trace.slice(-64),
  };
}

/** With a packet only what was chosen is worth telling. */
function contextShown(sandbox: Sandbox, input: Input): { context?: string } {
  const context = sandbox.contextOf(input);
  if (sandbox.contextSize === 0 || (sandbox.hasPacket && context.length === 0)) return {};
  return { context: toHex(trimmed(context)) };
}

/** Zeros at the end say nothing: 8 bytes stay at least. */
function trimmed(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 8 && bytes[end - 1] === 0) end--;
  return bytes.subarray(0, end);
}
