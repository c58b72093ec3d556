//! Disk images as trees: which partitions may be used and how (`--image-policy=`), and what verifies them.

use crate::Arrange as _;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ValueError;

/// What a partition is for, whatever the architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names of systemd.image-policy(7)
pub enum Designator {
    Root,
    Usr,
    Home,
    Srv,
    Esp,
    Xbootldr,
    Swap,
    RootVerity,
    RootVeritySig,
    UsrVerity,
    UsrVeritySig,
    Tmp,
    Var,
}

impl Designator {
    /// All, with the names policies use.
    pub const ALL: [(Designator, &'static str); 13] = [
        (Designator::Root, "root"),
        (Designator::Usr, "usr"),
        (Designator::Home, "home"),
        (Designator::Srv, "srv"),
        (Designator::Esp, "esp"),
        (Designator::Xbootldr, "xbootldr"),
        (Designator::Swap, "swap"),
        (Designator::RootVerity, "root-verity"),
        (Designator::RootVeritySig, "root-verity-sig"),
        (Designator::UsrVerity, "usr-verity"),
        (Designator::UsrVeritySig, "usr-verity-sig"),
        (Designator::Tmp, "tmp"),
        (Designator::Var, "var"),
    ];
    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(d, _)| *d == self).map_or("", |(_, name)| name)
    }
    fn parse(name: &str) -> Option<Designator> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(d, _)| *d)
    }
}

impl fmt::Display for Designator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The ways a partition may be used, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uses(pub u8);

impl Uses {
    /// As it is.
    pub const UNPROTECTED: Uses = Uses(1);
    /// Verified by dm-verity, the root hash trusted because it was given.
    pub const VERITY: Uses = Uses(2);
    /// Verified by dm-verity, the root hash signed.
    pub const SIGNED: Uses = Uses(4);
    /// LUKS.
    pub const ENCRYPTED: Uses = Uses(8);
    /// LUKS with integrity protection.
    pub const INTEGRITY: Uses = Uses(16);
    /// There, and left alone.
    pub const UNUSED: Uses = Uses(32);
    /// Not there.
    pub const ABSENT: Uses = Uses(64);
    /// All of them.
    pub const OPEN: Uses = Uses(127);
    /// Never used.
    pub const IGNORE: Uses = Uses(32 | 64);

    const NAMES: [(Uses, &'static str); 7] = [
        (Uses::VERITY, "verity"),
        (Uses::SIGNED, "signed"),
        (Uses::ENCRYPTED, "encrypted"),
        (Uses::INTEGRITY, "encryptedwithintegrity"),
        (Uses::UNPROTECTED, "unprotected"),
        (Uses::UNUSED, "unused"),
        (Uses::ABSENT, "absent"),
    ];

    /// Both.
    pub const fn or(self, other: Uses) -> Uses {
        Uses(self.0 | other.0)
    }
    /// Whether any of `other` is in it.
    pub const fn has(self, other: Uses) -> bool {
        self.0 & other.0 != 0
    }
}

/// File systems a policy may name.
pub const FILE_SYSTEMS: [&str; 7] = ["btrfs", "erofs", "ext4", "f2fs", "squashfs", "vfat", "xfs"];

/// What a policy says about one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// How it may be used.
    pub uses: Uses,
    /// What its "read-only" flag has to be.
    pub read_only: Option<bool>,
    /// What its "grow-file-system" flag has to be.
    pub growfs: Option<bool>,
    /// File systems it may have; empty = any.
    pub file_systems: Vec<&'static str>,
}

impl Rule {
    /// A rule about the use alone.
    pub const fn of(uses: Uses) -> Rule {
        Rule { uses, read_only: None, growfs: None, file_systems: Vec::new() }
    }

    fn parse(text: &str) -> Result<Rule, String> {
        let mut rule = Rule::of(Uses(0));
        for word in text.split('+') {
            match word {
                "open" => rule.uses = rule.uses.or(Uses::OPEN),
                "ignore" => rule.uses = rule.uses.or(Uses::IGNORE),
                "read-only-on" | "read-only-off" if rule.read_only.is_none() => rule.read_only = Some(word.ends_with("on")),
                "growfs-on" | "growfs-off" if rule.growfs.is_none() => rule.growfs = Some(word.ends_with("on")),
                "read-only-on" | "read-only-off" | "growfs-on" | "growfs-off" => return Err(format!("{word} is said twice, or with its opposite")),
                _ => match (Uses::NAMES.iter().find(|(_, n)| *n == word), FILE_SYSTEMS.iter().find(|n| **n == word)) {
                    (Some((uses, _)), _) => rule.uses = rule.uses.or(*uses),
                    (_, Some(name)) => rule.file_systems.push(name),
                    _ => return Err(format!("there is no partition policy flag {:?}", beginning(word))),
                },
            }
        }
        if rule.uses == Uses(0) {
            rule.uses = Uses::OPEN;
        }
        rule.file_systems.arrange();
        rule.file_systems.dedup();
        Ok(rule)
    }
}

/// Enough of a word to be found by.
fn beginning(word: &str) -> String {
    word.chars().take(40).collect()
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<&str> = match self.uses {
            Uses::OPEN => vec!["open"],
            uses => Uses::NAMES.iter().filter(|(u, _)| uses.has(*u)).map(|(_, n)| *n).collect(),
        };
        words.extend(self.read_only.map(|on| if on { "read-only-on" } else { "read-only-off" }));
        words.extend(self.growfs.map(|on| if on { "growfs-on" } else { "growfs-off" }));
        words.extend(&self.file_systems);
        f.write_str(&words.join("+"))
    }
}

/// Which partitions of an image may be used, and how (systemd.image-policy(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePolicy {
    rules: Vec<(Designator, Rule)>,
    default: Rule,
}

impl ImagePolicy {
    /// Parses `root=verity+signed:usr=…:=ignore`; `*` allows all, `-` uses nothing, `~` forbids everything.
    pub fn parse(text: &str) -> Result<ImagePolicy, ValueError> {
        let error = |why: String| ValueError::new("image policy", text, why);
        let all = |uses| Ok(ImagePolicy { rules: Vec::new(), default: Rule::of(uses) });
        match text {
            "*" => return all(Uses::OPEN),
            "-" => return all(Uses::IGNORE),
            "~" => return all(Uses::ABSENT),
            _ => {}
        }
        let mut policy = ImagePolicy { rules: Vec::new(), default: Rule::of(Uses::IGNORE) };
        let mut default_given = false;
        for part in text.split(':').filter(|p| !p.is_empty()) {
            let (name, flags) = part.split_once('=').ok_or_else(|| error(format!("{:?} has no '='", beginning(part))))?;
            let rule = Rule::parse(flags).map_err(error)?;
            if name.is_empty() {
                if default_given {
                    return Err(error("the default is given twice".into()));
                }
                default_given = true;
                policy.default = rule;
                continue;
            }
            let designator = Designator::parse(name).ok_or_else(|| error(format!("there is no partition {:?}", beginning(name))))?;
            if policy.rules.iter().any(|(d, _)| *d == designator) {
                return Err(error(format!("{name} is given twice")));
            }
            policy.rules.push((designator, rule));
        }
        policy.rules.arrange_by_key(|(d, _)| *d);
        Ok(policy)
    }

    /// What systemd-nspawn uses when none is given: every use of root and usr, swap never.
    pub fn nspawn() -> ImagePolicy {
        let any = Uses::VERITY.or(Uses::SIGNED).or(Uses::ENCRYPTED).or(Uses::UNPROTECTED).or(Uses::ABSENT);
        let data = Uses::ENCRYPTED.or(Uses::UNPROTECTED).or(Uses::ABSENT);
        let plain = Uses::UNPROTECTED.or(Uses::ABSENT);
        let rules = [
            (Designator::Root, any),
            (Designator::Usr, any),
            (Designator::Home, data),
            (Designator::Srv, data),
            (Designator::Esp, plain),
            (Designator::Xbootldr, plain),
            (Designator::Tmp, data),
            (Designator::Var, data),
        ];
        ImagePolicy { rules: rules.map(|(d, uses)| (d, Rule::of(uses))).into(), default: Rule::of(Uses::IGNORE) }
    }

    /// What it says about a partition.
    pub fn rule(&self, designator: Designator) -> &Rule {
        self.rules.iter().find(|(d, _)| *d == designator).map_or(&self.default, |(_, rule)| rule)
    }
}

impl fmt::Display for ImagePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (designator, rule) in &self.rules {
            write!(f, "{designator}={rule}:")?;
        }
        write!(f, "={}", self.default)
    }
}

impl FromStr for ImagePolicy {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::parse(text)
    }
}
impl Serialize for ImagePolicy {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for ImagePolicy {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The root hash of a dm-verity hash tree: 16 bytes or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootHash(Vec<u8>);

impl RootHash {
    /// Longest hash there is: SHA-512.
    const MAX: usize = 64;

    /// Parses hexadecimal digits, an even number of them.
    pub fn parse(text: &str) -> Result<RootHash, ValueError> {
        let error = |why: &str| ValueError::new("root hash", text, why);
        if !text.bytes().all(|b| b.is_ascii_hexdigit()) || !text.len().is_multiple_of(2) {
            return Err(error("it is no even number of hexadecimal digits"));
        }
        let digit = |b: u8| char::from(b).to_digit(16).unwrap_or(0) as u8;
        let bytes: Vec<u8> = text.as_bytes().chunks_exact(2).map(|p| digit(p[0]) << 4 | digit(p[1])).collect();
        match bytes.len() {
            16..=Self::MAX => Ok(RootHash(bytes)),
            0..16 => Err(error("it has less than 128 bits")),
            _ => Err(error("it has more than 512 bits")),
        }
    }
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
    /// The id of the partition with the data: its first 128 bits.
    pub fn data_id(&self) -> [u8; 16] {
        self.0.first_chunk().copied().unwrap_or_default()
    }
    /// The id of the partition with the hashes: its last 128 bits.
    pub fn hash_id(&self) -> [u8; 16] {
        self.0.last_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}
impl Serialize for RootHash {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for RootHash {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A PKCS#7 signature of a root hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootHashSignature {
    /// In a file.
    Path(PathBuf),
    /// Its bytes.
    Bytes(Vec<u8>),
}

/// How a disk image is used as the tree.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageOptions {
    /// Which partitions; `None` = as systemd-nspawn.
    pub policy: Option<ImagePolicy>,
    /// What its root has to hash to.
    pub root_hash: Option<RootHash>,
    /// Signature of that.
    pub root_hash_sig: Option<RootHashSignature>,
    /// The hash tree, when it is not in the image.
    pub verity_data: Option<PathBuf>,
    /// Nobody is asked for a passphrase (`--no-ask-password`): an image that needs one is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_ask_password: bool,
}

/// Decodes base64 (RFC 4648) with padding.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| -> Option<u32> {
        Some(u32::from(match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        }))
    };
    let clean: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    if !clean.len().is_multiple_of(4) {
        return None;
    }
    let padding = clean.iter().rev().take_while(|b| **b == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(clean.len() / 4 * 3);
    for (n, group) in clean.chunks_exact(4).enumerate() {
        let last = (n + 1) * 4 == clean.len();
        let pad = if last { padding } else { 0 };
        let mut word = 0;
        for (i, b) in group.iter().enumerate() {
            word = word << 6 | if i >= 4 - pad { 0 } else { digit(*b)? };
        }
        out.extend_from_slice(&word.to_be_bytes()[1..4 - pad]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let policy = ImagePolicy::parse("root=verity+signed:home=encrypted+absent+read-only-off:=unused+absent").unwrap();
        assert_eq!(policy.rule(Designator::Root).uses, Uses::VERITY.or(Uses::SIGNED));
        assert_eq!(policy.rule(Designator::Home).read_only, Some(false));
        assert_eq!(policy.rule(Designator::Var).uses, Uses::IGNORE);
        assert_eq!(ImagePolicy::parse("root=unprotected").unwrap().rule(Designator::Usr).uses, Uses::IGNORE);
        assert_eq!(ImagePolicy::parse("root=read-only-on").unwrap().rule(Designator::Root).uses, Uses::OPEN);
        assert_eq!(ImagePolicy::parse("*").unwrap().rule(Designator::Swap).uses, Uses::OPEN);
        assert_eq!(ImagePolicy::parse("~").unwrap().rule(Designator::Root).uses, Uses::ABSENT);
        assert_eq!(ImagePolicy::parse("root=erofs+squashfs+verity").unwrap().rule(Designator::Root).file_systems, ["erofs", "squashfs"]);
        for bad in ["root", "root=", "rot=verity", "root=verity:root=signed", "=open:=open", "root=read-only-on+read-only-off", "root=verity signed"]
        {
            assert!(ImagePolicy::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_printed_is_understood() {
        for text in ["*", "-", "~", "root=verity+signed+encrypted+unprotected+absent:=unused+absent", "var=encrypted+growfs-on:=open", ""] {
            let policy = ImagePolicy::parse(text).unwrap();
            assert_eq!(ImagePolicy::parse(&policy.to_string()).unwrap(), policy, "{text}");
        }
        assert_eq!(ImagePolicy::parse(&ImagePolicy::nspawn().to_string()).unwrap(), ImagePolicy::nspawn());
    }

    #[test]
    fn root_hashes() {
        let hash = RootHash::parse("000102030405060708090a0b0c0d0e0ff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").unwrap();
        assert_eq!((hash.data_id()[15], hash.hash_id()[0]), (0x0f, 0xf0));
        assert_eq!(RootHash::parse(&hash.to_string()), Ok(hash));
        for bad in ["", "00", "zz", "000102030405060708090a0b0c0d0e0", &"ab".repeat(65)] {
            assert!(RootHash::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn base64_of_rfc_4648() {
        for (text, want) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmE=", "fooba"), ("Zm9v\nYmFy", "foobar")] {
            assert_eq!(base64(text).unwrap(), want.as_bytes(), "{text}");
        }
        for bad in ["Z", "Zg=", "====", "Zg==Zg==", "Z!==", "=g=="] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }
}
