// Maps from before BTF-defined ones, compiled without debug information.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_map_def { unsigned int type, key_size, value_size, max_entries, map_flags; };
struct bpf_map_def SEC("maps") first = { .type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1 };
struct bpf_map_def SEC("maps") second = { .type = BPF_MAP_TYPE_HASH, .key_size = 8, .value_size = 16, .max_entries = 10, .map_flags = 1 };

SEC("kprobe/do_unlinkat") int probe(void *ctx)
{
	int key = 0;
	long *value = bpf_map_lookup_elem(&first, &key);
	if (value)
		__sync_fetch_and_add(value, 1);
	long big = 0;
	bpf_map_lookup_elem(&second, &big);
	return 0;
}
char _license[] SEC("license") = "Dual MIT/GPL";
