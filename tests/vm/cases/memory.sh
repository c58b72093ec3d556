# hosts: systemd
# A memory limit kills, the status says so, and the host sees it.
eat='head -c 300000000 /dev/zero | tail >/dev/null; exit $?'
status 137 hostel run --memory 64M -- sh -c "$eat"
status 137 nspawn -D $BOX --property=MemoryMax=48M --property=MemorySwapMax=0 /bin/sh -c "$eat"
status 0 hostel run --memory 600M -- sh -c "$eat"
