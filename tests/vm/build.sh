#!/bin/bash
# Builds the virtual machines that stand in for hosts this machine is not, each once, below ${HOSTEL_VM:-/var/tmp/hostel-vm}.
#
#   tests/vm/build.sh systemd     a Debian host run by systemd: pure cgroup v2
#   tests/vm/build.sh sysvinit    a Debian host run by sysvinit: no cgroup mounted at all
#
# A VM is a kernel with an initrd (one for all), a root file system, and a second disk with the trees to boot in it. All
# three are opened as throw-away snapshots, so that every run starts from the same state. Needs root, mmdebstrap, mkfs.ext4.
set -euo pipefail
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
here=$(dirname "$(realpath "$0")")
VMS=${HOSTEL_VM:-/var/tmp/hostel-vm}
TREES=${HOSTEL_TREES:-/var/tmp/hostel-trees}
LOCK=${HOSTEL_APT_LOCK:-/tmp/apt.lock}
SUITE=bookworm
TOOLS=busybox-static,cryptsetup-bin,e2fsprogs,erofs-utils,fdisk,iproute2,kmod,mount,procps,udev,util-linux
# What the initrd loads before it can mount the root disk and the share.
FIRST="virtio_pci virtio_blk ext4 virtio_console virtio_rng 9pnet_virtio 9p overlay"

die() { echo "$*" >&2; exit 1; }

# kernel DIR: DIR/{vmlinux,initrd,lib/modules/,version} from Debian's kernel package, which is unpacked, not installed
kernel() {
  local dir=$1 package version
  package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
  [ -n "$package" ] || die "find kernel: apt knows no linux-image-amd64"
  (cd "$dir" && flock "$LOCK" apt-get -qq -o APT::Sandbox::User=root download "$package" && dpkg -x "$package"_*.deb unpacked)
  version=$(ls "$dir/unpacked/lib/modules")
  uncompressed "$dir/unpacked/boot/vmlinuz-$version" > "$dir/vmlinux" || die "unpack kernel $version: no xz stream in it"
  depmod -b "$dir/unpacked" "$version"
  initrd "$dir/unpacked" "$version" > "$dir/initrd"
  # of the modules: file systems, networking, block devices; not the thousands for hardware that is not there
  mkdir -p "$dir/lib/modules/$version"
  (cd "$dir/unpacked/lib/modules/$version"
    cp -a --parents kernel/{arch,crypto,fs,lib,net} kernel/drivers/{block,md,virtio} modules.builtin* modules.order "$dir/lib/modules/$version/"
    find kernel/drivers/net -name '*.ko*' | grep -E 'net/([^/]*|ipvlan/.*|wireguard/.*|vxlan/.*)$' | xargs cp -a --parents -t "$dir/lib/modules/$version/")
  depmod -b "$dir" "$version"
  rm -rf "$dir/unpacked" "$dir"/*.deb
  echo "$version" > "$dir/version"
}

# uncompressed BZIMAGE: the ELF kernel in it; without the slow-down of unpacking it under emulation (a third of the boot)
uncompressed() {
  local offset out
  out=$(mktemp)
  for offset in $(LC_ALL=C grep -obUaP '\xfd7zXZ\x00' "$1" | cut -d: -f1); do
    tail -c +$((offset + 1)) "$1" | xz -dc --single-stream > "$out" 2>/dev/null || :
    if [ "$(head -c 4 "$out" | od -An -tx1 | tr -d ' ')" = 7f454c46 ]; then cat "$out"; rm -f "$out"; return 0; fi
  done
  rm -f "$out"; return 1
}

# initrd UNPACKED VERSION: busybox, the first modules, and a script
initrd() {
  local dir module file
  dir=$(mktemp -d)
  mkdir -p "$dir"/{bin,dev,proc,sys,root,modules}
  cp "$(command -v busybox)" "$dir/bin/busybox"
  for module in $FIRST; do
    modprobe -d "$1" -S "$2" --show-depends "$module" 2>/dev/null | sed -n 's/^insmod \([^ ]*\).*/\1/p' || :
  done | awk '!seen[$0]++' | while read -r file; do
    case $file in *.xz) xz -dc "$file" > "$dir/modules/$(basename "$file" .xz)" ;; *) cp "$file" "$dir/modules/" ;; esac
    basename "$file" .xz >> "$dir/order"
  done
  install -m 755 "$here/guest/initrd-init" "$dir/init"
  (cd "$dir" && find . | cpio --quiet -o -H newc | gzip -1)
  rm -rf "$dir"
}

# debian DIR PACKAGES: a root file system that mounts the share and runs its job
debian() {
  bash "$here/../../scripts/trees.sh" --bootstrap "$1" "$SUITE" "$2,$TOOLS"
  mkdir -p "$1"/{share,trees,lib/modules}
  cp -a "$VMS"/kernel/lib/modules/* "$1/lib/modules/"
  install -m 755 "$here/guest/job" "$1/usr/local/sbin/hostel-vm-job"
  echo vm > "$1/etc/hostname"; : > "$1/etc/fstab"; : > "$1/etc/resolv.conf"
  echo 5f5e6a3c0d8e4b0c9d5c3f1e2a7b8c9d > "$1/etc/machine-id"
}

root_systemd() { # systemd, D-Bus, logind, machined: the host most people have
  debian "$1" systemd,systemd-sysv,systemd-container,dbus,libpam-systemd
  local units=$1/etc/systemd/system unit
  install -m 644 "$here/guest/hostel-vm.service" "$units/"
  mkdir -p "$units/multi-user.target.wants"; ln -s ../hostel-vm.service "$units/multi-user.target.wants/"
  ln -sf /lib/systemd/system/multi-user.target "$units/default.target"
  # what only costs boot time here
  for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    getty@tty1.service serial-getty@ttyS0.service systemd-timesyncd.service systemd-update-utmp.service systemd-journal-flush.service; do
    ln -sf /dev/null "$units/$unit"
  done
}
root_sysvinit() { # sysvinit and nothing that mounts cgroups
  debian "$1" sysvinit-core,initscripts,sysv-rc,insserv,ifupdown
  cat > "$1/etc/inittab" <<'I'
id:2:initdefault:
si::sysinit:/etc/init.d/rcS
l2:2:wait:/etc/init.d/rc 2
l0:0:wait:/etc/init.d/rc 0
l6:6:wait:/etc/init.d/rc 6
vm:2:once:/usr/local/sbin/hostel-vm-job
I
}

# image FILE DIR SIZE
image() { mkfs.ext4 -q -F -L "$(basename "$1" .img)" -O ^has_journal -E lazy_itable_init=1,nodiscard -d "$2" "$1" "$3" >/dev/null; }

# once NAME RECIPE COMMAND...: runs COMMAND DIR for a fresh DIR that is renamed last, unless there is one of this recipe
once() {
  local name=$1 recipe=$2 start=$SECONDS dir
  shift 2
  exec 9>"$VMS/.$name.lock"; flock 9
  if [ "$(cat "$VMS/$name/recipe" 2>/dev/null)" != "$recipe" ]; then
    dir=$VMS/.new-$name; rm -rf "$dir"; mkdir "$dir"
    "$@" "$dir" 9>&-
    echo "$recipe" > "$dir/recipe"; rm -rf "${VMS:?}/$name"; mv "$dir" "$VMS/$name"
    echo "vm $name: built in $((SECONDS - start)) s, $(du -sm "$VMS/$name" | cut -f1) MB" >&2
  fi
  exec 9>&-
}
recipe() { { declare -f "$@"; echo "$SUITE $TOOLS $FIRST"; cat "$here"/guest/{initrd-init,job,hostel-vm.service}; } | sha256sum | cut -d' ' -f1; }

vm() { # KIND DIR
  "root_$1" "$2/root"; image "$2/root.img" "$2/root" 3G; rm -rf "$2/root"
}
trees() { # DIR: the trees that cases boot, made by scripts/trees.sh
  local tree
  mkdir "$1/trees"
  for tree in busybox debian; do [ ! -d "$TREES/$tree" ] || cp -a "$TREES/$tree" "$1/trees/"; done
  image "$1/trees.img" "$1/trees" 2G; rm -rf "$1/trees"
}

[ "$(id -u)" = 0 ] || die "build VMs: needs root (mmdebstrap makes device nodes and owners)"
[ "$(uname -m)" = x86_64 ] || die "build VMs: only known for x86_64"
[ $# -gt 0 ] || die "build VMs: which? systemd, sysvinit"
for kind; do declare -f "root_$kind" >/dev/null || die "build VM $kind: there is no such recipe; known: systemd sysvinit"; done
mkdir -p "$VMS"
once kernel "$(recipe kernel uncompressed initrd)" kernel
once trees "$(cat "$TREES"/.{busybox,debian}.recipe 2>/dev/null | sha256sum | cut -d' ' -f1)" trees
# side by side, on one base system, which may be there already
if [ -z "${HOSTEL_BASES:-}" ]; then HOSTEL_BASES=$(mktemp -d "$VMS/.bases.XXXXXX"); export HOSTEL_BASES; trap 'rm -rf "$HOSTEL_BASES"' EXIT; fi
built=(); for kind; do once "$kind" "$(cat "$VMS/kernel/recipe") $(recipe debian "root_$kind" vm)" vm "$kind" & built+=($!); done
status=0; for job in "${built[@]}"; do wait "$job" || status=$?; done
exit $status
