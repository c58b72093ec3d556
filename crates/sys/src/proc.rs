//! Attributes of the calling process: prctl, limits, personality, ids, sessions.

use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

fn check(ret: i32) -> io::Result<i32> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

fn prctl(option: i32, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the options used here take one integer.
    check(unsafe { libc::prctl(option, value, 0 as libc::c_ulong, 0 as libc::c_ulong, 0 as libc::c_ulong) }).map(drop)
}

/// Whether two descriptors are of one open file (kcmp(2)); where the kernel does not say, no.
pub fn is_same_file(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    const KCMP_FILE: libc::c_long = 0;
    let own = libc::c_long::from(std::process::id() as i32);
    // SAFETY: takes integers only.
    unsafe { libc::syscall(libc::SYS_kcmp, own, own, KCMP_FILE, libc::c_long::from(a.as_raw_fd()), libc::c_long::from(b.as_raw_fd())) == 0 }
}

/// The signal this process gets when its parent thread ends.
pub fn set_parent_death_signal(signal: i32) -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong)
}

/// Whether others (ptrace, /proc/PID/exe, core dumps) may look into this process.
pub fn set_dumpable(dumpable: bool) -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable))
}

/// No program run from here on gains privileges.
pub fn set_no_new_privs() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Orphaned descendants become children of this process.
pub fn set_child_subreaper(yes: bool) -> io::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, libc::c_ulong::from(yes))
}

/// Sets /proc/self/comm (15 bytes are kept).
pub fn set_name(name: &CStr) -> io::Result<()> {
    // SAFETY: PR_SET_NAME reads a NUL-terminated string of at most 16 bytes.
    check(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0 as libc::c_ulong, 0 as libc::c_ulong, 0 as libc::c_ulong) }).map(drop)
}

/// Waits until something is to be read of a descriptor, with no page of this program's code and constants in its memory but the one
/// that waits: those that are used afterwards come back out of the kernel's cache of the file.
pub fn wait_without_program(fd: BorrowedFd<'_>, limit: Option<&rustix::event::Timespec>) {
    unsafe extern "C" {
        /// First byte of the program, and the one after its code, as linkers name them.
        static __executable_start: u8;
        static etext: u8;
    }
    let from = &raw const __executable_start;
    let pages = ((&raw const etext).addr() - from.addr()) & !(rustix::param::page_size() - 1);
    let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
    // SAFETY: whole pages of a private mapping of a file, which nobody could write to: what is read there next is what was there before.
    let _ = unsafe { rustix::mm::madvise(from.cast_mut().cast(), pages, rustix::mm::Advice::LinuxDontNeed) };
    let _ = rustix::event::poll(&mut fds, limit);
}

/// A personality: uname says a 32-bit machine.
pub const PER_LINUX32: u32 = 0x0008;

/// What programs are told that this machine is (personality(2)).
pub fn set_personality(personality: u32) -> io::Result<()> {
    // SAFETY: takes an integer.
    check(unsafe { libc::personality(personality.into()) }).map(drop)
}

/// Sets a resource limit; `None` = infinity. `resource` is the kernel's number.
pub fn set_rlimit(resource: u32, soft: Option<u64>, hard: Option<u64>) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft.unwrap_or(libc::RLIM64_INFINITY), rlim_max: hard.unwrap_or(libc::RLIM64_INFINITY) };
    // SAFETY: `limit` is valid; no old value is asked for.
    check(unsafe { libc::prlimit64(0, resource as _, &limit, std::ptr::null_mut()) }).map(drop)
}

/// Reads a resource limit of process `pid` (0 = self): (soft, hard), `None` = infinity.
pub fn get_rlimit(pid: i32, resource: u32) -> io::Result<(Option<u64>, Option<u64>)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writing; no new value is set.
    check(unsafe { libc::prlimit64(pid, resource as _, std::ptr::null(), &mut limit) })?;
    let value = |v: u64| (v != libc::RLIM64_INFINITY).then_some(v);
    Ok((value(limit.rlim_cur), value(limit.rlim_max)))
}

/// Sets real, effective and saved group and user id, and the supplementary groups, in the order that works.
pub fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the slice is valid for its length; raw system calls affect this (only) thread.
    unsafe {
        if libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        if libc::syscall(libc::SYS_setresgid, gid, gid, gid) < 0 || libc::syscall(libc::SYS_setresuid, uid, uid, uid) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Starts a new session.
pub fn new_session() -> io::Result<()> {
    // SAFETY: no arguments.
    check(unsafe { libc::setsid() }).map(drop)
}

/// Makes the terminal `fd` the controlling one of this session; with `steal` also one that is another's (CAP_SYS_ADMIN).
pub fn set_controlling_terminal(fd: BorrowedFd<'_>, steal: bool) -> io::Result<()> {
    // SAFETY: an integer argument.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY as _, libc::c_int::from(steal)) }).map(drop)
}

/// Joins a new, empty session keyring, so that the caller's keys stay behind (keyctl(2)).
pub fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<c_char>()) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets the CPUs this thread may run on, by number.
pub fn set_affinity(cpus: &[u32]) -> io::Result<()> {
    let mut mask = [0u64; 128];
    for &cpu in cpus {
        let Some(word) = mask.get_mut(cpu as usize / 64) else { return Err(io::Error::from_raw_os_error(libc::EINVAL)) };
        *word |= 1 << (cpu % 64);
    }
    // SAFETY: the mask is valid for its size in bytes.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(&mask), mask.as_ptr()) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Marks every descriptor from `first` on close-on-exec.
pub fn cloexec_from(first: u32) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: integers only; nothing is closed now.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Puts `from` in the place of standard stream `to` (0, 1 or 2), without close-on-exec. Equal numbers: only the flag is
/// cleared.
///
/// Those three belong to no owned value, and are open before and after: whoever borrows one of them keeps a valid descriptor.
pub fn place_stream(from: BorrowedFd<'_>, to: i32) -> io::Result<()> {
    if !(0..3).contains(&to) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    if from.as_raw_fd() == to {
        // SAFETY: plain fcntl on an open descriptor.
        return check(unsafe { libc::fcntl(to, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: `to` is a standard stream (checked), which no owned value holds.
    check(unsafe { libc::dup2(from.as_raw_fd(), to) }).map(drop)
}

/// Resets every signal's action to the default and unblocks all.
pub fn reset_signals() -> io::Result<()> {
    // SAFETY: zeroed sigaction is SIG_DFL with an empty mask; KILL, STOP and libc's own numbers fail with EINVAL, which is fine.
    unsafe {
        let action: libc::sigaction = std::mem::zeroed();
        for signal in 1..=64 {
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
        let empty = [0u64; 1];
        if libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, empty.as_ptr(), std::ptr::null::<u64>(), 8usize) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Writing to a pipe without a reader is an error (EPIPE) from here on, in programs that are executed, too.
pub fn ignore_broken_pipes() -> io::Result<()> {
    // SAFETY: a zeroed sigaction with SIG_IGN is valid.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_IGN;
        check(libc::sigaction(libc::SIGPIPE, &action, std::ptr::null_mut())).map(drop)
    }
}

/// Replaces the program. Returns only on failure. Both lists must end in a null pointer.
pub fn execve(path: &CStr, argv: &[*const c_char], envp: &[*const c_char]) -> io::Error {
    debug_assert!(argv.last().is_some_and(|p| p.is_null()) && envp.last().is_some_and(|p| p.is_null()));
    // SAFETY: the caller's lists are null-terminated arrays of valid C strings.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Sets the NIS domain name.
pub fn set_domainname(name: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length of one slice.
    check(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Sets the I/O priority of this process (ioprio_set(2)): class and level in one number.
pub fn set_io_priority(priority: u16) -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_long = 1;
    // SAFETY: integers only.
    let ret = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0 as libc::c_long, libc::c_long::from(priority)) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What [`set_scheduler`] sets; see sched_setattr(2).
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // the names are the manual page's
pub struct SchedulerAttributes {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    /// Nanoseconds.
    pub runtime: u64,
    /// Nanoseconds.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}

/// `struct sched_attr`, version 0.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets policy and parameters of this thread's scheduling.
pub fn set_scheduler(a: &SchedulerAttributes) -> io::Result<()> {
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: a.policy,
        flags: a.flags,
        nice: a.nice,
        priority: a.priority,
        runtime: a.runtime,
        deadline: a.deadline,
        period: a.period,
    };
    // SAFETY: a sched_attr of the size it names; the kernel only reads it.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setattr, 0 as libc::c_long, std::ptr::from_ref(&attr), 0 as libc::c_long) };
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Enters a new time namespace when the next program is executed or child made, or by joining `/proc/self/ns/time_for_children`;
/// until then its offsets can be written to /proc/self/timens_offsets (time_namespaces(7)).
pub fn unshare_time() -> io::Result<()> {
    // SAFETY: integer flag (CLONE_NEWTIME); affects this thread's namespaces only.
    check(unsafe { libc::unshare(0x80) }).map(drop)
}

/// The kind of a namespace (a `CLONE_NEW…` flag), by its descriptor. ENOTTY: it is none.
pub fn namespace_kind(fd: BorrowedFd<'_>) -> io::Result<u32> {
    // _IO(0xb7, 0x3), linux/nsfs.h
    const NS_GET_NSTYPE: u32 = 0xb703;
    // SAFETY: an ioctl without argument, on an open descriptor.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE as _) }).map(|kind| kind as u32)
}

/// Sets the host name.
pub fn set_hostname(name: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length of one slice.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Enters a new cgroup namespace rooted at the current cgroup.
pub fn unshare_cgroup() -> io::Result<()> {
    // SAFETY: integer flag; affects this thread's namespaces only.
    check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }).map(drop)
}

/// Gives the calling thread a copy of its mount namespace, owned by its user namespace. The copy's mounts are locked, each
/// to the one below it and with its flags, if the original belongs to another user namespace (mount_namespaces(7)).
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: integer flag; affects this thread's namespaces only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) }).map(drop)
}

/// Joins the namespace `fd` of kind `flag` (a `CLONE_NEW*` value).
pub fn join_namespace(fd: BorrowedFd<'_>, flag: i32) -> io::Result<()> {
    // SAFETY: an open namespace descriptor and an integer.
    check(unsafe { libc::setns(fd.as_raw_fd(), flag) }).map(drop)
}

/// Sends a signal to every process that this one may signal, but itself and PID 1 (kill(2), -1): for a PID 1 at its end.
pub fn signal_all(signal: i32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::kill(-1, signal) }).map(drop)
}

/// What [`reboot`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reboot {
    /// Again.
    Restart,
    /// Off.
    PowerOff,
}

/// reboot(2): inside a pid namespace it ends PID 1 with SIGHUP (restart) or SIGINT (off).
pub fn reboot(how: Reboot) -> io::Error {
    let command = match how {
        Reboot::Restart => libc::RB_AUTOBOOT,
        Reboot::PowerOff => libc::RB_POWER_OFF,
    };
    // SAFETY: an integer command.
    unsafe { libc::reboot(command) };
    io::Error::last_os_error()
}

/// Overwrites this process' arguments but the first, which others can read in /proc/PID/cmdline, with zeros.
///
/// To be called once they have been read: whoever asks std for them afterwards gets empty ones.
pub fn hide_arguments() -> io::Result<()> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    // proc_pid_stat(5): arg_start is field 48, arg_end field 49; the name in parentheses may hold anything.
    let after = text.rfind(')').map_or("", |at| &text[at + 2..]);
    let field = |number: usize| after.split_ascii_whitespace().nth(number - 3).and_then(|v| v.parse::<usize>().ok());
    let (Some(start), Some(end)) = (field(48), field(49)) else { return Err(io::Error::from(io::ErrorKind::InvalidData)) };
    if start == 0 || end <= start || end - start > 8 << 20 {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    // SAFETY: the kernel says that this range of our own stack holds our arguments, each with a NUL at its end; it is
    // writable, nobody holds a reference into it (std copies), and zeros leave every argument a C string.
    unsafe {
        let first = CStr::from_ptr(start as *const c_char).count_bytes().min(end - start);
        std::ptr::write_bytes((start + first) as *mut u8, 0, end - start - first);
    }
    Ok(())
}

/// Whether descriptor `number` is open and came over our exec: what we open ourselves is close-on-exec.
pub fn is_inherited(number: i32) -> bool {
    // SAFETY: plain fcntl; fails when the descriptor is not open.
    unsafe { libc::fcntl(number, libc::F_GETFD) == 0 }
}

/// Takes over descriptor `number`, which this process inherited; it becomes close-on-exec. EBADF if it is not open, or was
/// not inherited: it is close-on-exec, as all is that Rust opens, and what was taken here before.
///
/// What remains is a promise: of a descriptor whose flag this process cleared itself, to pass it on, it is the owner already.
pub fn take_inherited(number: i32) -> io::Result<std::os::fd::OwnedFd> {
    if number < 3 || !is_inherited(number) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: plain fcntl; fails with EBADF when the descriptor is not open.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, came over our exec, and was not taken before (checked): no owned value has it.
    Ok(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(number) })
}
