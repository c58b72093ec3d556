//! How a unit's output becomes entries: SyslogIdentifier= and its like (systemd.exec(5)), and how many entries it may make.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hostel_unit::{Span, WordRules, words};

use crate::load::Settings;
use crate::value::Value;

/// As journald's RateLimitIntervalSec= and RateLimitBurst=.
pub const USUAL_RATE: Rate = Rate { interval: Duration::from_secs(30), burst: 10_000 };
/// Units whose entries are counted at a time.
const COUNTED_MAX: usize = 1024;

/// Names of levels, from 0.
pub const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
/// Names of facilities, from 0; some numbers have none.
#[rustfmt::skip]
pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "", "", "", "",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// A level by name or number.
pub fn level(text: &str) -> Option<u8> {
    LEVELS.iter().position(|name| *name == text).map(|at| at as u8).or_else(|| text.parse().ok().filter(|n| *n < 8))
}

/// A facility by name or number.
pub fn facility(text: &str) -> Option<u8> {
    FACILITIES.iter().position(|name| !name.is_empty() && *name == text).map(|at| at as u8).or_else(|| text.parse().ok().filter(|n| *n < 24))
}

/// At most so many entries in so long a time; none of either: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In which time.
    pub interval: Duration,
    /// How many.
    pub burst: u32,
}

/// One unit's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    /// SyslogIdentifier=; without it the program's name.
    pub identifier: Option<String>,
    /// SyslogFacility=
    pub facility: u8,
    /// SyslogLevel=
    pub level: u8,
    /// SyslogLevelPrefix=
    pub prefix: bool,
    /// LogLevelMax=
    pub most: u8,
    /// LogRateLimitIntervalSec= and LogRateLimitBurst=
    pub rate: Rate,
    /// LogExtraFields=
    pub extra: Vec<(String, String)>,
}

impl Default for Voice {
    fn default() -> Voice {
        Voice { identifier: None, facility: 3, level: 6, prefix: true, most: 7, rate: USUAL_RATE, extra: Vec::new() }
    }
}

impl Voice {
    /// Reads the settings of a service; values that are none are told by `complain` and passed over.
    pub fn of(s: &Settings, section: &str, complain: &mut dyn FnMut(String)) -> Voice {
        let mut voice = Voice { identifier: s.text(section, "SyslogIdentifier").filter(|t| !t.is_empty()).map(str::to_owned), ..Voice::default() };
        voice.prefix = s.bool(section, "SyslogLevelPrefix", true);
        let mut named = |key: &str, parse: fn(&str) -> Option<u8>, slot: &mut u8| {
            if let Some(text) = s.text(section, key) {
                match parse(text) {
                    Some(number) => *slot = number,
                    None => complain(format!("{key}={text}: it is no such name")),
                }
            }
        };
        named("SyslogFacility", facility, &mut voice.facility);
        named("SyslogLevel", level, &mut voice.level);
        named("LogLevelMax", level, &mut voice.most);
        if let Some(Value::Span(Span::Micros(micros))) = s.last(section, "LogRateLimitIntervalSec") {
            voice.rate.interval = Duration::from_micros(*micros);
        }
        if let Some(Value::Number(burst)) = s.last(section, "LogRateLimitBurst") {
            voice.rate.burst = u32::try_from(*burst).unwrap_or(0);
        }
        for setting in s.of(section, "LogExtraFields") {
            for word in words(setting.text(), WordRules::UNIT).unwrap_or_default() {
                match word.split_once('=').filter(|(name, _)| super::message::is_name(name.as_bytes())) {
                    Some((name, value)) => voice.extra.push((name.to_owned(), value.to_owned())),
                    None => complain(format!("LogExtraFields=: {word:?} is no field")),
                }
            }
        }
        voice
    }
}

/// Entries of one unit in its present interval.
#[derive(Debug, Clone, Copy)]
struct Count {
    since: Instant,
    given: u32,
    kept_back: u64,
}

/// Entries of all units.
#[derive(Debug, Default)]
pub struct Counts(BTreeMap<String, Count>);

/// What is to become of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It is kept; before that it is said how many were not, if any.
    Yes(u64),
    /// It is one too many.
    No,
}

impl Counts {
    /// Counts an entry.
    pub fn pass(&mut self, unit: &str, rate: Rate, now: Instant) -> Pass {
        if rate.burst == 0 || rate.interval.is_zero() {
            return Pass::Yes(0);
        }
        // memory is bounded, whoever writes
        if !self.0.contains_key(unit) {
            if self.0.len() >= COUNTED_MAX {
                self.0.clear();
            }
            self.0.insert(unit.to_owned(), Count { since: now, given: 1, kept_back: 0 });
            return Pass::Yes(0);
        }
        let Some(count) = self.0.get_mut(unit) else { return Pass::Yes(0) };
        if now.duration_since(count.since) >= rate.interval {
            let kept_back = count.kept_back;
            *count = Count { since: now, given: 1, kept_back: 0 };
            return Pass::Yes(kept_back);
        }
        if count.given < rate.burst {
            count.given += 1;
            return Pass::Yes(0);
        }
        count.kept_back += 1;
        Pass::No
    }

    /// Units of which something was kept back and not told of.
    pub fn untold(&self) -> Vec<String> {
        self.0.iter().filter(|(_, count)| count.kept_back > 0).map(|(unit, _)| unit.clone()).collect()
    }

    /// How many of a unit's entries were not kept and not told of; they count as told now.
    pub fn take(&mut self, unit: &str) -> u64 {
        self.0.get_mut(unit).map_or(0, |count| std::mem::take(&mut count.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn settings() {
        let tree = Tree::new("journal-voice");
        tree.unit(
            "a.service",
            "[Service]\nExecStart=/bin/a\nSyslogIdentifier=me\nSyslogFacility=local3\nSyslogLevel=debug\nSyslogLevelPrefix=no\nLogLevelMax=warning\n\
             LogRateLimitIntervalSec=2s\nLogRateLimitBurst=7\nLogExtraFields=A=1 \"B_2=x y\"\nLogExtraFields=lower=1\n",
        );
        let mut said = Vec::new();
        let voice = Voice::of(&tree.load("a.service").settings, "Service", &mut |text| said.push(text));
        let extra = vec![("A".to_owned(), "1".to_owned()), ("B_2".to_owned(), "x y".to_owned())];
        let rate = Rate { interval: Duration::from_secs(2), burst: 7 };
        assert_eq!(voice, Voice { identifier: Some("me".into()), facility: 19, level: 7, prefix: false, most: 4, rate, extra });
        assert_eq!(said, [r#"LogExtraFields=: "lower=1" is no field"#]);
        assert_eq!((level("3"), level("8"), level("x"), facility("kern"), facility("24"), facility("")), (Some(3), None, None, Some(0), None, None));
    }

    #[test]
    fn rates() {
        let (mut counts, start) = (Counts::default(), Instant::now());
        let rate = Rate { interval: Duration::from_secs(1), burst: 2 };
        let mut pass = |after: u64| counts.pass("a", rate, start + Duration::from_millis(after));
        assert_eq!([pass(0), pass(1), pass(2), pass(3)], [Pass::Yes(0), Pass::Yes(0), Pass::No, Pass::No]);
        assert_eq!([pass(1000), pass(1001), pass(1002)], [Pass::Yes(2), Pass::Yes(0), Pass::No]);
        assert_eq!(counts.untold(), ["a"]);
        assert_eq!((counts.take("a"), counts.take("a"), counts.take("b")), (1, 0, 0));
        assert!(counts.untold().is_empty());
        let free = Rate { interval: Duration::ZERO, burst: 2 };
        assert!((0..10).all(|_| counts.pass("c", free, start) == Pass::Yes(0)));
        for n in 0..3000 {
            counts.pass(&n.to_string(), rate, start);
        }
        assert!(counts.0.len() <= COUNTED_MAX);
    }
}
