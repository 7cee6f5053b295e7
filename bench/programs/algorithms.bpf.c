// SPDX-License-Identifier: Apache-2.0
/* Arithmetic and memory as well known algorithms have it, no calls. */
#include "common.h"

__u8 text[64] = "The quick brown fox jumps over the lazy dog, and over a cat";

/* FNV-1a over 64 bytes: a 64-bit product a byte. */
MEASURED fnv1a(struct xdp_md *ctx)
{
	__u64 hash = 0xcbf29ce484222325ULL;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < sizeof(text); i++) {
		hash ^= text[i] + i;
		hash *= 0x100000001b3ULL;
	}
	return hash ^ (hash >> 32);
}

static const __u32 round_constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static __u32 schedule[64];

static __always_inline __u32 right(__u32 x, int by)
{
	return (x >> by) | (x << (32 - by));
}

/* SHA-256 of one block: 32-bit rotates, xor and additions, tables in memory. */
MEASURED sha256(struct xdp_md *ctx)
{
	__u32 a = 0x6a09e667, b = 0xbb67ae85, c = 0x3c6ef372, d = 0xa54ff53a;
	__u32 e = 0x510e527f, f = 0x9b05688c, g = 0x1f83d9ab, h = 0x5be0cd19;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 16; i++)
		schedule[i] = i * 0x01010101;
#pragma clang loop unroll(disable)
	for (int i = 16; i < 64; i++) {
		__u32 x = schedule[i - 15], y = schedule[i - 2];

		schedule[i] = schedule[i - 16] + (right(x, 7) ^ right(x, 18) ^ (x >> 3)) + schedule[i - 7] +
			      (right(y, 17) ^ right(y, 19) ^ (y >> 10));
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < 64; i++) {
		__u32 t = h + (right(e, 6) ^ right(e, 11) ^ right(e, 25)) + ((e & f) ^ (~e & g)) + round_constants[i] + schedule[i];
		__u32 u = (right(a, 2) ^ right(a, 13) ^ right(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));

		h = g; g = f; f = e; e = d + t;
		d = c; c = b; b = a; a = t + u;
	}
	return a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
}

#define SORTED 24
static __u32 numbers[SORTED];

/* Bubble sort of 24 numbers: compares and swaps in memory. */
MEASURED sort(struct xdp_md *ctx)
{
	__u32 x = 12345;

#pragma clang loop unroll(disable)
	for (int i = 0; i < SORTED; i++) {
		x = x * 1103515245 + 12345;
		numbers[i] = x >> 8;
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < SORTED - 1; i++) {
#pragma clang loop unroll(disable)
		for (int j = 0; j < SORTED - 1; j++) {
			__u32 low = numbers[j], high = numbers[j + 1];

			if (low > high) {
				numbers[j] = high;
				numbers[j + 1] = low;
			}
		}
	}
	return numbers[0] ^ numbers[SORTED - 1];
}

/* Bits of 100 numbers, by masks and a product. */
MEASURED popcount(struct xdp_md *ctx)
{
	__u64 state = 88172645463325252ULL + ctx->rx_queue_index;
	__u32 bits = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 100; i++) {
		__u64 x;

		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		x = state;
		x -= (x >> 1) & 0x5555555555555555ULL;
		x = (x & 0x3333333333333333ULL) + ((x >> 2) & 0x3333333333333333ULL);
		x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
		bits += (x * 0x0101010101010101ULL) >> 56;
	}
	return bits;
}

#define POINTS 64
static __s32 samples[POINTS], smoothed[POINTS];

/* A moving average of four signed numbers: 32-bit sums and shifts in memory. */
MEASURED smooth(struct xdp_md *ctx)
{
	__s32 sum = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < POINTS; i++)
		samples[i] = (i * 7919) % 1009 - 500;
#pragma clang loop unroll(disable)
	for (int i = 0; i < POINTS - 4; i++)
		smoothed[i] = (samples[i] + samples[i + 1] + samples[i + 2] + samples[i + 3]) >> 2;
#pragma clang loop unroll(disable)
	for (int i = 0; i < POINTS; i++)
		sum += smoothed[i];
	return sum;
}
