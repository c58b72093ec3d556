//! Verbs about what runs, where nothing does.

use std::path::Path;

use hostel_init::load::{LoadState, load};

use super::options::Options;
use super::say::names;
use super::{Outcome, catalogue, root};
use crate::output;

/// Whether systemd is this system's manager.
pub(crate) fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir() && std::fs::read_to_string("/proc/1/comm").is_ok_and(|comm| comm.trim() == "systemd")
}

/// This program must not stand before the real one.
pub(super) fn point_to_systemd() -> String {
    let own = std::fs::canonicalize("/proc/self/exe").ok();
    let is_other = |path: &&str| std::fs::canonicalize(path).is_ok_and(|found| Some(found) != own);
    let real = ["/usr/bin/systemctl", "/bin/systemctl"].into_iter().find(is_other).unwrap_or("systemd's own systemctl");
    format!("systemd runs here, and hostel's systemctl is not its own: use {real}, or --root= for unit files of a tree.")
}

pub(super) fn no_manager(what: &str) -> String {
    format!("Cannot {what}: no manager runs here (hostel's own is not implemented yet); with --root= unit files can be changed and shown.")
}

pub(super) fn is_system_running(options: &Options, _: &[String]) -> Outcome {
    if !options.quiet {
        output::show("offline\n");
    }
    Ok(1)
}

pub(super) fn is_active(options: &Options, words: &[String]) -> Outcome {
    let names = names("is-active", words)?;
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let known = names.iter().filter(|name| load(&catalogue, name).state != LoadState::NotFound).count();
    if !options.quiet {
        output::show(&"inactive\n".repeat(names.len()));
    }
    Ok(if known > 0 { 3 } else { 4 })
}

pub(super) fn daemon_reload(options: &Options, _: &[String]) -> Outcome {
    if options.root.is_some() { Ok(0) } else { Err(no_manager("daemon-reload")) }
}
