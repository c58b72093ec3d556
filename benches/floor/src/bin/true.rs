//! The smallest payload: no standard library's start-up, exits 0 at once.
#![no_main]

#[unsafe(no_mangle)]
extern "C" fn main() -> libc::c_int {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(0) }
}
