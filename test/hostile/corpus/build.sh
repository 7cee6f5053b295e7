#!/bin/sh
# Makes the objects of this directory from the sources of test/object/src. Needs clang-19 and libbpf's headers.
set -e
cd "$(dirname "$0")"
for name in maps calls extern core legacy; do
  debug=-g
  [ "$name" = legacy ] && debug=
  for target in bpf bpfeb; do
    clang-19 -O2 $debug -target $target -I/usr/include/x86_64-linux-gnu \
      -c ../../object/src/$name.bpf.c -o $name.$target.o
    llvm-strip-19 -g $name.$target.o
  done
done
