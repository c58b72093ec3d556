#!/bin/bash
# Runs the cases of tests/vm/cases in VMs and prints "N passed, N failed".
#
#   tests/vm/suite.sh HOSTEL [--verbose] [systemd|sysvinit] [CASE...]
#
# A case says in its first line on which hosts it runs. All cases of a host run in one boot of it, one after another;
# the hosts run side by side.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
hostel=$1; shift
verbose=; if [ "${1:-}" = --verbose ]; then verbose=1; shift; fi
kinds="systemd sysvinit"; case "${1:-}" in systemd|sysvinit) kinds=$1; shift ;; esac
top=$(mktemp -d "${TMPDIR:-/var/tmp}/hostel-vm-share.XXXXXX"); jobs=()
finish() { for job in "${jobs[@]}"; do kill "$job" 2>/dev/null || :; done; wait; rm -rf "$top"; }
trap finish EXIT; trap 'exit 130' INT TERM
"$here/build.sh" $kinds

# host KIND CASE...: runs the cases on one host; `share/KIND` is what it shares with the VM
host() {
  local kind=$1 share=$top/$1 case name line
  shift
  mkdir -p "$share/vm"
  cp -a "$here/guest" "$here/cases" "$share/vm/"; install -m 755 "$hostel" "$share/hostel"
  cp "$here/guest/cases.sh" "$share/job"; echo "$kind" > "$share/kind"; if [ -n "$verbose" ]; then : > "$share/verbose"; fi
  for case in "$here"/cases/*.sh; do
    name=$(basename "$case" .sh)
    [ $# = 0 ] || case " $* " in *" $name "*) ;; *) continue ;; esac
    if sed -n 's/^# hosts: //p' "$case" | grep -qw "$kind"; then echo "$name ${CASE_TIMEOUT:-400}"; fi
  done > "$share/list"
  [ -s "$share/list" ] || { echo 0 0 > "$share/result"; return 0; }
  VM_TIMEOUT=${VM_TIMEOUT:-1500} "$here/run.sh" "$kind" "$share" > "$share/out" 2>&1 & local vm=$!
  trap 'kill $vm 2>/dev/null; wait $vm' TERM
  wait $vm || :
  line=$(sed -n "s/^$kind: \([0-9]*\) passed, \([0-9]*\) failed.*/\1 \2/p" "$share/out")
  # a VM that came to no end has failed all its cases but those it got through
  if [ -z "$line" ]; then line="$(grep -c '^ok ' "$share/out" || :) $(($(wc -l < "$share/list") - $(grep -c '^ok ' "$share/out" || :)))"; fi
  echo "$line" > "$share/result"
  { echo "== host: $kind"; cat "$share/out"; } >&3
}

# side by side: much of it is waiting for a guest's init
exec 3>&1
for kind in $kinds; do host "$kind" "$@" & jobs+=($!); done
for job in "${jobs[@]}"; do wait "$job"; done
jobs=() failed=0 passed=0
for kind in $kinds; do read -r p f < "$top/$kind/result"; passed=$((passed + p)) failed=$((failed + f)); done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
