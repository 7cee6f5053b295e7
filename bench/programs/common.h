/* What every measured program needs. All are XDP programs that get the packet of bench/packet.ts. */
#pragma once
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MEASURED SEC("xdp") int

char LICENSE[] SEC("license") = "Dual BSD/GPL";
