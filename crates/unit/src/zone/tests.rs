use super::*;

#[test]
fn dates_there_and_back() {
    for (days, date) in [(0, (1970, 1, 1)), (59, (1970, 3, 1)), (19_782, (2024, 2, 29)), (20_513, (2026, 3, 1)), (-1, (1969, 12, 31))] {
        assert_eq!(civil(days), date);
        assert_eq!(days_of(date.0, date.1, date.2), days);
    }
    for days in -200_000..200_000 {
        let (y, m, d) = civil(days);
        assert_eq!(days_of(y, m, d), days);
        assert!(d <= days_in_month(y as u32, m), "{y}-{m}-{d}");
    }
}

#[test]
fn rules() {
    let berlin = Zone::parse_rule("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    // 2026-03-29 01:00 UTC and 2026-10-25 01:00 UTC
    for (t, offset) in [(1_774_745_999, 3600), (1_774_746_000, 7200), (1_792_889_999, 7200), (1_792_890_000, 3600)] {
        assert_eq!(berlin.offset_at(t), offset, "{t}");
    }
    // 02:30 does not exist on 29 March, and comes twice on 25 October
    assert_eq!(berlin.to_unix(days_of(2026, 3, 29) * 86_400 + 9000), None);
    assert_eq!(berlin.to_unix(days_of(2026, 10, 25) * 86_400 + 9000), Some(days_of(2026, 10, 25) * 86_400 + 1800));
    let sydney = Zone::parse_rule("AEST-10AEDT,M10.1.0,M4.1.0/3").unwrap();
    assert_eq!(sydney.offset_at(days_of(2026, 1, 1) * 86_400), 39_600);
    assert_eq!(sydney.offset_at(days_of(2026, 7, 1) * 86_400), 36_000);
    assert_eq!(Zone::parse_rule("<+0545>-5:45").unwrap().offset_at(0), 20_700);
    for bad in ["", "CET", "C-1", "CET-25", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M1.1.0", "CET-1CEST,J0,J1", "CET-1x"] {
        assert!(Zone::parse_rule(bad).is_err(), "{bad}");
    }
}

#[test]
fn files() {
    for bad in [&b""[..], b"TZif", b"TZif2", &[b'T'; 44]] {
        assert!(Zone::parse(bad).is_err());
    }
    let Ok(bytes) = std::fs::read("/usr/share/zoneinfo/Europe/Berlin") else {
        eprintln!("skipped: the time zone database is not installed");
        return;
    };
    let berlin = Zone::parse(&bytes).unwrap();
    for (date, offset) in [((1980, 1, 15), 3600), ((2000, 7, 1), 7200), ((2026, 7, 1), 7200), ((2090, 7, 1), 7200), ((2090, 12, 1), 3600)] {
        assert_eq!(berlin.offset_at(days_of(date.0, date.1, date.2) * 86_400), offset, "{date:?}");
    }
    for cut in 0..bytes.len() {
        let _ = Zone::parse(&bytes[..cut]);
    }
}
