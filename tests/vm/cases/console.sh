# hosts: systemd sysvinit
# A read-only console shows and takes nothing; EOF and the end of the machine end it.
hostel boot $BOX -d --name con
booted con
says HOSTEL-TEST-UP timeout 5 hostel console con --read-only
printf 'touch /typed\r\n' | timeout 5 hostel console con --read-only >/dev/null 2>&1 || :
sleep 0.3; [ ! -e $BOX/typed ] || fail 'typed through a read-only console'
timeout 20 hostel console con --read-only > /tmp/console 2>&1 &
watcher=$!
sleep 0.3; hostel exec con -T -- sh -c 'echo seen-from-outside > /dev/console'
within 5 grep -q seen-from-outside /tmp/console
hostel stop con
within 5 not kill -0 $watcher
nspawn --console=read-only -D $BOX /bin/sh -c 'echo hello' > /tmp/out 2>&1 </dev/null || :
grep -q hello /tmp/out || fail "read-only console of nspawn: $(cat /tmp/out)"
