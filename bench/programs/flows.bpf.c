// A packet workload for several CPUs: filters by network, counts each flow and what each CPU has seen.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

struct flow {
	__u32 source;
	__u32 target;
	__u16 source_port;
	__u16 target_port;
	__u32 protocol;
};

struct counts {
	__u64 packets;
	__u64 bytes;
};

struct network {
	__u32 prefix;
	__u32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow);
	__type(value, struct counts);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 256);
	__type(key, struct network);
	__type(value, __u32);
} blocked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counts);
} seen SEC(".maps");

SEC("xdp") int count_flows(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 zero = 0;
	struct counts *mine, *counts;

	if ((void *)(tcp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_TCP)
		return XDP_PASS;
	mine = bpf_map_lookup_elem(&seen, &zero);
	if (mine) {
		mine->packets += 1;
		mine->bytes += end - data;
	}
	struct network from = { 32, ip->saddr };
	if (bpf_map_lookup_elem(&blocked, &from))
		return XDP_DROP;
	struct flow flow = { ip->saddr, ip->daddr, tcp->source, tcp->dest, ip->protocol };
	counts = bpf_map_lookup_elem(&flows, &flow);
	if (!counts) {
		struct counts first = {};
		bpf_map_update_elem(&flows, &flow, &first, BPF_NOEXIST);
		counts = bpf_map_lookup_elem(&flows, &flow);
		if (!counts)
			return XDP_PASS;
	}
	__sync_fetch_and_add(&counts->packets, 1);
	__sync_fetch_and_add(&counts->bytes, end - data);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
