# hosts: systemd sysvinit
# hostel run: throw-away machines over this host.
out=$(hostel run -- sh -c 'id -u; echo $$; touch /etc/made-inside; rm -r /usr/share 2>&1 | head -n 1; ls /usr/share 2>/dev/null | wc -l; exit 42') && fail 'status 0' || same 42 $? 'status'
same '0 2 0' "$(echo $out)" 'run: uid, pid below the stub init, what is left of a removed directory'
[ ! -e /etc/made-inside ] && [ -d /usr/share ] || fail 'the host was changed'
status 3 hostel run --privileged-users host -- sh -c 'exit 3'
same '2' "$(hostel run --net veth -- sh -c 'ip -o link | wc -l')" 'links with --net veth'
same '1' "$(hostel run --net private -- sh -c 'ip -o link | wc -l')" 'links with --net private'
hostel run --keep kept -- sh -c 'echo one > /root/kept'
same one "$(hostel run --keep kept -- cat /root/kept)" 'what --keep kept'
hostel rm kept
same '7' "$(hostel run --tree $BOX -- sh -c 'touch /mark; echo 7')" 'run --tree'
[ ! -e $BOX/mark ] || fail 'run --tree wrote to the tree'
# what the host masks for machines stays the host's
hostel run -- sh -c 'echo x > /proc/sysrq-trigger' 2>/dev/null && fail 'sysrq-trigger could be written' || :
