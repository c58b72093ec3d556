#!/bin/bash
# Records what systemd 252 answers: runs commands.txt in a copy of the tree "debian" booted by systemd-nspawn, and writes expected.txt.
# Wants root, systemd-container, and `scripts/trees.sh debian`.
set -euo pipefail
cd "$(dirname "$0")"
tree=$(mktemp -d /var/tmp/hostel-record.XXXXXX); trap 'rm -rf "$tree"' EXIT
cp -a --reflink=auto "${HOSTEL_TREES:-/var/tmp/hostel-trees}/debian/." "$tree"; chmod 755 "$tree"
sh ./units.sh "$tree"
install -m 755 run.sh "$tree/run.sh"; cp commands.txt "$tree/"
printf '[Unit]\nDescription=transcript\nAfter=multi-user.target\n[Service]\nType=exec\nExecStart=/bin/sh -c "/run.sh /commands.txt /out; systemctl poweroff -f"\n' > "$tree/etc/systemd/system/transcript.service"
ln -s ../transcript.service "$tree/etc/systemd/system/multi-user.target.wants/transcript.service"
timeout 300 systemd-nspawn --register=no --keep-unit --link-journal=no -q -b -D "$tree" --console=pipe </dev/null >/dev/null || true
cp "$tree/out" expected.txt
tail -n 1 expected.txt
