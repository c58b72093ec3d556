//! The two programs that are compared, and how each is called.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The original.
    Theirs,
    /// hostel.
    Ours,
}

/// Where everything that both sides need is.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) hostel: PathBuf,
    pub(crate) probe: PathBuf,
    pub(crate) nspawn: PathBuf,
}

impl Programs {
    /// Finds them; a reason when the comparison cannot be made here.
    pub(crate) fn find() -> Result<Programs, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("not root".into());
        }
        let version = Command::new("systemd-nspawn").arg("--version").output().map_err(|e| format!("systemd-nspawn is not installed ({e})"))?;
        let version = String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default().to_owned();
        if !version.starts_with("systemd 252") {
            return Err(format!("the ledger is about systemd-nspawn 252, installed is `{version}`"));
        }
        if Command::new("busybox").arg("true").output().is_err() {
            return Err("no busybox: install busybox-static".into());
        }
        Ok(Programs { hostel: built("hostel", "HOSTEL_BIN")?, probe: built("hostel-probe", "HOSTEL_PROBE")?, nspawn: "systemd-nspawn".into() })
    }

    /// Program and first arguments.
    pub(crate) fn call(&self, side: Side) -> Vec<OsString> {
        match side {
            Side::Theirs => vec![self.nspawn.clone().into()],
            Side::Ours => vec![self.hostel.clone().into(), "nspawn".into()],
        }
    }
}

/// Whether the Debian tree is there and wanted.
pub(crate) fn debian() -> bool {
    std::env::var_os("HOSTEL_QUICK").is_none() && crate::place::trees().join("debian").is_dir()
}

/// From the environment, else the newest build.
fn built(name: &str, variable: &str) -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let places = ["x86_64-unknown-linux-musl/release", "x86_64-unknown-linux-musl/debug", "release", "debug"];
    let newest = places.iter().map(|p| target.join(p).join(name)).filter_map(|p| Some((p.metadata().ok()?.modified().ok()?, p))).max();
    let (_, path) = newest.ok_or_else(|| format!("no {name} binary is built: run scripts/build.sh --tests, or set {variable}"))?;
    path.canonicalize().map_err(|e| format!("find {}: {e}", path.display()))
}
