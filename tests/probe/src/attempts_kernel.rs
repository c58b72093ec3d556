//! System calls that reach far into the kernel, with arguments that cannot do harm.

use crate::attempts::Row;
use crate::sys::{c, can_open, check};

fn call(number: i64, args: [i64; 6]) -> Result<(), i32> {
    check(unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]) }).map(drop)
}

fn address<T>(value: &T) -> i64 {
    std::ptr::from_ref(value) as i64
}

fn path(text: &'static std::ffi::CStr) -> i64 {
    text.as_ptr() as i64
}

/// The rows.
pub const CALLS: &[Row] = &[
    ("open_by_handle_host_root", open_by_handle),
    ("name_to_handle_at", || {
        let mut handle = [0u32; 34];
        handle[0] = 128;
        let mut mount = 0i32;
        call(libc::SYS_name_to_handle_at, [i64::from(libc::AT_FDCWD), path(c"/"), handle.as_mut_ptr() as i64, (&raw mut mount) as i64, 0, 0])
    }),
    ("io_uring_setup", || call(libc::SYS_io_uring_setup, [1, address(&[0u8; 120]), 0, 0, 0, 0])),
    ("userfaultfd", || call(libc::SYS_userfaultfd, [i64::from(libc::O_CLOEXEC), 0, 0, 0, 0, 0])),
    ("userfaultfd_user_only", || call(libc::SYS_userfaultfd, [i64::from(libc::O_CLOEXEC) | 1, 0, 0, 0, 0, 0])),
    ("bpf_map", || call(libc::SYS_bpf, [0, address(&[2u32, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 64, 0, 0, 0])),
    ("bpf_program", || call(libc::SYS_bpf, [5, address(&[0u64; 16]), 128, 0, 0, 0])),
    ("perf_event_open", || {
        let mut attr = [0u64; 16];
        attr[0] = 1 | (128 << 32); // PERF_TYPE_SOFTWARE
        attr[1] = 9; // PERF_COUNT_SW_DUMMY
        call(libc::SYS_perf_event_open, [address(&attr), 0, -1, -1, 0, 0])
    }),
    ("keyctl_session", || call(libc::SYS_keyctl, [0, -3, 0, 0, 0, 0])),
    ("keyctl_join", || call(libc::SYS_keyctl, [1, 0, 0, 0, 0, 0])),
    ("add_key", || call(libc::SYS_add_key, [path(c"user"), path(c"hostel-probe"), path(c"x"), 1, -2, 0])),
    ("request_key", || call(libc::SYS_request_key, [path(c"user"), path(c"hostel-probe-none"), 0, 0, 0, 0])),
    ("swapon", || call(libc::SYS_swapon, [path(c"/hostel-probe-none"), 0, 0, 0, 0, 0])),
    ("swapoff", || call(libc::SYS_swapoff, [path(c"/hostel-probe-none"), 0, 0, 0, 0, 0])),
    ("kexec_load", || call(libc::SYS_kexec_load, [0, 4096, 0, 0, 0, 0])), // too many segments: EINVAL behind the check
    ("kexec_file_load", || call(libc::SYS_kexec_file_load, [-1, -1, 0, 0, 0xffff, 0])),
    ("init_module", || call(libc::SYS_init_module, [0, 0, path(c""), 0, 0, 0])),
    ("finit_module", || call(libc::SYS_finit_module, [-1, path(c""), 0, 0, 0, 0])),
    ("delete_module", || call(libc::SYS_delete_module, [path(c"hostel_probe_none"), i64::from(libc::O_NONBLOCK), 0, 0, 0, 0])),
    ("clock_settime", || call(libc::SYS_clock_settime, [0, address(&[0i64, 2_000_000_000]), 0, 0, 0, 0])),
    ("settimeofday", || call(libc::SYS_settimeofday, [0, 0, 0, 0, 0, 0])),
    ("adjtimex", || {
        let mut timex = [0u64; 32];
        timex[0] = 0x4000; // ADJ_TICK, with the impossible tick 0: refused behind the check
        call(libc::SYS_adjtimex, [address(&timex), 0, 0, 0, 0, 0])
    }),
    ("sethostname", || {
        let mut name = [0u8; 65];
        unsafe { libc::gethostname(name.as_mut_ptr().cast(), 64) };
        let length = name.iter().position(|b| *b == 0).unwrap_or(0);
        call(libc::SYS_sethostname, [address(&name), length as i64, 0, 0, 0, 0]) // to what it is
    }),
    ("setdomainname", || {
        let mut u: libc::utsname = unsafe { std::mem::zeroed() };
        unsafe { libc::uname(&raw mut u) };
        let length = u.domainname.iter().position(|b| *b == 0).unwrap_or(0);
        call(libc::SYS_setdomainname, [u.domainname.as_ptr() as i64, length as i64, 0, 0, 0, 0])
    }),
    ("chroot", || call(libc::SYS_chroot, [path(c"/"), 0, 0, 0, 0, 0])),
    ("pivot_root", || call(libc::SYS_pivot_root, [path(c"/hostel-probe-none"), path(c"/hostel-probe-none"), 0, 0, 0, 0])),
    ("ptrace_child", || {
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            unsafe {
                libc::pause();
                libc::_exit(0)
            }
        }
        let seized = call(libc::SYS_ptrace, [i64::from(libc::PTRACE_SEIZE), i64::from(pid), 0, 0, 0, 0]);
        unsafe { (libc::kill(pid, libc::SIGKILL), libc::waitpid(pid, std::ptr::null_mut(), 0)) };
        seized
    }),
    ("ptrace_pid1", || {
        // PTRACE_SEIZE does not stop it, and the tracer dies at once; still, not the host's PID 1
        if std::fs::read_link("/proc/self/ns/pid").is_ok_and(|l| l.as_os_str() == "pid:[4026531836]") {
            return Err(libc::ENOENT);
        }
        call(libc::SYS_ptrace, [i64::from(libc::PTRACE_SEIZE), 1, 0, 0, 0, 0])
    }),
    ("process_vm_readv_self", || {
        let mut to = 0u64;
        let from = 7u64;
        let local = [(&raw mut to) as i64, 8];
        let remote = [address(&from), 8];
        call(libc::SYS_process_vm_readv, [i64::from(std::process::id()), address(&local), 1, address(&remote), 1, 0])
    }),
    ("kcmp", || call(libc::SYS_kcmp, [i64::from(std::process::id()), i64::from(std::process::id()), 1, 0, 0, 0])),
    ("pidfd_getfd", || {
        let pidfd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) })?;
        call(libc::SYS_pidfd_getfd, [pidfd, 0, 0, 0, 0, 0])
    }),
    ("process_madvise", || call(libc::SYS_process_madvise, [-1, 0, 0, 20, 0, 0])),
    ("process_mrelease", || call(libc::SYS_process_mrelease, [-1, 0, 0, 0, 0, 0])),
    ("move_pages", || call(libc::SYS_move_pages, [0, 0, 0, 0, 0, 0])),
    ("migrate_pages", || call(libc::SYS_migrate_pages, [0, 0, 0, 0, 0, 0])),
    ("set_mempolicy", || call(libc::SYS_set_mempolicy, [0, 0, 0, 0, 0, 0])),
    ("mbind", || call(libc::SYS_mbind, [0, 0, 0, 0, 0, 0])),
    ("quotactl", || call(libc::SYS_quotactl, [0x80_0005 << 8, path(c"/hostel-probe-none"), 0, 0, 0, 0])), // Q_GETINFO
    ("quotactl_fd", || call(libc::SYS_quotactl_fd, [-1, 0x80_0005 << 8, 0, 0, 0, 0])),
    ("acct", || call(libc::SYS_acct, [path(c"/hostel-probe-none"), 0, 0, 0, 0, 0])),
    ("syslog_size", || call(libc::SYS_syslog, [10, 0, 0, 0, 0, 0])),
    ("iopl", || call(libc::SYS_iopl, [3, 0, 0, 0, 0, 0])), // dies with this child
    ("ioperm", || call(libc::SYS_ioperm, [0x80, 1, 1, 0, 0, 0])),
    ("modify_ldt", || call(libc::SYS_modify_ldt, [0, address(&[0u64; 8]), 64, 0, 0, 0])),
    ("personality_linux32", || call(libc::SYS_personality, [8, 0, 0, 0, 0, 0])),
    ("personality_read_implies_exec", || call(libc::SYS_personality, [0x040_0000, 0, 0, 0, 0, 0])),
    ("personality_mmap_page_zero", || call(libc::SYS_personality, [0x010_0000, 0, 0, 0, 0, 0])),
    ("uselib", || call(libc::SYS_uselib, [path(c"/hostel-probe-none"), 0, 0, 0, 0, 0])),
    ("ustat", || call(libc::SYS_ustat, [0, 0, 0, 0, 0, 0])),
    ("sysfs", || call(libc::SYS_sysfs, [3, 0, 0, 0, 0, 0])),
    ("lookup_dcookie", || call(libc::SYS_lookup_dcookie, [0, 0, 0, 0, 0, 0])),
    ("nfsservctl", || call(libc::SYS_nfsservctl, [0, 0, 0, 0, 0, 0])),
    ("_sysctl", || call(libc::SYS__sysctl, [0, 0, 0, 0, 0, 0])),
    ("vhangup", || {
        unsafe { libc::setsid() };
        if can_open("/dev/tty", libc::O_RDWR).is_ok() {
            return Err(libc::EEXIST); // a terminal is still there, do not hang it up
        }
        call(libc::SYS_vhangup, [0; 6])
    }),
    ("reboot_bad_magic", || call(libc::SYS_reboot, [0, 0, 0, 0, 0, 0])),
    ("fanotify_init", || call(libc::SYS_fanotify_init, [0, 0, 0, 0, 0, 0])),
    ("fanotify_init_unprivileged", || call(libc::SYS_fanotify_init, [0x200, 0, 0, 0, 0, 0])),
    ("memfd_secret", || call(libc::SYS_memfd_secret, [0, 0, 0, 0, 0, 0])),
    ("landlock_version", || call(libc::SYS_landlock_create_ruleset, [0, 0, 1, 0, 0, 0])),
    ("statmount", || call(457, [0, 0, 0, 0, 0, 0])),
    ("unknown_call", || call(1000, [0, 0, 0, 0, 0, 0])),
    ("i386_getpid", || int80(20, 0)),
    ("i386_swapon", || int80(87, 0)),
    ("i386_mount", || int80(21, 0)),
    ("x32_getpid", || call(0x4000_0000 | 39, [0; 6])),
    ("tiocsti", || on_own_pty(0x5412, true)),
    ("tiocsti_high_bits", || on_own_pty(0x1_0000_5412u64 as i64, true)),
    ("tioclinux", || on_own_pty(0x541c, false)),
    ("mknod_host_disk", || node(libc::S_IFBLK, host_disk(), false)),
    ("open_host_disk", || node(libc::S_IFBLK, host_disk(), true)),
    ("mknod_dev_mem", || node(libc::S_IFCHR, libc::makedev(1, 1), false)),
    ("open_made_dev_mem", || node(libc::S_IFCHR, libc::makedev(1, 1), true)),
    ("open_made_dev_kmsg", || node(libc::S_IFCHR, libc::makedev(1, 11), true)),
    ("open_made_dev_null", || node(libc::S_IFCHR, libc::makedev(1, 3), true)),
    ("open_made_loop_control", || node(libc::S_IFCHR, libc::makedev(10, 237), true)),
    ("open_made_fuse", || node(libc::S_IFCHR, libc::makedev(10, 229), true)),
    ("open_made_tun", || node(libc::S_IFCHR, libc::makedev(10, 200), true)),
];

/// The kernel numbers files; ext4's root is inode 2. A handle made up from that opens the file system's root,
/// whatever part of it is mounted here.
fn open_by_handle() -> Result<(), i32> {
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        inode: [u32; 2],
    }
    let root = check(i64::from(unsafe { libc::open(c("/").as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) }))?;
    let handle = Handle { bytes: 8, kind: 1, inode: [2, 0] };
    call(libc::SYS_open_by_handle_at, [root, address(&handle), i64::from(libc::O_RDONLY), 0, 0, 0])
}

/// The first disk of /proc/partitions.
fn host_disk() -> u64 {
    let text = std::fs::read_to_string("/proc/partitions").unwrap_or_default();
    let mut numbers = text.lines().skip(2).filter_map(|l| {
        let mut words = l.split_whitespace();
        Some((words.next()?.parse::<u32>().ok()?, words.next()?.parse::<u32>().ok()?))
    });
    let (major, minor) = numbers.find(|(major, _)| ![7, 1, 11].contains(major)).unwrap_or((8, 0));
    libc::makedev(major, minor)
}

/// Makes a device node at the root of the file system (where `nodev` is least likely), opens it for reading if asked
/// (nothing is read), removes it.
fn node(kind: u32, device: u64, open: bool) -> Result<(), i32> {
    let mut last = libc::EROFS;
    for dir in ["/", "/dev/", "/root/", "/tmp/"] {
        let name = format!("{dir}.probe-node-{}", std::process::id());
        if let Err(e) = check(i64::from(unsafe { libc::mknod(c(&name).as_ptr(), kind | 0o600, device) })) {
            last = e;
            continue;
        }
        let result = if open { can_open(&name, libc::O_RDONLY) } else { Ok(()) };
        let _ = std::fs::remove_file(&name);
        match result {
            Ok(()) => return Ok(()),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// On a pty made here, as its controlling terminal: what is typed into it goes nowhere else.
fn on_own_pty(request: i64, controlling: bool) -> Result<(), i32> {
    unsafe {
        let master = check(i64::from(libc::open(c("/dev/ptmx").as_ptr(), libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC)))? as i32;
        let zero = 0i32;
        check(i64::from(libc::ioctl(master, libc::TIOCSPTLCK as _, &raw const zero)))?;
        let slave = check(i64::from(libc::ioctl(master, 0x5441, libc::O_RDWR | libc::O_NOCTTY)))? as i32; // TIOCGPTPEER
        if controlling {
            libc::setsid();
            check(i64::from(libc::ioctl(slave, libc::TIOCSCTTY as _, 0)))?;
        }
        let byte = b'x';
        check(libc::syscall(libc::SYS_ioctl, i64::from(slave), request, &raw const byte)).map(drop)
    }
}

/// A call through the i386 door of an x86-64 kernel.
#[cfg(target_arch = "x86_64")]
fn int80(number: i32, first: i32) -> Result<(), i32> {
    let result: i32;
    unsafe {
        std::arch::asm!(
            "push rbx", "mov ebx, {first:e}", "int 0x80", "pop rbx",
            first = in(reg) first, inlateout("eax") number => result,
            in("ecx") 0, in("edx") 0, in("esi") 0, in("edi") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if (-4095..0).contains(&result) { Err(-result) } else { Ok(()) }
}
#[cfg(not(target_arch = "x86_64"))]
fn int80(_: i32, _: i32) -> Result<(), i32> {
    Err(libc::ENOSYS)
}
