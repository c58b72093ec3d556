//! Starting a container: what its supervisor is told, and the program that is asked to start one.
//!
//! ```text
//!  liblxc.so.1                     hostel, called `[lxc start]`
//!    order on a memfd  ◄─ reads ─    in the background: starts a supervisor of its own, which is not the caller's child
//!    a pipe            ◄─ writes ─   {"started": PID} or {"failed": …}; in the foreground it is the supervisor itself
//! ```
//! Nothing is inherited: both ends are opened by the caller's /proc/PID/fd, so that a program with threads passes no descriptor to
//! anybody else.

use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hostel_lxc::Config;
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::error::{On, Result};

/// What a program is called that starts a container for another one.
pub const STARTER: &str = "[lxc start]";

/// What a supervisor is told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    /// Where the container is.
    pub lxcpath: String,
    /// Its name.
    pub name: String,
    /// Its configuration, with what was set since it was loaded.
    pub config: String,
    /// Run instead of the configuration's command.
    pub command: Option<Vec<String>>,
    /// Behind a little init, as lxc-execute.
    pub execute: bool,
    /// Its pid is written here.
    pub pidfile: Option<PathBuf>,
}

/// What a supervisor says once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// Init runs, and has this pid.
    Started(i32),
    /// It does not, and why.
    Failed(String, Option<String>),
}

impl Order {
    /// To start a container as this configuration says.
    pub fn of(container: &Container) -> Order {
        let config = container.config.as_ref().map(Config::text).unwrap_or_default();
        Order { lxcpath: container.lxcpath.clone(), name: container.name.clone(), config, ..Order::default() }
    }
}

impl Container {
    /// Has `program`, which is hostel, start it: in the background, or in the foreground on the caller's streams, to its end. What comes
    /// back is the wait status: 0 in the background, of init in the foreground.
    ///
    /// ```no_run
    /// use hostel_container::{Container, Order};
    /// let container = Container::new("web", None)?;
    /// container.start("/usr/bin/hostel".as_ref(), &Order::of(&container), true)?;
    /// # Ok::<(), hostel_container::Error>(())
    /// ```
    pub fn start(&self, program: &Path, order: &Order, background: bool) -> Result<i32> {
        const VERB: &str = "start container";
        if self.is_running() {
            return Err(self.error("start", "it is running", Errno::BUSY));
        }
        let text = serde_json::to_vec(order).map_err(|e| self.error("start", e, Errno::INVAL))?;
        let mut file = std::fs::File::from(rustix::fs::memfd_create("lxc-order", MemfdFlags::CLOEXEC).on(VERB, &self.name)?);
        file.write_all(&text).and_then(|()| file.rewind()).on(VERB, &self.name)?;
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).on(VERB, &self.name)?;
        let seen = |fd: i32| format!("/proc/{}/fd/{fd}", std::process::id());
        let mut command = Command::new(program);
        command.arg0(STARTER).args([seen(file.as_raw_fd()), seen(write.as_raw_fd())]);
        if background {
            command.arg("background").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        }
        let mut child = command.spawn().on("run", program.display())?;
        // Where SIGCHLD is ignored, or another thread waits for everything, it ends without a status.
        let status = child.wait().map_or(0, ExitStatusExt::into_raw);
        drop(write);
        let mut report = Vec::new();
        std::fs::File::from(read).read_to_end(&mut report).on(VERB, &self.name)?;
        match serde_json::from_slice(&report) {
            Ok(Report::Started(_)) => Ok(status),
            Ok(Report::Failed(why, hint)) => {
                let hint = hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"));
                Err(self.error("start", format_args!("{why}{hint}"), Errno::CANCELED))
            }
            Err(_) => Err(self.error("start", "its supervisor ended without a word", Errno::IO)),
        }
    }
}
