#!/bin/bash
# Makes a bare Debian-like machine ready to build hostel and to run its tests: packages by name, the static Rust target.
# Installs nothing that is there already; needs root only when something is missing.
#
#   scripts/setup.sh            what the build and the tests need
#   scripts/setup.sh --build    what the build needs (nothing but Rust and a C linker)
set -euo pipefail
cd "$(dirname "$0")/.."
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }

# command that shows the package is there : package
NEED="cc:gcc"
[ "${1:-}" = --build ] || NEED="$NEED mmdebstrap:mmdebstrap busybox:busybox-static systemd-nspawn:systemd-container ip:iproute2
  strace:strace mkfs.ext4:e2fsprogs mkfs.btrfs:btrfs-progs mkfs.xfs:xfsprogs mkfs.erofs:erofs-utils mksquashfs:squashfs-tools setfattr:attr
  debugfs:e2fsprogs mkfs.vfat:dosfstools sfdisk:fdisk setfacl:acl unshare:util-linux losetup:mount script:bsdutils lxc-start:lxc newuidmap:uidmap"
missing=
for pair in $NEED; do have "${pair%%:*}" || missing="$missing ${pair#*:}"; done
# busybox must be the static one: it is the whole system of a tree
case " $NEED " in *busybox*) if have busybox && ldd "$(command -v busybox)" >/dev/null 2>&1; then missing="$missing busybox-static"; fi ;; esac
# a library of Python's, no command
[ "${1:-}" = --build ] || [ -d /usr/lib/python3/dist-packages/lxc ] || missing="$missing python3-lxc"
if [ -n "$missing" ]; then
  if ! have apt-get; then echo "install packages: no apt-get here; install the counterparts of:$missing" >&2; exit 1; fi
  as=; [ "$(id -u)" = 0 ] || as=sudo
  export DEBIAN_FRONTEND=noninteractive
  # one package manager at a time: image builds' clean-up hooks delete each other's downloads
  exec 8>"${HOSTEL_APT_LOCK:-/tmp/apt.lock}"; flock 8
  $as apt-get -qq update >&2 || echo "apt-get update failed; going on with what is cached" >&2
  $as apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends $missing >/dev/null
  exec 8>&-
fi
. scripts/target.sh
echo "ready: cargo $(cargo --version | cut -d' ' -f2), target $TARGET$([ -n "$missing" ] && echo ", installed:$missing")" >&2
