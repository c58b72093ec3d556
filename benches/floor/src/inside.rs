//! What the payload does, from its first instruction to execve.

use std::ffi::{CStr, c_char};

use hostel_process::seccomp;
use hostel_spec::{CapName, CapSet, SyscallFilter};

use crate::Flags;
use crate::kernel::*;
use crate::outside::Made;

const API: u64 = NOSUID | NODEV | NOEXEC;
const HERE: i32 = libc::AT_FDCWD;
const PRIVATE: u64 = libc::MS_PRIVATE;
const SHARED: u64 = libc::MS_SHARED;

const PROC_READ_ONLY: [&CStr; 8] = [c"acpi", c"apm", c"asound", c"bus", c"fs", c"irq", c"scsi", c"sys"];
const PROC_MASKED: [&CStr; 6] = [c"kallsyms", c"kcore", c"keys", c"mtrr", c"sysrq-trigger", c"timer_list"];
const PROC_MASKED_MACHINE: [&CStr; 7] = [c"latency_stats", c"slabinfo", c"vmallocinfo", c"pagetypeinfo", c"sched_debug", c"acpi", c"scsi"];
const SYS_MASKED_MACHINE: [&CStr; 5] = [c"firmware", c"kernel/debug", c"kernel/tracing", c"kernel/security", c"power"];

pub(crate) fn run(made: &Made) -> ! {
    let flags = made.flags;
    ok!("prctl", libc::SYS_prctl, libc::PR_SET_PDEATHSIG, if flags.detach { 0 } else { 9 }, 0, 0, 0);
    if made.door >= 0 {
        ok!("enter v1 cgroup", libc::SYS_write, made.door, c"0".as_ptr(), 1);
    }
    if made.go >= 0 {
        let mut byte = 0u8;
        ok!("wait", libc::SYS_read, made.go, &raw mut byte, 1);
    }
    if flags.user {
        ok!("setgroups", libc::SYS_setgroups, 0, std::ptr::null::<u32>());
        ok!("setresgid", libc::SYS_setresgid, 0, 0, 0);
        ok!("setresuid", libc::SYS_setresuid, 0, 0, 0);
        ok!("prctl", libc::SYS_prctl, libc::PR_SET_PDEATHSIG, if flags.detach { 0 } else { 9 }, 0, 0, 0);
    }
    ok!("keyctl", libc::SYS_keyctl, 1, std::ptr::null::<c_char>());
    change(HERE, c"/", RECURSIVE, 0, PRIVATE, 0);
    root(made);
    attach(made.dev, HERE, c"dev");
    attach(made.pts, made.dev, c"pts");
    attach(made.shm, made.dev, c"shm");
    attach(made.run, HERE, c"run");
    let host = open_tree(made.run, c"host", 0);
    change(host, c"", 0, RDONLY | NOEXEC, 0, 0);
    attach(host, made.run, c"host");
    attach(made.tmp, HERE, c"tmp");
    proc(host, flags);
    sys(made, host);
    let mqueue = filesystem(c"mqueue", &[], API);
    attach(mqueue, HERE, c"dev/mqueue");
    ok!("pivot_root", libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr());
    ok!("umount", libc::SYS_umount2, c".".as_ptr(), libc::MNT_DETACH);
    ok!("chdir", libc::SYS_chdir, c"/".as_ptr());
    change(HERE, c"/", RECURSIVE, 0, SHARED, 0);
    ok!("sethostname", libc::SYS_sethostname, c"floor".as_ptr(), 5);
    if flags.network {
        loopback();
    }
    if made.terminal >= 0 {
        ok!("setsid", libc::SYS_setsid);
        ok!("take terminal", libc::SYS_ioctl, made.terminal, libc::TIOCSCTTY, 0);
        for number in 0..3 {
            ok!("dup", libc::SYS_dup3, made.terminal, number, 0);
        }
    }
    // SAFETY: an integer.
    unsafe { libc::umask(0o022) };
    confine(flags);
    if flags.detach {
        for number in 0..3 {
            may!(libc::SYS_close, number);
        }
    }
    ok!("close_range", libc::SYS_close_range, 3, u32::MAX, 0);
    let environment = [
        c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".as_ptr(),
        c"container=hostel-floor".as_ptr(),
        c"TERM=dumb".as_ptr(),
        c"container_uuid=00000000-0000-4000-8000-000000000000".as_ptr(),
        c"NOTIFY_SOCKET=/run/host/notify".as_ptr(),
        c"LANG=C.UTF-8".as_ptr(),
        c"HOME=/root".as_ptr(),
        c"USER=root".as_ptr(),
        c"LOGNAME=root".as_ptr(),
        std::ptr::null(),
    ];
    // SAFETY: main made sure that there is a command.
    let program = unsafe { *made.command };
    ok!("execve", libc::SYS_execve, program, made.command, environment.as_ptr());
    die("execve")
}

fn root(made: &Made) {
    let root = if made.flags.overlay { overlay(made) } else { made.tree };
    attach(root, HERE, c"/");
    ok!("fchdir", libc::SYS_fchdir, root);
}

/// The tree as the lower layer, upper and work on a fresh tmpfs, or where they are to be kept.
fn overlay(made: &Made) -> i32 {
    let user = made.flags.user;
    let upper = if made.layer >= 0 { made.layer } else { filesystem(c"tmpfs", &[(c"mode", c"0755")], 0) };
    if made.layer < 0 {
        ok!("mkdir", libc::SYS_mkdirat, upper, c"upper".as_ptr(), 0o755);
        ok!("mkdir", libc::SYS_mkdirat, upper, c"work".as_ptr(), 0o755);
    }
    if user {
        // In a user namespace the kernel takes layers only from our own mount namespace.
        attach(made.tree, HERE, c"/");
        attach(upper, HERE, c"/");
    }
    let (upper_dir, work_dir) = (open(upper, c"upper", libc::O_PATH), open(upper, c"work", libc::O_PATH));
    let (mut a, mut b, mut c) = ([0u8; 96], [0u8; 96], [0u8; 96]);
    let lower_text = join(&mut a, b"/proc/self/fd/", made.tree as u32, b"");
    let upper_text = join(&mut b, b"/proc/self/fd/", upper_dir as u32, b"");
    let work_text = join(&mut c, b"/proc/self/fd/", work_dir as u32, b"");
    let null = std::ptr::null::<c_char>();
    let context = ok!("fsopen", libc::SYS_fsopen, c"overlay".as_ptr(), 1);
    for (key, value) in [(c"lowerdir", lower_text), (c"upperdir", upper_text), (c"workdir", work_text), (c"index", c"off"), (c"xino", c"off")] {
        ok!("fsconfig", libc::SYS_fsconfig, context, 1, key.as_ptr(), value.as_ptr(), 0);
    }
    for key in [(c"userxattr", user), (c"volatile", made.layer < 0)].into_iter().filter_map(|(key, asked)| asked.then_some(key)) {
        ok!("fsconfig", libc::SYS_fsconfig, context, 0, key.as_ptr(), null, 0);
    }
    ok!("create overlay", libc::SYS_fsconfig, context, 6, null, null, 0);
    let overlay = ok!("fsmount", libc::SYS_fsmount, context, 1, 0);
    if user {
        for layer in [upper, made.tree] {
            ok!("fchdir", libc::SYS_fchdir, layer);
            ok!("umount", libc::SYS_umount2, c".".as_ptr(), libc::MNT_DETACH);
        }
    }
    overlay
}

fn cover(base: i32, path: &CStr, host: i32, kind: &CStr) {
    let place = may!(libc::SYS_openat, base, path.as_ptr(), libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC, 0);
    if place < 0 {
        return;
    }
    let node = open_tree(host, kind, 0);
    attach(node, place, c"");
}

fn proc(host: i32, flags: Flags) {
    let proc = filesystem(c"proc", &[], API);
    attach(proc, HERE, c"proc");
    if flags.user {
        write(proc, c"sys/user/max_user_namespaces", b"0");
    }
    for path in PROC_READ_ONLY {
        let flags_of_tree = CLONE | RECURSIVE | libc::O_CLOEXEC as u32;
        let fd = may!(libc::SYS_open_tree, proc, path.as_ptr(), flags_of_tree);
        if fd < 0 {
            continue;
        }
        let net = (flags.network && path == c"sys").then(|| open_tree(proc, c"sys/net", 0));
        change(fd, c"", RECURSIVE, RDONLY, 0, 0);
        attach(fd, proc, path);
        if let Some(net) = net {
            attach(net, proc, c"sys/net");
        }
    }
    attach(open_tree(host, c"proc-sys-kernel-random-boot-id", 0), proc, c"sys/kernel/random/boot_id");
    if may!(libc::SYS_faccessat, proc, c"kmsg".as_ptr(), 0) == 0 {
        attach(open_tree(host, c"proc-kmsg", 0), proc, c"kmsg");
    }
    for path in PROC_MASKED {
        cover(proc, path, host, c"inaccessible/reg");
    }
    if flags.machine {
        for path in PROC_MASKED_MACHINE {
            let directory = path == c"acpi" || path == c"scsi";
            cover(proc, path, host, if directory { c"inaccessible/dir" } else { c"inaccessible/reg" });
        }
    }
}

fn sys(made: &Made, host: i32) {
    let sys = if made.flags.network {
        let null = std::ptr::null::<c_char>();
        let context = ok!("fsopen", libc::SYS_fsopen, c"sysfs".as_ptr(), 1);
        // In a user namespace the kernel refuses it where something covers the host's.
        let made_it = may!(libc::SYS_fsconfig, context, 6, null, null, 0) >= 0;
        let fd = if made_it { may!(libc::SYS_fsmount, context, 1, API | RDONLY) } else { -1 };
        if fd < 0 { made.sys } else { fd }
    } else {
        made.sys
    };
    attach(sys, HERE, c"sys");
    if made.flags.machine {
        for path in SYS_MASKED_MACHINE {
            cover(sys, path, host, c"inaccessible/dir");
        }
    }
    ok!("unshare", libc::SYS_unshare, libc::CLONE_NEWCGROUP);
    let cgroup = filesystem(c"cgroup2", &[], API);
    attach(cgroup, sys, c"fs/cgroup");
}

fn loopback() {
    let socket = ok!("socket", libc::SYS_socket, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
    // SAFETY: zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as c_char;
    request.ifr_name[1] = b'o' as c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    ok!("raise loopback", libc::SYS_ioctl, socket, libc::SIOCSIFFLAGS, &raw const request);
    close(socket);
}

fn bounding(flags: Flags) -> CapSet {
    let set = if flags.machine { CapSet::MACHINE } else { CapSet::NSPAWN };
    if flags.network {
        set.or(CapSet::of(&[CapName::NET_ADMIN]))
    } else if flags.user {
        set.without(CapSet::of(&[CapName::NET_BIND_SERVICE]))
    } else {
        set
    }
}

/// System call filter, bounding set, own sets.
fn confine(flags: Flags) {
    let keep = bounding(flags);
    let filter = if flags.machine { SyscallFilter::Machine(Vec::new()) } else { SyscallFilter::Nspawn(Vec::new()) };
    // Made when the program was built; only looked up here.
    let Ok(Some(program)) = seccomp::program(&filter, keep) else { die("filter") };
    if hostel_sys::seccomp::load(&program).is_err() {
        die("load filter");
    }
    for cap in 0..64u64 {
        if keep.0 >> cap & 1 == 0 && may!(libc::SYS_prctl, libc::PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 {
            break;
        }
    }
    let (mut header, mut data) = ([0x2008_0522u32, 0], [0u32; 6]);
    ok!("capget", libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr());
    let permitted = u64::from(data[1]) | u64::from(data[4]) << 32;
    let kept = permitted & keep.0;
    let (low, high) = (kept as u32, (kept >> 32) as u32);
    data = [low, low, 0, high, high, 0];
    ok!("capset", libc::SYS_capset, header.as_mut_ptr(), data.as_ptr());
    ok!("prctl", libc::SYS_prctl, libc::PR_SET_PDEATHSIG, if flags.detach { 0 } else { 9 }, 0, 0, 0);
}
