//! Verbs about what runs that have an answer where nothing does.

use std::path::Path;

use hostel_init::control::client::Client;
use hostel_init::load::{LoadState, load};
use hostel_init::manager::query::Request;

use super::options::Options;
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
    format!("Cannot {what}: no manager runs here (`hostel init` is one); with --root= unit files can be changed and shown.")
}

/// As systemd's: in a chroot, or with SYSTEMD_OFFLINE=1, what would talk to a manager does nothing, and well.
pub(super) fn is_ignored(verb: &str) -> bool {
    let offline = match std::env::var("SYSTEMD_OFFLINE").ok().and_then(|value| hostel_unit::boolean(&value).ok()) {
        Some(said) => said,
        None => hostel_init::control::client::Client::connect().is_none() && in_chroot(),
    };
    if offline {
        output::tell(format_args!("Running in chroot, ignoring command '{verb}'"));
    }
    offline
}

/// Whether PID 1 has another root.
fn in_chroot() -> bool {
    let of = |path| rustix::fs::stat(path).map(|s| (s.st_dev, s.st_ino)).ok();
    matches!((of("/proc/1/root"), of("/")), (Some(a), Some(b)) if a != b)
}

pub(super) fn is_system_running(options: &Options, _: &[String]) -> Outcome {
    while let (None, Some(client)) = (&options.root, Client::connect()) {
        let records = super::managed::records(client, Request::Manager)?;
        let state = records.first().and_then(|r| super::managed::field(r, "SystemState")).unwrap_or("unknown").to_owned();
        if options.wait && state == "starting" {
            std::thread::sleep(std::time::Duration::from_millis(20));
            continue;
        }
        if !options.quiet {
            output::show(&format!("{state}\n"));
        }
        return Ok(u8::from(state != "running"));
    }
    if !options.quiet {
        output::show("offline\n");
    }
    Ok(1)
}

pub(super) fn is_active(options: &Options, words: &[String]) -> Outcome {
    let names = super::managed::expand(options, "is-active", words)?;
    if let (None, Some(client)) = (&options.root, Client::connect()) {
        return super::managed::is_active(options, client, &names);
    }
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let known = names.iter().filter(|name| load(&catalogue, name).state != LoadState::NotFound).count();
    if !options.quiet {
        output::show(&"inactive\n".repeat(names.len()));
    }
    Ok(if known > 0 || options.release == super::options::Release::V252 { 3 } else { 4 })
}

pub(super) fn daemon_reload(options: &Options, _: &[String]) -> Outcome {
    if options.root.is_some() || is_ignored("daemon-reload") {
        return Ok(0);
    }
    let client = Client::connect().ok_or_else(|| no_manager("daemon-reload"))?;
    super::managed::simple(client, Request::Reload)
}
