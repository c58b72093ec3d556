//! What the [Install] section of a unit file says.

use hostel_unit::file::File;
use hostel_unit::{UnitName, WordRules, words};

use super::{Change, Refusal};
use crate::catalogue::{Catalogue, Found};
use crate::keys;
use crate::search::Role;
use crate::specifier::Context;

/// A unit file with what it says of installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The name: of the unit asked for, with its instance, aliases followed.
    pub name: UnitName,
    /// The file in the tree.
    pub path: String,
    /// `Alias=`, specifiers replaced.
    pub aliases: Vec<String>,
    /// `WantedBy=`
    pub wanted_by: Vec<String>,
    /// `RequiredBy=`
    pub required_by: Vec<String>,
    /// `UpheldBy=`
    pub upheld_by: Vec<String>,
    /// `Also=`
    pub also: Vec<String>,
    /// `DefaultInstance=`
    pub default_instance: Option<String>,
}

impl Info {
    /// Whether `enable` would make links for it.
    pub fn has_rules(&self) -> bool {
        self.rules() > 0
    }

    pub(super) fn rules(&self) -> usize {
        self.aliases.len() + self.wanted_by.len() + self.required_by.len() + self.upheld_by.len()
    }

    /// The name with the default instance, of a template that has one.
    pub(super) fn instantiated(&self) -> UnitName {
        match &self.default_instance {
            Some(instance) if self.name.is_template() => self.name.with_instance(instance).unwrap_or_else(|_| self.name.clone()),
            _ => self.name.clone(),
        }
    }
}

/// Finds the file of a name and reads its [Install] sections, those of its drop-ins too.
pub(super) fn discover(catalogue: &Catalogue<'_>, name: &UnitName, changes: &mut Vec<Change>) -> Result<Info, Refusal> {
    match catalogue.find(name) {
        Found::File { name, path } => read(catalogue, name, path, changes),
        Found::Masked { path } => Err(Refusal::Masked(path)),
        Found::Dangling { path } => Err(Refusal::Dangling(path)),
        Found::Wrong { path, why } => Err(Refusal::Wrong(path, why)),
        Found::Missing => Err(Refusal::Missing(name.to_string())),
    }
}

/// [`discover`] for verbs that change links: what generators and transient units bring is not installed.
pub(super) fn discover_own(catalogue: &Catalogue<'_>, name: &UnitName, changes: &mut Vec<Change>) -> Result<Info, Refusal> {
    let info = discover(catalogue, name, changes)?;
    match catalogue.search.place_of(&info.path).map(|p| p.role) {
        Some(Role::Generator) => Err(Refusal::Generated(info.path)),
        Some(Role::Transient) if info.path.starts_with("/run/systemd/transient/") => Err(Refusal::Transient(info.path)),
        _ => Ok(info),
    }
}

/// Reads a file that was found.
pub(super) fn read(catalogue: &Catalogue<'_>, name: UnitName, path: String, changes: &mut Vec<Change>) -> Result<Info, Refusal> {
    let mut info = Info {
        name,
        path: path.clone(),
        aliases: Vec::new(),
        wanted_by: Vec::new(),
        required_by: Vec::new(),
        upheld_by: Vec::new(),
        also: Vec::new(),
        default_instance: None,
    };
    let names = [info.name.clone()];
    let dropins = catalogue.dropins(&names);
    for file in std::iter::once(&path).chain(&dropins) {
        let bytes = match catalogue.read(file) {
            Ok(bytes) => bytes,
            Err(_) if *file != path => continue,
            Err(e) => return Err(Refusal::Root(e)),
        };
        let parsed = File::parse(&bytes).map_err(|e| Refusal::Syntax(format!("{file}:{}: {}", e.line, e.why)))?;
        take(&mut info, &parsed, file, changes);
    }
    expand(&mut info, catalogue);
    Ok(info)
}

fn take(info: &mut Info, file: &File, path: &str, changes: &mut Vec<Change>) {
    for assignment in file.named("Install").flat_map(|section| &section.assignments) {
        if keys::shape("Install", &assignment.key).is_none() {
            if !assignment.key.starts_with("X-") {
                let text = format!("Unknown key '{}' in section [Install], ignoring.", assignment.key);
                changes.push(Change::Line { file: path.to_owned(), line: assignment.line, text });
            }
            continue;
        }
        let mut list = words(&assignment.value, WordRules::UNIT).unwrap_or_default();
        let field = match assignment.key.as_str() {
            "Alias" => &mut info.aliases,
            "WantedBy" => &mut info.wanted_by,
            "RequiredBy" => &mut info.required_by,
            "UpheldBy" => &mut info.upheld_by,
            "Also" => &mut info.also,
            _ => {
                info.default_instance = Some(assignment.value.clone()).filter(|value| !value.is_empty());
                continue;
            }
        };
        if list.is_empty() {
            field.clear();
        }
        list.retain(|word| !field.contains(word));
        field.append(&mut list);
    }
}

fn expand(info: &mut Info, catalogue: &Catalogue<'_>) {
    let name = info.name.clone();
    let path = info.path.clone();
    let with = |text: &str, instance: Option<&str>| {
        let context = Context {
            root: catalogue.root,
            scope: catalogue.search.scope,
            name: &name,
            fragment: Some(&path),
            default_instance: instance,
            install: true,
        };
        context.expand(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
    };
    info.default_instance = info.default_instance.as_deref().map(|text| with(text, None));
    let instance = info.default_instance.clone();
    for field in [&mut info.aliases, &mut info.wanted_by, &mut info.required_by, &mut info.upheld_by, &mut info.also] {
        for word in field.iter_mut() {
            *word = with(word, instance.as_deref());
        }
    }
}
