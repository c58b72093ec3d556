# hosts: systemd
# cpu.max holds a busy loop.
hostel boot $BOX -d --name busy --cpus 0.2
booted busy
same '20000 100000' "$(group busy cpu.max)" cpu.max
before=$(group busy cpu.stat | sed -n 's/usage_usec //p')
hostel exec busy -T -- timeout 2 sh -c 'while :; do :; done' || :
used=$(($(group busy cpu.stat | sed -n 's/usage_usec //p') - before))
group busy cpu.stat | grep -q 'nr_throttled [1-9]' || fail 'never throttled'
[ $used -lt 1000000 ] || fail "$used us in 2 s"
hostel stop busy
