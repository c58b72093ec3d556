use super::*;

#[test]
fn words() {
    assert_eq!(duration(59), "59s");
    assert_eq!(duration(3700), "1h 1min");
    assert_eq!(duration(90_000), "1d 1h");
    assert_eq!(bytes(1536), "1.5K");
    assert_eq!(bytes(10), "10B");
    assert_eq!(bytes(u64::MAX), "16777216.0T");
}

#[test]
fn dates() {
    for (seconds, want) in [
        (0, "1970-01-01 00:00:00 UTC"),
        (951_782_400, "2000-02-29 00:00:00 UTC"),
        (951_868_800, "2000-03-01 00:00:00 UTC"),
        (1_795_233_038, "2026-11-21 03:50:38 UTC"),
        (4_107_542_399, "2100-02-28 23:59:59 UTC"),
        (4_107_542_400, "2100-03-01 00:00:00 UTC"),
    ] {
        assert_eq!(date(seconds), want);
    }
    date(u64::MAX / 2);
}

#[test]
fn tables_fit() {
    let rows = [vec!["xx".to_string(), "y".into()]];
    assert_eq!(table_within(&["A", "B"], &rows, None), "A   B\nxx  y\n");
    let long = [vec!["n".repeat(64), "running".into(), "/var/lib/machines/debian".into()]];
    for limit in [30, 40, 60, 80, 200] {
        let text = table_within(&["NAME", "STATE", "TREE"], &long, Some(limit));
        assert!(text.lines().all(|l| l.chars().count() <= limit), "{limit}: {text}");
        assert!(text.contains("running"), "{limit}: short cells stay whole: {text}");
    }
    // Too narrow for anything: columns keep a width at which they say something.
    assert!(table_within(&["NAME", "STATE", "TREE"], &long, Some(5)).contains("nnnnnn…"));
    // Rows of the wrong length are no reason to fall over.
    table_within(&["A"], &[vec!["1".into(), "2".into()], vec![]], Some(3));
}

#[test]
fn nothing_hidden() {
    assert_eq!(clean("a\x1b[31mb\nc\u{202e}d"), "a\\u{1b}[31mb\\nc\\u{202e}d");
    assert_eq!(clean("größer"), "größer");
}

#[test]
fn lines_wrap() {
    assert_eq!(wrap("aa bb cc", 2, 7), "aa bb\n  cc");
    assert_eq!(wrap("longerthanthat b", 1, 5), "longerthanthat\n b");
    assert_eq!(wrap("", 1, 5), "");
}

/// What goes in, what comes out.
const SEQUENCES: [(&str, &str); 16] = [
    ("plain\r\n\ttext", "plain\r\n\ttext"),
    ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
    ("\x1b[38:2::1:2:3mx", "\x1b[38:2::1:2:3mx"),
    ("\x1b[2J\x1b[Hhome", "home"),
    ("\x1b[?1049hx", "x"),
    ("\x1b[>4;2mx", "x"),
    ("\x1b]0;title\x07x", "x"),
    ("\x1b]52;c;ZXZpbA==\x1b\\x", "x"),
    ("\x1bP+q544e\x1b\\x", "x"),
    ("\x1b(0x", "x"),
    ("\x1bcx", "x"),
    ("a\x08b\x07c\x00d\x7fe", "abcde"),
    ("\u{9b}31mx", "31mx"),
    ("\u{a0}é", "\u{a0}é"),
    ("\x1b]0;\x1b[31mx", "\x1b[31mx"),
    ("\x1b[3\x181mx", "1mx"),
];

#[test]
fn terminals_are_not_commanded() {
    for (given, want) in SEQUENCES {
        let whole = Tame::default().filter(given.as_bytes());
        assert_eq!(String::from_utf8_lossy(&whole), want, "{given:?}");
        // Cut anywhere, the same.
        for cut in 0..given.len() {
            let mut tame = Tame::default();
            let mut parts = tame.filter(&given.as_bytes()[..cut]);
            parts.extend(tame.filter(&given.as_bytes()[cut..]));
            assert_eq!(parts, whole, "{given:?} cut at {cut}");
        }
    }
    assert_eq!(Tame::default().end(), b"");
    let mut long = Tame::default();
    assert_eq!(long.filter(format!("\x1b[{}mx", "1;".repeat(500)).as_bytes()), b"x");
}

#[test]
fn pretty_json_is_that_of_serde_json() {
    let odd = r#"x{,:}"[] \\"#;
    let value = serde_json::json!({"a": [], "b": {}, "c": [1, [2, {"d": odd}]], "e": {"f": null, "g": [true, -1.5]}, "h:": "e"});
    assert_eq!(super::pretty(&value), serde_json::to_string_pretty(&value).unwrap() + "\n");
    assert_eq!(super::value_of(&value), value);
}
