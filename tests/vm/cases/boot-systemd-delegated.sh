# hosts: systemd
# Controllers in the hands of the guest's systemd: limits of its own units hold; the machine's own are out of its reach.
hostel boot $DEBIAN -d --name deb --memory 400M
booted deb
same 419430400 "$(group deb memory.max)" memory.max
inside=$(hostel exec deb -T -- cat /sys/fs/cgroup/cgroup.controllers)
case $inside in *memory*pids*) ;; *) fail "controllers inside: '$inside'" ;; esac
status 0 hostel exec deb -T -- sh -c 'systemctl set-property --runtime cron.service MemoryMax=50M 2>/dev/null; systemd-run -q --unit=small -p MemoryMax=30M sleep 100; sleep 0.5; [ "$(cat /sys/fs/cgroup/system.slice/small.service/memory.max)" = 31457280 ]'
# the file that holds the machine's own limit is not below its root
status 0 hostel exec deb -T -- sh -c '! [ -e /sys/fs/cgroup/memory.max ] || ! echo max > /sys/fs/cgroup/memory.max'
same 419430400 "$(group deb memory.max)" 'memory.max after'
status 0 hostel stop deb
