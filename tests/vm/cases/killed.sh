# hosts: systemd sysvinit
# kill -9 of the supervisor: the payload dies with it; one clean-up, or the next start, and nothing is left.
for how in clean start; do
  hostel boot $BOX -d --name victim --net veth --private-users=pick $([ $HOST = sysvinit ] || echo --memory 100M --pids 50)
  booted victim
  payload=$(leader victim)
  kill -9 "$(supervisor victim)"
  within 5 not kill -0 "$payload"
  not runs victim || fail 'a dead machine is listed as running'
  if [ $how = clean ]; then
    status 0 hostel clean
    ! hostel ps -a -q | grep -qx victim || fail "after clean: $(hostel ps -a)"
    ! ip link show ve-victim >/dev/null 2>&1 || fail 've-victim is left'
    [ ! -e /sys/fs/cgroup/hostel/victim ] || fail 'its cgroup is left'
  else
    hostel boot $BOX -d --name victim; booted victim; status 0 hostel stop victim
  fi
done
