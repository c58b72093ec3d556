# hosts: systemd
# The host's / is shared here: no mount made in a machine comes out, not even on a bound host directory; mounts of the host come in there.
grep -q ' / / .* shared:' /proc/self/mountinfo || skip 'this / is not shared'
d=/var/tmp/prop; mkdir -p $d/in $d/out $d/late; chmod 777 $d/out
for users in '' -U; do
  nspawn $users -D $BOX -M prop --bind=$d:/mnt /bin/sh -c 'mount -t tmpfs inner /mnt/in && mount -t tmpfs inner /srv && echo mounted > /mnt/out/state; sleep 1000' &
  within 10 test -s $d/out/state
  ! grep -q ' inner ' /proc/self/mountinfo || fail "users '$users': a machine's mount came out"
  mount -t tmpfs outer $d/late; echo late > $d/late/file
  hostel exec prop -T -- cat /mnt/late/file >/dev/null 2>&1 && echo "users '$users': host mounts come in" || echo "users '$users': host mounts do not come in"
  umount $d/late || fail "users '$users': a mount of the host is held by the machine"
  hostel stop --force prop >/dev/null 2>&1 || same 4 $? stop
  within 5 not runs prop
  wait
  rm $d/out/state
done
nspawn -D $BOX --volatile=overlay /bin/sh -c 'mount -t tmpfs inner /srv'
hostel run -- mount -t tmpfs inner /mnt
! grep -q ' inner ' /proc/self/mountinfo || fail 'a mount is left'
rm -rf $d
