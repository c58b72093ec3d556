//! Picking a free range of 65 536 host ids for a machine, the way systemd-nspawn does and together with it.
//!
//! A picked range is held by a lock file that real systemd-nspawn looks at too. Candidates in order: the range the tree
//! already belongs to, one hashed from the machine's name (so that a name keeps its range), then random ones.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use hostel_spec::{IdRange, MachineName};
use hostel_sys::tree::{Lock, random_u64};

use crate::error::On;
use crate::lockfile::{LockFile, Taken};
use crate::{Cause, Result};

/// Ids per machine.
pub const COUNT: u32 = 0x1_0000;
/// Lowest base that is picked.
pub const MIN: u32 = 0x0008_0000;
/// Highest base that is picked.
pub const MAX: u32 = 0x6fff_0000;
/// How many candidates are tried.
const TRIES: usize = 100;

/// Where lock files and the host's own ids are.
#[derive(Debug, Clone)]
pub struct Places {
    /// Directory of the lock files, one per base.
    pub locks: PathBuf,
    /// The host's `etc`: passwd, group, subuid and subgid are read.
    pub etc: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { locks: "/run/systemd/nspawn-uid".into(), etc: "/etc".into() }
    }
}

/// A range of ids that no other machine gets while this is held.
#[derive(Debug)]
pub struct Claim {
    /// The ids.
    pub range: IdRange,
    lock: LockFile,
}

impl AsFd for Claim {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

/// Whether `base` may be picked: multiple of 65 536 within [`MIN`]…[`MAX`].
pub fn is_pickable(base: u32) -> bool {
    base & 0xffff == 0 && (MIN..=MAX).contains(&base)
}

/// A number made the base of a range.
fn fold(number: u32) -> u32 {
    (number % (MAX - MIN) + MIN) & 0xffff_0000
}

/// The base that a machine's name leads to.
pub fn from_name(name: &str) -> u32 {
    fold(crate::names::siphash(0xe156_e0f0_4af0_41af_9641_cf41_3394_ff72, name.as_bytes()) as u32)
}

/// Bases to try, in order, for a tree whose root belongs to uid `owner`.
pub fn candidates(owner: u32, name: &str, mut random: impl FnMut() -> u32) -> impl Iterator<Item = u32> {
    let own = Some(owner & 0xffff_0000).filter(|base| is_pickable(*base));
    own.into_iter().chain(std::iter::once(from_name(name))).chain(std::iter::from_fn(move || Some(fold(random())))).take(TRIES)
}

/// The range a tree belongs to (`--private-users=yes`): the upper 16 bits of its owner, which uid and gid must share.
pub fn of_owner(uid: u32, gid: u32) -> std::result::Result<IdRange, Cause> {
    if uid & 0xffff_0000 != gid & 0xffff_0000 {
        return Err(Cause::Why("its owner and group are of different id ranges"));
    }
    // 0xffffffff is no id, and the range that ends there holds it.
    if uid >= 0xffff_0000 {
        return Err(Cause::Why("its owner is of no usable id range"));
    }
    Ok(IdRange { base: uid & 0xffff_0000, count: COUNT })
}

/// Claims the first candidate that nobody uses: no lock on it, no user or group of the host in it.
///
/// A range delegated by /etc/subuid or /etc/subgid is left alone too (systemd-nspawn would take it), except where the tree
/// already belongs to it. Reads the host's files only, no name services.
pub fn pick(places: &Places, owner: u32, name: &MachineName) -> Result<Claim> {
    let host = HostIds::read(&places.etc);
    let random = || random_u64().map_or(0, |n| n as u32);
    for base in candidates(owner, name.as_str(), random) {
        if host.by_accounts(base) || (base != owner & 0xffff_0000 && host.by_delegation(base)) {
            continue;
        }
        if let Some(claim) = claim(places, base)? {
            return Ok(claim);
        }
    }
    Err(Cause::Why("100 ranges were tried, none is free").on("pick ids for machine", Path::new(name.as_str())))
}

/// Claims the range from `base`; `None` when another machine has it.
pub fn claim(places: &Places, base: u32) -> Result<Option<Claim>> {
    let path = places.locks.join(base.to_string());
    match LockFile::take(&path, Lock::Exclusive, 0o755)? {
        Taken::Yes(lock) => Ok(Some(Claim { range: IdRange { base, count: COUNT }, lock })),
        Taken::Busy(_) => Ok(None),
    }
}

/// Which ids the host's own files speak of.
struct HostIds {
    accounts: Vec<u32>,
    delegated: Vec<(u64, u64)>,
}

impl HostIds {
    fn read(etc: &Path) -> Self {
        let text = |name: &str| std::fs::read(etc.join(name)).unwrap_or_default();
        let mut accounts = Vec::new();
        // user:x:UID:GID:… and group:x:GID:…; what is in the range of no candidate is dropped at once.
        for file in ["passwd", "group"] {
            accounts.extend(numbers(&text(file)).filter_map(|[_, _, id]| id).filter(|id| *id >= MIN));
        }
        let mut delegated = Vec::new();
        for file in ["subuid", "subgid"] {
            delegated.extend(numbers(&text(file)).filter_map(|[_, base, count]| Some((u64::from(base?), u64::from(base?) + u64::from(count?)))));
        }
        Self { accounts, delegated }
    }

    fn by_accounts(&self, base: u32) -> bool {
        self.accounts.iter().any(|id| id & 0xffff_0000 == base)
    }

    fn by_delegation(&self, base: u32) -> bool {
        let (start, end) = (u64::from(base), u64::from(base) + u64::from(COUNT));
        self.delegated.iter().any(|(from, to)| *from < end && start < *to)
    }
}

/// The first three fields of each line, as numbers where they are.
fn numbers(text: &[u8]) -> impl Iterator<Item = [Option<u32>; 3]> + '_ {
    text.split(|b| *b == b'\n').map(|line| {
        let mut fields = line.split(|b| *b == b':').map(|field| std::str::from_utf8(field).ok()?.parse().ok());
        std::array::from_fn(|_| fields.next().flatten())
    })
}

/// Owner of a tree's root, as [`pick`] and [`of_owner`] want it.
pub fn owner(tree: BorrowedFd<'_>, name: &Path) -> Result<(u32, u32)> {
    let stat = rustix::fs::fstat(tree).on("read owner of tree", name)?;
    Ok((stat.st_uid, stat.st_gid))
}

#[cfg(test)]
mod tests;
