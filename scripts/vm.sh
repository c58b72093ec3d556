#!/bin/bash
# Runs the tests that need a host this machine is not, in throw-away virtual machines (QEMU, emulated; no KVM needed).
# Does its own set-up: packages by name, the static binary, the trees, the VMs (some two minutes once, then kept).
#
#   scripts/vm.sh                            all cases on all hosts
#   scripts/vm.sh [--verbose] systemd        on the host run by systemd, pure cgroup v2
#   scripts/vm.sh [--verbose] sysvinit       on the host run by sysvinit, no cgroup mounted
#   scripts/vm.sh systemd memory devices     some cases of tests/vm/cases
#   scripts/vm.sh --build                    nothing but the set-up
set -euo pipefail
cd "$(dirname "$0")/.."
skip() { echo "virtual machines: skipped: $*"; exit 0; }
[ "$(uname -m)" = x86_64 ] || skip "only known for x86_64"
[ "$(id -u)" = 0 ] || { echo "run VMs: building them needs root" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }

missing=
for pair in mmdebstrap:mmdebstrap busybox:busybox-static cpio:cpio depmod:kmod mkfs.ext4:e2fsprogs xz:xz-utils; do
  have "${pair%%:*}" || missing="$missing ${pair#*:}"
done
qemu=; have qemu-system-x86_64 || qemu=qemu-system-x86
if [ -n "$missing$qemu" ]; then
  have apt-get || skip "no apt-get here to install the counterparts of:$missing $qemu"
  export DEBIAN_FRONTEND=noninteractive
  from=()
  # Beside qemu tools from backports, the QEMU of bookworm itself would remove them. The source is named for this run alone.
  if [ -n "$qemu" ] && grep -q '^VERSION_CODENAME=bookworm' /etc/os-release; then
    list=$(mktemp --suffix=.list)
    { cat /etc/apt/sources.list 2>/dev/null || :; echo "deb ${HOSTEL_DEBIAN_MIRROR:-http://deb.debian.org/debian} bookworm-backports main"; } > "$list"
    chmod 644 "$list"; from=(-o "Dir::Etc::sourcelist=$list" -t bookworm-backports)
  fi
  exec 8>"${HOSTEL_APT_LOCK:-/tmp/apt.lock}"; flock 8
  apt-get -qq "${from[@]}" update >&2 || echo "apt-get update failed; going on with what is cached" >&2
  installed=1
  [ -z "$missing" ] || apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends $missing >/dev/null || installed=
  [ -z "$qemu" ] || apt-get -qq -y -o Dpkg::Use-Pty=0 "${from[@]}" install --no-install-recommends $qemu >/dev/null || installed=
  exec 8>&-
  [ -z "$qemu" ] || rm -f "${list:-}"
  [ -n "$installed" ] || skip "apt-get cannot install:$missing $qemu"
fi
scripts/trees.sh busybox debian
[ "${1:-}" != --build ] || exec tests/vm/build.sh systemd sysvinit
hostel=${HOSTEL_BIN:-$(scripts/build.sh | sed -n 1p)}
exec tests/vm/suite.sh "$hostel" "$@"
