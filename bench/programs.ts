/** What is measured: the programs of bench/objects, and what each must return on the packet of `benchPacket`. */
export interface BenchProgram {
  readonly name: string;
  /** File in bench/objects without its ending. */
  readonly object: string;
  /** The JIT is held to ten times the interpreter on these. */
  readonly compute?: true;
  /** Value that a real kernel returns (on CPU 0), for a check that what is measured is right. */
  readonly returns: number;
  /** What it returns depends on the CPU that runs it. */
  readonly perCpu?: true;
}

export const BENCH_PROGRAMS: readonly BenchProgram[] = [
  { name: 'sieve', object: 'compute', compute: true, returns: 97 },
  { name: 'crc32', object: 'compute', compute: true, returns: 255_784_871 },
  { name: 'fibonacci', object: 'compute', compute: true, returns: 1_469_656_460 },
  { name: 'matrix', object: 'compute', compute: true, returns: 36_004 },
  { name: 'siphash', object: 'compute', compute: true, returns: 1_142_472_555 },
  { name: 'gcd', object: 'compute', compute: true, returns: 20 },
  { name: 'parse', object: 'packet', returns: 443 },
  { name: 'checksum', object: 'packet', returns: 0 },
  { name: 'reflect', object: 'packet', returns: 3 },
  { name: 'array_count', object: 'maps', returns: 2 },
  { name: 'percpu_count', object: 'maps', returns: 2 },
  { name: 'hash_count', object: 'maps', returns: 2 },
  { name: 'hash_insert_delete', object: 'maps', returns: 0 },
  { name: 'lru_count', object: 'maps', returns: 2 },
  { name: 'lpm_lookup', object: 'maps', returns: 2 },
  { name: 'functions', object: 'calls', returns: 1_981_811_105 },
  { name: 'helpers', object: 'calls', returns: 0, perCpu: true },
  { name: 'clock', object: 'calls', returns: 1 },
  { name: 'loop', object: 'calls', returns: 4950 },
  { name: 'tail_calls', object: 'calls', returns: 4 },
];
