//! What units write and what is said of them: to the console, and to the store.
//!
//! One pipe per unit, which outlives its processes. Nobody waits here: what the console or the disk does not take is counted, and
//! told when it takes something again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use hostel_unit::UnitName;

use super::Manager;
use super::context::Context;
use super::world::Token;
use crate::journal::console::{Console, Form};
use crate::journal::lines::{Lines, level};
use crate::journal::record::Field;
use crate::journal::store::{Store, boot_id, own_header};
use crate::journal::voice::{Counts, Pass, Voice};
use crate::journal::{PERSISTENT, VOLATILE};

/// Bytes read of one unit before others have their turn.
const TURN: usize = 64 << 10;
/// The manager, as the writer of entries.
const OWN: &str = "init";
const SUPPRESSED: &str = "a596d6fe7bfa4994828e72309e95d61e";

/// A unit's pipe.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    lines: Lines,
}

impl Pipe {
    /// A fresh one; reading never blocks, writing does, as a full terminal would.
    pub fn new() -> std::io::Result<Pipe> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read, true)?;
        Ok(Pipe { read, write, lines: Lines::default() })
    }

    /// One that was made before.
    pub fn again(read: OwnedFd, write: OwnedFd) -> Pipe {
        Pipe { read, write, lines: Lines::default() }
    }

    /// The end that is given to processes.
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// `$JOURNAL_STREAM`: by this programs know that their output goes to a log.
    pub fn name(&self) -> Option<String> {
        rustix::fs::fstat(&self.write).ok().map(|s| format!("{}:{}", s.st_dev, s.st_ino))
    }

    /// Reads what is there, in whole lines; with `all` the unfinished last one, too.
    pub fn read(&mut self, all: bool, each: &mut dyn FnMut(&[u8])) {
        let mut buffer = [0u8; 4096];
        let mut taken = 0;
        while taken < TURN {
            let Ok(n) = rustix::io::read(&self.read, &mut buffer) else { break };
            if n == 0 {
                break;
            }
            taken += n;
            self.lines.push(buffer.get(..n).unwrap_or_default(), each);
        }
        if all {
            self.lines.finish(each);
        }
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

/// Whose an entry is.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The unit; empty: of none.
    pub unit: &'a str,
    /// Its present life.
    pub invocation: &'a str,
    /// The process, as far as it is known.
    pub pid: Option<i32>,
    /// Its user and group, when the kernel told them.
    pub ids: Option<(u32, u32)>,
    /// The unit's settings.
    pub voice: &'a Voice,
    /// `_TRANSPORT`
    pub transport: &'static str,
    /// It goes to the console even when others do not.
    pub to_console: bool,
}

/// What /proc says of a process.
#[derive(Debug, Default)]
struct Facts {
    pid: i32,
    ids: Option<(u32, u32)>,
    comm: String,
    exe: String,
    group: String,
}

impl Facts {
    fn of(pid: i32) -> Facts {
        let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let status = read("status");
        let id = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)?.split_whitespace().nth(1)?.parse().ok());
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).map_or_else(|_| String::new(), |p| p.to_string_lossy().into_owned());
        let group = read("cgroup").lines().find_map(|l| l.strip_prefix("0::")).unwrap_or_default().to_owned();
        Facts { pid, ids: id("Uid:").zip(id("Gid:")), comm: read("comm").trim_end().to_owned(), exe, group }
    }
}

/// All of it.
#[derive(Debug, Default)]
pub struct Log {
    store: Option<Store>,
    /// Where PID 1 writes.
    pub console: Console,
    counts: Counts,
    /// Of the last process, until the end of the turn.
    facts: Option<Facts>,
    /// Of this process.
    own_facts: Option<Facts>,
    /// Entries that no store took, by why.
    lost: u64,
    /// Programs may use the sockets.
    pub has_sockets: bool,
}

impl Log {
    /// Finds a place for the store: where journald's would be, or what can be written.
    pub fn open() -> Log {
        let mut places = Vec::new();
        if Path::new("/var/log/journal").is_dir() {
            places.push(PERSISTENT.to_owned());
        }
        places.push(VOLATILE.to_owned());
        places.extend(crate::control::directories().into_iter().map(|directory| format!("{directory}/journal")));
        let boot = boot_id();
        let store = places.iter().find_map(|place| Store::open(Path::new(place), own_header(), boot).ok());
        Log { store, console: Console::open(), ..Log::default() }
    }

    /// The next entry goes to a new file.
    pub fn rotate(&mut self) {
        if let Some(store) = &mut self.store {
            store.rotate();
        }
    }

    /// A line that a unit wrote. Never blocks, and never fails: what cannot be kept is counted.
    pub fn line(&mut self, origin: &Origin<'_>, identifier: &str, line: &[u8]) {
        let (found, text) = if origin.voice.prefix { level(line) } else { (None, line) };
        let (level, facility) = (found.unwrap_or(origin.voice.level).to_string(), origin.voice.facility.to_string());
        let fields: [Field<'_>; 4] = [
            ("PRIORITY", level.as_bytes()),
            ("SYSLOG_FACILITY", facility.as_bytes()),
            ("SYSLOG_IDENTIFIER", identifier.as_bytes()),
            ("MESSAGE", text),
        ];
        self.entry(origin, &fields);
    }

    /// An entry of somebody else's.
    pub fn entry(&mut self, origin: &Origin<'_>, fields: &[Field<'_>]) {
        let priority =
            fields.iter().find(|(name, _)| *name == "PRIORITY").and_then(|(_, value)| value.first()).map_or(6, |digit| digit.wrapping_sub(b'0'));
        if priority > origin.voice.most {
            return;
        }
        match self.counts.pass(origin.unit, origin.voice.rate, Instant::now()) {
            Pass::No => return,
            Pass::Yes(0) => {}
            Pass::Yes(lost) => self.suppressed(origin.unit, lost),
        }
        self.keep(origin, fields, true);
    }

    fn suppressed(&mut self, unit: &str, lost: u64) {
        let who = if unit.is_empty() { "processes of no unit" } else { unit };
        self.own_entry(
            Some(unit).filter(|u| !u.is_empty()),
            &format!("Suppressed {lost} messages from {who}"),
            4,
            &[("MESSAGE_ID", SUPPRESSED.as_bytes())],
            true,
        );
    }

    /// What was kept back of a unit is told now.
    pub fn settle(&mut self, unit: &str) {
        match self.counts.take(unit) {
            0 => {}
            lost => self.suppressed(unit, lost),
        }
    }

    /// The same of every unit.
    pub fn settle_all(&mut self) {
        self.counts.untold().iter().for_each(|unit| self.settle(unit));
    }

    /// Entries that no store, and lines that no console took, and of which nobody was told: for the program that goes on.
    pub fn untold(&self) -> [u64; 2] {
        [self.lost, self.console.untold()]
    }

    /// Those of the program that was here before.
    pub fn add_untold(&mut self, [entries, lines]: [u64; 2]) {
        self.lost += entries;
        self.console.dropped += lines;
    }

    /// A line of the manager itself, about a unit or not.
    pub fn own(&mut self, unit: Option<&str>, text: &str) {
        let id = match text {
            t if t.starts_with("Failed with result") => "d9b373ed55a64feb8242e02dbe79a49c",
            t if t.starts_with("Main process exited") => "98e322203f7a4ed290d09fe03c09fe15",
            t if t.starts_with("Scheduled restart job") => "5eb03494b6584870a536b337290809b3",
            _ => "",
        };
        let priority = if text.starts_with("Scheduled") {
            6
        } else if text.starts_with("Main process exited") {
            5
        } else {
            4
        };
        let fields: &[Field<'_>] = if id.is_empty() { &[] } else { &[("MESSAGE_ID", id.as_bytes())] };
        match unit {
            Some(name) => self.own_entry(unit, &format!("{name}: {text}"), priority, fields, true),
            None => {
                // about the machine as a whole: it is said whatever the form
                if self.console.form == Form::Nothing {
                    self.console.lines(OWN, text);
                }
                self.own_entry(None, text, priority, fields, true);
            }
        }
    }

    /// An entry of the manager's; quiet ones do not go to the console as lines.
    pub fn own_entry(&mut self, unit: Option<&str>, text: &str, priority: u8, more: &[Field<'_>], loud: bool) {
        let voice = Voice::default();
        let priority = priority.to_string();
        let mut fields: Vec<Field<'_>> =
            vec![("PRIORITY", priority.as_bytes()), ("SYSLOG_FACILITY", b"3"), ("SYSLOG_IDENTIFIER", OWN.as_bytes()), ("MESSAGE", text.as_bytes())];
        fields.extend(unit.map(|unit| ("UNIT", unit.as_bytes())));
        fields.extend_from_slice(more);
        let pid = Some(std::process::id() as i32);
        let origin = Origin { unit: "", invocation: "", pid, ids: None, voice: &voice, transport: "journal", to_console: false };
        self.keep(&origin, &fields, loud);
    }

    fn keep(&mut self, origin: &Origin<'_>, own: &[Field<'_>], loud: bool) {
        let is_own = origin.pid == Some(std::process::id() as i32);
        // our own do not change
        let slot = if is_own { &mut self.own_facts } else { &mut self.facts };
        if let Some(pid) = origin.pid.filter(|pid| slot.as_ref().is_none_or(|facts| facts.pid != *pid)) {
            *slot = Some(Facts::of(pid));
        }
        let facts = slot.take_if(|facts| Some(facts.pid) == origin.pid);
        let (pid, ids) = (origin.pid.map(|pid| pid.to_string()), origin.ids.or(facts.as_ref().and_then(|f| f.ids)));
        let ids = ids.map(|(uid, gid)| (uid.to_string(), gid.to_string()));
        let mut fields: Vec<Field<'_>> = Vec::with_capacity(own.len() + 12);
        fields.extend_from_slice(own);
        fields.push(("_TRANSPORT", origin.transport.as_bytes()));
        fields.extend(pid.as_ref().map(|pid| ("_PID", pid.as_bytes())));
        if let Some((uid, gid)) = &ids {
            fields.extend([("_UID", uid.as_bytes()), ("_GID", gid.as_bytes())]);
        }
        if let Some(facts) = &facts {
            let all = [("_COMM", &facts.comm), ("_EXE", &facts.exe), ("_SYSTEMD_CGROUP", &facts.group)];
            fields.extend(all.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, value.as_bytes())));
        }
        let unit = if is_own { "init.scope" } else { origin.unit };
        if !unit.is_empty() {
            fields.push(("_SYSTEMD_UNIT", unit.as_bytes()));
            // the last part of its group's path that is one
            let path = facts.as_ref().map_or("", |facts| facts.group.as_str());
            let slice = path.split('/').rev().find(|part| part.ends_with(".slice")).filter(|_| !is_own);
            let slice = slice.unwrap_or(if is_own { "-.slice" } else { "system.slice" }).as_bytes();
            fields.push(("_SYSTEMD_SLICE", slice));
        }
        if !origin.invocation.is_empty() {
            fields.push(("_SYSTEMD_INVOCATION_ID", origin.invocation.as_bytes()));
        }
        fields.extend(origin.voice.extra.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        match self.console.form {
            Form::Json => self.json(&fields),
            Form::Lines if loud => self.lines(origin, &fields, is_own),
            Form::Nothing if origin.to_console => self.lines(origin, &fields, is_own),
            _ => {}
        }
        match &mut self.store {
            Some(store) => store.append(&fields),
            None => self.lost += 1,
        }
        if facts.is_some() {
            *(if is_own { &mut self.own_facts } else { &mut self.facts }) = facts;
        }
    }

    fn json(&mut self, fields: &[Field<'_>]) {
        let now = crate::journal::store::realtime().to_string();
        let mut all = vec![("__REALTIME_TIMESTAMP", now.as_bytes())];
        all.extend_from_slice(fields);
        self.console.object(&all);
    }

    /// The name before a line is the unit's, or that which it chose.
    fn lines(&mut self, origin: &Origin<'_>, fields: &[Field<'_>], is_own: bool) {
        let get = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| String::from_utf8_lossy(value));
        let stem = origin.unit.rsplit_once('.').map_or(origin.unit, |(stem, _)| stem);
        let name = match &origin.voice.identifier {
            Some(name) => name.clone(),
            None if !stem.is_empty() => stem.to_owned(),
            None => get("SYSLOG_IDENTIFIER").or_else(|| get("_COMM")).unwrap_or_default().into_owned(),
        };
        let who = match origin.pid {
            Some(pid) if !is_own => format!("{name}[{pid}]"),
            _ => name,
        };
        self.console.lines(&who, &get("MESSAGE").unwrap_or_default());
    }

    /// Writes what was gathered; at the end of every turn.
    pub fn flush(&mut self) {
        self.facts = None;
        if let Some(store) = &mut self.store {
            store.flush();
            let dropped = std::mem::take(&mut store.dropped);
            if dropped > 0 {
                self.lost += dropped;
            }
            // told once the disk takes something again
            if dropped == 0 && self.lost > 0 {
                let text =
                    format!("{} entries were dropped: they could not be written to {}", std::mem::take(&mut self.lost), store.directory().display());
                self.own_entry(None, &text, 4, &[], true);
                if let Some(store) = &mut self.store {
                    store.flush();
                    self.lost += std::mem::take(&mut store.dropped);
                }
            }
        }
        self.console.flush();
    }

    /// Where the log is, and what was lost since that was told last, for `status`.
    pub fn way(&self) -> String {
        let place =
            self.store.as_ref().map_or_else(|| "kept nowhere: no directory can be written".to_owned(), |s| s.directory().display().to_string());
        if self.lost > 0 { format!("{place}; {} entries could not be written", self.lost) } else { place }
    }
}

impl Manager {
    /// What of the log goes to the console.
    pub fn set_console(&mut self, form: Form) {
        self.shared.log.console.form = form;
    }

    /// Programs find journald's sockets here: they are told that their output goes to a log.
    pub fn has_log_sockets(&mut self) {
        self.shared.log.has_sockets = true;
    }

    /// Reads what a unit wrote; with `all` the unfinished last line, too.
    pub(super) fn output(&mut self, number: u32, all: bool) {
        let Some(live) = self.units.values_mut().find(|live| live.rest.number == number) else { return };
        let service = live.service.as_deref();
        let pid = service.and_then(|s| s.main.or(s.control).or(s.main_run.map(|run| run.pid)));
        let Some(context) = &live.rest.context else { return };
        let program = service.and_then(|s| s.config.commands(super::config::Step::Start).first()).map(|command| command.program.as_str());
        let identifier = identifier(context, program, &live.rest.unit.name);
        let log = &mut self.shared.log;
        let marks = &live.rest.marks;
        let origin = Origin {
            unit: &marks.unit,
            invocation: &marks.invocation,
            pid,
            ids: None,
            voice: &context.voice,
            transport: "stdout",
            to_console: context.also_console,
        };
        if let Some(pipe) = &mut live.rest.pipe {
            pipe.read(all, &mut |line| log.line(&origin, &identifier, line));
        }
    }

    /// Takes an entry that came by a socket.
    pub(crate) fn take_entry(&mut self, from: &Sender, fields: &[Field<'_>]) {
        let usual = Voice::default();
        let unit = from.unit.as_ref().or(from.named.as_ref()).and_then(|name| self.units.get(name));
        let (name, invocation, voice) = match unit {
            Some(live) => {
                (live.rest.marks.unit.as_str(), live.rest.marks.invocation.as_str(), live.rest.context.as_ref().map_or(&usual, |c| &c.voice))
            }
            None => (from.named.as_ref().map_or("", UnitName::as_str), "", &usual),
        };
        let origin = Origin {
            unit: name,
            invocation,
            pid: Some(from.pid).filter(|pid| *pid > 0),
            ids: Some((from.uid, from.gid)),
            voice,
            transport: from.transport,
            to_console: from.to_console,
        };
        self.shared.log.entry(&origin, fields);
    }

    /// Writes what was gathered in this turn.
    pub(super) fn flush_log(&mut self) {
        let log = &mut self.shared.log;
        log.flush();
        let interest = if log.console.is_waiting() { hostel_process::event::Interest::WRITE } else { hostel_process::event::Interest::NONE };
        // a console that cannot be waited for is tried again in the next turn
        let _ = self.shared.poller.want(Token::Console, log.console.descriptor(), interest);
    }

    /// Says what is left to say, for a moment; the manager ends.
    pub fn close_log(&mut self) {
        self.shared.log.flush();
        for _ in 0..20 {
            if !self.shared.log.console.is_waiting() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
            self.shared.log.console.flush();
        }
    }
}

/// Who sent an entry.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The process; 0: it is not seen from here.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The unit it belongs to.
    pub unit: Option<UnitName>,
    /// The unit that it says, and may say.
    pub named: Option<UnitName>,
    /// `_TRANSPORT`
    pub transport: &'static str,
    /// It asked for the console, too.
    pub to_console: bool,
}

/// SYSLOG_IDENTIFIER of a unit's lines: what it says, or its program's name.
fn identifier(context: &Context, program: Option<&str>, name: &UnitName) -> String {
    let program = program.and_then(|path| path.rsplit('/').next()).filter(|base| !base.is_empty());
    context.voice.identifier.clone().unwrap_or_else(|| program.unwrap_or(name.stem()).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_give_lines() {
        let mut pipe = Pipe::new().unwrap();
        let mut lines = |bytes: &[u8], all: bool| {
            rustix::io::write(pipe.writer(), bytes).unwrap();
            let mut found = Vec::new();
            pipe.read(all, &mut |line| found.push(String::from_utf8_lossy(line).into_owned()));
            found
        };
        assert_eq!(lines(b"one\ntw", false), ["one"]);
        assert_eq!(lines(b"o\n\nthree", false), ["two", ""]);
        assert_eq!(lines(b"", true), ["three"]);
        assert!(pipe.name().unwrap().contains(':'));
    }
}
