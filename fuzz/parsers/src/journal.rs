//! What programs send to a log, and files of one.

use hostel_init::journal::lines::{LINE_MAX, Lines, level};
use hostel_init::journal::message::{Stream, is_name, native, syslog};
use hostel_init::journal::pattern::Pattern;
use hostel_init::journal::reader::{Cursor, Loaded};
use hostel_init::journal::record::{self, Stamp};
use hostel_unit::zone::Zone;

use super::{one_line, text};

/// Every field that is taken may be kept, and is what stood there.
pub fn journal_native(data: &[u8]) {
    for fields in native(data) {
        assert!(!fields.is_empty() && fields.iter().all(|(name, value)| is_name(name.as_bytes()) && value.len() <= data.len()));
        let mut bytes = Vec::new();
        assert_eq!(record::encode(&mut bytes, &Stamp::default(), &fields), 0);
        assert_eq!(record::decode(&bytes).map(|entry| entry.fields), Some(fields));
    }
}

/// Lines of syslog, and the beginnings of streams.
pub fn journal_lines(data: &[u8]) {
    let found = syslog(data);
    assert!(found.priority < 192 && found.message.len() <= data.len() && found.pid.iter().all(u8::is_ascii_digit));
    let (mut lines, mut stream, mut total) = (Lines::default(), Stream::default(), 0);
    let mut each = |line: &[u8]| {
        assert!(line.len() <= LINE_MAX);
        total += line.len();
        let (found, rest) = level(line);
        assert!(found.is_none_or(|level| level < 8) && line.ends_with(rest));
        if !stream.is_begun() && stream.header(line) {
            assert!(stream.priority < 192 && stream.unit.len() < 256);
        }
    };
    for piece in data.chunks(7) {
        lines.push(piece, &mut each);
    }
    lines.finish(&mut each);
    assert_eq!(total, data.iter().filter(|b| **b != b'\n').count());
}

/// A file of a store, whatever is in it; as a whole and behind a good beginning.
pub fn journal_store(data: &[u8]) {
    let header = record::Header { machine: [1; 16], series: [2; 16], host: "h".into() };
    let mut bytes = header.encode();
    record::encode(&mut bytes, &Stamp::default(), &[("MESSAGE", b"one")]);
    let good = bytes.len();
    bytes.extend_from_slice(data);
    // flips a byte of the good part, too
    let flipped = data.first().zip(data.get(1)).map(|(at, bits)| (usize::from(*at) % good, *bits)).filter(|(_, bits)| *bits != 0);
    for change in [None, flipped] {
        let mut bytes = bytes.clone();
        if let Some((at, bits)) = change {
            bytes[at] ^= bits;
        }
        let Some(loaded) = Loaded::parse(bytes) else { continue };
        assert!(change.is_some() || loaded.count() >= 1);
        for at in 0..loaded.count() {
            if let Some(entry) = loaded.entry(at) {
                let _ = entry.get("MESSAGE");
            }
        }
    }
    let _ = Loaded::parse(data.to_vec());
    let _ = record::decode(data);
    let _ = text(data).map(Cursor::parse);
}

/// Patterns, matched with their own text.
pub fn journal_pattern(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match Pattern::parse(text, Some(true)) {
        Ok(pattern) => {
            let found = pattern.is_in(text);
            // a plain word is in itself
            assert!(found || text.chars().any(|c| !c.is_alphanumeric()));
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// Moments as people write them.
pub fn moment(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Err(e) = hostel_unit::moment(text, 1_795_759_811_500_000, &Zone::UTC) {
        one_line(&e);
    }
}
