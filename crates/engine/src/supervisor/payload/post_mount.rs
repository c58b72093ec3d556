//! A program of the host's that mounts more in a root that is complete, while the host's files are still there.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use hostel_process::r#become::Failure;
use hostel_sys::mount::{self, Attributes, Propagation};
use rustix::io::Errno;

use super::{Payload, Step};
use crate::program::{Program, shell};

impl Payload<'_> {
    /// A program of the host's sees the root where it expects it. What it mounts there is mounted in the root by propagation, and stays
    /// when the place it saw it at is gone.
    pub(super) fn post_mount(&mut self) -> Step {
        let Some(post) = &self.plan.spec.root.post_mount else { return Ok(()) };
        let failed = |e: io::Error| Failure::new("show", format!("root on {}", post.live.display()), e);
        let spread = |fd: BorrowedFd<'_>, how| mount::change(fd, c"", true, Attributes::NONE, Attributes::NONE, how, None).map_err(failed);
        let root = self.root()?;
        spread(root, Propagation::Shared)?;
        let shown = mount::clone_tree(root, c"", true).map_err(failed)?;
        let live = CString::new(post.live.as_os_str().as_encoded_bytes()).map_err(|_| failed(Errno::INVAL.into()))?;
        mount::attach(shown.as_fd(), rustix::fs::CWD, &live).map_err(failed)?;
        let words = shell(&post.command, &[&post.live, &post.upper]);
        let ran = Program { words: &words, directory: &post.directory, env: &post.env, log: &post.log }.run();
        spread(shown.as_fd(), Propagation::Private)?;
        mount::detach(&live).map_err(failed)?;
        spread(root, Propagation::Private)?;
        ran.map(drop).map_err(|e| Failure::new("run", format!("POSTMOUNT={}", post.command), io::Error::other(e.cause)))
    }
}
