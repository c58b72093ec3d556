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
# show LINE: prints a command line and runs it, as if it had been typed
show() { printf '\n%s$ %s%s\n' "$bold" "$1" "$plain"; eval "$1"; }
look='systemctl list-units --no-pager --no-legend --type=service --state=running'
[ "$tree" = debian ] || look='ps'
trap 'hostel kill -s KILL "$name" 2>/dev/null || :' EXIT

printf '\n# A throw-away machine over this host: what it changes is gone at its end.\n'
show "hostel run -- sh -c 'rm -r /usr/share/doc; touch /etc/made-inside; hostname; id -u; ls /etc/made-inside'"
show 'ls -d /usr/share/doc'
if [ -e /etc/made-inside ]; then echo "the host was changed: this is a bug" >&2; exit 1; fi
show "hostel run -- sh -c 'exit 42' || echo \"its exit status: \$?\""

printf '\n# A whole system, booted by its own init, in the background.\n'
show "hostel boot $trees/$tree --name $name -d"
for _ in $(seq 200); do # until it is up, not until it answers
  if hostel exec "$name" test -e /run/hostel-test-up; then break; fi
  sleep 0.1
done
show 'hostel ps'
show "hostel exec $name $look"
show "hostel logs $name | tail -n 4"
show "hostel stop -v $name"

printf '\n# The same binary as systemd-nspawn.\n'
show "hostel nspawn -q -D $trees/$tree /bin/sh -c 'echo I am PID \$\$ of \$container'"
trap - EXIT
printf '\nThe binary: %s (%s bytes, static). Next: hostel help\n' "$binary" "$(stat -c %s "$binary")"
