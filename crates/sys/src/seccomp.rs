//! Loading seccomp programs (seccomp(2)) into the calling thread, for good.

use std::io;

/// One classic BPF instruction, the kernel's `struct sock_filter` (linux/filter.h).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the condition holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Constant: compared, added to the program counter, loaded from, or returned.
    pub k: u32,
}

/// The longest program the kernel takes, in instructions (`BPF_MAXINSNS`).
pub const MAX_INSNS: usize = 4096;

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    len: u16,
    insns: *const Insn,
}

const SET_MODE_FILTER: libc::c_ulong = 1;
const FLAG_LOG: libc::c_ulong = 1 << 1;
/// Leaves speculation as it is. Without it kernels before 5.16 switch speculative store bypass off for the whole
/// payload (a slow-down of every program); from 5.16 on the kernel never does, whatever the flag.
const FLAG_SPEC_ALLOW: libc::c_ulong = 1 << 2;

/// Loads `program` into the calling thread; its children inherit it. Needs `CAP_SYS_ADMIN` in the thread's user
/// namespace, or no_new_privs. `EINVAL`: the program is empty, too long or malformed.
pub fn load(program: &[Insn]) -> io::Result<()> {
    load_logging(program, false)
}

/// The same; `log`: what it does, other than to allow a call, is for the kernel's log.
pub fn load_logging(program: &[Insn], log: bool) -> io::Result<()> {
    if program.is_empty() || program.len() > MAX_INSNS {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let log = if log { FLAG_LOG } else { 0 };
    match set_filter(FLAG_SPEC_ALLOW | log, program) {
        // Linux before 4.17 does not know the flag.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => set_filter(log, program),
        other => other,
    }
}

fn set_filter(flags: libc::c_ulong, program: &[Insn]) -> io::Result<()> {
    let program = Program { len: program.len() as u16, insns: program.as_ptr() };
    // SAFETY: the struct is a valid sock_fprog whose instructions outlive the call; the kernel copies them.
    if unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, std::ptr::from_ref(&program)) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether this kernel takes filters. Changes nothing: a kernel that does fails at reading the null program.
pub fn available() -> bool {
    // SAFETY: a null program is refused (EFAULT) before anything is changed.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0 as libc::c_ulong, std::ptr::null::<Program>()) };
    ret < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}
