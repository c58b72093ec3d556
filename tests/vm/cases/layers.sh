# hosts: systemd sysvinit
# --overlay, --overlay-ro, --tmpfs, --bind and --inaccessible, with and without a user namespace.
d=/var/tmp/layers; rm -rf $d; mkdir -p $d/low $d/up $d/shared; echo low > $d/low/a; echo host > $d/shared/a
for users in '' -U; do
  rm -f $d/up/b
  out=$(nspawn $users -D $BOX --overlay=$d/low:$d/up:/mnt --overlay-ro=$d/low:$d/shared:/srv --tmpfs=/opt:mode=700 --bind-ro=$d/shared:/media --inaccessible=/etc/hosts \
    /bin/sh -c 'cat /mnt/a /srv/a; echo new > /mnt/b; (: > /srv/x) 2>/dev/null && echo bad; stat -f -c %T /opt; stat -c %a /opt; cat /media/a; (: > /media/x) 2>/dev/null && echo bad; cat /etc/hosts 2>/dev/null; echo end' 2>&1) || fail "users '$users': $out"
  # layers of the host keep the host's ids, as with the original: root of a user namespace is nobody there
  [ -z "$users" ] || out=$(echo "$out" | grep -v 'mnt/b: Permission denied')
  same 'low host tmpfs 700 host end' "$(echo $out)" "users '$users'"
  same "${users:-new}" "$(cat $d/up/b 2>/dev/null || echo -U)" "users '$users': what --overlay's upper directory got"
done
rm -rf $d
