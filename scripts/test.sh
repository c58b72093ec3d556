#!/bin/bash
# Runs all tests on this machine, doing its own set-up: packages, static binary, probe, trees.
#
#   scripts/test.sh            everything
#   scripts/test.sh --quick    without the Debian trees (no downloads, no boot matrix), the comparison with systemd-nspawn
#                              (compat/), the benchmarks' own test and the virtual machines (scripts/vm.sh)
#   scripts/test.sh -- ARGS    ARGS to the test runner
#   HOSTEL_WITHOUT="compat bench vm" scripts/test.sh   without some of these
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
without() { [ -n "$quick" ] || case " ${HOSTEL_WITHOUT:-} " in *" $1 "*) ;; *) return 1 ;; esac; }
beside=(); for part in compat bench; do if without $part; then beside+=(--exclude "hostel-$part"); fi; done
status=0
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace "${beside[@]}" --no-fail-fast "$@" || status=$?
else
  echo "no cargo-nextest: one test at a time with cargo test" >&2
  cargo test --workspace "${beside[@]}" --no-fail-fast "$@" -- --test-threads=1 || status=$?
fi
if ! without vm && [ "$(id -u)" = 0 ] && [ $# = 0 ]; then
  # hosts that this machine is not: systemd on pure cgroup v2, sysvinit
  HOSTEL_BIN=$HOSTEL_BIN scripts/vm.sh || status=$?
fi
exit "$status"
