// SPDX-License-Identifier: Apache-2.0
// A socket filter that gives its socket the first 64 bytes of every UDP packet and counts packets by size, per CPU.
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define SNAP 64
#define SLOTS 12

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} packets_by_size SEC(".maps");

SEC("socket")
int first_bytes(struct __sk_buff *skb)
{
	__u32 slot = 0;
	__u64 *count;
	__u8 protocol;

	/* Slot n: packets of 2^n bytes and more, but fewer than 2^(n+1). */
	for (__u32 size = skb->len; size > 1 && slot < SLOTS - 1; size >>= 1)
		slot++;
	count = bpf_map_lookup_elem(&packets_by_size, &slot);
	if (count)
		*count += 1;
	if (skb->protocol != bpf_htons(ETH_P_IP))
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, protocol), &protocol, sizeof(protocol)))
		return 0;
	return protocol == IPPROTO_UDP ? SNAP : 0;
}

char LICENSE[] SEC("license") = "GPL";
