# hosts: sysvinit
# No cgroup is mounted: limits work through a hierarchy of our own, or are refused by name before anything has changed.
out=$(hostel run --memory 64M --pids 30 -- sh -c 'head -c 300000000 /dev/zero | tail >/dev/null; exit $?' 2>&1) && got=0 || got=$?
case $got in
137) echo 'limits work' ;;
*) echo "status $got: $out"; case $out in *MemoryMax=*|*TasksMax=*|*memory*) ;; *) fail 'neither limited nor refused by name' ;; esac ;;
esac
grep -q cgroup /proc/self/mountinfo && fail 'a cgroup mount is left on the host' || :
