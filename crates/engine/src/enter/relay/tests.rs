//! The relay between made-up streams of ours and processes in machines made by unshare(1).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hostel_process::r#become::Program;
use hostel_process::pty::{Pty, WindowSize};
use hostel_spec::{OsText, ProcessSpec};
use rustix::fs::{Mode, OFlags};

use super::super::tests::{DEVPTS, Guest, READY};
use super::*;
use crate::enter::{Selection, environment};

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).unwrap()
}

fn host_pty() -> Pty {
    let dir = rustix::fs::open("/dev/pts", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let pty = Pty::open(dir.as_fd()).unwrap();
    pty.set_size(WindowSize { rows: 11, cols: 44 }).unwrap();
    pty
}

/// Runs `script` with these streams as if they were our standard ones.
fn relay(guest: &Guest, script: &str, ours: [BorrowedFd<'_>; 3], tty: bool) -> WaitStatus {
    let mask = SignalMask::of(&[10]);
    // In the test's thread only; the signalfd is never fed.
    let before = block_signals(mask).unwrap();
    let signals = SignalFd::new(mask).unwrap();
    let process = ProcessSpec { argv: ["/bin/sh", "-c", script].map(OsText::from).to_vec(), ..ProcessSpec::default() };
    let env = environment(None, None);
    let entry = Entry {
        selection: Selection::default(),
        placement: None,
        process: &process,
        program: Program::Command,
        env: &env,
        bounding: None,
        known: None,
        filter: &[],
        unfiltered: false,
        streams: Streams::Inherit,
    };
    let status = run_with(&guest.leader, entry, (tty, false), ours, &signals);
    set_blocked_signals(before).unwrap();
    match status {
        Ok(status) => status,
        Err(RunError::Enter(error)) => panic!("{error}"),
        Err(RunError::Here(error)) => panic!("{error}"),
    }
}

fn text_of(fd: OwnedFd) -> String {
    let mut text = Vec::new();
    File::from(fd).read_to_end(&mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

fn guest() -> Option<Guest> {
    Guest::start(&["--user", "--map-root-user", "--ipc"], &format!("{DEVPTS} {READY} cat"))
}

#[test]
fn our_terminal_becomes_pipes_when_output_is_none() {
    let Some(guest) = guest() else { return };
    let (tty, (back, out)) = (host_pty(), pipe());
    File::from(tty.master.try_clone().unwrap()).write_all(b"typed\n\x04").unwrap();
    let script = "tty; cat; for f in 0 1 2; do [ -t $f ] && echo $f is a terminal; done; exit 3";
    let status = relay(&guest, script, [tty.slave.as_fd(), out.as_fd(), tty.slave.as_fd()], false);
    drop(out);
    assert_eq!((status, text_of(back).as_str()), (WaitStatus::Exited(3), "not a tty\ntyped\n"));
}

#[test]
fn a_terminal_inside_and_one_outside() {
    let Some(guest) = guest() else { return };
    let tty = host_pty();
    let mut typed = File::from(tty.master.try_clone().unwrap());
    typed.write_all(b"hello\nexit 5\n").unwrap();
    let status = relay(&guest, "stty size; read word; echo got $word; exec sh", [tty.slave.as_fd(); 3], true);
    assert_eq!(status, WaitStatus::Exited(5));
    let mut seen = Vec::new();
    let mut buffer = [0u8; 4096];
    while let Ok(n) = rustix::io::read(&tty.master, &mut buffer) {
        seen.extend_from_slice(&buffer[..n]);
    }
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("11 44\r\n") && seen.contains("got hello\r\n"), "{seen:?}");
    // Back in its usual mode.
    assert!(rustix::termios::tcgetattr(&tty.slave).unwrap().local_modes.contains(rustix::termios::LocalModes::ICANON));
}

/// The end of a pipe that stands in for typing ends the shell inside; before, it hung.
#[test]
fn end_of_input_reaches_a_terminal() {
    let Some(guest) = guest() else { return };
    let ((input, feed), (back, out)) = (pipe(), pipe());
    File::from(feed).write_all(b"echo one\necho unfinished line").unwrap();
    let started = Instant::now();
    let status = relay(&guest, "stty -echo; PS1= exec sh", [input.as_fd(), out.as_fd(), out.as_fd()], true);
    drop(out);
    assert!(status == WaitStatus::Exited(0) && started.elapsed() < Duration::from_secs(5));
    let text = text_of(back);
    assert!(text.contains("one") && text.contains("unfinished line"), "{text:?}");
}

#[test]
fn much_output_to_a_slow_reader_is_whole() {
    let Some(guest) = guest() else { return };
    let (tty, (back, out)) = (host_pty(), pipe());
    let reader = std::thread::spawn(move || {
        let mut file = File::from(back);
        let (mut total, mut buffer) = (0, vec![0u8; 10_000]);
        loop {
            match file.read(&mut buffer).unwrap() {
                0 => return total,
                n => total += n,
            }
            if total % 3 == 0 {
                std::thread::sleep(Duration::from_micros(300));
            }
        }
    });
    // On a terminal inside: every byte goes through the relay, also those written just before the end.
    let status = relay(&guest, "stty -opost; head -c 1000000 /dev/zero", [tty.slave.as_fd(), out.as_fd(), out.as_fd()], true);
    drop(out);
    assert_eq!((status, reader.join().unwrap()), (WaitStatus::Exited(0), 1_000_000));
}

/// Who reads our output goes away: the process is told as in any pipe, and we do not turn in circles.
#[test]
fn a_reader_that_leaves() {
    let Some(guest) = guest() else { return };
    let (tty, (back, out)) = (host_pty(), pipe());
    drop(back);
    let used = || {
        let usage = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        usage.tv_sec * 1000 + usage.tv_nsec / 1_000_000
    };
    let before = used();
    // Ours is the terminal; the process' standard error is a pipe of the relay's to it.
    let status = relay(&guest, "echo x; sleep 1; exit 4", [tty.slave.as_fd(), tty.slave.as_fd(), out.as_fd()], true);
    assert_eq!(status, WaitStatus::Exited(4));
    let status = relay(&guest, "trap '' PIPE; echo x; sleep 1; exit 4", [tty.slave.as_fd(), out.as_fd(), tty.slave.as_fd()], true);
    assert_eq!(status, WaitStatus::Exited(4));
    assert!(used() - before < 300, "{} ms of CPU", used() - before);
}

#[test]
fn no_terminal_no_copy() {
    let Some(guest) = guest() else { return };
    let ((input, feed), (back, out)) = (pipe(), pipe());
    drop(feed);
    let status = relay(&guest, "readlink /proc/self/fd/1; kill -9 $$", [input.as_fd(), out.as_fd(), out.as_fd()], false);
    let inode = rustix::fs::fstat(&out).unwrap().st_ino;
    drop(out);
    assert_eq!((status.shell_code(), text_of(back)), (137, format!("pipe:[{inode}]\n")));
}
