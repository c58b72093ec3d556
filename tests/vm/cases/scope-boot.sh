# hosts: systemd
# A whole Debian in a scope: machined's own verbs reach it, a reboot keeps it, the guest's systemd has its controllers.
prop() { systemctl show -P "$2" "$1"; }
nspawn -b -D $DEBIAN -M deb --console=passive --property=MemoryMax=400M > /tmp/deb.log 2>&1 &
booted deb
unit=machine-deb.scope
same active "$(prop $unit ActiveState)" 'the scope'
first=$(machinectl show -p Leader --value deb)
same "$(leader deb)" "$first" Leader
inside=$(hostel exec deb -T -- cat /sys/fs/cgroup/cgroup.controllers)
case $inside in *memory*pids*) ;; *) fail "controllers inside: '$inside'" ;; esac
says 'Unit: machine-deb.scope' machinectl --no-pager status deb
# the life after: same scope, another leader
machinectl reboot deb
other() { now=$(machinectl show -p Leader --value deb 2>/dev/null) && [ -n "$now" ] && [ "$now" != "$first" ]; }
within 60 other
booted deb
same active "$(prop $unit ActiveState)" 'the scope after a reboot'
machinectl poweroff deb
within 90 not runs deb
ended() { ! machinectl show deb >/dev/null 2>&1 && [ "$(prop $unit ActiveState)" = inactive ]; }
within 10 ended
