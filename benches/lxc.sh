#!/bin/bash
# hostel's tools of LXC beside the originals, in turns, in one run: start, attach, stop, copies, a list of fifty, memory of supervisors.
#
#   benches/lxc.sh [ROUNDS]      MANY=200: so many at once (50)      HOSTEL_BIN: the program (else it is built). Wants root, lxc, rsync for the original's copies, the trees busybox and debian.
set -euo pipefail
cd "$(dirname "$0")/.."
ROUNDS=${1:-20}; TREES=${HOSTEL_TREES:-/var/tmp/hostel-trees}; MANY=${MANY:-50}
HOSTEL_BIN=${HOSTEL_BIN:-$(scripts/build.sh | head -n 1)}
command -v lxc-start >/dev/null || { echo "lxc.sh: skipped: LXC is not installed" >&2; exit 77; }
for tree in busybox debian; do [ -d "$TREES/$tree" ] || { echo "lxc.sh: skipped: there is no tree $TREES/$tree (scripts/trees.sh $tree)" >&2; exit 77; }; done
work=$(mktemp -d /var/tmp/hostel-bench-lxc.XXXXXX); chmod 755 "$work"
stock() { local t=$1; shift; "/usr/bin/lxc-$t" -P "$work" "$@"; }
hostel() { local t=$1; shift; "$HOSTEL_BIN" lxc "$t" -P "$work" "$@"; }
finish() {
  local name
  for name in $(ls "$work"); do stock stop -k -n "$name" 2>/dev/null || :; done
  rm -rf --one-file-system "$work" "/run/lxc/lock$work" "/run/lxc$work"
}
trap finish EXIT
make() { # NAME TREE
  mkdir "$work/$1"; cp -a --reflink=auto "$TREES/$2" "$work/$1/rootfs"
  printf 'lxc.rootfs.path = dir:%s\nlxc.uts.name = %s\nlxc.net.0.type = empty\nlxc.mount.auto = proc:mixed sys:mixed\nlxc.init.cmd = /bin/sleep 100000\n' \
    "$work/$1/rootfs" "$1" > "$work/$1/config"
}
make small busybox; make big debian
note() { echo "$2" >> "$work.$1"; }
timed() { # KEY COMMAND...: milliseconds
  local key=$1 s e; shift; s=$EPOCHREALTIME; "$@" >/dev/null; e=$EPOCHREALTIME
  awk "BEGIN {printf \"%.2f\n\", ($e - $s) * 1000}" >> "$work.$key"
}
trap 'finish; rm -f "$work".*' EXIT
for round in $(seq "$ROUNDS"); do
  for w in hostel stock; do
    timed start.$w $w start -n small
    timed attach.$w $w attach -n small -- /bin/true
    timed info.$w $w info -n small -sH
    timed freeze.$w $w freeze -n small; $w unfreeze -n small
    timed stop.$w $w stop -k -n small
    timed overlay.$w $w copy -n small -N o -s -B overlay; $w destroy -n o
    [ "$round" -gt 3 ] || { timed copy.$w $w copy -n big -N c; $w destroy -n c; }
  done
done
for w in hostel stock; do
  for n in $(seq "$MANY"); do hostel copy -n small -N "m$n" -s -B overlay; timed each.$w $w start -n "m$n"; done
  for n in 1 2 3 4 5; do timed ls.$w $w ls -f; done
  for n in $(seq "$MANY"); do
    p=$(pgrep -f "^\[lxc monitor\] $work m$n\$" | head -n 1)
    note private.$w "$(awk '/^Private_Dirty:/ {print $2}' "/proc/$p/smaps_rollup")"
  done
  for n in $(seq "$MANY"); do timed end.$w $w stop -k -n "m$n"; hostel destroy -n "m$n"; done
done
# Is it as quick with many as with few?
for key in each end; do for w in hostel stock; do head -n 10 "$work.$key.$w" >"$work.first-$key.$w"; tail -n 10 "$work.$key.$w" >"$work.last-$key.$w"; done; done
median() { sort -n "$work.$1" | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'; }
echo "load $(cut -d' ' -f1-3 /proc/loadavg), $ROUNDS rounds, medians; $(uname -r), $("$HOSTEL_BIN" --version | head -n 1), LXC $(lxc-start --version)"
echo "| what | hostel | LXC | ratio | aim |"
echo "|---|---|---|---|---|"
row() { local h s; h=$(median "$2.hostel"); s=$(median "$2.stock"); echo "| $1 | $h $3 | $s $3 | $(awk "BEGIN {printf \"%.2f\", $h / $s}") | $4 |"; }
row "\`lxc-start\` until it runs" start ms "at most 0.5"
row "\`lxc-attach -- /bin/true\`" attach ms "at most 0.5"
row "\`lxc-info -sH\`" info ms ""
row "\`lxc-freeze\`" freeze ms ""
row "\`lxc-stop -k\`" stop ms ""
row "\`lxc-copy -s -B overlay\`" overlay ms "at most 1"
row "\`lxc-copy\` of a Debian tree" copy ms "at most 0.5"
row "start of each of $MANY" each ms ""
row "of the first ten" first-each ms ""
row "of the last ten" last-each ms ""
row "\`lxc-stop -k\` of each of $MANY" end ms ""
row "of the first ten" first-end ms ""
row "of the last ten" last-end ms ""
row "\`lxc-ls -f\`, $MANY running" ls ms "at most 0.2"
row "private memory of a supervisor, $MANY running" private kB "at most 300 kB"
