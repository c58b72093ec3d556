#!/bin/bash
# hostel's init beside systemd 252, runit and s6 in one run: ten simple services, a Debian tree's boot and stop, what systemctl costs, memory of PID 1.
#
#   benches/init.sh [ROUNDS]      HOSTEL_BIN, STAMP: programs (else they are built). Wants root, systemd-nspawn, the trees debian, runit, s6.
#
# systemd runs in systemd-nspawn, the others in `hostel nspawn`; all clocks start inside, when the init is executed, and end when the
# last of ten services runs, each of which writes down the moment. Rounds alternate; medians and ratios are printed, with the load.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/target.sh
ROUNDS=${1:-7}; TREES=${HOSTEL_TREES:-/var/tmp/hostel-trees}
HOSTEL_BIN=${HOSTEL_BIN:-$(scripts/build.sh | head -n 1)}
if [ -z "${STAMP:-}" ]; then cargo build -q --release --target "$TARGET" -p hostel-floor --bin bench-stamp; STAMP=${CARGO_TARGET_DIR:-target}/$TARGET/release/bench-stamp; fi
for tree in debian runit s6; do [ -d "$TREES/$tree" ] || { echo "init.sh: skipped: there is no tree $TREES/$tree (scripts/trees.sh $tree)" >&2; exit 77; }; done
command -v systemd-nspawn >/dev/null || { echo "init.sh: skipped: there is no systemd-nspawn" >&2; exit 77; }
work=$(mktemp -d /var/tmp/hostel-bench-init.XXXXXX); chmod 755 "$work"
machine= name=
over() { # by the one that runs it: a killed supervisor takes nothing away
  [ -n "$machine" ] || return 0
  "$HOSTEL_BIN" machinectl terminate "$name" 2>/dev/null || kill -9 "$machine" 2>/dev/null || :
  wait "$machine" 2>/dev/null || :; machine=
}
finish() { over; rm -rf --one-file-system "$work"; }
trap finish EXIT
tree() { # NAME KIND: a copy with the stamp in it
  cp -a --reflink=auto "$TREES/$2" "$work/$1"
  cp "$STAMP" "$work/$1/stamp"; mkdir "$work/$1/stamps"; chmod 777 "$work/$1/stamps"
}
units() { # TREE: ten services, wanted by multi-user.target, and what says that the default target is reached
  local d=$work/$1/etc/systemd/system n; mkdir -p "$d/multi-user.target.wants" "$d/default.target.wants"
  rm -f "$d/default.target.wants/hostel-test-up.service"
  for n in 0 1 2 3 4 5 6 7 8 9; do
    printf '[Service]\nExecStart=/stamp /stamps/up\n' > "$d/ten$n.service"; ln -sf "../ten$n.service" "$d/multi-user.target.wants/ten$n.service"
  done
  printf '[Unit]\nAfter=multi-user.target graphical.target\n[Service]\nExecStart=/stamp /stamps/reached\n' > "$d/reached.service"
  ln -sf ../reached.service "$d/default.target.wants/reached.service"
}
tree small debian; units small; tree deb debian; units deb
# nothing but the ten: targets without what Debian adds
for s in small; do printf '[Unit]\nDefaultDependencies=no\nWants=%s\n' "$(for n in 0 1 2 3 4 5 6 7 8 9; do printf 'bare%s.service ' $n; done)" > "$work/$s/etc/systemd/system/ten.target"
  for n in 0 1 2 3 4 5 6 7 8 9; do printf '[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/stamp /stamps/up\n' > "$work/$s/etc/systemd/system/bare$n.service"; done; done
tree runit runit; tree s6 s6
for t in runit s6; do for n in 0 1 2 3 4 5 6 7 8 9; do
  mkdir -p "$work/$t/sv/ten$n"; printf '#!/bin/sh\nexec /stamp /stamps/up\n' > "$work/$t/sv/ten$n/run"; chmod 755 "$work/$t/sv/ten$n/run"; done; done
lots=$work/deb/etc/systemd/system; for n in $(seq 800); do printf '[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' > "$lots/many$n.service"; done

leader() { # of the machine whose supervisor is $1: its only child, or the child of its child
  local p; p=$(pgrep -P "$1" | head -n 1); while [ "$(cat /proc/$p/comm 2>/dev/null)" = "systemd-nspawn" ] || [ "$(cat /proc/$p/comm 2>/dev/null)" = hostel ]; do p=$(pgrep -P "$p" | head -n 1); [ -n "$p" ] || return 1; done; echo "$p"
}
start() { # WHICH TREE COMMAND...: starts it, sets machine
  local which=$1 t=$2; name=bench$$-$2; shift 2; rm -f "$work/$t"/stamps/*
  case $which in
    nspawn) systemd-nspawn -q --register=no --keep-unit -D "$work/$t" --console=pipe /stamp /stamps/exec "$@" </dev/null >/dev/null 2>&1 & ;;
    hostel) "$HOSTEL_BIN" nspawn -q -M "$name" --register=no --keep-unit -D "$work/$t" --bind-ro="$HOSTEL_BIN:/opt/hostel" --console=pipe /stamp /stamps/exec "$@" </dev/null >/dev/null 2>&1 & ;;
  esac
  machine=$!
}
lines() { local n=0; until [ "$(wc -l < "$1" 2>/dev/null || echo 0)" -ge "$2" ]; do n=$((n + 1)); [ $n -lt 1500 ] || { echo "init.sh: $1 never came" >&2; return 1; }; sleep 0.02; done; }
since() { # FILE: milliseconds from the exec of the init to the last line
  awk 'NR==FNR {t=$1; next} $1>m {m=$1} END {printf "%.2f\n", (m-t)/1e6}' "$(dirname "$1")/exec" "$1"
}
note() { echo "$2" >> "$work/result.$1"; }
INIT_hostel="/opt/hostel init"; INIT_systemd=/lib/systemd/systemd
for round in $(seq "$ROUNDS"); do
  for which in hostel systemd runit s6; do
    case $which in
      hostel) start hostel small $INIT_hostel --log=none bare0 bare1 bare2 bare3 bare4 bare5 bare6 bare7 bare8 bare9; t=small ;;
      systemd) start nspawn small $INIT_systemd --unit=ten.target; t=small ;;
      runit) start hostel runit /usr/bin/runsvdir -P /sv; t=runit ;;
      s6) start hostel s6 /usr/bin/s6-svscan /sv; t=s6 ;;
    esac
    lines "$work/$t/stamps/up" 10; note "ten.$which" "$(since "$work/$t/stamps/up")"
    # when it has come to rest
    sleep 0.3; p=$(leader "$machine"); note "pss.$which" "$(awk '/^Pss:/ {print $2}' "/proc/$p/smaps_rollup")"
    over
  done
  for which in hostel systemd; do
    case $which in hostel) start hostel deb $INIT_hostel --log=none ;; systemd) start nspawn deb $INIT_systemd ;; esac
    lines "$work/deb/stamps/reached" 1; lines "$work/deb/stamps/up" 10; note "boot.$which" "$(since "$work/deb/stamps/reached")"
    sleep 0.3; p=$(leader "$machine"); note "pssboot.$which" "$(awk '/^Pss:/ {print $2}' "/proc/$p/smaps_rollup")"
    inside() { nsenter -t "$p" -m -p -u -i -- "$@"; }
    case $which in hostel) ctl="/opt/hostel ctl" ;; systemd) ctl=systemctl ;; esac
    for verb in "is-active ten3" list-unit-files; do
      many=40; [ "$verb" = list-unit-files ] && many=5
      note "${verb%% *}.$which" "$(inside bash -c 'n=$1; shift; s=$EPOCHREALTIME; for ((i = 0; i < n; i++)); do "$@" >/dev/null; done; e=$EPOCHREALTIME; awk "BEGIN {printf \"%.2f\", ($e - $s) * 1000 / $n}"' sh $many $ctl $verb)"
    done
    note "status.$which" "$(inside sh -c "$ctl is-system-running" || :)"
    s=$EPOCHREALTIME; kill -s RTMIN+4 "$p"; timeout 60 tail --pid="$machine" -s 0.002 -f /dev/null; e=$EPOCHREALTIME
    note "stop.$which" "$(awk "BEGIN {printf \"%.1f\", ($e - $s) * 1000}")"; wait "$machine" || :; machine=
  done
done
median() { sort -n "$work/result.$1" | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'; }
ratio() { awk "BEGIN {printf \"%.1f\", $1 / $2}"; }
echo "load $(cut -d' ' -f1-3 /proc/loadavg), $ROUNDS rounds, medians; $(uname -r), $("$HOSTEL_BIN" --version | head -n 1), $(systemctl --version 2>/dev/null | head -n 1)"
echo "| what | hostel | systemd 252 | ratio | runit | s6 | aim |"
echo "|---|---|---|---|---|---|---|"
row() { # TEXT KEY UNIT AIM [others]
  local h s; h=$(median "$2.hostel"); s=$(median "$2.systemd")
  echo "| $1 | $h $3 | $s $3 | $(ratio "$s" "$h") | ${5:+$(median "$2.runit") $3} | ${5:+$(median "$2.s6") $3} | $4 |"
}
row "ten simple services up after exec of the init" ten ms "at most 30 ms" yes
row "the Debian tree's default target reached" boot ms "at most 1/5 of systemd's"
row "its stop (services obey)" stop ms "at most 100 ms"
row "\`is-active\`" is-active ms "at most 2 ms"
row "\`list-unit-files\`, over 800 units" list-unit-files ms "at most 10 ms"
row "PSS of PID 1, ten services" pss kB "at most 1536 kB" yes
row "PSS of PID 1, the booted Debian tree, 800 unit files" pssboot kB ""
