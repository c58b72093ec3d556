//! What programs send to a journal: native entries, syslog lines, the beginning of a stream.

use super::record::FIELDS_MAX;

/// Longest entry that is taken, in bytes; longer ones are dropped and counted.
pub const ENTRY_MAX: usize = 256 << 10;
/// Longest value of one header line of a stream.
const HEADER_LINE_MAX: usize = 1024;

/// A field of a native entry.
pub type Field<'a> = (&'a str, &'a [u8]);

/// Whether clients may send a field of this name: capitals, digits and `_`, none at first, at most 64 of them. Those that begin
/// with `_` are the receiver's own.
pub fn is_name(name: &[u8]) -> bool {
    let fits = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_';
    (1..=64).contains(&name.len()) && name.iter().all(fits) && !name[0].is_ascii_digit() && name[0] != b'_'
}

/// Entries of a native datagram: `NAME=VALUE` lines, or `NAME`, a length of eight bytes and as many bytes, each ended by a line feed;
/// an empty line ends an entry. What is no field is passed over; what a length lies about ends the datagram.
pub fn native(bytes: &[u8]) -> Vec<Vec<Field<'_>>> {
    let (mut entries, mut fields) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let (line, after) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
        rest = after;
        if line.is_empty() {
            if !fields.is_empty() {
                entries.push(std::mem::take(&mut fields));
            }
            continue;
        }
        let (name, value) = match line.iter().position(|b| *b == b'=') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => {
                let Some((length, after)) = rest.split_first_chunk::<8>() else { break };
                let Some(value) = usize::try_from(u64::from_le_bytes(*length)).ok().and_then(|length| after.get(..length)) else { break };
                rest = after.get(value.len() + 1..).unwrap_or_default();
                (line, value)
            }
        };
        if is_name(name) && fields.len() < FIELDS_MAX {
            // it is ASCII
            fields.push((std::str::from_utf8(name).unwrap_or_default(), value));
        }
    }
    if !fields.is_empty() {
        entries.push(fields);
    }
    entries
}

/// A line of syslog(3) as programs write it to /dev/log (RFC 3164 without a host).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslog<'a> {
    /// Facility times eight plus level.
    pub priority: u8,
    /// `Nov 27 06:00:00`, as written.
    pub time: &'a [u8],
    /// Program's name.
    pub identifier: &'a [u8],
    /// What stands in brackets after it.
    pub pid: &'a [u8],
    /// The rest.
    pub message: &'a [u8],
}

/// Understands a line; nothing in it is needed. Without a priority it is user.notice.
pub fn syslog(bytes: &[u8]) -> Syslog<'_> {
    let mut rest = trim(bytes);
    let mut found = Syslog { priority: 13, time: b"", identifier: b"", pid: b"", message: b"" };
    if let (Some(b'<'), Some(end)) = (rest.first(), rest.iter().take(5).position(|b| *b == b'>'))
        && let Some(priority) = std::str::from_utf8(&rest[1..end]).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit())).and_then(|t| t.parse().ok())
        && priority < 192
    {
        found.priority = priority;
        rest = &rest[end + 1..];
    }
    if let Some(time) = rest.get(..16).filter(|t| is_time(t)) {
        found.time = &time[..15];
        rest = &rest[16..];
    }
    let start = rest.iter().position(|b| *b != b' ').unwrap_or(rest.len());
    rest = &rest[start..];
    // a word that ends with a colon, with or without a number in brackets before that
    let word = rest.iter().position(|b| b.is_ascii_whitespace()).unwrap_or(rest.len());
    if let Some(word) = rest.get(..word).and_then(|word| word.strip_suffix(b":")).filter(|word| !word.is_empty()) {
        let after = rest.get(word.len() + 1..).unwrap_or_default();
        (found.identifier, found.pid) =
            match word.strip_suffix(b"]").and_then(|w| w.iter().position(|b| *b == b'[').map(|at| (&w[..at], &w[at + 1..]))) {
                Some((name, pid)) if !pid.is_empty() && pid.iter().all(u8::is_ascii_digit) => (name, pid),
                _ => (word, &b""[..]),
            };
        rest = after.strip_prefix(b" ").unwrap_or(after);
    }
    found.message = rest;
    found
}

/// Without what ends it: line feeds, blanks, NUL.
fn trim(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|b| !matches!(b, b'\n' | b'\r' | b' ' | b'\t' | 0)).map_or(0, |at| at + 1);
    &bytes[..end]
}

/// `Mon DD HH:MM:SS `
fn is_time(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(at, b)| match at {
        0..=2 => b.is_ascii_alphabetic(),
        3 | 6 | 15 => *b == b' ',
        4 => *b == b' ' || b.is_ascii_digit(),
        9 | 12 => *b == b':',
        _ => b.is_ascii_digit(),
    })
}

/// What a stream says before its first line: seven lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stream {
    /// SYSLOG_IDENTIFIER of its lines.
    pub identifier: String,
    /// The unit it says it is of; counts when root says so.
    pub unit: String,
    /// Facility times eight plus level.
    pub priority: u8,
    /// Lines may begin with `<N>`.
    pub level_prefix: bool,
    /// Its lines go to the console, too.
    pub to_console: bool,
    /// Lines of the header so far.
    seen: u8,
}

impl Stream {
    /// As words, to be taken up again.
    pub fn words(&self) -> [String; 6] {
        let flag = |yes: bool| u8::from(yes).to_string();
        let Stream { identifier, unit, priority, level_prefix, to_console, seen } = self;
        [identifier.clone(), unit.clone(), priority.to_string(), flag(*level_prefix), flag(*to_console), seen.to_string()]
    }

    /// One that was written so.
    pub fn of_words(words: &[String]) -> Stream {
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        Stream {
            identifier: word(0).to_owned(),
            unit: word(1).to_owned(),
            priority: word(2).parse().unwrap_or(6),
            level_prefix: word(3) == "1",
            to_console: word(4) == "1",
            seen: word(5).parse().unwrap_or(0),
        }
    }

    /// Whether the header is over.
    pub fn is_begun(&self) -> bool {
        self.seen >= 7
    }

    /// Takes a line of the header. False: it is none, and the stream is to be closed.
    pub fn header(&mut self, line: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(line) else { return false };
        if text.len() > HEADER_LINE_MAX {
            return false;
        }
        let flag = hostel_unit::boolean(text).ok();
        let fits = match self.seen {
            0 => {
                text.clone_into(&mut self.identifier);
                true
            }
            1 => {
                // what is no name of a unit is not believed
                if hostel_unit::UnitName::parse(text).is_ok() {
                    text.clone_into(&mut self.unit);
                }
                true
            }
            2 => match text.parse() {
                Ok(priority @ 0..192) => {
                    self.priority = priority;
                    true
                }
                _ => false,
            },
            3 => flag.map(|flag| self.level_prefix = flag).is_some(),
            // to syslog, to the kernel's log
            4 | 5 => flag.is_some(),
            _ => flag.map(|flag| self.to_console = flag).is_some(),
        };
        self.seen += 1;
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_entries() {
        let mut bytes = b"MESSAGE=a=b\nPRIORITY=3\n_PID=1\nbad name=x\nBLOB\n\x03\0\0\0\0\0\0\0\n\0x\nAFTER=1\n\nMESSAGE=two\n".to_vec();
        let found = native(&bytes);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], [("MESSAGE", &b"a=b"[..]), ("PRIORITY", b"3"), ("BLOB", b"\n\0x"), ("AFTER", b"1")]);
        assert_eq!(found[1], [("MESSAGE", &b"two"[..])]);
        // lengths that lie
        bytes = b"A=1\nBLOB\n\xff\xff\xff\xff\xff\xff\xff\xffxyz\nB=2".to_vec();
        assert_eq!(native(&bytes), [[("A", &b"1"[..])]]);
        assert_eq!(native(b"BLOB"), Vec::<Vec<Field<'_>>>::new());
        assert_eq!(native(b"BLOB\n\x01\0\0\0\0\0\0\0x"), [[("BLOB", &b"x"[..])]]);
        assert!(native(b"\n\n\n").is_empty() && native(b"").is_empty());
    }

    #[test]
    fn syslog_lines() {
        let found = syslog(b"<30>Nov 27 06:00:00 cron[12]: (root) CMD (x: y)\n\0");
        assert_eq!((found.priority, found.time, found.identifier, found.pid), (30, &b"Nov 27 06:00:00"[..], &b"cron"[..], &b"12"[..]));
        assert_eq!(found.message, b"(root) CMD (x: y)");
        let found = syslog(b"<13>root: hello");
        assert_eq!((found.priority, found.identifier, found.pid, found.message), (13, &b"root"[..], &b""[..], &b"hello"[..]));
        let found = syslog(b"Nov  7 06:00:00 no colon here");
        assert_eq!((found.priority, found.identifier, found.message), (13, &b""[..], &b"no colon here"[..]));
        for (bytes, message) in [(&b"<999>x"[..], &b"<999>x"[..]), (b"<>", b"<>"), (b"", b""), (b"<1", b"<1"), (b"a[x]: y", b"y"), (b": z", b": z")] {
            assert_eq!(syslog(bytes).message, message, "{bytes:?}");
        }
    }

    #[test]
    fn streams() {
        let mut stream = Stream::default();
        for line in ["ident", "a.service", "30", "1", "0", "0", "0"] {
            assert!(!stream.is_begun() && stream.header(line.as_bytes()), "{line}");
        }
        assert!(stream.is_begun());
        assert_eq!((stream.identifier.as_str(), stream.unit.as_str(), stream.priority, stream.level_prefix), ("ident", "a.service", 30, true));
        let bad = |lines: &[&str]| {
            let mut stream = Stream::default();
            !lines.iter().all(|line| stream.header(line.as_bytes()))
        };
        assert!(bad(&["a", "", "x"]) && bad(&["a", "", "192"]) && bad(&["a", "", "3", "perhaps"]) && !bad(&["a", "../x", "3", "no"]));
    }
}
