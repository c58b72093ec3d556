#!/bin/sh
# Runs each line of $1 by a shell and writes the line, its standard output and its exit status to $2.
export SYSTEMD_PAGER= SYSTEMD_COLORS=0 SYSTEMD_URLIFY=0 SYSTEMD_EMOJI=0 LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin COLUMNS=200
# our own programs, where a test has put them, come before the tree's
[ -d /opt/first ] && PATH=/opt/first:$PATH
n=0; while [ $n -lt 100 ]; do case $(systemctl list-jobs --no-legend 2>/dev/null | grep -v transcript | grep -c .) in 0) break;; esac; n=$((n+1)); sleep 0.1; done
while IFS= read -r line; do
  case $line in ''|'#'*) continue ;; esac
  echo "\$ $line"
  out=$(sh -c "$line" 2>/tmp/stderr </dev/null); rc=$?
  if [ -n "$out" ]; then printf '%s\n' "$out"; fi
  sed 's/^/! /' /tmp/stderr
  echo "rc $rc"
done < "$1" > "$2"
