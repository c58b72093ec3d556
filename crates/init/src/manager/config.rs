//! What a service's settings ask of the manager, as plain values; and what they ask in vain.

use std::time::Duration;

use hostel_spec::Signal;
use hostel_unit::Span;

use super::exits::Restart;
use super::sandbox::place;
use crate::command::Command;
use crate::keys;
use crate::load::{Settings, Unit};
use crate::value::{Status, Value};

/// DefaultTimeoutStartSec= and DefaultTimeoutStopSec= of systemd.
const TIMEOUT: Duration = Duration::from_secs(90);
const SECTION: &str = "Service";

/// Type=
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    Simple,
    Exec,
    Forking,
    Oneshot,
    Notify,
    NotifyReload,
    Dbus,
    Idle,
}

impl Type {
    fn of(word: &str) -> Type {
        match word {
            "exec" => Type::Exec,
            "forking" => Type::Forking,
            "oneshot" => Type::Oneshot,
            "notify" => Type::Notify,
            "notify-reload" => Type::NotifyReload,
            "dbus" => Type::Dbus,
            "idle" => Type::Idle,
            _ => Type::Simple,
        }
    }

    /// As written.
    pub fn word(self) -> &'static str {
        match self {
            Type::Simple => "simple",
            Type::Exec => "exec",
            Type::Forking => "forking",
            Type::Oneshot => "oneshot",
            Type::Notify => "notify",
            Type::NotifyReload => "notify-reload",
            Type::Dbus => "dbus",
            Type::Idle => "idle",
        }
    }

    /// Whether it is up when it says READY=1.
    pub fn is_notifying(self) -> bool {
        matches!(self, Type::Notify | Type::NotifyReload)
    }
}

/// KillMode=
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum KillMode {
    ControlGroup,
    Process,
    Mixed,
    None,
}

/// What is done with a service that takes too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FailureMode {
    Terminate,
    Abort,
    Kill,
}

impl FailureMode {
    fn of(settings: &Settings, key: &str) -> FailureMode {
        match settings.text(SECTION, key) {
            Some("abort") => FailureMode::Abort,
            Some("kill") => FailureMode::Kill,
            _ => FailureMode::Terminate,
        }
    }
}

/// OOMPolicy=
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OomPolicy {
    Continue,
    Stop,
    Kill,
}

impl OomPolicy {
    /// What is delegated is for whoever divides it.
    pub fn of(unit: &Unit) -> OomPolicy {
        match unit.settings.text(SECTION, "OOMPolicy") {
            Some("continue") => OomPolicy::Continue,
            Some("kill") => OomPolicy::Kill,
            Some("stop") => OomPolicy::Stop,
            _ if unit.settings.text(SECTION, "Delegate").is_some_and(|text| hostel_unit::boolean(text) != Ok(false)) => OomPolicy::Continue,
            _ => OomPolicy::Stop,
        }
    }

    /// As written.
    pub fn word(self) -> &'static str {
        match self {
            OomPolicy::Continue => "continue",
            OomPolicy::Stop => "stop",
            OomPolicy::Kill => "kill",
        }
    }
}

/// NotifyAccess=
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NotifyAccess {
    None,
    Main,
    Exec,
    All,
}

/// One list of commands of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Step {
    Condition,
    StartPre,
    Start,
    StartPost,
    Reload,
    Stop,
    StopPost,
}

impl Step {
    /// All, in the order of [`Config::commands`].
    pub const ALL: [Step; 7] = [Step::Condition, Step::StartPre, Step::Start, Step::StartPost, Step::Reload, Step::Stop, Step::StopPost];

    /// Its key.
    pub fn key(self) -> &'static str {
        match self {
            Step::Condition => "ExecCondition",
            Step::StartPre => "ExecStartPre",
            Step::Start => "ExecStart",
            Step::StartPost => "ExecStartPost",
            Step::Reload => "ExecReload",
            Step::Stop => "ExecStop",
            Step::StopPost => "ExecStopPost",
        }
    }
}

/// What a service is to be.
#[derive(Debug, Clone)]
pub struct Config {
    /// Type=
    pub kind: Type,
    commands: [Vec<Command>; 7],
    /// RemainAfterExit=
    pub remain: bool,
    /// ExitType=cgroup: it runs as long as any process of it does.
    pub runs_with_any: bool,
    /// RestartMode=direct: others do not hear that it is down in between.
    pub restart_direct: bool,
    /// RestartSteps= and RestartMaxDelaySec=
    pub restart_steps: Option<(u32, Duration)>,
    /// RestartRandomizedDelaySec=
    pub restart_jitter: Duration,
    /// RestartKillSignal=
    pub restart_signal: Option<i32>,
    /// TimeoutAbortSec=
    pub timeout_abort: Option<Duration>,
    /// TimeoutStartFailureMode= and TimeoutStopFailureMode=
    pub failure_modes: [FailureMode; 2],
    /// Restart=
    pub restart: Restart,
    /// RestartSec=
    pub restart_delay: Duration,
    /// TimeoutStartSec=; `None`: never.
    pub timeout_start: Option<Duration>,
    /// TimeoutStopSec=
    pub timeout_stop: Option<Duration>,
    /// RuntimeMaxSec=
    pub runtime_max: Option<Duration>,
    /// WatchdogSec=
    pub watchdog: Option<Duration>,
    /// SuccessExitStatus=
    pub success: Vec<Status>,
    /// RestartPreventExitStatus=
    pub prevent: Vec<Status>,
    /// RestartForceExitStatus=
    pub force: Vec<Status>,
    /// KillMode=
    pub kill_mode: KillMode,
    /// KillSignal=
    pub kill_signal: i32,
    /// FinalKillSignal=
    pub final_signal: i32,
    /// WatchdogSignal=
    pub watchdog_signal: i32,
    /// ReloadSignal= of Type=notify-reload.
    pub reload_signal: i32,
    /// SendSIGKILL=
    pub send_sigkill: bool,
    /// SendSIGHUP=
    pub send_sighup: bool,
    /// PIDFile=, absolute.
    pub pid_file: Option<String>,
    /// GuessMainPID=
    pub guess_main: bool,
    /// NotifyAccess=, which Type=notify and WatchdogSec= raise to main.
    pub notify_access: NotifyAccess,
    /// OOMPolicy=
    pub oom: OomPolicy,
    /// BusName=
    pub bus_name: Option<String>,
    /// FileDescriptorStoreMax=
    pub stored_max: usize,
    /// FileDescriptorStorePreserve=: whether the store outlives a restart, and a stop.
    pub store_outlives: (bool, bool),
    /// StartLimitIntervalSec= and StartLimitBurst=
    pub start_limit: (Duration, u32),
}

/// `None` is infinity; a zero means that, too, for timeouts.
fn span(settings: &Settings, section: &str, key: &str) -> Option<Option<Duration>> {
    match settings.last(section, key)? {
        Value::Span(Span::Micros(0) | Span::Infinity) => Some(None),
        Value::Span(Span::Micros(micros)) => Some(Some(Duration::from_micros(*micros))),
        _ => None,
    }
}

fn statuses(settings: &Settings, key: &str) -> Vec<Status> {
    settings.of(SECTION, key).flat_map(|s| if let Value::Statuses(list) = &s.value { list.clone() } else { Vec::new() }).collect()
}

fn signal(settings: &Settings, key: &str) -> Option<i32> {
    if let Some(Value::Signal(signal)) = settings.last(SECTION, key) { Some(signal.raw()) } else { None }
}

fn is_bus_name(name: &str) -> bool {
    name.len() <= 255 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// A number of a key, not negative.
pub(super) fn number(settings: &Settings, section: &str, key: &str) -> Option<u64> {
    if let Some(Value::Number(number)) = settings.last(section, key) { u64::try_from(*number).ok() } else { None }
}

impl Config {
    /// Reads the settings of a loaded service.
    pub fn of(unit: &Unit) -> Config {
        let s = &unit.settings;
        let kind = Type::of(crate::load::service_type(unit));
        let both = span(s, SECTION, "TimeoutSec");
        let usual_start = if kind == Type::Oneshot { None } else { Some(TIMEOUT) };
        let watchdog = span(s, SECTION, "WatchdogSec").flatten();
        Config {
            kind,
            commands: Step::ALL.map(|step| s.commands(SECTION, step.key()).cloned().map(without_hand_off).collect()),
            remain: s.bool(SECTION, "RemainAfterExit", false),
            runs_with_any: s.text(SECTION, "ExitType") == Some("cgroup"),
            restart_direct: s.text(SECTION, "RestartMode") == Some("direct"),
            restart_steps: number(s, SECTION, "RestartSteps")
                .and_then(|steps| u32::try_from(steps).ok())
                .filter(|steps| *steps > 0)
                .zip(span(s, SECTION, "RestartMaxDelaySec").flatten()),
            restart_jitter: span(s, SECTION, "RestartRandomizedDelaySec").flatten().unwrap_or_default(),
            restart_signal: signal(s, "RestartKillSignal"),
            timeout_abort: span(s, SECTION, "TimeoutAbortSec").or(span(s, SECTION, "TimeoutStopSec")).or(both).unwrap_or(Some(TIMEOUT)),
            failure_modes: ["TimeoutStartFailureMode", "TimeoutStopFailureMode"].map(|key| FailureMode::of(s, key)),
            restart: s.text(SECTION, "Restart").map_or(Restart::No, Restart::of),
            restart_delay: match s.last(SECTION, "RestartSec") {
                Some(Value::Span(Span::Micros(micros))) => Duration::from_micros(*micros),
                Some(Value::Span(Span::Infinity)) => Duration::from_secs(u64::from(u32::MAX)),
                _ => Duration::from_millis(100),
            },
            timeout_start: span(s, SECTION, "TimeoutStartSec").or(both).unwrap_or(usual_start),
            timeout_stop: span(s, SECTION, "TimeoutStopSec").or(both).unwrap_or(Some(TIMEOUT)),
            runtime_max: span(s, SECTION, "RuntimeMaxSec").flatten(),
            watchdog,
            success: statuses(s, "SuccessExitStatus"),
            prevent: statuses(s, "RestartPreventExitStatus"),
            force: statuses(s, "RestartForceExitStatus"),
            kill_mode: match s.text(SECTION, "KillMode") {
                Some("process") => KillMode::Process,
                Some("mixed") => KillMode::Mixed,
                Some("none") => KillMode::None,
                _ => KillMode::ControlGroup,
            },
            kill_signal: signal(s, "KillSignal").unwrap_or(Signal::TERM.raw()),
            final_signal: signal(s, "FinalKillSignal").unwrap_or(Signal::KILL.raw()),
            watchdog_signal: signal(s, "WatchdogSignal").unwrap_or(6),
            reload_signal: signal(s, "ReloadSignal").unwrap_or(Signal::HUP.raw()),
            send_sigkill: s.bool(SECTION, "SendSIGKILL", true),
            send_sighup: s.bool(SECTION, "SendSIGHUP", false),
            pid_file: s.text(SECTION, "PIDFile").map(|path| if path.starts_with('/') { path.to_owned() } else { format!("/run/{path}") }),
            guess_main: s.bool(SECTION, "GuessMainPID", true),
            notify_access: notify_access(s, kind, watchdog),
            oom: OomPolicy::of(unit),
            bus_name: s.text(SECTION, "BusName").filter(|name| is_bus_name(name)).map(str::to_owned),
            stored_max: number(s, SECTION, "FileDescriptorStoreMax").map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX).min(8192)),
            store_outlives: match s.text(SECTION, "FileDescriptorStorePreserve") {
                None | Some("restart") => (true, false),
                Some(text) => (hostel_unit::boolean(text) == Ok(true), hostel_unit::boolean(text) == Ok(true)),
            },
            start_limit: start_limit(s),
        }
    }

    /// How long to wait before the restart of this number, from 1, but for its random part.
    pub fn delay_of(&self, restart: u32) -> Duration {
        match self.restart_steps {
            Some((steps, most)) if restart > 1 && !self.restart_delay.is_zero() && self.restart_delay < most => {
                if restart > steps {
                    return most;
                }
                // from the one to the other by the same factor each time
                let factor = (most.as_secs_f64() / self.restart_delay.as_secs_f64()).powf(f64::from(restart - 1) / f64::from(steps));
                self.restart_delay.mul_f64(factor).min(most)
            }
            _ => self.restart_delay,
        }
    }

    /// Commands of a step.
    pub fn commands(&self, step: Step) -> &[Command] {
        let at = Step::ALL.iter().position(|s| *s == step).unwrap_or(0);
        self.commands.get(at).map_or(&[], Vec::as_slice)
    }
}

fn notify_access(s: &Settings, kind: Type, watchdog: Option<Duration>) -> NotifyAccess {
    let asked = match s.text(SECTION, "NotifyAccess") {
        Some("all") => NotifyAccess::All,
        Some("exec") => NotifyAccess::Exec,
        Some("main") => NotifyAccess::Main,
        _ => NotifyAccess::None,
    };
    let needs = kind.is_notifying() || watchdog.is_some();
    if needs && asked == NotifyAccess::None { NotifyAccess::Main } else { asked }
}

fn start_limit(s: &Settings) -> (Duration, u32) {
    let interval = match s.last("Unit", "StartLimitIntervalSec") {
        Some(Value::Span(Span::Micros(micros))) => Duration::from_micros(*micros),
        Some(Value::Span(Span::Infinity)) => Duration::MAX,
        _ => Duration::from_secs(10),
    };
    let burst = number(s, "Unit", "StartLimitBurst").map_or(5, |n| u32::try_from(n).unwrap_or(u32::MAX));
    (interval, burst)
}

/// A setting that does nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degraded {
    /// `Key=value`
    pub setting: String,
    /// Where it stands.
    pub file: String,
    /// Line of the file.
    pub line: u32,
    /// Why it does nothing.
    pub why: &'static str,
}

impl Degraded {
    /// Of a setting.
    pub fn of(s: &crate::load::Setting, why: &'static str) -> Degraded {
        Degraded { setting: format!("{}={}", s.key, hostel_unit::printable(s.text())), file: s.origin.file.to_string(), line: s.origin.line, why }
    }
}

/// Settings of a unit that this manager does not act upon, each with its reason.
pub fn degraded(unit: &Unit) -> Vec<Degraded> {
    let lost = |s: &&crate::load::Setting| keys::find(s.section, s.key).is_some_and(|known| known.usage == keys::Use::Kept) && !means_nothing(s);
    let of = |s: &crate::load::Setting| Degraded::of(s, place::never(s.section, s.key).unwrap_or("not implemented yet; it has no effect"));
    let mut found: Vec<Degraded> = unit.settings.iter().filter(lost).map(of).collect();
    for s in unit.settings.iter().filter(|s| s.section == SECTION && place::depends(s.key) && !means_nothing(s)) {
        found.extend(place::lost(s.key, place::here()).map(|why| Degraded { why, ..of(s) }));
    }
    if let Some(s) = unit.settings.of("Automount", "Where").next_back() {
        found.push(Degraded { why: "nothing waits for the first look: what it is for is mounted when it starts", ..of(s) });
    }
    if let Some(s) = unit.settings.of(SECTION, "ExecStart").find(|s| s.text().contains("/dbus-daemon") && s.text().contains(HAND_OFF)) {
        let why = "--systemd-activation is left out: no service manager is on the message bus, so the bus starts services itself";
        found.push(Degraded { why, ..of(s) });
    }
    found
}

/// By this dbus-daemon leaves it to systemd to start services, for which it would wait 25 s each time: apt-get does of logind.
const HAND_OFF: &str = "--systemd-activation";

fn without_hand_off(mut command: Command) -> Command {
    if command.program.ends_with("/dbus-daemon") {
        command.argv.retain(|word| word != HAND_OFF);
    }
    command
}

/// Settings that ask for what is the case without them.
fn means_nothing(s: &crate::load::Setting) -> bool {
    matches!(s.value, Value::Bool(false)) || s.text() == "none" || s.text() == "no" || s.text() == "false"
}

/// A setting without which the service would be something else, such as one with more privileges: the start is refused.
pub fn refused(unit: &Unit) -> Option<String> {
    let s = &unit.settings;
    if s.bool(SECTION, "DynamicUser", false) && !place::here().mounts {
        let keeps = |key: &&&str| s.words(SECTION, key).next().is_some();
        if let Some(key) = ["StateDirectory", "CacheDirectory", "LogsDirectory"].iter().find(keeps) {
            return Some(format!("DynamicUser= with {key}=: no mounts can be made here (CAP_SYS_ADMIN is missing) to keep it from other users"));
        }
    }
    let is_there = |text: &str| text.split_once(':').is_some_and(|(_, path)| path.starts_with('/') && std::path::Path::new(path).exists());
    let encrypted = |setting: &&crate::load::Setting| setting.key == "SetCredentialEncrypted" || is_there(setting.text());
    let mut credentials = s.of(SECTION, "SetCredentialEncrypted").chain(s.of(SECTION, "LoadCredentialEncrypted"));
    if let Some(setting) = credentials.find(encrypted) {
        return Some(format!("{}= cannot be read here: nothing decrypts it, and the service would lack a secret", setting.key));
    }
    for key in ["RootImage", "RootMStack"] {
        if s.text(SECTION, key).is_some_and(|path| path != "/") {
            return Some(format!("{key}= is not implemented yet, and without it the programs would be others"));
        }
    }
    None
}
