/**
 * Fixed places of the linear memory. The first 64 KiB stay unmapped in the sense of the interpreter (NULL page); compiled
 * code that reads through NULL sees zeros there, as nothing is ever stored. Then the run state, then the stacks, then the heap.
 */

export const PAGE = 0x1_0000;

/** Scratch that programs cannot reach: what engines, helpers and commands tell one another during a run. */
export const RUN_STATE = {
  /** u64: result of a helper whose row says `abi: 'u64'`. */
  helperResult: 0x1_0000,
  /** u64: the whole R0 of the last finished run. */
  r0: 0x1_0008,
  /** u32: tail calls made so far in this run; an engine refuses the 34th (MAX_TAIL_CALL_CNT = 33). */
  tailCallCount: 0x1_0010,
  /** u32: number of the CPU that runs. */
  cpu: 0x1_0014,
  /** u32: offset of the context object of the outermost program. */
  ctx: 0x1_0018,
  /** i32: loop rounds and calls that the run may still make; BUDGET_SPENT once it asked for more. Only in programs with a budget. */
  budget: 0x1_001c,
  /** i32: what `budget` is at the start of each run. */
  budgetLimit: 0x1_0020,
  /** u32: offset of the record of a capture whose frame is looked at. */
  frame: 0x1_0024,
  /** u32: the bpf_spin_lock that this CPU holds, 0: none. Only where the memory is shared. */
  heldLock: 0x1_0028,
  /** u32: odd while this CPU runs programs; changes at every point at which it holds nothing that a program was given. */
  activity: 0x1_002c,
  /** i32 and u32: what CPU 0's thread has answered, and 1 once it has. */
  answer: 0x1_0030,
  answered: 0x1_0034,
  /** u32: lines printed on this CPU that are on their way to CPU 0's thread. */
  printing: 0x1_0038,
  /** u32: what the next random bits of this CPU come from (splitmix32). */
  random: 0x1_003c,
} as const;

/** What all CPUs of a shared memory have together; u32 each. */
export const MACHINE_STATE = {
  /** Where memory starts that nobody has taken yet: see `GuestMemory.takeFresh`. */
  fresh: 0x1_0800,
  /** First of the pieces that were given back, and the lock of their list: see `SharedPieces`. */
  pieces: 0x1_0804,
  piecesLock: 0x1_0808,
} as const;

/** In RUN_STATE.budget: the run was stopped because it had used up its budget. */
export const BUDGET_SPENT = -1;

/** Stack of one run: 8 frames of 512 bytes, and what tail calls from subprograms may pile up on it. */
export const STACK_BYTES = 0x8000;
/** Runs may nest (a helper of one program fires another): this many deep. */
export const MAX_NESTED_RUNS = 4;
/** Lowest byte of the stacks. Level n occupies [STACKS + n * STACK_BYTES, STACKS + (n + 1) * STACK_BYTES). */
export const STACKS = 0x1_1000;
export const HEAP_START = STACKS + MAX_NESTED_RUNS * STACK_BYTES;

/**
 * Run state and stacks of one CPU. CPU 0 has them at their fixed places; where the memory is shared, each other CPU has an area like it
 * on the heap, and every place of RUN_STATE and the stacks lies `GuestMemory.cpuDelta` further on.
 */
export const CPU_AREA = { start: PAGE, size: HEAP_START - PAGE } as const;

/**
 * The header of every map, at `MapLayout.address`: u32 fields that compiled code reads where the map is not known when it
 * is compiled (tail calls through a map of maps). Programs hold its address as `struct bpf_map *`.
 */
export const MAP_HEADER = {
  type: 0,
  keySize: 4,
  valueSize: 8,
  maxEntries: 12,
  flags: 16,
  id: 20,
  /** Offset of value 0 in the linear memory; 0 where the type has none. */
  values: 24,
  /** Bytes from one value to the next. */
  stride: 28,
} as const;
