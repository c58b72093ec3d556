# Sourced by every case, which runs under `sh -eu` and succeeds with status 0; 77: cannot be said here.
BOX=/var/lib/machines/box     # a busybox tree
DEBIAN=/trees/debian          # Debian with systemd
read -r HOST < /share/kind    # what this host is: systemd or sysvinit
nspawn() { hostel nspawn -q --console=pipe "$@"; } # without --console=: a terminal of its own, and CR LF
fail() { echo "FAIL: $*"; exit 1; }
skip() { echo "$*"; exit 77; }

# status N COMMAND...: it ends with N
status() {
  local want=$1 got=0
  shift
  "$@" || got=$?
  [ $got = $want ] || fail "status $got instead of $want: $*"
}
# says TEXT COMMAND...: its output has TEXT in it, whatever its status
says() {
  local want=$1 got
  shift
  got=$("$@" 2>&1) || :
  case $got in *"$want"*) ;; *) fail "no '$want' from: $*; but:" "$(echo "$got" | head -n 20)" ;; esac
}
# same WANT GOT WHAT
same() { [ "$1" = "$2" ] || fail "$3: '$2' instead of '$1'"; }
# within SECONDS COMMAND...: it succeeds some time
within() {
  local now end
  read -r now end < /proc/uptime
  end=$((${now%.*} + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    read -r now _ < /proc/uptime
    [ ${now%.*} -lt $end ] || fail "not in time: $*"
    sleep 0.2
  done
}
not() { ! "$@"; }
runs() { hostel ps -q | grep -qx "$1"; }
# booted NAME: its trees' recipe makes this file when all is up. Looked for from outside: a program started five times a second
# is a burden on an emulated processor, on which a Debian takes half a minute to boot, and much more beside other work.
# It is listed a moment before it has a leader, which is asked for once.
booted() { within 20 has_leader "$1"; within 150 test -e "/proc/$(leader "$1")/root/run/hostel-test-up"; }
has_leader() { [ -n "$(leader "$1")" ]; }
# a file of machine NAME's cgroup: group NAME FILE. Those of systemd-nspawn are in a scope where systemd runs the host.
group() {
  local scope=/sys/fs/cgroup/machine.slice/machine-$1.scope
  [ -d "$scope" ] || scope=/sys/fs/cgroup
  cat "$scope/hostel/$1/$2"
}
supervisor() { hostel status "$1" | sed -n 's/^ *supervisor: //p'; }
leader() { hostel status "$1" | sed -n 's/^ *leader: \([0-9]*\).*/\1/p'; }
