//! What a socket unit's settings ask for, as plain values.

use std::time::Duration;

use hostel_unit::{Kind, Span, UnitName};

use super::address::{Address, Way};
use crate::command::Command;
use crate::load::{Settings, Unit};
use crate::manager::config::number;
use crate::value::{Memory, Value};

const SECTION: &str = "Socket";
/// TimeoutSec= when nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(90);

/// One list of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Step {
    StartPre,
    StartPost,
    StopPre,
    StopPost,
}

impl Step {
    const ALL: [Step; 4] = [Step::StartPre, Step::StartPost, Step::StopPre, Step::StopPost];

    /// Its key.
    pub fn key(self) -> &'static str {
        match self {
            Step::StartPre => "ExecStartPre",
            Step::StartPost => "ExecStartPost",
            Step::StopPre => "ExecStopPre",
            Step::StopPost => "ExecStopPost",
        }
    }
}

/// BindIPv6Only=
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum V6Only {
    Default,
    Both,
    Only,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens.
    pub listens: Vec<(Way, Address)>,
    /// Accept=
    pub accept: bool,
    /// Service=, or the one of its name; none with Accept=yes.
    pub service: Option<UnitName>,
    commands: [Vec<Command>; 4],
    /// TimeoutSec=
    pub timeout: Option<Duration>,
    /// SocketMode=
    pub mode: u32,
    /// DirectoryMode=
    pub directory_mode: u32,
    /// SocketUser=
    pub user: Option<String>,
    /// SocketGroup=
    pub group: Option<String>,
    /// Symlinks=
    pub links: Vec<String>,
    /// RemoveOnStop=
    pub remove: bool,
    /// FlushPending=
    pub flush: bool,
    /// Writable=
    pub writable: bool,
    /// FileDescriptorName=
    pub name: Option<String>,
    /// PassFileDescriptorsToExec=
    pub pass_to_commands: bool,
    /// MaxConnections=
    pub most: u64,
    /// MaxConnectionsPerSource=; 0: no limit.
    pub most_of_one: u64,
    /// TriggerLimitIntervalSec= and TriggerLimitBurst=
    pub trigger_limit: (Duration, u32),
    /// BindIPv6Only=
    pub v6_only: V6Only,
    /// Backlog=
    pub backlog: i32,
    /// BindToDevice=
    pub interface: Option<String>,
    /// SocketProtocol=, as the kernel numbers it.
    pub protocol: Option<u32>,
    /// TCPCongestion=
    pub congestion: Option<String>,
    /// Bytes of a pipe.
    pub pipe_size: Option<u64>,
    /// Most messages of a queue, and their size.
    pub queue: Option<(i64, i64)>,
    /// ReceiveBuffer= and SendBuffer=
    pub buffers: [Option<i32>; 2],
    /// Numbers and switches of sockets.
    pub settings: Vec<(hostel_sys::socket::Setting, i32)>,
    /// Values that are none.
    pub faults: Vec<String>,
}

fn span(s: &Settings, key: &str) -> Option<Option<Duration>> {
    match s.last(SECTION, key)? {
        Value::Span(Span::Micros(micros)) => Some(Some(Duration::from_micros(*micros))),
        Value::Span(Span::Infinity) => Some(None),
        _ => None,
    }
}

impl Config {
    /// Reads the settings of a loaded socket.
    pub fn of(unit: &Unit) -> Config {
        let s = &unit.settings;
        let mut faults = Vec::new();
        let mut listens = Vec::new();
        for setting in s.iter().filter(|s| s.section == SECTION && s.key.starts_with("Listen")) {
            let Value::Text(text) = &setting.value else { continue };
            let Some(way) = Way::of(setting.key) else {
                faults.push(format!("{}=: USB functions are not implemented: a machine has no USB device controller", setting.key));
                continue;
            };
            match Address::parse(way, text) {
                Ok(address) => listens.push((way, address)),
                Err(why) => faults.push(format!("{}={}: {why}", setting.key, hostel_unit::printable(text))),
            }
        }
        let accept = s.bool(SECTION, "Accept", false);
        let given = s.units(SECTION, "Service").last().map(|(name, _)| name.clone());
        let mode = |key: &str, default| if let Some(Value::FileMode(mode)) = s.last(SECTION, key) { *mode } else { default };
        let text = |key: &str| s.text(SECTION, key).filter(|t| !t.is_empty()).map(str::to_owned);
        let burst = number(s, SECTION, "TriggerLimitBurst").map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let memory = |key: &str| if let Some(Value::Memory(Memory::Bytes(bytes))) = s.last(SECTION, key) { Some(*bytes) } else { None };
        let messages = |key: &str| text(key).and_then(|t| t.parse::<i64>().ok()).filter(|n| *n > 0);
        Config {
            listens,
            accept,
            service: if accept { None } else { given.or_else(|| unit.name.with_kind(Kind::Service).ok()) },
            commands: Step::ALL.map(|step| s.commands(SECTION, step.key()).cloned().collect()),
            timeout: match text("TimeoutSec").map(|t| hostel_unit::time_span(&t, hostel_unit::TimeUnit::Seconds)) {
                Some(Ok(Span::Micros(0) | Span::Infinity)) => None,
                Some(Ok(Span::Micros(micros))) => Some(Duration::from_micros(micros)),
                _ => Some(TIMEOUT),
            },
            mode: mode("SocketMode", 0o666),
            directory_mode: mode("DirectoryMode", 0o755),
            user: text("SocketUser"),
            group: text("SocketGroup"),
            links: s
                .of(SECTION, "Symlinks")
                .flat_map(|s| hostel_unit::words(s.text(), hostel_unit::WordRules::UNIT).unwrap_or_default())
                .filter(|path| path.starts_with('/'))
                .collect(),
            remove: s.bool(SECTION, "RemoveOnStop", false),
            flush: s.bool(SECTION, "FlushPending", false),
            writable: s.bool(SECTION, "Writable", false),
            name: text("FileDescriptorName").filter(|name| name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')),
            pass_to_commands: s.bool(SECTION, "PassFileDescriptorsToExec", false),
            most: number(s, SECTION, "MaxConnections").unwrap_or(64),
            most_of_one: number(s, SECTION, "MaxConnectionsPerSource").unwrap_or(0),
            trigger_limit: (
                span(s, "TriggerLimitIntervalSec").map_or(Duration::from_secs(2), |limit| limit.unwrap_or(Duration::MAX)),
                burst.unwrap_or(if accept { 200 } else { 20 }),
            ),
            v6_only: match s.text(SECTION, "BindIPv6Only") {
                Some("both") => V6Only::Both,
                Some("ipv6-only") => V6Only::Only,
                _ => V6Only::Default,
            },
            backlog: number(s, SECTION, "Backlog").map_or(i32::MAX, |n| i32::try_from(n).unwrap_or(i32::MAX)),
            interface: text("BindToDevice"),
            protocol: text("SocketProtocol").and_then(|word| match word.as_str() {
                "udplite" => Some(136),
                "sctp" => Some(132),
                "mptcp" => Some(262),
                _ => {
                    faults.push(format!("SocketProtocol={}: it is none of udplite, sctp, mptcp", hostel_unit::printable(&word)));
                    None
                }
            }),
            congestion: text("TCPCongestion"),
            pipe_size: memory("PipeSize"),
            queue: messages("MessageQueueMaxMessages").zip(messages("MessageQueueMessageSize")),
            buffers: ["ReceiveBuffer", "SendBuffer"].map(|key| memory(key).map(|bytes| i32::try_from(bytes).unwrap_or(i32::MAX))),
            settings: settings(s),
            faults,
        }
    }

    /// Commands of a step.
    pub fn commands(&self, step: Step) -> &[Command] {
        let at = Step::ALL.iter().position(|s| *s == step).unwrap_or(0);
        self.commands.get(at).map_or(&[], Vec::as_slice)
    }

    /// Whether it has any.
    pub fn has_commands(&self) -> bool {
        self.commands.iter().any(|list| !list.is_empty())
    }
}

/// The numbers; those that are not asked for are left as the kernel has them.
fn settings(s: &Settings) -> Vec<(hostel_sys::socket::Setting, i32)> {
    use hostel_sys::socket::Setting as Is;
    let mut found = Vec::new();
    for (key, setting) in [
        ("KeepAlive", Is::KeepAlive),
        ("NoDelay", Is::NoDelay),
        ("Broadcast", Is::Broadcast),
        ("PassCredentials", Is::PassCredentials),
        ("PassSecurity", Is::PassSecurity),
        ("ReusePort", Is::ReusePort),
        ("FreeBind", Is::FreeBind),
        ("Transparent", Is::TransparentV4),
        ("PassPacketInfo", Is::PacketInfoV4),
    ] {
        if s.bool(SECTION, key, false) {
            found.push((setting, 1));
        }
    }
    for (key, setting) in [("KeepAliveProbes", Is::KeepAliveProbes), ("Priority", Is::Priority), ("Mark", Is::Mark), ("IPTTL", Is::TimeToLive)] {
        if let Some(value) = number(s, SECTION, key) {
            found.push((setting, i32::try_from(value).unwrap_or(i32::MAX)));
        }
    }
    for (key, setting) in
        [("KeepAliveTimeSec", Is::KeepAliveTime), ("KeepAliveIntervalSec", Is::KeepAliveInterval), ("DeferAcceptSec", Is::DeferAccept)]
    {
        if let Some(Some(limit)) = span(s, key) {
            found.push((setting, i32::try_from(limit.as_secs()).unwrap_or(i32::MAX)));
        }
    }
    let service = match s.text(SECTION, "IPTOS") {
        Some("low-delay") => Some(0x10),
        Some("throughput") => Some(0x08),
        Some("reliability") => Some(0x04),
        Some("low-cost") => Some(0x02),
        other => other.and_then(|text| text.parse().ok()),
    };
    found.extend(service.map(|value| (Is::TypeOfService, value)));
    match s.text(SECTION, "Timestamping") {
        Some("us" | "usec" | "µs") => found.push((Is::Timestamp, 1)),
        Some("ns" | "nsec") => found.push((Is::TimestampNanos, 1)),
        _ => {}
    }
    found
}
