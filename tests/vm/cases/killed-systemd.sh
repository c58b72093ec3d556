# hosts: systemd
# As killed.sh with a whole Debian, whose systemd made cgroups of its own: all of them go.
hostel boot $DEBIAN -d --name victim --private-users=pick --memory 500M
booted victim
[ "$(find /sys/fs/cgroup/hostel/victim -type d | wc -l)" -gt 5 ] || fail 'its systemd made no cgroups'
payload=$(leader victim)
kill -9 "$(supervisor victim)"
within 10 not kill -0 "$payload"
status 0 hostel clean
[ ! -e /sys/fs/cgroup/hostel/victim ] || fail 'its cgroup is left'
