//! Tables of good and malformed values for every parser.

use proptest::prelude::*;

use super::*;

#[test]
fn booleans() {
    for t in ["1", "yes", "Y", "TRUE", "t", "On"] {
        assert_eq!(boolean(t), Ok(true), "{t}");
    }
    for t in ["0", "no", "N", "False", "f", "OFF"] {
        assert_eq!(boolean(t), Ok(false), "{t}");
    }
    for t in ["", "2", "ye", "yes ", "enabled", "\u{0}", "10"] {
        assert!(boolean(t).is_err(), "{t:?}");
    }
}

#[test]
fn numbers() {
    for (t, n) in [("0", 0), ("+7", 7), ("0x10", 16), ("010", 8), ("0b11", 3), ("0o17", 15), ("18446744073709551615", u64::MAX)] {
        assert_eq!(unsigned(t), Ok(n), "{t}");
    }
    for t in ["", "-1", "+", "0x", "08", "1 ", " 1", "1.0", "18446744073709551616", "++1", "0x-1", "١"] {
        assert!(unsigned(t).is_err(), "{t:?}");
    }
    for (t, n) in [("-1000", -1000), ("+3", 3), ("-0x10", -16), ("-9223372036854775808", i64::MIN), ("9223372036854775807", i64::MAX)] {
        assert_eq!(integer(t), Ok(n), "{t}");
    }
    for t in ["", "-", "--1", "-+1", "9223372036854775808", "-9223372036854775809"] {
        assert!(integer(t).is_err(), "{t:?}");
    }
}

#[test]
fn sizes() {
    for (t, n) in [
        ("0", 0),
        ("17", 17),
        ("17B", 17),
        ("1K", 1024),
        ("1.5G", 3 << 29),
        ("1G 512M", 3 << 29),
        ("1G512M", 3 << 29),
        (" 2M ", 2 << 20),
        ("4T", 4 << 40),
        ("1P", 1 << 50),
        ("15E", 15 << 60),
        ("0.5K", 512),
        ("2.K", 2048),
        ("1.0000000000000000000000001K", 1024),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(size(t), Ok(n), "{t}");
    }
    for t in ["", " ", "-1", "x", "1k", "1KB", "1M1G", "1 1", "16E", "1.5.5", "99999999999999999999", "infinity", "K", ".5K", "1G 1G", "1٣"] {
        assert!(size(t).is_err(), "{t:?}");
    }
    for (n, t) in [(0, "0B"), (17, "17B"), (1024, "1K"), (3 << 29, "1.5G"), (u64::MAX, "15.9E"), (1023, "1023B")] {
        assert_eq!(show_size(n), t);
    }
}

#[test]
fn spans() {
    for (t, us) in [
        ("90", 90_000_000),
        ("1min 30s", 90_000_000),
        ("1min30s", 90_000_000),
        ("500ms", 500_000),
        ("2.5h", 9_000_000_000),
        ("7us", 7),
        ("7µs", 7),
        ("7μs", 7),
        ("1M", 2_629_800_000_000),
        ("1m", 60_000_000),
        ("1 week", 604_800_000_000),
        ("0", 0),
        ("1y", 31_557_600_000_000),
        (".5s", 500_000),
        ("30s 1min", 90_000_000),
        (" 5 ", 5_000_000),
    ] {
        assert_eq!(time_span(t, TimeUnit::Seconds), Ok(Span::Micros(us)), "{t}");
    }
    assert_eq!(time_span("infinity", TimeUnit::Seconds), Ok(Span::Infinity));
    assert_eq!(time_span("5", TimeUnit::Micros), Ok(Span::Micros(5)));
    assert_eq!(time_span("5", TimeUnit::Millis), Ok(Span::Micros(5000)));
    for t in ["", " ", "-1", "1min -5s", "s", "1.1.1s", "5 parsecs", "1S", "99999999y", "1s,2s", "."] {
        assert!(time_span(t, TimeUnit::Seconds).is_err(), "{t:?}");
    }
}

#[test]
fn shares() {
    for (t, n) in [("0%", 0), ("100%", 10_000), ("50%", 5_000), ("12.5%", 1_250), ("0.25%", 25), ("3‰", 30), ("3.5‰", 35), ("7‱", 7)] {
        assert_eq!(permyriad(t), Ok(n), "{t}");
    }
    assert_eq!(percent_unbounded("250%"), Ok(25_000));
    for t in ["", "%", "50", "101%", "-1%", "1.%", ".5%", "1.234%", "1.1‱", "99999999999%", "50 %", "5%%"] {
        assert!(permyriad(t).is_err(), "{t:?}");
    }
}

#[test]
fn cpu_lists() {
    for (t, v) in [("", vec![]), ("0", vec![0]), ("0-3,5", vec![0, 1, 2, 3, 5]), ("5 1,1-2", vec![1, 2, 5]), (",3,", vec![3]), ("8191", vec![8191])] {
        assert_eq!(cpu_list(t), Ok(v), "{t}");
    }
    for t in ["x", "3-1", "8192", "1-", "-1", "1-2-3", "0-99999999", "+1", "4294967296"] {
        assert!(cpu_list(t).is_err(), "{t:?}");
    }
    assert_eq!(show_cpus(&[0, 1, 2, 3, 5, 7, 8]), "0-3,5,7-8");
    assert_eq!(show_cpus(&[]), "");
}

#[test]
fn word_splitting() {
    let unit = |t| words(t, WordRules::UNIT);
    for (t, v) in [
        ("", vec![]),
        ("  ", vec![]),
        ("a b", vec!["a", "b"]),
        ("  a\tb\n", vec!["a", "b"]),
        (r#"a "b c" 'd e'"#, vec!["a", "b c", "d e"]),
        (r#""""#, vec![""]),
        (r#"a"b c"d"#, vec!["ab cd"]),
        (r"a\x20b", vec!["a b"]),
        (r"\u00e4", vec!["ä"]),
        (r"'a\'b'", vec!["a'b"]),
        (r"a\sb", vec!["a b"]),
        (r"\101", vec!["A"]),
    ] {
        assert_eq!(unit(t).unwrap(), v, "{t}");
    }
    for t in ["\"a", "'a", r"\q", r"\x4", r"\", r"\x00", r"\xff", r"\ud800", "\\xä", "\\u00ä"] {
        assert!(unit(t).is_err(), "{t:?}");
    }
    let paths = |t| words(t, WordRules::PATHS);
    for (t, v) in [
        ("", vec![""]),
        ("/a", vec!["/a"]),
        ("/a:/b", vec!["/a", "/b"]),
        ("/a:", vec!["/a", ""]),
        (":/b", vec!["", "/b"]),
        (r"/a\:b:/c", vec!["/a:b", "/c"]),
        ("::", vec!["", "", ""]),
        (r"/a\\:/b", vec![r"/a\", "/b"]),
        (r#"/"a:b"#, vec![r#"/"a"#, "b"]),
    ] {
        assert_eq!(paths(t).unwrap(), v, "{t}");
    }
    assert!(paths(r"/a\").is_err());
    assert_eq!(words(",a,,b,", WordRules::COMMA).unwrap(), ["a", "b"]);
    assert_eq!(words(" a  b ", WordRules::SPACE).unwrap(), ["a", "b"]);
    // as systemd-nspawn 252 reads Environment= and Parameters=
    assert_eq!(words(r#"A=1 "B=x y" C=\n 'd'"e f" \"#, WordRules::STRINGS).unwrap(), ["A=1", "B=x y", r"C=\n", "de f", r"\"]);
    assert!(words(r#"A=1 "B"#, WordRules::STRINGS).is_err());
}

#[test]
fn specifiers() {
    let table = |c| match c {
        'i' => Ok(Some("web".to_owned())),
        'e' => Ok(Some(String::new())),
        'p' => Ok(Some("%i".to_owned())),
        'm' => Err("the host has no machine id"),
        _ => Ok(None),
    };
    for (text, expanded) in [
        ("", ""),
        ("plain", "plain"),
        ("/srv/%i", "/srv/web"),
        ("%i%i", "webweb"),
        ("a%eb", "ab"),
        ("100%%", "100%"),
        ("%%i", "%i"),
        // what a meaning says is not read again
        ("%p", "%i"),
        // nobody's specifiers stay
        ("50%", "50%"),
        ("%", "%"),
        ("%d %ä % i", "%d %ä % i"),
    ] {
        assert_eq!(specifier::expand(text, table).unwrap(), expanded, "{text}");
    }
    assert_eq!(specifier::expand("x%m", table).unwrap_err().to_string(), "parse specifiers x%m: the host has no machine id");
    let long = |_| Ok(Some("x".repeat(1000)));
    assert_eq!(specifier::expand(&"%i".repeat(2000), long).unwrap_err().why, "it becomes longer than 1 MiB");
}

#[test]
fn dropins_in_order() {
    let listing = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let etc = listing(&["50-b.conf", "10-a.conf", ".hidden.conf", "README", ".conf", "x.conf~"]);
    let run = listing(&["50-b.conf", "20-r.conf"]);
    let usr = listing(&["90-z.conf", "10-a.conf", "05-u.conf"]);
    let directories = [etc, run, usr];
    assert_eq!(dropin::order(&directories), [(2, "05-u.conf"), (0, "10-a.conf"), (1, "20-r.conf"), (0, "50-b.conf"), (2, "90-z.conf")]);
    assert_eq!(dropin::order::<String>(&[]), []);
}

#[test]
fn quoting_round_trips() {
    for t in ["", "a", "a b", "a\"b", "a\\b", "ä\n\t\x07", "$x `y` ;", "'", "\u{202e}x", "\u{7f}"] {
        assert_eq!(words(&quote(t), WordRules::UNIT).unwrap(), [t], "{t:?}");
        assert!(!quote(t).contains('\n'));
    }
    assert_eq!(quote("/usr/bin"), "/usr/bin");
    assert_eq!(unescape(r"a\nb").unwrap(), "a\nb");
    assert!(printable(&"ä".repeat(1000)).chars().count() < 130);
    assert_eq!(size("1 fortnight\n").unwrap_err().to_string(), "parse size \"1 fortnight\\n\": the unit is none of K, M, G, T, P, E");
}

/// Texts near what the parsers take.
fn near() -> impl Strategy<Value = String> {
    prop_oneof!["[0-9.KMGTPE +-]{0,12}", "[0-9.a-zµ ]{0,12}", "[0-9,-]{0,12}", r#"[\\"'xuU0-9a-f: ,ä]{0,16}"#, ".{0,20}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(text in near()) {
        let errors = [
            boolean(&text).err(), unsigned(&text).err(), integer(&text).err(), size(&text).err(), permyriad(&text).err(), percent_unbounded(&text).err(),
            time_span(&text, TimeUnit::Seconds).err(), cpu_list(&text).err(), unescape(&text).err(),
            words(&text, WordRules::UNIT).err(), words(&text, WordRules::PATHS).err(), words(&text, WordRules::COMMA).err(), words(&text, WordRules::SPACE).err(),
        ];
        for error in errors.into_iter().flatten() {
            prop_assert!(!error.to_string().chars().any(char::is_control));
        }
    }

    #[test]
    fn quoted_is_one_word(text in "[^\\x00]{0,30}") {
        prop_assert_eq!(words(&quote(&text), WordRules::UNIT).unwrap(), [text.as_str()]);
        prop_assert!(!quote(&text).chars().any(char::is_control));
    }

    #[test]
    fn shown_cpus_read_back(list in prop::collection::btree_set(0..CPU_MAX, 0..50)) {
        let list: Vec<u32> = list.into_iter().collect();
        prop_assert_eq!(cpu_list(&show_cpus(&list)).unwrap(), list);
    }

    #[test]
    fn whole_sizes_are_exact(n in any::<u64>()) {
        prop_assert_eq!(size(&n.to_string()).unwrap(), n);
        prop_assert!(size(&show_size(n)).unwrap() <= n);
    }

    #[test]
    fn text_without_percent_is_not_expanded(text in "[^%]{0,20}") {
        prop_assert_eq!(specifier::expand(&text, |_| Err("never asked")).unwrap(), text.as_str());
        // and doubled percent signs are the way to say one
        let doubled = text.replace('a', "%%");
        prop_assert_eq!(specifier::expand(&doubled, |_| Err("never asked")).unwrap(), text.replace('a', "%"));
    }
}

#[test]
fn escapes_as_bytes() {
    for (text, bytes) in [
        ("", &b""[..]),
        ("plain \u{e4}", "plain \u{e4}".as_bytes()),
        (r"a\nb\x00\xff\000\377", b"a\nb\0\xff\0\xff"),
        (r"\u00e4\\", "\u{e4}\\".as_bytes()),
    ] {
        assert_eq!(unescape_bytes(text).unwrap(), bytes, "{text}");
    }
    for text in ["\\", r"\q", r"\x1", r"\xgg", r"\777", r"\ud800"] {
        assert!(unescape_bytes(text).is_err(), "{text}");
    }
}

/// As systemd 252's `systemd-analyze timespan` says.
#[test]
fn spans_shown() {
    #[rustfmt::skip]
    let table = [(0, 1, "0"), (5, 1, "5us"), (1_500_000, 1, "1.500000s"), (100_000, 1, "100ms"), (90_000_000, 1, "1min 30s"), (90_500_000, 1, "1min 30.500000s"),
        (123_456, 1, "123.456ms"), (61_000_000, 1, "1min 1s"), (3_661_500_000, 1, "1h 1min 1.500000s"), (31_557_600_000_000, 1, "1y"),
        (1_500_000, 1_000, "1.500s"), (123_456, 1_000, "123ms"), (90_000_000, 1_000_000, "1min 30s")];
    for (micros, accuracy, text) in table {
        assert_eq!(show_span(micros, accuracy), text);
    }
}

#[test]
fn names_of_units() {
    for (text, kind, prefix, instance) in [
        ("a.service", Kind::Service, "a", None),
        ("getty@.service", Kind::Service, "getty", Some("")),
        ("getty@tty1.service", Kind::Service, "getty", Some("tty1")),
        ("a.b@c@d.e.socket", Kind::Socket, "a.b", Some("c@d.e")),
        ("-.mount", Kind::Mount, "-", None),
        (r"dev-disk-by\x2dlabel-x.swap", Kind::Swap, r"dev-disk-by\x2dlabel-x", None),
    ] {
        let name = UnitName::parse(text).unwrap();
        assert_eq!((name.kind(), name.prefix(), name.instance()), (kind, prefix, instance), "{text}");
    }
    for bad in ["", "a", ".service", "@x.service", "a.b", "a/b.service", "a b.service", "ä.service", &format!("{}.service", "a".repeat(250))] {
        assert!(UnitName::parse(bad).is_err(), "{bad}");
    }
    let instance = UnitName::parse("a-b-c@i.service").unwrap();
    assert_eq!(instance.template().unwrap().as_str(), "a-b-c@.service");
    assert_eq!(
        instance.dropin_names(),
        ["service", "a-@.service", "a-@i.service", "a-b-@.service", "a-b-@i.service", "a-b-c@.service", "a-b-c@i.service"]
    );
    assert_eq!(UnitName::parse("foo-bar.service").unwrap().dropin_names(), ["service", "foo-.service", "foo-bar.service"]);
    for (typed, name, escaped) in [
        ("a", "a.service", false),
        ("a.timer", "a.timer", false),
        ("/srv/my data", r"srv-my\x20data.mount", false),
        ("/dev/sda", "dev-sda.device", false),
        ("a*", r"a\x2a.service", true),
        ("a.b", "a.b.service", false),
        ("/", "-.mount", false),
    ] {
        let (found, was) = UnitName::mangle(typed, Kind::Service).unwrap();
        assert_eq!((found.as_str(), was), (name, escaped), "{typed}");
    }
}

/// As systemd-escape(1).
#[test]
fn names_escaped() {
    for (text, escaped) in [("Hallöchen, Meister", r"Hall\xc3\xb6chen\x2c\x20Meister"), ("a-b/c", r"a\x2db-c"), (".x", r"\x2ex"), ("", "")] {
        assert_eq!(escape_name(text), escaped);
        assert_eq!(unescape_name(escaped).unwrap(), text);
    }
    for (path, escaped) in [("/", "-"), ("//srv//web/", "srv-web"), ("/.x/-", r"\x2ex-\x2d"), ("/a/./b", "a-b")] {
        assert_eq!(escape_path(path).unwrap(), escaped);
    }
    assert_eq!(unescape_path("srv-web").unwrap(), "/srv/web");
    assert_eq!(unescape_path("-").unwrap(), "/");
    assert!(escape_path("/a/../b").is_err());
    for bad in ["a--b", r"\x2", r"\xzz", r"a\", r"\xff"] {
        assert!(unescape_path(bad).is_err(), "{bad}");
    }
    assert_eq!(exit_status("USAGE"), Ok(64));
    assert_eq!(exit_status("255"), Ok(255));
    assert_eq!(exit_status_name(203), Some("EXEC"));
    assert!(exit_status("256").is_err() && exit_status("usage").is_err());
}
