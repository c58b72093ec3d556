//! Makes the overlays a machine writes to: in the payload, or for it by a child of the supervisor.
//!
//! An overlay made in a user namespace keeps its notes (this directory is removed) as `user.*` attributes of the upper layer,
//! and a tmpfs has those only since Linux 6.6: before, removing a directory of the lower layer is EIO. There a child of the
//! supervisor makes it with the host's rights, in the payload's mount namespace, and leaves it on top of "/", where the
//! waiting payload finds it.
//!
//! ```text
//!  payload                supervisor              its child
//!    Wait                   MapTree …
//!                           clone ──────────────►  joins the payload's mount namespace
//!                                                  overlay over the mapped layers, on top of "/"
//!                           reads its report ◄───  ends
//!    goes on  ◄──────────── one byte on `go`
//!    root = what "/.." is
//! ```

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_image::inroot;
use hostel_process::r#become::Failure;
use hostel_sys::clone::{self, CloneArgs, Fork};
use hostel_sys::mount::{self, Attributes, FsOption};
use hostel_sys::proc;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::launch::{Report, read_report};
use super::payload::{io_of, report};
use super::prepare::{Made, create_overlay};
use crate::error::{Context, Result};
use crate::plan::steps::Slot;

/// Whose rights an overlay is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    /// The host's root: notes are `trusted.*` attributes.
    Host,
    /// Root of the machine's user namespace: notes are `user.*` attributes.
    UserNamespace,
}

/// An overlay of `lower` layers, lowest first. Upper: a directory with `upper` and `work` in it, else a fresh tmpfs of `size`, as
/// mount(8) takes it.
///
/// The kernel takes layers in a user namespace only from its own mount namespace, and before Linux 6.15 anywhere only
/// from there: then they are attached over "/" for this moment.
pub(super) fn make(
    lower: &[BorrowedFd<'_>],
    upper: Option<BorrowedFd<'_>>,
    size: Option<&CStr>,
    at: Option<(&Path, &Path)>,
    maker: Maker,
) -> std::result::Result<OwnedFd, Failure> {
    let fresh = match (upper, lower) {
        (None, [first, ..]) => Some(fresh_upper(*first, size, maker)?),
        _ => None,
    };
    let top = upper.or(fresh.as_ref().map(AsFd::as_fd)).ok_or_else(|| Failure::new("use", "upper layer", Errno::BADF))?;
    let mut layers = lower.to_vec();
    layers.push(top);
    if maker == Maker::Host {
        // On a new kernel this is all; the cause of a refusal is told by the second try.
        if let Ok(fd) = create(lower, top, at, fresh.is_some(), maker) {
            return Ok(fd);
        }
    }
    let failed = |e: io::Error| Failure::new("attach", "layers of the overlay", e);
    let unstack = |fd: BorrowedFd<'_>| rustix::process::fchdir(fd).map_err(io::Error::from).and_then(|()| mount::detach(c"."));
    layers.iter().try_for_each(|fd| mount::attach(*fd, rustix::fs::CWD, c"/")).map_err(failed)?;
    let made = create(lower, top, at, fresh.is_some(), maker);
    layers.iter().rev().try_for_each(|fd| unstack(*fd)).map_err(failed)?;
    made
}

fn create(
    lower: &[BorrowedFd<'_>],
    top: BorrowedFd<'_>,
    at: Option<(&Path, &Path)>,
    volatile: bool,
    maker: Maker,
) -> std::result::Result<OwnedFd, Failure> {
    let open = |path: &Path| {
        inroot::open_beneath_no_symlinks(top, path, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|e| Failure::new("open", format!("{} layer", path.display()), io_of(e)))
    };
    let (upper, work) = at.unwrap_or((Path::new("upper"), Path::new("work")));
    let (upper_fd, work_fd) = (open(upper)?, open(work)?);
    let text = |fd: BorrowedFd<'_>| std::ffi::CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default();
    let mut lower_text = Vec::new();
    for (i, fd) in lower.iter().rev().enumerate() {
        if i > 0 {
            lower_text.push(b':');
        }
        lower_text.extend_from_slice(text(*fd).as_bytes());
    }
    let lower_text = std::ffi::CString::new(lower_text).unwrap_or_default();
    let (upper_text, work_text) = (text(upper_fd.as_fd()), text(work_fd.as_fd()));
    let mut options = vec![
        FsOption::Text(c"source", c"hostel"),
        FsOption::Text(c"lowerdir", &lower_text),
        FsOption::Text(c"upperdir", &upper_text),
        FsOption::Text(c"workdir", &work_text),
        // The upper layer stays plain to read, whatever the distribution's defaults are.
        FsOption::Text(c"index", c"off"),
        FsOption::Text(c"xino", c"off"),
    ];
    match maker {
        // Implies that directories are not redirected and metadata not copied alone.
        Maker::UserNamespace => options.push(FsOption::Flag(c"userxattr")),
        Maker::Host => options.extend([FsOption::Text(c"redirect_dir", c"off"), FsOption::Text(c"metacopy", c"off")]),
    }
    if volatile {
        options.push(FsOption::Flag(c"volatile"));
    }
    create_overlay(&options, Attributes::NONE).map_err(|cause| Failure::new("mount", "overlay root", io::Error::other(cause)))
}

/// A tmpfs with `upper` and `work`, which is the overlay's root directory: like that of the layer below.
fn fresh_upper(like: BorrowedFd<'_>, size: Option<&CStr>, maker: Maker) -> std::result::Result<OwnedFd, Failure> {
    let mut options = vec![FsOption::Text(c"mode", c"0755"), FsOption::Text(c"source", c"hostel-upper")];
    options.extend(size.map(|size| FsOption::Text(c"size", size)));
    let tmpfs = mount::filesystem(c"tmpfs", &options, Attributes::NONE).map_err(|e| Failure::new("make", "tmpfs for the upper layer", e))?;
    let stat = rustix::fs::fstat(like).map_err(|e| Failure::new("read", "lower layer", e))?;
    for name in [c"upper", c"work"] {
        let failed = |e| Failure::new("make", "upper layer", e);
        rustix::fs::mkdirat(&tmpfs, name, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(failed)?;
        // As seen through the id map, when there is one: machine root.
        if maker == Maker::Host && stat.st_uid != 0 {
            rustix::fs::chownat(&tmpfs, name, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(failed)?;
            // Changing the owner cleared setuid and setgid.
            rustix::fs::chmodat(&tmpfs, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty()).map_err(failed)?;
        }
    }
    Ok(tmpfs)
}

/// Makes the root of a waiting payload with the host's rights and leaves it on top of the "/" of its mount namespace.
pub(super) fn stack_for(made: &Made, pid: i32, lower: Slot, submounts: &[(Slot, PathBuf)]) -> Result<()> {
    let (report_read, report_write) = pipe_with(PipeFlags::CLOEXEC).context("make", "pipe")?;
    let payload = clone::pidfd_open(pid).context("open", "payload")?;
    match clone::clone3(&CloneArgs::default()).context("make", "process for the overlay root")? {
        Fork::Child => {
            drop(report_read);
            let result = stack(made, payload.as_fd(), lower, submounts);
            if let Err(failure) = &result {
                report(report_write.as_fd(), failure);
            }
            clone::exit_now(i32::from(result.is_err()))
        }
        Fork::Parent { pidfd, .. } => {
            drop(report_write);
            let heard = read_report(report_read);
            let status = clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED).context("wait for", "process for the overlay root")?;
            match (heard?, status) {
                (Report::Failed(error), _) => Err(error),
                (_, Some(status)) if status.shell_code() == 0 => Ok(()),
                _ => Err(crate::error::Error::new("make", "overlay root", "the process for it was killed")),
            }
        }
    }
}

fn stack(made: &Made, payload: BorrowedFd<'_>, lower: Slot, submounts: &[(Slot, PathBuf)]) -> std::result::Result<(), Failure> {
    let slot = |slot: Slot| made.slot(slot).map_err(|e| Failure::new("use", format!("mount {}", slot.0), e));
    proc::set_parent_death_signal(9).map_err(|e| Failure::new("tie", "process for the overlay root to the supervisor", e))?;
    clone::setns_pidfd(payload, clone::NEWNS).map_err(|e| Failure::new("join", "mount namespace of the payload", e))?;
    let root = make(&[slot(lower)?], None, None, None, Maker::Host)?;
    mount::attach(root.as_fd(), rustix::fs::CWD, c"/").map_err(|e| Failure::new("attach", "root", e))?;
    for (lower, target) in submounts {
        let object = || format!("overlay on {}", target.display());
        let place = inroot::directory(root.as_fd(), target).map_err(|e| Failure::new("open", object(), io_of(e)))?;
        let overlay = make(&[slot(*lower)?], None, None, None, Maker::Host)?;
        mount::attach(overlay.as_fd(), place.as_fd(), c"").map_err(|e| Failure::new("attach", object(), e))?;
    }
    Ok(())
}

/// What [`stack_for`] left: ".." of the root directory is what is mounted on top of it.
pub(super) fn stacked_root() -> std::result::Result<OwnedFd, Failure> {
    let failed = |e: io::Error| Failure::new("find", "root that was made", e);
    let open = |path: &CStr| rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| failed(e.into()));
    let (below, top) = (open(c"/")?, open(c"/..")?);
    // It must never be the host's.
    if mount::mount_id(below.as_fd(), c"").map_err(failed)? == mount::mount_id(top.as_fd(), c"").map_err(failed)? {
        return Err(failed(io::Error::other("nothing is mounted on /")));
    }
    Ok(top)
}
