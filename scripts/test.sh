#!/bin/bash
# Runs all tests on this machine, doing its own set-up: packages, static binary, probe, trees.
#
#   scripts/test.sh            everything
#   scripts/test.sh --quick    without the Debian trees (no downloads, no boot matrix), the comparison with systemd-nspawn
#                              (compat/), the benchmarks' own test and the virtual machines (scripts/vm.sh)
#   scripts/test.sh -- ARGS    ARGS to the test runner; no virtual machines
#   HOSTEL_WITHOUT="compat bench vm" scripts/test.sh   without some of these
set -euo pipefail
cd "$(dirname "$0")/.."
quick=; [ "${1:-}" = --quick ] && { quick=1; shift; }; [ "${1:-}" = -- ] && shift
[ -n "$quick" ] || [ $# = 0 ] || export HOSTEL_WITHOUT="${HOSTEL_WITHOUT:-} vm"
without() { [ -n "$quick" ] || case " ${HOSTEL_WITHOUT:-} " in *" $1 "*) ;; *) return 1 ;; esac; }
beside=(); for part in compat bench; do if without $part; then beside+=(--exclude "hostel-$part"); fi; done
scripts/setup.sh
# Trees and virtual machines are made beside the build.
log=$(mktemp); prepared=
finish() { [ -z "$prepared" ] || kill -- "-$prepared" 2>/dev/null || :; rm -f "$log"; }
trap finish EXIT
if [ -n "$quick" ]; then export HOSTEL_QUICK=1; prepare="scripts/trees.sh busybox bbinit"; else prepare=scripts/prepare.sh; fi
if [ "$(id -u)" != 0 ]; then prepare=true; echo "not root: tests that need root say so and skip" >&2; fi
setsid $prepare </dev/null >"$log" 2>&1 & prepared=$!
if cargo nextest --version >/dev/null 2>&1; then runner="nextest run"; else runner=test; echo "no cargo-nextest: one test at a time with cargo test" >&2; fi
built=$(scripts/build.sh --tests)
cargo $runner --workspace "${beside[@]}" --no-run
# liblxc.so.1 of the host's libc, for its clients in tests; of the libraries that were just built
cargo build -p hostel --lib -p hostel-liblxc
HOSTEL_BIN=$(sed -n 1p <<<"$built"); HOSTEL_PROBE=$(sed -n 2p <<<"$built"); export HOSTEL_BIN HOSTEL_PROBE
status=0
wait $prepared || status=$?
prepared=
cat "$log" >&2
if [ "$runner" = test ]; then
  cargo test --workspace "${beside[@]}" --no-fail-fast "$@" -- --test-threads=1 || status=$?
else
  cargo nextest run --workspace "${beside[@]}" --no-fail-fast "$@" || status=$?
fi
if ! without vm && [ "$(id -u)" = 0 ]; then
  # hosts that this machine is not: systemd on pure cgroup v2, sysvinit
  scripts/vm.sh || status=$?
fi
exit "$status"
