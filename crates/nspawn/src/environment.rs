//! The caller's environment as a value, and which of its variables mean something here (spec/nspawn.md 1.3).

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use hostel_unit::boolean;

use crate::error::UsageError;

/// What the dialect may know of its caller: variables and working directory.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// All variables, as std::env::vars_os() gives them.
    pub vars: Vec<(OsString, OsString)>,
    /// Working directory, absolute: relative paths count from here.
    pub cwd: PathBuf,
}

impl Environment {
    /// The value of a variable; the last one counts.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.vars.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_os_str())
    }
    /// As [`get`](Self::get), UTF-8 only; empty counts as unset.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, UsageError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => match value.to_str() {
                Some(text) => Ok(Some(text)),
                None => Err(UsageError::variable(name, value.to_string_lossy(), "it is not UTF-8")),
            },
        }
    }
    /// A yes/no variable; empty counts as unset.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, UsageError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        boolean(text).map(Some).map_err(|e| UsageError::variable(name, text, e.why))
    }
}

/// One variable of systemd-nspawn's own environment.
#[derive(Debug, Clone, Copy)]
pub struct VariableRow {
    /// Name, or names with `{A,B}`.
    pub name: &'static str,
    /// What it does with systemd-nspawn.
    pub meaning: &'static str,
    /// What it does here.
    pub here: &'static str,
}

const fn row(name: &'static str, meaning: &'static str, here: &'static str) -> VariableRow {
    VariableRow { name, meaning, here }
}

/// Every variable of spec/nspawn.md 1.3 that concerns starting a machine.
pub const VARIABLES: [VariableRow; 23] = [
    row(
        "SYSTEMD_NSPAWN_API_VFS_WRITABLE",
        "/sys and /proc/sys writable, nothing masked; `network`: only /proc/sys/net",
        "same; `network` needs a private network, where it is the default",
    ),
    row("SYSTEMD_NSPAWN_USE_CGNS", "0: no cgroup namespace", "notice: the cgroup namespace is always own"),
    row("SYSTEMD_NSPAWN_LOCK", "0: do not lock the tree", "same"),
    row("SYSTEMD_NSPAWN_TMPFS_TMP", "0: keep the tree's /tmp", "same"),
    row("SYSTEMD_NSPAWN_CHECK_OS_RELEASE", "0: boot a tree without os-release", "same"),
    row("SYSTEMD_NSPAWN_CONTAINER_SERVICE", "replaces `systemd-nspawn` in $container", "same"),
    row("SYSTEMD_NSPAWN_SHARE_NS_{IPC,PID,UTS}", "share that namespace; not with -b or -a", "same"),
    row("SYSTEMD_NSPAWN_SHARE_SYSTEM", "share all three", "same"),
    row("SYSTEMD_NSPAWN_NETWORK_MAC", "MAC address inside", "same"),
    row("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "gone since 258", "ignored"),
    row("SYSTEMD_SECCOMP", "0: no system call filter", "same"),
    row("SYSTEMD_LOG_SECCOMP", "log violations", "notice: not logged"),
    row("SYSTEMD_SUPPRESS_SYNC", "as --suppress-sync=", "same"),
    row("SYSTEMD_PAGER, SYSTEMD_COLORS, SYSTEMD_URLIFY", "look of the output", "ignored: there is no pager; NO_COLOR counts"),
    row("SYSTEMD_LOG_*", "log level and target", "ignored"),
    row("SYSTEMD_TINT_BACKGROUND", "0: no tint of the terminal", "ignored: there is none"),
    row(
        "SYSTEMD_DISSECT_VERITY_SIDECAR, SYSTEMD_DISSECT_FILE_SYSTEMS, SYSTEMD_DISSECT_FSTYPE_*",
        "which files beside an image and which file systems are used",
        "ignored: --image-policy=, --root-hash= and --verity-data= say it",
    ),
    row("SYSTEMD_FIREWALL_BACKEND, SYSTEMD_FIREWALL_UTIL_*", "which firewall, and names in it", "ignored: nftables, in a table of hostel's own"),
    row(
        "NOTIFY_SOCKET",
        "told READY=1, STATUS=, X_NSPAWN_LEADER_PID=, STOPPING=1; FDSTORE= of the machine is passed on",
        "same, but FDSTORE= is dropped",
    ),
    row("WATCHDOG_USEC, WATCHDOG_PID", "WATCHDOG=1 is sent in time", "same"),
    row("LISTEN_FDS, LISTEN_PID", "descriptors are passed on to PID 1", "same"),
    row("CREDENTIALS_DIRECTORY", "where --load-credential=ID:NAME looks", "same, first"),
    row("TERM, COLORTERM, NO_COLOR, LINES, COLUMNS", "passed on; size of a console without a terminal", "same"),
];
