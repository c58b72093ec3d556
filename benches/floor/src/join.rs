//! Running a command in a running machine: the fewest calls there are.

use std::ffi::{CStr, c_char};

use crate::Flags;
use crate::kernel::{die, ok};

pub(crate) fn run(pid: &CStr, command: *const *const c_char, flags: Flags) -> i32 {
    let pid: i32 = pid.to_str().ok().and_then(|t| t.parse().ok()).unwrap_or_else(|| die("read pid"));
    let pidfd = ok!("pidfd_open", libc::SYS_pidfd_open, pid, 0);
    let mut spaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWCGROUP;
    if flags.network {
        spaces |= libc::CLONE_NEWNET;
    }
    if flags.user {
        spaces |= libc::CLONE_NEWUSER;
    }
    ok!("setns", libc::SYS_setns, pidfd, spaces);
    let child = vfork_exec(command);
    if child < 0 {
        die("vfork");
    }
    let mut status = 0;
    // SAFETY: a child of ours and a place for its status.
    unsafe { libc::waitpid(child, &mut status, 0) };
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}

/// The child runs on our stack until its exec; written in place so that it never returns from a call we still need.
fn vfork_exec(command: *const *const c_char) -> i32 {
    let environment: [*const c_char; 2] = [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".as_ptr(), std::ptr::null()];
    let ret: i64;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: CLONE_VM | CLONE_VFORK: we are suspended until the child has execed or ended, and the child only makes
    // system calls out of registers; it never returns here.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov eax, 436", // close_range(3, ~0, 0)
            "mov edi, 3",
            "mov esi, -1",
            "xor edx, edx",
            "syscall",
            "mov eax, 59", // execve
            "mov rdi, [r12]",
            "mov rsi, r12",
            "mov rdx, r13",
            "syscall",
            "mov edi, 127",
            "mov eax, 60",
            "syscall",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone => ret,
            inlateout("rdi") (libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD) as i64 => _,
            inlateout("rsi") 0i64 => _,
            inlateout("rdx") 0i64 => _,
            in("r10") 0i64,
            in("r8") 0i64,
            in("r12") command,
            in("r13") environment.as_ptr(),
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: a plain fork; the child only execs.
    unsafe {
        ret = i64::from(libc::fork());
        if ret == 0 {
            libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
            libc::execve(*command, command, environment.as_ptr());
            libc::_exit(127);
        }
    }
    ret as i32
}
