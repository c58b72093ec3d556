//! Whether a unit is enabled: what `is-enabled` and `list-unit-files` say.

use hostel_unit::UnitName;

use super::info::{self, Info};
use super::{Change, Refusal};
use crate::catalogue::{Catalogue, Found, Pointer};
use crate::search::{Role, Scope};

/// States of a unit file (systemctl(1), "is-enabled").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum FileState {
    Enabled,
    EnabledRuntime,
    Linked,
    LinkedRuntime,
    Alias,
    Masked,
    MaskedRuntime,
    Static,
    Disabled,
    Indirect,
    Generated,
    Transient,
    Bad,
}

impl FileState {
    /// All of them, in systemd's order.
    pub const ALL: [FileState; 13] = [
        FileState::Enabled,
        FileState::EnabledRuntime,
        FileState::Linked,
        FileState::LinkedRuntime,
        FileState::Alias,
        FileState::Masked,
        FileState::MaskedRuntime,
        FileState::Static,
        FileState::Disabled,
        FileState::Indirect,
        FileState::Generated,
        FileState::Transient,
        FileState::Bad,
    ];

    /// As printed.
    pub fn word(self) -> &'static str {
        match self {
            FileState::Enabled => "enabled",
            FileState::EnabledRuntime => "enabled-runtime",
            FileState::Linked => "linked",
            FileState::LinkedRuntime => "linked-runtime",
            FileState::Alias => "alias",
            FileState::Masked => "masked",
            FileState::MaskedRuntime => "masked-runtime",
            FileState::Static => "static",
            FileState::Disabled => "disabled",
            FileState::Indirect => "indirect",
            FileState::Generated => "generated",
            FileState::Transient => "transient",
            FileState::Bad => "bad",
        }
    }

    /// Whether `is-enabled` succeeds.
    pub fn counts_as_enabled(self) -> bool {
        use FileState::{Alias, Enabled, EnabledRuntime, Generated, Indirect, Static};
        matches!(self, Enabled | EnabledRuntime | Static | Alias | Indirect | Generated)
    }

    /// Whether a preset has a say.
    pub fn has_preset(self) -> bool {
        !matches!(self, FileState::Alias | FileState::Static | FileState::Generated | FileState::Transient)
    }
}

/// The state of a name.
pub(super) fn state(catalogue: &Catalogue<'_>, name: &UnitName, changes: &mut Vec<Change>) -> Result<FileState, Refusal> {
    let info = match catalogue.find(name) {
        Found::Masked { path } => {
            let runtime = catalogue.search.place_of(&path).is_some_and(|p| matches!(p.role, Role::Runtime | Role::Transient));
            return Ok(if runtime { FileState::MaskedRuntime } else { FileState::Masked });
        }
        Found::File { name, path } => info::read(catalogue, name, path, changes)?,
        Found::Dangling { path } => return Err(Refusal::Dangling(path)),
        Found::Wrong { path, why } => return Err(Refusal::Wrong(path, why)),
        Found::Missing => return Err(Refusal::Missing(name.to_string())),
    };
    let base = info.path.rsplit_once('/').map_or("", |(_, base)| base);
    if name.as_str() != base && !info.name.is_instance() {
        return Ok(FileState::Alias);
    }
    match catalogue.search.place_of(&info.path).map(|p| p.role) {
        Some(Role::Generator) => return Ok(FileState::Generated),
        Some(Role::Transient) if info.path.starts_with("/run/systemd/transient/") => return Ok(FileState::Transient),
        _ => {}
    }
    if let Some(state) = linked(catalogue, &info, true) {
        return Ok(state);
    }
    // known under names that enable would not make: it may be in use
    if linked(catalogue, &info, false).is_some() {
        return Ok(FileState::Indirect);
    }
    Ok(if info.has_rules() {
        FileState::Disabled
    } else if info.also.is_empty() {
        FileState::Static
    } else {
        FileState::Indirect
    })
}

/// What links say of a unit. With `own_names` only those that `enable` would make count.
fn linked(catalogue: &Catalogue<'_>, info: &Info, own_names: bool) -> Option<FileState> {
    let mut below_file = false;
    let (mut in_runtime, mut in_config, mut elsewhere) = (false, false, false);
    let mut same_runtime = false;
    let mut same_config = false;
    let pointers: Vec<&Pointer> = catalogue.pointers(info.name.as_str()).collect();
    if pointers.is_empty() {
        return None;
    }
    for (number, (place, listing)) in catalogue.places().enumerate() {
        let found = look(pointers.iter().filter(|pointer| pointer.place == number), info, own_names, below_file);
        let persistent = place.role == Role::Persistent || catalogue.search.scope == Scope::User && place.role == Role::Config;
        let runtime = matches!(place.role, Role::Runtime | Role::Transient);
        match found {
            Seen::Link if persistent => return Some(FileState::Enabled),
            Seen::Link if runtime => in_runtime = true,
            Seen::Link if place.role == Role::Config => in_config = true,
            Seen::Link => elsewhere = true,
            Seen::SameName if persistent => same_config = true,
            Seen::SameName if runtime => same_runtime = true,
            _ => {}
        }
        // in less important places the name means nothing any more
        below_file |= listing.contains_key(info.name.as_str());
    }
    if in_runtime {
        return Some(FileState::EnabledRuntime);
    }
    if (elsewhere || in_config) && info.name.is_instance() {
        return Some(FileState::Static);
    }
    if same_config {
        return Some(FileState::Linked);
    }
    same_runtime.then_some(FileState::LinkedRuntime)
}

enum Seen {
    Link,
    SameName,
    Nothing,
}

fn look<'p>(pointers: impl Iterator<Item = &'p &'p Pointer>, info: &Info, own_names: bool, below_file: bool) -> Seen {
    let mut same = Seen::Nothing;
    for pointer in pointers {
        match matches(info, pointer, own_names, below_file) {
            Some(true) if !pointer.is_below => same = Seen::SameName,
            Some(_) => return Seen::Link,
            None => {}
        }
    }
    same
}

/// Whether a link speaks for the unit; `Some(true)` when name and target both are its own.
fn matches(info: &Info, pointer: &Pointer, own_names: bool, below_file: bool) -> Option<bool> {
    let name = pointer.name.as_str();
    let by_target = pointer.base == info.name.as_str();
    let by_name = !below_file && name == info.name.as_str();
    if by_name && by_target {
        return Some(true);
    }
    if !by_name && !by_target {
        return None;
    }
    let is_default = || info.default_instance.is_some() && info.name.is_template() && name == info.instantiated().as_str();
    let known = name == info.name.as_str() || info.aliases.iter().any(|alias| alias == name) || is_default();
    (!own_names || known).then_some(false)
}
