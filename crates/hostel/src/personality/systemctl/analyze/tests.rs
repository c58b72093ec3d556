#![allow(clippy::disallowed_macros)] // what a skipped or failed comparison says

use std::process::Command;

use hostel_unit::zone::Zone;

use super::boot::{Boot, Start, chain, longest, start, time_text};
use super::*;

fn words(list: &[&str]) -> Vec<OsString> {
    list.iter().map(OsString::from).collect()
}

fn unit(name: &str, activating: u64, activated: u64, after: &[&str]) -> Start {
    Start {
        name: name.into(),
        activating: Some(activating * 1000),
        activated: Some(activated * 1000),
        deactivating: None,
        deactivated: None,
        took: (activated - activating) * 1000,
        after: after.iter().map(|s| (*s).to_owned()).collect(),
    }
}

fn boot() -> Boot {
    Boot {
        finished: 1_600_000,
        units: vec![
            unit("multi.target", 1500, 1500, &["web.service", "db.service", "late.service", "basic.target"]),
            unit("web.service", 300, 1500, &["db.service", "basic.target"]),
            unit("db.service", 100, 299, &["basic.target"]),
            unit("basic.target", 100, 100, &["multi.target"]),
            unit("late.service", 1000, 2000, &[]),
        ],
    }
}

#[test]
fn the_critical_chain() {
    let text = chain(&boot(), "multi.target", 0);
    assert_eq!(
        text,
        "multi.target @1.500s\n└─web.service @300ms +1.200s\n  └─db.service @100ms +199ms\n    └─basic.target @100ms\n      └─multi.target @1.500s\n        └─...\n"
    );
    let text = chain(&boot(), "web.service", 250_000);
    assert!(text.contains("├─db.service @100ms +199ms\n│ └─basic.target @100ms\n"), "{text}");
    assert!(text.contains("\n└─basic.target @100ms\n  └─..."), "{text}");
}

#[test]
fn the_longest_first() {
    let boot = boot();
    let names: Vec<&str> = longest(&boot).iter().map(|unit| unit.name.as_str()).collect();
    assert_eq!(names, ["web.service", "late.service", "db.service"]);
}

#[test]
fn moments_of_a_record() {
    let record = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    let pairs = [
        ("Id", "a.service"),
        ("InactiveExitTimestamp", "1500"),
        ("ActiveEnterTimestamp", ""),
        ("InactiveEnterTimestamp", "1700"),
        ("After", "b.target c.target"),
    ];
    let found = start(&record(&pairs), 1000);
    // a oneshot that ended without having been up
    assert_eq!((found.activating, found.activated, found.deactivated, found.took), (Some(500), None, Some(700), 200));
    assert_eq!(found.after, ["b.target", "c.target"]);
    // before the manager began
    assert_eq!(start(&record(&[("Id", "a.mount"), ("ActiveEnterTimestamp", "900")]), 1000).activated, None);
}

#[test]
fn the_time_of_the_start() {
    let text = time_text(1_234_567, Some(("multi-user.target".into(), 1_200_000)));
    assert_eq!(text, "Startup finished in 1.234s (userspace) \nmulti-user.target reached after 1.200s in userspace.\n");
}

/// Every unit that began during the start has a bar inside the picture, and names are no markup.
#[test]
fn the_picture() {
    let mut boot = boot();
    boot.units[1].name = "a<b>&c.service".into();
    let svg = plot::picture(&boot, "box & co");
    assert!(svg.starts_with("<?xml") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("box &amp; co") && svg.contains("a&lt;b&gt;&amp;c.service (1.200s)"), "{svg}");
    assert_eq!(svg.matches("class=\"wait\"").count(), 5 + 1, "{svg}");
    // none is wider than the whole start
    for part in svg.split("x=\"").skip(1) {
        let x: u64 = part.split('"').next().and_then(|n| n.parse().ok()).unwrap();
        assert!(x <= 20 + 1200 + 4, "{part}");
    }
    // neither nothing nor very long is a problem
    for finished in [0, 1, 999, u64::MAX / 4000] {
        assert!(plot::picture(&Boot { finished, units: Vec::new() }, "").ends_with("</svg>\n"));
    }
}

#[test]
fn options_and_verbs() {
    let Ok(Parsed::Verb(asked, rest)) = parse(&words(&["--iterations=3", "calendar", "daily", "--fuzz", "1s", "--json=short", "--", "-x"])) else {
        panic!()
    };
    assert_eq!((asked.iterations, asked.fuzz, asked.json), (Some(3), 1_000_000, true));
    assert_eq!(rest, ["calendar", "daily", "-x"]);
    for (args, why) in [
        (&["--frob"][..], "unrecognized option '--frob'"),
        (&["--iterations"], "requires an argument"),
        (&["--iterations=0"], "Failed to parse iterations"),
        (&["--no-pager=1"], "doesn't allow an argument"),
        (&["--json=x"], "none of pretty"),
        (&["--man=no"], "doesn't allow an argument"),
    ] {
        let Err(said) = parse(&words(args)) else { panic!("{args:?}") };
        assert!(said.contains(why), "{said}");
    }
    let one = |list: &[&str]| dispatch(&Asked::default(), &list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
    assert_eq!(one(&["frob"]).unwrap_err(), "Unknown command verb frob.");
    assert_eq!(one(&["security"]).unwrap_err(), "Verb 'security' is not implemented yet.");
    assert_eq!(one(&["calendar"]).unwrap_err(), "Too few arguments.");
    assert_eq!(one(&["unit-paths", "x"]).unwrap_err(), "Too many arguments.");
    for option in [
        Asked { json: true, ..Asked::default() },
        Asked { iterations: Some(2), ..Asked::default() },
        Asked { root: Some("/".into()), ..Asked::default() },
    ] {
        assert!(dispatch(&option, &["dot".to_owned()]).unwrap_err().ends_with(" is not for 'dot'."));
    }
    assert!(MISSING.iter().all(|name| VERBS.iter().all(|row| row.0 != *name)));
}

/// What systemd's own says; `None` where it is not installed.
fn theirs(args: &[&str]) -> Option<(bool, String)> {
    let found = Command::new("systemd-analyze").args(args).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").output();
    match found {
        Ok(out) => Some((out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())),
        Err(_) => {
            eprintln!("skipped: systemd-analyze is not installed");
            None
        }
    }
}

#[test]
fn spans_are_read_as_systemd_reads_them() {
    for word in [
        "1h 30min",
        "5",
        "1.5s",
        "2 weeks",
        "1y 2month",
        "300ms",
        "7us",
        "infinity",
        "0",
        "1d1h",
        "90",
        "10x",
        "",
        "-1s",
        "1,5s",
        "3m",
        "2M",
        "1h -3s",
    ] {
        let Some((well, text)) = theirs(&["timespan", "--", word]) else { return };
        match values::span(word) {
            Err(_) => assert!(!well, "{word:?}: {text}"),
            Ok(found) => {
                assert!(well, "{word:?}");
                let (micros, human) = match found {
                    hostel_unit::Span::Micros(n) => (n.to_string(), hostel_unit::show_span(n, 1)),
                    hostel_unit::Span::Infinity => (u64::MAX.to_string(), "infinity".to_owned()),
                };
                let plain: Vec<&str> = text.lines().filter_map(|line| line.split_once(": ").map(|(_, value)| value)).collect();
                assert_eq!(plain, [word, &micros, &human], "{word:?}");
            }
        }
    }
}

#[test]
fn calendars_are_read_as_systemd_reads_them() {
    let root = hostel_init::root::Root::host().unwrap();
    for word in [
        "daily",
        "Mon *-*-* 00:00:00",
        "Mon..Fri *:0/15",
        "*-*-1 04:00",
        "2020-01-01",
        "quarterly",
        "Sat,Sun 12:00",
        "*-02-29",
        "hourly",
        "minutely",
        "*:*:*/7",
        "2037-12-31 23:59:59",
        "*-*~1 00:00",
        "blah",
        "25:00",
        "Mon-Fri",
        "*-13-01",
        "Fri *-*-13",
        "weekly",
        "yearly",
        "2099/5-1 1:2",
        "12..13:30",
    ] {
        // both look at the clock: the same second, or once more
        let same = (0..20).any(|_| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64);
            let Some((well, text)) = theirs(&["calendar", "--iterations=4", "--", word]) else { return true };
            let ours = values::one(&root, word, now, &Zone::UTC, 4);
            let same = match &ours {
                Ok(ours) => well && *ours == text,
                Err(_) => !well,
            };
            if !same {
                eprintln!("{word:?}: theirs {well}\n{text}ours\n{ours:?}");
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            same
        });
        assert!(same, "{word:?}");
    }
}
