/**
 * The header of a map in linear memory: the `struct bpf_map *` that programs hold, one layout for all types. Little-endian
 * u32 fields at these byte offsets. This file is compiled twice, by tsc and by asc: plain number constants only.
 *
 * Invariants: headers are 16-byte aligned (ring buffers: page aligned); values are 8-byte aligned; every offset stored here
 * is an offset in the same linear memory; 0 means "none". Programs reach values only, never a header or a link field.
 */

/** `enum bpf_map_type`, sizes, flags and id as of MAP_CREATE. */
export const HDR_TYPE = 0;
export const HDR_KEY_SIZE = 4;
export const HDR_VALUE_SIZE = 8;
export const HDR_MAX_ENTRIES = 12;
export const HDR_FLAGS = 16;
export const HDR_ID = 20;
/**
 * ARRAY-like: offset of value 0 (per-CPU: of CPU 0). PROG_ARRAY: u32 entry numbers; PERF_EVENT_ARRAY: u32 event numbers;
 * ARRAY_OF_MAPS: u32 header offsets; in all three 0 is an empty slot. QUEUE and STACK: element 0. RINGBUF: data area.
 */
export const HDR_VALUES = 24;
/** Bytes from one value to the next. Per-CPU hash maps: bytes of one CPU's value (value_size rounded up to 8). */
export const HDR_STRIDE = 28;
/** Per-CPU maps: bytes from one CPU's value to the next CPU's. */
export const HDR_CPU_STRIDE = 32;
/** Per-CPU maps: number of possible CPUs. */
export const HDR_CPUS = 36;
/** Number of elements, where elements come and go. */
export const HDR_COUNT = 40;
/** Ring buffer: reservations refused for lack of room; hash-like: inserts refused because the map was full. */
export const HDR_DROPPED = 44;
/** 1 where the value holds a bpf_spin_lock (BPF_F_LOCK is allowed). */
export const HDR_HAS_LOCK = 88;
/** Special fields of the value: offset of a table {u32 n, n × {u32 offset, u32 size}} in ascending order; 0: none. */
export const HDR_SPECIAL = 92;

// Only where threads share the memory: locks, and what `refill` knows of a map whose elements come from any thread.
/** Offset of the lock in the value, of either kind; NO_LOCK: there is none. */
export const HDR_LOCK_OFF = 96;
export const NO_LOCK = 0xffffffff;
export const HDR_ALLOC_LOCK = 100;
/** Elements made so far, and the most that there may be. */
export const HDR_MADE = 104;
export const HDR_LIMIT = 108;
/** Newest slab; a slab starts with {u32 next slab, u32 bytes}. */
export const HDR_SLABS = 112;
export const SLAB_NEXT = 0;
export const SLAB_BYTES = 4;
export const SLAB_HEADER = 16;
/** Queue, stack, ring buffer, LRU list: held during an operation. */
export const HDR_MAP_LOCK = 116;
/** LPM trie: odd during a change. */
export const HDR_MAP_SEQ = 120;
/** Ring buffer: 1 while a wake-up is on its way to the main thread. */
export const HDR_WAKING = 124;

// Hash tables: an array of chain heads, elements in slabs. A bucket is a u32 head; where threads share the memory {u32 head, u32 changes}.
export const BUCKET_BYTES = 4;
export const SHARED_BUCKET_BYTES = 8;
export const BUCKET_SEQ = 4;
export const HDR_BUCKETS = 48;
/** Number of buckets minus one. */
export const HDR_MASK = 52;
export const HDR_SEED = 56;
/** Released elements, linked through ELEM_FREE. Also LPM tries. */
export const HDR_FREE = 60;
/** Bytes of an element. Also LPM tries. */
export const HDR_ELEM_SIZE = 64;
/** Offset of the value inside an element. Also LPM tries. */
export const HDR_VALUE_OFF = 68;
/** LRU: most and least recently inserted element. */
export const HDR_LRU_HEAD = 72;
export const HDR_LRU_TAIL = 76;
/** Never used part of the newest slab. Also LPM tries. */
export const HDR_BUMP = 80;
export const HDR_BUMP_END = 84;

export const ELEM_NEXT = 0;
export const ELEM_HASH = 4;
/** Next released element; LRU elements in use: previous element, with the reference bit as bit 0. */
export const ELEM_FREE = 8;
export const ELEM_PREV = 8;
/** LRU elements in use: next element. Bit 0 is set while the element is released. */
export const ELEM_STATE = 12;
export const ELEM_KEY = 16;

// LPM tries.
export const HDR_ROOT = 48;
/** Bytes of a key after its prefix length. */
export const HDR_DATA_SIZE = 52;
export const NODE_CHILD0 = 0;
export const NODE_CHILD1 = 4;
/** Bit length; ELEM_FREE once released. */
export const NODE_PREFIX = 8;
/** 1: only a fork in the trie, not an entry. */
export const NODE_INTERMEDIATE = 12;
export const NODE_DATA = 16;
/** Keys with four bytes of data: the data as a number, most significant byte first. */
export const NODE_WORD = 20;

// Queue and stack.
export const HDR_HEAD = 48;
export const HDR_TAIL = 52;

// Ring buffer: the header fills page 0, then consumer page, producer page, and the data area twice.
export const HDR_RING_MASK = 48;
/** u64: position of the oldest record that is still being written. */
export const HDR_RING_PENDING = 56;
export const RING_PAGE = 4096;
export const RING_CONSUMER = 4096;
export const RING_PRODUCER = 8192;
export const RING_DATA = 12288;
/** Record header {u32 len, u32 pages from the map's header}; the sample follows, records are 8-byte aligned. */
export const RING_HEADER_SIZE = 8;
export const RING_BUSY = 0x80000000;
export const RING_DISCARD = 0x40000000;

export const HDR_SIZE = 128;
