#!/bin/bash
# Builds the static hostel binary (and with --tests the probe) and prints the path of each on a line of its own.
#
#   scripts/build.sh [--debug] [--tests]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/target.sh
profile=release; what="-p hostel"; flags=--release
for a; do case $a in
  --debug) profile=debug; flags= ;;
  --tests) what="$what -p hostel-probe" ;;
  *) echo "build: unknown option $a" >&2; exit 2 ;;
esac; done
cargo build $flags --target "$TARGET" $what >&2
dir=${CARGO_TARGET_DIR:-target}/$TARGET/$profile
for b in hostel hostel-probe; do case "$what" in *"-p $b"*) realpath "$dir/$b" ;; esac; done
