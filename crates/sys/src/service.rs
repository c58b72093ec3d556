//! What only processes of services set of themselves: namespaces one by one, secure bits, memory policy, timer slack.

use std::ffi::c_char;
use std::io;

fn check(ret: libc::c_long) -> io::Result<()> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Leaves namespaces for new ones; `flags` are `NEW…` of [`crate::clone`].
pub fn unshare(flags: u64) -> io::Result<()> {
    // SAFETY: an integer; affects this (only) thread.
    check(libc::c_long::from(unsafe { libc::unshare(flags as i32) }))
}

/// How late timers of this process may be, in nanoseconds (PR_SET_TIMERSLACK); 0 is the default of its parent.
pub fn set_timer_slack(nanoseconds: u64) -> io::Result<()> {
    // SAFETY: integers only.
    check(libc::c_long::from(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds as libc::c_ulong, 0, 0, 0) }))
}

/// How root is treated (PR_SET_SECUREBITS, capabilities(7)); needs CAP_SETPCAP.
pub fn set_secure_bits(bits: u32) -> io::Result<()> {
    // SAFETY: integers only.
    check(libc::c_long::from(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, libc::c_ulong::from(bits), 0, 0, 0) }))
}

/// The execution domain (personality(2)).
pub fn set_personality(domain: u32) -> io::Result<()> {
    // SAFETY: an integer.
    check(libc::c_long::from(unsafe { libc::personality(libc::c_ulong::from(domain)) }))
}

/// Where memory comes from (set_mempolicy(2)): a policy's number, and nodes by number.
pub fn set_memory_policy(policy: u32, nodes: &[u32]) -> io::Result<()> {
    let mut mask = [0u64; 16];
    for node in nodes {
        let Some(word) = mask.get_mut(*node as usize / 64) else { return Err(io::Error::from_raw_os_error(libc::EINVAL)) };
        *word |= 1 << (node % 64);
    }
    let bits = if nodes.is_empty() { 0 } else { size_of_val(&mask) * 8 };
    let address = if nodes.is_empty() { std::ptr::null() } else { mask.as_ptr() };
    // SAFETY: the mask is valid for that many bits; none are read of a null one.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, libc::c_long::from(policy as i32), address, bits as libc::c_ulong) })
}

/// Joins a new session keyring; with `link`, the user's keyring is in it (keyctl(2)).
pub fn new_keyring(link: bool) -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    const LINK: libc::c_long = 8;
    const SESSION: libc::c_long = -3;
    const USER: libc::c_long = -4;
    // SAFETY: a null name asks for an anonymous keyring.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<c_char>()) })?;
    if link {
        // SAFETY: integers only.
        check(unsafe { libc::syscall(libc::SYS_keyctl, LINK, USER, SESSION) })?;
    }
    Ok(())
}
