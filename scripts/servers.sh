#!/bin/bash
# Installs servers with apt in a Debian machine whose init is hostel's, and tries each: enabled, started by apt, status, restart, log, stop.
#
#   scripts/servers.sh [--out FILE.md] [--keep DIR] [PACKAGE...]     all of scripts/servers/list, or these
#
# Prints a line per package and writes the table. Needs root, the tree `debian` of scripts/trees.sh and a way to a Debian mirror.
# HOSTEL_BIN: the program (else scripts/build.sh makes it). Downloads are kept below $HOSTEL_TREES/.servers-cache.
# Exit status: 0 when every package got through, 1 when one did not, 77 when it cannot be tried here (the reason is printed).
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C
TREES=${HOSTEL_TREES:-/var/tmp/hostel-trees}
MIRROR=${HOSTEL_DEBIAN_MIRROR:-http://deb.debian.org/debian}
CACHE=$TREES/.servers-cache
OUT=; KEEP=
while [ $# -gt 0 ]; do case $1 in
  --out) OUT=$2; shift 2 ;;
  --keep) KEEP=$2; shift 2 ;;
  -*) echo "servers: unknown option $1" >&2; exit 2 ;;
  *) break ;;
esac; done
skip() { echo "servers: skipped: $1" >&2; exit 77; }
[ "$(id -u)" = 0 ] || skip "it needs root"
timeout 20 bash -c 'exec 3<>"/dev/tcp/$0/80"' "$(echo "$MIRROR" | sed 's|^[a-z]*://||; s|[:/].*||')" 2>/dev/null || skip "no way to $MIRROR"
[ -d "$TREES/debian" ] || skip "there is no tree $TREES/debian: scripts/trees.sh debian"
[ -n "${HOSTEL_BIN:-}" ] || HOSTEL_BIN=$(scripts/build.sh | head -n 1)

rows() { grep -v '^#' scripts/servers/list | grep . ; }
wanted() { if [ $# = 0 ]; then rows; else for p; do rows | awk -v p="$p" '$1 == p {print; n=1} END {exit !n}' || { echo "servers: $p is not in scripts/servers/list" >&2; exit 2; }; done; fi; }
LIST=$(wanted "$@")

name=servers-$$
dir=${KEEP:-$TREES/.servers-$$}
[ ! -e "$dir" ] || { echo "servers: $dir is there already" >&2; exit 1; }
mkdir -m 755 "$dir"
finish() {
  "$HOSTEL_BIN" stop "$name" >/dev/null 2>&1 || "$HOSTEL_BIN" kill "$name" >/dev/null 2>&1 || :
  mkdir -p "$CACHE"; cp -n "$dir"/tree/var/cache/apt/archives/*.deb "$CACHE/" 2>/dev/null || :
  [ -n "$KEEP" ] || rm -rf "$dir"
}
trap finish EXIT
cp -a --reflink=auto "$TREES/debian" "$dir/tree"
rm -f "$dir/tree/etc/systemd/system/default.target.wants/hostel-test-up.service"
install -m 755 scripts/servers/inside "$dir/tree/usr/local/sbin/hostel-try-server"
# installed packages are kept for the next run; what a package says of itself in manuals is not unpacked
printf 'APT::Install-Recommends "false";\nAcquire::Languages "none";\nBinary::apt::APT::Keep-Downloaded-Packages "true";\n' > "$dir/tree/etc/apt/apt.conf.d/90servers"
mkdir -p "$CACHE"
# the program under test; a copy, as it may be built anew meanwhile
install -m 755 "$HOSTEL_BIN" "$dir/hostel"; HOSTEL_BIN=$dir/hostel
"$HOSTEL_BIN" boot "$dir/tree" -d --wait --name "$name" --init=hostel --net veth --network-config=static \
  --bind-ro="$HOSTEL_BIN:/usr/bin/systemctl" --bind-ro="$HOSTEL_BIN:/usr/bin/journalctl" --bind-ro="$CACHE:/var/cache/servers"
inside() { "$HOSTEL_BIN" exec "$name" -- "$@"; }
inside sh -c 'cp -n /var/cache/servers/*.deb /var/cache/apt/archives/ 2>/dev/null; exec apt-get -q -o Acquire::Retries=3 update' >"$dir/update.log" 2>&1 </dev/null ||
  { tail -n 5 "$dir/update.log" >&2; skip "apt-get update failed in the machine"; }

NSPAWN=(systemd-nspawn -q --register=no --keep-unit)
# The same steps with the tree's own systemd in systemd-nspawn, for what did not get through here: is it ours? Prints why not, or "works".
with_systemd() { # PACKAGE UNIT PREPARE
  command -v systemd-nspawn >/dev/null || { echo "not tried"; return; }
  local d=$dir/systemd machine p n=0
  cp -a --reflink=auto "$TREES/debian" "$d"; rm -f "$d/etc/systemd/system/default.target.wants/hostel-test-up.service"
  install -m 755 scripts/servers/inside "$d/usr/local/sbin/hostel-try-server"; cp "$dir/tree/etc/apt/apt.conf.d/90servers" "$d/etc/apt/apt.conf.d/"
  # installed at rest: the machine has no network that leads out
  "${NSPAWN[@]}" -D "$d" --bind-ro="$CACHE:/var/cache/servers" --pipe sh -c 'cp -n /var/cache/servers/*.deb /var/cache/apt/archives/; apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install "$1"' sh "$1" >"$dir/systemd.log" 2>&1 </dev/null || :
  "${NSPAWN[@]}" --private-network -b -D "$d" --console=pipe >/dev/null 2>&1 </dev/null & machine=$!
  until p=$(pgrep -P "$machine" -x systemd) && nsenter -t "$p" -a systemctl is-system-running --wait >/dev/null 2>&1 || [ $n -ge 300 ]; do
    case $(nsenter -t "${p:-0}" -a systemctl is-system-running 2>/dev/null) in degraded|running) break ;; esac; n=$((n + 1)); sleep 0.1; done
  timeout -k 10 400 nsenter -t "$p" -a /usr/local/sbin/hostel-try-server "$1" "$2" "$3" >"$dir/systemd.result.$1" 2>/dev/null </dev/null || :
  p=$(sed -n 's/^REASON=//p' "$dir/systemd.result.$1" | cut -c1-160)
  if grep -q '^REASON=' "$dir/systemd.result.$1"; then echo "${p:-works}"; else echo "not tried"; fi
  kill "$machine" 2>/dev/null || :; wait "$machine" 2>/dev/null || :; rm -rf --one-file-system "$d"
}
get() { sed -n "s/^$1=//p" "$dir/result" | head -n 1; }
failed=0; total=0; passed=0
: > "$dir/table"
while read -r package unit prepare; do
  total=$((total + 1)); start=$(date +%s)
  if ! timeout -k 10 700 "$HOSTEL_BIN" exec "$name" -- /usr/local/sbin/hostel-try-server "$package" "$unit" "$prepare" >"$dir/result" 2>"$dir/errors" </dev/null; then
    echo "REASON=the try itself did not end well: $(tail -n 1 "$dir/errors")" >> "$dir/result"
  fi
  cp "$dir/result" "$dir/result.$package"
  inside cat /root/install.log > "$dir/install.$package" 2>/dev/null </dev/null || :
  cp -n "$dir"/tree/var/cache/apt/archives/*.deb "$CACHE/" 2>/dev/null || :
  line="| $package | $unit | $(get INSTALL) | $(get ENABLED) | $(get BY_APT) | $(get START) | $(get STATUS) | $(get RESTART) | $(get LOG) | $(get STOP) | $(get REASON) | $([ -z "$(get REASON)" ] || with_systemd "$package" "$unit" "$prepare") |"
  echo "$line" >> "$dir/table"
  echo "$line $(($(date +%s) - start)) s"
  if [ -z "$(get REASON)" ]; then passed=$((passed + 1)); else failed=1; fi
done <<< "$LIST"
if [ -n "$OUT" ]; then
  {
    echo "<!-- written by scripts/servers.sh -->"
    echo "# Servers installed with apt in a Debian 12 machine under hostel's init"
    echo
    echo "$passed of $total packages got through every step, $(date -u +%Y-%m-%d), hostel $("$HOSTEL_BIN" --version | head -n 1 | awk '{print $2}')."
    echo
    echo "Columns: what \`is-enabled\` and \`is-active\` say after \`apt install\`; how \`status\` shows the unit once started; \`restart\` (another main process); lines in \`journalctl -u\` (ours), and how many of them are the service's own and not the manager's; \`stop\` (nothing left in its cgroup); why a step failed, and then what the same steps say with the tree's own systemd in systemd-nspawn."
    echo
    echo "| package | unit | installed | enabled | after apt | started | status | restart | log lines | stop | why not | with systemd 252 |"
    echo "|---|---|---|---|---|---|---|---|---|---|---|---|"
    cat "$dir/table"
  } > "$OUT"
fi
echo "servers: $passed of $total"
exit $failed
