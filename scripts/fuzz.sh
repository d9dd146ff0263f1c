#!/bin/sh
# Fuzzes the C interface: calls every function of the header with random arguments, and fails where the library does
# what the header does not allow, at a memory error and at a leak.
#
#   scripts/fuzz.sh CALLS [SEED]
#
# The library is built with AddressSanitizer; where that does not work, or with FUZZ_WITH=valgrind, valgrind watches it.
set -eu
cd "$(dirname "$0")/.."
calls=${1:?usage: scripts/fuzz.sh CALLS [SEED]}
seed=${2:-1}

compile() {
  compiler=$1 folder=$2
  shift 2
  "$compiler" -std=c11 -Wall -Wextra -Werror -pedantic -O1 -g -pthread "$@" -Iinclude Tests/CTests/fuzz*.c \
    -o "$folder/fuzz" "$folder/libspeediff.so" -Wl,-rpath,"$folder" -lm
}

build_with_sanitizer() {
  swift build --sanitize=address --configuration release --product speediff --scratch-path .build-asan \
    -Xswiftc -static-stdlib -Xlinker "--version-script=$PWD/scripts/speediff.map" -Xswiftc -use-ld=lld &&
    compile clang "$PWD/.build-asan/release" -fuse-ld=lld -fsanitize=address
}

if [ "${FUZZ_WITH:-}" != valgrind ] && build_with_sanitizer; then
  ASAN_OPTIONS=detect_leaks=1 "$PWD/.build-asan/release/fuzz" "$calls" "$seed"
else
  MARCH=x86-64-v3 SCRATCH=.build-v3 scripts/build.sh
  compile cc "$PWD/.build-v3/release"
  # As in test-c.sh: memory that the Swift runtime keeps behind tagged pointers looks "possibly lost".
  valgrind --quiet --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=9 \
    "$PWD/.build-v3/release/fuzz" "$calls" "$seed" 300
fi
