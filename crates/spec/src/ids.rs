//! User namespaces and id ranges.

use serde::{Deserialize, Serialize};

/// A contiguous range of host ids: `count` ids from `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdRange {
    /// First host id; it becomes 0 inside.
    pub base: u32,
    /// Number of ids.
    pub count: u32,
}

/// Which user namespace the machine gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserNamespace {
    /// The host's own user namespace (`--private-users=no`).
    #[default]
    Host,
    /// A free 64 Ki range, the tree owner's own range first (`pick`).
    Pick,
    /// The range of the tree's owner (`yes`): upper 16 bits of its uid, which must equal those of its gid.
    FromTree,
    /// Ids 0…65535 onto themselves (`identity`).
    Identity,
    /// This range.
    Range(IdRange),
}

/// How the tree's files come to belong to the machine's id range (`--private-users-ownership=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ownership {
    /// `map` with fall-back to `chown` for [`UserNamespace::Pick`], else `off`.
    #[default]
    Auto,
    /// Leave ids as they are.
    Off,
    /// `map`, falling back to `chown`, with every kind of user namespace (`auto` said in so many words).
    MapOrChown,
    /// Change the files on disk, recursively.
    Chown,
    /// By an idmapped mount; nothing on disk changes.
    Map,
}
