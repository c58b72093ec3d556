//! What machinectl tells of a machine, gathered once.

use std::net::IpAddr;
use std::path::Path;

use hostel_engine::aside;
use hostel_engine::enter::Leader;
use hostel_engine::inside::addresses;
use hostel_engine::network::look::cables_of;
use hostel_engine::registry::{Origin, Phase};
use hostel_image::inroot;

use crate::cli::look::Look;
use crate::output;

/// A machine, as the words and numbers that are shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) name: String,
    /// Machine id, 32 hexadecimal digits; empty: not known.
    pub(crate) id: String,
    /// Seconds after 1970; 0: not known.
    pub(crate) since: u64,
    /// Microseconds of CLOCK_MONOTONIC (here: of the boot clock).
    pub(crate) since_monotonic: u64,
    pub(crate) uptime: Option<u64>,
    pub(crate) service: &'static str,
    pub(crate) class: String,
    pub(crate) leader: Option<i32>,
    pub(crate) init: Option<String>,
    pub(crate) supervisor: Option<i32>,
    pub(crate) root: String,
    pub(crate) state: &'static str,
    /// Indexes of its cables' ends on the host, and their names.
    pub(crate) interfaces: Vec<(u32, String)>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) os: Os,
    /// First host id of its own ids.
    pub(crate) shift: Option<u32>,
    pub(crate) cgroup: String,
}

/// What os-release says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Os {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) pretty: String,
}

impl Facts {
    pub(crate) fn of(look: &Look) -> Self {
        let mut facts =
            Facts { name: look.machine.name.to_string(), class: "container".into(), service: "hostel", state: state_word(look), ..Facts::default() };
        facts.leader = look.leader();
        facts.supervisor = look.supervisor();
        facts.uptime = look.uptime();
        facts.init = look.init();
        facts.interfaces = cables_of(&facts.name).unwrap_or_default();
        let Some(state) = look.machine.known() else { return facts };
        facts.id = state.uuid.map(|u| u.plain()).unwrap_or_default();
        facts.since = state.started_realtime;
        facts.since_monotonic = state.started_boottime / 1000;
        facts.service = if state.origin == Origin::Nspawn { "systemd-nspawn" } else { "hostel" };
        facts.class = output::clean(&state.class);
        facts.root = state.tree.as_ref().map(|t| output::clean(&t.to_string_lossy())).unwrap_or_default();
        facts.shift = state.ids.map(|ids| ids.base);
        facts.cgroup = state.cgroup.as_ref().map(|c| output::clean(&c.to_string_lossy())).unwrap_or_default();
        if let Some(leader) = state.leader.filter(|_| facts.leader.is_some()).and_then(|id| Leader::from_identity(id).ok()) {
            facts.os = os_of(&leader);
            facts.addresses = addresses::of(&leader).unwrap_or_default();
        }
        facts
    }

    pub(crate) fn of_host() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec as u64;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec as u64;
        let os = std::fs::read_to_string("/etc/os-release").unwrap_or_else(|_| read("/usr/lib/os-release"));
        Self {
            name: HOST.into(),
            id: output::clean(read("/etc/machine-id").trim()),
            since: now.saturating_sub(uptime),
            uptime: Some(uptime),
            class: "host".into(),
            leader: Some(1),
            init: Some(output::clean(read("/proc/1/comm").trim())),
            root: "/".into(),
            state: "running",
            os: Os::parse(&os),
            ..Self::default()
        }
    }
}

/// The host, which is a machine as well for the original.
pub(crate) const HOST: &str = ".host";

/// machined's three words.
fn state_word(look: &Look) -> &'static str {
    match look.machine.known().map(|s| s.phase) {
        None | Some(Phase::Starting) => "opening",
        Some(Phase::Stopping) => "closing",
        Some(Phase::Running | Phase::Paused | Phase::Rebooting) => "running",
    }
}

fn os_of(leader: &Leader) -> Os {
    let Ok(root) = leader.root() else { return Os::default() };
    let read = |path: &str| inroot::read(root, Path::new(path)).ok();
    // A list must not wait for one machine's files.
    let text = aside::ask(aside::PATIENCE, &mut || read("etc/os-release").or_else(|| read("usr/lib/os-release")).unwrap_or_default());
    text.map(|text| Os::parse(&String::from_utf8_lossy(&text))).unwrap_or_default()
}

impl Os {
    /// os-release(5): `KEY=value`, quoted as a shell would.
    pub(crate) fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let found = text.lines().rev().find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix('='));
            found.map(|raw| output::clean(&unquote(raw.trim()))).unwrap_or_default()
        };
        Self { id: value("ID"), version: value("VERSION_ID"), pretty: value("PRETTY_NAME") }
    }
}

fn unquote(raw: &str) -> String {
    let inner = |quote: char| raw.strip_prefix(quote).and_then(|r| r.strip_suffix(quote));
    if let Some(inner) = inner('\'') {
        return inner.to_owned();
    }
    let Some(inner) = inner('"') else { return raw.to_owned() };
    let mut out = String::new();
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        out.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    out
}

/// `Thu 2026-11-26 20:05:42 UTC`.
pub(crate) fn timestamp(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    format!("{} {}", DAYS[(seconds / 86400 % 7) as usize], output::date(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release() {
        let os = Os::parse("PRETTY_NAME=\"Debian \\\"12\\\"\"\nID=debian\n#ID=x\nVERSION_ID='12'\n");
        assert_eq!((os.id.as_str(), os.version.as_str(), os.pretty.as_str()), ("debian", "12", "Debian \"12\""));
        assert_eq!(Os::parse("ID=\"a\x1b[2J\"").id, "a\\u{1b}[2J");
        assert_eq!(Os::parse("garbage\n=\nID"), Os::default());
    }

    #[test]
    fn days() {
        assert_eq!(timestamp(0), "Thu 1970-01-01 00:00:00 UTC");
        assert_eq!(timestamp(1_795_723_542), "Thu 2026-11-26 20:05:42 UTC");
    }
}
