//! Trees for one test: copies of the cached ones, which stay as they are.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Bed;
use crate::bed::{Undo, binary};

/// A tree that belongs to one test.
pub struct Tree {
    path: PathBuf,
}

impl Tree {
    /// Where it is on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// A path inside it, as seen from the host. For trees the test made itself; never for one a machine has changed.
    pub fn at(&self, inside: &str) -> PathBuf {
        self.path.join(inside.trim_start_matches('/'))
    }
    /// The tree's directory name, from which systemd-nspawn derives the machine's name.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
    /// Writes a file, making its directory.
    #[track_caller]
    pub fn write(&self, inside: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.at(inside);
        if let Some(parent) = path.parent() {
            let _ = std::fs::create_dir_all(parent);
        }
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        self
    }
    /// Makes a file executable.
    pub fn executable(&self, inside: &str) -> &Self {
        let _ = std::fs::set_permissions(self.at(inside), std::fs::Permissions::from_mode(0o755));
        self
    }
    /// Removes whatever is at a path, not following a link there.
    pub fn remove(&self, inside: &str) -> &Self {
        let path = self.at(inside);
        match std::fs::symlink_metadata(&path) {
            Ok(m) if m.is_dir() => drop(std::fs::remove_dir_all(&path)),
            Ok(_) => drop(std::fs::remove_file(&path)),
            Err(_) => {}
        }
        self
    }
    /// Makes the probe its init, running these words.
    pub fn init_is_probe(&self, words: &str) -> &Self {
        self.remove("/usr/sbin/init");
        std::fs::copy(binary("hostel-probe", "HOSTEL_PROBE"), self.at("/usr/sbin/init")).unwrap_or_else(|e| panic!("install probe: {e}"));
        self.executable("/usr/sbin/init").write("/etc/probe-init", words)
    }
}

fn trees() -> PathBuf {
    std::env::var_os("HOSTEL_TREES").map_or_else(|| PathBuf::from("/var/tmp/hostel-trees"), PathBuf::from)
}

#[track_caller]
fn run(program: &str, args: &[&std::ffi::OsStr]) {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("run {program}: {e}"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

impl Bed {
    /// A copy of the busybox tree with the probe at /probe. Built by scripts/trees.sh on the way if it is missing.
    #[track_caller]
    pub fn busybox(&self) -> Tree {
        self.copy("busybox")
    }

    /// A full copy of a cached tree (on the scratch file system, so it can be id-mapped), with /probe.
    #[track_caller]
    pub fn copy(&self, kind: &str) -> Tree {
        let from = cached(kind).unwrap_or_else(|| panic!("no tree {kind}: run scripts/trees.sh {kind}"));
        let path = self.dir().join(self.name());
        run("cp", &["-a".as_ref(), "--reflink=auto".as_ref(), from.as_os_str(), path.as_os_str()]);
        with_probe(Tree { path })
    }

    /// A cached Debian-sized tree below an overlay, whose writes are the test's; `None`, with the reason printed, when it was not built.
    #[track_caller]
    pub fn tree(&self, kind: &str) -> Option<Tree> {
        let from = cached_or_reason(kind)?;
        let path = self.dir().join(self.name());
        let layers = self.fresh("layers");
        for dir in [&path, &layers.join("upper"), &layers.join("work")] {
            std::fs::create_dir(dir).unwrap_or_else(|e| panic!("make {}: {e}", dir.display()));
        }
        let options = format!("lowerdir={},upperdir={},workdir={}", from.display(), layers.join("upper").display(), layers.join("work").display());
        run("mount", &["-t".as_ref(), "overlay".as_ref(), "overlay".as_ref(), "-o".as_ref(), options.as_ref(), path.as_os_str()]);
        self.will_unmount(&path);
        Some(with_probe(Tree { path }))
    }

    /// A cached tree copied onto an ext4 of its own (a loop device): nobody else writes there, so a guest that
    /// remounts it read-only would succeed.
    #[track_caller]
    pub fn tree_on_own_file_system(&self, kind: &str) -> Option<Tree> {
        let from = cached_or_reason(kind)?;
        let place = self.own_file_system(600);
        let path = place.join(self.name());
        run("cp", &["-a".as_ref(), from.as_os_str(), path.as_os_str()]);
        Some(with_probe(Tree { path }))
    }

    /// An empty ext4 of this many MiB on a loop device, mounted; unmounted with the bed.
    #[track_caller]
    pub fn own_file_system(&self, mib: u64) -> PathBuf {
        let place = self.fresh("disk");
        let image = self.dir().join(format!("{}.img", self.name()));
        let made = std::fs::File::create(&image).and_then(|f| f.set_len(mib << 20));
        made.unwrap_or_else(|e| panic!("make {}: {e}", image.display()));
        run("mkfs.ext4", &["-q".as_ref(), "-O".as_ref(), "^has_journal".as_ref(), image.as_os_str()]);
        run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), place.as_os_str()]);
        self.will_unmount(&place);
        place
    }

    fn will_unmount(&self, path: &Path) {
        self.undo.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(Undo::Unmount(path.into()));
    }

    /// The busybox tree without its four hundred links: the shell, users, os-release, an init; quick to make by the hundred.
    #[track_caller]
    pub fn little(&self) -> Tree {
        let from = cached("busybox").unwrap_or_else(|| panic!("no tree busybox: run scripts/trees.sh busybox"));
        let path = self.dir().join(self.name());
        let at = |inside: &str| path.join(inside);
        let put = |inside: &str| std::fs::copy(from.join(inside), at(inside)).unwrap_or_else(|e| panic!("copy {inside}: {e}"));
        for dir in ["usr/bin", "usr/sbin", "usr/lib", "etc", "dev", "proc", "sys", "run", "tmp", "root", "home/alice", "var/tmp", "mnt", "srv"] {
            std::fs::create_dir_all(at(dir)).unwrap_or_else(|e| panic!("make {dir}: {e}"));
        }
        for file in ["usr/bin/busybox", "usr/bin/getent", "usr/lib/os-release", "etc/passwd", "etc/group", "etc/shadow", "etc/hostname"] {
            put(file);
        }
        let links = [
            ("usr/bin", "bin"),
            ("usr/sbin", "sbin"),
            ("usr/lib", "lib"),
            ("busybox", "usr/bin/sh"),
            ("busybox", "usr/bin/cat"),
            ("../bin/busybox", "usr/sbin/init"),
            ("../usr/lib/os-release", "etc/os-release"),
        ];
        for (target, link) in links {
            std::os::unix::fs::symlink(target, at(link)).unwrap_or_else(|e| panic!("link {link}: {e}"));
        }
        with_probe(Tree { path })
    }

    /// A tree of nothing but directories and the probe, as little as a root can be.
    #[track_caller]
    pub fn bare(&self) -> Tree {
        let path = self.dir().join(self.name());
        std::fs::create_dir_all(path.join("usr/bin")).unwrap_or_else(|e| panic!("make {}: {e}", path.display()));
        with_probe(Tree { path })
    }
}

fn with_probe(tree: Tree) -> Tree {
    std::fs::copy(binary("hostel-probe", "HOSTEL_PROBE"), tree.at("/probe")).unwrap_or_else(|e| panic!("install probe: {e}"));
    tree
}

fn cached(kind: &str) -> Option<PathBuf> {
    let path = trees().join(kind);
    if !path.is_dir() && ["busybox", "bbinit"].contains(&kind) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/trees.sh");
        let _ = Command::new(script).arg(kind).status();
    }
    path.is_dir().then_some(path)
}

fn cached_or_reason(kind: &str) -> Option<PathBuf> {
    if std::env::var_os("HOSTEL_QUICK").is_some() && !["busybox", "bbinit"].contains(&kind) {
        println!("skipped: HOSTEL_QUICK is set and the tree {kind} is a Debian");
        return None;
    }
    let found = cached(kind);
    if found.is_none() {
        println!("skipped: there is no tree {}; run scripts/trees.sh {kind}", trees().join(kind).display());
    }
    found
}
