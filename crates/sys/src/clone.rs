//! Making processes and holding on to them: clone3, setns, pidfds, execveat.
//!
//! A pidfd (Linux 5.3) names one process for ever; a pid names whatever has that number now. Everything here that makes a
//! process returns its pidfd, made in the same system call, so there is no moment in which the number could be reused.
//!
//! **Panics in a child.** libc caches the thread id; a child made by a raw system call has a stale one, and musl's `abort`
//! signals the stale number. Code between [`clone3`] and exec must not panic; a program that clones does well to install a
//! panic hook that ends in [`exit_now`].

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// New mount namespace.
pub const NEWNS: u64 = 0x0002_0000;
/// New cgroup namespace.
pub const NEWCGROUP: u64 = 0x0200_0000;
/// New UTS namespace.
pub const NEWUTS: u64 = 0x0400_0000;
/// New IPC namespace.
pub const NEWIPC: u64 = 0x0800_0000;
/// New user namespace.
pub const NEWUSER: u64 = 0x1000_0000;
/// New pid namespace.
pub const NEWPID: u64 = 0x2000_0000;
/// New network namespace.
pub const NEWNET: u64 = 0x4000_0000;
/// New time namespace (for setns; clone3 has no bit for it before exec).
pub const NEWTIME: u64 = 0x0000_0080;
/// The child starts with default actions for all caught signals (Linux 5.5).
pub const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// The child becomes a sibling: its parent is the caller's parent.
pub const PARENT: u64 = 0x0000_8000;

/// The child shares the descriptor table: what it opens, the caller has.
pub const FILES: u64 = 0x0000_0400;

const VM: u64 = 0x0000_0100;
const PIDFD: u64 = 0x0000_1000;
const VFORK: u64 = 0x0000_4000;
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// What the child is to be.
#[derive(Debug, Clone, Copy)]
pub struct CloneArgs<'a> {
    /// `NEW…`, [`CLEAR_SIGHAND`], [`PARENT`], [`FILES`]. The pidfd is always asked for; memory is never shared.
    pub flags: u64,
    /// A cgroup2 directory the child is born in (Linux 5.7): 0.2 ms where moving it later costs 10.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Sent to the parent at the child's end; 17 (SIGCHLD) makes it waitable in the usual way.
    pub exit_signal: i32,
}

impl Default for CloneArgs<'_> {
    fn default() -> Self {
        Self { flags: 0, cgroup: None, exit_signal: libc::SIGCHLD }
    }
}

/// Who returns from [`clone3`].
#[derive(Debug)]
pub enum Fork {
    /// The caller: the child's pid as seen here, and its pidfd (close-on-exec).
    Parent {
        /// Number in the caller's pid namespace.
        pid: i32,
        /// The child.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// `struct clone_args`, version 2 (88 bytes).
#[repr(C, align(8))]
#[derive(Default)]
struct KernelArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

impl KernelArgs {
    fn new(args: &CloneArgs<'_>, pidfd: &mut i32) -> Self {
        let mut kernel = Self {
            flags: (args.flags & !(VM | VFORK)) | PIDFD,
            pidfd: std::ptr::from_mut(pidfd) as u64,
            // With CLONE_PARENT the kernel takes the parent's own exit signal and wants 0 here.
            exit_signal: if args.flags & PARENT == 0 { args.exit_signal as u64 } else { 0 },
            ..Self::default()
        };
        if let Some(cgroup) = args.cgroup {
            kernel.flags |= INTO_CGROUP;
            kernel.cgroup = cgroup.as_raw_fd() as u64;
        }
        kernel
    }
}

fn check(ret: c_long) -> io::Result<c_long> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

thread_local! {
    /// Of a process that [`clone3`] or [`vfork_exec`] made: its number, as it knows itself. A vfork child has its parent
    /// thread's memory, whose own is put back when that goes on.
    static MADE: Cell<i32> = const { Cell::new(0) };
}

/// Whether this process was made here and has executed nothing since: it began with one thread.
fn is_made_here() -> bool {
    MADE.get() == own_pid()
}

fn own_pid() -> i32 {
    // SAFETY: no arguments; the raw call, because libc may remember another's.
    unsafe { libc::syscall(libc::SYS_getpid) as i32 }
}

/// Whether this process has one thread.
pub fn is_single_threaded() -> io::Result<bool> {
    // "Unsharing" the thread group is nothing but this question (unshare(2)), and 20 times faster than looking in /proc. A
    // no may come from a process that shares our memory without being a thread of ours.
    // SAFETY: an integer; nothing is changed.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(true);
    }
    let mut out = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: constant path; `out` is a valid stat buffer.
    check(c_long::from(unsafe { libc::stat(c"/proc/self/task".as_ptr(), out.as_mut_ptr()) }))?;
    // SAFETY: zero-initialised, then filled.
    Ok(unsafe { out.assume_init() }.st_nlink == 3)
}

/// An error unless this process has one thread: what a fork would find locked it can never unlock.
///
/// A thread that was joined is counted until the kernel is done with it, which is waited for.
pub fn assert_single_threaded() -> io::Result<()> {
    const TRIES: u32 = 500;
    for _ in 0..TRIES {
        if is_single_threaded()? {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    Err(io::Error::other("this process has more than one thread"))
}

/// Makes a child with a copy of this process' memory (clone3(2), Linux 5.3). Returns twice.
///
/// Refused in a process with several threads: what another of them had half done, such as a lock it held or memory it was
/// allocating, stays half done in the copy. (A child of [`vfork_exec`] has one thread, but the memory of its parent: who makes
/// it in a program with threads must not clone there, or must know that the others are idle.) libc's fork handlers do not
/// run. The child leaves by exec or [`exit_now`], never by returning from main.
pub fn clone3(args: &CloneArgs<'_>) -> io::Result<Fork> {
    if !is_made_here() {
        assert_single_threaded()?;
    }
    // SAFETY: there is no other thread.
    unsafe { clone_unchecked(args) }
}

/// The same without asking.
///
/// # Safety
/// If there are other threads, the child does nothing but async-signal-safe calls (signal-safety(7)): it must not allocate.
unsafe fn clone_unchecked(args: &CloneArgs<'_>) -> io::Result<Fork> {
    let mut fd = -1i32;
    let kernel = KernelArgs::new(args, &mut fd);
    // SAFETY: `kernel` is a clone_args of the size given whose pointers are valid; without CLONE_VM the child works on a copy.
    let made = match check(unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_ref(&kernel), size_of::<KernelArgs>()) }) {
        Err(e) if is_filtered(&e, args) => clone_as_of_old(args, &mut fd)?,
        made => made?,
    };
    match made {
        0 => {
            MADE.set(own_pid());
            Ok(Fork::Child)
        }
        // SAFETY: with CLONE_PIDFD the kernel stored a new descriptor, owned by nobody else.
        pid => Ok(Fork::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(fd) } }),
    }
}

const NAMESPACES: u64 = NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET;

/// Whether a filter refused clone3(2): its flags are in memory, where filters cannot look, so Docker's and others' refuse it as a
/// whole, mostly as unknown, to whoever may make no namespaces. For them clone(2) does.
fn is_filtered(e: &io::Error, args: &CloneArgs<'_>) -> bool {
    args.flags & NAMESPACES == 0 && matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

/// What systemd's exit status says of a process that could not get into its cgroup.
const EXIT_CGROUP: i32 = 219;

/// The same by clone(2) (pidfds since Linux 5.2). Caught signals stay caught until the child executes; the child moves itself to
/// its cgroup, before anybody sees it there.
fn clone_as_of_old(args: &CloneArgs<'_>, fd: &mut i32) -> io::Result<c_long> {
    let signal = if args.flags & PARENT == 0 { args.exit_signal as u64 & 0xff } else { 0 };
    let flags = (args.flags & !(VM | VFORK | CLEAR_SIGHAND | 0xff)) | PIDFD | signal;
    let none = std::ptr::null_mut::<c_void>();
    // SAFETY: no stack and no shared memory, as fork(2); the pidfd is stored where the parent's thread id else is; the last two
    // arguments, whose order depends on the machine, are not used without their flags.
    let made = check(unsafe { libc::syscall(libc::SYS_clone, flags, none, std::ptr::from_mut(fd), none, none) })?;
    if let (0, Some(cgroup)) = (made, args.cgroup) {
        let moved = rustix::fs::openat(cgroup, c"cgroup.procs", rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())
            .and_then(|file| rustix::io::write(&file, b"0"));
        if moved.is_err() {
            exit_now(EXIT_CGROUP);
        }
    }
    Ok(made)
}

/// Ends this process at once: no destructors, no exit handlers, no flushing.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor from `first` on but those in `keep`. Refused in a process that [`clone3`] or [`vfork_exec`] did
/// not make: only a child has copies of what its parent goes on using.
///
/// Rust's I/O safety cannot say more than that. The child's memory holds the parent's owned descriptors, whose numbers are free
/// after this; no type can take them all away from it, because they are on stacks and heaps this function knows nothing of. So
/// the caller leaves by exec or [`exit_now`], where nothing is dropped, and uses no descriptor from `first` on but those kept
/// and those it opens from here on. (Memory stays safe whatever it does: a number that is free is EBADF.)
pub fn close_from_but(first: u32, keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    if !is_made_here() {
        return Err(io::Error::other("only a child that was made for an exec closes what it did not open"));
    }
    let close = |first: u32, last: u32| {
        if first > last {
            return Ok(0);
        }
        // SAFETY: integers only; who owns a closed number is in another process (see above).
        check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
    };
    let mut next = first;
    // From one kept number to the next higher one.
    while let Some(kept) = keep.iter().map(|fd| fd.as_raw_fd() as u32).filter(|n| *n >= next).min() {
        if kept > next {
            close(next, kept - 1)?;
        }
        next = kept + 1;
    }
    close(next, u32::MAX).map(drop)
}

/// In a child that was made for an exec: the program gets these as descriptors 3, 4, … in this order, not close-on-exec.
/// What else is to live until the exec must be above them: see `rustix::io::fcntl_dupfd_cloexec`.
pub fn pass_from_three(fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if !is_made_here() {
        return Err(io::Error::other("only a child that was made for an exec passes descriptors"));
    }
    let first = 3 + fds.len() as i32;
    // first out of the way: one may stand where another goes
    let copies = fds.iter().map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, first)).collect::<Result<Vec<OwnedFd>, _>>()?;
    for (copy, to) in copies.iter().zip(3..) {
        // SAFETY: integers only; who owns the number that is taken is in another process (see above).
        check(unsafe { libc::dup2(copy.as_raw_fd(), to) }.into())?;
    }
    Ok(())
}

/// Makes a child that runs `child` in *this* process' memory while the caller is suspended, until it execs or ends
/// (CLONE_VM | CLONE_VFORK): no page tables are copied, which is most of what a fork costs.
///
/// `child` should end in exec; what it returns is the exit status when that failed. It has its own descriptor table,
/// working directory, credentials, namespaces and signal mask, but what it writes to memory the caller sees: that is how it
/// reports errors. It must not panic, and must not rely on destructors of the caller's values running twice or not at all:
/// to memory it is simply code that ran on this thread and did not return.
/// Signals are blocked in the caller meanwhile; caught ones are at their default in the child, and its mask is empty.
pub fn vfork_exec(args: &CloneArgs<'_>, child: &mut dyn FnMut() -> i32) -> io::Result<(i32, OwnedFd)> {
    let mut fd = -1i32;
    let mut kernel = KernelArgs::new(args, &mut fd);
    kernel.flags |= VM | VFORK | CLEAR_SIGHAND;
    let mut child = child;
    let old = signal_mask(u64::MAX)?;
    let made = MADE.get();
    let ret = vfork_raw(&mut kernel, &mut child);
    MADE.set(made);
    signal_mask(old)?;
    if ret < 0 {
        return Err(io::Error::from_raw_os_error(-ret as i32));
    }
    // SAFETY: with CLONE_PIDFD the kernel stored a new descriptor, owned by nobody else.
    Ok((ret as i32, unsafe { OwnedFd::from_raw_fd(fd) }))
}

type Child<'a> = &'a mut dyn FnMut() -> i32;

/// First code of the vfork child, on its part of the stack.
extern "C" fn vfork_entry(data: *mut c_void) -> ! {
    // SAFETY: `data` is the `&mut Child` that `vfork_raw` passed; the parent is suspended, so nobody else uses it.
    let child = unsafe { &mut *data.cast::<Child<'_>>() };
    MADE.set(own_pid());
    let code = match signal_mask(0) {
        Ok(_) => child(),
        Err(_) => 127,
    };
    exit_now(code)
}

/// Room left below the caller's frame before the child's stack begins: this function's own frame and the red zone.
const VFORK_GAP: usize = 16 << 10;

/// The system call itself; in assembly because the child must not return through the parent's frame.
///
/// The child's stack is what is free of ours, further down: we do not run meanwhile, its pages are there mostly, and the
/// kernel lets it grow as far as ours may (a mapping of its own would cost three system calls and fresh pages).
#[inline(never)]
fn vfork_raw(kernel: &mut KernelArgs, child: &mut Child<'_>) -> c_long {
    let ret: c_long;
    let here = 0u8;
    let top = (std::ptr::from_ref(&here) as usize - VFORK_GAP) & !0xf;
    // The kernel only adds the two.
    kernel.stack = (top - VFORK_GAP) as u64;
    kernel.stack_size = VFORK_GAP as u64;
    let kernel: &KernelArgs = kernel;
    let data = std::ptr::from_mut(child).cast::<c_void>();
    let entry: extern "C" fn(*mut c_void) -> ! = vfork_entry;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the child begins on a 16-byte aligned part of the stack below everything in use, calls `entry(data)` there and
    // never comes back; the parent is suspended until it has gone and then continues after label 2, its own frames untouched.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => ret,
            in("rdi") std::ptr::from_ref(kernel),
            in("rsi") size_of::<KernelArgs>(),
            in("r12") data,
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk 1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") std::ptr::from_ref(kernel) => ret,
            in("x1") size_of::<KernelArgs>(),
            in("x20") data,
            in("x21") entry,
        );
    }
    ret
}

/// Replaces the signal mask of this thread, returns the old one. Bit n-1 is signal n.
///
/// The raw call: libc's `pthread_sigmask` refuses to touch the signals it keeps for itself.
pub fn signal_mask(mask: u64) -> io::Result<u64> {
    let mut old = 0u64;
    // SAFETY: two valid 64-bit masks of the size the kernel wants.
    check(unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, std::ptr::from_ref(&mask), std::ptr::from_mut(&mut old), 8usize) })?;
    Ok(old)
}

/// Opens a process by number in this pid namespace (Linux 5.3).
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: integers only.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel just returned this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends a signal by its raw number: 37 is glibc's SIGRTMIN+3 whatever libc we are linked with. 0 only asks whether it lives.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: a null siginfo means "as kill(2)".
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<c_void>(), 0) }).map(drop)
}

/// Joins those namespaces of the process `pidfd` that `flags` names, all or none (Linux 5.8). A pid namespace is for
/// children only.
pub fn setns_pidfd(pidfd: BorrowedFd<'_>, flags: u64) -> io::Result<()> {
    // SAFETY: an open descriptor and an integer; affects this thread's namespaces only.
    check(unsafe { libc::syscall(libc::SYS_setns, pidfd.as_raw_fd(), flags as c_long) }).map(drop)
}

/// How a process changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitStatus {
    /// It ended with this status, 0…255.
    Exited(i32),
    /// A signal ended it.
    Signaled {
        /// Raw number.
        signal: i32,
        /// A core was dumped.
        core: bool,
    },
    /// A signal stopped it.
    Stopped(i32),
    /// It was continued.
    Continued,
}

impl WaitStatus {
    /// What a shell would say: the status, or 128 + signal.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled { signal, .. } | Self::Stopped(signal) => 128 + signal,
            Self::Continued => 0,
        }
    }
    /// From the status word of wait(2).
    pub fn from_raw(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            Self::Exited(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            Self::Signaled { signal: libc::WTERMSIG(status), core: libc::WCOREDUMP(status) }
        } else if libc::WIFSTOPPED(status) {
            Self::Stopped(libc::WSTOPSIG(status))
        } else {
            Self::Continued
        }
    }
}

/// Wait for the end, as every call does.
pub const WAIT_EXITED: i32 = libc::WEXITED;
/// Wait for a stop, too.
pub const WAIT_STOPPED: i32 = libc::WSTOPPED;
/// Do not block: `None` when nothing changed.
pub const WAIT_NOHANG: i32 = libc::WNOHANG;
/// Leave the child waitable.
pub const WAIT_NOWAIT: i32 = libc::WNOWAIT;

/// Waits for the end of a child by its pidfd (Linux 5.4); `flags`: what else. Restarted when interrupted. `ECHILD`: not a child of ours, or reaped already.
pub fn wait_pidfd(pidfd: BorrowedFd<'_>, flags: i32) -> io::Result<Option<WaitStatus>> {
    loop {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        // __WALL: also children whose end is told by no signal, or by another than SIGCHLD.
        // SAFETY: `info` is a valid siginfo buffer.
        let ret = unsafe { libc::waitid(libc::P_PIDFD as _, pidfd.as_raw_fd() as _, info.as_mut_ptr(), flags | libc::WEXITED | libc::__WALL) };
        if ret < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        }
        // SAFETY: zero-initialised; filled when a child changed.
        let info = unsafe { info.assume_init() };
        // SAFETY: waitid fills the SIGCHLD fields; all zero when nothing changed.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if pid == 0 {
            return Ok(None);
        }
        return Ok(Some(match info.si_code {
            libc::CLD_EXITED => WaitStatus::Exited(status),
            libc::CLD_KILLED => WaitStatus::Signaled { signal: status, core: false },
            libc::CLD_DUMPED => WaitStatus::Signaled { signal: status, core: true },
            libc::CLD_CONTINUED => WaitStatus::Continued,
            _ => WaitStatus::Stopped(status),
        }));
    }
}

/// How a process that is *not* our child ended, asked of its pidfd (PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15).
///
/// `Ok(None)`: it has not been reaped yet. An error (`ENOTTY`, `EINVAL`): this kernel cannot say.
pub fn pidfd_exit(pidfd: BorrowedFd<'_>) -> io::Result<Option<WaitStatus>> {
    const INFO_EXIT: u64 = 8;
    /// `struct pidfd_info` up to `exit_code` and what follows it, 72 bytes.
    #[repr(C, align(8))]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
        rest: [u32; 2],
    }
    // _IOWR(0xFF, 11, struct pidfd_info)
    const GET_INFO: u64 = 0xC000_0000 | (size_of::<Info>() as u64) << 16 | 0xFF << 8 | 11;
    let mut info = Info { mask: INFO_EXIT, ..Info::default() };
    // SAFETY: the ioctl number carries the size of `info`, which is valid for reading and writing.
    let ret = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, std::ptr::from_mut(&mut info)) };
    if ret < 0 {
        let error = io::Error::last_os_error();
        // A reaped process whose exit information is not kept, or a living one asked for it.
        return if error.raw_os_error() == Some(libc::ESRCH) { Ok(None) } else { Err(error) };
    }
    Ok((info.mask & INFO_EXIT != 0).then(|| WaitStatus::from_raw(info.exit_code)))
}

/// Executes the file `fd` itself, with no path walked (execveat(2)). Returns only on failure. Both lists must end in null.
pub fn execve_fd(fd: BorrowedFd<'_>, argv: &[*const c_char], envp: &[*const c_char]) -> io::Error {
    execveat(fd, c"", argv, envp, libc::AT_EMPTY_PATH)
}

/// Executes `path` below `dir` (execveat(2), Linux 3.19). Returns only on failure. Both lists must end in null.
pub fn execveat(dir: BorrowedFd<'_>, path: &CStr, argv: &[*const c_char], envp: &[*const c_char], flags: i32) -> io::Error {
    if !(argv.last().is_some_and(|p| p.is_null()) && envp.last().is_some_and(|p| p.is_null())) {
        return io::Error::from_raw_os_error(libc::EINVAL);
    }
    // SAFETY: null-terminated arrays (checked) of pointers to C strings the caller keeps alive.
    unsafe { libc::syscall(libc::SYS_execveat, dir.as_raw_fd(), path.as_ptr(), argv.as_ptr(), envp.as_ptr(), flags) };
    io::Error::last_os_error()
}

#[cfg(test)]
mod tests;
