# hosts: systemd
# OOMPolicy= under hostel's own init: memory runs out for one process of a service, whose main process goes on.
units=$BOX/etc/systemd/system
mkdir -p $units
for policy in stop kill continue; do
  printf '[Service]\nMemoryMax=24M\nMemorySwapMax=0\nOOMPolicy=%s\nExecStart=/bin/sh -c "dd if=/dev/zero of=/dev/null bs=50000000 count=1; exec sleep 1000"\n' \
    $policy > $units/oom-$policy.service
done
hostel boot $BOX -d --wait --name oom --init=hostel
ctl() { hostel exec oom -T -- /run/hostel-init/hostel ctl "$@"; }
status 0 ctl start oom-stop oom-kill oom-continue
within 90 ctl is-failed -q oom-stop
says Result=oom-kill ctl show -p Result oom-stop
within 90 ctl is-failed -q oom-kill
says Result=oom-kill ctl show -p Result oom-kill
within 90 hostel exec oom -T -- grep -q 'oom_kill [1-9]' /sys/fs/cgroup/system.slice/oom-continue.service/memory.events
same active "$(ctl is-active oom-continue)" 'a service that goes on'
status 0 hostel stop oom
rm $units/oom-*.service
