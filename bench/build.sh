#!/usr/bin/env bash
# Builds bench/objects/*.bpf.o from bench/programs/*.bpf.c with clang-19 (Debian: clang-19, llvm-19, libbpf-dev,
# linux-libc-dev). The objects are committed, so that nobody needs clang to measure.
set -euo pipefail
cd "$(dirname "$0")"
clang=${CLANG:-clang-19}
mkdir -p objects
for source in programs/*.bpf.c; do
	name=$(basename "$source" .bpf.c)
	"$clang" -g -O2 -target bpf -mcpu=v3 -Wall -Werror -ffile-prefix-map="$PWD"=bench \
		-I"/usr/include/$(uname -m)-linux-gnu" -c "$source" -o "objects/$name.bpf.o"
	llvm-strip-19 -g "objects/$name.bpf.o"
done
ls -l objects
