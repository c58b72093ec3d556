//! Starting a container, in the background by a supervisor of its own or here.

use std::path::PathBuf;

use hostel_container::Container;
use hostel_engine::error::Error;
use hostel_lxc::Config;
use serde::{Deserialize, Serialize};

use super::monitor;
use crate::cli::{Failure, supervise};

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

/// Starts it in the background; returns the pid of its init.
pub fn background(order: &Order) -> Result<i32, Failure> {
    hostel_engine::host::require_root()?;
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
