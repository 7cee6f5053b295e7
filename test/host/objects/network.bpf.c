/* Programs of network places: each counts what it sees and lets it pass. */
#include <linux/types.h>
#include "watch.h"

struct bpf_nf_ctx;

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

#define PASS(section, name, context, verdict) \
	SEC(section)                          \
	int name(context *ctx)                \
	{                                     \
		seen();                       \
		return verdict;               \
	}

PASS("tcx/ingress", tcx_in, struct __sk_buff, -1)
PASS("tcx/egress", tcx_out, struct __sk_buff, -1)
PASS("tc", classify, struct __sk_buff, 0)
PASS("xdp", xdp_pass, struct xdp_md, 2)
PASS("cgroup_skb/egress", cgroup_out, struct __sk_buff, 1)
PASS("cgroup/skb", cgroup_open, struct __sk_buff, 1)
PASS("cgroup/connect4", cgroup_connect, struct bpf_sock_addr, 1)
PASS("sockops", socket_events, struct bpf_sock_ops, 1)
PASS("sk_lookup", look_up, struct bpf_sk_lookup, 1)
PASS("flow_dissector", dissect, struct __sk_buff, 129)
PASS("sk_msg", message, struct sk_msg_md, 1)
PASS("sk_skb/stream_verdict", stream, struct __sk_buff, 1)
PASS("?netfilter", hooked, struct bpf_nf_ctx, 1)
