//! Names of units: `PREFIX[@[INSTANCE]].TYPE`, and what becomes of texts and paths in them (systemd.unit(5), systemd-escape(1)).

use std::fmt;

use crate::SyntaxError;

/// Longest name of a unit, in bytes.
const NAME_MAX: usize = 255;

/// What a unit is, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Service,
    Mount,
    Swap,
    Socket,
    Target,
    Device,
    Automount,
    Timer,
    Path,
    Slice,
    Scope,
}

impl Kind {
    /// Every kind, in the order in which systemd names them.
    pub const ALL: [Kind; 11] = [
        Kind::Service,
        Kind::Mount,
        Kind::Swap,
        Kind::Socket,
        Kind::Target,
        Kind::Device,
        Kind::Automount,
        Kind::Timer,
        Kind::Path,
        Kind::Slice,
        Kind::Scope,
    ];

    /// The suffix, without its dot.
    pub fn suffix(self) -> &'static str {
        match self {
            Kind::Service => "service",
            Kind::Mount => "mount",
            Kind::Swap => "swap",
            Kind::Socket => "socket",
            Kind::Target => "target",
            Kind::Device => "device",
            Kind::Automount => "automount",
            Kind::Timer => "timer",
            Kind::Path => "path",
            Kind::Slice => "slice",
            Kind::Scope => "scope",
        }
    }

    /// The section of its own; `None` for those that have none.
    pub fn section(self) -> Option<&'static str> {
        match self {
            Kind::Service => Some("Service"),
            Kind::Mount => Some("Mount"),
            Kind::Swap => Some("Swap"),
            Kind::Socket => Some("Socket"),
            Kind::Automount => Some("Automount"),
            Kind::Timer => Some("Timer"),
            Kind::Path => Some("Path"),
            Kind::Slice => Some("Slice"),
            Kind::Scope => Some("Scope"),
            Kind::Target | Kind::Device => None,
        }
    }

    /// The kind with this suffix.
    pub fn of_suffix(suffix: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.suffix() == suffix)
    }

    /// Whether two names of one unit may be of these kinds: an alias has its unit's type.
    pub fn can_alias(self) -> bool {
        matches!(self, Kind::Service | Kind::Socket | Kind::Target | Kind::Device | Kind::Timer | Kind::Path)
    }
}

/// A valid name of a unit. Copies are the same text: a graph has each name many times.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(std::sync::Arc<str>);

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `c` may stand in a name, beside the `@`.
fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || ":-_.\\".contains(c)
}

impl UnitName {
    /// Checks a name: characters, length, a known type, nothing empty before `@` or the type.
    pub fn parse(text: &str) -> Result<UnitName, SyntaxError> {
        let refuse = |why| Err(SyntaxError::new("unit name", text, why));
        if text.len() > NAME_MAX {
            return refuse("it is longer than 255 bytes");
        }
        let Some((stem, suffix)) = text.rsplit_once('.') else { return refuse("it has no type such as .service") };
        if Kind::of_suffix(suffix).is_none() {
            return refuse("its end is no type of unit");
        }
        if stem.is_empty() || stem.starts_with('@') {
            return refuse("there is nothing before the type");
        }
        if !stem.chars().all(|c| is_name_char(c) || c == '@') {
            return refuse("it has a character that names of units do not have");
        }
        Ok(UnitName(text.into()))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What kind of unit it names.
    pub fn kind(&self) -> Kind {
        Kind::of_suffix(self.suffix()).unwrap_or(Kind::Service)
    }

    fn suffix(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(_, suffix)| suffix)
    }

    /// Without the type: `getty@tty1`.
    pub fn stem(&self) -> &str {
        self.0.rsplit_once('.').map_or(&self.0, |(stem, _)| stem)
    }

    /// What is before the first `@`, or the stem.
    pub fn prefix(&self) -> &str {
        self.stem().split_once('@').map_or(self.stem(), |(prefix, _)| prefix)
    }

    /// What is after the first `@`; `Some("")` for a template.
    pub fn instance(&self) -> Option<&str> {
        self.stem().split_once('@').map(|(_, instance)| instance)
    }

    /// `getty@.service`.
    pub fn is_template(&self) -> bool {
        self.instance() == Some("")
    }

    /// `getty@tty1.service`.
    pub fn is_instance(&self) -> bool {
        self.instance().is_some_and(|i| !i.is_empty())
    }

    /// The template of an instance; `None` for other names.
    pub fn template(&self) -> Option<UnitName> {
        self.is_instance().then(|| UnitName(format!("{}@.{}", self.prefix(), self.suffix()).into()))
    }

    /// The name with another instance; for a plain name, itself.
    pub fn with_instance(&self, instance: &str) -> Result<UnitName, SyntaxError> {
        if self.instance().is_none() {
            return Ok(self.clone());
        }
        UnitName::parse(&format!("{}@{instance}.{}", self.prefix(), self.suffix()))
    }

    /// The same stem with another type: `x.socket` for `x.service`.
    pub fn with_kind(&self, kind: Kind) -> Result<UnitName, SyntaxError> {
        UnitName::parse(&format!("{}.{}", self.stem(), kind.suffix()))
    }

    /// Names of which drop-in directories count, the most general first: `service`, `foo-`, `foo-bar-`, then the name itself
    /// (each is given without `.d`).
    pub fn dropin_names(&self) -> Vec<String> {
        let suffix = self.suffix();
        let mut names = vec![suffix.to_owned()];
        let own = |prefix: &str, instance: Option<&str>| match instance {
            Some(instance) => format!("{prefix}@{instance}.{suffix}"),
            None => format!("{prefix}.{suffix}"),
        };
        let mut cuts: Vec<&str> = Vec::new();
        let prefix = self.prefix();
        for (at, _) in prefix.match_indices('-') {
            if at + 1 < prefix.len() && at > 0 {
                cuts.push(&prefix[..=at]);
            }
        }
        cuts.push(prefix);
        for cut in cuts {
            if self.is_instance() {
                names.push(own(cut, Some("")));
            }
            names.push(own(cut, self.instance()));
        }
        names
    }

    /// Turns what a person typed into a name: a path becomes a mount or device, a plain word a service; what does not fit is escaped.
    /// The flag says whether anything had to be escaped.
    pub fn mangle(text: &str, kind: Kind) -> Result<(UnitName, bool), SyntaxError> {
        if text.is_empty() {
            return Err(SyntaxError::new("unit name", text, "it is empty"));
        }
        if let Ok(name) = UnitName::parse(text) {
            return Ok((name, false));
        }
        if text.starts_with("/dev/") || text == "/dev" {
            return Ok((UnitName::parse(&format!("{}.device", escape_path(text)?))?, false));
        }
        if text.starts_with('/') {
            return Ok((UnitName::parse(&format!("{}.mount", escape_path(text)?))?, false));
        }
        let fits = |c: char| is_name_char(c) || c == '@';
        let mut out = String::with_capacity(text.len() + 8);
        for byte in text.bytes() {
            let c = char::from(byte);
            match c {
                '/' => out.push('-'),
                c if byte.is_ascii() && fits(c) => out.push(c),
                _ => push_hex(&mut out, byte),
            }
        }
        let escaped = out != text;
        let known = out.rsplit_once('.').is_some_and(|(_, suffix)| Kind::of_suffix(suffix).is_some());
        if !known {
            out.push('.');
            out.push_str(kind.suffix());
        }
        Ok((UnitName::parse(&out)?, escaped))
    }
}

impl AsRef<str> for UnitName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn push_hex(out: &mut String, byte: u8) {
    use fmt::Write as _;
    // writing to a String cannot fail
    let _ = write!(out, "\\x{byte:02x}");
}

/// A text as part of a name: `/` becomes `-`, what may not stand there `\xNN`.
pub fn escape_name(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => out.push('-'),
            b'.' if i == 0 => push_hex(&mut out, byte),
            b if b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'.') => out.push(char::from(b)),
            b => push_hex(&mut out, b),
        }
    }
    out
}

/// Takes [`escape_name`] back.
pub fn unescape_name(text: &str) -> Result<String, SyntaxError> {
    let refuse = |why| SyntaxError::new("escaped name", text, why);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'-' => out.push(b'/'),
            b'\\' => {
                let [b'x', high, low, ..] = *after else { return Err(refuse("a backslash is not followed by xNN")) };
                let digit = |d: u8| char::from(d).to_digit(16).ok_or_else(|| refuse("a backslash is not followed by xNN"));
                out.push((digit(high)? * 16 + digit(low)?) as u8);
                rest = &after[3..];
            }
            b => out.push(b),
        }
    }
    String::from_utf8(out).map_err(|_| refuse("it is not UTF-8"))
}

/// A path as part of a name: `/` alone is `-`, slashes at the ends and doubled ones vanish; `.` and `..` are refused.
pub fn escape_path(path: &str) -> Result<String, SyntaxError> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(SyntaxError::new("path", path, "it has '..' in it"));
    }
    if parts.is_empty() { Ok("-".to_owned()) } else { Ok(escape_name(&parts.join("/"))) }
}

/// Takes [`escape_path`] back: an absolute path.
pub fn unescape_path(text: &str) -> Result<String, SyntaxError> {
    if text == "-" {
        return Ok("/".to_owned());
    }
    let path = format!("/{}", unescape_name(text)?);
    let plain = !path.ends_with('/') && !path[1..].split('/').any(|part| part.is_empty() || part == "." || part == "..");
    if plain { Ok(path) } else { Err(SyntaxError::new("escaped path", text, "it does not come from a path")) }
}
