//! Words of services: sd_notify(3) as a manager hears it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use hostel_sys::proc;

use super::service::Service;
use super::state::State;
use super::world::World;

/// Longest datagram that is read, in bytes; longer ones are passed over.
pub const DATAGRAM_MAX: usize = 4 << 10;
/// Longest STATUS= that is kept, in bytes.
const STATUS_MAX: usize = 512;

/// One datagram, as far as it is understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    /// READY=1
    pub ready: bool,
    /// RELOADING=1
    pub reloading: bool,
    /// STOPPING=1
    pub stopping: bool,
    /// STATUS=, without control characters.
    pub status: Option<String>,
    /// ERRNO=
    pub errno: Option<i32>,
    /// MAINPID=
    pub main: Option<i32>,
    /// WATCHDOG=1
    pub alive: bool,
    /// WATCHDOG=trigger
    pub bite: bool,
    /// WATCHDOG_USEC=; zero switches it off.
    pub watchdog: Option<Duration>,
    /// EXTEND_TIMEOUT_USEC=
    pub extend: Option<Duration>,
    /// BARRIER=1: the descriptor that came with it is closed when all before it was heard.
    pub barrier: bool,
    /// FDSTORE=1: descriptors that came with it are kept.
    pub store: bool,
    /// FDSTOREREMOVE=1: those of a name are not kept any more.
    pub forget: bool,
    /// FDPOLL=0: what is stored stays so when nobody is at its other end.
    pub unpolled: bool,
    /// FDNAME=
    pub name: Option<String>,
}

impl Words {
    /// Reads a datagram; lines that are not understood are passed over.
    pub fn parse(bytes: &[u8]) -> Words {
        let mut words = Words::default();
        for line in bytes.split(|b| *b == b'\n') {
            let Some(equals) = line.iter().position(|b| *b == b'=') else { continue };
            let (key, rest) = line.split_at(equals);
            let value = rest.get(1..).unwrap_or_default();
            let text = std::str::from_utf8(value).unwrap_or_default();
            let span = || text.parse().ok().map(Duration::from_micros);
            match key {
                b"READY" => words.ready |= value == b"1",
                b"RELOADING" => words.reloading |= value == b"1",
                b"STOPPING" => words.stopping |= value == b"1",
                b"STATUS" => words.status = Some(printable(value)),
                b"ERRNO" => words.errno = text.parse().ok().filter(|n| (0..4096).contains(n)),
                b"MAINPID" => words.main = text.parse().ok().filter(|pid| *pid > 1),
                b"WATCHDOG" => {
                    words.alive |= value == b"1";
                    words.bite |= value == b"trigger";
                }
                b"WATCHDOG_USEC" => words.watchdog = span(),
                b"EXTEND_TIMEOUT_USEC" => words.extend = span(),
                b"BARRIER" => words.barrier |= value == b"1",
                b"FDSTORE" => words.store |= value == b"1",
                b"FDSTOREREMOVE" => words.forget |= value == b"1",
                b"FDPOLL" => words.unpolled |= value == b"0",
                b"FDNAME" => {
                    words.name =
                        (text.len() <= 255 && !text.contains(':') && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')).then(|| text.to_owned())
                }
                _ => {}
            }
        }
        words
    }
}

fn printable(value: &[u8]) -> String {
    let mut text: String = String::from_utf8_lossy(value).chars().filter(|c| !c.is_control()).collect();
    let end = (0..=STATUS_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    text
}

/// Does what a service said, in an order in which several words of one datagram make sense.
pub(super) fn apply(service: &mut Service, world: &mut World<'_>, words: &Words, descriptors: Vec<OwnedFd>) {
    use super::service::Hands;
    if let Some(pid) = words.main.filter(|pid| service.main != Some(*pid)) {
        // only up to the point where it is being stopped
        if matches!(service.state, State::Start | State::StartPost | State::Running | State::Reload) {
            match world.adopt(pid) {
                Ok(()) => service.adopt_main(pid),
                Err(why) => world.tell(&format!("New main PID is refused: {why}")),
            }
        }
    }
    if let Some(text) = &words.status {
        service.status_text.clone_from(text);
    }
    if let Some(errno) = words.errno {
        service.errno = errno;
    }
    if let Some(more) = words.extend {
        service.extend(more, world);
    }
    if let Some(limit) = words.watchdog {
        service.set_watchdog((!limit.is_zero()).then_some(limit), world);
    }
    let name = words.name.as_deref().unwrap_or("stored");
    if words.forget {
        world.rest.stored.retain(|(known, ..)| known != name);
    }
    if words.store {
        for fd in descriptors {
            // one that is there already, maybe by another number, is not there twice
            if world.rest.stored.iter().any(|(_, known, _)| is_same(known, &fd)) {
                continue;
            }
            if world.rest.stored.len() >= service.config.stored_max {
                world.tell(&format!("The store of descriptors is full ({}, FileDescriptorStoreMax=): one more is closed", service.config.stored_max));
                break;
            }
            world.rest.stored.push((name.to_owned(), fd, !words.unpolled));
        }
    }
    if words.reloading {
        service.is_reloading(world);
    }
    if words.stopping {
        service.is_stopping(world);
    }
    if words.ready {
        service.is_ready(world);
    }
    if words.alive {
        service.alive(world);
    }
    if words.bite {
        service.bite = Some(world.now());
    }
}

/// Whether two descriptors are of one open file. A socket cannot be opened twice, so its number says it where kcmp(2) is forbidden.
fn is_same(a: &OwnedFd, b: &OwnedFd) -> bool {
    let (Ok(one), Ok(other)) = (rustix::fs::fstat(a), rustix::fs::fstat(b)) else { return false };
    let is_socket = rustix::fs::FileType::from_raw_mode(one.st_mode) == rustix::fs::FileType::Socket;
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino) && (is_socket || proc::is_same_file(a.as_fd(), b.as_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let found = Words::parse(b"READY=1\nSTATUS=a\x1b[1mb\nMAINPID=7\nWATCHDOG_USEC=5\nX\n=\nERRNO=99999\nEXTEND_TIMEOUT_USEC=x");
        let expected =
            Words { ready: true, status: Some("a[1mb".into()), main: Some(7), watchdog: Some(Duration::from_micros(5)), ..Words::default() };
        assert_eq!(found, expected);
        assert_eq!(Words::parse(b"MAINPID=1\nMAINPID=-4\nREADY=2\nBARRIER=1"), Words { barrier: true, ..Words::default() });
        assert_eq!(Words::parse(b"FDSTORE=1\nFDPOLL=0"), Words { store: true, unpolled: true, ..Words::default() });
        let pair = std::os::unix::net::UnixStream::pair().unwrap();
        let (a, b) = (OwnedFd::from(pair.0), OwnedFd::from(pair.1));
        assert!(is_same(&a, &a.try_clone().unwrap()) && !is_same(&a, &b));
        let open = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let file = open();
        assert!(is_same(&file, &file.try_clone().unwrap()) && !is_same(&file, &open()));
        assert!(Words::parse(&[b'S', b'T', b'A', b'T', b'U', b'S', b'=', 0xff, 0xfe]).status.is_some());
    }
}
