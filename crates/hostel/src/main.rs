//! hostel: whole Linux systems as lightweight machines. The name it is called by decides what it is.

use std::process::ExitCode;

#[global_allocator]
static HEAP: hostel_sys::arena::Arena = hostel_sys::arena::Arena;

fn main() -> ExitCode {
    let argv: Vec<std::ffi::OsString> = std::env::args_os().collect();
    hostel::personality::main(&argv)
}
