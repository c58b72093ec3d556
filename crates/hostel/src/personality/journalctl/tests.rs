use std::path::PathBuf;

use hostel_init::journal::record::Header;
use hostel_init::journal::store::Store;

use super::options::{Boot, Form};
use super::*;

fn parsed(words: &[&str]) -> Result<Options, String> {
    options::parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
}

#[test]
fn command_lines() {
    let o = parsed(&["-u", "a", "-fn5", "-p", "warning..err", "--since=-1h", "-o", "json", "_PID=1", "+", "A=b", "-rb-1", "--no-pager"]);
    assert!(o.is_err_and(|e| e.contains("--reverse or --follow")));
    let o = parsed(&["-u", "a", "-n", "5", "-p", "warning..err", "--since=-1h", "-ojson", "_PID=1", "+", "A=b", "-rb-1", "--no-pager"]).unwrap();
    assert_eq!((o.lines, o.priorities, o.form, o.reverse), (Some(Some(5)), 0b11000, Form::Json, true));
    assert_eq!((o.boot, o.matches.len()), (Some(Boot { id: None, offset: -1 }), 3));
    assert_eq!(parsed(&["-p3"]).unwrap().priorities, 0b1111);
    assert_eq!(parsed(&["-b"]).unwrap().boot, Some(Boot { id: None, offset: 0 }));
    assert_eq!(parsed(&["-b", "-2"]).unwrap().boot, Some(Boot { id: None, offset: -2 }));
    assert_eq!(parsed(&["-b", "all"]).unwrap().boot, None);
    let id = "0123456789abcdef0123456789abcdef";
    assert_eq!(parsed(&["--boot", &format!("{id}+1")]).unwrap().boot.map(|b| (b.id.is_some(), b.offset)), Some((true, 1)));
    assert_eq!((parsed(&["-n"]).unwrap().lines, parsed(&["-n", "all"]).unwrap().lines), (Some(Some(10)), Some(None)));
    assert_eq!(
        (parsed(&["-e"]).unwrap().count(), parsed(&["-f"]).unwrap().count(), parsed(&["-f", "--no-tail"]).unwrap().count()),
        (Some(1000), Some(10), None)
    );
    for (words, why) in [
        (&["--nope"][..], "unrecognized option '--nope'"),
        (&["-Z"], "invalid option -- 'Z'"),
        (&["--user"], "--user is not supported"),
        (&["-p", "bad"], "Unknown log level bad"),
        (&["-o", "bad"], "Unknown output format 'bad'."),
        (&["-n", "--utc=1"], "doesn't allow an argument"),
        (&["-nx"], "Failed to parse lines 'x'"),
        (&["-D", "a", "--root=b"], "at most one of"),
        (&["--since=1", "--cursor=x"], "only one of"),
        (&["-bx"], "Failed to parse boot descriptor 'x'"),
        (&["--vacuum-size=x"], "Failed to parse vacuum size"),
        (&["-u"], "requires an argument"),
        (&["--ca"], "ambiguous"),
    ] {
        assert!(parsed(words).is_err_and(|e| e.contains(why)), "{words:?}: {:?}", parsed(words));
    }
    for bad in [&["+"][..], &["A=b", "+"], &["A=b", "+", "+", "C=d"], &["nonsense"], &["=x"]] {
        assert!(Filter::of(&parsed(bad).unwrap()).is_err(), "{bad:?}");
    }
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A log of two boots.
fn scratch(name: &str) -> Scratch {
    let path = std::env::temp_dir().join(format!("hostel-journalctl-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    for boot in [1u8, 2] {
        let header = Header { machine: [9; 16], series: [boot; 16], host: "box".into() };
        let mut store = Store::open(&path, header, [boot; 16]).unwrap();
        for n in 0..10 {
            let (text, unit) = (format!("boot {boot} line {n}"), if n % 2 == 0 { "even.service" } else { "odd.service" });
            let priority = (n % 8).to_string();
            store.append(&[("MESSAGE", text.as_bytes()), ("PRIORITY", priority.as_bytes()), ("_SYSTEMD_UNIT", unit.as_bytes()), ("_PID", b"5")]);
        }
        store.append(&[("MESSAGE", b"Started even.service."), ("PRIORITY", b"6"), ("UNIT", b"even.service"), ("_PID", b"1")]);
        store.append(&[("MESSAGE", b"a lie"), ("UNIT", b"even.service"), ("_PID", b"7")]);
        store.flush();
    }
    Scratch(path)
}

fn shown(log: &Scratch, words: &[&str]) -> Vec<String> {
    let options = parsed(words).unwrap();
    let root = Root::open(&log.0).unwrap();
    let mut reader = Reader::open(&root, &["/".to_owned()]).unwrap();
    let filter = filter_of(&options, &mut reader, &Zone::UTC, false).unwrap();
    let show = Show { form: Form::Cat, ..show_of(&options, Zone::UTC) };
    let mut printer = Printer { show, out: Vec::new(), count: 0, cursor: None, wants_cursor: true, gone: false };
    walk(&options, &mut reader, &filter, &mut printer).unwrap();
    String::from_utf8(printer.out).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_is_wanted() {
    let log = scratch("filter");
    let count = |words: &[&str]| shown(&log, words).len();
    assert_eq!(count(&[]), 24);
    assert_eq!(shown(&log, &["-n", "2"]), ["Started even.service.", "a lie"]);
    assert_eq!(shown(&log, &["-rn1"]), ["a lie"]);
    assert_eq!(shown(&log, &["-b", "-n1", "-u", "odd"]), ["boot 2 line 9"]);
    assert_eq!(shown(&log, &["-b", "-1", "-n1", "-u", "odd.service"]), ["boot 1 line 9"]);
    assert_eq!((count(&["-b1"]), count(&["-b", "2"]), count(&["-b", "all"])), (12, 12, 24));
    // what somebody else says about a unit is not of it
    assert_eq!((count(&["-u", "even"]), count(&["-u", "even", "-u", "odd"]), count(&["-u", "*d.service"]), count(&["-u", "nope"])), (12, 22, 10, 0));
    assert_eq!((count(&["-p", "err"]), count(&["-p", "5..6"])), (12, 6));
    assert_eq!((count(&["-g", "LINE 3"]), count(&["-g", "Line"]), count(&["-g", "line [34]$"])), (0, 0, 4));
    assert_eq!((count(&["-g", "line 3"]), count(&["-g", "LINE 3", "--case-sensitive=no"])), (2, 2));
    assert_eq!(count(&["_PID=1"]), 2);
    assert_eq!(count(&["_PID=1", "_PID=7"]), 4);
    assert_eq!(count(&["_PID=5", "_SYSTEMD_UNIT=odd.service"]), 10);
    assert_eq!(count(&["_PID=5", "_SYSTEMD_UNIT=odd.service", "+", "_PID=1"]), 12);
    assert_eq!(count(&["_BOOT_ID=01010101010101010101010101010101"]), 12);
    assert_eq!((count(&["--since=-1h"]), count(&["--since=+1h"]), count(&["--until=-1h"]), count(&["-S", "today", "-n3"])), (24, 0, 0, 3));
    assert_eq!(shown(&log, &["-S", "-1h", "-n1"]), ["boot 1 line 0"]);
}

#[test]
fn cursors() {
    let log = scratch("cursor");
    let root = Root::open(&log.0).unwrap();
    let mut reader = Reader::open(&root, &["/".to_owned()]).unwrap();
    let mut all = Vec::new();
    reader
        .forward(&mut |found| {
            all.push(found.cursor());
            true
        })
        .unwrap();
    assert_eq!(all.len(), 24);
    for (at, cursor) in all.iter().enumerate() {
        assert_eq!(shown(&log, &["--cursor", cursor]).len(), 24 - at, "{cursor}");
        assert_eq!(shown(&log, &["--after-cursor", cursor]).len(), 23 - at);
    }
    assert!(Cursor::parse("s=1").is_none() && Cursor::parse("").is_none() && Cursor::parse("i=1;t=1;s=x").is_none());
}

#[test]
fn following() {
    let log = scratch("follow");
    let root = Root::open(&log.0).unwrap();
    let mut reader = Reader::open(&root, &["/".to_owned()]).unwrap();
    let mut tail = reader.tail().unwrap();
    let mut more = |reader: &mut Reader<'_>| {
        let mut found = Vec::new();
        tail.more(reader, &mut |entry| found.push(String::from_utf8_lossy(entry.get("MESSAGE").unwrap()).into_owned())).unwrap();
        found
    };
    assert!(more(&mut reader).is_empty());
    let header = Header { machine: [9; 16], series: [3; 16], host: "box".into() };
    let mut store = Store::open(&log.0, header, [2; 16]).unwrap();
    store.append(&[("MESSAGE", b"new file")]);
    store.flush();
    assert_eq!(more(&mut reader), ["new file"]);
    store.append(&[("MESSAGE", b"one")]);
    store.append(&[("MESSAGE", b"two")]);
    store.flush();
    assert_eq!(more(&mut reader), ["one", "two"]);
    store.append(&[("MESSAGE", b"before")]);
    store.rotate();
    store.append(&[("MESSAGE", b"after")]);
    store.flush();
    assert_eq!(more(&mut reader), ["before", "after"]);
    assert!(more(&mut reader).is_empty());
}
