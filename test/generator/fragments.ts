/**
 * The pieces that generated programs are made of. Between two pieces these hold, so that any order of them verifies:
 *
 * - every register of `frame.scalars` is an initialised number; R9 is scratch for pointers and holds a number;
 * - R6 is the context where `frame.hasCtx`; R10 - DATA .. R10 is written and holds numbers only;
 * - R10 - SPILL holds spilled pointers, R10 - KEY map keys.
 *
 * Nothing that a program computes depends on an address, a clock or a random number: two engines must agree on all of it.
 */
import {
  type AluOp,
  type AtomicOp,
  type JumpOp,
  type MemSize,
  type ProgramBuilder,
  R0,
  R1,
  R2,
  R3,
  R4,
  R5,
  R6,
  R8,
  R9,
  R10,
  type Reg,
  reg,
} from '../../src/asm/index.ts';
import type { Random } from './random.ts';

/** Bytes of numbers below R10, and where spilled pointers and keys lie. */
export const DATA = 64;
export const SPILL = 72;
export const KEY = 80;

export type MapKind = 'array' | 'hash' | 'percpu_array' | 'percpu_hash' | 'prog_array' | 'queue' | 'stack';

export interface MapSpec {
  readonly kind: MapKind;
  /** Number of `enum bpf_map_type`. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** Elements before the run; a per-CPU map has the value on every CPU. */
  readonly elements: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[];
}

export type ProgKind = 'socket_filter' | 'xdp' | 'sched_cls';

/** Where the context of a type holds the edges of the packet; a socket filter may not look. */
const EDGES: Readonly<Partial<Record<ProgKind, readonly [data: number, end: number]>>> = {
  xdp: [0, 4],
  sched_cls: [76, 80],
};

/** A function of the program: what its code may use. */
export interface Frame {
  readonly hasCtx: boolean;
  scalars: readonly Reg[];
  loops: number;
}

export interface Generation {
  readonly random: Random;
  readonly code: ProgramBuilder;
  readonly prog: ProgKind;
  readonly maps: readonly MapSpec[];
  /** Slots of map loads, and which map. */
  readonly fixes: { slot: number; map: number }[];
  /** Labels of the subprograms that the function being written may call: later ones only, so that none recurses. */
  callable: readonly Subprogram[];
  /** Labels of those that were called. */
  readonly called: Set<string>;
  labels: number;
  /** Pieces that may still be made. */
  budget: number;
}

/** `numbers`: R1 to R5; `memory`: R1 points to 16 bytes of the caller's stack; `callback`: of bpf_loop. */
export interface Subprogram {
  readonly label: string;
  readonly shape: 'numbers' | 'memory' | 'callback';
}

export const ALU_OPS: readonly AluOp[] = [
  'add',
  'sub',
  'mul',
  'div',
  'or',
  'and',
  'lsh',
  'rsh',
  'mod',
  'xor',
  'mov',
  'arsh',
  'sdiv',
  'smod',
];
export const JUMP_OPS: readonly JumpOp[] = [
  'jeq',
  'jgt',
  'jge',
  'jset',
  'jne',
  'jsgt',
  'jsge',
  'jlt',
  'jle',
  'jslt',
  'jsle',
];
const ATOMIC_OPS: readonly AtomicOp[] = [
  'add',
  'or',
  'and',
  'xor',
  'fetch_add',
  'fetch_or',
  'fetch_and',
  'fetch_xor',
  'xchg',
  'cmpxchg',
];
const SIZES: readonly MemSize[] = ['b', 'h', 'w', 'dw'];
const BYTES: Readonly<Record<MemSize, number>> = { b: 1, h: 2, w: 4, dw: 8 };

const newLabel = (g: Generation): string => `l${g.labels++}`;
const scalar = (g: Generation, f: Frame): Reg => g.random.pick(f.scalars);

/** A 64-bit constant that is likely to be on some edge. */
function wideConstant(random: Random): bigint {
  const shift = BigInt(random.below(64));
  switch (random.below(4)) {
    case 0:
      return 1n << shift;
    case 1:
      return (1n << shift) - 1n;
    case 2:
      return BigInt.asUintN(64, -(1n << shift));
    default:
      return (BigInt(random.u32()) << 32n) | BigInt(random.u32());
  }
}

export function constant(g: Generation, dst: Reg): void {
  if (g.random.chance(0.2)) g.code.ldImm64(dst, wideConstant(g.random));
  else if (g.random.chance(0.3)) g.code.mov32(dst, g.random.s32());
  else g.code.mov64(dst, g.random.s32());
}

/** Numbers again in registers that a call has cleared. */
export function refill(g: Generation, f: Frame, registers: readonly Reg[]): void {
  for (const r of registers) {
    const kept = f.scalars.filter((s) => s >= R6);
    if (kept.length > 0 && g.random.chance(0.3)) g.code.mov64(r, reg(g.random.pick(kept)));
    else constant(g, r);
  }
}

const CALLER_SAVED: readonly Reg[] = [R1, R2, R3, R4, R5];

// ---------------------------------------------------------------------------------------------------------------
// Numbers

function alu(g: Generation, f: Frame): void {
  const { random, code } = g;
  const dst = scalar(g, f);
  const width = random.chance(0.5) ? 64 : 32;
  switch (random.below(10)) {
    case 0:
      code.neg(width, dst);
      return;
    case 1:
      code.movsx(
        width,
        width === 64 ? random.pick([8, 16, 32] as const) : random.pick([8, 16] as const),
        dst,
        scalar(g, f),
      );
      return;
    case 2:
      code.swap(random.pick(['le', 'be', 'bswap'] as const), random.pick([16, 32, 64] as const), dst);
      return;
    case 3:
      code.ldImm64(dst, wideConstant(random));
      return;
    default: {
      const op = random.pick(ALU_OPS);
      const byRegister = random.chance(0.5);
      if (byRegister) {
        if (width === 64) code.alu64(op, dst, reg(scalar(g, f)));
        else code.alu32(op, dst, reg(scalar(g, f)));
        return;
      }
      let imm = random.s32();
      if (/^(lsh|rsh|arsh)$/.test(op)) imm = random.below(width);
      if (/(div|mod)$/.test(op) && imm === 0) imm = 7;
      if (width === 64) code.alu64(op, dst, imm);
      else code.alu32(op, dst, imm);
    }
  }
}

function aluRun(g: Generation, f: Frame): void {
  for (let n = g.random.between(1, 5); n > 0; n--) alu(g, f);
}

// ---------------------------------------------------------------------------------------------------------------
// Memory of numbers: the stack, a map value, the packet

/** An access of `base + low .. base + low + length`. `aligned` where the kernel insists (stack, atomics). */
function access(
  g: Generation,
  f: Frame,
  base: Reg,
  low: number,
  length: number,
  aligned: boolean,
  atomics: boolean,
): void {
  const { random, code } = g;
  const fitting = SIZES.filter((s) => BYTES[s] <= length);
  const place = (size: MemSize, align: boolean): number => {
    const bytes = BYTES[size];
    const last = length - bytes;
    return low + (align ? bytes * random.between(0, Math.floor(last / bytes)) : random.between(0, last));
  };
  const kind = random.below(atomics && length >= 8 ? 7 : 4);
  const size = random.pick(fitting);
  const off = place(size, aligned || kind >= 4 || random.chance(0.7));
  switch (kind) {
    case 0:
      code.ldx(size, scalar(g, f), base, off);
      return;
    case 1:
      code.stx(size, base, scalar(g, f), off);
      return;
    case 2:
      code.st(size, base, off, random.s32());
      return;
    case 3:
      if (size === 'dw') code.ldx(size, scalar(g, f), base, off);
      else code.ldxs(size, scalar(g, f), base, off);
      return;
    case 4: {
      const word = random.pick(['w', 'dw'] as const);
      code.atomic(random.pick(ATOMIC_OPS), word, base, scalar(g, f), place(word, true));
      return;
    }
    case 5:
      code.loadAcquire(size, scalar(g, f), base, off);
      return;
    default:
      code.storeRelease(size, base, scalar(g, f), off);
  }
}

function stack(g: Generation, f: Frame): void {
  for (let n = g.random.between(1, 4); n > 0; n--) access(g, f, R10, -DATA, DATA, true, true);
}

/** A number, or the context, to the stack and back. */
function spill(g: Generation, f: Frame): void {
  const { random, code } = g;
  if (f.hasCtx && random.chance(0.4)) {
    code.stx('dw', R10, R6, -SPILL).mov64(R6, random.s32());
    aluRun(g, f);
    code.ldx('dw', R6, R10, -SPILL);
    return;
  }
  const r = scalar(g, f);
  code.stx(random.pick(['w', 'dw'] as const), R10, r, -8);
  aluRun(g, f);
  code.ldx(random.pick(['b', 'w', 'dw'] as const), r, R10, -8);
}

/** The stack at an offset that only the run knows. */
function variableStack(g: Generation, f: Frame): void {
  const { random, code } = g;
  const index = scalar(g, f);
  code.alu64('and', index, 7).mov64(R9, reg(R10)).alu64('add', R9, reg(index)).alu64('add', R9, -16);
  if (random.chance(0.6)) code.ldx('b', scalar(g, f), R9, random.below(8));
  else code.stx('b', R9, scalar(g, f), random.below(8));
  constant(g, R9);
}

// ---------------------------------------------------------------------------------------------------------------
// Flow

const jumpTo = (g: Generation, f: Frame, label: string): void => {
  const { random, code } = g;
  const op = random.pick(JUMP_OPS);
  const a = scalar(g, f);
  const b = random.chance(0.4) ? reg(scalar(g, f)) : random.s32();
  if (random.chance(0.5)) code.jmp(op, a, b, label);
  else code.jmp32(op, a, b, label);
};

function branch(g: Generation, f: Frame, depth: number): void {
  const { random, code } = g;
  const end = newLabel(g);
  if (random.chance(0.5)) {
    jumpTo(g, f, end);
    pieces(g, f, depth + 1);
  } else {
    const other = newLabel(g);
    jumpTo(g, f, other);
    pieces(g, f, depth + 1);
    if (random.chance(0.3)) code.gotol(end);
    else code.goto(end);
    code.label(other);
    pieces(g, f, depth + 1);
  }
  code.label(end);
}

function loop(g: Generation, f: Frame): void {
  const { random, code } = g;
  const scalars = f.scalars;
  const head = newLabel(g);
  const end = newLabel(g);
  const limit = random.between(1, 10);
  code.mov64(R8, 0).label(head);
  f.scalars = scalars.filter((r) => r !== R8);
  f.loops++;
  if (random.chance(0.2)) code.mayGoto(end);
  for (let n = random.between(1, 3); n > 0; n--) {
    const piece = random.pick([aluRun, stack, branch, spill]);
    piece(g, f, MAX_DEPTH - 1);
  }
  code.alu64('add', R8, 1);
  if (random.chance(0.5)) code.jmp('jlt', R8, limit, head);
  else code.jmp32('jslt', R8, limit, head);
  code.label(end);
  f.loops--;
  f.scalars = scalars;
}

// ---------------------------------------------------------------------------------------------------------------
// Maps

function loadMap(g: Generation, dst: Reg, map: number): void {
  g.fixes.push({ slot: g.code.length, map });
  g.code.ldMapFd(dst, map);
}

const KEYED: readonly MapKind[] = ['array', 'hash', 'percpu_array', 'percpu_hash'];
const isArray = (m: MapSpec): boolean => m.kind === 'array' || m.kind === 'percpu_array';

function pickMap(g: Generation, kinds: readonly MapKind[]): number {
  const fitting = g.maps.flatMap((m, i) => (kinds.includes(m.kind) ? [i] : []));
  return fitting.length === 0 ? -1 : g.random.pick(fitting);
}

/** A key on the stack, R2 pointing to it. Mostly one that the map can have. */
function key(g: Generation, f: Frame, m: MapSpec): void {
  const { random, code } = g;
  const limit = isArray(m) ? m.maxEntries : 4;
  const value = random.chance(0.85) ? random.below(limit) : random.s32();
  if (random.chance(0.3)) {
    const r = scalar(g, f);
    code.alu64('and', r, 3).stx('dw', R10, r, -KEY);
  } else code.st(m.keySize === 4 ? 'w' : 'dw', R10, -KEY, value);
  code.mov64(R2, reg(R10)).alu64('add', R2, -KEY);
}

function useValue(g: Generation, f: Frame, m: MapSpec): void {
  const { random, code } = g;
  for (let n = random.between(1, 4); n > 0; n--) {
    if (random.chance(0.2) && m.valueSize >= 16) {
      // At an offset that only the run knows, below 8.
      const index = scalar(g, f);
      code.alu64('and', index, 7).alu64('add', R9, reg(index));
      access(g, f, R9, 0, m.valueSize - 7, false, false);
      code.alu64('sub', R9, reg(index));
      // Where the access has loaded over the index, R9 is somewhere else: stop here.
      return;
    }
    access(g, f, R9, 0, m.valueSize, false, true);
  }
}

function lookup(g: Generation, f: Frame): void {
  const { code } = g;
  const map = pickMap(g, KEYED);
  if (map < 0) return;
  const m = g.maps[map]!;
  const missing = newLabel(g);
  key(g, f, m);
  loadMap(g, R1, map);
  code.callHelper('bpf_map_lookup_elem');
  refill(g, f, CALLER_SAVED);
  if (g.random.chance(0.5)) {
    code.jmp('jeq', R0, 0, missing).mov64(R9, reg(R0)).mov64(R0, g.random.s32());
  } else {
    code.mov64(R9, reg(R0)).jmp('jeq', R9, 0, missing);
    constant(g, R0);
  }
  useValue(g, f, m);
  code.label(missing);
  constant(g, R0);
  constant(g, R9);
}

/** The first value of an array by its address, without a call. */
function directValue(g: Generation, f: Frame): void {
  const map = g.maps.findIndex((m) => m.kind === 'array' && m.maxEntries === 1);
  if (map < 0) return;
  const m = g.maps[map]!;
  const off = 8 * g.random.below(Math.floor(m.valueSize / 8));
  g.fixes.push({ slot: g.code.length, map });
  g.code.ldMapValue(R9, map, off);
  access(g, f, R9, -off, m.valueSize, false, true);
  constant(g, R9);
}

function update(g: Generation, f: Frame): void {
  const { random, code } = g;
  const map = pickMap(g, KEYED);
  if (map < 0) return;
  const m = g.maps[map]!;
  key(g, f, m);
  if (random.chance(0.25)) {
    loadMap(g, R1, map);
    code.callHelper('bpf_map_delete_elem');
  } else {
    loadMap(g, R1, map);
    code
      .mov64(R3, reg(R10))
      .alu64('add', R3, -DATA)
      .mov64(R4, random.pick([0, 0, 0, 1, 2, 3]));
    code.callHelper('bpf_map_update_elem');
  }
  refill(g, f, CALLER_SAVED);
}

/** Queues and stacks: push from, peek or pop to the numbers on the stack. */
function queue(g: Generation, f: Frame): void {
  const { random, code } = g;
  const map = pickMap(g, ['queue', 'stack']);
  if (map < 0) return;
  code.mov64(R2, reg(R10)).alu64('add', R2, -DATA);
  loadMap(g, R1, map);
  const op = random.pick(['push', 'push', 'pop', 'peek']);
  if (op === 'push') code.mov64(R3, random.pick([0, 0, 2]));
  code.callHelper(`bpf_map_${op}_elem`);
  refill(g, f, CALLER_SAVED);
}

/** A tail call that finds nothing, and goes on. */
function emptyTailCall(g: Generation, f: Frame): void {
  const map = pickMap(g, ['prog_array']);
  if (map < 0 || !f.hasCtx) return;
  loadMap(g, R2, map);
  g.code.mov64(R1, reg(R6)).mov64(R3, g.random.between(0, 6)).callHelper('bpf_tail_call');
  refill(g, f, [R0, ...CALLER_SAVED]);
}

// ---------------------------------------------------------------------------------------------------------------
// Packets and context

function packet(g: Generation, f: Frame): void {
  const { random, code } = g;
  if (!f.hasCtx) return;
  const edges = EDGES[g.prog];
  if (edges === undefined || (g.prog === 'sched_cls' && random.chance(0.3))) {
    switch (random.below(3)) {
      case 0:
        code.ldAbs(random.pick(['b', 'h', 'w'] as const), random.between(0, 40));
        break;
      case 1: {
        const index = scalar(g, f);
        code
          .alu64('and', index, 31)
          .ldInd(random.pick(['b', 'h', 'w'] as const), index, random.between(0, 8));
        break;
      }
      default:
        code.mov64(R1, reg(R6)).mov64(R2, random.between(0, 70)).mov64(R3, reg(R10)).alu64('add', R3, -DATA);
        code.mov64(R4, random.between(1, DATA)).callHelper('bpf_skb_load_bytes');
    }
    refill(g, f, CALLER_SAVED);
    return;
  }
  const short = newLabel(g);
  const bytes = random.between(1, 80);
  const scalars = f.scalars;
  code.ldx('w', R9, R6, edges[0]).ldx('w', R5, R6, edges[1]).mov64(R4, reg(R9));
  f.scalars = scalars.filter((r) => r !== R4 && r !== R5);
  const variable = random.chance(0.3);
  if (variable) {
    const index = scalar(g, f);
    code.alu64('and', index, 15).alu64('add', R9, reg(index)).mov64(R4, reg(R9));
  }
  code.alu64('add', R4, bytes);
  if (random.chance(0.5)) code.jmp('jgt', R4, reg(R5), short);
  else code.jmp('jlt', R5, reg(R4), short);
  for (let n = random.between(1, 4); n > 0; n--) access(g, f, R9, 0, bytes, false, false);
  code.label(short);
  f.scalars = scalars;
  for (const r of [R4, R5, R9] as const) constant(g, r);
}

function adjust(g: Generation, f: Frame): void {
  if (!f.hasCtx || g.prog !== 'xdp') return;
  const { random, code } = g;
  code.mov64(R1, reg(R6)).mov64(R2, random.between(-32, 32));
  code.callHelper(random.pick(['bpf_xdp_adjust_head', 'bpf_xdp_adjust_tail']));
  refill(g, f, CALLER_SAVED);
}

function context(g: Generation, f: Frame): void {
  if (!f.hasCtx) return;
  // The length of the packet: the same in every kernel.
  if (g.prog !== 'xdp') g.code.ldx('w', scalar(g, f), R6, 0);
  else packet(g, f);
}

// ---------------------------------------------------------------------------------------------------------------
// Calls

/** Helpers whose result no two runs share: called, and what they say is dropped. */
function idle(g: Generation, f: Frame): void {
  const names = ['bpf_ktime_get_ns', 'bpf_get_prandom_u32', 'bpf_get_smp_processor_id', 'bpf_jiffies64'];
  g.code.callHelper(g.random.pick(names));
  if (g.random.chance(0.5)) g.code.alu64('and', R0, 0);
  else g.code.alu64('xor', R0, reg(R0));
  refill(g, f, CALLER_SAVED);
}

function checksum(g: Generation, f: Frame): void {
  if (g.prog === 'socket_filter') return;
  const { random, code } = g;
  const from = 4 * random.below(8);
  const to = 4 * random.below(8);
  code.mov64(R1, reg(R10)).alu64('add', R1, -DATA).mov64(R2, from);
  code.mov64(R3, reg(R10)).alu64('add', R3, -32).mov64(R4, to);
  code.mov64(R5, random.u32() & 0xffff).callHelper('bpf_csum_diff');
  refill(g, f, CALLER_SAVED);
}

function call(g: Generation, f: Frame): void {
  if (g.callable.length === 0) return;
  const { random, code } = g;
  const { label, shape } = random.pick(g.callable);
  g.called.add(label);
  if (shape === 'callback') {
    code.mov64(R1, random.below(12)).ldFunc(R2, label).mov64(R3, reg(R10)).alu64('add', R3, -16).mov64(R4, 0);
    code.callHelper('bpf_loop');
  } else {
    if (shape === 'memory') code.mov64(R1, reg(R10)).alu64('add', R1, -16);
    code.callLocal(label);
  }
  refill(g, f, CALLER_SAVED);
}

// ---------------------------------------------------------------------------------------------------------------

const MAX_DEPTH = 3;

type Piece = (g: Generation, f: Frame, depth: number) => void;

/** Weights: how often each piece is drawn. */
const PIECES: readonly (readonly [Piece, number])[] = [
  [aluRun, 30],
  [stack, 12],
  [spill, 6],
  [variableStack, 3],
  [branch, 14],
  [(g, f) => (f.loops === 0 ? loop(g, f) : aluRun(g, f)), 4],
  [lookup, 10],
  [directValue, 4],
  [update, 6],
  [queue, 3],
  [emptyTailCall, 2],
  [packet, 8],
  [adjust, 1],
  [context, 3],
  [idle, 3],
  [checksum, 2],
  [call, 6],
];
const TOTAL = PIECES.reduce((sum, [, weight]) => sum + weight, 0);

/** Up to a handful of pieces, one after the other. */
export function pieces(g: Generation, f: Frame, depth: number): void {
  for (let n = g.random.between(1, depth === 0 ? 12 : 3); n > 0 && g.budget > 0; n--) {
    g.budget--;
    let draw = g.random.below(TOTAL);
    const [piece] = PIECES.find(([, weight]) => {
      draw -= weight;
      return draw < 0;
    })!;
    if (depth >= MAX_DEPTH && piece === branch) aluRun(g, f);
    else piece(g, f, depth);
  }
}

/** Writes every byte of R10 - DATA .. R10. */
export function fillStack(g: Generation, f: Frame): void {
  for (let off = 8; off <= DATA; off += 8) {
    if (g.random.chance(0.5)) g.code.st('dw', R10, -off, g.random.s32());
    else g.code.stx('dw', R10, scalar(g, f), -off);
  }
  g.code.st('dw', R10, -KEY, 0);
}
