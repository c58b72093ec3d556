//! Which packages a machine installed, upgraded or removed: the package databases before and after, by their text.

use std::collections::BTreeMap;
use std::path::Path;

use hostel_image::Result;
use hostel_spec::Gather as _;
use serde::Serialize;

use crate::{Change, Layer, read_both};

/// Package databases, and what package managers know and keep.
pub(crate) const DATABASES: [&str; 11] = [
    "/var/lib/dpkg",
    "/var/lib/apt",
    "/var/cache/apt",
    "/var/cache/debconf",
    "/lib/apk",
    "/usr/lib/apk",
    "/var/cache/apk",
    "/var/lib/rpm",
    "/usr/lib/sysimage/rpm",
    "/var/lib/pacman",
    "/var/cache/pacman",
];
/// What package managers write down of their work; older ones have a number at the end of their names.
pub(crate) const LOGS: [&str; 11] = [
    "/var/log/dpkg.log",
    "/var/log/alternatives.log",
    "/var/log/apt",
    "/var/log/dnf",
    "/var/log/dnf5",
    "/var/log/hawkey.log",
    "/var/log/yum.log",
    "/var/log/zypp",
    "/var/log/zypper.log",
    "/var/log/pacman.log",
    "/var/log/apk.log",
];
/// What is changed with every package.
pub(crate) const FILES: [&str; 8] = [
    "/var/lib/dpkg/status",
    "/lib/apk/db/installed",
    "/usr/lib/apk/db/installed",
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/var/lib/rpm/Packages.db",
    "/var/lib/pacman/local",
];
/// Bytes of a database that are read.
const LIMIT: usize = 64 << 20;

/// What changed of the packages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Packages {
    /// Name and version.
    pub added: Vec<(String, String)>,
    /// Name, old and new version.
    pub changed: Vec<(String, String, String)>,
    /// Name and version.
    pub removed: Vec<(String, String)>,
    /// Databases that changed and are no text: what they hold is not known.
    pub unread: Vec<&'static str>,
}

impl Packages {
    /// Whether nothing changed, as far as is known.
    pub fn is_empty(&self) -> bool {
        *self == Packages::default()
    }
}

/// The packages of Debian's and Alpine's databases, and of pacman's, that changed. RPM's is a binary file: only that it changed.
pub fn packages(layers: &[Layer], changes: &[Change]) -> Result<Packages> {
    let mut found = Packages::default();
    for (path, parse) in [("/var/lib/dpkg/status", dpkg as fn(&str) -> Versions), ("/lib/apk/db/installed", apk), ("/usr/lib/apk/db/installed", apk)]
    {
        if let Some(change) = changes.iter().find(|c| c.path.as_bytes() == path.as_bytes()) {
            let (before, after) = read_both(&layers[change.layer], &change.inside, LIMIT)?;
            let versions = |text: Option<Vec<u8>>| text.map(|t| parse(&String::from_utf8_lossy(&t))).unwrap_or_default();
            compare(&versions(before), &versions(after), &mut found);
        }
    }
    pacman(changes, &mut found);
    let rpm = |c: &Change| {
        let path = c.path.as_bytes();
        path.starts_with(b"/var/lib/rpm/") || path.starts_with(b"/usr/lib/sysimage/rpm/")
    };
    if changes.iter().any(rpm) {
        found.unread.push("rpm");
    }
    Ok(found)
}

/// Installed packages and their versions.
type Versions = BTreeMap<String, String>;

fn compare(before: &Versions, after: &Versions, found: &mut Packages) {
    for (name, version) in after {
        match before.get(name) {
            None => found.added.push((name.clone(), version.clone())),
            Some(old) if old != version => found.changed.push((name.clone(), old.clone(), version.clone())),
            Some(_) => {}
        }
    }
    found.removed.extend(before.iter().filter(|(name, _)| !after.contains_key(*name)).map(|(n, v)| (n.clone(), v.clone())));
}

/// deb822 as dpkg writes it: what is installed, by name, and by architecture where there are several.
fn dpkg(text: &str) -> Versions {
    let mut out = Versions::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| stanza.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).map(str::trim);
        let (Some(name), Some(version)) = (field("Package"), field("Version")) else { continue };
        if !field("Status").is_some_and(|s| s.ends_with(" installed")) {
            continue;
        }
        let name = if out.contains_key(name) { format!("{name}:{}", field("Architecture").unwrap_or("")) } else { name.to_owned() };
        out.insert(name, version.to_owned());
    }
    out
}

/// apk's own format: one letter, a colon, a value.
fn apk(text: &str) -> Versions {
    let field = |stanza: &str, key: &str| stanza.lines().find_map(|l| l.strip_prefix(key)).map(str::to_owned);
    text.split("\n\n").filter_map(|s| Some((field(s, "P:")?, field(s, "V:")?))).gather()
}

/// pacman has a directory NAME-VERSION-RELEASE per package.
fn pacman(changes: &[Change], found: &mut Packages) {
    let (mut before, mut after) = (Versions::new(), Versions::new());
    for change in changes {
        let path = Path::new(change.path.as_os_str());
        let Some(entry) = path.strip_prefix("/var/lib/pacman/local").ok().and_then(Path::to_str).filter(|p| !p.contains('/')) else { continue };
        let mut parts = entry.rsplitn(3, '-');
        let (Some(release), Some(version), Some(name)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let side = match change.what {
            crate::What::Added => &mut after,
            crate::What::Deleted => &mut before,
            _ => continue,
        };
        side.insert(name.to_owned(), format!("{version}-{release}"));
    }
    compare(&before, &after, found);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases() {
        let old = dpkg(
            "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\nPackage: b\nStatus: deinstall ok config-files\nVersion: 2\n\nPackage: c\nStatus: install ok installed\nVersion: 3\n",
        );
        let new = dpkg("Package: a\nStatus: install ok installed\nVersion: 1.1\n\nPackage: b\nStatus: install ok installed\nVersion: 2\n");
        let mut found = Packages::default();
        compare(&old, &new, &mut found);
        assert_eq!(found.changed, [("a".into(), "1".into(), "1.1".into())]);
        assert_eq!(found.added, [("b".into(), "2".into())]);
        assert_eq!(found.removed, [("c".into(), "3".into())]);
        assert_eq!(apk("C:Q1\nP:musl\nV:1.2-r0\n\nP:x\nV:2\n").get("musl").map(String::as_str), Some("1.2-r0"));
    }
}
