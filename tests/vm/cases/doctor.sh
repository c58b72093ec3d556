# hosts: systemd sysvinit
# The doctor finds what this host is, and that machines can run.
status 0 hostel doctor >/dev/null
case $HOST in
systemd) hostel doctor | grep -Eqx 'ok +cgroups +v2' && hostel doctor | grep -Eq '^ok +cgroup controllers +memory pids cpu cpuset io' || fail "$(hostel doctor | grep -A 3 cgroup)" ;;
sysvinit) says 'cgroups' hostel doctor ;;
esac
hostel doctor --json | grep -q '"can_run": true' || fail "no verdict in the JSON: $(hostel doctor --json | head -n 3)"
