//! What is enabled: links made and removed by enable, disable, mask, preset and their like, and the states they lead to.
//!
//! Each verb returns the [`Change`]s in order, those that failed among them; the caller says them in its words. As in systemd
//! a fault of one unit does not take back what was done for another.

mod context;
mod info;
mod links;
mod remove;
mod revert;
mod state;
#[cfg(test)]
mod tests;
mod verbs;

use rustix::io::Errno;

pub use info::Info;
pub use state::FileState;
pub use verbs::{PresetMode, Target};

use crate::catalogue::Catalogue;
use crate::root::RootError;

/// Why something was not done. Every path is one of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A file is in the way; the target, when it is a link.
    Exists(String, Option<String>),
    /// The unit is masked, by this path.
    Masked(String),
    /// There is no such unit, or file.
    Missing(String),
    /// The link of this path leads to nothing.
    Dangling(String),
    /// A generator made it.
    Generated(String),
    /// It is transient.
    Transient(String),
    /// A unit may not have this alias.
    Alias {
        /// The unit.
        unit: String,
        /// The alias.
        alias: String,
    },
    /// A template is wanted by a unit that is none, and has no default instance.
    Template {
        /// The template.
        unit: String,
        /// Who wants it.
        by: String,
    },
    /// The name of a unit is not valid.
    Name(String),
    /// Links lead in a circle or to a unit of another type.
    Wrong(String, &'static str),
    /// The file cannot be used as a unit's.
    File(String, Errno),
    /// Its structure is unclear.
    Syntax(String),
    /// The tree refused it.
    Root(RootError),
}

/// One thing that a verb did, or came upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A link was made.
    Linked {
        /// Where.
        path: String,
        /// To what.
        target: String,
    },
    /// A file, link or empty directory was removed.
    Removed(String),
    /// A masked unit was passed over.
    MaskedPassedOver(String),
    /// A link that leads to nothing was passed over.
    DanglingPassedOver(String),
    /// A unit of another's Also= is not there.
    AuxiliaryMissing(String),
    /// A unit is wanted by one that is not there.
    NoDestination {
        /// The file of the unit.
        path: String,
        /// Who wants it.
        by: String,
    },
    /// A line of a unit file is unknown or wrong; it was passed over.
    Line {
        /// The file.
        file: String,
        /// Its line.
        line: u32,
        /// What about it.
        text: String,
    },
    /// This was not done.
    Failed(Refusal),
}

/// What a verb did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// In order.
    pub changes: Vec<Change>,
    /// Units that have something to install; `None` of verbs that do not look at it.
    pub rules: Option<usize>,
}

impl Outcome {
    /// The first thing that was not done.
    pub fn failure(&self) -> Option<&Refusal> {
        self.changes.iter().find_map(|change| if let Change::Failed(refusal) = change { Some(refusal) } else { None })
    }

    fn fail(&mut self, refusal: Refusal) {
        self.changes.push(Change::Failed(refusal));
    }
}

/// Installation in one tree.
#[derive(Debug)]
pub struct Installer<'c, 'r> {
    /// Its unit files, as they were before.
    pub catalogue: &'c Catalogue<'r>,
    /// Below /run, until the next boot.
    pub runtime: bool,
    /// Links that lead elsewhere are replaced.
    pub force: bool,
}

impl Installer<'_, '_> {
    /// The directory of the links.
    fn config(&self) -> String {
        self.catalogue.search.config(self.runtime).to_owned()
    }
}
