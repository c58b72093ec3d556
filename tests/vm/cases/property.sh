# hosts: systemd
# --property= ends up in the files of the machine's cgroup, and an inner look cannot widen it.
nspawn -D $BOX -M limited --property=MemoryMax=100M --property=MemoryHigh=80M --property=MemoryLow=1M --property=MemorySwapMax=0 --property=TasksMax=77 \
  --property=CPUQuota=50% --property=CPUWeight=200 --property=AllowedCPUs=0 --property=IOWeight=50 /bin/sh -c 'grep -c ^processor /proc/cpuinfo >/dev/null; nproc > /nproc; sleep 1000' &
within 10 test -s $BOX/nproc
row() { same "$2" "$(group limited $1 | tr '\n' ' ' | sed 's/ $//')" "$1"; }
row memory.max 104857600
row memory.high 83886080
row memory.low 1048576
row memory.swap.max 0
row pids.max 77
row cpu.max '50000 100000'
row cpu.weight 200
row cpuset.cpus 0
same 1 "$(cat $BOX/nproc)" 'nproc inside'
# inside, the limits are above what the machine can see
out=$(hostel exec limited -T -- sh -c 'cat /proc/self/cgroup; ls /sys/fs/cgroup/memory.max 2>&1 | tail -n 1; echo max > /sys/fs/cgroup/../memory.max' 2>&1) || :
row memory.max 104857600
hostel stop --force limited >/dev/null 2>&1 || same 4 $? stop
rm -f $BOX/nproc
status 1 nspawn -D $BOX --property=MemoryMax=nonsense /bin/true
status 1 nspawn -D $BOX --property=NoSuch=1 /bin/true
