//! How much a machine may do: the probe's attempts in each mode, what must never be let through, and how many are in all.

use hostel_tests::{Attempts, Bed};

/// Never, in any mode: these reach the host.
const NEVER: &[&str] = &[
    "read_kcore",
    "read_proc_keys",
    "read_timer_list",
    "read_kmsg_device",
    "write_sysrq_trigger",
    "write_core_pattern",
    "write_modprobe_path",
    "write_sysctl_panic",
    "write_sysctl_drop_caches",
    "write_irq_affinity",
    "write_mtrr",
    "write_scsi",
    "write_uevent_helper",
    "write_power_state",
    "write_ksm_run",
    "write_lo_mtu",
    "write_module_parameter",
    "read_debugfs",
    "read_tracefs",
    "open_dev_mem",
    "open_dev_port",
    "open_dev_kvm",
    "open_loop_control",
    "open_mapper_control",
    "write_run_host_os_release",
    "write_run_host_manager",
    "create_in_run_host",
    "create_in_run_host_incoming",
    "cgroup_v1_devices_allow",
    "cgroup_release_agent",
    "cgroup_release_agent_systemd",
    "chroot_escape",
    "descriptor_escape",
    "stdin_is_a_host_terminal",
    "open_by_handle_host_root",
    "bpf_map",
    "bpf_program",
    "perf_event_open",
    "swapon",
    "swapoff",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "clock_settime",
    "settimeofday",
    "adjtimex",
    "pidfd_getfd",
    "quotactl",
    "quotactl_fd",
    "acct",
    "syslog_size",
    "iopl",
    "ioperm",
    "uselib",
    "ustat",
    "sysfs",
    "lookup_dcookie",
    "nfsservctl",
    "_sysctl",
    "fanotify_init",
    "unknown_call",
    "x32_getpid",
    "i386_swapon",
    "open_host_disk",
    "open_made_dev_mem",
    "open_made_dev_kmsg",
    "open_made_loop_control",
    "mount_devtmpfs",
    "tiocsti",
    "tiocsti_high_bits",
    "tioclinux",
    "socket_vsock",
    "socket_alg",
    "raise_sys_module_capability",
];

/// Not in machine mode (user namespace, stricter filter) either.
const NOT_IN_MACHINE_MODE: &[&str] = &[
    "read_kallsyms",
    "unshare_user",
    "unshare_user_mount",
    "unshare_user_net",
    "io_uring_setup",
    "userfaultfd",
    "userfaultfd_user_only",
    "keyctl_session",
    "keyctl_join",
    "add_key",
    "request_key",
    "process_madvise",
    "move_pages",
    "migrate_pages",
    "personality_read_implies_exec",
    "personality_mmap_page_zero",
    "socket_key",
    "socket_bluetooth",
    "socket_can",
    "socket_tipc",
    "socket_rds",
    "socket_nfc",
    "socket_xdp",
    "socket_smc",
    "socket_qipcrtr",
    "socket_ax25",
    "raise_nofile_hard",
    "raise_memlock_hard",
    "mknod_host_disk",
    "mknod_dev_mem",
    "open_made_fuse",
    "open_made_tun",
    "mount_proc_core_pattern",
    "mount_proc_sysrq",
    "mount_proc_kcore",
    "mount_sysfs_uevent_helper",
    "mount_sysfs_power_state",
    "mount_cgroup_v1_release_agent",
    "mount_debugfs",
    "mount_tracefs",
    "mount_configfs",
    "remount_proc_sys_writable",
    "remount_sys_writable",
    "unmount_mask_kcore",
    "unmount_mask_sysrq",
    "unmount_proc_sys",
    "mount_ext4_of_nothing",
    "modify_ldt",
    "nice_minus_10",
    "realtime_scheduling",
    "write_own_oom_score_lowest",
    "trusted_xattr",
    "fanotify_init_unprivileged",
    "net_admin_ioctl",
];

#[track_caller]
fn judge(story: &str, attempts: &Attempts, never: &[&[&str]]) {
    let through = attempts.let_through();
    println!("{story}: {} let through: {}", through.len(), through.join(" "));
    let bad: Vec<String> = never
        .iter()
        .flat_map(|l| l.iter())
        .filter(|n| ["allowed", "passed"].contains(&attempts.verdict(n)))
        .map(|n| format!("{n} ({})", attempts.errno(n)))
        .collect();
    assert!(bad.is_empty(), "{story}: let through: {}", bad.join(", "));
}

#[test]
fn run_over_a_tree() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let attempts = Attempts::of(&bed.hostel(["run", "--tree"]).arg(tree.path()).args(["--", "/probe", "attempts"]).run().exits(0));
    judge("hostel run --tree", &attempts, &[NEVER, NOT_IN_MACHINE_MODE]);
}

#[test]
fn run_over_the_host() {
    let Some(bed) = Bed::start() else { return };
    let attempts = Attempts::of(&bed.hostel(["run", "--"]).arg(hostel_tests::probe()).arg("attempts").run().exits(0));
    judge("hostel run", &attempts, &[NEVER, NOT_IN_MACHINE_MODE]);
}

#[test]
fn boot() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.init_is_probe("attempts then poweroff");
    let attempts = Attempts::of(&bed.hostel(["boot"]).arg(tree.path()).run().exits(0));
    // with a network of its own the machine is its administrator
    let own: Vec<&str> = NOT_IN_MACHINE_MODE.iter().copied().filter(|n| *n != "net_admin_ioctl").collect();
    judge("hostel boot", &attempts, &[NEVER, &own]);
}

#[test]
fn exec_into_a_machine_is_held_as_tightly() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.init_is_probe("sleep");
    let name = bed.name();
    bed.hostel(["boot"]).arg(tree.path()).args(["-d", "--name", &name]).run().exits(0);
    let attempts = Attempts::of(&bed.hostel(["exec", &name, "/probe", "attempts"]).run().exits(0));
    let own: Vec<&str> = NOT_IN_MACHINE_MODE.iter().copied().filter(|n| *n != "net_admin_ioctl").collect();
    judge("hostel exec", &attempts, &[NEVER, &own]);
    bed.hostel(["stop", &name]).run().ends();
}

#[test]
fn nspawn_with_users() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let attempts = Attempts::of(&bed.nspawn(&tree, ["-U", "/probe", "attempts"]).run().exits(0));
    let closed = ["tiocsti", "tiocsti_high_bits", "tioclinux", "socket_vsock", "i386_swapon", "fanotify_init"];
    let never: Vec<&str> = NEVER.iter().copied().filter(|n| !closed.contains(n)).collect();
    judge("nspawn -U", &attempts, &[&never, &["mount_proc_core_pattern", "mknod_host_disk", "unmount_proc_sys"]]);
}

#[test]
fn nspawn_privileged() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let attempts = Attempts::of(&bed.nspawn(&tree, ["/probe", "attempts"]).run().exits(0));
    // the original's own holes, kept: what its root may mount it may use
    let holes = ["tiocsti", "tiocsti_high_bits", "tioclinux", "socket_vsock", "mount_devtmpfs", "i386_swapon", "write_lo_mtu"];
    let never: Vec<&str> = NEVER.iter().copied().filter(|n| !holes.contains(n)).collect();
    judge("nspawn", &attempts, &[&never]);
}

#[test]
fn a_command_that_stops_a_machine_shows_nothing_of_the_supervisor() {
    let Some(bed) = Bed::start() else { return };
    if hostel_tests::Invocation::new("strace").arg("-V").run().code != Some(0) {
        return println!("skipped: no strace");
    }
    let tree = bed.busybox();
    // Who is called runit is asked by a command: `/sbin/init 0`.
    std::fs::copy(hostel_tests::probe(), tree.at("/usr/bin/runit")).expect("copy");
    tree.remove("/usr/sbin/init").write("/etc/probe-init", "visitor tsoh-eht-fo-terces");
    std::os::unix::fs::symlink("/usr/bin/runit", tree.at("/usr/sbin/init")).expect("link");
    for background in [false, true] {
        let name = bed.name();
        // Whoever enters starts a session there, which strace makes last long enough to be looked at.
        let slow = "exec strace -f -qq -o /dev/null -e trace=setsid -e inject=setsid:delay_enter=200000 \"$@\"";
        let line =
            if background { bed.hostel(["boot", "-d", "--privileged-users=host", "--name", &name]) } else { bed.nspawn(&tree, ["-b", "-M", &name]) };
        let line = if background { line.arg(tree.path()) } else { line }.env("HOSTEL_TEST_SECRET", "secret-of-the-host");
        let running = line.through_shell(slow).start();
        let log = || if background { bed.hostel(["logs", &name]).run().text() } else { running.stdout() };
        assert!(hostel_tests::eventually(std::time::Duration::from_secs(10), || log().contains("waiting")), "{}", log());
        bed.hostel(["stop", &name]).run().exits(0);
        let log = log();
        assert!(log.contains("program is read-only: yes") && log.contains("scan visitor: read found no"), "background: {background}: {log}");
        running.finish(std::time::Duration::from_secs(5));
    }
}

#[test]
fn the_callers_terminal_is_out_of_reach() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for line in [vec!["nspawn", "-q", "--register=no", "--keep-unit", "-D"], vec!["run", "--tree"]] {
        let mut terminal =
            hostel_tests::Terminal::start(bed.hostel(&line).arg(tree.path()).args(["/probe", "json", "/seen.json", "then", "attempts"]));
        assert_eq!(terminal.wait(std::time::Duration::from_secs(20)), 0, "{}", terminal.all());
        let all = terminal.all();
        let start = all.find("{\"totals\"").unwrap_or_else(|| panic!("no attempts: {all}"));
        let value: hostel_tests::Value = all[start..].lines().next().unwrap_or("").parse().expect("JSON");
        assert_eq!(value["rows"]["stdin_is_a_host_terminal"]["verdict"], "denied", "{line:?}");
    }
}

/// What is asked for by name is given in machine mode, too: also what systemd-nspawn's own set has and machine mode's has not.
#[test]
fn capabilities_that_were_asked_for() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let run = |options: &[&str], set: &str| {
        let command = ["--", "/bin/busybox", "grep", set, "/proc/self/status"];
        let outcome = bed.hostel(["run", "--tree"]).arg(tree.path()).args(options).args(command).run().exits(0);
        u64::from_str_radix(outcome.text().trim_start_matches(set).trim_start_matches(':').trim(), 16)
            .unwrap_or_else(|e| panic!("{e}: {}", outcome.describe()))
    };
    let (audit_control, lease, sys_time, chown) = (1u64 << 30, 1 << 28, 1 << 25, 1);
    let plain = run(&[], "CapBnd");
    assert_eq!(plain & (audit_control | sys_time | chown), chown, "{plain:x}");
    let more = run(&["--capability=CAP_AUDIT_CONTROL,CAP_SYS_TIME"], "CapBnd");
    assert_eq!(more, plain | audit_control | sys_time, "{more:x}");
    let less = run(&["--capability=CAP_AUDIT_CONTROL,CAP_LEASE", "--drop-capability=CAP_AUDIT_CONTROL,CAP_CHOWN"], "CapBnd");
    assert_eq!(less, (plain | lease) & !chown, "{less:x}");
    // What a command without root's rights would not get is not asked for in vain.
    let ambient = ["--capability=CAP_AUDIT_CONTROL", "--ambient-capability=CAP_AUDIT_CONTROL", "--uid=1000"];
    assert_eq!(run(&ambient, "CapAmb"), audit_control);
    let refused = bed.hostel(["run", "--tree"]).arg(tree.path()).args(&ambient[1..]).args(["--", "true"]).run().fails();
    refused.says("give --ambient-capability=cap_audit_control: that is outside of the machine's bounding set");
    bed.assert_clean();
}
