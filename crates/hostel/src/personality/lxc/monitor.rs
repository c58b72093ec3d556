//! lxc-monitor: the states that containers come to, as they come to them.

use std::io::Read;
use std::os::fd::AsFd;

use hostel_container::run_directory;
use hostel_init::journal::pattern::Pattern;
use hostel_lxc::wire::{NEWS, News, told};
use hostel_sys::tree::{Lock, try_lock};
use rustix::fs::{Mode, OFlags};

use super::options::{Call, row};
use super::{Outcome, Tool, failure};
use crate::output;

pub(super) const TOOL: Tool = Tool {
    name: "lxc-monitor",
    synopsis: "[-n PATTERN]",
    about: "tell the states that containers come to",
    named: false,
    options: &[row("n", "name", "PATTERN", "of those whose name matches (all)"), row("Q", "quit", "", "taken: there is no lxc-monitord to be ended")],
    run,
};

/// Supervisors write to a FIFO, if somebody reads it.
fn run(call: &Call) -> Outcome {
    if call.has("quit") {
        return Ok(0);
    }
    let pattern = call.value("name").or(call.words.first().map(String::as_str)).unwrap_or(".*");
    let pattern = Pattern::parse(&format!("^({pattern})$"), Some(true)).map_err(|why| failure(format!("read pattern {pattern}: {why}")))?;
    let directory = run_directory() + &call.lxcpath();
    let path = format!("{directory}/monitor-fifo");
    let failed = |e: &dyn std::fmt::Display| failure(format!("watch {path}: {e}"));
    std::fs::create_dir_all(&directory).map_err(|e| failed(&e))?;
    match rustix::fs::mkfifoat(rustix::fs::CWD, &*path, Mode::from_raw_mode(0o600)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(e) => return Err(failed(&e)),
    }
    // Open for writing, too: it does not end when a supervisor does.
    let fifo = rustix::fs::open(&*path, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map_err(|e| failed(&e))?;
    if !try_lock(fifo.as_fd(), Lock::Exclusive).unwrap_or(true) {
        return Err(failed(&"somebody else watches; each of two would be told half of it"));
    }
    let mut fifo = std::fs::File::from(fifo);
    loop {
        let mut news = [0; NEWS];
        fifo.read_exact(&mut news).map_err(|e| failed(&e))?;
        let line = match told(&news) {
            Some((name, what)) if pattern.is_in(name) => match what {
                News::State(state) => format!("'{name}' changed state to [{}]", state.name()),
                News::Exit(status) => format!("'{name}' exited with status [{}]", status >> 8 & 0xff),
            },
            _ => continue,
        };
        if !output::write(format!("{}\n", output::clean(&line)).as_bytes()).map_err(|e| failed(&e))? {
            return Ok(0);
        }
    }
}
