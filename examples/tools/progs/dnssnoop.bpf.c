// SPDX-License-Identifier: Apache-2.0
// A socket filter that keeps copies of DNS messages over UDP, and lets nothing into its own socket.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PACKET_OUTGOING 4
#define LOOPBACK 1
#define PAYLOAD 512

const volatile __u32 only_ifindex = 0;
const volatile __u16 port = 53;

__u64 lost;

struct dns_event {
	__u64 time;
	__u32 ifindex;
	__u16 family;
	__u16 sport;
	__u16 dport;
	/* Bytes of the payload that are here, and that the message has. */
	__u16 size;
	__u16 length;
	__u8 saddr[16];
	__u8 daddr[16];
	__u8 payload[PAYLOAD];
};
struct dns_event *unused_dns_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

/* One event is put together here: it is too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dns_event);
} scratch SEC(".maps");

struct udp {
	__be16 source;
	__be16 dest;
	__be16 len;
	__be16 check;
};

SEC("socket")
int dns(struct __sk_buff *skb)
{
	__u32 zero = 0, at = ETH_HLEN, size;
	struct dns_event *event;
	__u16 protocol;
	struct udp udp;
	__u8 first, next;

	if (only_ifindex && skb->ifindex != only_ifindex)
		return 0;
	// On the loopback interface each packet comes by twice.
	if (skb->ifindex == LOOPBACK && skb->pkt_type == PACKET_OUTGOING)
		return 0;
	event = bpf_map_lookup_elem(&scratch, &zero);
	if (!event || bpf_skb_load_bytes(skb, ETH_HLEN - 2, &protocol, sizeof(protocol)))
		return 0;
	__builtin_memset(event->saddr, 0, sizeof(event->saddr));
	__builtin_memset(event->daddr, 0, sizeof(event->daddr));
	if (protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, at, &first, 1) || bpf_skb_load_bytes(skb, at + 9, &next, 1) ||
		    bpf_skb_load_bytes(skb, at + 12, event->saddr, 4) ||
		    bpf_skb_load_bytes(skb, at + 16, event->daddr, 4))
			return 0;
		event->family = 2;
		at += (first & 0xf) * 4;
	} else if (protocol == bpf_htons(ETH_P_IPV6)) {
		if (bpf_skb_load_bytes(skb, at + 6, &next, 1) ||
		    bpf_skb_load_bytes(skb, at + 8, event->saddr, 16) ||
		    bpf_skb_load_bytes(skb, at + 24, event->daddr, 16))
			return 0;
		event->family = 10;
		at += 40;
	} else {
		return 0;
	}
	if (next != IPPROTO_UDP || bpf_skb_load_bytes(skb, at, &udp, sizeof(udp)))
		return 0;
	event->sport = bpf_ntohs(udp.source);
	event->dport = bpf_ntohs(udp.dest);
	if (event->sport != port && event->dport != port)
		return 0;
	event->length = bpf_ntohs(udp.len) - sizeof(udp);
	size = skb->len - at - sizeof(udp);
	if (size > event->length)
		size = event->length;
	if (size > PAYLOAD)
		size = PAYLOAD;
	if (size == 0 || bpf_skb_load_bytes(skb, at + sizeof(udp), event->payload, size))
		return 0;
	event->size = size;
	event->time = bpf_ktime_get_ns();
	event->ifindex = skb->ifindex;
	if (bpf_ringbuf_output(&events, event, sizeof(*event), 0))
		__sync_fetch_and_add(&lost, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
