# hosts: systemd sysvinit
# --network-ipvlan=: a link of the machine's own on an interface of the host; two machines on one reach each other; gone at the end.
modprobe ipvlan 2>/dev/null || skip 'no ipvlan here'
ip link add low0 type dummy; ip link set low0 up
says ' iv-low0@' nspawn -D $BOX --network-ipvlan=low0 ip link
says ' given0@' nspawn -D $BOX --network-ipvlan=low0:given0 ip link
not nspawn -D $BOX --network-ipvlan=none0 true || fail 'it started without the interface'
says none0 nspawn -D $BOX --network-ipvlan=none0 true
# an address of its own, and a neighbour on the same interface
mine='ip address add $1 dev iv-low0; ip link set iv-low0 up'
nspawn -M left -D $BOX --network-ipvlan=low0 sh -c "$mine; exec sleep 300" sh 192.0.2.1/24 & left=$!
within 20 has_leader left
within 20 sh -c "nsenter -n -t $(leader left) ip address show up dev iv-low0 | grep -q 192.0.2.1"
status 0 nspawn -x -M right -D $BOX --network-ipvlan=low0 sh -c "$mine; ping -c 1 -w 20 192.0.2.1" sh 192.0.2.2/24
hostel stop --force left; wait $left || :
ip link delete low0
