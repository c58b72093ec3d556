#!/bin/bash
# The original behind hostel's command line: HOSTEL_BIN=$PWD/tests/original.sh cargo nextest run -p hostel-tests --test nspawn_exit
# runs a test of ours on systemd-nspawn. A test that fails on both is wrong; one that fails there only is a difference
# to be proud of, or to explain. In a cgroup of its own in every hierarchy, because with --keep-unit the original makes
# init.scope and system.slice in its caller's; empty ones of earlier runs go first.
[ "${1:-}" = nspawn ] || { echo "the original has no native verbs" >&2; exit 99; }
shift
find /sys/fs/cgroup/*/hostel-original-* -depth -type d -exec rmdir {} \; 2>/dev/null
for m in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
  [ -e "$m/cgroup.procs" ] && mkdir -p "$m/hostel-original-$$" || continue
  for f in cpuset.cpus cpuset.mems; do [ -e "$m/hostel-original-$$/$f" ] && cat "$m/$f" > "$m/hostel-original-$$/$f"; done
  echo $$ > "$m/hostel-original-$$/cgroup.procs"
done
exec systemd-nspawn "$@"
