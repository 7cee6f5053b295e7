/** CPUs in turns: what a seed finds, that it repeats, locks that are waited for, deadlocks and races. */
import { describe, expect, it } from 'vitest';
import { build, type Setup, setUp } from './support.ts';

const COUNTERS = build(`
struct locked { struct bpf_spin_lock lock; __u64 value; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } counts SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct locked); } guarded SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } own SEC(".maps");

SEC("xdp") int plain(struct xdp_md *ctx) {
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);
	if (value)
		*value += 1; /* here */
	return bpf_get_smp_processor_id();
}
SEC("xdp") int atomic(struct xdp_md *ctx) {
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);
	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}
SEC("xdp") int locked(struct xdp_md *ctx) {
	__u32 key = 0;
	struct locked *value = bpf_map_lookup_elem(&guarded, &key);
	if (!value)
		return 1;
	bpf_spin_lock(&value->lock);
	value->value += 1;
	bpf_spin_unlock(&value->lock);
	return 0;
}
static int round(__u32 i, void *ctx) {
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);
	if (value)
		*value += 1;
	return 0;
}
SEC("xdp") int looped(struct xdp_md *ctx) { return bpf_loop(10, round, 0, 0); }
SEC("xdp") int percpu(struct xdp_md *ctx) {
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&own, &key);
	if (value)
		*value += 1;
	return 0;
}
SEC("xdp") int clock(struct xdp_md *ctx) { return bpf_ktime_get_ns() ^ bpf_get_prandom_u32(); }
`);
const SEEDS = Array.from({ length: 60 }, (_, i) => i);

function twice(name: string, seed: number, races = false) {
  const setup = setUp(COUNTERS);
  const result = setup.interleave({ programs: [[name], [name]], seed, races });
  return { ...setup, result };
}

/** What `read` gives at the end of each seed, all from the same start. */
function explore<T>(name: string, read: (setup: Setup) => T): T[] {
  const setup = setUp(COUNTERS);
  const found: T[] = [];
  for (const seed of SEEDS)
    setup.interleave({
      programs: [[name], [name]],
      seed,
      rewindAfter: () => found.push(read(setup)),
    });
  return found;
}

describe('a seed', () => {
  it('finds the lost update of a plain counter, and its schedule shows it again', () => {
    const counts = explore('plain', (setup) => setup.value('counts'));
    expect(new Set(counts)).toEqual(new Set([1, 2]));
    // In a kernel of its own, too.
    const { result, value } = twice('plain', SEEDS[counts.indexOf(1)]!);
    expect(value('counts')).toBe(1);
    const { schedule } = result;
    expect(schedule).toMatch(/^\d:\d+( \d:\d+)+$/);
    const again = setUp(COUNTERS);
    const replay = again.interleave({ programs: [['plain'], ['plain']], schedule });
    expect(again.value('counts')).toBe(1);
    expect(replay.schedule).toBe(schedule);
    expect(replay.results).toEqual([[0], [1]]);
  });

  it('loses nothing where the counter is atomic, locked, or one a CPU', () => {
    expect(new Set(explore('atomic', (setup) => setup.value('counts')))).toEqual(new Set([2]));
    expect(new Set(explore('locked', (setup) => setup.bytes('guarded').getUint32(8, true)))).toEqual(
      new Set([2]),
    );
    const own = explore('percpu', (setup) =>
      [0, 8].map((at) => setup.bytes('own').getUint32(at, true)).join(),
    );
    expect(new Set(own)).toEqual(new Set(['1,1']));
  });

  it('interleaves the rounds of bpf_loop', () => {
    expect(Math.min(...explore('looped', (setup) => setup.value('counts')))).toBeLessThan(20);
    expect(twice('looped', 1).result.results).toEqual([[10], [10]]);
  });

  it('gives the same time and random numbers each time', () => {
    expect(twice('clock', 3).result).toEqual(twice('clock', 3).result);
  });

  it('runs several runs of a CPU one after the other', () => {
    const setup = setUp(COUNTERS, 3);
    const { results, instructions } = setup.interleave({
      programs: [['atomic', 'atomic'], ['atomic'], ['plain']],
      seed: 5,
      slice: 2,
    });
    expect(results).toEqual([[0, 0], [0], [2]]);
    expect(instructions).toBeGreaterThan(30);
  });
});

describe('locks', () => {
  it('are waited for: the value behind one is exact, and no deadlock is told of', () => {
    const setup = setUp(COUNTERS, 4);
    for (const seed of SEEDS) {
      const { deadlocks } = setup.interleave({
        programs: Array.from({ length: 4 }, () => ['locked', 'locked']),
        seed,
      });
      expect(deadlocks).toEqual([]);
    }
    expect(setup.bytes('guarded').getUint32(8, true)).toBe(8 * SEEDS.length);
  });
});

describe('races', () => {
  it('are found whatever the interleaving, with both lines and the memory', () => {
    const setup = setUp(COUNTERS);
    for (const seed of SEEDS) {
      const { races } = setup.interleave({ programs: [['plain'], ['plain']], seed, races: true });
      expect(races.length).toBeGreaterThan(0);
      const [race] = races;
      expect(race!.memory).toBe("the value of map 'counts', bytes 0 to 7");
      expect(new Set([race!.first.cpu, race!.second.cpu])).toEqual(new Set([0, 1]));
      expect(race!.first.source?.text).toContain('*value += 1; /* here */');
      expect([race!.first.access, race!.second.access]).toContain('write');
    }
  });

  it('are not found where locks or atomic operations keep order, or each CPU has its own', () => {
    const setup = setUp(COUNTERS);
    for (const name of ['atomic', 'locked', 'percpu'])
      for (const seed of SEEDS)
        expect(setup.interleave({ programs: [[name], [name]], seed, races: true }).races, name).toEqual([]);
  });

  it('of a plain store beside an atomic operation are found', () => {
    const setup = setUp(COUNTERS);
    const { races } = setup.interleave({ programs: [['plain'], ['atomic']], seed: 1, races: true });
    expect(races.map(({ first, second }) => [first.access, second.access].sort().join())).toContain(
      'atomic,write',
    );
  });
});

describe('what does not fit is refused', () => {
  it('compiled programs, too many CPUs, schedules of something else', () => {
    expect(() => setUp(COUNTERS, 2, 1).interleave({ programs: [['plain']] })).toThrow(/'plain' is compiled/);
    expect(() => setUp(COUNTERS, 1).interleave({ programs: [['plain'], ['plain']] })).toThrow(
      /2 CPUs of a machine that has 1/,
    );
    const bad = (schedule: string) => () =>
      setUp(COUNTERS).interleave({ programs: [['plain'], ['plain']], schedule });
    expect(bad('0:x')).toThrow(/'0:x' is no part of a schedule/);
    expect(bad('7:3')).toThrow(/slice 1 of the schedule is for CPU 7/);
    expect(bad('0:1')).toThrow(/the schedule ends after 1 slices/);
    expect(() => setUp(COUNTERS).interleave({ programs: [['plain']], slice: 0 })).toThrow(/slice of 0/);
    expect(() => setUp(COUNTERS).interleave({ programs: [] })).toThrow(/0 CPUs/);
  });

  it('an endless run is stopped by the limit', () => {
    const { results, instructions } = setUp(COUNTERS).interleave({
      programs: [['looped'], ['plain']],
      limit: 50,
      slice: 3,
    });
    expect(instructions).toBeGreaterThanOrEqual(50);
    expect(results.flat()).toContain(null);
  });
});

const CROSSED = build(`
struct bpf_res_spin_lock { __u32 val; };
struct locked { struct bpf_res_spin_lock lock; __u32 value; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, struct locked); } pair SEC(".maps");
extern int bpf_res_spin_lock(struct bpf_res_spin_lock *lock) __ksym;
extern void bpf_res_spin_unlock(struct bpf_res_spin_lock *lock) __ksym;

static __always_inline int both(__u32 one, __u32 two) {
	struct locked *a = bpf_map_lookup_elem(&pair, &one), *b = bpf_map_lookup_elem(&pair, &two);
	int failed = 0;
	if (!a || !b)
		return 1;
	if (bpf_res_spin_lock(&a->lock)) /* first */
		return 2;
	if (bpf_res_spin_lock(&b->lock)) { /* second */
		failed = 3;
	} else {
		b->value += 1;
		bpf_res_spin_unlock(&b->lock);
	}
	bpf_res_spin_unlock(&a->lock);
	return failed;
}
SEC("tc") int forward(struct __sk_buff *skb) { return both(0, 1); }
SEC("tc") int backward(struct __sk_buff *skb) { return both(1, 0); }
`);

describe('deadlocks', () => {
  it('are found, with where each lock was taken and where it is waited for; one of the locks gives up', () => {
    const setup = setUp(CROSSED);
    const found = SEEDS.map((seed) =>
      setup.interleave({ programs: [['forward'], ['backward']], seed }),
    ).filter(({ deadlocks }) => deadlocks.length > 0);
    expect(found.length).toBeGreaterThan(0);
    expect(found.length).toBeLessThan(SEEDS.length);
    for (const { deadlocks, results } of found) {
      expect(deadlocks).toHaveLength(1);
      const [{ waits, recovered }] = deadlocks as [(typeof deadlocks)[0]];
      expect(recovered).toBe(true);
      expect(waits.map(({ at }) => at.cpu).sort()).toEqual([0, 1]);
      for (const { at, takenAt, lock } of waits) {
        expect(at.source?.text).toContain('/* second */');
        expect(takenAt?.source?.text).toContain('/* first */');
        expect(takenAt?.cpu).toBe(1 - at.cpu);
        expect(lock).toMatch(/^values of map \d+ \(pair\), bytes/);
      }
      expect(results.flat().sort()).toEqual([0, 3]);
    }
    // The locks are free afterwards.
    expect(setup.interleave({ programs: [['forward', 'backward']] }).results).toEqual([[0, 0]]);
  });
});

describe('exceptions', () => {
  const THROWING = build(`
extern void bpf_throw(__u64 cookie) __ksym;
static __attribute__((noinline)) int check(int n) { if (n > 2) bpf_throw(n * 100); return n; }
SEC("tc") int throws(struct __sk_buff *ctx) { return check(1) + check(2) + check(bpf_get_smp_processor_id() + 3); }
SEC("tc") int returns(struct __sk_buff *ctx) { int n = 0; for (int i = 0; i < 20; i++) n += check(i & 1); return n; }
`);

  it('are those of the CPU that throws', () => {
    const setup = setUp(THROWING, 3);
    for (const seed of SEEDS) {
      const { results } = setup.interleave({ programs: [['throws'], ['returns'], ['throws']], seed });
      expect(results, `seed ${seed}`).toEqual([[300], [10], [500]]);
    }
  });
});
