//! `hostel logs`: what a machine wrote to its console, while it runs and afterwards.
//!
//! A running machine's log is `console.log` (and `console.log.1`, the part before) in its state directory. When a machine
//! in the background ends, its log is kept as `logs/NAME.log` (and `NAME.log.1`) beside that, until the next end of one of
//! that name, `hostel clean --logs` or the next boot.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_engine::error::{Context, Error, Result};
use hostel_engine::registry::{Liveness, Machine, Registry, RegistryError};
use hostel_process::console::LogReader;
use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, inotify};
use rustix::io::Errno;

use super::look;
use super::{Failure, Outcome, Verb};
use crate::{machine, output};

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "logs",
    args: "NAME [-f] [-n LINES]",
    about: "print a machine's console log, also after its end",
    options: &[
        ("-f, --follow", "go on until the machine ends"),
        ("-n, --lines LINES", "only the last ones"),
        ("--raw", "on a terminal: every byte, not only text and colours"),
    ],
    examples: &[("hostel logs debian -n 20 -f", "the last 20 lines and what comes"), ("hostel logs debian | grep -i failed", "search it")],
    run,
};

#[derive(Debug, PartialEq, Eq)]
struct Request {
    name: MachineName,
    follow: bool,
    lines: Option<usize>,
    raw: bool,
}

/// `None`: the help was asked for.
fn parse(args: &[OsString]) -> std::result::Result<Option<Request>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let (mut name, mut follow, mut lines, mut raw) = (None, false, None, false);
    while let Some(arg) = words.next()? {
        match arg {
            Short('f') | Long("follow") => follow = true,
            Short('n') | Long("lines") => {
                let text = words.value()?.string()?;
                lines = Some(text.parse().map_err(|_| Failure::Usage(format!("parse --lines={text}: it takes a number")))?);
            }
            Long("raw") => raw = true,
            Short('h') | Long("help") => return Ok(None),
            Value(word) => look::one(&mut name, &word)?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(Request { name: look::required(name)?, follow, lines, raw }))
}

fn run(args: &[OsString]) -> Outcome {
    let Some(request) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    let registry = machine::open_registry()?;
    let (mut source, machine) = open(&registry, &request.name)?;
    let mut out = Out { tame: (!request.raw && io::stdout().is_terminal()).then(output::Tame::default), failed: false };
    let object = || format!("console log of machine {}", request.name);
    let failed = |e: io::Error, out: &Out| {
        let (verb, what) = if out.failed { ("write", "standard output".to_owned()) } else { ("read", object()) };
        Error::new(verb, what, hostel_engine::error::io_text(&e))
    };
    let mut read_on = source.print(request.lines, &mut out).map_err(|e| failed(e, &out))?;
    if let (true, true, Some(machine)) = (read_on, request.follow, &machine) {
        read_on = follow(machine, &mut source, &mut out).map_err(|e| failed(e, &out))?;
    }
    out.end();
    if request.follow && read_on {
        output::tell(format_args!("Machine {} has ended.", request.name));
    }
    Ok(0)
}

/// The log of the running machine of that name, or the kept one.
fn open(registry: &Registry, name: &MachineName) -> Result<(Source, Option<Machine>)> {
    let object = || format!("console log of machine {name}");
    match registry.load(name) {
        // Also that of one whose supervisor was killed: it is what one wants to read then.
        Ok(machine) => match machine.directory().map(|dir| LogReader::open(dir, None)) {
            Some(Ok(reader)) => return Ok((Source::Live(reader), (machine.liveness != Liveness::Dead).then_some(machine))),
            Some(Err(Errno::NOENT)) | None if machine.liveness != Liveness::Dead => {
                return Err(Error::new("read", object(), "it has none")
                    .hint("machines started with -d keep a log; others write to the terminal they were started on"));
            }
            Some(Err(Errno::NOENT)) | None => {}
            Some(Err(e)) => return Err(e).context("read", object()),
        },
        Err(RegistryError::NotRunning { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    match Kept::open(&directory(registry), name).context("read", object())? {
        Some(kept) => Ok((Source::Kept(kept), None)),
        None => Err(Error::from(RegistryError::NotRunning { name: name.clone() })
            .hint("and no log of one that ended is kept; `hostel ps` lists the machines that run")),
    }
}

/// Where the logs of machines that have ended are.
pub(super) fn directory(registry: &Registry) -> PathBuf {
    registry.root().join("logs")
}

/// Standard output.
struct Out {
    tame: Option<output::Tame>,
    /// It could not be written to.
    failed: bool,
}

impl Out {
    /// `false`: nobody reads any more.
    fn write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let written = match &mut self.tame {
            Some(tame) => output::write(&tame.filter(bytes)),
            None => output::write(bytes),
        };
        self.failed |= written.is_err();
        written
    }

    fn end(&self) {
        if let Some(tame) = &self.tame {
            // The colours of a terminal that is gone do not matter.
            let _ = output::write(tame.end());
        }
    }
}

enum Source {
    Live(LogReader),
    Kept(Kept),
}

impl Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Live(reader) => Ok(reader.read(buf)?),
            Source::Kept(kept) => kept.read(buf),
        }
    }

    /// Prints what is there now, or its last lines; `false`: nobody reads any more.
    fn print(&mut self, lines: Option<usize>, out: &mut Out) -> io::Result<bool> {
        let mut buf = vec![0; 64 << 10];
        let Some(lines) = lines else {
            loop {
                match self.read(&mut buf)? {
                    0 => return Ok(true),
                    n if !out.write(&buf[..n])? => return Ok(false),
                    _ => {}
                }
            }
        };
        let mut last = LastLines::new(lines);
        loop {
            match self.read(&mut buf)? {
                0 => break,
                n => last.push(&buf[..n]),
            }
        }
        out.write(last.text())
    }
}

/// The last lines of a stream, in memory that does not grow with it.
struct LastLines {
    wanted: usize,
    /// At least the last lines, all of them if there are no more.
    text: Vec<u8>,
    /// It is cut down when it is longer than this.
    limit: usize,
}

impl LastLines {
    fn new(wanted: usize) -> Self {
        Self { wanted, text: Vec::new(), limit: 256 << 10 }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        if self.text.len() > self.limit {
            let start = self.start();
            self.text.drain(..start);
            self.limit = (2 * self.text.len()).max(256 << 10);
        }
    }

    /// Where the last lines begin. A last line without its end is a line.
    fn start(&self) -> usize {
        if self.wanted == 0 {
            return self.text.len();
        }
        let body = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        body.iter().enumerate().rev().filter(|(_, b)| **b == b'\n').nth(self.wanted - 1).map_or(0, |(at, _)| at + 1)
    }

    fn text(&self) -> &[u8] {
        &self.text[self.start()..]
    }
}

/// Prints what comes until the supervisor is gone; `false`: nobody reads any more.
fn follow(machine: &Machine, source: &mut Source, out: &mut Out) -> io::Result<bool> {
    let supervisor = match (machine.known(), machine.owner) {
        (Some(state), _) => state.supervisor.open()?,
        (None, Some(pid)) => hostel_sys::clone::pidfd_open(pid).ok(),
        (None, None) => None,
    };
    let Some(supervisor) = supervisor else { return source.print(None, out) };
    let changes = watch_directory(machine);
    loop {
        if !source.print(None, out)? {
            return Ok(false);
        }
        match wait(&supervisor, changes.as_ref())? {
            Woken::Changed => {}
            // What it wrote between our last look and its end.
            Woken::Ended => return source.print(None, out),
            Woken::Unread => return Ok(false),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Woken {
    /// There may be more, or not.
    Changed,
    /// The supervisor is gone.
    Ended,
    /// Whoever read our output is.
    Unread,
}

fn wait(supervisor: &OwnedFd, changes: Option<&OwnedFd>) -> io::Result<Woken> {
    // Without inotify (its instances are few) we look ten times a second.
    let pause = if changes.is_some() { Timespec { tv_sec: 2, tv_nsec: 0 } } else { Timespec { tv_sec: 0, tv_nsec: 100_000_000 } };
    let mut fds = vec![PollFd::new(supervisor, PollFlags::IN)];
    // A reader that goes away while nothing is written ends us, too.
    let stdout = io::stdout();
    fds.push(PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::ERR));
    fds.extend(changes.map(|c| PollFd::new(c, PollFlags::IN)));
    match poll(&mut fds, Some(&pause)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(e) => return Err(e.into()),
    }
    if let (Some(changes), true) = (changes, fds.get(2).is_some_and(|f| !f.revents().is_empty())) {
        let mut events = [0u8; 4 << 10];
        while rustix::io::read(changes, &mut events).is_ok_and(|n| n > 0) {}
        // Consoles are written in many small pieces: take them together.
        std::thread::sleep(Duration::from_millis(5));
    }
    let woken = |at: usize| fds.get(at).is_some_and(|f| !f.revents().is_empty());
    Ok(if woken(0) {
        Woken::Ended
    } else if woken(1) {
        Woken::Unread
    } else {
        Woken::Changed
    })
}

fn watch_directory(machine: &Machine) -> Option<OwnedFd> {
    use std::os::fd::AsRawFd;
    let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
    let path = format!("/proc/self/fd/{}", machine.directory()?.as_raw_fd());
    let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_FROM | inotify::WatchFlags::DELETE;
    inotify::add_watch(&changes, path, flags).ok()?;
    Some(changes)
}

/// A log kept after the end of its machine: the part before, then the last one.
struct Kept(Vec<File>);

impl Kept {
    /// `None`: there is none.
    fn open(directory: &Path, name: &MachineName) -> io::Result<Option<Kept>> {
        let mut files = Vec::new();
        for suffix in [".log.1", ".log"] {
            let path = directory.join(format!("{name}{suffix}"));
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = match rustix::fs::open(&path, flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(e) => return Err(e.into()),
            };
            if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
                return Err(Errno::INVAL.into());
            }
            let mut file = File::from(file);
            file.seek(SeekFrom::Start(0))?;
            files.push(file);
        }
        // Read from the end of the list.
        files.reverse();
        Ok((!files.is_empty()).then_some(Kept(files)))
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some(file) = self.0.last_mut() {
            match file.read(buf) {
                Ok(0) => drop(self.0.pop()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let parse = |words: &[&str]| parse(&words.iter().map(OsString::from).collect::<Vec<_>>());
        let want = Request { name: MachineName::new("web").unwrap(), follow: true, lines: Some(20), raw: false };
        for words in [&["web", "-f", "-n", "20"][..], &["-fn20", "web"], &["--lines=20", "--follow", "web"], &["-n=20", "-f", "--", "web"]] {
            assert_eq!(parse(words).unwrap().as_ref(), Some(&want), "{words:?}");
        }
        for bad in [&[][..], &["web", "-n"], &["web", "-nx"], &["web", "-n", "-1"], &["../web"], &["-x", "web"]] {
            assert!(matches!(parse(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }

    #[test]
    fn last_lines() {
        for (text, wanted, want) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\nc", 9, "a\nb\nc"),
            ("a\n\n", 1, "\n"),
            ("", 3, ""),
            ("a\nb\n", 0, ""),
            ("\n\n\n", 2, "\n\n"),
        ] {
            for piece in 1..4 {
                let mut last = LastLines::new(wanted);
                last.limit = 2;
                text.as_bytes().chunks(piece).for_each(|p| last.push(p));
                assert_eq!(String::from_utf8_lossy(last.text()), want, "{text:?} {wanted} {piece}");
            }
        }
        // However much goes by, what is kept is bounded.
        let mut last = LastLines::new(3);
        for n in 0..200_000 {
            last.push(format!("line {n}\n").as_bytes());
        }
        assert_eq!(last.text(), b"line 199997\nline 199998\nline 199999\n");
        assert!(last.text.capacity() < 1 << 20);
    }
}
