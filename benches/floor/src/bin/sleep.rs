//! An idle PID 1: sleeps for ever, ends with SIGTERM or the stop signal of its machine.
#![no_main]

extern "C" fn end(_: libc::c_int) {
    // SAFETY: async-signal-safe, does not return.
    unsafe { libc::_exit(0) }
}

#[unsafe(no_mangle)]
extern "C" fn main() -> libc::c_int {
    // SAFETY: a handler that only exits; pause has no arguments. 38: SIGRTMIN+4 of glibc, "power off".
    unsafe {
        for signal in [libc::SIGTERM, 38] {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = end as *const () as usize;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
        loop {
            libc::pause();
        }
    }
}
