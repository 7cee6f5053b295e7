/** What is measured: the programs of bench/objects, and what each must return on the packet of `benchPacket`. */

/** What a program spends its time with; means are taken group by group. */
export const GROUPS = [
  'compute',
  'packet',
  'maps',
  'calls',
  'tail calls',
  'helpers',
  'atomics',
  'real programs',
] as const;
export type Group = (typeof GROUPS)[number];

export interface BenchProgram {
  readonly name: string;
  /** File in bench/objects without its ending. */
  readonly object: string;
  /** The JIT is held to ten times the interpreter on `compute`. */
  readonly group: Group;
  /** Value that a real kernel returns (on CPU 0), for a check that what is measured is right. */
  readonly returns: number;
  /** What it returns depends on the CPU that runs it. */
  readonly perCpu?: true;
  /** Maps and tail calls are a kernel's: the source does the same outside of one where this is set. */
  readonly native?: true;
}

export const BENCH_PROGRAMS: readonly BenchProgram[] = [
  { name: 'sieve', object: 'compute', group: 'compute', returns: 97, native: true },
  { name: 'crc32', object: 'compute', group: 'compute', returns: 255_784_871, native: true },
  { name: 'fibonacci', object: 'compute', group: 'compute', returns: 1_469_656_460, native: true },
  { name: 'matrix', object: 'compute', group: 'compute', returns: 36_004, native: true },
  { name: 'siphash', object: 'compute', group: 'compute', returns: 1_142_472_555, native: true },
  { name: 'gcd', object: 'compute', group: 'compute', returns: 20, native: true },
  { name: 'fnv1a', object: 'algorithms', group: 'compute', returns: 2_809_303_899, native: true },
  { name: 'sha256', object: 'algorithms', group: 'compute', returns: 2_200_776_676, native: true },
  { name: 'sort', object: 'algorithms', group: 'compute', returns: 15_455_117, native: true },
  { name: 'popcount', object: 'algorithms', group: 'compute', returns: 3283, native: true },
  { name: 'smooth', object: 'algorithms', group: 'compute', returns: 455, native: true },
  { name: 'parse', object: 'packet', group: 'packet', returns: 443, native: true },
  { name: 'checksum', object: 'packet', group: 'packet', returns: 0, native: true },
  { name: 'reflect', object: 'packet', group: 'packet', returns: 3, native: true },
  { name: 'array_count', object: 'maps', group: 'maps', returns: 2 },
  { name: 'percpu_count', object: 'maps', group: 'maps', returns: 2 },
  { name: 'hash_count', object: 'maps', group: 'maps', returns: 2 },
  { name: 'hash_insert_delete', object: 'maps', group: 'maps', returns: 0 },
  { name: 'lru_count', object: 'maps', group: 'maps', returns: 2 },
  { name: 'lpm_lookup', object: 'maps', group: 'maps', returns: 2 },
  { name: 'empty', object: 'calls', group: 'calls', returns: 2, native: true },
  { name: 'functions', object: 'calls', group: 'calls', returns: 1_981_811_105, native: true },
  { name: 'loop', object: 'calls', group: 'calls', returns: 4950, native: true },
  { name: 'tail_calls', object: 'calls', group: 'tail calls', returns: 4 },
  { name: 'helpers', object: 'calls', group: 'helpers', returns: 0, perCpu: true, native: true },
  { name: 'clock', object: 'calls', group: 'helpers', returns: 1, native: true },
  { name: 'random', object: 'calls', group: 'helpers', returns: 1, native: true },
  { name: 'string', object: 'calls', group: 'helpers', returns: 1, native: true },
  { name: 'atomic_add', object: 'atomics', group: 'atomics', returns: 0, native: true },
  { name: 'atomic_fetch_add', object: 'atomics', group: 'atomics', returns: 0, native: true },
  { name: 'atomic_bits', object: 'atomics', group: 'atomics', returns: 0, native: true },
  { name: 'atomic_exchange', object: 'atomics', group: 'atomics', returns: 10, native: true },
  { name: 'balancer', object: 'real', group: 'real programs', returns: 3 },
  { name: 'firewall', object: 'real', group: 'real programs', returns: 2 },
];
