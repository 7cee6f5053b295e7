#!/usr/bin/env bash
# Builds examples/objects/*.bpf.o from examples/src/*.bpf.c with clang-19 (Debian: clang-19, libbpf-dev, linux-libc-dev).
# The objects are committed, so that nobody needs clang to run the examples.
set -euo pipefail
cd "$(dirname "$0")"
clang=${CLANG:-clang-19}
mkdir -p objects
for source in src/*.bpf.c; do
	name=$(basename "$source" .bpf.c)
	"$clang" -g -O2 -target bpf -mcpu=v3 -Wall -Werror -ffile-prefix-map="$PWD"=examples \
		-I"/usr/include/$(uname -m)-linux-gnu" -c "$source" -o "objects/$name.bpf.o"
	llvm-strip-19 -g "objects/$name.bpf.o"
done
ls -l objects
