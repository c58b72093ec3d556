//! `stamp FILE [COMMAND…]`: appends the monotonic clock in nanoseconds to a file, then becomes the command, or sleeps until it is ended.
use std::io::Write;
use std::os::unix::process::CommandExt;

fn main() {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid buffer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let file = args.first().and_then(|path| std::fs::OpenOptions::new().append(true).create(true).open(path).ok());
    let text = format!("{}\n", now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64);
    let written = file.is_some_and(|mut file| file.write_all(text.as_bytes()).is_ok());
    if let Some(command) = args.get(1) {
        let _ = std::process::Command::new(command).args(&args[2..]).exec();
    }
    if !written || args.len() > 1 {
        std::process::exit(1);
    }
    loop {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
}
