# hosts: sysvinit
# Cables of a subhost: a VLAN on the second one, and what the host's /etc/network/interfaces says of their ends (ifupdown).
mkdir -p /opt/subhost/vl
printf 'iface %s inet static\n\taddress %s/24\n' vl0 198.51.100.1 vl1.302 203.0.113.1 >> /etc/network/interfaces
printf 'BASE= .\nLOWER= %s\nCABLES= = = =.302\nSTART= none\n' "$BOX" > /opt/subhost/vl/vl.conf
status 0 hostel overlay boot vl
says 'id 302' ip -d link show vl1.302
says 198.51.100.1/24 ip -4 addr show vl0
says 203.0.113.1/24 ip -4 addr show vl1.302
says vl1.302 ifquery --state
ip netns exec vl sh -euc 'ip addr add 198.51.100.2/24 dev eth0; ip link set eth0 up; ip link set eth1 up
  ip link add link eth1 name eth1.302 type vlan id 302; ip addr add 203.0.113.2/24 dev eth1.302; ip link set eth1.302 up'
status 0 hostel overlay go vl ping -c1 -W10 198.51.100.1
status 0 hostel overlay go vl ping -c1 -W10 203.0.113.1
status 0 hostel overlay stop vl
not ip link show vl1.302
same '' "$(ifquery --state | grep '^vl')" 'what ifupdown believes'
