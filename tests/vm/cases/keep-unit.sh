# hosts: systemd
# --keep-unit inside a service: no scope; the machine is in the service's cgroup where that is delegated, and machined knows it by it.
prop() { systemctl show -P "$2" "$1"; }
unknown() { ! machinectl show "$1" >/dev/null 2>&1; }
systemd-run -q --unit=kept -p Delegate=yes -p KillMode=mixed -p Type=notify -p NotifyAccess=all -p 'SuccessExitStatus=1 133' \
  /usr/local/bin/hostel nspawn -q --keep-unit --console=passive -D $BOX -M kept --property=MemoryMax=50M /bin/sh -c 'sleep 1000'
same active "$(systemctl is-active kept.service)" 'the service, when it has said READY=1'
within 20 runs kept
own=/sys/fs/cgroup/system.slice/kept.service
same 52428800 "$(cat $own/hostel/kept/memory.max)" memory.max
grep -qx "$(leader kept)" $own/hostel/kept/payload/cgroup.procs || fail 'the leader is elsewhere'
grep -qx "$(supervisor kept)" $own/supervisor/cgroup.procs || fail 'the supervisor is elsewhere'
[ "$(prop machine-kept.scope LoadState)" = not-found ] || fail 'there is a scope'
same kept.service "$(machinectl show -p Unit --value kept)" 'unit as machined knows it'
# nobody asks a command to end: it is killed, and that is status 1, as systemd-nspawn's
systemctl stop kept.service
within 10 not runs kept; within 10 unknown kept
[ ! -e $own ] || fail 'its cgroup is left'
same '' "$(systemctl list-units --failed --plain --no-legend 'kept*')" 'failed units'
# a service that is not delegated: systemd may move what is in it, so the machine is beside it
systemd-run -q --unit=lone -p KillMode=mixed /usr/local/bin/hostel nspawn -q --keep-unit --register=no --console=passive -D $BOX -M lone /bin/sh -c 'sleep 1000'
within 20 runs lone; within 10 test -d /sys/fs/cgroup/hostel/lone
systemctl stop lone.service
within 10 not runs lone
# machined has to know it, and cannot: it does not start
says 'register machine lone with systemd-machined' nspawn -D $BOX -M lone --keep-unit --register=yes /bin/true
! runs lone || fail 'it runs'
