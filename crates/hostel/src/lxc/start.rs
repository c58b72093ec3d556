//! Starting a container, in the background by a supervisor of its own or here.

use std::ffi::OsString;
use std::process::ExitCode;

pub use hostel_container::{Order, Report};
use hostel_engine::error::{Context, Error};

use super::monitor;
use crate::cli::{Failure, supervise};

/// What only root can do, and starting a container needs.
pub(super) fn require_root(order: &Order) -> hostel_engine::error::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let why = "only root can, and users whose ids are in /etc/subuid and /etc/subgid";
    Err(Error::new("start", format!("container {}", order.name), why).hint("`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`"))
}

/// Starts it in the background; returns the pid of its init.
pub fn background(order: &Order) -> Result<i32, Failure> {
    require_root(order)?;
    // Scripts look for it by this title.
    let title = format!("{} {} {}", monitor::TITLE, order.lxcpath, order.name);
    let (text, pid) = supervise::spawn(&[&title], order)?;
    let object = || format!("container {}", order.name);
    match serde_json::from_slice(text.as_bytes()) {
        Ok(Report::Started(pid)) => Ok(pid),
        Ok(Report::Failed(why, hint)) => {
            let error = Error::new("start", object(), why);
            Err(match hint {
                Some(hint) => error.hint(hint).into(),
                None => error.into(),
            })
        }
        Err(_) => Err(Error::new("start", object(), format!("its supervisor (process {pid}) ended without a word")).into()),
    }
}

/// Starts a container for a program that cannot be its supervisor's parent ([`hostel_container::STARTER`]): the order is read from the
/// first file, the report written to the second; then in the background, or here.
pub fn for_another(args: &[OsString]) -> ExitCode {
    let start = |order: &OsString, report: &OsString| -> Result<u8, Failure> {
        let text = std::fs::read(order).context("read", "order")?;
        let order: Order = serde_json::from_slice(&text).map_err(|e| Failure::Usage(format!("read order: {e}")))?;
        let mut report = Some(std::fs::OpenOptions::new().write(true).open(report).context("open", "report")?);
        let mut say = |what: &Report| supervise::say(&mut report, what);
        let done = match args.get(2) {
            Some(_) => background(&order).map(|pid| (0, Some(pid))),
            None => monitor::live(&order, false, &mut |pid| say(&Report::Started(pid))).map(|status| (status, None)).map_err(Failure::from),
        };
        match done {
            Ok((status, pid)) => {
                pid.into_iter().for_each(|pid| say(&Report::Started(pid)));
                Ok(status)
            }
            Err(Failure::Engine(error)) => {
                say(&monitor::failed(&error));
                Ok(1)
            }
            Err(other) => Err(other),
        }
    };
    let [order, report, ..] = args else { return 2.into() };
    start(order, report).unwrap_or(1).into()
}
