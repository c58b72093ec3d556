//! An lxcpath of a test's own, and the tools of LXC over it: ours, and LXC's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Bed, Invocation, Outcome};

/// An lxcpath.
pub struct Lxcpath<'a> {
    bed: &'a Bed,
    path: PathBuf,
}

impl<'a> Lxcpath<'a> {
    /// An empty one.
    pub fn new(bed: &'a Bed) -> Self {
        Self { bed, path: bed.fresh("lxc") }
    }
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Tool and arguments of `TOOL WORDS`, a blank between each.
    fn words<'b>(&'b self, line: &'b str) -> (&'b str, impl Iterator<Item = &'b str>) {
        let (tool, rest) = line.split_once(' ').unwrap_or((line, ""));
        (tool, ["-P", self.path.to_str().expect("UTF-8")].into_iter().chain(rest.split_ascii_whitespace()))
    }
    /// `hostel lxc TOOL -P LXCPATH WORDS`.
    pub fn ours(&self, line: &str) -> Invocation {
        let (tool, words) = self.words(line);
        self.bed.hostel(["lxc", tool]).args(words).limit(Duration::from_secs(20))
    }
    /// `lxc-TOOL -P LXCPATH WORDS`.
    pub fn stock(&self, line: &str) -> Invocation {
        let (tool, words) = self.words(line);
        Invocation::new(format!("lxc-{tool}")).args(words).limit(Duration::from_secs(20))
    }
    /// Both print the same, and end with the same status.
    #[track_caller]
    pub fn same(&self, line: &str) -> Outcome {
        let (ours, stock) = (self.ours(line).run(), self.stock(line).run());
        assert_eq!((ours.text(), ours.code), (stock.text(), stock.code), "{line}: {}\n{}", ours.describe(), stock.describe());
        ours
    }
}

impl Drop for Lxcpath<'_> {
    fn drop(&mut self) {
        for place in ["lock", ""] {
            let _ = std::fs::remove_dir_all(format!("/run/lxc/{place}{}", self.path.display()));
        }
    }
}
