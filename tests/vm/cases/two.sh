# hosts: systemd sysvinit
# Two machines of one tree's kind at once, ids of their own; a second of the same name is refused, naming the first.
cp -a $BOX /var/tmp/box2
hostel boot $BOX -d --name one --private-users=pick
hostel boot /var/tmp/box2 -d --name two --private-users=pick
booted one; booted two
same 2 "$(hostel ps -q | wc -l)" 'machines'
a=$(awk '{print $2}' /proc/$(leader one)/uid_map) b=$(awk '{print $2}' /proc/$(leader two)/uid_map)
[ "$a" != "$b" ] && [ "$a" != 0 ] || fail "uid bases $a and $b"
says one hostel boot /var/tmp/box2 -d --name one
hostel boot /var/tmp/box2 -d --name one 2>/dev/null && fail 'a second machine "one"' || :
status 0 hostel stop one two
same 0 "$(hostel ps -q | wc -l)" 'machines after'
rm -rf /var/tmp/box2
