//! What of a kept machine goes when the host was upgraded below it: the machine must not go on with a package database, and
//! with programs, that belong to a host that is no more.
//!
//! Of what both sides changed the host's is taken where the distribution's files are; elsewhere somebody has to say whose
//! is. Where the package database itself is the machine's, its packages cannot be known to the host's: their files go, too.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use hostel_image::{Cause, Result};
use hostel_spec::{Arrange as _, Gather as _, OsText};
use rustix::fs::AtFlags;

use crate::commit::{Conflict, conflicts};
use crate::layer::{Layer, changed, is_dir, look, look_at, parent};
use crate::packages::{DATABASES, FILES, LOGS, Packages};
use crate::{Change, Kind, What, mark};

/// Where files are the distribution's; what is in /usr/local is not.
const VENDOR: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/boot"];

/// Whose version of what both changed, outside the distribution's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What the machine made of it stays.
    Machine,
    /// What the host has now.
    Host,
}

/// What goes, and what it means.
#[derive(Debug, Default)]
pub struct Plan {
    /// Indexes of changes that the machine loses, in the order they go.
    pub drop: Vec<usize>,
    /// Changed on both sides, and neither is the distribution's: [`Side`] decides.
    pub open: Vec<Conflict>,
    /// What the machine had installed, upgraded or removed, which it will not have done any more.
    pub packages: Packages,
}

fn below(path: &[u8], tops: &[&str]) -> bool {
    tops.iter().any(|top| path.strip_prefix(top.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/'))
}

fn is_database(path: &OsText) -> bool {
    below(path.as_bytes(), &DATABASES)
}

/// The logs of package managers go with the database that they are about; `dnf.rpm.log`, `dpkg.log.1.gz` are some, too.
fn is_log(path: &OsText) -> bool {
    LOGS.iter()
        .any(|log| path.as_bytes().strip_prefix(log.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b'/' | b'.', ..] | [b'-', b'0'..=b'9', ..])))
}

fn is_vendors(path: &OsText) -> bool {
    is_database(path) || is_log(path) || below(path.as_bytes(), &VENDOR) && !below(path.as_bytes(), &["/usr/local"])
}

/// Whether what the machine lies over had its packages changed since `base` (seconds, nanoseconds), and the machine has a package
/// database of its own. Looks at a few files only.
pub fn drifted(layers: &[Layer], base: (i64, i64)) -> Result<bool> {
    let is_newer = |layer: &Layer, file: &str| -> std::result::Result<bool, Cause> {
        let Ok(inside) = Path::new(file).strip_prefix(&layer.at) else { return Ok(false) };
        let Some(old) = look_at(layer.lower(), inside)? else { return Ok(false) };
        Ok(changed(&old) >= base && look_at(layer.upper(), inside)?.is_some())
    };
    for layer in layers {
        for file in FILES {
            if is_newer(layer, file).map_err(|e| e.on("look at", Path::new(file)))? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What has to go of `changes` so that the machine fits what it lies over now; `base` is when it last did.
/// `packages` is what [`packages::packages`](crate::packages::packages) says of the same changes.
pub fn plan(layers: &[Layer], changes: &[Change], packages: &Packages, base: (i64, i64), side: Option<Side>) -> Result<Plan> {
    let both = conflicts(layers, changes, base)?;
    let mut plan = Plan::default();
    let mut paths: BTreeSet<&[u8]> = BTreeSet::new();
    let database = both.iter().any(|c| is_database(&c.path));
    let listed = if database {
        plan.packages = packages.clone();
        installed(layers, changes, packages)?
    } else {
        BTreeSet::new()
    };
    for conflict in &both {
        match (is_vendors(&conflict.path), side) {
            (true, _) | (false, Some(Side::Host)) => drop(paths.insert(conflict.path.as_bytes())),
            (false, Some(Side::Machine)) => {}
            (false, None) => plan.open.push(conflict.clone()),
        }
    }
    // What both changed may be in a directory that the machine deleted, or put something else in the place of: that goes as a whole.
    let holds = |c: &Change| {
        let top = c.path.as_bytes();
        let whole = c.what == What::Deleted || c.kind != Kind::Directory;
        whole && paths.iter().any(|path| path.strip_prefix(top).is_some_and(|rest| rest.first() == Some(&b'/')))
    };
    let goes = |c: &Change| {
        paths.contains(c.path.as_bytes()) || holds(c) || listed.contains(c.path.as_bytes()) || database && (is_database(&c.path) || is_log(&c.path))
    };
    let mut drop: Vec<usize> = (0..changes.len()).filter(|i| goes(&changes[*i])).collect();
    // The deepest first; the databases last: until they are gone it is known what was installed.
    drop.reverse();
    drop.arrange_by_key(|i| u8::from(is_database(&changes[*i].path)) + u8::from(FILES.iter().any(|f| f.as_bytes() == changes[*i].path.as_bytes())));
    plan.drop = drop;
    Ok(plan)
}

/// Files of packages that the machine installed, upgraded or removed, by the lists of dpkg; other databases are not understood.
fn installed(layers: &[Layer], changes: &[Change], packages: &Packages) -> Result<BTreeSet<Vec<u8>>> {
    let dpkg = changes.iter().any(|c| c.path.as_bytes() == b"/var/lib/dpkg/status");
    let known = packages.added.len() + packages.changed.len() + packages.removed.len();
    if !packages.unread.is_empty() || !dpkg && known > 0 {
        let why = Cause::Why("which files are of which package is only read of dpkg's database");
        return Err(why.on("rebase", Path::new("the package database")));
    }
    let removed: BTreeSet<&str> = packages.removed.iter().map(|(n, _)| n.as_str()).gather();
    let names: BTreeSet<&str> = packages.added.iter().map(|(n, _)| n.as_str()).chain(packages.changed.iter().map(|(n, _, _)| n.as_str())).gather();
    let mut out = BTreeSet::new();
    for change in changes {
        let Some(list) = change.path.as_bytes().strip_prefix(b"/var/lib/dpkg/info/").and_then(|n| n.strip_suffix(b".list")) else { continue };
        let list = String::from_utf8_lossy(list);
        let is_of = |names: &BTreeSet<&str>| names.contains(list.split(':').next().unwrap_or_default()) || names.contains(&*list);
        let is_new = is_of(&names);
        if !is_new && !is_of(&removed) {
            continue;
        }
        // What it removed is there again, as the host's database says; what it installed is not.
        let (old, new) = crate::read_both(&layers[change.layer], &change.inside, 16 << 20)?;
        let text = if is_new { new } else { old };
        for path in text.unwrap_or_default().split(|b| *b == b'\n').filter(|p| p.first() == Some(&b'/') && !p.starts_with(b"/etc/")) {
            // dpkg writes /bin/x of what is in /usr/bin.
            out.insert(path.to_vec());
            if below(path, &VENDOR[1..6]) {
                out.insert([b"/usr", path].concat());
            }
        }
    }
    Ok(out)
}

/// Takes these changes out of the upper layers; gives those that stay, because what they hide cannot be shown alone.
pub fn apply(layers: &[Layer], changes: &[Change], plan: &Plan) -> Result<Vec<PathBuf>> {
    let mut stay = Vec::new();
    for index in &plan.drop {
        let change = &changes[*index];
        let shown = Path::new(change.path.as_os_str());
        if !drop_one(&layers[change.layer], change).map_err(|e| e.on("rebase", shown))? {
            stay.push(shown.to_owned());
        }
    }
    for layer in layers {
        rustix::fs::syncfs(layer.upper()).map_err(Cause::from).map_err(|e| e.on("write", &layer.at))?;
    }
    Ok(stay)
}

fn drop_one(layer: &Layer, change: &Change) -> std::result::Result<bool, Cause> {
    let Some((dir, name)) = parent(layer.upper(), &change.inside)? else { return Ok(true) };
    let Some(stat) = look(dir.as_fd(), &name)? else {
        // Nothing is there to take away: an opaque directory hides it.
        return Ok(change.what != What::Deleted);
    };
    if !is_dir(&stat) {
        rustix::fs::unlinkat(&dir, &*name, AtFlags::empty())?;
        return Ok(true);
    }
    // Emptied before, if all that was in it goes; what else is in it is the machine's.
    let shines = mark::shining(crate::layer::directory(layer.upper(), &change.inside)?.ok_or(Cause::Why("it is gone"))?.as_fd())?;
    match rustix::fs::unlinkat(&dir, &*name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOTEMPTY | rustix::io::Errno::EXIST) => Ok(shines != mark::Shining::Opaque),
        Err(e) => Err(e.into()),
    }
}
