//! Asks a living machine's files something, in a child that is given up when they do not answer.
//!
//! A machine that is root of its own users may mount a FUSE file system and an overlay over it. Whoever looks up a name there
//! waits for the machine, and not even SIGKILL ends that: neither a supervisor nor `hostel ps` may be the one.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hostel_sys::clone::{self, CloneArgs, Fork};
use hostel_sys::proc;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::registry::recover::wait_for_any;

/// What an honest machine's files take, many times over.
pub const PATIENCE: Duration = Duration::from_millis(500);
/// Longest answer, in bytes.
const MAX_ANSWER: u64 = 64 << 10;
const SIGKILL: i32 = 9;

/// The answer of `work`, which runs in a copy of this process; `None`: there is none in time.
///
/// A process with more than one thread, whose copy could not even allocate, does it itself: a library's user may wait.
pub fn ask(limit: Duration, work: &mut dyn FnMut() -> Vec<u8>) -> Option<Vec<u8>> {
    if clone::assert_single_threaded().is_err() {
        return Some(work());
    }
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).ok()?;
    match clone::clone3(&CloneArgs::default()).ok()? {
        Fork::Child => {
            drop(read);
            let _ = proc::set_name(c"hostel-aside");
            let _ = proc::set_parent_death_signal(SIGKILL);
            let _ = File::from(write).write_all(&work());
            clone::exit_now(0)
        }
        Fork::Parent { pidfd, .. } => {
            drop(write);
            let answer = read_until(read, Instant::now() + limit);
            if answer.is_none() {
                // Not waited for: it dies when the machine lets go of it.
                let _ = clone::pidfd_send_signal(pidfd.as_fd(), SIGKILL);
                return None;
            }
            let _ = clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED);
            answer
        }
    }
}

/// A question that is answered by yes or no; no answer is a no.
pub fn is_so(limit: Duration, work: &mut dyn FnMut() -> bool) -> bool {
    ask(limit, &mut || vec![u8::from(work())]).is_some_and(|answer| answer == [1])
}

fn read_until(pipe: OwnedFd, end: Instant) -> Option<Vec<u8>> {
    let mut file = File::from(pipe).take(MAX_ANSWER);
    let mut answer = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if wait_for_any(&[file.get_ref().as_fd()], left).ok()?.is_empty() {
            return None;
        }
        let mut buffer = [0u8; 4096];
        match file.read(&mut buffer) {
            Ok(0) => return Some(answer),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test harness has threads; the child is tested end to end, with a machine that does not answer.
    #[test]
    fn answers() {
        assert_eq!(ask(Duration::from_secs(10), &mut || b"yes".to_vec()), Some(b"yes".to_vec()));
        assert!(is_so(Duration::from_secs(10), &mut || true) && !is_so(Duration::from_secs(10), &mut || false));
    }

    #[test]
    fn what_comes_late_is_none() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::io::write(&write, b"first").unwrap();
        let begin = Instant::now();
        assert_eq!(read_until(read.try_clone().unwrap(), begin + Duration::from_millis(50)), None);
        assert!(begin.elapsed() >= Duration::from_millis(50));
        rustix::io::write(&write, b"second").unwrap();
        drop(write);
        assert_eq!(read_until(read, Instant::now() + Duration::from_secs(10)), Some(b"second".to_vec()));
    }
}
