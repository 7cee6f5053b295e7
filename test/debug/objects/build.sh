#!/bin/sh
# Makes steps.bpf.o again. Needs clang-19 and libbpf-dev.
set -eu
cd "$(dirname "$0")"
clang-19 -O2 -g -target bpf -mcpu=v3 -fdebug-compilation-dir=. -I/usr/include/x86_64-linux-gnu -c steps.bpf.c -o steps.bpf.o
llvm-strip-19 -g steps.bpf.o
