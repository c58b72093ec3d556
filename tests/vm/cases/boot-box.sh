# hosts: systemd sysvinit
# busybox init: boot, exec, pause, resume, logs, reboot, stop, and stop before it is up.
hostel boot $BOX -d --name box
booted box
says box hostel ps
same '1' "$(hostel exec box -T -- sh -c 'cat /proc/1/comm | grep -c init')" 'PID 1'
hostel exec box -T -- sh -c '(while :; do echo x >> /run/ticks; sleep 0.05; done) >/dev/null 2>&1 &'
within 5 hostel exec box -T -- test -s /run/ticks
hostel pause box
says paused hostel ps
file=/proc/$(leader box)/root/run/ticks
sleep 0.2; a=$(stat -c %s $file); sleep 0.5; same "$a" "$(stat -c %s $file)" 'size of a log in a paused machine'
hostel resume box
says running hostel ps
sleep 0.5; [ "$(stat -c %s $file)" -gt "$a" ] || fail 'resumed, but nothing goes on'
says HOSTEL-TEST-UP hostel logs box
first=$(leader box)
hostel exec box -T -- reboot || :
within 20 sh -c 'l=$(hostel status box | sed -n "s/^ *leader: \([0-9]*\).*/\1/p"); [ -n "$l" ] && [ "$l" != '$first' ]'
booted box
status 0 hostel stop box
status 0 hostel stop box
status 3 hostel stop --strict box
hostel boot $BOX -d --name box; status 0 hostel stop box
# paused machines can be stopped as well
hostel boot $BOX -d --name box; booted box; hostel pause box; hostel stop -t 5 box || same 4 $? 'stop of a paused machine'
not runs box
