#!/usr/bin/env bash
# Builds examples/objects/*.bpf.o from examples/src/*.bpf.c with clang-19 (Debian: clang-19, libbpf-dev, linux-libc-dev).
# The objects are committed, so that nobody needs clang to run the examples.
set -euo pipefail
# From the repository's root with a relative compilation directory: the paths in the objects are those of the repository,
# and clang finds the sources to put their lines into the BTF.
cd "$(dirname "$0")/.."
clang=${CLANG:-clang-19}
mkdir -p examples/objects
for source in examples/src/*.bpf.c; do
	object=examples/objects/$(basename "$source" .c).o
	"$clang" -g -O2 -target bpf -mcpu=v3 -Wall -Werror -fdebug-compilation-dir=. \
		-I"/usr/include/$(uname -m)-linux-gnu" -c "$source" -o "$object"
	llvm-strip-19 -g "$object"
done
ls -l examples/objects
