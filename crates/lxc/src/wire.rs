//! The command socket of a container: one request and one answer over a stream, at an abstract address made of lxcpath and name.
//!
//! ```text
//!  client ── i32 command, i32 length, u64 value ── length bytes ──► supervisor     16 bytes, little endian; without bytes the value
//!         ◄── i32 result, i32 length, u64 value ── length bytes ──                 itself is the argument
//! ```
//! Facts: spec/lxc.md section 3.1; lengths and addresses compared with liblxc 5.0.2. What comes in is hostile: a length is looked
//! at before anything is read for it, text ends at its one NUL.

use hostel_spec::Arrange as _;

/// Bytes of a request's and of an answer's head.
pub const HEAD: usize = 16;
/// Most bytes that follow a request's head: two paths.
pub const MOST: usize = 2 * 4096;
/// Bytes of what a supervisor tells those who watch.
pub const NEWS: usize = 264;

macro_rules! commands {
    ($($name:ident = $number:literal, $help:literal;)*) => {
        /// What can be asked.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(i32)]
        pub enum Command { $(#[doc = $help] $name = $number),* }

        impl Command {
            /// The command of a number.
            pub fn of(number: i32) -> Option<Command> {
                match number { $($number => Some(Command::$name),)* _ => None }
            }
        }
    };
}
commands! {
    GetTtyFd = 0, "A terminal: value is its number, 0 the console, -1 the first free one; the connection is the lease.";
    TerminalWinch = 1, "Never used.";
    Stop = 2, "End it; no answer, the connection closes when it is gone.";
    GetState = 3, "Its state.";
    GetInitPid = 4, "Pid of its init.";
    GetCloneFlags = 5, "Its namespaces, as flags of clone(2).";
    GetCgroup = 6, "Path of its cgroup of a controller.";
    GetConfigItem = 7, "What it was started with of a key.";
    GetName = 8, "Its name.";
    GetLxcpath = 9, "Its lxcpath.";
    AddStateClient = 10, "Tell when it is in one of these states.";
    ConsoleLog = 11, "What its console said.";
    ServeStateClients = 12, "Tell those who wait that it is in this state.";
    SeccompNotifyAddListener = 13, "A descriptor of calls to be answered.";
    AddBpfDeviceCgroup = 14, "One more rule about devices.";
    Freeze = 15, "Freeze it (pure version 2).";
    Unfreeze = 16, "Let it go on (pure version 2).";
    GetCgroup2Fd = 17, "Its cgroup as a descriptor (pure version 2).";
    GetInitPidfd = 18, "Its init as a pidfd.";
    GetLimitCgroup = 19, "Path of its limiting cgroup of a controller.";
    GetLimitCgroup2Fd = 20, "Its limiting cgroup as a descriptor (pure version 2).";
    GetDevptsFd = 21, "Its devpts as a descriptor.";
    GetSeccompNotifyFd = 22, "The descriptor of calls to be answered.";
    GetCgroupCtx = 23, "All its cgroups as descriptors.";
    GetCgroupFd = 24, "Its cgroup of a controller as a descriptor.";
    GetLimitCgroupFd = 25, "Its limiting cgroup of a controller as a descriptor.";
    GetSystemdScope = 26, "Its scope of systemd.";
}

/// States in the order of their numbers.
const STATES: [&str; 8] = ["STOPPED", "STARTING", "RUNNING", "STOPPING", "ABORTING", "FREEZING", "FROZEN", "THAWED"];

/// State of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Stopped,
    Starting,
    Running,
    Stopping,
    Aborting,
    Freezing,
    Frozen,
    Thawed,
}

impl State {
    const ALL: [State; 8] =
        [State::Stopped, State::Starting, State::Running, State::Stopping, State::Aborting, State::Freezing, State::Frozen, State::Thawed];

    /// The state of a number.
    pub fn of(number: u64) -> Option<State> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
    /// Its name: `RUNNING`.
    pub fn name(self) -> &'static str {
        STATES[self as usize]
    }
    /// The states of a list such as `STOPPED|RUNNING`, as they are asked for: 1 for each that is wanted.
    pub fn set(list: &str) -> Result<[bool; 8], &'static str> {
        let mut wanted = [false; 8];
        for name in list.split('|') {
            let at = STATES.iter().position(|known| *known == name.trim()).ok_or("there is no state of this name")?;
            wanted[at] = true;
        }
        Ok(wanted)
    }
}

/// The head of a request or of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The command, or the result: 0, or a negative errno.
    pub number: i32,
    /// Bytes that follow.
    pub length: u32,
    /// The argument where no bytes follow.
    pub value: u64,
}

impl Head {
    /// Reads a head; none: more than `most` bytes would follow, or fewer than none.
    pub fn of(bytes: &[u8; HEAD], most: usize) -> Option<Head> {
        let (number, rest) = bytes.split_first_chunk::<4>()?;
        let (length, value) = rest.split_first_chunk::<4>()?;
        let length = u32::try_from(i32::from_le_bytes(*length)).ok().filter(|&length| length as usize <= most)?;
        Some(Head { number: i32::from_le_bytes(*number), length, value: u64::from_le_bytes(*value.first_chunk()?) })
    }
    /// The head's bytes, and those that follow.
    pub fn with(number: i32, value: u64, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + bytes.len());
        out.extend(number.to_le_bytes());
        out.extend((bytes.len() as i32).to_le_bytes());
        out.extend(value.to_le_bytes());
        out.extend(bytes);
        out
    }
}

/// Text among the bytes of a request: what is before its one NUL, at its end.
pub fn text(bytes: &[u8]) -> Option<&str> {
    let inner = bytes.strip_suffix(&[0])?;
    if inner.contains(&0) { None } else { std::str::from_utf8(inner).ok() }
}

/// The abstract address of a container's socket, without the NUL before it: `LXCPATH/NAME/command`, or where that is longer than an
/// address may be, of its hash.
pub fn address(lxcpath: &str, name: &str) -> String {
    let place = format!("{lxcpath}/{name}");
    if place.len() + "/command".len() > 105 { format!("lxc/{:016x}/command", hash(place.as_bytes())) } else { place + "/command" }
}

/// FNV-1a of 64 bits.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// A container whose socket is listened at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Active {
    /// Its name.
    Name(String),
    /// Its address, which has to be asked for lxcpath and name.
    Address(String),
}

/// The containers of `lxcpath` in the text of `/proc/net/unix`, each once, in order.
pub fn active(sockets: &str, lxcpath: &str) -> Vec<Active> {
    let of = |line: &str| {
        let address = line.split_ascii_whitespace().nth(7)?.strip_prefix('@')?;
        let place = address.strip_suffix("/command")?;
        if let Some(name) = place.strip_prefix(lxcpath).and_then(|rest| rest.strip_prefix('/')) {
            return (!name.is_empty() && !name.contains('/')).then(|| Active::Name(name.to_owned()));
        }
        let hashed = place.strip_prefix("lxc/").is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
        hashed.then(|| Active::Address(address.to_owned()))
    };
    let mut all: Vec<Active> = sockets.lines().filter_map(of).collect();
    all.arrange();
    all.dedup();
    all
}

/// What a supervisor tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It is in this state.
    State(State),
    /// Its init ended, with this status of wait(2).
    Exit(i32),
}

/// News as those who wait or watch are sent them.
pub fn news(name: &str, what: News) -> [u8; NEWS] {
    let (kind, value) = match what {
        News::State(state) => (0i32, state as i32),
        News::Exit(status) => (2, status),
    };
    let mut out = [0; NEWS];
    out[..4].copy_from_slice(&kind.to_le_bytes());
    let name = &name.as_bytes()[..name.len().min(255)];
    out[4..4 + name.len()].copy_from_slice(name);
    out[260..].copy_from_slice(&value.to_le_bytes());
    out
}

/// Name and news of such bytes; none: it is something else.
pub fn told(bytes: &[u8; NEWS]) -> Option<(&str, News)> {
    let number = |at: usize| i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let name = bytes[4..260].split(|b| *b == 0).next().and_then(|name| std::str::from_utf8(name).ok())?;
    match number(0) {
        0 => Some((name, News::State(State::of(u64::try_from(number(260)).ok()?)?))),
        2 => Some((name, News::Exit(number(260)))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_liblxc() {
        assert_eq!(address("/var/lib/lxc", "c1"), "/var/lib/lxc/c1/command");
        let long = |n: usize| address(&format!("/root/lxc-scratch/{}", "y".repeat(n)), "c1");
        assert_eq!(long(76).len(), 105);
        // as lxc-info 5.0.2 connects to it
        assert_eq!(long(77), "lxc/7fe7e058709d8acc/command");
        assert_eq!(address(&format!("/root/lxc-scratch/{}", "x".repeat(100)), "c1"), "lxc/3ada41f9b3337ac5/command");
    }

    #[test]
    fn who_is_active() {
        let line = |address: &str| format!("0000000000000000: 00000002 00000000 00010000 0001 01 12345 {address}\n");
        let text = ["Num RefCount Protocol Flags Type St Inode Path\n".to_owned()]
            .into_iter()
            .chain(
                [
                    "@/l/b/command",
                    "@/l/a/command",
                    "@/l/a/command",
                    "@/l/x/y/command",
                    "@/l//command",
                    "/l/c/command",
                    "@lxc/7fe7e058709d8acc/command",
                    "@lxc/monitor",
                    "",
                ]
                .map(line),
            )
            .collect::<String>();
        assert_eq!(active(&text, "/l"), [Active::Name("a".into()), Active::Name("b".into()), Active::Address("lxc/7fe7e058709d8acc/command".into())]);
    }

    #[test]
    fn heads_are_bounded() {
        let whole = Head::with(Command::GetConfigItem as i32, 7, b"lxc.arch\0");
        let head = Head::of(whole[..HEAD].try_into().unwrap(), MOST).unwrap();
        assert_eq!(head, Head { number: 7, length: 9, value: 7 });
        assert_eq!(Command::of(head.number), Some(Command::GetConfigItem));
        assert_eq!(text(&whole[HEAD..]), Some("lxc.arch"));
        for bad in [&b"a"[..], b"", b"a\0b\0", b"\xff\0"] {
            assert_eq!(text(bad), None, "{bad:?}");
        }
        let length = |n: i32| {
            let mut head: [u8; HEAD] = Head::with(3, 0, b"")[..].try_into().unwrap();
            head[4..8].copy_from_slice(&n.to_le_bytes());
            Head::of(&head, MOST).map(|head| head.length)
        };
        assert_eq!((length(-1), length(i32::MAX), length(MOST as i32 + 1), length(MOST as i32)), (None, None, None, Some(MOST as u32)));
        assert_eq!(Command::of(27), None);
    }

    #[test]
    fn news_go_round() {
        for what in [News::State(State::Frozen), News::Exit(0x100)] {
            assert_eq!(told(&news("c1", what)), Some(("c1", what)));
        }
        assert_eq!(told(&news(&"x".repeat(300), News::Exit(0))).unwrap().0.len(), 255);
        let mut odd = news("c", News::State(State::Running));
        odd[260] = 8;
        assert_eq!(told(&odd), None);
        assert_eq!(State::set("STOPPED|RUNNING").unwrap(), [true, false, true, false, false, false, false, false]);
        assert!(State::set("BOGUS").is_err());
        assert_eq!(State::of(6).map(State::name), Some("FROZEN"));
    }
}
