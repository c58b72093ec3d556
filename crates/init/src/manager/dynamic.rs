//! DynamicUser=: users that are there while a service runs, and in no file of the tree.
//!
//! A user has its name's number (or the one that owns the service's directories already) as long as nobody else has it; two
//! services of one name are one user. Directories that outlive the service are kept where no other user can get at them:
//! `/var/lib/private/NAME`, with a link at `/var/lib/NAME`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use hostel_process::userdb::{self, User};
use hostel_spec::UserSelector;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::context::{Context, PLACES, Preserve};
use crate::load::Unit;

/// Numbers that systemd keeps for such users.
const RANGE: std::ops::RangeInclusive<u32> = 61184..=65519;

/// Who has which number.
#[derive(Debug, Default)]
pub struct Dynamic {
    /// By name: the number, and the units that have it.
    taken: BTreeMap<String, (u32, Vec<String>)>,
}

/// The name of a unit's dynamic user or group: the one that is given, or made of the unit's.
pub(super) fn name_of(unit: &Unit) -> String {
    let s = &unit.settings;
    let section = unit.name.kind().section().unwrap_or("Service");
    if let Some(given) = s.text(section, "User").filter(|text| !text.is_empty()) {
        return given.to_owned();
    }
    let stem = unit.name.prefix();
    let is_name = stem.len() < 32
        && stem.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && stem.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if is_name { stem.to_owned() } else { format!("_du{:016x}", hash(stem)) }
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Dynamic {
    /// The number of a name, held for a unit until it is released. `before` are numbers that it may have had.
    pub fn hold(&mut self, name: &str, unit: &str, before: &[u32], is_used: &dyn Fn(u32) -> bool) -> Option<u32> {
        if let Some((number, units)) = self.taken.get_mut(name) {
            if !units.iter().any(|held| held == unit) {
                units.push(unit.to_owned());
            }
            return Some(*number);
        }
        let size = u64::from(RANGE.end() - RANGE.start()) + 1;
        let first = hash(name) % size;
        let by_name = (0..size).map(|step| RANGE.start() + ((first + step) % size) as u32);
        let is_free = |number: &u32| RANGE.contains(number) && !is_used(*number) && self.taken.values().all(|(taken, _)| taken != number);
        let found = before.iter().copied().chain(by_name).find(is_free)?;
        self.taken.insert(name.to_owned(), (found, vec![unit.to_owned()]));
        Some(found)
    }

    /// A unit does not need its numbers any more.
    pub fn release(&mut self, unit: &str) {
        self.taken.retain(|_, (_, units)| {
            units.retain(|held| held != unit);
            !units.is_empty()
        });
    }

    /// Names with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.taken.iter().map(|(name, (number, _))| (name.as_str(), *number))
    }

    /// Who holds which number.
    pub fn holders(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.taken.iter().flat_map(|(name, (number, units))| units.iter().map(move |unit| (name.as_str(), *number, unit.as_str())))
    }

    /// What a unit's processes run as; `None`: User= names one that the tree itself has.
    pub fn user(&mut self, unit: &Unit, context: &Context) -> Result<Option<User>, String> {
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| format!("open /: {e}"))?;
        self.user_in(&root, unit, context)
    }

    fn user_in(&mut self, root: &OwnedFd, unit: &Unit, context: &Context) -> Result<Option<User>, String> {
        let name = name_of(unit);
        let known = userdb::names(root).map_err(|e| e.to_string())?;
        if userdb::parse_id(name.as_bytes()).is_some() || known.users.iter().any(|(user, _)| *user == name) {
            // without User= nobody else would look it up, and what has no user is root's
            return if context.user.is_some() { Ok(None) } else { tree_user(root, name, context.group.as_deref(), &known).map(Some) };
        }
        if known.groups.iter().any(|(group, _)| *group == name) {
            return Err(format!("make user {name:?}: the tree has a group of that name, and no such user"));
        }
        let is_used = |id: u32| known.users.iter().chain(&known.groups).any(|(_, other)| *other == id);
        let own = unit.name.as_str();
        let number = self.hold(&name, own, &owners(context), &is_used).ok_or_else(|| format!("make user {name:?}: no number is free for it"))?;
        let mut gid = number;
        if let Some(group) = context.group.as_deref().filter(|group| *group != name) {
            let found = group_id(&known, group).or_else(|| self.hold(group, own, &[], &is_used));
            gid = found.ok_or_else(|| format!("make group {group:?}: no number is free for it"))?;
        }
        Ok(Some(User { name, uid: number, gid, groups: vec![gid], home: "/".to_owned(), shell: "/usr/sbin/nologin".to_owned() }))
    }
}

/// A group's number, if it has one already.
fn group_id(known: &userdb::Names, group: &str) -> Option<u32> {
    userdb::parse_id(group.as_bytes()).or_else(|| known.groups.iter().find(|(name, _)| name == group).map(|(_, gid)| *gid))
}

/// The tree's user of a name that was made of a unit's, with Group= if there is one.
fn tree_user(root: &OwnedFd, name: String, group: Option<&str>, known: &userdb::Names) -> Result<User, String> {
    let mut user = userdb::lookup(root, &UserSelector::Name(name)).map_err(|e| e.to_string())?;
    if user.uid == 0 {
        return Err(format!("make user {:?}: that is root's name in this tree; set another one with User=", user.name));
    }
    if let Some(group) = group {
        user.gid = group_id(known, group).ok_or_else(|| format!("find group {group:?}: no such group in /etc/group"))?;
        if !user.groups.contains(&user.gid) {
            user.groups.insert(0, user.gid);
        }
    }
    Ok(user)
}

/// Who owns the directories that a service has had before.
fn owners(context: &Context) -> Vec<u32> {
    let paths = PLACES.iter().zip(&context.directories).flat_map(|(place, (entries, _))| {
        entries.iter().flat_map(|(name, _)| [format!("{}/private/{name}", place.top), format!("{}/{name}", place.top)])
    });
    paths.filter_map(|path| std::fs::symlink_metadata(path).ok()).map(|metadata| metadata.uid()).collect()
}

/// Whether directories of a kind (its number in [`PLACES`]) are kept from other users.
pub(super) fn is_private(context: &Context, place: usize) -> bool {
    // those of the runtime only if they outlive the service; configuration is for everybody
    context.dynamic && may_be_private(place, context.preserve != Preserve::No)
}

/// The same for a user made for the service; `is_preserved`: directories of the runtime outlive it.
pub(super) fn may_be_private(place: usize, is_preserved: bool) -> bool {
    matches!(place, 1..=3) || place == 0 && is_preserved
}

/// In the child: makes the private directory of one that is to be at `top/name`; its path.
pub(super) fn private_directory(top: &str, name: &str) -> io::Result<String> {
    let private = format!("{top}/private");
    make(&private, 0o700)?;
    let there = std::fs::symlink_metadata(&private)?;
    if there.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("{private} is another user's")));
    }
    if there.mode() & 0o777 != 0o700 {
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o700))?;
    }
    let path = format!("{private}/{name}");
    let public = format!("{top}/{name}");
    if let Some((above, _)) = name.rsplit_once('/') {
        std::fs::create_dir_all(format!("{private}/{above}"))?;
        std::fs::create_dir_all(format!("{top}/{above}"))?;
    }
    let there = std::fs::symlink_metadata(&public);
    // from when it was a usual user's
    if there.is_ok_and(|m| m.is_dir()) && std::fs::symlink_metadata(&path).is_err() {
        std::fs::rename(&public, &path)?;
    }
    make(&path, 0o755)?;
    let to = format!("{}private/{name}", "../".repeat(name.matches('/').count()));
    match symlink(&to, &public) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && std::fs::read_link(&public).is_ok_and(|old| old.as_os_str() == to.as_str()) => {}
        other => other?,
    }
    Ok(path)
}

/// In the child: a directory that was private is a usual one again.
pub(super) fn public_directory(top: &str, name: &str) -> io::Result<()> {
    let (public, private) = (format!("{top}/{name}"), format!("{top}/private/{name}"));
    let to = format!("{}private/{name}", "../".repeat(name.matches('/').count()));
    if !std::fs::read_link(&public).is_ok_and(|old| old.as_os_str() == to.as_str()) || !std::path::Path::new(&private).is_dir() {
        return Ok(());
    }
    std::fs::remove_file(&public)?;
    std::fs::rename(private, public)
}

fn make(path: &str, mode: u32) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && std::fs::symlink_metadata(path)?.is_dir() => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(path)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        }
        Ok(()) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)),
        other => other,
    }
}

/// Gives a directory with all that is in it to a user, unless it is the user's already. Links are not followed.
pub(super) fn give(path: &str, user: &User) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(path)?;
    if metadata.uid() == user.uid && metadata.gid() == user.gid {
        return Ok(());
    }
    let directory = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    // the directory itself last: what was not finished is done again
    give_below(&directory, user, 64)?;
    Ok(rustix::fs::fchown(&directory, Some(rustix::fs::Uid::from_raw(user.uid)), Some(rustix::fs::Gid::from_raw(user.gid)))?)
}

fn give_below(directory: &OwnedFd, user: &User, depth: u32) -> io::Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(below) if depth > 0 => give_below(&below, user, depth - 1)?,
            Ok(_) => return Err(io::Error::other("directories are too deep in each other")),
            Err(_) => {}
        }
        rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn numbers_are_stable_and_nobody_elses() {
        let mut all = Dynamic::default();
        let free = |_| false;
        let first = all.hold("a", "a.service", &[], &free).unwrap();
        assert!(RANGE.contains(&first));
        // one user for two units
        assert_eq!(all.hold("a", "b.service", &[], &free), Some(first));
        all.release("a.service");
        assert_eq!(all.iter().collect::<Vec<_>>(), [("a", first)]);
        all.release("b.service");
        assert_eq!(all.iter().count(), 0);
        assert_eq!(all.hold("a", "a.service", &[], &free), Some(first), "the same again");
        all.release("a.service");
        // the next one when the tree has the number, or another name
        let second = all.hold("a", "a.service", &[], &|id| id == first).unwrap();
        assert!(second != first && RANGE.contains(&second));
        let other = all.hold("c", "c.service", &[second], &free).unwrap();
        assert!(other != second);
        // what owns its directories, if that is of the range
        assert_eq!(all.hold("d", "d.service", &[0, 1000, 61200], &|id| id == second), Some(61200));
        assert_eq!(Dynamic::default().hold("a", "a.service", &[], &|_| true), None);
    }

    #[test]
    fn names() {
        let tree = Tree::new("dynamic");
        let name = |unit: &str, keys: &str| {
            tree.unit(unit, &format!("[Service]\nExecStart=/bin/a\nDynamicUser=yes\n{keys}\n"));
            name_of(&tree.load(unit))
        };
        assert_eq!(name("web-app.service", ""), "web-app");
        assert_eq!(name("a.service", "User=u"), "u");
        assert!(name("9.service", "").starts_with("_du"));
        tree.unit("t@.service", "[Service]\nExecStart=/bin/a\nDynamicUser=yes\n");
        assert_eq!(name_of(&tree.load("t@1.service")), "t");
    }

    #[test]
    fn a_user_of_the_tree_is_taken_and_never_root() {
        let tree = Tree::new("dynamic-static");
        tree.file("/etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:33:44::/srv:/bin/sh\n");
        tree.file("/etc/group", "root:x:0:\nweb:x:44:\nmore:x:55:\n");
        let root = OwnedFd::from(std::fs::File::open(&tree.path).unwrap());
        let user = |name: &str, keys: &str| {
            tree.unit(name, &format!("[Service]\nExecStart=/bin/a\nDynamicUser=yes\n{keys}\n"));
            let unit = tree.load(name);
            let context = Context::of(&unit, &mut |_| ());
            Dynamic::default().user_in(&root, &unit, &context)
        };
        let found = user("web.service", "").unwrap().unwrap();
        assert_eq!((found.uid, found.gid), (33, 44));
        let found = user("web.service", "Group=more").unwrap().unwrap();
        assert_eq!((found.uid, found.gid), (33, 55));
        assert!(user("web.service", "Group=none").is_err());
        assert!(user("root.service", "").unwrap_err().contains("root's name"));
        assert_eq!(user("a.service", "User=web").unwrap(), None);
        assert!(RANGE.contains(&user("a.service", "").unwrap().unwrap().uid));
    }

    #[test]
    fn directories_move_into_private_and_back() {
        let tree = Tree::new("dynamic-dirs");
        let top = tree.path.join("lib");
        let top = top.to_str().unwrap();
        std::fs::create_dir_all(format!("{top}/a/b")).unwrap();
        std::fs::write(format!("{top}/a/b/file"), "x").unwrap();
        assert_eq!(private_directory(top, "a/b").unwrap(), format!("{top}/private/a/b"));
        assert_eq!(std::fs::read_link(format!("{top}/a/b")).unwrap().to_str(), Some("../private/a/b"));
        assert_eq!(std::fs::read_to_string(format!("{top}/a/b/file")).unwrap(), "x");
        assert_eq!(std::fs::metadata(format!("{top}/private")).unwrap().mode() & 0o777, 0o700);
        // one that was open to all is closed again
        std::fs::set_permissions(format!("{top}/private"), std::fs::Permissions::from_mode(0o755)).unwrap();
        private_directory(top, "a/b").unwrap();
        assert_eq!(std::fs::metadata(format!("{top}/private")).unwrap().mode() & 0o777, 0o700);
        // somebody else's link is not taken for ours
        symlink("/etc", format!("{top}/c")).unwrap();
        assert!(private_directory(top, "c").is_err());
        public_directory(top, "a/b").unwrap();
        assert!(std::fs::symlink_metadata(format!("{top}/a/b")).unwrap().is_dir());
        assert_eq!(std::fs::read_to_string(format!("{top}/a/b/file")).unwrap(), "x");
    }
}
