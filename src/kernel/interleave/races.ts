/**
 * Data races by happens-before: each CPU has a vector clock; locks and ordered atomic operations (fetch, exchange, acquire, release) hand
 * it on. Two accesses of the same bytes of a map's memory by different CPUs, one of them a plain store, that no clock orders are a race,
 * whether or not this interleaving did harm by it.
 *
 * Looked at: what the programs' own instructions do. What helpers copy, stacks, contexts and ring buffer records are not shared this way.
 * Atomic operations without fetch order nothing (linux: Documentation/memory-barriers.txt) but never race with each other; a plain load
 * beside an atomic operation is what everybody does, and no race.
 */
import { ATOMIC, accessBytes, CLASS, insnClass, insnMode, MODE } from '../../asm/opcodes.ts';
import type { ExecutableProgram } from '../../contracts/engine.ts';
import type { Insn } from '../../contracts/insn.ts';
import type { DataRace, InterleavedPlace } from '../../contracts/interleave.ts';
import type { InsnEvent } from '../../contracts/observe.ts';
import { KERNEL_HI_SIGNED } from '../../memory/address.ts';
import { arenaPlace } from '../../memory/arena-pages.ts';
import type { Machine } from '../machine.ts';
import type { MapObject } from '../objects.ts';
import { placeOf } from './places.ts';

type Kind = 'read' | 'write' | 'atomic';
const KINDS: readonly Kind[] = ['read', 'write', 'atomic'];

interface Access {
  readonly kind: Kind;
  readonly cpu: number;
  /** The CPU's own time. */
  readonly time: number;
  readonly from: number;
  readonly upto: number;
  readonly executable: ExecutableProgram;
  readonly insn: number;
}

/** Reports of one interleaving at most. */
const MAX_RACES = 100;

export class RaceDetector {
  readonly found: DataRace[] = [];
  readonly #machine: Machine;
  /** Times of all CPUs as far as each CPU knows of them. */
  readonly #clocks: readonly Int32Array[];
  /** What was known when a lock was given back, or an address was last written in order. */
  readonly #handed = new Map<number, Int32Array>();
  /** Last accesses of each 8 bytes: of each CPU one a kind. */
  readonly #words = new Map<number, (Access | undefined)[]>();
  readonly #reported = new Set<string>();
  /** Maps by the start of their blocks; null: not shared. */
  readonly #maps = new Map<number, MapObject | null>();
  #frees = 0;

  constructor(machine: Machine, cpus: number) {
    this.#machine = machine;
    this.#clocks = Array.from({ length: cpus }, (_, cpu) => {
      const clock = new Int32Array(cpus);
      clock[cpu] = 1;
      return clock;
    });
  }

  observer(cpu: number): (event: InsnEvent) => void {
    return (event) => this.#see(cpu, event);
  }

  #see(cpu: number, event: InsnEvent): void {
    const { executable, pc, low, high } = event;
    const insn = executable.insns[pc]!;
    const cls = insnClass(insn.code);
    if (cls === CLASS.JMP) {
      const call = executable.calls[pc];
      if (call?.kind !== 'function' || call.lock === undefined) return;
      if (call.lock === 'acquire') this.#acquire(cpu, low[1]!);
      else this.#release(cpu, low[1]!);
      return;
    }
    if (cls !== CLASS.LDX && cls !== CLASS.ST && cls !== CLASS.STX) return;
    const mode = insnMode(insn.code);
    if (cls === CLASS.ST && mode === MODE.NOSPEC) return;
    const acquires = mode === MODE.ATOMIC && insn.imm === ATOMIC.LOAD_ACQ;
    const base = cls === CLASS.LDX || acquires ? insn.src : insn.dst;
    const kind: Kind = mode === MODE.ATOMIC ? 'atomic' : cls === CLASS.LDX ? 'read' : 'write';
    const size = accessBytes(insn.code);
    let at: number;
    if (executable.arena?.accesses.has(pc)) {
      // What has no page is not shared.
      at = arenaPlace(this.#machine.memory, executable.arena.pages, (low[base]! >>> 0) + insn.off, size);
    } else {
      if (high[base] !== KERNEL_HI_SIGNED) return;
      at = low[base]! + insn.off;
    }
    if (this.#mapAt(at) === null) return;
    if (kind === 'atomic') this.#order(cpu, insn, at);
    this.#access({
      kind,
      cpu,
      time: this.#clocks[cpu]![cpu]!,
      from: at,
      upto: at + size,
      executable,
      insn: event.insn,
    });
  }

  #order(cpu: number, { imm }: Insn, at: number): void {
    if (imm === ATOMIC.STORE_REL) this.#release(cpu, at);
    else if (imm === ATOMIC.LOAD_ACQ) this.#acquire(cpu, at);
    else if ((imm & ATOMIC.FETCH) !== 0) {
      this.#acquire(cpu, at);
      this.#release(cpu, at);
    }
  }

  #acquire(cpu: number, at: number): void {
    const handed = this.#handed.get(at);
    if (handed === undefined) return;
    const clock = this.#clocks[cpu]!;
    for (let i = 0; i < clock.length; i++) clock[i] = Math.max(clock[i]!, handed[i]!);
  }

  #release(cpu: number, at: number): void {
    const clock = this.#clocks[cpu]!;
    const handed = this.#handed.get(at) ?? new Int32Array(clock.length);
    for (let i = 0; i < clock.length; i++) handed[i] = Math.max(clock[i]!, handed[i]!);
    this.#handed.set(at, handed);
    clock[cpu] = clock[cpu]! + 1;
  }

  #access(access: Access): void {
    const { cpu } = access;
    const clock = this.#clocks[cpu]!;
    const slot = cpu * KINDS.length + KINDS.indexOf(access.kind);
    for (let word = access.from >>> 3; word <= (access.upto - 1) >>> 3; word++) {
      let last = this.#words.get(word);
      if (last === undefined) {
        last = new Array(this.#clocks.length * KINDS.length).fill(undefined);
        this.#words.set(word, last);
      }
      for (const other of last) {
        if (other === undefined || other.cpu === cpu || other.time <= clock[other.cpu]!) continue;
        if (other.kind !== 'write' && access.kind !== 'write') continue;
        if (other.from < access.upto && access.from < other.upto) this.#report(other, access);
      }
      last[slot] = access;
    }
  }

  #report(first: Access, second: Access): void {
    const ends = [first, second].map((a) => `${a.executable.name} ${a.insn} ${a.kind}`).sort();
    const key = ends.join(' / ');
    if (this.#reported.has(key) || this.found.length >= MAX_RACES) return;
    this.#reported.add(key);
    this.found.push({
      memory: this.#describe(Math.max(first.from, second.from), Math.min(first.upto, second.upto)),
      first: this.#end(first),
      second: this.#end(second),
    });
  }

  #end(access: Access): InterleavedPlace & { readonly access: Kind } {
    return { ...placeOf(this.#machine, access.cpu, access), access: access.kind };
  }

  /** The map whose memory lies there; null for what is not a map's, and for rings, whose records have one owner at a time. */
  #mapAt(at: number): MapObject | null {
    const { memory } = this.#machine;
    if (this.#frees !== memory.frees) {
      this.#frees = memory.frees;
      this.#maps.clear();
    }
    const block = memory.blockAt(at);
    if (block === undefined) return null;
    let map = this.#maps.get(block.start);
    if (map === undefined) {
      const id = / of map (\d+) /.exec(block.label)?.[1];
      map = id === undefined ? null : (this.#machine.maps.find(Number(id)) ?? null);
      if (map?.map.abandonReservations !== undefined) map = null;
      this.#maps.set(block.start, map);
    }
    return map;
  }

  #describe(from: number, upto: number): string {
    const { map } = this.#mapAt(from)!;
    const { values, stride } = map.layout;
    let at = from - this.#machine.memory.blockAt(from)!.start;
    let what = 'memory';
    if (values !== 0 && stride !== 0 && from >= values) {
      const index = Math.floor((from - values) / stride);
      at = (from - values) % stride;
      what = map.info.maxEntries === 1 ? 'the value' : `value ${index}`;
    }
    const size = upto - from;
    return `${what} of map '${map.info.name}', ${size === 1 ? `byte ${at}` : `bytes ${at} to ${at + size - 1}`}`;
  }
}
