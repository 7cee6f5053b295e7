#!/bin/sh
# Makes the objects of this directory from the sources of test/object/src. Needs clang-19 and libbpf's headers.
set -e
# From the repository's root with a relative compilation directory: the objects name no path of a machine.
cd "$(dirname "$0")/../../.."
for name in maps calls extern core legacy; do
  debug=-g
  [ "$name" = legacy ] && debug=
  for target in bpf bpfeb; do
    object=test/hostile/corpus/$name.$target.o
    clang-19 -O2 $debug -target $target -fdebug-compilation-dir=. -I/usr/include/x86_64-linux-gnu \
      -c test/object/src/$name.bpf.c -o $object
    llvm-strip-19 -g $object
  done
done
