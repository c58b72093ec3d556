# hosts: systemd
# systemd-nspawn's machines on a host that systemd runs: a scope of their own with the limits, known to machined, gone at the end.
unit=machine-web\\x2d1.scope
prop() { systemctl show -P "$2" "$1"; }
gone() { [ "$(prop "$1" LoadState)" = not-found ] || [ "$(prop "$1" ActiveState)" = inactive ]; }
unknown() { ! machinectl show "$1" >/dev/null 2>&1; }
nspawn -D $BOX -M web-1 --property=MemoryMax=100M --property=TasksMax=77 --property=CPUQuota=50% --network-veth --network-config=none \
  /bin/sh -c 'cat /proc/self/cgroup > /groups; sleep 1000' &
within 30 test -s $BOX/groups
same active "$(prop $unit ActiveState)" 'the scope'
same yes "$(prop $unit Delegate)" Delegate
same machine.slice "$(prop $unit Slice)" Slice
same 104857600 "$(prop $unit MemoryMax)" MemoryMax
same 77 "$(prop $unit TasksMax)" TasksMax
same 500ms "$(prop $unit CPUQuotaPerSecUSec)" CPUQuota
same 104857600 "$(cat "/sys/fs/cgroup/machine.slice/$unit/memory.max")" 'memory.max of the scope'
inner=/sys/fs/cgroup/machine.slice/$unit/hostel/web-1
same 104857600 "$(cat "$inner/memory.max")" 'memory.max of the machine'
same 0::/ "$(cat $BOX/groups)" 'cgroup as seen inside'
says "$unit" systemctl status "$unit"
payload=$(leader web-1)
grep -qx "$payload" "$inner/payload/cgroup.procs" || fail "the leader is not in $inner/payload"
# the real machinectl and the real machined
case $(machinectl list --no-legend) in *web-1*container*systemd-nspawn*) ;; *) fail "machinectl list: $(machinectl list)" ;; esac
same "$payload" "$(machinectl show -p Leader --value web-1)" Leader
same "$unit" "$(machinectl show -p Unit --value web-1)" Unit
same /var/lib/machines/box "$(machinectl show -p RootDirectory --value web-1)" RootDirectory
same "ai 1 $(cat /sys/class/net/ve-web-1/ifindex)" "$(busctl get-property org.freedesktop.machine1 /org/freedesktop/machine1/machine/web_2d1 org.freedesktop.machine1.Machine NetworkInterfaces)" interfaces
says "Unit: $unit" machinectl --no-pager status web-1
# it comes in, and is held by the same limits
status 0 hostel exec web-1 -T -- true
systemctl daemon-reload
same 104857600 "$(cat "$inner/memory.max")" 'memory.max after daemon-reload'
hostel stop --force web-1 >/dev/null 2>&1 || same 4 $? stop
within 10 gone "$unit"; within 10 unknown web-1
[ ! -e "/sys/fs/cgroup/machine.slice/$unit" ] || fail 'its cgroup is left'
# again at once, and again: the scope of the one before may be on its way out
for i in 1 2 3; do status $i nspawn -D $BOX -M web-1 /bin/sh -c "exit $i"; done
# nobody is to be told; a slice of our own
nspawn -D $BOX -M quiet --register=no --slice=own /bin/sh -c 'echo 1 > /up; sleep 1000' &
within 20 test -s $BOX/up
same own.slice "$(prop machine-quiet.scope Slice)" Slice
unknown quiet || fail 'it is registered'
# whoever stops the scope ends the machine
systemctl stop machine-quiet.scope
within 10 not runs quiet
# a killed supervisor: payload, scope and registration go
rm -f $BOX/up
nspawn -D $BOX -M victim /bin/sh -c 'echo 1 > /up; sleep 1000' &
within 20 test -s $BOX/up
payload=$(leader victim)
kill -9 "$(supervisor victim)"
within 10 not kill -0 "$payload"
within 10 gone machine-victim.scope; within 10 unknown victim
status 0 hostel clean
! hostel ps -a -q | grep -qx victim || fail 'clean left it'
# native machines are in no unit, unless they are to be
hostel boot $BOX -d --name native
booted native
unknown native || fail 'a native machine is registered'
[ -d /sys/fs/cgroup/hostel/native ] || fail 'a native machine has another cgroup'
status 0 hostel stop native
rm -f $BOX/up $BOX/groups
same '' "$(systemctl list-units --failed --plain --no-legend 'machine-*')" 'failed units'
