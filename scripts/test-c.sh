#!/bin/sh
# Compiles the C11 program against the header and runs it on a library; with `valgrind` as the second argument under
# valgrind, where a leak or an error is a failure.
#
#   scripts/test-c.sh .build/release/libspeediff.so
#   scripts/test-c.sh .build-v3/release/libspeediff.so valgrind
set -eu
cd "$(dirname "$0")/.."
library=$1
program=$(dirname "$library")/contract
folder=$(cd "$(dirname "$library")" && pwd)
cc -std=c11 -Wall -Wextra -Werror -pedantic -O1 -g -Iinclude Tests/CTests/contract*.c -o "$program" \
  "$library" -Wl,-rpath,"$folder" -lm
if [ "${2:-}" = valgrind ]; then
  # Memory that the Swift runtime keeps behind tagged pointers looks "possibly lost"; what nothing points to is a leak.
  valgrind --quiet --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
    --error-exitcode=9 "$program"
else
  "$program"
fi
