/**
 * Random programs from a seed: `generateProgram(7)` is the same program on every machine. Most verify, do something with
 * registers, stack, packet and maps, and return a number that depends on all of it; some are damaged on purpose.
 */
import {
  ProgramBuilder,
  R0,
  R1,
  R2,
  R3,
  R4,
  R5,
  R6,
  R7,
  R8,
  R9,
  type Reg,
  reg,
} from '../../src/asm/index.ts';
import type { Insn } from '../../src/contracts.ts';
import {
  constant,
  DATA,
  type Frame,
  fillStack,
  type Generation,
  type MapKind,
  type MapSpec,
  type ProgKind,
  pieces,
  type Subprogram,
} from './fragments.ts';
import { mutate } from './mutate.ts';
import { Random } from './random.ts';

export type { MapKind, MapSpec, ProgKind } from './fragments.ts';

export interface GenerateOptions {
  /** Default: any of them. */
  readonly progKind?: ProgKind;
  /** Share of programs that are damaged after they were made. Default: 0.25. */
  readonly damage?: number;
  /** Callbacks of bpf_loop too: Linux refuses them without BTF. Default: no. */
  readonly callbacks?: boolean;
  /** Most pieces of a program; default 40. */
  readonly size?: number;
}

export interface GeneratedProgram {
  readonly seed: number;
  readonly progKind: ProgKind;
  /** Number of `enum bpf_prog_type`. */
  readonly progType: number;
  /** Map loads hold the map's index in `maps`; `fixes` says where. */
  readonly insns: Insn[];
  readonly maps: readonly MapSpec[];
  readonly fixes: readonly { readonly slot: number; readonly map: number }[];
  /** The packet to run on. */
  readonly input: Uint8Array;
  /** Was damaged: it may be anything, and may also let addresses into its results. */
  readonly damaged: boolean;
}

const PROG_TYPE: Readonly<Record<ProgKind, number>> = { socket_filter: 1, sched_cls: 3, xdp: 6 };
const MAP_TYPE: Readonly<Record<MapKind, number>> = {
  hash: 1,
  array: 2,
  prog_array: 3,
  percpu_hash: 5,
  percpu_array: 6,
  queue: 22,
  stack: 23,
};

function drawMap(random: Random, kind: MapKind): MapSpec {
  const keyed = kind === 'hash' || kind === 'percpu_hash';
  const holder = kind === 'prog_array';
  const bare = kind === 'queue' || kind === 'stack';
  const keySize = bare ? 0 : keyed ? random.pick([4, 8]) : 4;
  const valueSize = holder ? 4 : random.pick([8, 16, 24, 40, DATA]);
  const maxEntries = kind === 'array' && random.chance(0.5) ? 1 : random.between(2, 6);
  const elements: { key: Uint8Array; value: Uint8Array }[] = [];
  if (!holder && !bare) {
    for (let i = 0; i < Math.min(maxEntries, 4); i++) {
      if (keyed && random.chance(0.4)) continue;
      const key = new Uint8Array(keySize);
      key[0] = i;
      elements.push({ key, value: random.bytes(valueSize) });
    }
  }
  return { kind, type: MAP_TYPE[kind], keySize, valueSize, maxEntries, elements };
}

const MAIN_SCALARS: readonly Reg[] = [R0, R1, R2, R3, R4, R5, R7, R8];
const SUB_SCALARS: readonly Reg[] = [R0, R1, R2, R3, R4, R5, R6, R7, R8];

/** R0 made of every number that the frame holds, and exit. */
function finish(g: Generation, f: Frame): void {
  for (const r of f.scalars) {
    if (r === R0) continue;
    if (g.random.chance(0.5)) g.code.alu64('xor', R0, reg(r));
    else g.code.alu64('add', R0, reg(r));
  }
  // The upper half counts too, as only the lower one is returned.
  g.code.mov64(R1, reg(R0)).alu64('rsh', R1, 32).alu64('xor', R0, reg(R1));
  g.code.exit();
}

function mainProgram(g: Generation): void {
  const f: Frame = { hasCtx: true, scalars: MAIN_SCALARS, loops: 0 };
  g.code.mov64(R6, reg(R1));
  for (const r of [...MAIN_SCALARS, R9]) constant(g, r);
  fillStack(g, f);
  pieces(g, f, 0);
  finish(g, f);
}

function subprogram(g: Generation, sub: Subprogram): void {
  const f: Frame = { hasCtx: false, scalars: SUB_SCALARS, loops: 0 };
  g.code.label(sub.label);
  if (sub.shape === 'memory' || sub.shape === 'callback') {
    // Sixteen bytes of the caller's stack, written by the caller.
    const pointer = sub.shape === 'memory' ? R1 : R2;
    g.code.mov64(R9, reg(pointer)).ldx('dw', R6, R9, 0);
    const free: readonly Reg[] = [R0, R2, R3, R4, R5, R7, R8];
    // A callback keeps its index.
    for (const r of sub.shape === 'callback' ? free : [R1 as Reg, ...free]) constant(g, r);
    g.code.alu64('add', R6, reg(R1)).stx('dw', R9, R6, 8 * g.random.below(2));
  } else {
    for (const r of [R0, R6, R7, R8] as const) constant(g, r);
    g.code.alu64('add', R7, reg(R1)).alu64('xor', R8, reg(R2));
  }
  constant(g, R9);
  fillStack(g, f);
  g.budget = Math.min(g.budget, 6) + 2;
  pieces(g, f, 1);
  if (sub.shape !== 'callback') finish(g, f);
  // A callback returns 0 to go on or 1 to stop.
  else g.code.alu64('and', R0, 1).exit();
}

/** The program of a seed. */
export function generateProgram(seed: number, options: GenerateOptions = {}): GeneratedProgram {
  const random = new Random(seed);
  const progKind = options.progKind ?? random.pick(['socket_filter', 'xdp', 'sched_cls'] as const);
  const kinds: readonly MapKind[] = [
    'array',
    'hash',
    'percpu_array',
    'percpu_hash',
    'prog_array',
    'queue',
    'stack',
  ];
  const maps = Array.from({ length: random.between(0, 4) }, () => drawMap(random, random.pick(kinds)));
  const subprograms: Subprogram[] = Array.from(
    { length: random.chance(0.5) ? 0 : random.between(1, 3) },
    (_, i) => ({
      label: `sub${i}`,
      shape: random.pick(
        options.callbacks === true
          ? (['numbers', 'memory', 'callback'] as const)
          : (['numbers', 'memory'] as const),
      ),
    }),
  );
  const g: Generation = {
    random,
    code: new ProgramBuilder(),
    prog: progKind,
    maps,
    fixes: [],
    callable: subprograms,
    called: new Set(),
    labels: 0,
    budget: random.between(3, options.size ?? 40),
  };
  mainProgram(g);
  subprograms.forEach((sub, i) => {
    g.callable = subprograms.slice(i + 1);
    // What nobody calls would be unreachable.
    if (g.called.has(sub.label)) subprogram(g, sub);
  });
  const made = g.code.build();
  const damaged = random.chance(options.damage ?? 0.25);
  const insns = damaged ? mutate(made, random) : made;
  const fixes = g.fixes.filter(({ slot }) => insns[slot]!.code === 0x18);
  const input = random.bytes(random.between(20, 120));
  return { seed, progKind, progType: PROG_TYPE[progKind], insns, maps, fixes, input, damaged };
}
