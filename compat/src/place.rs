//! One side of one scenario: its scratch directory, its tree before and after, what it left on the machine.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::scenario::Kind;

/// A scratch directory with the tree in it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    kind: Kind,
    before: BTreeMap<String, String>,
}

/// Where scratch directories are made; the rest of their names is the process id.
fn top() -> PathBuf {
    std::env::var_os("HOSTEL_TEST_DIR").map_or_else(|| PathBuf::from("/var/tmp/hostel-tests"), PathBuf::from)
}
const PREFIX: &str = "compat-";

/// The scratch directory of this run.
pub(crate) fn of_this_run() -> PathBuf {
    top().join(format!("{PREFIX}{}", std::process::id()))
}

/// Removes what a killed run left.
pub(crate) fn sweep() {
    for entry in std::fs::read_dir(top()).into_iter().flatten().flatten() {
        if crate::run_that_is_over(&entry.file_name().to_string_lossy(), PREFIX).is_some() {
            remove(&entry.path());
        }
    }
}

/// Unmounts and removes everything below a directory.
fn remove(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = format!("{}/", dir.display());
    let targets: Vec<&str> = mounts.lines().filter_map(|l| l.split(' ').nth(4)).filter(|t| t.starts_with(&below)).collect();
    for target in targets.iter().rev() {
        let _ = rustix::mount::unmount(*target, rustix::mount::UnmountFlags::DETACH);
    }
    if std::fs::remove_dir_all(dir).is_err() {
        let _ = Command::new("chattr").args(["-R", "-f", "-i", "-a"]).arg(dir).stderr(Stdio::null()).status();
        if let Err(e) = std::fs::remove_dir_all(dir) {
            eprintln!("remove {}: {e}", dir.display());
        }
    }
}

/// Where the cached trees are.
pub(crate) fn trees() -> PathBuf {
    std::env::var_os("HOSTEL_TREES").map_or_else(|| PathBuf::from("/var/tmp/hostel-trees"), PathBuf::from)
}

/// The busybox tree of this run: the shared one may bear traces of machines that somebody started in it.
fn busybox() -> PathBuf {
    of_this_run().join("busybox")
}

/// Builds what this run copies its trees from.
pub(crate) fn prepare() -> io::Result<()> {
    let tree = busybox();
    std::fs::create_dir_all(&tree)?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/trees.sh");
    run("bash", &[script.as_ref(), "--into".as_ref(), "busybox".as_ref(), tree.as_os_str()])
}

/// Removes what `prepare` made.
pub(crate) fn finish() {
    remove(&of_this_run());
}

fn run(program: &str, args: &[&std::ffi::OsStr]) -> io::Result<()> {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output()?;
    if out.status.success() { Ok(()) } else { Err(io::Error::other(format!("{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr)))) }
}

impl Place {
    /// Makes the directory and copies the tree.
    pub(crate) fn make(dir: PathBuf, name: String, kind: Kind, probe: &Path) -> io::Result<Place> {
        std::fs::create_dir_all(&dir)?;
        let place = Place { dir, name, kind, before: BTreeMap::new() };
        let tree = place.tree();
        let copy = |from: PathBuf| run("cp", &["-a".as_ref(), "--reflink=auto".as_ref(), from.as_os_str(), tree.as_os_str()]);
        match kind {
            Kind::Busybox => copy(busybox())?,
            Kind::DebianCopy => copy(trees().join("debian"))?,
            Kind::Debian => {
                let layers = place.layers();
                for dir in [&tree, &layers.join("upper"), &layers.join("work")] {
                    std::fs::create_dir_all(dir)?;
                }
                let lower = trees().join("debian");
                let options =
                    format!("lowerdir={},upperdir={},workdir={}", lower.display(), layers.join("upper").display(), layers.join("work").display());
                run("mount", &["-t".as_ref(), "overlay".as_ref(), "overlay".as_ref(), "-o".as_ref(), options.as_ref(), tree.as_os_str()])?;
            }
            Kind::Missing => return Ok(place),
        }
        std::fs::copy(probe, tree.join("probe"))?;
        std::fs::set_permissions(tree.join("probe"), std::fs::Permissions::from_mode(0o755))?;
        Ok(place)
    }

    /// The tree's directory.
    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    fn layers(&self) -> PathBuf {
        self.dir.join(".layers")
    }

    /// Runs a script of the table; `P` is the supervisor's process id.
    pub(crate) fn script(&self, script: &str, pid: Option<u32>) -> io::Result<std::process::Output> {
        let mut command = Command::new("/bin/sh");
        command.args(["-ec", script]).env("D", &self.dir).env("T", self.tree()).env("N", &self.name).current_dir(&self.dir).stdin(Stdio::null());
        if let Some(pid) = pid {
            command.env("P", pid.to_string());
        }
        command.output()
    }

    /// Remembers how the directory is now.
    pub(crate) fn remember(&mut self) {
        self.before = self.snapshot();
    }

    /// What differs from what was remembered: path to description, `-` for what is gone.
    pub(crate) fn changes(&self) -> BTreeMap<String, String> {
        let now = self.snapshot();
        let mut out = BTreeMap::new();
        for (path, was) in &self.before {
            match now.get(path) {
                None => drop(out.insert(path.clone(), "gone".to_owned())),
                Some(is) if is != was => drop(out.insert(path.clone(), is.clone())),
                Some(_) => {}
            }
        }
        out.extend(now.into_iter().filter(|(path, _)| !self.before.contains_key(path)));
        out
    }

    fn snapshot(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_name().to_str() {
                Some(".layers") => look(&self.layers().join("upper"), "{tree}", &mut out),
                Some(".state" | ".etc") => {}
                Some(name) if name == self.name && self.kind == Kind::Debian => {}
                Some(name) if name == self.name => look(&path, "{tree}", &mut out),
                Some(name) => look(&path, name, &mut out),
                None => {}
            }
        }
        out
    }

    /// Unmounts and removes everything.
    pub(crate) fn remove(&self) {
        remove(&self.dir);
    }
}

/// Describes a path and everything below it: type, mode, owner, contents; not times.
fn look(path: &Path, shown: &str, out: &mut BTreeMap<String, String>) {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return };
    let kind = meta.file_type();
    if kind.is_symlink() && !shown.ends_with("/sh") && std::fs::read_link(path).is_ok_and(|l| l.as_os_str() == "busybox") {
        return; // hundreds of applets fare as one does
    }
    let mut text = if kind.is_symlink() {
        format!("link {}:{} -> {}", meta.uid(), meta.gid(), std::fs::read_link(path).unwrap_or_default().display())
    } else {
        let word = match () {
            () if kind.is_dir() => "dir",
            () if kind.is_file() => "file",
            () if kind.is_fifo() => "fifo",
            () if kind.is_socket() => "socket",
            () if kind.is_char_device() => "char",
            () => "block",
        };
        format!("{word} {:o} {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid())
    };
    if kind.is_file() {
        text += &contents(path, meta.len());
    }
    if kind.is_char_device() || kind.is_block_device() {
        text += &format!(" {}:{}", rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    }
    out.insert(shown.to_owned(), text);
    if kind.is_dir() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            look(&entry.path(), &format!("{shown}/{}", entry.file_name().to_string_lossy()), out);
        }
    }
}

/// Short texts as they are, the rest by length.
fn contents(path: &Path, length: u64) -> String {
    if length > 300 {
        return format!(" {length} bytes");
    }
    format!(" {:?}", String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()))
}
