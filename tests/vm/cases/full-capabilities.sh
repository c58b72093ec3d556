# hosts: systemd
# With CAP_SYS_RESOURCE, which the development machines lack: limits are raised as asked, without a word.
out=$(nspawn -D $BOX --rlimit=RLIMIT_NOFILE=600000:700000 /bin/sh -c 'ulimit -Hn; ulimit -Sn' 2>&1)
same '700000 600000' "$(echo $out)" 'RLIMIT_NOFILE'
same -500 "$(nspawn -D $BOX --oom-score-adjust=-500 /bin/cat /proc/self/oom_score_adj)" 'oom_score_adj'
