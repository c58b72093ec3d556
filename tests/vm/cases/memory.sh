# hosts: systemd
# A memory limit kills, the status says so, and the host sees it.
# one allocation, filled by touching it: tail(1)'s growing buffer can meet ENOMEM in mremap(2) instead, and ends with 1
eat='dd if=/dev/zero of=/dev/null bs=50000000 count=1 2>/dev/null; exit $?'
status 137 hostel run --memory 24M -- sh -c "$eat"
status 137 nspawn -D $BOX --property=MemoryMax=24M --property=MemorySwapMax=0 /bin/sh -c "$eat"
status 0 hostel run --memory 200M -- sh -c "$eat"
# a command that came in later is held too, and alone dies of it
hostel boot $BOX -d --name small --memory 24M
booted small
status 137 hostel exec small -T -- sh -c "$eat"
runs small || fail 'the machine died with it'
hostel inspect small | grep -q '"oom_kills": [1-9]' || fail "not counted: $(hostel inspect small | grep oom)"
status 0 hostel stop small
