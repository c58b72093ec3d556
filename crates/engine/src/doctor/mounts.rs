//! File systems: overlays, idmapped mounts, loop devices, and what /var/lib/machines is on.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hostel_sys::clone::{NEWNS, NEWUSER};
use hostel_sys::mount::{self, Attributes, FsOption, Propagation};
use rustix::fs::{CWD, Mode, OFlags};

use super::probe::{id_map, in_child};
use super::{Finding, State};

pub(super) fn findings() -> Vec<Finding> {
    let mut out = vec![
        Finding::of("overlay", in_child(NEWNS, || overlay(c"/", None, false)), "`hostel run` over the host's /, --volatile=overlay, --overlay")
            .advise("a kernel with CONFIG_OVERLAY_FS (modprobe overlay)"),
        Finding::of(
            "overlay in a user namespace",
            in_child(NEWNS | NEWUSER, || overlay(c"l", None, true)),
            "overlays without root, and inside machines",
        )
        .advise("Linux 5.11 or newer"),
    ];
    match id_map() {
        Ok(map) => {
            out.extend(idmapped(map.as_fd()));
            let result = in_child(NEWNS, || overlay(c"l", Some((c"/", map.as_fd())), false));
            out.push(
                Finding::of("overlay over idmapped mounts", result, "`hostel run` over the host's / with a user namespace, nothing copied")
                    .advise("Linux 5.19 or newer; --privileged-users=host runs without a user namespace"),
            );
        }
        Err(e) => out.push(
            Finding::of("idmapped mounts", Err(e), "trees keep their owners with --private-users").advise("user namespaces have to be allowed first"),
        ),
    }
    out.push(loop_devices());
    out.push(trees());
    out
}

/// In a mount namespace of our own: an overlay with its upper layer on a new tmpfs, and a file made in it.
///
/// `lower` is relative to the tmpfs, in which `l` is an empty directory, or the directory of `idmapped` with its map.
fn overlay(lower: &CStr, idmapped: Option<(&CStr, BorrowedFd<'_>)>, user: bool) -> io::Result<()> {
    mount::change(CWD, c"/", true, Attributes::NONE, Attributes::NONE, Propagation::Private, None)?;
    let layer = match idmapped {
        Some((path, map)) => {
            let layer = mount::clone_tree(CWD, path, false)?;
            mount::change(layer.as_fd(), c"", false, Attributes::NONE, Attributes::NONE, Propagation::Keep, Some(map))?;
            Some(layer)
        }
        None => None,
    };
    let top = spot()?;
    rustix::process::fchdir(&top)?;
    for dir in [c"l", c"u", c"w", c"m"] {
        rustix::fs::mkdirat(&top, dir, Mode::from_raw_mode(0o755))?;
    }
    if let Some(layer) = layer {
        mount::attach(layer.as_fd(), top.as_fd(), c"l")?;
    }
    let mut options = vec![FsOption::Text(c"lowerdir", lower), FsOption::Text(c"upperdir", c"u"), FsOption::Text(c"workdir", c"w")];
    if user {
        options.push(FsOption::Flag(c"userxattr"));
    }
    let merged = mount::filesystem(c"overlay", &options, Attributes::NONE)?;
    mount::attach(merged.as_fd(), top.as_fd(), c"m")?;
    // A lower layer whose ids are not mapped would let the mount succeed and refuse this.
    rustix::fs::openat(&top, c"m/.hostel-doctor", OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))?;
    Ok(())
}

/// A new tmpfs over any directory: nobody else sees it.
fn spot() -> io::Result<OwnedFd> {
    let tmpfs = mount::filesystem(c"tmpfs", &[FsOption::Text(c"mode", c"0755")], Attributes::NONE)?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for path in [c"/tmp", c"/run", c"/mnt", c"/dev"] {
        match mount::attach(tmpfs.as_fd(), CWD, path) {
            Ok(()) => return Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// `/` and the places of trees: each file system decides for itself.
fn idmapped(map: BorrowedFd<'_>) -> Vec<Finding> {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut out = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    for place in ["/", "/var/lib/machines", hostel_image::open::KEPT] {
        let directory = existing(Path::new(place));
        if seen.contains(&directory) {
            continue;
        }
        let kind = kind_of(&mountinfo, &directory).unwrap_or("?");
        let mut finding = Finding::of(
            format!("idmapped mounts on {}", directory.display()),
            try_map(&directory, map),
            "trees there keep their owners with --private-users",
        );
        finding.found = format!("{} ({kind})", finding.found);
        if finding.state == State::Missing {
            finding.state = State::Limited;
            finding.means.push_str("; without, their files are given to the machine's ids, one by one, at the first start");
        }
        out.push(finding.advise("keep trees on ext4, xfs, btrfs or tmpfs, with Linux 5.12 or newer"));
        seen.push(directory);
    }
    out
}

fn try_map(directory: &Path, map: BorrowedFd<'_>) -> io::Result<()> {
    let path = CString::new(directory.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // Detached: it is gone when its descriptor is closed.
    let tree = mount::clone_tree(CWD, &path, false)?;
    mount::change(tree.as_fd(), c"", false, Attributes::NONE, Attributes::NONE, Propagation::Keep, Some(map))
}

/// The path itself, or the nearest directory above it that exists.
pub(super) fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/")).to_path_buf()
}

/// The type of the file system a directory is on, by the text of mountinfo. Mount points with blanks are not found.
pub(super) fn kind_of<'t>(mountinfo: &'t str, directory: &Path) -> Option<&'t str> {
    let mut found: Option<(usize, &str)> = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next()) else { continue };
        // Of several at one place the last one is on top.
        if directory.starts_with(point) && found.is_none_or(|(length, _)| point.len() >= length) {
            found = Some((point.len(), kind));
        }
    }
    found.map(|(_, kind)| kind)
}

fn loop_devices() -> Finding {
    // Asking it for a free device would make one.
    let opened = rustix::fs::open("/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map(drop);
    Finding::of("loop devices", opened.map_err(io::Error::from), "machines from disk images (--image)")
        .advise("modprobe loop; in a container: the device has to be passed in")
}

fn trees() -> Finding {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let directory = existing(Path::new("/var/lib/machines"));
    let kind = kind_of(&mountinfo, &directory).unwrap_or("?");
    let found = format!("{kind} at {}", directory.display());
    match kind {
        "btrfs" => Finding::new("tree storage", State::Ok, found, "copies of trees are snapshots, made at once"),
        "xfs" | "bcachefs" => Finding::new("tree storage", State::Ok, found, "copies of trees share their blocks"),
        _ => Finding::new("tree storage", State::Limited, found, "copies of trees (--template) are made byte by byte")
            .advise("put /var/lib/machines on btrfs or xfs for instant copies; `hostel run --tree` needs none"),
    }
}
