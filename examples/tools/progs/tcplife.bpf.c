// SPDX-License-Identifier: Apache-2.0
// TCP connections from their first state to the last: who had them, how long, and how much went each way.
#include "common.h"

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6

enum { ESTABLISHED = 1, SYN_SENT = 2, SYN_RECV = 3, FIN_WAIT1 = 4, CLOSE = 7, LAST_ACK = 9 };

const volatile __u32 only_pid = 0;
const volatile __u16 only_family = 0;

/* sock:inet_sock_set_state */
struct set_state {
	__u64 common;
	const void *sk;
	int oldstate;
	int newstate;
	__u16 sport;
	__u16 dport;
	__u16 family;
	__u16 protocol;
	__u8 saddr[4];
	__u8 daddr[4];
	__u8 saddr_v6[16];
	__u8 daddr_v6[16];
};

struct tcp_sock {
	__u64 bytes_received;
	__u64 bytes_acked;
} __attribute__((preserve_access_index));

struct life {
	__u64 time;
	__u64 start;
	__u64 received;
	__u64 sent;
	/* The counters of the socket could be read. */
	__u32 counted;
	__u32 pid;
	__u16 family;
	__u16 sport;
	__u16 dport;
	char comm[TASK_COMM_LEN];
	__u8 saddr[16];
	__u8 daddr[16];
};
struct life *unused_life __attribute__((unused));

struct owner {
	__u32 pid;
	char comm[TASK_COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, const void *);
	__type(value, __u64);
} births SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, const void *);
	__type(value, struct owner);
} owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

static __always_inline void end(struct set_state *ctx, const void *sk, __u64 start, struct owner *owner)
{
	const struct tcp_sock *tcp = sk;
	struct life *life = bpf_ringbuf_reserve(&events, sizeof(*life), 0);

	if (!life) {
		__sync_fetch_and_add(&lost, 1);
		return;
	}
	life->time = bpf_ktime_get_ns();
	life->start = start;
	life->received = 0;
	life->sent = 0;
	life->counted = bpf_core_type_exists(struct tcp_sock) &&
			!bpf_core_read(&life->received, sizeof(life->received), &tcp->bytes_received) &&
			!bpf_core_read(&life->sent, sizeof(life->sent), &tcp->bytes_acked);
	life->pid = owner->pid;
	__builtin_memcpy(life->comm, owner->comm, sizeof(life->comm));
	life->family = ctx->family;
	life->sport = ctx->sport;
	life->dport = ctx->dport;
	__builtin_memset(life->saddr, 0, sizeof(life->saddr));
	__builtin_memset(life->daddr, 0, sizeof(life->daddr));
	if (ctx->family == AF_INET) {
		__builtin_memcpy(life->saddr, ctx->saddr, 4);
		__builtin_memcpy(life->daddr, ctx->daddr, 4);
	} else {
		__builtin_memcpy(life->saddr, ctx->saddr_v6, 16);
		__builtin_memcpy(life->daddr, ctx->daddr_v6, 16);
	}
	bpf_ringbuf_submit(life, 0);
}

SEC("tracepoint/sock/inet_sock_set_state")
int set_state(struct set_state *ctx)
{
	const void *sk = ctx->sk;
	struct owner mine = {}, *owner;
	__u64 now, *start;

	if (ctx->protocol != IPPROTO_TCP || (only_family && ctx->family != only_family))
		return 0;
	// Later states come in interrupts, when anybody may be current: these two are made by the process itself.
	if (ctx->newstate == SYN_SENT || ctx->newstate == LAST_ACK) {
		mine.pid = bpf_get_current_pid_tgid() >> 32;
		bpf_get_current_comm(mine.comm, sizeof(mine.comm));
		bpf_map_update_elem(&owners, &sk, &mine, BPF_ANY);
	}
	if (ctx->newstate < FIN_WAIT1) {
		// From its first state on.
		now = bpf_ktime_get_ns();
		bpf_map_update_elem(&births, &sk, &now, BPF_NOEXIST);
	}
	if (ctx->newstate != CLOSE)
		return 0;
	start = bpf_map_lookup_elem(&births, &sk);
	if (start) {
		owner = bpf_map_lookup_elem(&owners, &sk);
		if (!owner) {
			mine.pid = bpf_get_current_pid_tgid() >> 32;
			bpf_get_current_comm(mine.comm, sizeof(mine.comm));
			owner = &mine;
		}
		if (!only_pid || owner->pid == only_pid)
			end(ctx, sk, *start, owner);
	}
	bpf_map_delete_elem(&births, &sk);
	bpf_map_delete_elem(&owners, &sk);
	return 0;
}
