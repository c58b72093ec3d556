#!/bin/bash
# Runs all tests on this machine, doing its own set-up: packages, static binary, probe, trees.
#
#   scripts/test.sh            everything
#   scripts/test.sh --quick    without the Debian trees (no downloads, no boot matrix)
#   scripts/test.sh -- ARGS    ARGS to the test runner
#   HOSTEL_ALL=1 scripts/test.sh   also the comparison with systemd-nspawn (compat/) and the benchmarks' own test
#
# HOSTEL_VM_TESTS=1: and scripts/vm.sh, which runs it on other hosts in virtual machines
set -euo pipefail
cd "$(dirname "$0")/.."
quick=; [ "${1:-}" = --quick ] && { quick=1; shift; }; [ "${1:-}" = -- ] && shift
scripts/setup.sh
built=$(scripts/build.sh --tests)
HOSTEL_BIN=$(sed -n 1p <<<"$built"); HOSTEL_PROBE=$(sed -n 2p <<<"$built"); export HOSTEL_BIN HOSTEL_PROBE
if [ "$(id -u)" = 0 ]; then
  scripts/trees.sh busybox bbinit
  if [ -z "$quick" ]; then scripts/trees.sh all || echo "some trees are missing: their tests will say so and skip" >&2; else export HOSTEL_QUICK=1; fi
else
  echo "not root: tests that need root say so and skip" >&2
fi
if cargo nextest --version >/dev/null 2>&1; then
  # Hundreds of machines on the original beside ours, and the benchmarks' own test: minutes of their own, on request.
  beside=(--exclude hostel-compat --exclude hostel-bench); [ -n "${HOSTEL_ALL:-}" ] && beside=()
  cargo nextest run --workspace "${beside[@]}" --no-fail-fast "$@"
else
  echo "no cargo-nextest: one test at a time with cargo test" >&2
  cargo test --workspace --no-fail-fast "$@" -- --test-threads=1
fi
[ -z "${HOSTEL_VM_TESTS:-}" ] || scripts/vm.sh
