//! Users and groups of a given root, read from its files.
//!
//! No name service is asked and nothing of the tree is run: /etc/passwd and /etc/group are read by descriptor as untrusted
//! files (regular, at most 1 MiB), malformed lines are passed over, the first entry of a name or id counts.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use hostel_spec::{Arrange as _, UserSelector};
use hostel_sys::tree::{ReadError, read_regular};
use rustix::io::Errno;

/// Most bytes of a user database file that are read.
const LIMIT: usize = 1 << 20;
/// Most supplementary groups the kernel takes (NGROUPS_MAX).
const GROUPS_MAX: usize = 65536;

/// A user as a process becomes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name; an id without an entry goes by its number.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids, the primary one first, each once; none for [`User::root`].
    pub groups: Vec<u32>,
    /// Home directory, absolute.
    pub home: String,
    /// Login shell, absolute.
    pub shell: String,
}

impl User {
    /// Root as every tree has it, without supplementary groups; nothing is read.
    pub fn root() -> Self {
        nameless(0)
    }
}

/// Why a user cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserError {
    /// It is neither a name nor a number.
    Invalid {
        /// As given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No entry of this name.
    Unknown(String),
    /// A file of the database was not read.
    Unreadable {
        /// Path inside.
        file: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// A file of the database could not be read.
    Os {
        /// Path inside.
        file: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
}

impl UserError {
    /// Verb, object and cause apart, for errors that have a place for each.
    pub fn parts(&self) -> (&'static str, String, String) {
        match self {
            Self::Invalid { text, why } => ("use", format!("user {text:?}"), (*why).to_owned()),
            Self::Unknown(name) => ("find", format!("user {name:?}"), "no such user in the machine's /etc/passwd".to_owned()),
            Self::Unreadable { file, why } => ("read", format!("{file} of the machine"), (*why).to_owned()),
            Self::Os { file, errno } => {
                let text = std::io::Error::from(*errno).to_string();
                let bare = text.split(" (os error").next().unwrap_or_default().to_owned();
                ("read", format!("{file} of the machine"), bare)
            }
        }
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, object, cause) = self.parts();
        write!(f, "{verb} {object}: {cause}")
    }
}
impl std::error::Error for UserError {}

/// Parses what a user writes: a name, or a decimal id without sign, blanks or leading zeros.
///
/// 65535 and 4294967295 are refused: both mean "no id" somewhere.
pub fn parse_selector(text: &str) -> Result<UserSelector, UserError> {
    let refuse = |why| Err(UserError::Invalid { text: text.to_owned(), why });
    let Some(first) = text.bytes().next() else { return refuse("it is empty") };
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return match parse_id(text.as_bytes()) {
            Some(id) => Ok(UserSelector::Id(id)),
            None if first == b'0' => refuse("it is a number with leading zeros"),
            None => refuse("it is not a valid user id"),
        };
    }
    if !(first.is_ascii_alphabetic() || first == b'_') {
        return refuse("a user name starts with a letter or '_'");
    }
    if text.len() > 256 {
        return refuse("it is too long");
    }
    if text.bytes().any(|b| b.is_ascii_control() || matches!(b, b':' | b'/' | b' ' | b',')) {
        return refuse("it has a character that no user name has");
    }
    Ok(UserSelector::Name(text.to_owned()))
}

/// A decimal id, strictly: digits only, no leading zero, below 2^32 − 1, not 65535.
pub fn parse_id(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 10 || (text[0] == b'0' && text.len() > 1) {
        return None;
    }
    let mut id = 0u64;
    for digit in text {
        if !digit.is_ascii_digit() {
            return None;
        }
        id = id * 10 + u64::from(digit - b'0');
    }
    u32::try_from(id).ok().filter(|id| *id != u32::MAX && *id != 65535)
}

/// Looks a user up in the tree `root`.
///
/// An id without an entry gets itself as group, `/` as home and /bin/sh; root is known without any file.
pub fn lookup<Fd: AsFd>(root: Fd, who: &UserSelector) -> Result<User, UserError> {
    let passwd = read(root.as_fd(), "/etc/passwd")?;
    let group = read(root.as_fd(), "/etc/group")?;
    resolve(&passwd, &group, who)
}

/// A missing file is an empty one.
fn read(root: BorrowedFd<'_>, file: &'static str) -> Result<Vec<u8>, UserError> {
    match read_regular(root, Path::new(file), LIMIT) {
        Ok(bytes) => Ok(bytes),
        Err(ReadError::Os(Errno::NOENT | Errno::NOTDIR)) => Ok(Vec::new()),
        Err(ReadError::Os(errno)) => Err(UserError::Os { file, errno }),
        Err(ReadError::NotRegular) => Err(UserError::Unreadable { file, why: "it is not a regular file" }),
        Err(ReadError::TooLarge) => Err(UserError::Unreadable { file, why: "it is larger than 1 MiB" }),
    }
}

/// Every name and id of a tree's users and groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// (name, uid)
    pub users: Vec<(String, u32)>,
    /// (name, gid)
    pub groups: Vec<(String, u32)>,
}

/// The users and groups of the tree `root`.
pub fn names<Fd: AsFd>(root: Fd) -> Result<Names, UserError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let passwd = read(root.as_fd(), "/etc/passwd")?;
    let users = lines(&passwd).filter_map(Passwd::parse).map(|entry| (text(entry.name), entry.uid)).collect();
    let group = read(root.as_fd(), "/etc/group")?;
    let groups = lines(&group).filter_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((text(name), parse_id(fields.nth(1)?)?))
    });
    Ok(Names { users, groups: groups.collect() })
}

/// The hashed password of a user (shadow(5)); none when it is locked, empty, or no hash of crypt(5).
pub fn password<Fd: AsFd>(root: Fd, name: &str) -> Result<Option<String>, UserError> {
    let shadow = read(root.as_fd(), "/etc/shadow")?;
    let entry = lines(&shadow).find_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        (fields.next() == Some(name.as_bytes())).then(|| fields.next().unwrap_or_default().to_vec())
    });
    let is_hash = |hash: &String| hash.starts_with('$') && hash.bytes().all(|b| b.is_ascii_graphic());
    Ok(entry.and_then(|hash| String::from_utf8(hash).ok()).filter(is_hash))
}

/// [`lookup`] in the bytes of passwd(5) and group(5).
pub fn resolve(passwd: &[u8], group: &[u8], who: &UserSelector) -> Result<User, UserError> {
    let wanted = |entry: &Passwd<'_>| match who {
        UserSelector::Name(name) => entry.name == name.as_bytes(),
        UserSelector::Id(id) => entry.uid == *id,
    };
    if let Some(entry) = lines(passwd).filter_map(Passwd::parse).find(wanted) {
        return Ok(User {
            name: String::from_utf8_lossy(entry.name).into_owned(),
            uid: entry.uid,
            gid: entry.gid,
            groups: groups_of(group, entry.name, entry.gid),
            home: absolute(entry.home, "/"),
            shell: absolute(entry.shell, "/bin/sh"),
        });
    }
    match who {
        UserSelector::Name(name) if name == "root" => Ok(nameless(0)),
        UserSelector::Name(name) => Err(UserError::Unknown(name.clone())),
        UserSelector::Id(id) if *id == u32::MAX || *id == 65535 => Err(UserError::Invalid { text: id.to_string(), why: "it is not a valid user id" }),
        UserSelector::Id(id) => Ok(nameless(*id)),
    }
}

fn nameless(id: u32) -> User {
    let root = id == 0;
    User {
        name: if root { "root".to_owned() } else { id.to_string() },
        uid: id,
        gid: id,
        groups: if root { Vec::new() } else { vec![id] },
        home: if root { "/root" } else { "/" }.to_owned(),
        shell: "/bin/sh".to_owned(),
    }
}

/// A path of the database, or `default` when it is none that can be said in an environment variable.
fn absolute(path: &[u8], default: &str) -> String {
    let path = if path.starts_with(b"/") && !path.contains(&0) { std::str::from_utf8(path).ok() } else { None };
    path.unwrap_or(default).to_owned()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    // `+` and `-` lines belong to name services that are not asked here.
    text.split(|b| *b == b'\n').filter(|line| !matches!(line.first(), None | Some(b'#' | b'+' | b'-')))
}

/// A line of passwd(5): name:password:uid:gid:gecos:home:shell.
struct Passwd<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
    shell: &'a [u8],
}

impl<'a> Passwd<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let mut fields = fields.skip(1);
        let (uid, gid) = (parse_id(fields.next()?)?, parse_id(fields.next()?)?);
        let mut fields = fields.skip(1);
        // Short lines are met in small images.
        Some(Self { name, uid, gid, home: fields.next().unwrap_or_default(), shell: fields.next().unwrap_or_default() })
    }
}

/// The groups that list `name` as a member (group(5): name:password:gid:member,member), after the primary one.
fn groups_of(group: &[u8], name: &[u8], primary: u32) -> Vec<u32> {
    let mut ids = vec![primary];
    for line in lines(group) {
        let mut fields = line.split(|b| *b == b':').skip(2);
        let (Some(gid), Some(members)) = (fields.next().and_then(parse_id), fields.next()) else { continue };
        if gid != primary && members.split(|b| *b == b',').any(|member| member == name) {
            ids.push(gid);
        }
    }
    ids[1..].arrange();
    ids.dedup();
    ids.truncate(GROUPS_MAX);
    ids
}

#[cfg(test)]
mod tests;
