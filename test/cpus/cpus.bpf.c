// What the tests of CPUs run.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} own SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
} samples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct guarded {
	struct bpf_spin_lock lock;
	__u32 n;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct guarded);
} guarded SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 8);
		__type(key, __u32);
		__type(value, __u64);
	});
} outer SEC(".maps");

struct timed {
	struct bpf_timer timer;
};

struct bpf_res_spin_lock {
	__u32 val;
};

struct resilient {
	struct bpf_res_spin_lock lock;
	__u32 n;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct resilient);
} resilients SEC(".maps");

extern int bpf_res_spin_lock(struct bpf_res_spin_lock *lock) __ksym;
extern void bpf_res_spin_unlock(struct bpf_res_spin_lock *lock) __ksym;

__u64 visited, visited_sum, timeouts;

SEC("xdp") int whoami(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&own, &zero);

	if (n)
		*n += 1;
	return bpf_get_smp_processor_id();
}

SEC("xdp") int print(struct xdp_md *ctx)
{
	bpf_printk("on CPU %d", bpf_get_smp_processor_id());
	return 0;
}

SEC("xdp") int sample(struct xdp_md *ctx)
{
	__u64 value = 0x1234;

	return bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU, &value, sizeof(value));
}

SEC("xdp") int send(struct xdp_md *ctx)
{
	__u64 value = bpf_get_smp_processor_id();

	return bpf_ringbuf_output(&ring, &value, sizeof(value), 0);
}

SEC("xdp") int hold(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct guarded *value = bpf_map_lookup_elem(&guarded, &zero);
	int i;

	if (!value)
		return 0;
	bpf_spin_lock(&value->lock);
	for (i = 0; i < 100000; i++)
		value->n += i;
	bpf_spin_unlock(&value->lock);
	return 1;
}

/* Runs out of its budget with a record that it has not committed, and with a resilient lock. */
SEC("xdp") int strand(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct resilient *value = bpf_map_lookup_elem(&resilients, &zero);
	__u32 *record = bpf_ringbuf_reserve(&ring, 4, 0);

	if (!record)
		return 0;
	if (value && bpf_res_spin_lock(&value->lock) == 0) {
		for (int i = 0; i < 100000; i++)
			value->n++;
		bpf_res_spin_unlock(&value->lock);
	}
	bpf_ringbuf_submit(record, 0);
	return 0;
}

/* An iterator belongs to the run. */
SEC("xdp") int iterate(struct xdp_md *ctx)
{
	int i, sum = 0;

	bpf_for(i, 0, 10)
		sum += i;
	return sum;
}

SEC("xdp") int take(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct guarded *value = bpf_map_lookup_elem(&guarded, &zero);

	if (!value)
		return 0;
	bpf_spin_lock(&value->lock);
	value->n = 7;
	bpf_spin_unlock(&value->lock);
	return 7;
}

SEC("xdp") int resilient(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct resilient *value = bpf_map_lookup_elem(&resilients, &zero);

	if (!value)
		return 0;
	if (bpf_res_spin_lock(&value->lock)) {
		__sync_fetch_and_add(&timeouts, 1);
		return 1;
	}
	value->n += 1;
	bpf_res_spin_unlock(&value->lock);
	return 0;
}

SEC("xdp") int inner(struct xdp_md *ctx)
{
	__u32 zero = 0, key = 5;
	__u64 value = 9, *found;
	void *map = bpf_map_lookup_elem(&outer, &zero);

	if (!map)
		return 1;
	bpf_map_update_elem(map, &key, &value, BPF_ANY);
	found = bpf_map_lookup_elem(map, &key);
	return found ? *found : 2;
}

static long visit(void *map, __u32 *key, __u64 *value, void *ctx)
{
	__sync_fetch_and_add(&visited, 1);
	__sync_fetch_and_add(&visited_sum, *value);
	return 0;
}

SEC("xdp") int walk(struct xdp_md *ctx)
{
	return bpf_for_each_map_elem(&own, visit, 0, 0);
}

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct timed);
} waiting SEC(".maps");

__u64 ticks, tick_keys, tick_cpus;

static int tick(void *map, int *key, struct timed *value)
{
	__sync_fetch_and_add(&ticks, 1);
	__sync_fetch_and_add(&tick_keys, *key);
	__sync_fetch_and_add(&tick_cpus, bpf_get_smp_processor_id());
	return 0;
}

static int other_tick(void *map, int *key, struct timed *value)
{
	__sync_fetch_and_add(&ticks, 1000);
	return 0;
}

/* A timer in an element of this CPU; 1: cancels it, 2: deletes the element, 3: replaces it. */
static int arm(int then)
{
	__u32 key = bpf_get_smp_processor_id() * 2 + 1;
	struct timed fresh = {}, *value;

	bpf_map_update_elem(&waiting, &key, &fresh, BPF_ANY);
	value = bpf_map_lookup_elem(&waiting, &key);
	if (!value)
		return -1;
	if (bpf_timer_init(&value->timer, &waiting, 1))
		return -2;
	if (bpf_timer_set_callback(&value->timer, key == 1000 ? other_tick : tick))
		return -3;
	if (bpf_timer_start(&value->timer, 1000, 0))
		return -4;
	if (then == 1)
		return bpf_timer_cancel(&value->timer);
	if (then == 2)
		return bpf_map_delete_elem(&waiting, &key);
	if (then == 3)
		return bpf_map_update_elem(&waiting, &key, &fresh, BPF_EXIST);
	return 0;
}

SEC("xdp") int timer_start(struct xdp_md *ctx)
{
	return arm(0);
}

SEC("xdp") int timer_cancel(struct xdp_md *ctx)
{
	return arm(1);
}

SEC("xdp") int timer_delete(struct xdp_md *ctx)
{
	return arm(2);
}

SEC("xdp") int timer_replace(struct xdp_md *ctx)
{
	return arm(3);
}

struct kept {
	long n;
};

struct keeper {
	struct kept __kptr *kept;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct keeper);
} keepers SEC(".maps");

SEC("xdp") int keep(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct keeper *value = bpf_map_lookup_elem(&keepers, &zero);

	return value && value->kept;
}

SEC("xdp") int length(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data > 60 ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
