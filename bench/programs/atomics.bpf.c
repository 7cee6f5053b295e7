// SPDX-License-Identifier: Apache-2.0
/* Atomic instructions on global data, ten of each kind a run. */
#include "common.h"

static __u64 counter, bits;
static __u32 narrow, owner;

#define TEN _Pragma("clang loop unroll(disable)") for (int i = 0; i < 10; i++)

MEASURED atomic_add(struct xdp_md *ctx)
{
	TEN __sync_fetch_and_add(&counter, i);
	return 0;
}

MEASURED atomic_fetch_add(struct xdp_md *ctx)
{
	__u64 sum = 0;

	TEN sum |= __sync_fetch_and_add(&counter, 1);
	return sum == 0;
}

MEASURED atomic_bits(struct xdp_md *ctx)
{
	TEN {
		__sync_fetch_and_or(&bits, 1ULL << i);
		__sync_fetch_and_and(&bits, ~(1ULL << i));
		__sync_fetch_and_xor(&bits, 0x100);
	}
	return 0;
}

/* A lock taken and left by compare and exchange. */
MEASURED atomic_exchange(struct xdp_md *ctx)
{
	__u32 taken = 0;

	TEN {
		taken += __sync_val_compare_and_swap(&owner, 0, 1) == 0;
		__sync_lock_test_and_set(&narrow, i);
		__sync_val_compare_and_swap(&owner, 1, 0);
	}
	return taken;
}
