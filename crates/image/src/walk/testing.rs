//! Scratch directories, loop file systems and tree comparison for this crate's tests.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory of its own, removed at the end with all in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(tag: &str) -> Self {
        let random = hostel_sys::tree::random_u64().unwrap();
        let path = std::env::temp_dir().join(format!("hostel-image-{tag}-{random:016x}"));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// A file system made for one test, in a scratch directory, taken away at the end.
///
/// It is mounted in the mount namespace of the test process only when that was made private; the loop device has
/// AUTOCLEAR set by mount(8), so it goes with the mount.
pub(crate) struct FileSystem {
    pub(crate) at: PathBuf,
    _dir: Scratch,
}

impl FileSystem {
    /// `kind`: tmpfs, ext4, xfs, btrfs; `None` with the reason printed when this host cannot.
    pub(crate) fn new(kind: &str, megabytes: u64) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let dir = Scratch::new(kind);
        let at = dir.path().join("mnt");
        std::fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        if kind == "tmpfs" {
            mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "none"]).arg(&at);
        } else {
            let image = dir.path().join("image");
            std::fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
            let mut mkfs = Command::new(format!("mkfs.{kind}"));
            mkfs.arg(if kind == "ext4" { "-qF" } else { "-q" }).arg(&image);
            if !run(&mut mkfs) {
                return None;
            }
            mount.args(["-t", kind, "-o", "loop"]).arg(&image).arg(&at);
        }
        run(&mut mount).then_some(FileSystem { at, _dir: dir })
    }
}

fn run(command: &mut Command) -> bool {
    match command.output() {
        Ok(done) if done.status.success() => true,
        other => {
            eprintln!("skipped: {command:?}: {other:?}");
            false
        }
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// Runs a shell script that must succeed; `$1`… are `args`.
pub(crate) fn sh(script: &str, args: &[&Path]) -> String {
    let out = Command::new("bash").args(["-ec", script, "sh"]).args(args).output().unwrap();
    assert!(out.status.success(), "{script}\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Everything about a tree that a copy must keep, one line per file.
pub(crate) fn describe(tree: &Path) -> String {
    let mut lines = Vec::new();
    visit(tree, Path::new(""), &mut lines);
    lines.sort();
    lines.join("\n")
}

fn visit(top: &Path, below: &Path, lines: &mut Vec<String>) {
    use std::hash::Hasher;
    use std::os::fd::AsFd;
    use std::os::unix::{ffi::OsStrExt, fs::MetadataExt};
    let path = top.join(below);
    let meta = std::fs::symlink_metadata(&path).unwrap();
    let mut line = format!("{below:?} {:o} {} {} {:x} {}.{}", meta.mode(), meta.uid(), meta.gid(), meta.rdev(), meta.mtime(), meta.mtime_nsec());
    if meta.is_symlink() {
        line += &format!(" -> {:?}", std::fs::read_link(&path).unwrap());
    } else if meta.is_file() {
        let mut hash = std::hash::DefaultHasher::new();
        hash.write(&std::fs::read(&path).unwrap());
        line += &format!(" {} {:x}", meta.size(), hash.finish());
    }
    if !meta.is_dir() && meta.nlink() > 1 {
        line += &format!(" links {}", meta.nlink());
    }
    let dir = crate::open::directory(path.parent().unwrap()).unwrap();
    let name = std::ffi::CString::new(path.file_name().unwrap().as_bytes()).unwrap();
    let (mut names, mut value) = (Vec::new(), Vec::new());
    if hostel_sys::tree::xattr::list(dir.as_fd(), &name, &mut names).is_ok() {
        let mut attributes: Vec<_> = names.split_inclusive(|b| *b == 0).map(|n| std::ffi::CStr::from_bytes_with_nul(n).unwrap()).collect();
        attributes.sort();
        for attribute in attributes {
            hostel_sys::tree::xattr::get(dir.as_fd(), &name, attribute, &mut value).unwrap();
            line += &format!(" {attribute:?}={value:02x?}");
        }
    }
    lines.push(line);
    if meta.is_dir() {
        for entry in std::fs::read_dir(&path).unwrap() {
            visit(top, &below.join(entry.unwrap().file_name()), lines);
        }
    }
}

/// Names in `dir`.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
