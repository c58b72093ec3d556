#!/bin/bash
# Shows hostel at work on this machine: builds the static binary, runs a command on an overlay of this host, boots a
# Debian (and a busybox system), looks around in it, ends it. Sets itself up; leaves nothing running.
#
#   scripts/demo.sh            with a Debian tree, made once (150 MB below /var/tmp/hostel-trees)
#   scripts/demo.sh --quick    with the busybox tree only (nothing to download but packages)
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then echo "run the demo: machines need root; try: sudo $0 $*" >&2; exit 1; fi
tree=debian
[ "${1:-}" = --quick ] && tree=bbinit
scripts/setup.sh
binary=$(scripts/build.sh)
PATH=$(dirname "$binary"):$PATH
trees=${HOSTEL_TREES:-/var/tmp/hostel-trees}
if ! scripts/trees.sh "$tree"; then
  echo "no Debian tree: going on with busybox" >&2
  tree=bbinit
  scripts/trees.sh "$tree"
fi
name=demo-$$
if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold='' plain=''; fi
show() { printf '\n%s$ %s%s\n' "$bold" "$(printf '%q ' "$@")" "$plain"; "$@"; }
trap 'hostel kill -s KILL "$name" 2>/dev/null || :' EXIT

printf '\n# A throw-away machine over this host: changes are gone at its end.\n'
show hostel run -- sh -c 'touch /etc/made-inside && ls /etc/made-inside && id -u && hostname'
if [ -e /etc/made-inside ]; then echo "the host was changed: this is a bug" >&2; exit 1; fi
echo "(on the host there is no /etc/made-inside)"
show hostel run -- sh -c 'exit 42' || echo "(exit status $?)"

printf '\n# A whole system, booted by its own init, in the background.\n'
show hostel boot "$trees/$tree" --name "$name" -d
for _ in $(seq 100); do
  hostel exec "$name" test -e /run/hostel-test-up && break
  sleep 0.1
done
show hostel ps
show hostel exec "$name" ps -e -o pid,comm 2>/dev/null || show hostel exec "$name" ls /
show hostel logs "$name" -n 5
show hostel stop "$name"
show hostel ps
trap - EXIT
printf '\nThe binary: %s (%s bytes, static). Next: hostel help\n' "$binary" "$(stat -c %s "$binary")"
