//! The floor: one machine in the fewest system calls, to measure hostel against.
//!
//! `hostel-floor [-u] [-o] [-n] [-m] [-t] [-d] TREE COMMAND…` gives COMMAND what `hostel nspawn -q -D TREE COMMAND` gives:
//! namespaces, mounts, device nodes, masks, cgroup with device policy, capabilities, system call filter, console pty.
//! There is no state, no journal, no lock, no parsing, no check, no message, and no `Drop`.
//! `hostel-floor -a PID COMMAND…` runs COMMAND in the namespaces of PID: one setns, one vfork, one exec.
//!
//! | letter | what is added |
//! |---|---|
//! | u | user namespace, root mapped by mount |
//! | o | overlay over the tree, upper layer on a tmpfs |
//! | n | own network |
//! | m | hostel's machine mode: more masks, its filter and capabilities, pipes for a console |
//! | t | at most 16384 tasks |
//! | k | with o: the upper layer on the disk, below /var/lib/hostel, removed at the end |
//! | d | the machine is left running, its PID 1 printed |
#![no_main]

mod device;
mod inside;
mod join;
mod kernel;
mod outside;

use std::ffi::{CStr, c_char};

/// What the letters say.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags {
    user: bool,
    overlay: bool,
    network: bool,
    machine: bool,
    tasks: bool,
    keep: bool,
    detach: bool,
}

#[unsafe(no_mangle)]
extern "C" fn main(argc: i32, argv: *const *const c_char) -> i32 {
    let mut flags = Flags::default();
    let mut attach = false;
    let mut at = 1;
    // SAFETY: argv has argc strings, then null.
    let word = |i: usize| unsafe { CStr::from_ptr(*argv.add(i)) };
    while at < argc as usize && word(at).to_bytes().starts_with(b"-") {
        for letter in &word(at).to_bytes()[1..] {
            match letter {
                b'u' => flags.user = true,
                b'o' => flags.overlay = true,
                b'n' => flags.network = true,
                b'm' => flags.machine = true,
                b't' => flags.tasks = true,
                b'k' => flags.keep = true,
                b'd' => flags.detach = true,
                b'a' => attach = true,
                _ => return 2,
            }
        }
        at += 1;
    }
    if at + 1 >= argc as usize {
        return 2;
    }
    // SAFETY: at + 1 < argc: a null-terminated rest of argv.
    let command = unsafe { argv.add(at + 1) };
    if attach { join::run(word(at), command, flags) } else { outside::run(flags, word(at), command) }
}
