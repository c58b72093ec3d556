# hosts: systemd
# Machines beside the host's systemd: it stays healthy, takes nothing away, and a unit may run a machine.
hostel boot $BOX -d --name beside --memory 100M --pids 50 --cpus 0.5
booted beside
systemctl daemon-reload
same 104857600 "$(group beside memory.max)" 'memory.max after daemon-reload'
systemctl start systemd-tmpfiles-clean.service
same 50 "$(group beside pids.max)" 'pids.max after a unit ran'
status 0 hostel stop beside
# as a unit of the host: its stop ends the machine
systemd-run -q --unit=machine-unit -p KillMode=mixed hostel boot $BOX --name unit --console=passive
within 20 runs unit; booted unit
systemctl stop machine-unit.service
within 5 not runs unit
# ready when it says so
systemd-run -q --unit=machine-notify -p Type=notify -p NotifyAccess=all hostel boot $BOX --name unit --console=passive
same active "$(systemctl is-active machine-notify.service)" 'a Type=notify unit'
systemctl stop machine-notify.service
within 5 not runs unit
same '' "$(systemctl list-units --failed --plain --no-legend machine-*)" 'failed units'
# the host's own groups are as systemd wants them
[ -z "$(find /sys/fs/cgroup/hostel -mindepth 1 -type d ! -name '.devices-*' 2>/dev/null)" ] || fail 'cgroups are left'
