//! A machine's settings files: found and read with care. What they mean is decided in hostel-nspawn.
//!
//! ```text
//!  /etc/systemd/nspawn/NAME.nspawn ─┐ the first that exists,
//!  /run/systemd/nspawn/NAME.nspawn ─┤ trusted when root's alone       /etc, /run, /usr/lib: systemd/nspawn/NAME.nspawn.d/*.conf
//!  beside the tree: NAME.nspawn ────┘ never trusted                   all of them, by name, after it
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use hostel_engine::error::{Context, Error, Result};
use hostel_image::open;
use hostel_image::versions::{self, Wanted};
use hostel_nspawn::settings::{self, Lookup, Mode, SettingsFile};
use hostel_nspawn::{Doc, Environment, UsageError};
use hostel_spec::{Hint, MachineName, TreeSource};
use hostel_unit::dropin;
use hostel_unit::specifier::Meaning;
use rustix::fs::{FileType, Mode as Permissions, OFlags, Stat};
use rustix::io::Errno;

/// Where `NAME.nspawn` is looked for first. systemd-nspawn trusts what lies there, too.
const DIRECTORIES: [&str; 2] = ["/etc/systemd/nspawn", "/run/systemd/nspawn"];
/// Where `NAME.nspawn.d` is looked for, the most important first.
const DROPINS: [&str; 3] = ["/etc/systemd/nspawn", "/run/systemd/nspawn", "/usr/lib/systemd/nspawn"];
/// Largest file that is read.
const SIZE_MAX: u64 = 1 << 20;

const NOT_ROOTS: &str = "it is not root's alone";
const BESIDE: &str = "it lies beside the tree, not in /etc/systemd/nspawn";

/// A command line of systemd-nspawn with the settings files of its machine. The texts are warnings.
pub fn with_files(args: &[OsString], env: &Environment) -> Result<(Doc, Vec<String>)> {
    let doc = hostel_nspawn::fold(args);
    match settings::lookup(&doc, env) {
        Some(lookup) => merge(doc, env, &lookup, Mode::Yes),
        // Help is asked for, or something is wrong: the compiler says so.
        None => Ok((doc, Vec::new())),
    }
}

/// Merges the settings files that `lookup` means into `doc`; `default` is the mode when none was given.
pub fn merge(doc: Doc, env: &Environment, lookup: &Lookup, default: Mode) -> Result<(Doc, Vec<String>)> {
    let mode = lookup.mode.unwrap_or(default);
    if mode == Mode::No {
        return Ok((doc, Vec::new()));
    }
    let tree = picked(&lookup.tree);
    let Some(name) = name(lookup.name.as_ref(), &tree) else { return Ok((doc, Vec::new())) };
    let files = find(&name, &tree)?;
    settings::merge(doc, mode, &files, env, &|letter| meaning(letter, &name)).map_err(|error| match error {
        UsageError::SettingsFile { ref path, line, ref why } => in_hint(Error::new("read", format!("{path}:{line}"), why)),
        other => Error::new("read", format!("settings of {name}"), other),
    })
}

/// The files that count when machine `name` is started by its name: the main one, if there is one, then its drop-ins.
pub fn of_machine(name: &MachineName) -> Result<Vec<SettingsFile>> {
    find(name, &TreeSource::Named(name.clone()))
}

/// Where the administrator's file for `name` is.
pub fn of_administrator(name: &MachineName) -> PathBuf {
    Path::new(DIRECTORIES[0]).join(format!("{name}.nspawn"))
}

/// What to do about a machine that cannot be compiled where the error has no advice of its own: it may be a settings file's fault.
pub fn hint(doc: &Doc) -> Option<Hint> {
    doc.settings().into_iter().next().map(|(from, _)| Hint::AlsoSettings(from.into()))
}

fn in_hint(error: Error) -> Error {
    error.hint(Hint::MendSettings)
}

/// The name the machine will have, without the suffix of a throw-away copy; `None` when the start will be refused for want of one.
fn name(given: Option<&MachineName>, tree: &TreeSource) -> Option<MachineName> {
    let text = match (given, tree) {
        (Some(name), _) | (None, TreeSource::Named(name)) => return Some(name.clone()),
        (None, TreeSource::Directory(path)) => last_part(path),
        (None, TreeSource::Image(path)) => last_part(path).map(|name| name.strip_suffix(".raw").map(str::to_owned).unwrap_or(name)),
        (None, TreeSource::Host) => None,
    };
    MachineName::derive(&text.unwrap_or_else(host_name)).ok()
}

/// The newest of a versioned directory; where there is none, whoever opens the tree will say so.
fn picked(tree: &TreeSource) -> TreeSource {
    let pick = |path: &Path, wanted| versions::pick(path, wanted).unwrap_or_else(|_| path.to_owned());
    match tree {
        TreeSource::Directory(path) => TreeSource::Directory(pick(path, Wanted::Tree)),
        TreeSource::Image(path) => TreeSource::Image(pick(path, Wanted::Image)),
        other => other.clone(),
    }
}

/// What the tree is called, as the engine will have it.
fn last_part(path: &Path) -> Option<String> {
    let part = |path: PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
    std::path::absolute(path).ok().and_then(part).or_else(|| part(std::fs::canonicalize(path).ok()?))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The main file, if there is one, then the drop-ins.
fn find(name: &MachineName, tree: &TreeSource) -> Result<Vec<SettingsFile>> {
    let file_name = format!("{name}.nspawn");
    let mut files = Vec::new();
    for directory in DIRECTORIES {
        files.extend(read(None, &Path::new(directory).join(&file_name), true, None)?);
        if !files.is_empty() {
            break;
        }
    }
    if files.is_empty()
        && let Some(directory) = beside(tree)
    {
        files.extend(read_beside(&directory, &file_name)?);
    }
    let directories = DROPINS.map(|directory| Path::new(directory).join(format!("{file_name}.d")));
    let mut listings = Vec::with_capacity(directories.len());
    for directory in &directories {
        listings.push(listing(directory)?);
    }
    for (at, name) in dropin::order(&listings) {
        let file = read(None, &directories[at].join(name), true, None)?;
        files.extend(file.map(|file| SettingsFile { dropin: true, ..file }));
    }
    Ok(files)
}

fn listing(directory: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(e) => return Err(e).context("list", directory.display().to_string()),
    };
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// The directory that the tree lies in.
fn beside(tree: &TreeSource) -> Option<PathBuf> {
    match tree {
        TreeSource::Host => None,
        // Beside a device there are devices.
        TreeSource::Image(path) if path.starts_with("/dev") => None,
        TreeSource::Directory(path) | TreeSource::Image(path) => {
            let absolute = std::path::absolute(path).ok()?;
            let absolute = if absolute.file_name().is_some() { absolute } else { std::fs::canonicalize(absolute).ok()? };
            absolute.parent().map(Path::to_path_buf)
        }
        TreeSource::Named(name) => match open::find(name) {
            Ok(found) if found.kind == open::Kind::KeptOverlay => None,
            Ok(found) => found.path.parent().map(Path::to_path_buf),
            // It may be made from a template.
            Err(_) => Some(PathBuf::from("/var/lib/machines")),
        },
    }
}

/// A file beside a tree is whoever's the directory is. A link there is followed only if root alone can have made it.
fn read_beside(directory: &Path, name: &str) -> Result<Option<SettingsFile>> {
    let fd = match rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Permissions::empty()) {
        Ok(fd) => fd,
        // Whoever opens the tree will say so.
        Err(_) => return Ok(None),
    };
    let follow = roots_alone(&rustix::fs::fstat(&fd).context("read", directory.display().to_string())?);
    read(Some((fd.as_fd(), name)), &directory.join(name), follow, Some(BESIDE))
}

/// Reads a file, by path or by directory and name. `None`: there is none. A device is never waited for, and only the null device,
/// the mask, is taken for an (empty) file.
fn read(at: Option<(BorrowedFd<'_>, &str)>, path: &Path, follow: bool, distrust: Option<&'static str>) -> Result<Option<SettingsFile>> {
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follow);
    let shown = path.display().to_string();
    let refuse = |why: &str| Err(in_hint(Error::new("read", shown.clone(), why)));
    let opened = match at {
        Some((directory, name)) => rustix::fs::openat(directory, name, flags, Permissions::empty()),
        None => rustix::fs::open(path, flags, Permissions::empty()),
    };
    let fd = match opened {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(Errno::LOOP) if !follow => return refuse("it is a link, in a directory that not only root can write"),
        Err(e) => return Err(e).context("read", shown).map_err(in_hint),
    };
    let stat = rustix::fs::fstat(&fd).context("read", shown.clone())?;
    let text = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => contents(fd).context("read", shown.clone())?,
        FileType::CharacterDevice if stat.st_rdev == rustix::fs::makedev(1, 3) => Vec::new(),
        _ => return refuse("it is no regular file"),
    };
    if text.len() as u64 > SIZE_MAX {
        return refuse("it is larger than 1 MiB");
    }
    let distrust = distrust.or_else(|| (!text.is_empty() && !roots_alone(&stat)).then_some(NOT_ROOTS));
    Ok(Some(SettingsFile { path: shown, text, distrust, dropin: false }))
}

/// At most one byte more than is accepted.
fn contents(fd: OwnedFd) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::from(fd).take(SIZE_MAX + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// Whether nobody but root can change it. Root's own group counts as root.
pub(crate) fn roots_alone(stat: &Stat) -> bool {
    let others = if stat.st_gid == 0 { 0o002 } else { 0o022 };
    stat.st_uid == 0 && stat.st_mode & others == 0
}

/// What a specifier means: the letters of systemd.unit(5) that make sense of a machine.
fn meaning(letter: char, machine: &MachineName) -> Meaning {
    let fixed = match letter {
        'i' => machine.as_str(),
        'a' if cfg!(target_arch = "aarch64") => "arm64",
        'a' => "x86-64",
        't' => "/run",
        'S' => "/var/lib",
        'C' => "/var/cache",
        'L' => "/var/log",
        'E' => "/etc",
        'T' => "/tmp",
        'V' => "/var/tmp",
        _ => return of_host(letter),
    };
    Ok(Some(fixed.to_owned()))
}

fn of_host(letter: char) -> Meaning {
    match letter {
        'H' => Ok(Some(host_name())),
        'l' => Ok(Some(host_name().split('.').next().unwrap_or_default().to_owned())),
        'v' => Ok(Some(rustix::system::uname().release().to_string_lossy().into_owned())),
        'm' => {
            let root = open::directory(Path::new("/")).map_err(|_| "the host's root cannot be opened")?;
            let id = hostel_image::machine_id::read(root.as_fd()).ok_or("the host has no machine id")?;
            Ok(Some(id.plain()))
        }
        'b' => {
            let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|_| "the host's boot id cannot be read")?;
            Ok(Some(id.trim().replace('-', "")))
        }
        _ => Ok(None),
    }
}
