// SPDX-License-Identifier: Apache-2.0
/* What XDP programs in service do: a load balancer and a firewall, each with its maps and counters. */
#include "common.h"

#define MAP(map_type, key_type, value_type, entries, name) \
	struct {                                    \
		__uint(type, map_type);             \
		__type(key, key_type);               \
		__type(value, value_type);           \
		__uint(max_entries, entries);       \
	} name SEC(".maps")

struct flow {
	__u32 source, destination;
	__u16 source_port, destination_port;
	__u32 protocol;
};

struct service {
	__u32 address;
	__u16 port;
	__u16 protocol;
};

struct backend {
	__u32 address;
	__u8 mac[ETH_ALEN];
	__u16 unused;
};

struct traffic {
	__u64 packets, bytes;
};

typedef __u32 u32;

#define BACKENDS 16
MAP(BPF_MAP_TYPE_HASH, struct service, u32, 64, services);
MAP(BPF_MAP_TYPE_LRU_HASH, struct flow, u32, 4096, connections);
MAP(BPF_MAP_TYPE_ARRAY, u32, struct backend, BACKENDS, backends);
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, u32, struct traffic, BACKENDS, traffic);
MAP(BPF_MAP_TYPE_HASH, u32, u32, 1024, blocked);
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, u32, struct traffic, 4, verdicts);

static __always_inline __u32 rotate(__u32 x, int by)
{
	return (x << by) | (x >> (32 - by));
}

/* Three words to one, as Jenkins' hash ends. */
static __always_inline __u32 mix(__u32 a, __u32 b, __u32 c)
{
	c ^= b; c -= rotate(b, 14);
	a ^= c; a -= rotate(c, 11);
	b ^= a; b -= rotate(a, 25);
	c ^= b; c -= rotate(b, 16);
	a ^= c; a -= rotate(c, 4);
	b ^= a; b -= rotate(a, 14);
	c ^= b; c -= rotate(b, 24);
	return c;
}

static __always_inline __u16 folded(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static __always_inline void count(void *map, __u32 index, __u32 length)
{
	struct traffic *seen = bpf_map_lookup_elem(map, &index);

	if (!seen)
		return;
	seen->packets++;
	seen->bytes += length;
}

/* A flow keeps its server: connection table, else hash; then the new destination and the right checksum. */
MEASURED balancer(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct service service = {};
	struct flow flow = {};
	struct backend *backend;
	__u32 *known, chosen;
	__u64 sum;

	if ((void *)(tcp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 || ip->protocol != IPPROTO_TCP)
		return XDP_PASS;
	flow.source = ip->saddr;
	flow.destination = ip->daddr;
	flow.source_port = tcp->source;
	flow.destination_port = tcp->dest;
	flow.protocol = ip->protocol;
	service.address = 0;
	service.port = tcp->dest;
	service.protocol = ip->protocol;
	known = bpf_map_lookup_elem(&services, &service);
	if (!known) {
		__u32 on = 1;

		bpf_map_update_elem(&services, &service, &on, BPF_ANY);
		return XDP_DROP;
	}
	known = bpf_map_lookup_elem(&connections, &flow);
	if (known) {
		chosen = *known;
	} else {
		chosen = mix(flow.source, flow.source_port << 16 | flow.destination_port, flow.destination) % BACKENDS;
		bpf_map_update_elem(&connections, &flow, &chosen, BPF_ANY);
	}
	backend = bpf_map_lookup_elem(&backends, &chosen);
	if (!backend)
		return XDP_DROP;
	sum = (__u16)~ip->check + (__u64)(__u32)~ip->daddr + backend->address;
	ip->check = ~folded(sum);
	ip->daddr = backend->address;
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, backend->mac, ETH_ALEN);
	count(&traffic, chosen, end - data);
	return XDP_TX;
}

/* Blocked sources, then a port range, with a counter a verdict. */
MEASURED firewall(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 source, verdict = XDP_PASS, *hit;
	__u16 port;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	source = ip->saddr;
	hit = bpf_map_lookup_elem(&blocked, &source);
	if (hit) {
		*hit += 1;
		verdict = XDP_DROP;
	} else if (ip->protocol == IPPROTO_TCP && (void *)(tcp + 1) <= end) {
		port = bpf_ntohs(tcp->dest);
		if (port >= 6000 && port < 6064)
			verdict = XDP_DROP;
	}
	count(&verdicts, verdict & 3, end - data);
	return verdict;
}
