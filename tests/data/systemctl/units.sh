#!/bin/sh
# Writes the units that commands.txt is about into the tree $1.
set -e
d=$1/etc/systemd/system; mkdir -p "$d"
unit() { cat > "$d/$1"; }
unit web.service <<'U'
[Unit]
Description=A server
Documentation=man:web(8)
After=network.target
[Service]
Type=notify
ExecStart=/bin/sh -c 'systemd-notify --ready --status="serving 3 peers"; exec sleep 1000'
ExecReload=/bin/true
NotifyAccess=all
Environment=COLOUR=blue "NAME=two words"
LimitNOFILE=4096
TimeoutStopSec=20
Restart=on-failure
[Install]
WantedBy=multi-user.target
U
unit plain.service <<'U'
[Unit]
Description=A plain one
[Service]
ExecStart=/bin/sleep 1000
User=nobody
U
unit bad.service <<'U'
[Unit]
Description=One that fails
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'exit 3'
U
unit once.service <<'U'
[Unit]
Description=Once
ConditionPathExists=/nowhere
[Service]
Type=oneshot
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
Alias=single.service
U
unit needs.service <<'U'
[Unit]
Description=Needs one that fails
Requires=bad.service
After=bad.service
[Service]
ExecStart=/bin/sleep 1000
U
unit shy.service <<'U'
[Unit]
Description=Not by hand
RefuseManualStart=yes
[Service]
ExecStart=/bin/sleep 1000
U
unit 'inst@.service' <<'U'
[Unit]
Description=Instance %i
[Service]
ExecStart=/bin/sleep 1000
[Install]
WantedBy=multi-user.target
U
unit broken.service <<'U'
[Unit]
Description=No command
[Service]
Type=simple
U
ln -sf /dev/null "$d/masked.service"
unit web.socket <<'U'
[Socket]
ListenStream=/run/web.sock
[Install]
WantedBy=sockets.target
U
unit tick.timer <<'U'
[Unit]
Description=A clock
[Timer]
OnCalendar=daily
Unit=once.service
[Install]
WantedBy=timers.target
U
mkdir -p "$d/plain.service.d"; printf '[Service]\nNice=5\n' > "$d/plain.service.d/nice.conf"
# a script of sysvinit, which no runlevel starts yet
mkdir -p "$1/etc/init.d"; cat > "$1/etc/init.d/oldie" <<'U'
#!/bin/sh
### BEGIN INIT INFO
# Provides:          oldie
# Required-Start:    $remote_fs
# Required-Stop:     $remote_fs
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: An old one
### END INIT INFO
echo "$1" >> /tmp/oldie
U
chmod 755 "$1/etc/init.d/oldie"
