//! Where unit files are looked for: the directories of systemd.unit(5), the most important first.

use crate::root::Root;

/// Whose units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Of the system.
    System,
    /// Of every user (`--global`), or of one (`--user`).
    User,
}

/// What a directory of the search path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What an administrator keeps: `/etc`. Links of `enable` go here.
    Persistent,
    /// Configuration that ends with the boot: `/run`. Links of `enable --runtime` go here.
    Runtime,
    /// Other configuration below /etc or a home: kept by tools.
    Config,
    /// Other configuration below /run.
    Transient,
    /// Written by generators at boot.
    Generator,
    /// What packages bring.
    Vendor,
}

/// One directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its path in the tree.
    pub path: String,
    /// What it is for.
    pub role: Role,
}

/// The search path.
#[derive(Debug, Clone)]
pub struct SearchPath {
    /// Whose units.
    pub scope: Scope,
    /// The most important first.
    pub places: Vec<Place>,
    /// Where presets are, the most important first.
    pub presets: Vec<String>,
    /// Where SysV scripts are; `None` for users.
    pub scripts: Option<String>,
}

fn place(path: &str, role: Role) -> Place {
    Place { path: path.to_owned(), role }
}

impl SearchPath {
    /// The path for a tree. `override_path` is SYSTEMD_UNIT_PATH: directories with colons between; one at the end appends the usual ones.
    /// `split_usr` keeps /lib before /usr/lib, as Debian up to 12 does, when it is there.
    pub fn new(root: &Root, scope: Scope, override_path: Option<&str>, split_usr: bool) -> SearchPath {
        let mut places = match scope {
            Scope::System => system(root, split_usr),
            Scope::User => user(),
        };
        if let Some(given) = override_path.filter(|given| !given.is_empty()) {
            let more = given.ends_with(':');
            let mut own: Vec<Place> = given.split(':').filter(|dir| !dir.is_empty()).map(|dir| of_path(dir, &places)).collect();
            if more {
                own.append(&mut places);
            }
            places = own;
        }
        let word = if scope == Scope::System { "system" } else { "user" };
        let mut presets: Vec<String> =
            ["/etc", "/run", "/usr/local/lib", "/usr/lib"].iter().map(|top| format!("{top}/systemd/{word}-preset")).collect();
        if split_usr {
            presets.push(format!("/lib/systemd/{word}-preset"));
        }
        let scripts = (scope == Scope::System).then(|| "/etc/init.d".to_owned());
        SearchPath { scope, places, presets, scripts }
    }

    /// The directory of links that last, or of those that end with the boot.
    pub fn config(&self, runtime: bool) -> &str {
        let (role, usual) = match (runtime, self.scope) {
            (false, Scope::System) => (Role::Persistent, "/etc/systemd/system"),
            (true, Scope::System) => (Role::Runtime, "/run/systemd/system"),
            (false, Scope::User) => (Role::Persistent, "/etc/systemd/user"),
            (true, Scope::User) => (Role::Runtime, "/run/systemd/user"),
        };
        self.places.iter().find(|p| p.role == role).map_or(usual, |p| &p.path)
    }

    /// The place whose directory is exactly the one of `path`.
    pub fn place_of(&self, path: &str) -> Option<&Place> {
        let (directory, _) = path.rsplit_once('/')?;
        self.places.iter().find(|p| p.path == directory)
    }
}

/// A directory of SYSTEMD_UNIT_PATH keeps the role that it usually has.
fn of_path(path: &str, usual: &[Place]) -> Place {
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    let role = usual.iter().find(|p| p.path == path).map_or_else(
        || match path {
            _ if path.starts_with("/etc/") => Role::Config,
            _ if path.starts_with("/run/") => Role::Transient,
            _ => Role::Vendor,
        },
        |p| p.role,
    );
    place(path, role)
}

fn system(root: &Root, split_usr: bool) -> Vec<Place> {
    let mut places = vec![
        place("/etc/systemd/system.control", Role::Config),
        place("/run/systemd/system.control", Role::Transient),
        place("/run/systemd/transient", Role::Transient),
        place("/run/systemd/generator.early", Role::Generator),
        place("/etc/systemd/system", Role::Persistent),
        place("/etc/systemd/system.attached", Role::Config),
        place("/run/systemd/system", Role::Runtime),
        place("/run/systemd/system.attached", Role::Transient),
        place("/run/systemd/generator", Role::Generator),
        place("/usr/local/lib/systemd/system", Role::Vendor),
    ];
    if split_usr && root.exists("/lib/systemd/system") {
        places.push(place("/lib/systemd/system", Role::Vendor));
    }
    places.push(place("/usr/lib/systemd/system", Role::Vendor));
    places.push(place("/run/systemd/generator.late", Role::Generator));
    places
}

fn user() -> Vec<Place> {
    vec![
        place("/etc/xdg/systemd/user", Role::Config),
        place("/etc/systemd/user", Role::Persistent),
        place("/run/systemd/user", Role::Runtime),
        place("/usr/local/share/systemd/user", Role::Vendor),
        place("/usr/share/systemd/user", Role::Vendor),
        place("/usr/local/lib/systemd/user", Role::Vendor),
        place("/usr/lib/systemd/user", Role::Vendor),
    ]
}
