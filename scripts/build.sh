#!/bin/sh
# Builds libspeediff, the library that the Python package and C programs load, and prints where it is.
#
#   scripts/build.sh                            for this machine's instruction set, into .build/
#   MARCH=x86-64-v3 SCRATCH=.build-v3 scripts/build.sh
#
# The flags stand here and not in Package.swift, where they would keep Swift users from depending on it by version:
# the target CPU; the version script, without which every public Swift symbol would be exported; and the Swift standard
# library inside the file, so that a program that loads it needs no Swift.
set -eu
cd "$(dirname "$0")/.."
scripts/check-tools.sh swift
swift build --configuration release --product speediff --scratch-path "${SCRATCH:-.build}" \
  -Xcc "-march=${MARCH:-native}" \
  -Xswiftc -static-stdlib -Xswiftc -warnings-as-errors \
  -Xlinker "--version-script=$PWD/scripts/speediff.map" -Xswiftc -use-ld=lld
echo "$PWD/${SCRATCH:-.build}/release/libspeediff.so"
