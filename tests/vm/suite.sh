#!/bin/bash
# Runs the cases of tests/vm/cases in VMs and prints "N passed, N failed".
#
#   tests/vm/suite.sh HOSTEL [--verbose] [systemd|sysvinit] [CASE...]
#
# A case says in its first line on which hosts it runs. All cases of a host run in one boot of it, one after another.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
hostel=$1; shift
verbose=; if [ "${1:-}" = --verbose ]; then verbose=1; shift; fi
kinds="systemd sysvinit"; case "${1:-}" in systemd|sysvinit) kinds=$1; shift ;; esac
share=$(mktemp -d "${TMPDIR:-/var/tmp}/hostel-vm-share.XXXXXX"); trap 'rm -rf "$share"' EXIT
"$here/build.sh" $kinds
failed=0 passed=0
for kind in $kinds; do
  rm -rf "${share:?}"/*; mkdir "$share/vm"
  cp -a "$here/guest" "$here/cases" "$share/vm/"; install -m 755 "$hostel" "$share/hostel"
  cp "$here/guest/cases.sh" "$share/job"; echo "$kind" > "$share/kind"; if [ -n "$verbose" ]; then : > "$share/verbose"; fi
  for case in "$here"/cases/*.sh; do
    name=$(basename "$case" .sh)
    [ $# = 0 ] || case " $* " in *" $name "*) ;; *) continue ;; esac
    if sed -n 's/^# hosts: //p' "$case" | grep -qw "$kind"; then echo "$name ${CASE_TIMEOUT:-180}"; fi
  done > "$share/list"
  [ -s "$share/list" ] || continue
  echo "== host: $kind"
  VM_TIMEOUT=${VM_TIMEOUT:-1500} "$here/run.sh" "$kind" "$share" | tee "$share/out" || :
  line=$(sed -n "s/^$kind: \([0-9]*\) passed, \([0-9]*\) failed.*/\1 \2/p" "$share/out")
  # a VM that came to no end has failed all its cases but those it got through
  if [ -z "$line" ]; then line="$(grep -c '^ok ' "$share/out" || :) $(($(wc -l < "$share/list") - $(grep -c '^ok ' "$share/out" || :)))"; fi
  passed=$((passed + ${line% *})); failed=$((failed + ${line#* }))
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
