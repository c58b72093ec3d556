//! Specifiers of unit files: `%i` and its like (systemd.unit(5), "SPECIFIERS").

use std::borrow::Cow;

use hostel_unit::specifier::Meaning;
use hostel_unit::{SyntaxError, UnitName, unescape_name, unescape_path};

use crate::root::Root;
use crate::search::Scope;

/// What a tree says of itself; read when a specifier asks for it.
#[derive(Debug)]
pub struct Context<'a> {
    /// The tree.
    pub root: &'a Root,
    /// Whose units.
    pub scope: Scope,
    /// The unit in whose file they are.
    pub name: &'a UnitName,
    /// Its fragment.
    pub fragment: Option<&'a str>,
    /// The instance that stands for that of a template (`DefaultInstance=`).
    pub default_instance: Option<&'a str>,
    /// Only those of [Install].
    pub install: bool,
}

const NOT_HERE: &str = "it is known only where the unit runs";

impl Context<'_> {
    /// Replaces every specifier.
    pub fn expand<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, SyntaxError> {
        hostel_unit::specifier::expand(text, |letter| self.meaning(letter))
    }

    fn instance(&self) -> &str {
        self.name.instance().filter(|i| !i.is_empty()).or(self.default_instance).unwrap_or_default()
    }

    fn whole(&self) -> String {
        match (self.name.is_template(), self.default_instance) {
            (true, Some(instance)) => self.name.with_instance(instance).map_or_else(|_| self.name.to_string(), |n| n.to_string()),
            _ => self.name.to_string(),
        }
    }

    fn meaning(&self, letter: char) -> Meaning {
        let user = self.scope == Scope::User;
        let text = |text: &str| Ok(Some(text.to_owned()));
        let last = || self.name.prefix().rsplit('-').next().unwrap_or_default().to_owned();
        match letter {
            'n' => Ok(Some(self.whole())),
            'N' => Ok(Some(self.whole().rsplit_once('.').map(|(stem, _)| stem.to_owned()).unwrap_or_default())),
            'p' => text(self.name.prefix()),
            'i' => text(self.instance()),
            'j' => Ok(Some(last())),
            'u' if !user => text("root"),
            'U' | 'G' if !user => text("0"),
            'g' if !user => text("root"),
            'u' | 'U' | 'g' | 'G' => Err(NOT_HERE),
            'H' | 'l' | 'q' => Ok(Some(self.hostname(letter == 'l'))),
            'm' => self.machine_id(),
            'a' => text(architecture()),
            'A' | 'B' | 'M' | 'o' | 'w' | 'W' => Ok(Some(self.os_release(letter))),
            'b' | 'v' if self.root.is_host() => self.kernel(letter),
            'b' | 'v' => Err(NOT_HERE),
            _ if self.install => Ok(None),
            'I' => unescaped(unescape_name(self.instance())),
            'J' => unescaped(unescape_name(&last())),
            'P' => unescaped(unescape_name(self.name.prefix())),
            'f' => {
                let from = Some(self.instance()).filter(|i| !i.is_empty()).unwrap_or(self.name.prefix());
                unescaped(unescape_path(from))
            }
            'y' | 'Y' => match self.fragment {
                None => Err("the unit has no file"),
                Some(path) if letter == 'y' => text(path),
                Some(path) => text(path.rsplit_once('/').map_or("/", |(directory, _)| directory)),
            },
            't' if !user => text("/run"),
            'S' if !user => text("/var/lib"),
            'C' if !user => text("/var/cache"),
            'L' if !user => text("/var/log"),
            'E' if !user => text("/etc"),
            'h' if !user => text("/root"),
            's' if !user => text("/bin/sh"),
            'T' => text("/tmp"),
            'V' => text("/var/tmp"),
            'd' => Ok(Some(format!("/run/credentials/{}", self.name))),
            't' | 'S' | 'C' | 'L' | 'E' | 'h' | 's' => Err(NOT_HERE),
            'c' | 'r' | 'R' => Err(NOT_HERE),
            _ => Ok(None),
        }
    }

    fn hostname(&self, short: bool) -> String {
        let bytes = self.root.read("/etc/hostname").unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or("localhost");
        if short { line.split('.').next().unwrap_or_default().to_owned() } else { line.to_owned() }
    }

    fn machine_id(&self) -> Meaning {
        let bytes = self.root.read("/etc/machine-id").map_err(|_| "the tree has no machine id")?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) { Ok(Some(text)) } else { Err("the tree has no machine id") }
    }

    fn kernel(&self, letter: char) -> Meaning {
        let path = if letter == 'v' { "/proc/sys/kernel/osrelease" } else { "/proc/sys/kernel/random/boot_id" };
        let text = std::fs::read_to_string(path).map_err(|_| NOT_HERE)?;
        Ok(Some(text.trim().replace('-', if letter == 'b' { "" } else { "-" })))
    }

    fn os_release(&self, letter: char) -> String {
        let key = match letter {
            'A' => "IMAGE_VERSION",
            'B' => "BUILD_ID",
            'M' => "IMAGE_ID",
            'o' => "ID",
            'w' => "VERSION_ID",
            _ => "VARIANT_ID",
        };
        let bytes = self.root.read("/etc/os-release").or_else(|_| self.root.read("/usr/lib/os-release")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let value = text.lines().filter_map(|line| line.split_once('=')).find(|(k, _)| k.trim() == key).map(|(_, value)| value.trim());
        let words = value.and_then(|value| hostel_unit::words(value, hostel_unit::WordRules::STRINGS).ok()).unwrap_or_default();
        words.into_iter().next().unwrap_or_default()
    }
}

fn unescaped(text: Result<String, SyntaxError>) -> Meaning {
    text.map(Some).map_err(|e| e.why)
}

/// As ConditionArchitecture= names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        "riscv64" => "riscv64",
        "powerpc64" => "ppc64-le",
        other => other,
    }
}
