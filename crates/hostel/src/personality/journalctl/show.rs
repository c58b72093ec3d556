//! Entries as text.

use std::fmt::Write as _;

use hostel_init::journal::json;
use hostel_init::journal::reader::{Found, hex};
use hostel_unit::zone::{Zone, civil};

use super::options::Form;

const SECOND: u64 = 1_000_000;
/// Longest value that is shown without --all.
const VALUE_MAX: usize = 4096;

/// How entries are shown.
#[derive(Debug)]
pub(crate) struct Show {
    pub(crate) form: Form,
    pub(crate) zone: Zone,
    pub(crate) host: bool,
    pub(crate) all: bool,
    /// Only these fields.
    pub(crate) fields: Vec<String>,
    pub(crate) color: bool,
    /// Columns; lines are cut there.
    pub(crate) width: Option<usize>,
    /// The boot of the entry before, and its time.
    pub(crate) last: Option<([u8; 16], u64)>,
    /// Without words between boots.
    pub(crate) quiet: bool,
}

/// A local time.
struct Clock {
    days: i64,
    seconds: u64,
    micros: u64,
    offset: i32,
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Clock {
    fn at(micros: u64, zone: &Zone) -> Clock {
        let unix = (micros / SECOND) as i64;
        let offset = zone.offset_at(unix);
        let local = unix + i64::from(offset);
        Clock { days: local.div_euclid(86_400), seconds: local.rem_euclid(86_400) as u64, micros: micros % SECOND, offset }
    }

    fn time(&self) -> String {
        format!("{:02}:{:02}:{:02}", self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60)
    }

    /// `+0100`
    fn offset(&self) -> String {
        let sign = if self.offset < 0 { '-' } else { '+' };
        format!("{sign}{:02}{:02}", self.offset.abs() / 3600, self.offset.abs() / 60 % 60)
    }

    /// `Nov 27`
    fn day(&self) -> String {
        let (_, month, day) = civil(self.days);
        format!("{} {day:02}", MONTHS.get(month as usize - 1).unwrap_or(&"?"))
    }

    /// `2026-11-27`
    fn date(&self) -> String {
        let (year, month, day) = civil(self.days);
        format!("{year:04}-{month:02}-{day:02}")
    }

    fn weekday(&self) -> &'static str {
        DAYS[(self.days + 3).rem_euclid(7) as usize]
    }

    fn zone(&self) -> String {
        if self.offset == 0 { "UTC".to_owned() } else { self.offset() }
    }
}

/// `Fri 2026-11-27 06:10:11 UTC`
pub(crate) fn full(micros: u64, zone: &Zone) -> String {
    let clock = Clock::at(micros, zone);
    format!("{} {} {} {}", clock.weekday(), clock.date(), clock.time(), clock.zone())
}

impl Show {
    /// Appends one entry.
    pub(crate) fn entry(&mut self, out: &mut Vec<u8>, found: &Found<'_>) {
        let boot = found.entry.stamp.boot;
        let is_short = !matches!(self.form, Form::Export | Form::Json | Form::JsonPretty | Form::JsonSse | Form::JsonSeq | Form::Cat);
        if is_short && !self.quiet && self.last.is_some_and(|(last, _)| last != boot) {
            out.extend_from_slice(format!("-- Boot {} --\n", hex(&boot)).as_bytes());
        }
        match self.form {
            Form::Verbose => self.verbose(out, found),
            Form::Export => self.export(out, found),
            Form::Json | Form::JsonPretty | Form::JsonSse | Form::JsonSeq => self.json(out, found),
            Form::Cat => self.cat(out, found),
            _ => self.short(out, found),
        }
        self.last = Some((boot, found.entry.stamp.monotonic));
    }

    fn stamp(&self, found: &Found<'_>) -> String {
        let stamp = found.entry.stamp;
        let clock = Clock::at(stamp.realtime, &self.zone);
        match self.form {
            Form::ShortFull | Form::WithUnit => full(stamp.realtime, &self.zone),
            Form::ShortIso => format!("{}T{}{}", clock.date(), clock.time(), clock.offset()),
            Form::ShortIsoPrecise => format!("{}T{}.{:06}{}", clock.date(), clock.time(), clock.micros, clock.offset()),
            Form::ShortPrecise => format!("{} {}.{:06}", clock.day(), clock.time(), clock.micros),
            Form::ShortUnix => format!("{}.{:06}", stamp.realtime / SECOND, stamp.realtime % SECOND),
            Form::ShortMonotonic => format!("[{:>5}.{:06}]", stamp.monotonic / SECOND, stamp.monotonic % SECOND),
            Form::ShortDelta => {
                let own = format!("[{:>5}.{:06}", stamp.monotonic / SECOND, stamp.monotonic % SECOND);
                match self.last.filter(|(boot, _)| *boot == stamp.boot).map(|(_, last)| stamp.monotonic.saturating_sub(last)) {
                    Some(delta) => format!("{own} <{:>5}.{:06} >]", delta / SECOND, delta % SECOND),
                    None => format!("{own}                ]"),
                }
            }
            _ => format!("{} {}", clock.day(), clock.time()),
        }
    }

    fn short(&self, out: &mut Vec<u8>, found: &Found<'_>) {
        let Some(message) = found.get("MESSAGE") else { return };
        let get = |name: &str| found.get(name).map(|v| crate::output::clean(&String::from_utf8_lossy(v)));
        let mut head = self.stamp(found);
        if self.host && !found.header.host.is_empty() {
            let _ = write!(head, " {}", crate::output::clean(&found.header.host));
        }
        let who = match self.form {
            Form::WithUnit => get("_SYSTEMD_UNIT"),
            _ => None,
        };
        let who = who.or_else(|| get("SYSLOG_IDENTIFIER")).or_else(|| get("_COMM")).unwrap_or_else(|| "unknown".to_owned());
        let _ = write!(head, " {who}");
        if let Some(pid) = get("_PID").or_else(|| get("SYSLOG_PID")) {
            let _ = write!(head, "[{pid}]");
        }
        head.push_str(": ");
        let indent = head.chars().count();
        let (on, off) = self.colors(get("PRIORITY").as_deref());
        let text = self.message(message);
        for (at, line) in text.split('\n').enumerate() {
            let begin = if at == 0 { head.clone() } else { " ".repeat(indent) };
            let line = match self.width.map(|width| width.saturating_sub(indent).max(10)) {
                Some(room) if line.chars().count() > room => line.chars().take(room - 1).chain(['…']).collect(),
                _ => line.to_owned(),
            };
            out.extend_from_slice(format!("{begin}{on}{line}{off}\n").as_bytes());
        }
    }

    /// What a terminal may show; what is no text is said to be none.
    fn message(&self, bytes: &[u8]) -> String {
        if self.all {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        let text = std::str::from_utf8(bytes).map(plain).ok().filter(|text| !text.chars().any(|c| c.is_control() && c != '\n'));
        text.unwrap_or_else(|| blob(bytes.len()))
    }

    fn colors(&self, priority: Option<&str>) -> (&'static str, &'static str) {
        let on = match priority.filter(|_| self.color).and_then(|p| p.parse::<u8>().ok()) {
            Some(0..=3) => "\x1b[0;1;31m",
            Some(4) => "\x1b[0;1;33m",
            Some(5) => "\x1b[0;1;39m",
            Some(7) => "\x1b[0;2m",
            _ => return ("", ""),
        };
        (on, "\x1b[0m")
    }

    fn wants(&self, name: &str) -> bool {
        self.fields.is_empty() || self.fields.iter().any(|field| field == name)
    }

    /// Its own fields, and those that follow from its file.
    fn fields<'f>(&self, found: &'f Found<'_>, derived: &'f [(&'static str, String)]) -> Vec<(&'f str, &'f [u8])> {
        let of_file = derived.iter().map(|(name, value)| (*name, value.as_bytes()));
        let own = found.entry.fields.iter().map(|(name, value)| (*name, *value));
        // addresses of the entry are always there
        of_file.chain(own).filter(|(name, _)| name.starts_with("__") || *name == "_BOOT_ID" || self.wants(name)).collect()
    }

    fn derived(found: &Found<'_>) -> Vec<(&'static str, String)> {
        let stamp = found.entry.stamp;
        let mut all = vec![
            ("__CURSOR", found.cursor()),
            ("__REALTIME_TIMESTAMP", stamp.realtime.to_string()),
            ("__MONOTONIC_TIMESTAMP", stamp.monotonic.to_string()),
            ("_BOOT_ID", hex(&stamp.boot)),
        ];
        if found.header.machine != [0; 16] {
            all.push(("_MACHINE_ID", hex(&found.header.machine)));
        }
        if !found.header.host.is_empty() {
            all.push(("_HOSTNAME", found.header.host.clone()));
        }
        all
    }

    fn verbose(&self, out: &mut Vec<u8>, found: &Found<'_>) {
        let clock = Clock::at(found.entry.stamp.realtime, &self.zone);
        let head = format!("{} {} {}.{:06} {} [{}]\n", clock.weekday(), clock.date(), clock.time(), clock.micros, clock.zone(), found.cursor());
        out.extend_from_slice(head.as_bytes());
        let derived = Self::derived(found);
        for (name, value) in self.fields(found, &derived).into_iter().filter(|(name, _)| !name.starts_with("__")) {
            let text = if value.len() > VALUE_MAX && !self.all { blob(value.len()) } else { self.message(value) };
            out.extend_from_slice(format!("    {name}={}\n", text.replace('\n', "\n        ")).as_bytes());
        }
    }

    fn export(&self, out: &mut Vec<u8>, found: &Found<'_>) {
        let derived = Self::derived(found);
        for (name, value) in self.fields(found, &derived) {
            out.extend_from_slice(name.as_bytes());
            let is_text = std::str::from_utf8(value).is_ok_and(|text| !text.chars().any(|c| c.is_control() && c != '\t'));
            if is_text {
                out.push(b'=');
            } else {
                out.push(b'\n');
                out.extend_from_slice(&(value.len() as u64).to_le_bytes());
            }
            out.extend_from_slice(value);
            out.push(b'\n');
        }
        out.push(b'\n');
    }

    fn json(&self, out: &mut Vec<u8>, found: &Found<'_>) {
        let derived = Self::derived(found);
        let mut text = String::new();
        json::object(&mut text, &self.fields(found, &derived), self.all, self.form == Form::JsonPretty);
        let (before, after): (&[u8], &[u8]) = match self.form {
            Form::JsonSse => (b"data: ", b"\n\n"),
            Form::JsonSeq => (b"\x1e", b"\n"),
            _ => (b"", b"\n"),
        };
        out.extend_from_slice(before);
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(after);
    }

    fn cat(&self, out: &mut Vec<u8>, found: &Found<'_>) {
        let names: Vec<&str> = if self.fields.is_empty() { vec!["MESSAGE"] } else { self.fields.iter().map(String::as_str).collect() };
        for name in names {
            let Some(value) = found.get(name) else { continue };
            if self.all {
                out.extend_from_slice(value);
            } else {
                out.extend_from_slice(self.message(value).as_bytes());
            }
            out.push(b'\n');
        }
    }
}

fn blob(length: usize) -> String {
    let size = if length < 1024 { format!("{length}B") } else { crate::output::bytes(length as u64) };
    format!("[{size} blob data]")
}

/// Tabulators as blanks, without colours and titles for terminals.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\t' => out.push_str("        "),
            '\r' if rest.peek().is_none_or(|next| *next == '\n') => {}
            '\x1b' if rest.peek() == Some(&'[') => {
                rest.next();
                while rest.next_if(|c| !('@'..='~').contains(c)).is_some() {}
                rest.next();
            }
            '\x1b' if rest.peek() == Some(&']') => {
                while rest.next_if(|c| *c != '\x07' && *c != '\x1b').is_some() {}
                if rest.next() == Some('\x1b') {
                    rest.next_if_eq(&'\\');
                }
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use hostel_init::journal::record::{Entry, Header, Stamp};

    use super::*;

    fn shown(form: Form, fields: &[(&str, &[u8])], change: impl FnOnce(&mut Show)) -> String {
        let header = Header { machine: [0xab; 16], series: [1; 16], host: "box".into() };
        let stamp = Stamp { realtime: 1_795_759_811_123_456, monotonic: 12_345_678, sequence: 10, boot: [2; 16] };
        let entry = Entry { stamp, crc: 0x77, fields: fields.to_vec() };
        let mut show = Show { form, zone: Zone::UTC, host: true, all: false, fields: vec![], color: false, width: None, last: None, quiet: false };
        change(&mut show);
        let mut out = Vec::new();
        show.entry(&mut out, &Found { entry, header: &header });
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn forms() {
        let fields: [(&str, &[u8]); 4] = [("PRIORITY", b"6"), ("MESSAGE", b"hello\nyou"), ("SYSLOG_IDENTIFIER", b"me"), ("_PID", b"7")];
        let short = |form| shown(form, &fields, |_| ());
        assert_eq!(short(Form::Short), "Nov 27 06:10:11 box me[7]: hello\n                           you\n");
        for (form, stamp) in [
            (Form::ShortFull, "Fri 2026-11-27 06:10:11 UTC"),
            (Form::ShortIso, "2026-11-27T06:10:11+0000"),
            (Form::ShortIsoPrecise, "2026-11-27T06:10:11.123456+0000"),
            (Form::ShortPrecise, "Nov 27 06:10:11.123456"),
            (Form::ShortUnix, "1795759811.123456"),
            (Form::ShortMonotonic, "[   12.345678]"),
            (Form::ShortDelta, "[   12.345678                ]"),
        ] {
            assert!(short(form).starts_with(&format!("{stamp} box me[7]: hello\n")), "{}", short(form));
        }
        assert_eq!(short(Form::Cat), "hello\nyou\n");
        let cursor = "s=01010101010101010101010101010101;i=a;b=02020202020202020202020202020202;m=bc614e;t=6613e61cbe440;x=77";
        let found = short(Form::Export);
        assert!(found.starts_with("__CURSOR=s=01010101010101010101010101010101;i=a;b=0202"), "{found}");
        assert!(found.contains("\nMESSAGE\n\x09\0\0\0\0\0\0\0hello\nyou\n") && found.ends_with("_PID=7\n\n"), "{found}");
        let _ = cursor;
        let found = short(Form::Json);
        assert!(found.contains(r#""MESSAGE":"hello\nyou""#) && found.ends_with("\"_PID\":\"7\"}\n"), "{found}");
        assert!(short(Form::JsonPretty).starts_with("{\n\t\"__CURSOR\" : \"s="));
        assert!(short(Form::JsonSse).starts_with("data: {") && short(Form::JsonSse).ends_with("}\n\n"));
        assert!(short(Form::JsonSeq).starts_with("\x1e{"));
        let found = short(Form::Verbose);
        assert!(found.starts_with("Fri 2026-11-27 06:10:11.123456 UTC [s=") && found.contains("\n    _PID=7\n") && !found.contains("__"), "{found}");
        assert_eq!(shown(Form::Json, &fields, |s| s.fields = vec!["_PID".into()]).matches("\":").count(), 5);
    }

    #[test]
    fn what_is_no_text() {
        let of = |message: &[u8], all: bool| shown(Form::Cat, &[("MESSAGE", message)], |s| s.all = all);
        assert_eq!(of(b"\x1b[31mred\x1b[0m\tx", false), "red        x\n");
        assert_eq!(of(b"\x1b]0;title\x07x\r", false), "x\n");
        assert_eq!(of(b"a\0b", false), "[3B blob data]\n");
        assert_eq!(of(b"\xff", false), "[1B blob data]\n");
        assert_eq!(of(b"\x1b[31mred", true), "\x1b[31mred\n");
        assert_eq!(shown(Form::Short, &[("PRIORITY", b"6")], |_| ()), "");
    }
}
