//! Users of the host that are to exist in a machine: what the host knows of them, and which names and ids its tree has already.

use std::os::fd::{AsFd, BorrowedFd};

use hostel_process::userdb;
use rustix::fs::{Mode, OFlags};

use crate::error::{Context, Error, Result};

/// First id of ordinary users (login.defs(5), UID_MIN).
const FIRST_ORDINARY: u32 = 1000;
/// `nobody`, and what has no other name.
const NOBODY: u32 = 65534;

/// A user of the host.
#[derive(Clone, PartialEq, Eq)]
pub struct HostUser {
    /// Name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Id of the primary group.
    pub gid: u32,
    /// Its name.
    pub group: String,
    /// Home directory, absolute.
    pub home: String,
    /// Login shell, absolute.
    pub shell: String,
    /// Hashed password, if it has one to log in with.
    pub password: Option<String>,
}

/// The hash is a secret.
impl std::fmt::Debug for HostUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostUser({} {}:{}({}) {} {})", self.name, self.uid, self.gid, self.group, self.home, self.shell)
    }
}

/// Names and ids of a tree's user database.
pub type Taken = userdb::Names;

/// Looks the host's users up in its /etc/passwd, /etc/group and /etc/shadow.
pub fn of_host(names: &[String]) -> Result<Vec<HostUser>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).context("open", "/")?;
    let known = taken(root.as_fd())?;
    let mut out: Vec<HostUser> = Vec::with_capacity(names.len());
    for name in names {
        let refuse = |why: String| Error::new("bind", format!("user {name:?}"), why);
        if !known.users.iter().any(|(other, _)| other == name) {
            return Err(refuse("the host's /etc/passwd has no such user".into()));
        }
        let user = userdb::lookup(&root, &hostel_spec::UserSelector::Name(name.clone())).map_err(|e| refuse(e.to_string()))?;
        if user.uid == 0 || user.uid == NOBODY {
            return Err(refuse("every machine has its own root and nobody".into()));
        }
        if user.uid < FIRST_ORDINARY {
            return Err(refuse(format!("its id {} is a system user's", user.uid)));
        }
        if let Some(other) = out.iter().find(|other| other.uid == user.uid) {
            return Err(refuse(format!("it is {} under another name", other.name)));
        }
        let group = known.groups.iter().find(|(_, gid)| *gid == user.gid).map(|(group, _)| group.clone());
        let group = group.ok_or_else(|| refuse(format!("the host's /etc/group has no group {}", user.gid)))?;
        let password = userdb::password(&root, name).map_err(|e| refuse(e.to_string()))?;
        out.push(HostUser { name: user.name, uid: user.uid, gid: user.gid, group, home: user.home, shell: user.shell, password });
    }
    Ok(out)
}

/// The names and ids a tree has.
pub fn taken(tree: BorrowedFd<'_>) -> Result<Taken> {
    userdb::names(tree).map_err(|e| {
        let (verb, object, cause) = e.parts();
        Error::new(verb, object, cause)
    })
}
