// SPDX-License-Identifier: Apache-2.0
/* Arithmetic and memory, no calls: what an engine makes of plain code. */
#include "common.h"

#define SIEVE 512
static __u8 composite[SIEVE];

/* Primes below 512 by the sieve of Eratosthenes: byte stores in nested loops. Returns 97. */
MEASURED sieve(struct xdp_md *ctx)
{
	int primes = 0;

	for (int i = 0; i < SIEVE; i++)
		composite[i] = 0;
	for (int i = 2; i < SIEVE; i++) {
		if (composite[i])
			continue;
		primes++;
		for (int j = 2 * i; j < SIEVE; j += i)
			composite[j] = 1;
	}
	return primes;
}

/* CRC-32 of 64 bytes, bit by bit: 32-bit shifts and xor. */
MEASURED crc32(struct xdp_md *ctx)
{
	__u32 crc = 0xffffffff ^ ctx->rx_queue_index;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < 64; i++) {
		crc ^= (i * 37) & 0xff;
#pragma clang loop unroll(disable)
		for (int bit = 0; bit < 8; bit++) {
			__u32 low = crc & 1;

			/* A product and no mask: the verifier would follow both values of a bit. */
			asm volatile("" : "+r"(low));
			crc = (crc >> 1) ^ (low * 0xedb88320);
		}
	}
	return ~crc;
}

/* 1000 additions in a chain, modulo 2^64. */
MEASURED fibonacci(struct xdp_md *ctx)
{
	__u64 a = 0, b = 1;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 1000; i++) {
		__u64 next = a + b;

		a = b;
		b = next;
	}
	return a ^ (a >> 32);
}

#define N 8
static __u32 left[N * N], right[N * N], product[N * N];

/* Two 8x8 matrices of 32-bit numbers in global data. */
MEASURED matrix(struct xdp_md *ctx)
{
	for (int i = 0; i < N * N; i++) {
		left[i] = i + 1;
		right[i] = 2 * i + 3;
	}
	for (int i = 0; i < N; i++) {
		for (int j = 0; j < N; j++) {
			__u32 sum = 0;

			for (int k = 0; k < N; k++)
				sum += left[i * N + k] * right[k * N + j];
			product[i * N + j] = sum;
		}
	}
	return product[N * N - 1];
}

static __always_inline __u64 rotate(__u64 x, int by)
{
	return (x << by) | (x >> (64 - by));
}

/* SipHash-2-4 of 8 words: 64-bit add, rotate, xor. */
MEASURED siphash(struct xdp_md *ctx)
{
	__u64 v0 = 0x736f6d6570736575ULL, v1 = 0x646f72616e646f6dULL;
	__u64 v2 = 0x6c7967656e657261ULL, v3 = 0x7465646279746573ULL;

#pragma clang loop unroll(disable)
	for (__u64 i = 0; i < 9; i++) {
		__u64 word = i == 8 ? 64ULL << 56 : i * 0x9e3779b97f4a7c15ULL;

		v3 ^= word;
#pragma clang loop unroll(disable)
		for (int round = 0; round < (i == 8 ? 6 : 2); round++) {
			v0 += v1; v1 = rotate(v1, 13); v1 ^= v0; v0 = rotate(v0, 32);
			v2 += v3; v3 = rotate(v3, 16); v3 ^= v2;
			v0 += v3; v3 = rotate(v3, 21); v3 ^= v0;
			v2 += v1; v1 = rotate(v1, 17); v1 ^= v2; v2 = rotate(v2, 32);
		}
		v0 ^= word;
	}
	v0 ^= v1 ^ v2 ^ v3;
	return v0 ^ (v0 >> 32);
}

/* Greatest common divisors by division: 64-bit remainders. */
MEASURED gcd(struct xdp_md *ctx)
{
	__u64 sum = 0;

#pragma clang loop unroll(disable)
	for (__u64 i = 1; i <= 20; i++) {
		__u64 a = 1000000007ULL * i, b = 998244353ULL + i * i;

#pragma clang loop unroll(disable)
		for (int step = 0; step < 60 && b; step++) {
			__u64 rest = a % b;

			a = b;
			b = rest;
		}
		sum += a;
	}
	return sum;
}
