//! Finding and looking at the tree of a spec, before anything changes.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_image::versions::{self, Wanted};
use hostel_image::{architecture, inroot, locks, machine_id, open, stamped};
use hostel_spec::{Ephemeral, Hint, Layers, MachineSpec, Payload, TreeSource, UpperLayer, Volatile};
use hostel_sys::tree::btrfs::{self, subvolume};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxAttributes, StatxFlags};

use crate::error::{Context, Error, Result};
use crate::plan::{OwnFiles, TreeFacts};

/// What was found: the facts for the plan, and the tree itself, opened (O_PATH); none when it will be made from a template.
pub type Found = (TreeFacts, Option<OwnedFd>);

impl From<hostel_image::Error> for Error {
    fn from(e: hostel_image::Error) -> Self {
        let busy = matches!(e.cause, hostel_image::Cause::Busy { .. });
        let error = Error::new(e.verb, e.object.display().to_string(), e.cause);
        if busy { error.busy() } else { error }
    }
}

/// Opens and checks the tree of `spec`. Refuses what cannot be run before anything is changed.
pub fn find(spec: &MachineSpec) -> Result<Found> {
    let (facts, tree) = find_tree(spec)?;
    Ok((TreeFacts { own: own_files(spec), ..facts }, tree))
}

/// Looks at a kept upper layer, if anything would be written to it.
fn own_files(spec: &MachineSpec) -> OwnFiles {
    let upper = match (&spec.root.upper, &spec.root.layers) {
        (Some(kept), _) => kept.join("upper"),
        (None, Some(Layers { upper: UpperLayer::Kept { upper, .. }, .. })) => upper.clone(),
        _ => return OwnFiles::default(),
    };
    let of_host = spec.root.tree == TreeSource::Host;
    if of_host && !spec.network.is_addressed() {
        return OwnFiles::default();
    }
    // None yet: it is made with the machine.
    let Ok(top) = rustix::fs::open(&upper, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
        return OwnFiles { kept: true, ..OwnFiles::default() };
    };
    let own = |path: &str| stamped::is_own(top.as_fd(), Path::new(path));
    // An empty one is what a mount was put on.
    let empty = |path: &str| {
        let file = inroot::open_beneath_no_symlinks(top.as_fd(), Path::new(path), OFlags::PATH | OFlags::NOFOLLOW);
        file.ok()
            .and_then(|file| rustix::fs::fstat(&file).ok())
            .is_some_and(|s| s.st_size == 0 && FileType::from_raw_mode(s.st_mode) == FileType::RegularFile)
    };
    let localtime = !of_host && own("etc/localtime") && !empty("etc/localtime");
    OwnFiles { kept: true, resolver: own("etc/resolv.conf"), localtime }
}

fn find_tree(spec: &MachineSpec) -> Result<Found> {
    match &spec.root.tree {
        TreeSource::Host => of_host(),
        TreeSource::Directory(path) => directory(spec, &versions::pick(path, Wanted::Tree)?),
        TreeSource::Image(path) => crate::image::find(spec, &versions::pick(path, Wanted::Image)?),
        TreeSource::Named(name) => match open::find(name) {
            Ok(open::Found { path, kind: open::Kind::Directory | open::Kind::Subvolume, .. }) => directory(spec, &path),
            Ok(open::Found { path, kind: open::Kind::DiskImage | open::Kind::BlockDevice, .. }) => crate::image::find(spec, &path),
            Ok(open::Found { path, .. }) => {
                Err(Error::new("open", format!("tree {}", path.display()), "it is a kept overlay; `hostel run --keep` and `hostel boot` run it"))
            }
            Err(e) if spec.root.template.is_some() && matches!(e.cause, hostel_image::Cause::Os(rustix::io::Errno::NOENT)) => {
                directory(spec, &Path::new("/var/lib/machines").join(name.as_str()))
            }
            Err(e) if Path::new(name.as_str()).is_dir() => Err(Error::from(e).hint(format!("the directory of that name here is ./{name}"))),
            Err(e) => Err(Error::from(e).hint("`hostel images` lists the trees that have names; another is given by its path")),
        },
    }
}

fn of_host() -> Result<Found> {
    let path = PathBuf::from("/");
    let tree = open::directory(&path)?;
    let facts = facts(tree.as_fd(), path)?;
    // The host's id is the host's: an overlay of it is another machine.
    Ok((TreeFacts { machine_id: None, ..facts }, Some(tree)))
}

fn directory(spec: &MachineSpec, given: &Path) -> Result<Found> {
    if spec.root.image.root_hash.is_some() {
        return Err(Error::new("verify", format!("tree {}", given.display()), "it is a directory; only a disk image has a root hash"));
    }
    let hint = |e: Error| e.hint("give the top directory of a system tree, or the name of one in /var/lib/machines");
    let path = match std::fs::canonicalize(given) {
        Ok(path) => path,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && spec.root.template.is_some() => return missing(spec, given),
        Err(e) => return Err(hint(Error::new("open", format!("tree {}", given.display()), crate::error::io_text(&e)))),
    };
    let tree = open::directory(&path).map_err(|e| hint(e.into()))?;
    let throw_away = spec.root.ephemeral != Ephemeral::No || matches!(spec.root.volatile, Volatile::Yes | Volatile::State);
    if !throw_away {
        open::refuse_host_root(tree.as_fd(), &path).map_err(|e| Error::from(e).hint(Hint::HostRoot))?;
    }
    let pivot = pivoted(spec, tree.as_fd(), &path)?;
    let root = pivot.as_ref().map_or(tree.as_fd(), AsFd::as_fd);
    match spec.payload {
        // A bundle's root is whatever its program needs.
        _ if spec.bundle.is_some() => {}
        Payload::Boot if spec.root.skip_os_release_check => {}
        Payload::Boot => open::require_os_release(root, &path)
            .map_err(|e| Error::from(e).hint("give the top of a system tree; SYSTEMD_NSPAWN_CHECK_OS_RELEASE=0 boots it anyway"))?,
        _ => open::require_usr(root, &path).map_err(|e| Error::from(e).hint("give the top of a system tree"))?,
    }
    let given_name = std::path::absolute(given).ok().and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
    let copied = spec.root.ephemeral == Ephemeral::Copy;
    let writer = if copied && !spec.root.unlocked { locks::writer(locks::directory(), tree.as_fd()) } else { None };
    let writer = writer.map(|who| who.map_or_else(|| "another program".into(), |(name, _)| format!("machine {name}")));
    // What lies below an overlay must not change.
    let layers = copied && writer.is_none() && is_for_layers(tree.as_fd());
    // The owner is the tree's; what is in it, that of the directory which will be the root.
    let found = facts(root, path.clone())?;
    let owner = if pivot.is_some() { facts(tree.as_fd(), path)?.owner } else { found.owner };
    let users = if spec.bind_users.is_none() { None } else { Some(crate::users::taken(root)?) };
    Ok((TreeFacts { given_name, layers, writer, owner, users, ..found }, Some(tree)))
}

/// The directory of the tree that becomes the root, if it is not the tree itself.
pub(crate) fn pivoted(spec: &MachineSpec, tree: std::os::fd::BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>> {
    let Some(pivot) = &spec.root.pivot else { return Ok(None) };
    let opened = hostel_image::inroot::directory(tree, &pivot.new);
    opened.map(Some).map_err(|e| Error::new("open", format!("{} of tree {}", pivot.new.display(), path.display()), e))
}

/// The tree will be a copy of the template; its facts are the template's where that matters.
fn missing(spec: &MachineSpec, given: &Path) -> Result<Found> {
    let parent = given.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = std::fs::canonicalize(parent).context("open", parent.display().to_string())?;
    let name = given.file_name().ok_or_else(|| Error::new("make", format!("tree {}", given.display()), "the path has no last part"))?;
    let mut users = None;
    if let (Some(template), false) = (&spec.root.template, spec.bind_users.is_none()) {
        let tree = open::directory(template)?;
        let pivot = pivoted(spec, tree.as_fd(), template)?;
        users = Some(crate::users::taken(pivot.as_ref().map_or(tree.as_fd(), AsFd::as_fd))?);
    }
    Ok((TreeFacts { path: parent.join(name), missing: true, merged_usr: true, users, ..TreeFacts::default() }, None))
}

/// ext4, tmpfs and f2fs: no reflinks, good for upper layers. Others (btrfs, XFS) copy by sharing; and what is neither
/// (network file systems, another overlay) is copied byte by byte.
fn is_for_layers(tree: std::os::fd::BorrowedFd<'_>) -> bool {
    const TYPES: [u64; 3] = [0xef53, 0x0102_1994, 0xf2f5_2010];
    rustix::fs::fstatfs(tree).is_ok_and(|s| TYPES.contains(&(s.f_type as u64)))
}

fn is_read_only_subvolume(tree: std::os::fd::BorrowedFd<'_>) -> bool {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let opened = rustix::fs::openat(tree, c".", flags, rustix::fs::Mode::empty());
    opened.is_ok_and(|dir| subvolume::is_read_only(dir.as_fd()).unwrap_or(false))
}

fn facts(tree: std::os::fd::BorrowedFd<'_>, path: PathBuf) -> Result<TreeFacts> {
    let looked = rustix::fs::statx(tree, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
    let stat = looked.context("read", format!("tree {}", path.display()))?;
    let merged = rustix::fs::statat(tree, c"bin", AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Symlink);
    let read_only = rustix::fs::fstatvfs(tree).is_ok_and(|v| v.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    // Whatever the host's own programs are, they run here already.
    let secondary_architecture = path != Path::new("/") && architecture::is_secondary(tree);
    Ok(TreeFacts {
        path,
        owner: (stat.stx_uid, stat.stx_gid),
        machine_id: machine_id::read(tree),
        merged_usr: merged,
        missing: false,
        read_only,
        marked: stat.stx_attributes.contains(StatxAttributes::IMMUTABLE) || stat.stx_ino == btrfs::TOP_INODE && is_read_only_subvolume(tree),
        layers: false,
        writer: None,
        given_name: None,
        secondary_architecture,
        image: None,
        users: None,
        own: OwnFiles::default(),
    })
}
