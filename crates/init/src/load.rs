//! A unit: its file, drop-ins and links read into settings, each with the line it comes from.

mod check;
mod settings;
#[cfg(test)]
mod tests;

use hostel_unit::file::File;
use hostel_unit::{Kind, UnitName};

pub(crate) use check::service_type;
pub use settings::{Origin, Setting, Settings};

use crate::catalogue::{Catalogue, Found};
use crate::specifier::Context;
use crate::sysv;

/// Most lines of a file that say something: each takes memory as long as its unit does.
const SETTINGS_MAX: usize = 50_000;

/// How loading ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadState {
    /// It can be used.
    Loaded,
    /// It is linked to /dev/null or empty.
    Masked,
    /// There is no file of the name.
    NotFound,
    /// The file is there and cannot be read, or its structure is unclear: why.
    Error(String),
    /// Its settings do not go together: why.
    BadSetting(String),
}

impl LoadState {
    /// systemctl's word.
    pub fn word(&self) -> &'static str {
        match self {
            LoadState::Loaded => "loaded",
            LoadState::Masked => "masked",
            LoadState::NotFound => "not-found",
            LoadState::Error(_) => "error",
            LoadState::BadSetting(_) => "bad-setting",
        }
    }
}

/// Something to warn about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The file.
    pub file: String,
    /// Its line; 0 for the file as a whole.
    pub line: u32,
    /// What about it, and what is done.
    pub text: String,
}

/// How a link in a directory ties units together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// `.wants`
    Wants,
    /// `.requires`
    Requires,
    /// `.upholds`
    Upholds,
}

impl LinkKind {
    /// All of them.
    pub const ALL: [LinkKind; 3] = [LinkKind::Wants, LinkKind::Requires, LinkKind::Upholds];

    /// The end of the directory's name.
    pub fn suffix(self) -> &'static str {
        match self {
            LinkKind::Wants => "wants",
            LinkKind::Requires => "requires",
            LinkKind::Upholds => "upholds",
        }
    }
}

/// A link that makes this unit depend on another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tie {
    /// How.
    pub kind: LinkKind,
    /// On which.
    pub to: UnitName,
    /// The link.
    pub path: String,
}

/// One unit.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its own name.
    pub name: UnitName,
    /// Its aliases.
    pub aliases: Vec<UnitName>,
    /// How loading ended.
    pub state: LoadState,
    /// The file, or for a SysV script the script.
    pub fragment: Option<String>,
    /// Whether the file is a SysV script.
    pub is_script: bool,
    /// Drop-ins in the order in which they were read.
    pub dropins: Vec<String>,
    /// What they say.
    pub settings: Settings,
    /// Links in its directories.
    pub ties: Vec<Tie>,
    /// What to warn about.
    pub notices: Vec<Notice>,
}

impl Unit {
    fn new(name: UnitName, state: LoadState) -> Unit {
        Unit {
            name,
            aliases: Vec::new(),
            state,
            fragment: None,
            is_script: false,
            dropins: Vec::new(),
            settings: Settings::default(),
            ties: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Whether it can be used.
    pub fn is_loaded(&self) -> bool {
        self.state == LoadState::Loaded
    }

    /// What people call it: its Description=, or its name.
    pub fn description(&self) -> &str {
        self.settings.text("Unit", "Description").unwrap_or(self.name.as_str())
    }
}

/// Loads the unit of a name. Every fault ends up in the unit: this does not fail.
pub fn load(catalogue: &Catalogue<'_>, asked: &UnitName) -> Unit {
    let mut unit = match catalogue.find(asked) {
        Found::File { name, path } => {
            let mut unit = Unit::new(name, LoadState::Loaded);
            match catalogue.read(&path) {
                Ok(bytes) => take_file(&mut unit, catalogue, &path, &bytes, true),
                Err(e) => unit.state = LoadState::Error(e.to_string()),
            }
            unit.fragment = Some(path);
            unit
        }
        Found::Masked { path } => {
            let mut unit = Unit::new(asked.clone(), LoadState::Masked);
            unit.fragment = Some(path);
            return unit;
        }
        Found::Dangling { path } => {
            let mut unit = Unit::new(asked.clone(), LoadState::NotFound);
            unit.notices.push(Notice { file: path, line: 0, text: "it links to nothing".to_owned() });
            unit
        }
        Found::Wrong { path, why } => {
            let mut unit = Unit::new(asked.clone(), LoadState::Error(format!("{path}: {why}")));
            unit.fragment = Some(path);
            return unit;
        }
        Found::Missing => script(catalogue, asked).unwrap_or_else(|| Unit::new(asked.clone(), LoadState::NotFound)),
    };
    if matches!(unit.state, LoadState::Error(_)) {
        return unit;
    }
    unit.aliases = if unit.fragment.is_some() { catalogue.aliases(&unit.name) } else { Vec::new() };
    let names: Vec<UnitName> = std::iter::once(unit.name.clone()).chain(unit.aliases.iter().cloned()).collect();
    for path in catalogue.dropins(&names) {
        match catalogue.root.read(&path) {
            Ok(bytes) => {
                take_file(&mut unit, catalogue, &path, &bytes, false);
                unit.dropins.push(path);
            }
            // a link to /dev/null hides the less important ones of its name
            Err(_) if catalogue.root.is_null_or_empty(&path) => {}
            Err(e) => unit.notices.push(Notice { file: path, line: 0, text: e.cause.to_string() }),
        }
    }
    ties(&mut unit, catalogue, &names);
    if unit.state == LoadState::NotFound && built_in(&unit.name) {
        unit.state = LoadState::Loaded;
    }
    if unit.is_loaded() {
        unit.settings.close();
        unit.settings.dedup_notices(&mut unit.notices);
        if let Some(why) = check::fault(&unit) {
            unit.state = LoadState::BadSetting(why);
        }
    }
    unit
}

/// A unit that is this text and nothing of the tree's.
pub(crate) fn load_only(catalogue: &Catalogue<'_>, name: &UnitName, text: &str) -> Unit {
    let mut unit = Unit::new(name.clone(), LoadState::Loaded);
    take_file(&mut unit, catalogue, "built-in", text.as_bytes(), true);
    unit
}

/// As [`load`], with the targets that `hostel init` brings where the tree has none.
pub fn load_with_ours(catalogue: &Catalogue<'_>, name: &UnitName) -> Unit {
    let unit = load(catalogue, name);
    match crate::manager::builtin::target(name.as_str()) {
        Some(text) if unit.state == LoadState::NotFound => load_text(catalogue, name, text),
        _ => unit,
    }
}

/// A unit whose file this program has: drop-ins and links of the tree count as for any other.
pub(crate) fn load_text(catalogue: &Catalogue<'_>, name: &UnitName, text: &str) -> Unit {
    let mut unit = load_only(catalogue, name, text);
    let names = [name.clone()];
    for path in catalogue.dropins(&names) {
        if let Ok(bytes) = catalogue.root.read(&path) {
            take_file(&mut unit, catalogue, &path, &bytes, false);
            unit.dropins.push(path);
        }
    }
    ties(&mut unit, catalogue, &names);
    unit
}

/// Units that are there without a file.
fn built_in(name: &UnitName) -> bool {
    matches!(name.as_str(), "-.mount" | "init.scope") || name.kind() == Kind::Slice
}

/// A SysV script of this name, as a service.
fn script(catalogue: &Catalogue<'_>, name: &UnitName) -> Option<Unit> {
    let directory = catalogue.search.scripts.as_ref()?;
    if name.kind() != Kind::Service || name.instance().is_some() {
        return None;
    }
    let path = format!("{directory}/{}", name.stem());
    let bytes = catalogue.root.read(&path).ok()?;
    let header = sysv::header(&String::from_utf8_lossy(&bytes));
    let links = sysv::runlevels(catalogue.root, name.stem());
    let text = sysv::unit_text(name, &path, &header, &links, catalogue);
    let mut unit = Unit::new(name.clone(), LoadState::Loaded);
    unit.is_script = true;
    take_file(&mut unit, catalogue, &path, text.as_bytes(), true);
    // lines of the made-up text are no lines of the script
    unit.notices.iter_mut().for_each(|notice| notice.line = 0);
    unit.fragment = Some(path);
    Some(unit)
}

fn take_file(unit: &mut Unit, catalogue: &Catalogue<'_>, path: &str, bytes: &[u8], is_fragment: bool) {
    let few = |file: File| {
        let count: usize = file.sections.iter().map(|section| section.assignments.len()).sum();
        let why = || hostel_unit::file::FileError { line: 0, why: format!("it has {count} settings; at most {SETTINGS_MAX} are read") };
        if count + file.faults.len() <= SETTINGS_MAX { Ok(file) } else { Err(why()) }
    };
    let file = match File::parse(bytes).and_then(few) {
        Ok(file) => file,
        Err(e) if is_fragment => {
            unit.state = LoadState::Error(format!("{path}:{}: {}", e.line, e.why));
            return;
        }
        Err(e) => {
            unit.notices.push(Notice { file: path.to_owned(), line: e.line, text: format!("{}; the file is skipped", e.why) });
            return;
        }
    };
    let fragment = if is_fragment { Some(path.to_owned()) } else { unit.fragment.clone() };
    let name = unit.name.clone();
    let context = Context {
        root: catalogue.root,
        scope: catalogue.search.scope,
        name: &name,
        fragment: fragment.as_deref(),
        default_instance: None,
        install: false,
    };
    settings::take(&mut unit.settings, &mut unit.notices, &context, path, &file);
}

/// Links in `NAME.wants` and its like, of every name of the unit, and of its template.
fn ties(unit: &mut Unit, catalogue: &Catalogue<'_>, names: &[UnitName]) {
    for name in names.iter().cloned().chain(names.iter().filter_map(UnitName::template)) {
        for kind in LinkKind::ALL {
            for (path, to) in catalogue.directory_links(&format!("{name}.{}", kind.suffix())) {
                // a template in the directory of an instance is meant with that instance
                let to = match (to.is_template(), unit.name.instance()) {
                    (true, Some(instance)) => to.with_instance(instance).unwrap_or(to),
                    _ => to,
                };
                if to != unit.name && !to.is_template() && !unit.ties.iter().any(|tie| tie.kind == kind && tie.to == to) {
                    unit.ties.push(Tie { kind, to, path });
                }
            }
        }
    }
    ties_of_scripts(unit, catalogue);
}

/// Scripts that a runlevel starts are wanted by the target that took its place.
fn ties_of_scripts(unit: &mut Unit, catalogue: &Catalogue<'_>) {
    let Some(directory) = catalogue.search.scripts.as_ref() else { return };
    for stem in sysv::started_by(catalogue.root, unit.name.as_str()) {
        let Ok(to) = UnitName::parse(&format!("{stem}.service")) else { continue };
        let path = format!("{directory}/{stem}");
        // a native unit of the name counts instead, and so does its mask
        if !catalogue.has(to.as_str()) && catalogue.root.exists(&path) && !unit.ties.iter().any(|tie| tie.to == to) {
            unit.ties.push(Tie { kind: LinkKind::Wants, to, path });
        }
    }
}
