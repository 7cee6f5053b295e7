// SPDX-License-Identifier: Apache-2.0
// Two programs with mistakes that the verifier finds: try `tsbpf verify` on the object.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

/* Reads the Ethernet header without asking whether the packet is long enough to have one. */
SEC("xdp")
int unchecked_packet(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	return eth->h_proto == bpf_htons(ETH_P_IP) ? XDP_DROP : XDP_PASS;
}

/* Adds to what a lookup has found without asking whether it has found anything. */
SEC("xdp")
int unchecked_lookup(struct xdp_md *ctx)
{
	__u32 key = ctx->ingress_ifindex;
	__u64 *count = bpf_map_lookup_elem(&seen, &key);

	__sync_fetch_and_add(count, 1);
	return XDP_PASS;
}

/* Nothing is wrong with this one. */
SEC("xdp")
int checked(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	return eth->h_proto == bpf_htons(ETH_P_IP) ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
