//! Dangerous operations tried from inside, each in a child of its own, each harmless even where it is let through:
//! files are opened but never written, bad arguments stop a call behind its permission check, nodes and mounts are
//! made in throw-away places and taken away again.

use crate::json::Json;
use crate::sys::{Ended, c, can_open, check, errno_name, in_child};
use crate::{attempts_kernel, attempts_mount, obj};

/// What was tried: `Ok` = it worked (allowed), `Err(errno)` = how it was refused.
pub type Act = fn() -> Result<(), i32>;

/// One row: a name, and the act.
pub type Row = (&'static str, Act);

/// Runs every row. Verdicts: `allowed`; `denied` (EPERM, EACCES, ENOSYS, EROFS, or a socket family that is refused);
/// `passed` = it got past the permission check and failed on its deliberately bad argument; `absent` = there is
/// no such thing here; `killed` = by a signal (a filter).
pub fn all() -> Json {
    let tables: [&[Row]; 6] = [FILES, NAMESPACES, SOCKETS, OWN, attempts_kernel::CALLS, attempts_mount::MOUNTS];
    let rows: Vec<(String, Json)> =
        tables.iter().flat_map(|t| t.iter()).map(|(name, act)| ((*name).to_string(), verdict(name, in_child(act)))).collect();
    let count = |what: &str| rows.iter().filter(|(_, v)| matches!(v, Json::Obj(p) if matches!(&p[0].1, Json::Str(s) if s == what))).count();
    let totals = obj! {
        "attempts" => rows.len(), "allowed" => count("allowed"), "passed" => count("passed"), "denied" => count("denied"),
        "absent" => count("absent"), "killed" => count("killed"),
    };
    obj! {"totals" => totals, "rows" => Json::Obj(rows)}
}

/// Rows whose argument is a thing that deliberately does not exist: to hear so means the permission check is behind us.
const ASKS_FOR_NOTHING: &[&str] =
    &["swapon", "swapoff", "quotactl", "acct", "pivot_root", "uselib", "delete_module", "net_admin_ioctl", "mount_ext4_of_nothing", "request_key"];

fn verdict(name: &str, ended: Ended) -> Json {
    match ended {
        Ended::Said(e @ (libc::ENOENT | libc::ENODEV)) if ASKS_FOR_NOTHING.contains(&name) => obj! {"verdict" => "passed", "errno" => errno_name(e)},
        Ended::Said(0) => obj! {"verdict" => "allowed", "errno" => Json::Null},
        Ended::Said(-1) => obj! {"verdict" => "absent", "errno" => "no answer"},
        Ended::Said(e) => {
            let what = match e {
                libc::EPERM
                | libc::EACCES
                | libc::ENOSYS
                | libc::EROFS
                | libc::EAFNOSUPPORT
                | libc::EPROTONOSUPPORT
                | libc::ESOCKTNOSUPPORT
                | libc::EUSERS => "denied",
                libc::ENOENT | libc::ENXIO | libc::ENODEV | libc::EOPNOTSUPP | libc::ENOTDIR => "absent",
                _ => "passed",
            };
            obj! {"verdict" => what, "errno" => errno_name(e)}
        }
        Ended::Killed(signal) => obj! {"verdict" => "killed", "errno" => format!("signal {signal}")},
        Ended::NoFork(e) => obj! {"verdict" => "absent", "errno" => format!("fork: {}", errno_name(e))},
    }
}

const R: i32 = libc::O_RDONLY;
const W: i32 = libc::O_WRONLY;

/// Opens for reading or writing; nothing is read or written.
const FILES: &[Row] = &[
    ("read_kcore", || content("/proc/kcore")),
    ("read_kallsyms", || content("/proc/kallsyms")),
    ("read_proc_keys", || content("/proc/keys")),
    ("read_timer_list", || content("/proc/timer_list")),
    ("read_kmsg_device", || can_open("/dev/kmsg", R)),
    ("write_sysrq_trigger", || can_open("/proc/sysrq-trigger", W)),
    ("write_core_pattern", || can_open("/proc/sys/kernel/core_pattern", W)),
    ("write_modprobe_path", || can_open("/proc/sys/kernel/modprobe", W)),
    ("write_sysctl_panic", || can_open("/proc/sys/kernel/panic", W)),
    ("write_sysctl_drop_caches", || can_open("/proc/sys/vm/drop_caches", W)),
    ("write_sysctl_ip_forward", || can_open("/proc/sys/net/ipv4/ip_forward", W)),
    ("write_binfmt_register", || can_open("/proc/sys/fs/binfmt_misc/register", W)),
    ("write_irq_affinity", || can_open("/proc/irq/default_smp_affinity", W)),
    ("write_mtrr", || can_open("/proc/mtrr", W)),
    ("write_scsi", || can_open("/proc/scsi/scsi", W)),
    ("write_uevent_helper", || can_open("/sys/kernel/uevent_helper", W)),
    ("write_power_state", || can_open("/sys/power/state", W)),
    ("write_ksm_run", || can_open("/sys/kernel/mm/ksm/run", W)),
    ("write_lo_mtu", || can_open("/sys/class/net/lo/mtu", W)),
    ("write_module_parameter", || can_open("/sys/module/printk/parameters/time", W)),
    ("read_debugfs", || entries("/sys/kernel/debug")),
    ("read_tracefs", || entries("/sys/kernel/tracing")),
    ("read_securityfs", || entries("/sys/kernel/security")),
    ("read_efivars", || entries("/sys/firmware/efi/efivars")),
    ("open_dev_mem", || can_open("/dev/mem", R)),
    ("open_dev_port", || can_open("/dev/port", R)),
    ("open_dev_kvm", || can_open("/dev/kvm", libc::O_RDWR)),
    ("open_dev_fuse", || can_open("/dev/fuse", libc::O_RDWR)),
    ("open_dev_tun", || can_open("/dev/net/tun", libc::O_RDWR)),
    ("open_loop_control", || can_open("/dev/loop-control", libc::O_RDWR)),
    ("open_mapper_control", || can_open("/dev/mapper/control", libc::O_RDWR)),
    ("write_run_host_os_release", || can_open("/run/host/os-release", W)),
    ("write_run_host_manager", || can_open("/run/host/container-manager", W)),
    ("create_in_run_host", || create_and_remove("/run/host/.probe")),
    ("create_in_run_host_incoming", || create_and_remove("/run/host/incoming/.probe")),
    ("read_pid1_environ", || can_open("/proc/1/environ", R)),
    ("write_pid1_mem", || can_open("/proc/1/mem", W)),
    ("write_own_oom_score_lowest", || std::fs::write("/proc/self/oom_score_adj", "-1000").map_err(|e| e.raw_os_error().unwrap_or(0))),
    ("cgroup_mkdir_top", || mkdir_and_remove("/sys/fs/cgroup/.probe")),
    ("cgroup_mkdir_outside", || mkdir_and_remove("/sys/fs/cgroup/../cgroup/../../fs/cgroup/.probe-out")),
    ("cgroup_mkdir_v1_memory", || mkdir_and_remove("/sys/fs/cgroup/memory/.probe")),
    ("cgroup_mkdir_v1_devices", || mkdir_and_remove("/sys/fs/cgroup/devices/.probe")),
    ("cgroup_own_limit", || can_open("/sys/fs/cgroup/pids.max", W)),
    ("cgroup_v1_devices_allow", || can_open("/sys/fs/cgroup/devices/devices.allow", W)),
    ("cgroup_release_agent", || can_open("/sys/fs/cgroup/memory/release_agent", W)),
    ("cgroup_release_agent_systemd", || can_open("/sys/fs/cgroup/systemd/release_agent", W)),
];

/// New namespaces and foreign ones.
const NAMESPACES: &[Row] = &[
    ("unshare_user", || unshare(libc::CLONE_NEWUSER)),
    ("unshare_user_mount", || unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)),
    ("unshare_user_net", || unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)),
    ("unshare_mount", || unshare(libc::CLONE_NEWNS)),
    ("unshare_pid", || unshare(libc::CLONE_NEWPID)),
    ("unshare_net", || unshare(libc::CLONE_NEWNET)),
    ("unshare_ipc", || unshare(libc::CLONE_NEWIPC)),
    ("unshare_uts", || unshare(libc::CLONE_NEWUTS)),
    ("unshare_cgroup", || unshare(libc::CLONE_NEWCGROUP)),
    ("unshare_time", || unshare(0x80)),
    ("setns_pid1_mount", || join("/proc/1/ns/mnt", libc::CLONE_NEWNS)),
    ("setns_pid1_user", || join("/proc/1/ns/user", libc::CLONE_NEWUSER)),
    ("setns_pid1_net", || join("/proc/1/ns/net", libc::CLONE_NEWNET)),
    ("chroot_escape", chroot_escape),
    ("descriptor_escape", descriptor_escape),
];

/// Socket families and what they open.
const SOCKETS: &[Row] = &[
    ("socket_inet", || socket(libc::AF_INET, libc::SOCK_STREAM, 0)),
    ("socket_unix", || socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)),
    ("socket_raw", || socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)),
    ("socket_packet", || socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
    ("socket_vsock", || socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
    ("socket_alg", || socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
    ("socket_key", || socket(libc::AF_KEY, libc::SOCK_RAW, 2)),
    ("socket_bluetooth", || socket(libc::AF_BLUETOOTH, libc::SOCK_RAW, 1)),
    ("socket_can", || socket(libc::AF_CAN, libc::SOCK_RAW, 1)),
    ("socket_tipc", || socket(libc::AF_TIPC, libc::SOCK_SEQPACKET, 0)),
    ("socket_rds", || socket(libc::AF_RDS, libc::SOCK_SEQPACKET, 0)),
    ("socket_nfc", || socket(39, libc::SOCK_SEQPACKET, 0)),
    ("socket_xdp", || socket(44, libc::SOCK_RAW, 0)),
    ("socket_smc", || socket(43, libc::SOCK_STREAM, 0)),
    ("socket_qipcrtr", || socket(42, libc::SOCK_DGRAM, 0)),
    ("socket_ax25", || socket(libc::AF_AX25, libc::SOCK_DGRAM, 0)),
    ("netlink_audit", || socket(libc::AF_NETLINK, libc::SOCK_RAW, 9)),
    ("netlink_netfilter", || socket(libc::AF_NETLINK, libc::SOCK_RAW, 12)),
    ("netlink_xfrm", || socket(libc::AF_NETLINK, libc::SOCK_RAW, 6)),
    ("netlink_uevent", || socket(libc::AF_NETLINK, libc::SOCK_RAW, 15)),
    ("bind_port_1", bind_low_port),
    ("net_admin_ioctl", || {
        let fd = check(i64::from(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) }))? as i32;
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(b"probe-none") {
            *to = *from as libc::c_char;
        }
        check(i64::from(unsafe { libc::ioctl(fd, libc::SIOCSIFMTU as _, &raw mut request) })).map(drop)
    }),
];

/// What it may do to itself and its own files.
const OWN: &[Row] = &[
    ("setuid_file", || own_file(|p| unsafe { libc::chmod(p, 0o4755) })),
    ("chown_file", || own_file(|p| unsafe { libc::chown(p, 1, 1) })),
    ("file_capability", || {
        own_file(|p| unsafe {
            let value: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0]; // VFS_CAP_REVISION_2, effective: net_raw
            libc::setxattr(p, c"security.capability".as_ptr(), value.as_ptr().cast(), 20, 0)
        })
    }),
    ("trusted_xattr", || own_file(|p| unsafe { libc::setxattr(p, c"trusted.overlay.opaque".as_ptr(), c"y".as_ptr().cast(), 1, 0) })),
    ("immutable_file", || {
        let path = format!("/tmp/.probe-{}", std::process::id());
        let file = std::fs::File::create(&path).map_err(|e| e.raw_os_error().unwrap_or(0))?;
        let _ = std::fs::remove_file(&path);
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        let append = 0x20i64; // FS_APPEND_FL on a file that has no name any more
        check(i64::from(unsafe { libc::ioctl(fd, 0x4008_6602u32 as _, &raw const append) })).map(drop)
    }),
    ("raise_nofile_hard", || raise(7)),
    ("raise_memlock_hard", || raise(8)),
    ("nice_minus_10", || check(i64::from(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) })).map(drop)),
    ("realtime_scheduling", || {
        let param = [1i32; 1];
        check(unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_FIFO, param.as_ptr()) }).map(drop)
    }),
    ("mlock_page", || {
        let page = [0u8; 4096];
        check(i64::from(unsafe { libc::mlock(page.as_ptr().cast(), 4096) })).map(drop)
    }),
    ("setgroups_none", || check(unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()) }).map(drop)),
    ("raise_sys_module_capability", || {
        let header: [u32; 2] = [0x2008_0522, 0];
        let bit = 1u32 << 16;
        let data: [u32; 6] = [bit, bit, bit, 0, 0, 0];
        check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
    }),
    ("stdin_is_a_host_terminal", || {
        // a terminal on stdin whose devpts is not the machine's own: what is typed there reaches the caller's shell
        let mut own: libc::stat = unsafe { std::mem::zeroed() };
        let mut stdin: libc::stat = unsafe { std::mem::zeroed() };
        unsafe { (libc::stat(c("/dev/pts").as_ptr(), &raw mut own), libc::fstat(0, &raw mut stdin)) };
        if unsafe { libc::isatty(0) } == 1 && own.st_dev != stdin.st_dev { Ok(()) } else { Err(libc::EPERM) }
    }),
];

fn entries(dir: &str) -> Result<(), i32> {
    let mut list = std::fs::read_dir(dir).map_err(|e| e.raw_os_error().unwrap_or(0))?;
    if list.next().is_some() { Ok(()) } else { Err(libc::ENOENT) }
}

fn create_and_remove(path: &str) -> Result<(), i32> {
    std::fs::File::create_new(path).map_err(|e| e.raw_os_error().unwrap_or(0))?;
    let _ = std::fs::remove_file(path);
    Ok(())
}

fn mkdir_and_remove(path: &str) -> Result<(), i32> {
    std::fs::create_dir(path).map_err(|e| e.raw_os_error().unwrap_or(0))?;
    let _ = std::fs::remove_dir(path);
    Ok(())
}

pub fn unshare(flags: i32) -> Result<(), i32> {
    // ENOSPC: user.max_user_namespaces and its like are used up, or zero
    check(unsafe { libc::syscall(libc::SYS_unshare, flags) }).map(drop).map_err(|e| if e == libc::ENOSPC { libc::EUSERS } else { e })
}

/// Opens and looks whether there is anything: a mask is often an empty file. A device or a FIFO holds nothing of the kernel's.
pub fn content(path: &str) -> Result<(), i32> {
    can_open(path, R)?;
    let kind = std::fs::metadata(path).map_err(|e| e.raw_os_error().unwrap_or(0))?;
    if !kind.is_file() {
        return Err(libc::EACCES);
    }
    if path == "/proc/kcore" {
        return if kind.len() > 0 { Ok(()) } else { Err(libc::EACCES) };
    }
    let mut byte = [0u8; 1];
    match std::fs::File::open(path).and_then(|mut f| std::io::Read::read(&mut f, &mut byte)) {
        Ok(0) => Err(libc::EACCES),
        Ok(_) => Ok(()),
        Err(e) => Err(e.raw_os_error().unwrap_or(0)),
    }
}

fn join(path: &str, flags: i32) -> Result<(), i32> {
    let fd = check(i64::from(unsafe { libc::open(c(path).as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) }))?;
    check(unsafe { libc::syscall(libc::SYS_setns, fd, flags) }).map(drop)
}

fn socket(family: i32, kind: i32, protocol: i32) -> Result<(), i32> {
    check(i64::from(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) })).map(drop)
}

fn bind_low_port() -> Result<(), i32> {
    let fd = check(i64::from(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }))? as i32;
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::AF_INET as u16;
    address.sin_port = 1u16.to_be();
    address.sin_addr.s_addr = u32::from_be_bytes([127, 0, 0, 1]).to_be();
    check(i64::from(unsafe { libc::bind(fd, (&raw const address).cast(), size_of::<libc::sockaddr_in>() as u32) })).map(drop)
}

/// Makes a file in /tmp, does something to it, removes it.
fn own_file(act: impl FnOnce(*const libc::c_char) -> i32) -> Result<(), i32> {
    let path = format!("/tmp/.probe-{}", std::process::id());
    std::fs::write(&path, "").map_err(|e| e.raw_os_error().unwrap_or(0))?;
    let result = check(i64::from(act(c(&path).as_ptr()))).map(drop);
    let _ = std::fs::remove_file(&path);
    result
}

/// The hard limit one up (from infinity there is no up).
fn raise(which: i32) -> Result<(), i32> {
    let mut limit = [0u64; 2];
    unsafe { libc::syscall(libc::SYS_prlimit64, 0, which, std::ptr::null::<u8>(), limit.as_mut_ptr()) };
    if limit[1] == u64::MAX {
        return Err(libc::ENOENT);
    }
    limit[1] += 1;
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, which, limit.as_ptr(), std::ptr::null_mut::<u8>()) }).map(drop)
}

fn place(path: &str) -> (u64, u64) {
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    unsafe { libc::stat(c(path).as_ptr(), &raw mut st) };
    (st.st_dev, st.st_ino)
}

/// The classic: chroot below, climb out by the old directory. Success = what is reached is not the machine's root.
fn chroot_escape() -> Result<(), i32> {
    let before = place("/");
    let _ = std::fs::create_dir("/tmp/.probe-jail");
    let result = (|| {
        let root = check(i64::from(unsafe { libc::open(c("/").as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY) }))? as i32;
        check(i64::from(unsafe { libc::chroot(c("/tmp/.probe-jail").as_ptr()) }))?;
        check(i64::from(unsafe { libc::fchdir(root) }))?;
        for _ in 0..64 {
            unsafe { libc::chdir(c("..").as_ptr()) };
        }
        check(i64::from(unsafe { libc::chroot(c(".").as_ptr()) })).map(drop)
    })();
    let after = place("/");
    let reached = result.is_ok() && after != before;
    let _ = std::fs::remove_dir("/tmp/.probe-jail");
    if reached { Ok(()) } else { Err(result.err().unwrap_or(libc::EPERM)) }
}

/// Climbs from every descriptor that is a directory; success = one of them leads out of the machine's root.
fn descriptor_escape() -> Result<(), i32> {
    let root = place("/");
    for fd in 0..256 {
        if unsafe { libc::fchdir(fd) } != 0 {
            continue;
        }
        for _ in 0..64 {
            unsafe { libc::chdir(c("..").as_ptr()) };
        }
        if place(".") != root {
            return Ok(());
        }
    }
    Err(libc::EPERM)
}
