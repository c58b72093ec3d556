//! Taking an address, and keeping it for a machine from run to run.
//!
//! | what | where |
//! |---|---|
//! | who has an address now | `network/ADDRESS` below the state directory: a link whose text is the machine's name. Making it takes the address: one maker wins, without a lock |
//! | what a machine had last | `leases/NAME` in /var/lib/hostel: a link whose text is the address. For machines that stay; a throw-away one has the address its name gives it.
//! Its time is that of the machine's last start: of more than 1024 the oldest are forgotten |

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use hostel_spec::{AddressPool, Arrange as _, Hint, MachineName, MachineUuid};
use hostel_sys::netlink::{self, route};

use super::ipv6::{self, Network6};
use super::pool::{self, Addressing, Used};
use crate::error::{Context, Error, Result};
use crate::registry::{self, Claim, Registry, Undo};

/// What decides about a machine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressChoice {
    /// In this zone; `None`: on a cable of its own.
    pub zone: Option<String>,
    /// The interface on the host that carries its network: an earlier one of that name is no obstacle.
    pub link: String,
    /// Where addresses come from, when it was said.
    pub pool: Option<AddressPool>,
    /// The machine stays: remember its address.
    pub keep: bool,
    /// What tells this host's IPv6 networks from others'.
    pub host: Option<MachineUuid>,
}

/// Where a host may say which pool to use: one line such as `10.208.0.0/12`.
const CONFIGURED: &str = "/etc/hostel/network-pool";

/// How many leases are kept.
const MAX_LEASES: usize = 1024;

/// Where leases are.
pub(crate) fn leases(root: &Path) -> PathBuf {
    // A state directory of its own has everything of its own.
    if root == Path::new(registry::DEFAULT_ROOT) { PathBuf::from("/var/lib/hostel/leases") } else { root.join("leases") }
}

fn pools(choice: &AddressChoice) -> Result<Vec<AddressPool>> {
    if let Some(pool) = choice.pool {
        return Ok(vec![pool]);
    }
    match fs::read_to_string(CONFIGURED) {
        Ok(text) => match AddressPool::parse(text.trim()) {
            Ok(pool) => Ok(vec![pool]),
            Err(why) => Err(Error::new("read", CONFIGURED, why)),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(pool::POOLS.to_vec()),
        Err(e) => Err(e).context("read", CONFIGURED),
    }
}

/// An address that was taken, and the file that says so.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) addressing: Addressing,
    pub(super) file: PathBuf,
}

/// Takes an address for the machine of `claim`.
pub(super) fn take(choice: &AddressChoice, claim: &mut Claim) -> Result<Taken> {
    let failed = |e: io::Error| Error::new("look at", "addresses of the host", crate::error::io_text(&e));
    let pools = pools(choice)?;
    let mut socket = route::open().map_err(failed)?;
    let used = Used::of(&route::routes4(&mut socket).map_err(failed)?, &route::addresses(&mut socket).map_err(failed)?);
    let own = netlink::index_of(&choice.link).ok();
    let desk = Desk { dir: claim.root().join("network"), root: claim.root().to_owned(), name: claim.name().clone() };
    // The umask is 0 here.
    fs::DirBuilder::new().mode(0o755).recursive(true).create(&desk.dir).context("make", desk.dir.display().to_string())?;
    let lease = leases(&desk.root).join(desk.name.as_str());
    let before = choice.keep.then(|| fs::read_link(&lease).ok()?.to_str()?.parse().ok()).flatten();
    let mine = |a: &Addressing| desk.have(a.address, desk.name.as_str());
    let found = match &choice.zone {
        Some(zone) => pool::zone_block(&pools, &used, zone, own, |block| desk.have(block.network, &zone_text(zone)))
            .and_then(|block| pool::in_zone(block, zone, &used, desk.name.as_str(), before, mine)),
        None => pool::on_cable(&pools, &used, desk.name.as_str(), own, before, mine),
    };
    let Some(mut addressing) = found else {
        let text: Vec<String> = pools.iter().map(ToString::to_string).collect();
        return Err(Error::new("find", format!("address for machine {}", desk.name), format!("none is free in {}", text.join(", ")))
            .hint(Hint::OtherAddresses));
    };
    if ipv6::is_there() {
        let world = !ipv6::ways_out(&mut socket).is_empty();
        addressing.six = Some(Network6::beside(addressing.block(), addressing.number6(), choice.host.as_ref(), world));
    }
    let file = desk.file(addressing.address);
    claim.journal(&Undo::File { path: file.clone().into_os_string().into() })?;
    if choice.keep {
        // Without a lease the machine has an address all the same, perhaps another one next time.
        let _ = if before == Some(addressing.address) { used_now(&lease) } else { remember(&lease, addressing.address) };
    }
    Ok(Taken { addressing, file })
}

fn remember(lease: &Path, address: Ipv4Addr) -> io::Result<()> {
    let Some(dir) = lease.parent() else { return Ok(()) };
    fs::DirBuilder::new().mode(0o755).recursive(true).create(dir)?;
    let new = dir.join(format!(".#hostel-{address}"));
    let _ = fs::remove_file(&new);
    std::os::unix::fs::symlink(address.to_string(), &new)?;
    fs::rename(new, lease)?;
    forget_oldest(dir, MAX_LEASES)
}

/// The lease is one of the youngest from now on.
fn used_now(lease: &Path) -> io::Result<()> {
    let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
    Ok(rustix::fs::utimensat(rustix::fs::CWD, lease, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Of more than `most` leases the oldest go, an eighth at a time: whoever comes next does not look at all of them again.
fn forget_oldest(dir: &Path, most: usize) -> io::Result<()> {
    let all: Vec<PathBuf> = fs::read_dir(dir)?.flatten().map(|e| e.path()).collect();
    if all.len() <= most {
        return Ok(());
    }
    let mut dated: Vec<_> = all.into_iter().filter_map(|path| Some((fs::symlink_metadata(&path).ok()?.modified().ok()?, path))).collect();
    dated.arrange();
    let spare = dated.len() - (most - most / 8).min(dated.len());
    dated.into_iter().take(spare).try_for_each(|(_, path)| match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    })
}

/// Forgets what a machine had: it was removed.
pub fn forget(root: &Path, name: &MachineName) {
    let _ = fs::remove_file(leases(root).join(name.as_str()));
}

fn zone_text(zone: &str) -> String {
    // No machine has a name with a space.
    format!("zone {zone}")
}

/// Gives a zone's network back.
pub(super) fn release_zone(root: &Path, zone: &str) {
    let Ok(entries) = fs::read_dir(root.join("network")) else { return };
    for entry in entries.flatten() {
        if fs::read_link(entry.path()).is_ok_and(|text| text == Path::new(&zone_text(zone))) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Where addresses are given out.
struct Desk {
    dir: PathBuf,
    root: PathBuf,
    name: MachineName,
}

impl Desk {
    fn file(&self, address: Ipv4Addr) -> PathBuf {
        self.dir.join(address.to_string())
    }

    /// Writes down that `owner` has an address; false when somebody else has it.
    fn have(&self, address: Ipv4Addr, owner: &str) -> bool {
        let file = self.file(address);
        for _ in 0..2 {
            match std::os::unix::fs::symlink(owner, &file) {
                Ok(()) => return true,
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return false,
                Err(_) => {}
            }
            let Ok(other) = fs::read_link(&file) else { continue };
            let Some(other) = other.to_str() else { return false };
            if other == owner {
                return true;
            }
            if self.lives(other) {
                return false;
            }
            let _ = fs::remove_file(&file);
        }
        false
    }

    /// Whether the owner of an address is there. What cannot be found out counts as there.
    fn lives(&self, owner: &str) -> bool {
        if let Some(zone) = owner.strip_prefix("zone ") {
            return netlink::index_of(&format!("vz-{zone}")).is_ok();
        }
        let Ok(name) = MachineName::new(owner) else { return false };
        let Ok(registry) = Registry::open(&self.root) else { return true };
        match registry.load(&name) {
            Ok(machine) => machine.liveness != registry::Liveness::Dead,
            Err(registry::RegistryError::NotRunning { .. }) => false,
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leases_are_forgotten() {
        let dir = std::env::temp_dir().join(format!("hostel-leases-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let lease = |n: u32| dir.join(format!("m{n}"));
        for n in 0..16u8 {
            remember(&lease(n.into()), Ipv4Addr::new(10, 208, 0, n)).expect("remember");
            // A clock may be coarse.
            let time = rustix::fs::Timespec { tv_sec: 1_000_000 + i64::from(n), tv_nsec: 0 };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(rustix::fs::CWD, lease(n.into()), &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).expect("date");
        }
        used_now(&lease(0)).expect("use");
        forget_oldest(&dir, 16).expect("room");
        assert_eq!(fs::read_dir(&dir).expect("list").count(), 16, "there is room");
        forget_oldest(&dir, 15).expect("forget");
        let left: Vec<u32> = (0..16).filter(|n| lease(*n).symlink_metadata().is_ok()).collect();
        // 14 stay; the first was used last.
        assert_eq!(left, [[0].as_slice(), &(3..16).collect::<Vec<_>>()].concat());
        assert_eq!(fs::read_link(lease(0)).expect("a lease"), Path::new("10.208.0.0"));
        fs::remove_dir_all(&dir).expect("remove");
    }
}
