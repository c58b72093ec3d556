# hosts: systemd sysvinit
# The device policy: a disk of the host can neither be made nor opened, not even by root of the host's ids; DeviceAllow= adds.
# ACCESS inside: made, opened or refused
try='rm -f /disk; if mknod /disk b 254 0 2>/dev/null; then if head -c 1 /disk >/dev/null 2>&1; then echo opened; else echo made; fi; else echo refused; fi; rm -f /disk'
number=$(stat -c '%Hr %Lr' /dev/vda); try=$(echo "$try" | sed "s/254 0/$number/")
same refused "$(nspawn -D $BOX --capability=all /bin/sh -c "$try")" 'plain'
same refused "$(nspawn -D $BOX -U --capability=all /bin/sh -c "$try")" 'with a user namespace'
same refused "$(hostel run --privileged-users host --capability=all -- sh -c "$try")" 'run'
same opened "$(nspawn -D $BOX --property='DeviceAllow=/dev/vda rm' /bin/sh -c "$try")" 'DeviceAllow=/dev/vda rm'
same opened "$(nspawn -D $BOX --property='DeviceAllow=block-virtblk rwm' /bin/sh -c "$try")" 'DeviceAllow=block-virtblk rwm'
same made "$(nspawn -D $BOX --property='DeviceAllow=/dev/vda m' /bin/sh -c "$try")" 'DeviceAllow=/dev/vda m'
# a node that was there before is no way in either
mknod $BOX/before b $number
same no "$(nspawn -D $BOX --capability=all /bin/sh -c 'head -c 1 /before >/dev/null 2>&1 && echo yes || echo no')" 'a node in the tree'
rm $BOX/before
# bound in: by its node, which is not allowed to be opened unless told
same yes "$(nspawn -D $BOX --bind=/dev/vda --property='DeviceAllow=/dev/vda r' /bin/sh -c 'head -c 1 /dev/vda >/dev/null 2>&1 && echo yes || echo no')" 'bound and allowed'
same 'null zero' "$(nspawn -D $BOX /bin/sh -c 'echo x > /dev/null && echo null; head -c 1 /dev/zero >/dev/null && echo zero' | tr '\n' ' ' | sed 's/ $//')" 'the usual devices'
# a process that comes in later is held by it too
hostel boot $BOX -d --name dev --privileged-users host --capability=all; booted dev
same refused "$(hostel exec dev -T -- sh -c "$try")" 'exec'
hostel stop dev
