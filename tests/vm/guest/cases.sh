#!/bin/sh
# Runs the cases named in /share/list inside the VM, each in a shell of its own, and looks for what each left behind.
export LC_ALL=C.UTF-8
cp /share/hostel /usr/local/bin/hostel
mount /dev/vdb /trees
mkdir -p /var/lib/machines && cp -a /trees/busybox /var/lib/machines/box
passed=0 failed=0 skipped=0

# everything of a machine that the host could see; not hostel/.devices-N, which keeps the device program for the next start
marks() {
  cut -d' ' -f4- /proc/self/mountinfo | sort
  ip -o link | sed 's/^[0-9]*: \([^:@]*\).*/link \1/'
  ls -d /run/hostel/machines/*/ 2>/dev/null
  if [ -d /sys/fs/cgroup/system.slice ]; then
    find /sys/fs/cgroup/hostel -mindepth 1 -type d ! -name '.devices-*' 2>/dev/null
  elif mkdir -p /run/look && mount -t cgroup2 look /run/look; then
    find /run/look -mindepth 2 -type d ! -name '.devices-*'; umount /run/look
  fi
  ps -eo comm= | grep '^hostel'
  losetup -a
  return 0
}

while read -r name limit; do
  marks > /tmp/before
  read -r start _ < /proc/uptime
  timeout -k 5 "$limit" setsid sh -euc '. /share/vm/guest/case.sh; . "$0"' "/share/vm/cases/$name.sh" > /tmp/log 2>&1 </dev/null
  status=$?
  read -r end _ < /proc/uptime
  took=$(awk "BEGIN { printf \"%.1f\", $end - $start }")
  tries=0; while marks > /tmp/after; ! cmp -s /tmp/before /tmp/after && [ $tries -lt 20 ]; do tries=$((tries + 1)); sleep 0.1; done
  left=$(diff /tmp/before /tmp/after | sed -n 's/^> /left behind: /p; s/^< /gone: /p')
  if [ $status = 77 ]; then
    skipped=$((skipped + 1)); echo "skipped $name: $(tail -n 1 /tmp/log)"
  elif [ $status = 0 ] && [ -z "$left" ]; then
    passed=$((passed + 1)); echo "ok      $name ($took s)"; [ ! -e /share/verbose ] || sed 's/^/        /' /tmp/log
  else
    failed=$((failed + 1)); echo "FAILED  $name ($took s, status $status$([ $status != 124 ] || echo ': too slow'))"
    { head -n 30 /tmp/log; [ "$(wc -l < /tmp/log)" -le 30 ] || { echo ...; tail -n 10 /tmp/log; }; echo "$left"; } | sed 's/^/        /'
    # the next case shall not fail for it
    for machine in $(hostel ps -q -a 2>/dev/null); do hostel stop --force "$machine"; done >/dev/null 2>&1 </dev/null
    hostel clean >/dev/null 2>&1
  fi
done < /share/list
echo "$(cat /share/kind): $passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
