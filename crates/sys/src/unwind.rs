//! The unwinder of a program that never unwinds.
//!
//! The release binary ends at a panic and carries no tables to unwind by (`crates/hostel/no-unwind.ld`), so the unwinder that
//! the standard library brings for backtraces could find nothing. It, and the reader of debug information behind it, are a
//! fifth of a mebibyte of the five: these stand in their place, and the optimiser sees that no frame is ever looked at.
#![allow(non_snake_case)]

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`: there is no frame.
const END_OF_STACK: c_int = 5;

/// Walks no frame.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_visit: *const c_void, _data: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Where a landing pad would go on: there is none that is ever entered.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume(_exception: *mut c_void) -> ! {
    std::process::abort()
}

/// Questions about a frame, of which there is none.
macro_rules! none {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name(_frame: *mut c_void) -> usize {
            0
        }
    )*};
}
none! { _Unwind_GetIP _Unwind_GetCFA _Unwind_GetRegionStart _Unwind_GetLanguageSpecificData _Unwind_GetDataRelBase _Unwind_GetTextRelBase }

#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetIPInfo(_frame: *mut c_void, _before: *mut c_int) -> usize {
    0
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_SetGR(_frame: *mut c_void, _register: c_int, _value: usize) {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_SetIP(_frame: *mut c_void, _value: usize) {}
