// SPDX-License-Identifier: Apache-2.0
// Counts packets and bytes per IP protocol and drops what comes from a blocked network.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct counters {
	__u64 packets;
	__u64 bytes;
	__u64 dropped;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct counters);
} protocols SEC(".maps");

struct network {
	__u32 prefix_length;
	__be32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct network);
	__type(value, __u32);
} blocked SEC(".maps");

static __always_inline struct counters *count(__u32 protocol, __u64 bytes)
{
	struct counters *counters = bpf_map_lookup_elem(&protocols, &protocol);

	if (counters) {
		__sync_fetch_and_add(&counters->packets, 1);
		__sync_fetch_and_add(&counters->bytes, bytes);
	}
	return counters;
}

SEC("xdp")
int xdp_filter(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__u64 length = data_end - data;

	if ((void *)(eth + 1) > data_end)
		return XDP_DROP;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);
		struct network source = { .prefix_length = 32 };
		struct counters *counters;

		if ((void *)(ip + 1) > data_end)
			return XDP_DROP;
		counters = count(ip->protocol, length);
		source.address = ip->saddr;
		if (bpf_map_lookup_elem(&blocked, &source)) {
			if (counters)
				__sync_fetch_and_add(&counters->dropped, 1);
			return XDP_DROP;
		}
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = (void *)(eth + 1);

		if ((void *)(ip6 + 1) > data_end)
			return XDP_DROP;
		count(ip6->nexthdr, length);
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
