#!/bin/bash
# Builds the trees the tests boot, each once, below ${HOSTEL_TREES:-/var/tmp/hostel-trees}/NAME.
#
#   scripts/trees.sh                 what there is, and what is built already
#   scripts/trees.sh NAME...         build these if missing or if their recipe here changed
#   scripts/trees.sh --force NAME..  build again
#   scripts/trees.sh all             every tree
#
# A tree is built under a temporary name and renamed last: a tree that is there is whole. Every tree that boots
# writes "HOSTEL-TEST-UP" on its console and makes /run/hostel-test-up when it is up.
set -euo pipefail
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
TREES=${HOSTEL_TREES:-/var/tmp/hostel-trees}
MIRROR=${HOSTEL_DEBIAN_MIRROR:-http://deb.debian.org/debian}
LOCK=${HOSTEL_APT_LOCK:-/tmp/apt.lock}   # two package managers at once delete each other's downloads (docker-clean)
BASES=${HOSTEL_BASES:-}
UP='echo HOSTEL-TEST-UP >/dev/console; : >/run/hostel-test-up'

# base SUITE: a minimal Debian without manuals and translations, made once per run of this script; prints where it is
base() {
  local dir=$BASES/$1
  exec 7>"$BASES/$1.lock"; flock 7
  if [ ! -d "$dir" ]; then
    # A mirror may fail once. Without our descriptor: mmdebstrap names one of its own in a script for dash, which knows ten.
    minimal "$1" "$dir.new" 7>&- || { echo "bootstrap $1: once more" >&2; minimal "$1" "$dir.new" 7>&-; } || { rm -rf "$dir.new"; return 1; }
    mv "$dir.new" "$dir"
  fi
  exec 7>&-
  echo "$dir"
}
minimal() { # SUITE DIR
  rm -rf "$2"; mkdir "$2"; chmod 755 "$2"
  flock -o "$LOCK" mmdebstrap --quiet --variant=minbase --format=directory --skip=cleanup/apt/lists \
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Retries "3"' \
    --aptopt='Acquire::Languages "none"' --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt=force-unsafe-io \
    "$1" "$2" "$MIRROR" </dev/null >&2
}

# bootstrap TARGET SUITE PACKAGE,PACKAGE: a copy of the base with these packages in it
bootstrap() {
  local dir
  dir=$(base "$2") || return 1
  cp -a --reflink=auto "$dir/." "$1"
  cp /etc/resolv.conf "$1/etc/resolv.conf"
  printf '#!/bin/sh\nexit 101\n' > "$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"   # nothing is started
  # a mount and a pid namespace of its own: what a package's script starts or mounts ends with it
  unshare --mount --pid --fork --kill-child --propagation private -- sh -ec 'mount -t proc proc "$0/proc"; exec chroot "$0" env \
    -i PATH="$PATH" HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 install $(echo "$1" | tr , " ")' \
    "$1" "$3" </dev/null >"$1.log" 2>&1 || { tail -n 20 "$1.log" >&2; rm -f "$1.log"; return 1; }
  # as mmdebstrap leaves a tree: nothing of the installation itself
  rm -rf "$1.log" "$1/usr/sbin/policy-rc.d" "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb \
    "$1"/run/* "$1"/tmp/* "$1"/var/log/{apt/*,dpkg.log} "$1"/var/cache/ldconfig/aux-cache "$1"/var/lib/dbus/machine-id "$1"/etc/machine-id
  mkdir -p "$1/run/lock"; chmod 1777 "$1/run/lock"
  : > "$1/etc/machine-id"; : > "$1/etc/resolv.conf"; echo hostel-tree > "$1/etc/hostname"; : > "$1/etc/fstab"
  sed -i 's/^root:[^:]*:/root::/' "$1/etc/shadow"
}

build_busybox() { # a whole system in 2 MB: merged /usr, os-release, users; /sbin/init is busybox and there is no inittab
  local t=$1 b a
  b=$(command -v busybox)
  mkdir -p "$t"/{usr/{bin,sbin,lib,share},etc/init.d,dev,proc,sys,run,tmp,root,home/alice,var/{log,lib,tmp},mnt,srv,opt}
  for a in bin sbin lib; do ln -s usr/$a "$t/$a"; done; ln -s usr/lib "$t/lib64"
  chmod 1777 "$t/tmp" "$t/var/tmp"; chmod 700 "$t/root"; ln -s ../run "$t/var/run"
  install -m 755 "$b" "$t/usr/bin/busybox"
  "$b" --list | while read -r a; do case $a in busybox|init|linuxrc|getent) ;; *) ln -s busybox "$t/usr/bin/$a" ;; esac; done
  for a in init poweroff halt reboot; do ln -s ../bin/busybox "$t/usr/sbin/$a"; done
  printf 'ID=hostelbox\nNAME="Hostel test box"\nPRETTY_NAME="Hostel test box"\nVERSION_ID=1\n' > "$t/usr/lib/os-release"
  ln -s ../usr/lib/os-release "$t/etc/os-release"
  printf 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\nalice:x:1000:1000:Alice:/home/alice:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' > "$t/etc/passwd"
  printf 'root:x:0:\ndaemon:x:1:\ntty:x:5:\naudio:x:29:alice\nusers:x:100:alice\nalice:x:1000:\nnogroup:x:65534:\n' > "$t/etc/group"
  printf 'root:::0:99999:7:::\nalice:!::0:99999:7:::\n' > "$t/etc/shadow"; chmod 600 "$t/etc/shadow"
  echo 'passwd: files' > "$t/etc/nsswitch.conf"; echo box > "$t/etc/hostname"; printf '127.0.0.1 localhost\n' > "$t/etc/hosts"
  printf '#!/bin/sh\n%s\n' "$UP" > "$t/etc/init.d/rcS"; chmod 755 "$t/etc/init.d/rcS"
  cat > "$t/usr/bin/getent" <<'G'
#!/bin/sh
# enough of getent(1) for systemd-nspawn --user=
case $1 in passwd) f=/etc/passwd ;; group) f=/etc/group ;; initgroups) echo "$2 $(awk -F: -v u="$2" '{n=split($4,m,","); for(i=1;i<=n;i++) if(m[i]==u) printf "%s ", $3}' /etc/group)"; exit 0 ;; *) exit 1 ;; esac
[ $# -ge 2 ] || exec cat $f
awk -F: -v k="$2" '$1==k || $3==k {print; found=1} END {exit !found * 2}' $f
G
  chmod 755 "$t/usr/bin/getent"; chown -R 1000:1000 "$t/home/alice"
}
build_bbinit() { # busybox init as distributions use it (Alpine's way), with an inittab
  build_busybox "$1"
  cat > "$1/etc/inittab" <<I
::sysinit:/bin/mkdir -p /run/lock
::wait:/bin/sh -c '$UP'
console::respawn:/sbin/getty -L 38400 console vt100
::ctrlaltdel:/sbin/reboot
::shutdown:/bin/sh -c 'echo HOSTEL-TEST-DOWN >/dev/console'
I
  ln -sf ../bin/busybox "$1/usr/sbin/getty"; rm -f "$1/etc/init.d/rcS"
}
build_debian() { # Debian 12, systemd 252
  bootstrap "$1" bookworm systemd,systemd-sysv,dbus; systemd_up "$1"; }
build_trixie() { # Debian 13, systemd 257
  bootstrap "$1" trixie systemd,systemd-sysv,dbus; systemd_up "$1"; }
build_sid() { # Debian unstable, the newest systemd: wants a pure cgroup2 view
  bootstrap "$1" sid systemd,systemd-sysv,dbus; systemd_up "$1"; }
systemd_up() {
  printf '[Unit]\nDescription=hostel test marker\nAfter=multi-user.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c "%s"\n[Install]\nWantedBy=default.target\n' "$UP" \
    > "$1/etc/systemd/system/hostel-test-up.service"
  mkdir -p "$1/etc/systemd/system/default.target.wants"
  ln -s ../hostel-test-up.service "$1/etc/systemd/system/default.target.wants/hostel-test-up.service"
  # the login on the console comes at once, without the pause for a slow serial line
  rm -f "$1/etc/systemd/system/getty.target.wants/getty@tty1.service"
}
inittab_up() { printf 'zu:2345:once:/bin/sh -c "%s"\n' "$UP" >> "$1/etc/inittab"; }
build_sysvinit() { # Debian 12 with sysvinit 3.06: the Devuan stand-in; stock inittab (gettys on tty1-6 fail and respawn)
  bootstrap "$1" bookworm sysvinit-core,sysv-rc,initscripts,insserv; inittab_up "$1"; }
build_sysvinit3() { # Debian 13 with sysvinit 3.14, which knows SIGRTMIN+4
  bootstrap "$1" trixie sysvinit-core,sysv-rc,initscripts,insserv; inittab_up "$1"; }
build_openrc() { # OpenRC 0.45 started by sysvinit
  bootstrap "$1" bookworm sysvinit-core,openrc,initscripts,insserv; inittab_up "$1"; }
build_openrc-init() { # OpenRC as PID 1
  bootstrap "$1" sid openrc; ln -sf openrc-init "$1/usr/sbin/init"
  printf '#!/sbin/openrc-run\ndescription="hostel test marker"\nstart() { %s; }\n' "$UP" > "$1/etc/init.d/hostel-test-up"
  chmod 755 "$1/etc/init.d/hostel-test-up"; mkdir -p "$1/etc/runlevels/default"
  ln -sf /etc/init.d/hostel-test-up "$1/etc/runlevels/default/hostel-test-up"
}
build_runit() { # runit-init of Debian 12
  bootstrap "$1" bookworm runit-init
  mkdir -p "$1/etc/sv/hostel-test-up"; printf '#!/bin/sh\n%s\nexec sleep infinity\n' "$UP" > "$1/etc/sv/hostel-test-up/run"
  chmod 755 "$1/etc/sv/hostel-test-up/run"; mkdir -p "$1/etc/runit/runsvdir/default"; ln -sf /etc/sv/hostel-test-up "$1/etc/runit/runsvdir/default/hostel-test-up"
}
build_finit() { # finit 4 of Debian 13
  bootstrap "$1" trixie finit-sysv; mkdir -p "$1/etc/finit.d"
  printf '#!/bin/sh\n%s\n' "$UP" > "$1/usr/local/bin/hostel-test-up"; chmod 755 "$1/usr/local/bin/hostel-test-up"
  printf 'task [2345] /usr/local/bin/hostel-test-up -- hostel test marker\n' > "$1/etc/finit.d/hostel-test-up.conf"
}
build_s6() { # s6-svscan as PID 1 with the signal scripts of a plain s6-linux-init (which Debian does not have)
  bootstrap "$1" bookworm s6,execline,busybox-static
  local s=$1/etc/s6/scan; mkdir -p "$s/.s6-svscan" "$s/hostel-test-up"
  printf '#!/bin/sh\n%s\nexec sleep infinity\n' "$UP" > "$s/hostel-test-up/run"
  printf '#!/bin/sh\necho poweroff >/run/s6-ends-as; exec s6-svscanctl -t /run/service\n' | tee "$s/.s6-svscan/SIGUSR1" > "$s/.s6-svscan/SIGPWR"
  printf '#!/bin/sh\necho halt >/run/s6-ends-as; exec s6-svscanctl -t /run/service\n' > "$s/.s6-svscan/SIGUSR2"
  printf '#!/bin/sh\necho reboot >/run/s6-ends-as; exec s6-svscanctl -t /run/service\n' > "$s/.s6-svscan/SIGINT"
  printf '#!/bin/sh\n' | tee "$s/.s6-svscan/SIGTERM" "$s/.s6-svscan/SIGQUIT" > "$s/.s6-svscan/SIGHUP"
  printf '#!/bin/sh\nbusybox kill -TERM -1; busybox sleep 0.2; busybox kill -KILL -1\nread how </run/s6-ends-as || how=reboot\nexec busybox $how -f\n' > "$s/.s6-svscan/finish"
  chmod 755 "$s"/.s6-svscan/* "$s"/*/run
  rm -f "$1/sbin/init"; printf '#!/bin/sh\nmkdir -p /run/service; cp -a /etc/s6/scan/. /run/service/; cd /run/service\nexec s6-svscan /run/service </dev/null\n' > "$1/sbin/init"
  chmod 755 "$1/sbin/init"
}
build_mta() { # a system log, ssh and Postfix under sysvinit, for the subhost of that name
  bootstrap "$1" bookworm sysvinit-core,sysv-rc,initscripts,insserv,ifupdown,openssh-server,postfix,inetutils-syslogd,iproute2
}
build_tini() { # a stub as PID 1, a shell below it
  bootstrap "$1" bookworm tini,dumb-init,busybox-static
  printf '#!/bin/sh\nexec /usr/bin/tini -- /bin/sh -c "%s; exec sleep infinity"\n' "$UP" > "$1/sbin/init"; chmod 755 "$1/sbin/init"
}

ALL="busybox bbinit debian sysvinit openrc runit mta tini s6 finit openrc-init trixie sysvinit3 sid"
recipe() { { declare -f "build_$1" base minimal bootstrap systemd_up inittab_up; [ "$1" = bbinit ] && declare -f build_busybox; echo "$UP"; } | sha256sum | cut -d' ' -f1; }
made() { [ -d "$TREES/$1" ] && [ "$(cat "$TREES/.$1.recipe" 2>/dev/null)" = "$(recipe "$1")" ]; }

# our own second half: a process of its own, as bash ignores `set -e` inside an `if`
[ "${1:-}" = --into ] && { "build_$2" "$3"; exit; }
[ "${1:-}" = --bootstrap ] && { bootstrap "$2" "$3" "$4"; exit; }   # for tests/vm/build.sh, with HOSTEL_BASES set
FORCE=; [ "${1:-}" = --force ] && { FORCE=1; shift; }
if [ $# = 0 ]; then
  for n in $ALL; do
    if made "$n"; then s=$(du -sm "$TREES/$n" | cut -f1)M; else s=-; fi
    printf '%-12s %6s  %s\n' "$n" "$s" "$(sed -n "s/^build_$n() { # //p" "$0")"
  done
  exit 0
fi
[ "$1" = all ] && set -- $ALL
for n; do case " $ALL " in *" $n "*) ;; *) echo "build tree $n: there is no such recipe; known: $ALL" >&2; exit 1 ;; esac; done
[ "$(id -u)" = 0 ] || { echo "build trees: needs root (mmdebstrap makes device nodes and owners)" >&2; exit 1; }
mkdir -p "$TREES"; chmod 755 "$TREES"
if [ -z "${HOSTEL_BASES:-}" ]; then
  HOSTEL_BASES=$(mktemp -d "$TREES/.bases.XXXXXX"); trap 'rm -rf "$HOSTEL_BASES"' EXIT
  export HOSTEL_BASES
fi
build() { # NAME, if it is missing or of another recipe
  local n=$1 t start
  exec 9>"$TREES/.$n.lock"; flock 9
  if [ -z "$FORCE" ] && made "$n"; then exec 9>&-; return 0; fi
  t=$TREES/.new-$n; rm -rf "$t"; mkdir "$t"; chmod 755 "$t"; start=$(date +%s)
  if bash "$0" --into "$n" "$t" 9>&-; then
    [ -d "$TREES/$n" ] && mv "$TREES/$n" "$TREES/.old-$n.$$"
    mv "$t" "$TREES/$n"; recipe "$n" > "$TREES/.$n.recipe"; rm -rf "$TREES/.old-$n.$$"
    echo "tree $n: built in $(($(date +%s) - start)) s, $(du -sm "$TREES/$n" | cut -f1) MB" >&2
  else
    rm -rf "$t"; echo "build tree $n: failed" >&2; return 1
  fi
  exec 9>&-
}
# two at a time: one waits for the network or the disk while the other computes
failed=0; running=0
for n; do
  if [ $running = 2 ]; then wait -n || failed=1; running=1; fi
  build "$n" & running=$((running + 1))
done
while [ $running -gt 0 ]; do wait -n || failed=1; running=$((running - 1)); done
[ $failed = 0 ] || { echo "build trees: some failed" >&2; exit 1; }
