# hosts: systemd sysvinit
# Every way a root directory can be presented: status, ids, what can be written, and that nothing reaches the tree unless it should.
row() { # OPTIONS : HOST UID OF ROOT (0, shifted) : / IS WRITABLE (rw, ro) : THE TREE KEEPS IT (kept, lost)
  local options=$1 uid=$2 writable=$3 kept=$4 out want
  rm -f $BOX/mark; mkdir -p $BOX/srv/deep/down
  out=$(nspawn $options -D $BOX /bin/sh -c 'id -u; read -r _ host _ < /proc/self/uid_map; [ $host = 0 ] && echo 0 || echo shifted
    if (: > /mark) 2>/dev/null; then echo rw; rm -r /srv/deep 2>/dev/null; mkdir -p /srv/deep; ls -A /srv/deep; else echo ro; fi; exit 7' 2>&1) && fail "$options: status 0" || same 7 $? "$options: status ($out)"
  same "0 $uid $writable" "$(echo $out)" "options '$options'"
  want=lost; [ ! -e $BOX/mark ] || want=kept
  same "$kept" "$want" "options '$options': a file made inside"
  [ $want = lost ] || same '0:0' "$(stat -c %u:%g $BOX/mark)" "options '$options': owner of a file made inside"
}
cp -a $BOX /var/tmp/box; BOX=/var/tmp/box
for user in : -U:shifted '--private-users=identity:0' '--private-users=655360:65536 --private-users-ownership=map:shifted'; do
  uid=${user##*:} user=${user%:*}; [ -n "$user" ] || uid=0
  row "$user" $uid rw kept
  row "$user --read-only" $uid ro lost
  row "$user -x" $uid rw lost
  row "$user --volatile=overlay" $uid rw lost
  row "$user --volatile=yes" $uid rw lost
  row "$user --volatile=state" $uid ro lost
  row "$user --private-network" $uid rw kept
  row "$user --network-veth" $uid rw kept
done
rm -rf $BOX
