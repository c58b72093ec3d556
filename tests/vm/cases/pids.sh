# hosts: systemd
# A fork bomb is held by pids.max, the host stays usable, and the machine can be ended.
hostel boot $BOX -d --name bomb --pids 40
booted bomb
same 40 "$(group bomb pids.max | tr -d '\n')" pids.max
hostel exec bomb -T -- sh -c 'b() { b | b & }; b; sleep 1' >/dev/null 2>&1 || :
[ "$(group bomb pids.peak 2>/dev/null || group bomb pids.current)" -le 40 ] || fail "more than 40: $(group bomb pids.current)"
cat /sys/fs/cgroup/hostel/bomb/pids.events /sys/fs/cgroup/hostel/bomb/*/pids.events | grep -q 'max [1-9]' || fail 'nothing was refused'
hostel inspect bomb | grep -q '"tasks_refused": [1-9]' || fail "hostel does not know: $(hostel inspect bomb | grep tasks_)"
same 0 "$(sh -c 'true; echo $?')" 'a process of the host'
hostel stop -t 2 bomb >/dev/null 2>&1 || same 4 $? 'stop'
within 5 not runs bomb
