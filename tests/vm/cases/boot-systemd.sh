# hosts: systemd sysvinit
# Debian's systemd as PID 1, with the host's ids and with its own: up, used, rebooted, stopped; the host's root stays writable.
for users in '--privileged-users host' '--private-users=pick'; do
  hostel boot $DEBIAN -d --name deb $users
  booted deb
  # degraded by what machines have not; but up
  state=$(hostel exec deb -T -- systemctl is-system-running --wait) || :
  case $state in running|degraded) ;; *) fail "users '$users': system is $state" ;; esac
  echo "users '$users': $state; failed units: $(hostel exec deb -T -- systemctl list-units --failed --plain --no-legend | cut -d' ' -f1 | tr '\n' ' ')"
  status 5 hostel exec deb -T -- sh -c 'exit 5'
  hostel exec deb -T -- systemd-run -q --wait -p MemoryMax=50M -p TasksMax=20 true || fail "users '$users': systemd-run inside"
  # once is enough: a boot takes many seconds here
  if [ "$users" = --private-users=pick ]; then
    first=$(leader deb)
    hostel exec deb -T -- systemctl reboot || :
    within 150 sh -c 'l=$(hostel status deb | sed -n "s/^ *leader: \([0-9]*\).*/\1/p"); [ -n "$l" ] && [ "$l" != '$first' ]'
    booted deb
  fi
  status 0 hostel stop deb
  not runs deb || fail 'still there'
  touch /trees/still-writable /var/tmp/still-writable
  rm /trees/still-writable /var/tmp/still-writable
done
