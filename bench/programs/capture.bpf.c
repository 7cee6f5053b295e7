// SPDX-License-Identifier: Apache-2.0
/* What bench:packets runs over a capture: frames that tcpdump's `udp port 53` takes pass, all others are dropped. */
#include <linux/ipv6.h>
#include "common.h"

struct ports {
	__be16 source;
	__be16 dest;
};

static __always_inline int is_dns(struct ports *ports, void *end)
{
	if ((void *)(ports + 1) > end)
		return 0;
	return ports->source == bpf_htons(53) || ports->dest == bpf_htons(53);
}

MEASURED udp_port_53(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	int taken = 0;

	if ((void *)(eth + 1) > end)
		return XDP_DROP;
	if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) <= end && ip->nexthdr == IPPROTO_UDP)
			taken = is_dns((void *)(ip + 1), end);
	} else if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) <= end && ip->protocol == IPPROTO_UDP && !(ip->frag_off & bpf_htons(0x1fff)))
			taken = is_dns((void *)ip + ip->ihl * 4, end);
	}
	return taken ? XDP_PASS : XDP_DROP;
}
