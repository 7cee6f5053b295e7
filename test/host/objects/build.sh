#!/bin/sh
# Builds the objects of this directory, which are committed, so that tests need no clang: clang 19, libbpf headers, x86-64.
set -eu
cd "$(dirname "$0")/../../.."
for source in test/host/objects/*.bpf.c; do
	object=${source%.c}.o
	"${CLANG:-clang-19}" -O2 -g -Wall -Werror -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -fdebug-compilation-dir=. \
		-I"/usr/include/$(uname -m)-linux-gnu" -c "$source" -o "$object"
	llvm-strip-19 -g "$object"
done
