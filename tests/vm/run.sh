#!/bin/bash
# Boots a VM of build.sh, runs SHARE/job in it as root, shows what it prints, returns its exit status.
#
#   tests/vm/run.sh systemd|sysvinit SHARE
#
# SHARE is /share inside, read and write. 124: no answer within ${VM_TIMEOUT:-600} seconds; 125: the VM came to no end of its
# own. Nothing written to the VM's disks is kept. Emulated (no KVM needed): programs run some 6 times slower than outside.
set -u
VMS=${HOSTEL_VM:-/var/tmp/hostel-vm}; kind=$1; share=$(realpath "$2") || exit 125; limit=${VM_TIMEOUT:-600}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/hostel-vm.XXXXXX"); qemu=
finish() { if [ -n "$qemu" ]; then kill "$qemu" 2>/dev/null; wait "$qemu" 2>/dev/null; fi; rm -rf "$scratch"; }
trap finish EXIT; trap 'exit 130' INT TERM
rm -f "$share/status"; : > "$scratch/out"
disk() { echo "file=$1,if=none,id=$2,format=raw,snapshot=on,cache=unsafe"; }
qemu-system-x86_64 -accel tcg,thread=multi,tb-size=512 -cpu max -m "${VM_MEMORY:-1024}" -smp 2 \
  -machine q35,i8042=off,hpet=off,vmport=off,sata=off,smbus=off,usb=off -nodefaults -no-user-config -display none -no-reboot \
  -kernel "$VMS/kernel/vmlinux" -initrd "$VMS/kernel/initrd" \
  -append "console=ttyS0 quiet loglevel=3 panic=-1 root=/dev/vda tsc=reliable no_timer_check mitigations=off audit=0 random.trust_cpu=on systemd.show_status=0 net.ifnames=0" \
  -serial "file:$scratch/serial" -object rng-random,id=random,filename=/dev/urandom -device virtio-rng-pci,rng=random \
  -drive "$(disk "$VMS/$kind/root.img" root)" -device virtio-blk-pci,drive=root \
  -drive "$(disk "$VMS/trees/trees.img" trees)" -device virtio-blk-pci,drive=trees \
  -device virtio-serial-pci -chardev "file,id=out,path=$scratch/out" -device virtserialport,chardev=out,name=out \
  -fsdev "local,id=share,path=$share,security_model=none,multidevs=remap" -device virtio-9p-pci,fsdev=share,mount_tag=share \
  </dev/null 2>"$scratch/qemu" &
qemu=$!
tail -f -n +1 -s 0.2 --pid=$qemu "$scratch/out" 2>/dev/null | sed -u 's/\r$//' &
shown=$!
status=; end=$((SECONDS + limit))
while kill -0 $qemu 2>/dev/null; do
  if [ $SECONDS -ge $end ]; then status=124; kill $qemu; break; fi
  sleep 0.1
done
wait $qemu 2>/dev/null; qemu=; wait $shown 2>/dev/null
if [ -s "$share/status" ]; then status=$(cat "$share/status"); fi
case ${status:=125} in 124|125) echo "vm $kind: status $status; the end of its console:" >&2; tail -n 20 "$scratch/serial" "$scratch/qemu" >&2 ;; esac
exit "$status"
