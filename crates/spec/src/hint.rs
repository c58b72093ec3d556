//! What may help against an error, without the words of any command line: which words were typed is known only there.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What a person can do. Libraries return one with an error; the command line finds the words, and the options it has for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hint {
    /// A sentence that holds whatever was typed: it names no option.
    Say(Cow<'static, str>),
    /// See which options there are.
    Options,
    /// This option was meant, given by its long name.
    DidYouMean(Cow<'static, str>),
    /// This option, given as `help`, lists its values.
    ListedBy(Cow<'static, str>),
    /// Name a tree.
    GiveTree,
    /// Say where the copy of a template goes.
    GiveCopy,
    /// Name the machine.
    GiveName,
    /// Name the machine otherwise.
    GiveOtherName,
    /// Another machine has the tree: one writes, or many read.
    TreeInUse,
    /// The host's own root directory needs to be overlaid or copied.
    HostRoot,
    /// The tree's file system may not do idmapped mounts.
    NoIdmap,
    /// Leave the owners on disk alone.
    KeepOwners,
    /// Name the range of ids, or give the tree to one.
    GiveIds,
    /// Throw away something other than all but /usr.
    OtherVolatile,
    /// Give the machine a network of its own.
    OwnNetwork,
    /// Take addresses from elsewhere, or none.
    OtherAddresses,
    /// Put the capability into the bounding set, too.
    AlsoCapability,
    /// Mend the settings file, or do without settings files.
    MendSettings,
    /// What stands at this place of a settings file may be why; settings files can be left out.
    AlsoSettings(Cow<'static, str>),
}

impl From<&'static str> for Hint {
    fn from(text: &'static str) -> Self {
        Self::Say(text.into())
    }
}
impl From<String> for Hint {
    fn from(text: String) -> Self {
        Self::Say(text.into())
    }
}
