//! A process to become: the argument of the only road to execve(2).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{CapSet, ExactProcess, OsText, Rlimit};

/// The user a process runs as, looked up in the machine's own user database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserSelector {
    /// A name.
    Name(String),
    /// A uid; its group and groups come from the user database when it has an entry, else gid = uid.
    Id(u32),
}

/// Everything about a process but its namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments; the program is searched in the environment's `PATH` when it has no slash.
    /// Empty: the user's login shell.
    pub argv: Vec<OsText>,
    /// Entries `NAME=value` set over the default environment, later ones win.
    pub env: Vec<OsText>,
    /// User; `None` = root.
    pub user: Option<UserSelector>,
    /// Absolute directory inside; `None` = the user's home for a login shell, else `/`.
    pub cwd: Option<PathBuf>,
    /// Limits to set.
    pub rlimits: Vec<Rlimit>,
    /// Raised as inheritable and ambient capabilities.
    pub ambient: CapSet,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// /proc/self/oom_score_adj, -1000…1000.
    pub oom_score_adjust: Option<i32>,
    /// CPUs allowed, by number.
    pub cpu_affinity: Option<Vec<u32>>,
    /// SELinux label it is executed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux_label: Option<String>,
    /// personality(2) `PER_LINUX32`.
    pub linux32: bool,
    /// Ids (unless `user` is given) and capability sets by number.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::bundle::refuse")]
    pub exact: Option<Box<ExactProcess>>,
    /// The program that is the init, instead of the tree's own: absolute inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
}
