//! A host directory that nobody may touch, and the proof that nobody did.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A directory with a file, a subdirectory, a device-like name and a link in it; remembered by content, inode, mode, owner and change time.
pub struct Trap {
    path: PathBuf,
    before: BTreeMap<PathBuf, Seen>,
    only: Option<&'static [&'static str]>,
}

/// The files of the host's /etc that setting up a machine is about (the rest may change while tests run).
const HOST_FILES: &[&str] = &["resolv.conf", "localtime", "machine-id", "passwd", "group", "shadow", "hostname", "os-release", "timezone"];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    changed: (i64, i64),
    links: u64,
    content: Vec<u8>,
}

impl Trap {
    /// Makes one at `path` (which must not exist yet) with the names a runtime would write to.
    pub fn set(path: PathBuf) -> Trap {
        let put = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap_or_else(|e| panic!("set trap: {e}"));
        std::fs::create_dir_all(path.join("sub/dir")).unwrap_or_else(|e| panic!("set trap: {e}"));
        for name in ["file", "resolv.conf", "localtime", "machine-id", "passwd", "group", "os-release", "null-not", "core_pattern"] {
            put(name, "host data\n");
        }
        let _ = std::os::unix::fs::symlink("file", path.join("link"));
        Trap::watch(path)
    }

    /// Watches a directory that is already there.
    pub fn watch(path: PathBuf) -> Trap {
        let before = look(&path, None);
        Trap { path, before, only: None }
    }

    /// Watches the files of the host's own /etc that a start reads or, in a machine, writes.
    pub fn watch_host_etc() -> Trap {
        let path = PathBuf::from("/etc");
        Trap { before: look(&path, Some(HOST_FILES)), path, only: Some(HOST_FILES) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What changed, in words; empty when nothing.
    pub fn changes(&self) -> Vec<String> {
        let now = look(&self.path, self.only);
        let mut out: Vec<String> = now.keys().filter(|k| !self.before.contains_key(*k)).map(|k| format!("new: {}", k.display())).collect();
        out.extend(self.before.keys().filter(|k| !now.contains_key(*k)).map(|k| format!("gone: {}", k.display())));
        out.extend(
            self.before
                .iter()
                .filter_map(|(k, was)| now.get(k).filter(|is| *is != was).map(|is| format!("changed: {}: {was:?} -> {is:?}", k.display()))),
        );
        out
    }

    /// Asserts that nothing changed.
    #[track_caller]
    pub fn assert_untouched(&self, story: &str) {
        let changes = self.changes();
        assert!(changes.is_empty(), "{story}: the trap {} was sprung: {changes:#?}", self.path.display());
    }
}

fn look(top: &Path, only: Option<&[&str]>) -> BTreeMap<PathBuf, Seen> {
    let mut found = BTreeMap::new();
    let mut todo = only.map_or_else(|| vec![top.to_path_buf()], |names| names.iter().map(|n| top.join(n)).collect());
    while let Some(path) = todo.pop() {
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        let content = if meta.is_file() && meta.len() < 65536 {
            std::fs::read(&path).unwrap_or_default()
        } else if meta.is_symlink() {
            std::fs::read_link(&path).map(|l| l.into_os_string().into_encoded_bytes()).unwrap_or_default()
        } else {
            Vec::new()
        };
        if meta.is_dir() {
            todo.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
        }
        found.insert(
            path,
            Seen {
                inode: meta.ino(),
                mode: meta.mode(),
                owner: (meta.uid(), meta.gid()),
                changed: (meta.ctime(), meta.ctime_nsec()),
                links: meta.nlink(),
                content,
            },
        );
    }
    found
}
