//! The relay on real ptys: the "machine" is the slave end, the "person" another pty or a pair of pipes.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{OptionalActions, tcgetattr, tcgetwinsize, tcsetattr};

use super::*;
use crate::terminal::tests::one_at_a_time;

fn pty() -> Pty {
    let dir = rustix::fs::openat(CWD, "/dev/pts", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    Pty::open(dir.as_fd()).unwrap()
}

fn null() -> OwnedFd {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// The machine's end of a pty that is raw, so that bytes pass unchanged, and non-blocking.
struct Machine(OwnedFd);

impl Machine {
    fn of(pty: &Pty, raw: bool) -> Machine {
        if raw {
            let mut t = tcgetattr(&pty.slave).unwrap();
            t.make_raw();
            tcsetattr(&pty.slave, OptionalActions::Now, &t).unwrap();
        }
        let slave = open_slave_nonblocking(pty);
        Machine(slave)
    }
    fn write(&self, bytes: &[u8]) {
        assert_eq!(rustix::io::write(&self.0, bytes), Ok(bytes.len()));
    }
    fn read(&self) -> Vec<u8> {
        read_now(&self.0)
    }
}

fn open_slave_nonblocking(pty: &Pty) -> OwnedFd {
    let fd = pty::open_slave(pty.master.as_fd()).unwrap();
    rustix::fs::fcntl_setfl(&fd, OFlags::NONBLOCK).unwrap();
    fd
}

fn read_now(fd: &OwnedFd) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buf = [0; 65536];
    while let Ok(n) = rustix::io::read(fd, &mut buf) {
        if n == 0 {
            break;
        }
        all.extend_from_slice(&buf[..n]);
    }
    all
}

/// Runs the loop until `done` says so (asked at least every 20 ms); gives what happened besides nothing.
fn pump(console: &mut Console, mut done: impl FnMut(&mut Console) -> bool) -> Vec<Happening> {
    let mut poller = Poller::new().unwrap();
    let mut seen = Vec::new();
    let give_up = Instant::now() + Duration::from_secs(20);
    let mut idle_turns = 0;
    while !done(console) && Instant::now() < give_up {
        let before = (console.fresh, console.taken, console.typed.len(), console.input.is_some(), Instant::now());
        console.prepare(&mut poller, |end| end).unwrap();
        let ready: Vec<_> = poller.wait(Some(Instant::now() + Duration::from_millis(20))).unwrap().collect();
        for r in ready {
            match console.handle(r.token, r, &mut poller) {
                Happening::Nothing => {}
                happening => seen.push(happening),
            }
        }
        let after = (console.fresh, console.taken, console.typed.len(), console.input.is_some(), before.4);
        idle_turns = if before == after && before.4.elapsed() < Duration::from_millis(10) { idle_turns + 1 } else { 0 };
        assert!(idle_turns < 100, "it spins");
    }
    seen
}

fn pump_for(console: &mut Console, millis: u64) -> Vec<Happening> {
    let end = Instant::now() + Duration::from_millis(millis);
    pump(console, |_| Instant::now() >= end)
}

/// Everything happens within the time it takes to become quiet.
fn settle(console: &mut Console) -> Vec<Happening> {
    let mut quiet_since = Instant::now();
    let mut before = (0, 0);
    pump(console, |c| {
        let now = (c.fresh, c.typed.len());
        if now != before {
            (before, quiet_since) = (now, Instant::now());
        }
        quiet_since.elapsed() > Duration::from_millis(120)
    })
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap()
}

#[test]
fn modes() {
    use ConsoleMode::*;
    let table = [
        (Auto, Some(Relay::Interactive), Some(Relay::ReadOnly)),
        (Interactive, Some(Relay::Interactive), Some(Relay::Interactive)),
        (ReadOnly, Some(Relay::ReadOnly), Some(Relay::ReadOnly)),
        (Passive, Some(Relay::Passive), Some(Relay::Passive)),
        (Pipe, None, None),
        (Autopipe, Some(Relay::Interactive), None),
    ];
    for (mode, with_ttys, without) in table {
        assert_eq!(Relay::of(mode, true, true), with_ttys, "{mode:?}");
        for (i, o) in [(false, false), (true, false), (false, true)] {
            assert_eq!(Relay::of(mode, i, o), without, "{mode:?} {i} {o}");
        }
    }
}

#[test]
fn interactive_both_ways_and_raw() {
    let _one = one_at_a_time();
    let (person, machine_pty) = (pty(), pty());
    let machine = Machine::of(&machine_pty, true);
    person.set_size(WindowSize { rows: 33, cols: 44 }).unwrap();
    let before = tcgetattr(&person.slave).unwrap().local_modes;
    let mut console = Console::new(machine_pty, Relay::Interactive, person.slave.as_fd(), person.slave.as_fd(), None).unwrap();
    let size = tcgetwinsize(&machine.0).unwrap();
    assert_eq!((size.ws_row, size.ws_col), (33, 44));
    assert_eq!(tcgetattr(&person.slave).unwrap().local_modes, before, "not raw before it begins");
    console.begin().unwrap();
    assert!(!tcgetattr(&person.slave).unwrap().local_modes.contains(LocalModes::ECHO));

    machine.write(b"login: ");
    rustix::io::write(&person.master, b"root\x03\x1a\r").unwrap();
    settle(&mut console);
    assert_eq!(machine.read(), b"root\x03\x1a\r");
    assert_eq!(read_now(&person.master), b"login: ");

    person.set_size(WindowSize { rows: 10, cols: 20 }).unwrap();
    console.window_changed();
    assert_eq!(tcgetwinsize(&machine.0).unwrap().ws_row, 10);
    console.resize(WindowSize { rows: 1, cols: 2 });
    assert_eq!(tcgetwinsize(&machine.0).unwrap().ws_row, 10, "our own terminal decides");

    console.finish();
    assert_eq!(tcgetattr(&person.slave).unwrap().local_modes, before);
}

#[test]
fn hotkeys() {
    let _one = one_at_a_time();
    for (keys, hotkey) in [(b"\x1d\x1d\x1d", Hotkey::Kill), (b"\x1d\x1dr", Hotkey::Reboot), (b"\x1d\x1dp", Hotkey::PowerOff)] {
        let (person, machine_pty) = (pty(), pty());
        let machine = Machine::of(&machine_pty, true);
        let mut console = Console::new(machine_pty, Relay::Interactive, person.slave.as_fd(), person.slave.as_fd(), None).unwrap();
        console.begin().unwrap();
        rustix::io::write(&person.master, b"x").unwrap();
        rustix::io::write(&person.master, keys).unwrap();
        assert_eq!(settle(&mut console), [Happening::Hotkey(hotkey)]);
        assert_eq!(machine.read(), b"x\x1d\x1d");
    }
}

#[test]
fn hotkeys_work_when_the_machine_does_not_read() {
    let _one = one_at_a_time();
    let (person, machine_pty) = (pty(), pty());
    let _machine = Machine::of(&machine_pty, true);
    let mut console = Console::new(machine_pty, Relay::Interactive, person.slave.as_fd(), person.slave.as_fd(), None).unwrap();
    console.begin().unwrap();
    for _ in 0..100 {
        let _ = rustix::io::write(&person.master, &[b'x'; 2048]);
        pump_for(&mut console, 5);
        if console.room() == 0 {
            break;
        }
    }
    assert_eq!(console.room(), 0, "the machine's queue and ours are full");
    rustix::io::write(&person.master, b"\x1d\x1d\x1d").unwrap();
    assert_eq!(settle(&mut console), [Happening::Hotkey(Hotkey::Kill)]);
}

#[test]
fn a_terminal_that_hangs_up() {
    let _one = one_at_a_time();
    let (person, machine_pty) = (pty(), pty());
    let mut console = Console::new(machine_pty, Relay::Interactive, person.slave.as_fd(), person.slave.as_fd(), None).unwrap();
    console.begin().unwrap();
    drop(person);
    assert_eq!(settle(&mut console), [Happening::HungUp]);
}

#[test]
fn end_of_input_becomes_an_end_of_file_character() {
    for (text, canonical, expected) in [
        (&b"one\n"[..], true, vec![&b"one\n"[..], b""]),
        (b"half", true, vec![b"half", b""]),
        (b"", true, vec![b""]),
        (b"half", false, vec![b"half\x04"]),
    ] {
        let machine_pty = pty();
        let mut t = tcgetattr(&machine_pty.slave).unwrap();
        if canonical {
            t.local_modes.remove(LocalModes::ECHO);
        } else {
            t.make_raw();
        }
        tcsetattr(&machine_pty.slave, OptionalActions::Now, &t).unwrap();
        let machine = Machine::of(&machine_pty, false);
        let ((r, w), out) = (pipe(), pipe());
        rustix::io::write(&w, text).unwrap();
        drop(w);
        let mut console = Console::new(machine_pty, Relay::Interactive, r.as_fd(), out.1.as_fd(), None).unwrap();
        console.begin().unwrap();
        settle(&mut console);
        let mut buf = [0; 64];
        for line in expected {
            assert_eq!(rustix::io::read(&machine.0, &mut buf).map(|n| buf[..n].to_vec()), Ok(line.to_vec()), "{text:?}");
        }
        assert_eq!(rustix::io::read(&machine.0, &mut buf), Err(Errno::AGAIN));
        // Output goes on.
        machine.write(b"bye");
        settle(&mut console);
        assert_eq!(read_now(&out.0), b"bye");
    }
}

#[test]
fn null_and_closed_streams() {
    for relay in [Relay::Interactive, Relay::ReadOnly, Relay::Passive] {
        let machine_pty = pty();
        let machine = Machine::of(&machine_pty, true);
        let dev_null = null();
        let mut console = Console::new(machine_pty, relay, dev_null.as_fd(), dev_null.as_fd(), None).unwrap();
        console.begin().unwrap();
        machine.write(b"out");
        assert_eq!(pump(&mut console, |c| c.fresh() == b"out"), [Happening::Output], "{relay:?}");
        settle(&mut console);
        let expected: &[u8] = if relay == Relay::Interactive { b"\x04" } else { b"" };
        assert_eq!(machine.read(), expected, "{relay:?}");
    }
}

#[test]
fn read_only_reads_nothing() {
    let machine_pty = pty();
    let machine = Machine::of(&machine_pty, true);
    let ((r, w), out) = (pipe(), pipe());
    rustix::io::write(&w, b"typed\x1d\x1d\x1d").unwrap();
    let mut console = Console::new(machine_pty, Relay::ReadOnly, r.as_fd(), out.1.as_fd(), None).unwrap();
    console.begin().unwrap();
    machine.write(b"shown");
    assert_eq!(settle(&mut console), [Happening::Output]);
    assert_eq!((machine.read(), read_now(&out.0), read_now(&r)), (vec![], b"shown".to_vec(), b"typed\x1d\x1d\x1d".to_vec()));
}

#[test]
fn a_stopped_reader_stops_the_machine_and_loses_nothing() {
    let machine_pty = pty();
    let machine = Machine::of(&machine_pty, true);
    let out = pipe();
    let mut console = Console::new(machine_pty, Relay::ReadOnly, null().as_fd(), out.1.as_fd(), None).unwrap();
    console.begin().unwrap();
    let mut written = Vec::new();
    let mut next = 0u8;
    let mut refused = 0;
    while refused < 3 {
        let chunk: Vec<u8> = (0..1000)
            .map(|_| {
                next = next.wrapping_add(1);
                next
            })
            .collect();
        let n = rustix::io::write(&machine.0, &chunk).unwrap_or(0);
        written.extend_from_slice(&chunk[..n]);
        next = written.last().copied().unwrap_or(0);
        assert!(written.len() < 300_000, "more than a pipe, a pty and one buffer hold");
        refused = if n == 0 { refused + 1 } else { 0 };
        pump_for(&mut console, 5);
    }
    // The machine dies; its end is closed; a reader comes back.
    drop(machine);
    let mut read = Vec::new();
    loop {
        read.extend(read_now(&out.0));
        match console.drain() {
            Drained::Done => break,
            Drained::Blocked | Drained::Output => {}
        }
    }
    read.extend(read_now(&out.0));
    assert_eq!(read.len(), written.len());
    assert!(read == written);
}

#[test]
fn a_broken_pipe_does_not_stop_the_machine_and_is_told_once() {
    let machine_pty = pty();
    let machine = Machine::of(&machine_pty, true);
    let out = pipe();
    let mut console = Console::new(machine_pty, Relay::ReadOnly, null().as_fd(), out.1.as_fd(), None).unwrap();
    console.begin().unwrap();
    assert!(!console.reader_left());
    drop(out.0);
    for _ in 0..50 {
        machine.write(&[b'x'; 1000]);
        pump_for(&mut console, 5);
    }
    assert!(settle(&mut console).is_empty());
    assert!(console.reader_left() && !console.reader_left());
}

#[test]
fn drain_shows_the_last_words() {
    let machine_pty = pty();
    let machine = Machine::of(&machine_pty, true);
    let out = pipe();
    let mut console = Console::new(machine_pty, Relay::ReadOnly, null().as_fd(), out.1.as_fd(), None).unwrap();
    console.begin().unwrap();
    let words: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
    let n = rustix::io::write(&machine.0, &words).unwrap();
    drop(machine);
    while console.drain() != Drained::Done {}
    assert_eq!(read_now(&out.0), words[..n]);
    assert!(n > 4096, "more than one read's worth");
}

#[test]
fn vhangup_inside_is_survived() {
    let machine_pty = pty();
    let mut console = Console::new(machine_pty, Relay::Passive, null().as_fd(), null().as_fd(), None).unwrap();
    console.begin().unwrap();
    console.slave = None; // what vhangup(2) does to it: now nobody has the slave
    let start = Instant::now();
    pump(&mut console, |c| c.slave.is_some() || start.elapsed() > Duration::from_secs(1));
    assert!(console.slave.is_some(), "opened again");
    let machine = Machine(pty::open_slave(console.master.as_fd()).unwrap());
    machine.write(b"login:");
    assert_eq!(pump(&mut console, |c| c.fresh() == b"login:"), [Happening::Output]);
}

#[test]
fn nothing_of_the_callers_streams_is_changed() {
    let _one = one_at_a_time();
    let person = pty();
    let blocking_pipes = (pipe_with(PipeFlags::CLOEXEC).unwrap(), pipe_with(PipeFlags::CLOEXEC).unwrap());
    let socket =
        rustix::net::socketpair(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, rustix::net::SocketFlags::CLOEXEC, None).unwrap();
    let file_path = std::env::temp_dir().join(format!("hostel-stdio-{}", std::process::id()));
    let file = std::fs::File::create(&file_path).unwrap();
    let cases = [
        (person.slave.as_fd(), person.slave.as_fd()),
        (blocking_pipes.0.0.as_fd(), blocking_pipes.1.1.as_fd()),
        (socket.0.as_fd(), socket.0.as_fd()),
        (file.as_fd(), file.as_fd()),
        (person.master.as_fd(), person.master.as_fd()),
    ];
    for (input, output) in cases {
        let flags = (rustix::fs::fcntl_getfl(input).unwrap(), rustix::fs::fcntl_getfl(output).unwrap());
        let machine_pty = pty();
        let machine = Machine::of(&machine_pty, true);
        let mut console = Console::new(machine_pty, Relay::Interactive, input, output, None).unwrap();
        console.begin().unwrap();
        machine.write(b"hello");
        pump_for(&mut console, 50);
        assert_eq!((rustix::fs::fcntl_getfl(input).unwrap(), rustix::fs::fcntl_getfl(output).unwrap()), flags);
    }
    assert_eq!(std::fs::read(&file_path).unwrap(), b"hello");
    std::fs::remove_file(file_path).unwrap();
}

/// A flooded blocking pipe must not block us.
#[test]
fn blocking_streams_do_not_block_the_relay() {
    let (r, w) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    for stream in [Stdio::writer(w.as_fd()).unwrap(), careful(&w)] {
        let start = Instant::now();
        while stream.write(&[0; 16384]).is_ok() {}
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(stream.write(&[0; 16384]), Err(Errno::AGAIN));
        let mut sink = vec![0; 1 << 20];
        rustix::io::read(&r, &mut sink).unwrap();
    }
    let (r, _w) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    assert_eq!(Stdio::reader(r.as_fd()).unwrap().read(&mut [0; 8]), Err(Errno::AGAIN));
}

fn careful(fd: &OwnedFd) -> Stdio {
    Stdio::careful(fd.as_fd()).unwrap()
}

mod log {
    use super::super::log::*;
    use super::*;

    struct Dir(std::path::PathBuf, OwnedFd);
    impl Dir {
        fn new(name: &str) -> Dir {
            let path = std::env::temp_dir().join(format!("hostel-log-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            let fd = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
            Dir(path, fd)
        }
        fn size(&self) -> u64 {
            std::fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum()
        }
    }
    impl Drop for Dir {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }
    fn all(mut reader: LogReader) -> Vec<u8> {
        let (mut text, mut buf) = (Vec::new(), [0; 1000]);
        loop {
            match reader.read(&mut buf).unwrap() {
                0 => return text,
                n => text.extend_from_slice(&buf[..n]),
            }
        }
    }

    #[test]
    fn is_bounded_and_keeps_the_end() {
        use std::os::unix::fs::PermissionsExt;
        let dir = Dir::new("bound");
        let mut log = Log::open(dir.1.as_fd(), 64 << 10).unwrap();
        let mut written = Vec::new();
        for n in 0..50_000u32 {
            let line = format!("{n}\n");
            log.append(line.as_bytes());
            written.extend_from_slice(line.as_bytes());
            assert!(n % 1000 != 0 || dir.size() <= 64 << 10);
        }
        assert_eq!(log.lost(), 0);
        for n in [0usize, 1, 100, 30_000] {
            assert!(all(log.tail(n as u64).unwrap()) == written[written.len() - n..], "{n}");
        }
        let kept = all(log.tail(u64::MAX).unwrap());
        assert!(written.ends_with(&kept) && kept.len() >= 32 << 10 && kept.len() <= 64 << 10, "{}", kept.len());
        let mode = std::fs::metadata(dir.0.join("console.log")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Opened again, it goes on.
        drop(log);
        let mut log = Log::open(dir.1.as_fd(), 64 << 10).unwrap();
        log.append(b"again");
        assert_eq!(all(log.tail(8).unwrap()), [&written[written.len() - 3..], b"again"].concat());
    }

    #[test]
    fn the_copy_is_bounded_too() {
        let dir = Dir::new("copy");
        let path = dir.0.join("copied");
        let copy = std::fs::File::options().create(true).append(true).open(&path).unwrap();
        copy.set_len(DEFAULT_LIMIT - 5).unwrap();
        let mut log = Log::open(dir.1.as_fd(), 32 << 10).unwrap();
        log.copy_to(Some(copy.into()));
        for part in ["012", "3456789", "never"] {
            log.append(part.as_bytes());
        }
        let text = std::fs::read(&path).unwrap();
        let end = String::from_utf8_lossy(&text[DEFAULT_LIMIT as usize - 5..]).into_owned();
        assert!(end.starts_with("01234\nhostel: this log is full") && !end.contains("never") && end.lines().count() == 2, "{end}");
        assert_eq!(all(log.tail(u64::MAX).unwrap()), b"0123456789never");
    }

    #[test]
    fn a_follower_sees_everything_across_rotations() {
        let dir = Dir::new("follow");
        let mut log = Log::open(dir.1.as_fd(), 32 << 10).unwrap();
        let mut reader = log.tail(0).unwrap();
        let (mut written, mut seen, mut buf) = (Vec::new(), Vec::new(), [0; 777]);
        for n in 0..30_000u32 {
            let line = format!("line {n}\n");
            log.append(line.as_bytes());
            written.extend_from_slice(line.as_bytes());
            if n % 500 == 0 {
                loop {
                    match reader.read(&mut buf).unwrap() {
                        0 => break,
                        n => seen.extend_from_slice(&buf[..n]),
                    }
                }
            }
        }
        seen.extend(all(reader));
        assert!(seen == written, "{} of {}", seen.len(), written.len());
    }

    #[test]
    fn a_follower_in_a_race_with_rotation() {
        use std::sync::atomic::{AtomicU64, Ordering};
        const ALL: u64 = 4 << 20;
        let dir = Dir::new("race");
        let mut log = Log::open(dir.1.as_fd(), 32 << 10).unwrap();
        let mut reader = log.tail(0).unwrap();
        let seen = AtomicU64::new(0);
        let byte = |at: u64| (at % 251) as u8;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut at = 0;
                let give_up = Instant::now() + Duration::from_secs(20);
                while at < ALL && Instant::now() < give_up {
                    // Never so far ahead that two rotations lie between.
                    if at - seen.load(Ordering::Acquire) < 12 << 10 {
                        let piece: Vec<u8> = (at..at + 100).map(byte).collect();
                        log.append(&piece);
                        at += 100;
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
            let (mut at, mut buf) = (0, [0; 4096]);
            let give_up = Instant::now() + Duration::from_secs(20);
            while at < ALL {
                let n = reader.read(&mut buf).unwrap();
                for &b in &buf[..n] {
                    assert_eq!(b, byte(at), "at {at}");
                    at += 1;
                }
                seen.store(at, Ordering::Release);
                assert!(Instant::now() < give_up, "at {at}");
            }
        });
    }

    #[test]
    fn planted_files_are_refused() {
        let dir = Dir::new("planted");
        std::os::unix::fs::symlink("/etc/passwd", dir.0.join("console.log")).unwrap();
        assert!(Log::open(dir.1.as_fd(), 0).is_err());
        std::fs::remove_file(dir.0.join("console.log")).unwrap();
        rustix::fs::mknodat(&dir.1, "console.log", rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(Log::open(dir.1.as_fd(), 0).is_err());
    }

    #[test]
    fn a_full_disk_only_counts() {
        let Ok(fs) = rustix::mount::fsopen("tmpfs", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC) else {
            println!("skipped: not root");
            return;
        };
        rustix::mount::fsconfig_set_string(fs.as_fd(), "size", "40k").unwrap();
        rustix::mount::fsconfig_create(fs.as_fd()).unwrap();
        let mount = rustix::mount::fsmount(fs.as_fd(), rustix::mount::FsMountFlags::FSMOUNT_CLOEXEC, rustix::mount::MountAttrFlags::empty()).unwrap();
        let mut log = Log::open(mount.as_fd(), 1 << 20).unwrap();
        log.append(&[b'x'; 100_000]);
        assert!(log.lost() >= 100_000 - 40 * 1024 && log.lost() < 100_000);
    }
}
