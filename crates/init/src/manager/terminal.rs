//! The terminal of a service: made ready before, given to it, and taken back afterwards (systemd.exec(5), "TTYPath=").

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use hostel_process::r#become::Failure;
use hostel_sys::{ioctl, proc};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex as Code, Termios, Winsize};

use super::utmp;
use crate::load::Settings;

const CONSOLE: &str = "/dev/console";
/// A terminal whose other side is being changed is opened again so often, after so long.
const AGAIN: (u32, Duration) = (20, Duration::from_millis(50));

/// What is done when it is another session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// StandardInput=tty: wait until it is free.
    Wait,
    /// tty-force
    Force,
    /// tty-fail
    Fail,
}

/// All about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terminal {
    /// TTYPath=, or the console.
    pub path: String,
    /// Whether it becomes the controlling terminal.
    pub take: Option<Take>,
    /// Whether the service has one at all.
    pub is_used: bool,
    /// TTYReset=
    reset: bool,
    /// TTYVHangup=
    hang_up: bool,
    /// TTYVTDisallocate=
    disallocate: bool,
    /// TTYRows= and TTYColumns=
    size: Option<(u16, u16)>,
    /// UtmpIdentifier= and UtmpMode=
    pub record: Option<utmp::Record>,
}

impl Terminal {
    /// Reads the settings.
    pub fn of(s: &Settings, section: &str, complain: &mut dyn FnMut(String)) -> Terminal {
        let yes = |key: &str| s.bool(section, key, false);
        let (reset, hang_up, disallocate) = (yes("TTYReset"), yes("TTYVHangup"), yes("TTYVTDisallocate"));
        let mut number = |key: &str| {
            let text = s.text(section, key)?;
            let found = text.parse::<u16>().ok();
            if found.is_none() {
                complain(format!("{key}={}: it is no number, ignoring", hostel_unit::printable(text)));
            }
            found
        };
        let size = match (number("TTYRows"), number("TTYColumns")) {
            (None, None) => None,
            (rows, columns) => Some((rows.unwrap_or(0), columns.unwrap_or(0))),
        };
        let path = s.text(section, "TTYPath");
        let take = match s.text(section, "StandardInput") {
            Some("tty") => Some(Take::Wait),
            Some("tty-force") => Some(Take::Force),
            Some("tty-fail") => Some(Take::Fail),
            _ => None,
        };
        let writes = |key: &str| s.text(section, key).is_some_and(|text| text.starts_with("tty"));
        Terminal {
            is_used: path.is_some() || take.is_some() || writes("StandardOutput") || writes("StandardError"),
            record: utmp::Record::of(s, section, complain),
            path: path.unwrap_or(CONSOLE).to_owned(),
            take,
            reset,
            hang_up,
            disallocate,
            size,
        }
    }

    /// `$TERM`, of which programs know what such a terminal can.
    pub fn kind(&self, inherited: Option<&str>) -> String {
        let is_virtual = self.path.strip_prefix("/dev/tty").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        match inherited.filter(|_| self.path == CONSOLE) {
            Some(own) => own.to_owned(),
            None if is_virtual => "linux".to_owned(),
            None => "vt220".to_owned(),
        }
    }

    /// Makes it as new, before the service has it and when it has had it. What it does not take it does not need.
    pub fn tend(&self) {
        if !self.is_used || !(self.reset || self.hang_up || self.disallocate || self.size.is_some()) {
            return;
        }
        // a line without a carrier is not waited for
        let open = || rustix::fs::open(self.path.as_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
        if self.hang_up
            && let Ok(terminal) = open()
        {
            let _ = ioctl::hang_up(&terminal);
        }
        let Ok(terminal) = open() else { return };
        if self.reset {
            let _ = rustix::termios::ioctl_tiocnxcl(&terminal);
            let _ = ioctl::text_mode(&terminal);
            if let Ok(mut modes) = rustix::termios::tcgetattr(&terminal) {
                make_usual(&mut modes);
                let _ = rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &modes);
            }
        }
        if let (Some((rows, columns)), Ok(old)) = (self.size, rustix::termios::tcgetwinsize(&terminal)) {
            let pick = |new, old| if new > 0 { new } else { old };
            let _ = rustix::termios::tcsetwinsize(&terminal, Winsize { ws_row: pick(rows, old.ws_row), ws_col: pick(columns, old.ws_col), ..old });
        }
        if self.disallocate {
            let number = self.path.strip_prefix("/dev/tty").and_then(|rest| rest.parse::<u32>().ok());
            let gone = number.is_some_and(|number| {
                let above = rustix::fs::open("/dev/tty0", OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
                above.is_ok_and(|above| ioctl::disallocate(above, number).is_ok())
            });
            if !gone {
                // all of it, and what was scrolled away
                let _ = rustix::io::write(&terminal, b"\x1b[r\x1b[H\x1b[3J\x1b[2J");
            }
        }
    }

    /// Opens it as the controlling terminal of this process, which leads a session of its own.
    pub fn acquire(&self, take: Take) -> Result<OwnedFd, Failure> {
        const VERB: &str = "open standard input";
        let failed = |e: std::io::Error| Failure::new(VERB, &self.path, e);
        // whoever closes it may have had it
        let watch = if take == Take::Wait { inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok() } else { None };
        if let Some(watch) = &watch {
            let closed = WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE;
            inotify::add_watch(watch, self.path.as_str(), closed).map_err(|e| failed(e.into()))?;
        }
        let mut left = AGAIN.0;
        loop {
            // what was told before the next try is old, our own closing, too
            while watch.as_ref().is_some_and(|watch| rustix::io::read(watch, &mut [0u8; 1024]).is_ok()) {}
            let terminal = match rustix::fs::open(self.path.as_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()) {
                Ok(terminal) => terminal,
                Err(Errno::IO) if left > 0 => {
                    left -= 1;
                    std::thread::sleep(AGAIN.1);
                    continue;
                }
                Err(e) => return Err(failed(e.into())),
            };
            match (proc::set_controlling_terminal(terminal.as_fd(), take == Take::Force), &watch) {
                (Ok(()), _) => return Ok(terminal),
                (Err(e), Some(watch)) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                    let mut told = [PollFd::new(watch, PollFlags::IN)];
                    let _ = poll(&mut told, None);
                }
                (Err(e), _) => return Err(failed(e)),
            }
        }
    }
}

/// Modes of a terminal at which somebody sits, as `stty sane` has them.
fn make_usual(modes: &mut Termios) {
    use InputModes as In;
    modes.input_modes -= In::IGNBRK | In::BRKINT | In::ISTRIP | In::INLCR | In::IGNCR | In::IUCLC;
    modes.input_modes |= In::ICRNL | In::IMAXBEL | In::IUTF8;
    modes.output_modes |= OutputModes::ONLCR | OutputModes::OPOST;
    modes.control_modes |= ControlModes::CREAD;
    use LocalModes as L;
    modes.local_modes = L::ISIG | L::ICANON | L::IEXTEN | L::ECHO | L::ECHOE | L::ECHOK | L::ECHOCTL | L::ECHOKE;
    let codes = [
        (Code::VINTR, 3),
        (Code::VQUIT, 28),
        (Code::VERASE, 127),
        (Code::VKILL, 21),
        (Code::VEOF, 4),
        (Code::VSTART, 17),
        (Code::VSTOP, 19),
        (Code::VSUSP, 26),
        (Code::VLNEXT, 22),
        (Code::VWERASE, 23),
        (Code::VREPRINT, 18),
        (Code::VEOL, 0),
        (Code::VEOL2, 0),
        (Code::VTIME, 0),
        (Code::VMIN, 1),
    ];
    codes.into_iter().for_each(|(code, value)| modes.special_codes[code] = value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn terminal(keys: &str) -> (Terminal, usize) {
        let tree = Tree::new("terminal");
        tree.unit("a.service", &format!("[Service]\nExecStart=/bin/a\n{keys}"));
        let mut said = 0;
        let unit = tree.load("a.service");
        (Terminal::of(&unit.settings, "Service", &mut |_| said += 1), said)
    }

    #[test]
    fn settings() {
        let (plain, said) = terminal("");
        assert_eq!((plain.path.as_str(), plain.take, plain.is_used, said), (CONSOLE, None, false, 0));
        let (getty, _) = terminal("StandardInput=tty\nTTYPath=/dev/tty3\nTTYReset=yes\nTTYVHangup=yes\nTTYVTDisallocate=yes\nTTYRows=30");
        assert!(getty.reset && getty.hang_up && getty.disallocate && getty.is_used);
        assert_eq!((getty.path.as_str(), getty.take, getty.size), ("/dev/tty3", Some(Take::Wait), Some((30, 0))));
        assert_eq!((getty.kind(Some("xterm")).as_str(), plain.kind(Some("xterm")).as_str(), plain.kind(None).as_str()), ("linux", "xterm", "vt220"));
        assert_eq!(terminal("StandardInput=tty-force\nTTYColumns=many").1, 1);
        assert_eq!(terminal("StandardInput=tty-fail").0.take, Some(Take::Fail));
        assert!(terminal("StandardError=tty").0.is_used);
    }

    #[test]
    fn a_terminal_is_made_as_new() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = rustix::fs::open(path.as_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let mut raw = rustix::termios::tcgetattr(&slave).unwrap();
        raw.make_raw();
        raw.special_codes[Code::VINTR] = 9;
        rustix::termios::tcsetattr(&slave, OptionalActions::Now, &raw).unwrap();
        terminal(&format!("TTYPath={path}")).0.tend();
        assert!(!rustix::termios::tcgetattr(&slave).unwrap().local_modes.contains(LocalModes::ECHO), "nothing was asked for");
        terminal(&format!("TTYPath={path}\nTTYReset=yes\nTTYRows=7\nTTYColumns=9\nTTYVTDisallocate=yes")).0.tend();
        let modes = rustix::termios::tcgetattr(&slave).unwrap();
        assert!(modes.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON) && modes.special_codes[Code::VINTR] == 3);
        let size = rustix::termios::tcgetwinsize(&slave).unwrap();
        assert_eq!((size.ws_row, size.ws_col), (7, 9));
        let mut seen = [0u8; 64];
        let count = rustix::io::read(&master, &mut seen).unwrap();
        assert!(seen[..count].ends_with(b"\x1b[2J"));
        // whoever has it open has it no more: root only
        if rustix::process::geteuid().is_root() {
            terminal(&format!("TTYPath={path}\nTTYVHangup=yes")).0.tend();
            assert!(rustix::termios::tcgetattr(&slave).is_err());
        }
    }
}
