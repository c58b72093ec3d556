# hosts: systemd
# Disk images where the kernel has device-mapper: dm-verity with a root hash, LUKS with a passphrase typed, and nothing left.
d=/var/tmp/images; rm -rf $d; mkdir -p $d/tree; cd $d
cp -a $BOX/. tree/; echo 0123456789abcdef0123456789abcdef > tree/etc/machine-id
loops() { [ "$(losetup -n -O NAME | wc -l)" = 0 ]; }
maps() { [ -z "$(ls /dev/mapper | grep -v control)" ]; }
mkfs.erofs a.raw tree >/dev/null 2>&1
modprobe dm-verity; modprobe dm-crypt

# a bare file system with its hash tree beside it, the root hash given, in a file, in an attribute
veritysetup format a.raw a.verity > format
hash=$(sed -n 's/^Root hash:[[:space:]]*//p' format); [ ${#hash} = 64 ] || fail "no root hash: $(cat format)"
same "verified /dev/mapper" "$(nspawn -i a.raw --root-hash=$hash sh -c 'echo verified; sed -n "s, / .*,,p" /proc/mounts' | tr '\n' ' ' | sed 's,/hostel-.*,,')" "--root-hash="
status 0 nspawn -U -i a.raw --root-hash=$hash true
not nspawn -i a.raw --root-hash=$(echo $hash | tr 0-9a-f 1-9a-f0) true || fail "another root hash was taken"
echo $hash > a.roothash
status 0 nspawn -i a.raw --image-policy=root=verity true
within 5 loops; within 5 maps

# what was changed is not read
cp a.raw b.raw; cp a.verity b.verity; cp a.roothash b.roothash
size=$(stat -c %s b.raw); dd if=/dev/urandom of=b.raw bs=4096 seek=1 count=$((size / 4096 - 1)) conv=notrunc 2>/dev/null
not nspawn -i b.raw true || fail "a changed image was used"
within 5 loops; within 5 maps

# partitions that belong together by their ids
uuid() { echo "$1" | sed 's/\(........\)\(....\)\(....\)\(....\)\(............\)/\1-\2-\3-\4-\5/'; }
mib=$(( (size >> 20) + 1 )); vsize=$(( ($(stat -c %s a.verity) >> 20) + 1 ))
truncate -s $((mib + vsize + 2))M c.raw
printf 'label: gpt\nsize=%sMiB, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, uuid=%s\nsize=%sMiB, type=2c7357ed-ebd2-46d9-aec1-23d437ec2bf5, uuid=%s\n' \
  $mib "$(uuid "$(echo $hash | cut -c1-32)")" $vsize "$(uuid "$(echo $hash | cut -c33-)")" | sfdisk -q c.raw
dd if=a.raw of=c.raw bs=1M seek=1 conv=notrunc 2>/dev/null; dd if=a.verity of=c.raw bs=1M seek=$((mib + 1)) conv=notrunc 2>/dev/null
status 0 nspawn -i c.raw --root-hash=$hash --image-policy=root=verity true
says unverified hostel nspawn --console=read-only -i c.raw true
status 1 nspawn -i c.raw --image-policy=root=signed true
within 5 loops; within 5 maps

# a supervisor that is killed leaves neither mapping nor loop device
hostel nspawn -q --console=pipe -M sealed -i a.raw sleep 100 > /dev/null 2>&1 &
within 10 runs sealed
kill -9 $(supervisor sealed); within 10 not runs sealed; hostel clean
within 5 loops; within 5 maps

# LUKS: asked for on the terminal
truncate -s 32M l.raw
printf secret | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 l.raw -
printf secret | cryptsetup open l.raw fill -; mkfs.ext4 -q -d tree /dev/mapper/fill; cryptsetup close fill
says 'standard input is no terminal' nspawn -i l.raw true
out=$( (sleep 4; echo secret; sleep 3) | script -qec "hostel nspawn -q -i $d/l.raw sh -c 'echo opened-it; touch /kept'" /dev/null 2>&1) || fail "LUKS: $out"
case $out in *opened-it*) ;; *) fail "LUKS: $out" ;; esac
out=$( (sleep 4; echo wrong; sleep 3; echo wrong; sleep 3; echo wrong; sleep 3) | script -qec "hostel nspawn -q -i $d/l.raw true" /dev/null 2>&1) && fail "a wrong passphrase: $out"
within 5 loops; within 5 maps

# the host's udev is not disturbed, and the plain kinds work here, too
truncate -s 24M e.raw; mkfs.ext4 -q -d tree e.raw
for users in '' -U; do
  status 0 nspawn $users -i e.raw sh -c 'touch /x'
  status 0 nspawn $users -i e.raw --volatile=overlay sh -c 'touch /y'
  status 0 nspawn $users -i e.raw -x sh -c 'touch /z'
done
within 5 loops
cd /; rm -rf $d
