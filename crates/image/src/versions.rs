//! Versioned directories (systemd.v(7)): `…/NAME.v/` or `…/NAME.raw.v/` stands for the newest `NAME_VERSION` in it, and so does
//! `….v/NAME___.raw`. Between version and ending there may be `_ARCHITECTURE` and, of boot counting, `+LEFT-DONE`.

use std::cmp::{Ordering, Reverse};
use std::path::{Path, PathBuf};

use hostel_spec::Arrange as _;
use rustix::fs::FileType;

use crate::disk::version;
use crate::error::On;
use crate::{Cause, Result};

/// systemd's names of architectures; what else stands behind a `_` belongs to the version.
const ARCHITECTURES: [&str; 12] =
    ["x86-64", "x86", "arm64", "arm64-be", "arm", "arm-be", "riscv64", "riscv32", "loongarch64", "ppc64-le", "ppc64", "s390x"];
/// Ours.
const NATIVE: &str = if cfg!(target_arch = "x86_64") {
    "x86-64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else if cfg!(target_arch = "riscv64") {
    "riscv64"
} else {
    ""
};

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Directories.
    Tree,
    /// Files that end in `.raw`, and block devices.
    Image,
}

/// The newest version, when `path` means a versioned directory; else `path` as it is.
pub fn pick(path: &Path, wanted: Wanted) -> Result<PathBuf> {
    let Some(pattern) = Pattern::of(path, wanted) else { return Ok(path.to_owned()) };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(pattern.directory).map_err(Cause::from).on("open", path)? {
        let name = entry.map_err(Cause::from).on("list", path)?.file_name();
        names.extend(name.to_str().filter(|name| pattern.version(name).is_some()).map(str::to_owned));
    }
    names.arrange_by(|a, b| pattern.order(b, a));
    let fits = |name: &String| {
        let kind = rustix::fs::stat(pattern.directory.join(name)).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match wanted {
            Wanted::Tree => kind == Ok(FileType::Directory),
            Wanted::Image => matches!(kind, Ok(FileType::RegularFile | FileType::BlockDevice)),
        }
    };
    let newest = names.into_iter().find(fits);
    newest.map(|name| pattern.directory.join(name)).ok_or_else(|| Cause::Why("no version for this architecture is in it").on("pick", path))
}

struct Pattern<'a> {
    directory: &'a Path,
    stem: &'a str,
    ending: &'a str,
}

/// What a name says between stem and ending.
#[derive(Debug, PartialEq, Eq)]
struct Version<'a> {
    text: &'a str,
    /// Whether it says that it is ours.
    native: bool,
    /// Tries left and done, where they are counted.
    tries: Option<(u64, u64)>,
}

impl<'a> Pattern<'a> {
    fn of(path: &'a Path, wanted: Wanted) -> Option<Self> {
        let usual = if wanted == Wanted::Image { ".raw" } else { "" };
        let last = path.file_name()?.to_str()?;
        if let Some(stem) = last.strip_suffix(".v").filter(|stem| !stem.is_empty()) {
            return Some(Self { directory: path, stem: stem.strip_suffix(usual).unwrap_or(stem), ending: usual });
        }
        let directory = path.parent()?;
        let (stem, ending) = last.split_once("___").filter(|(stem, _)| !stem.is_empty())?;
        directory.file_name()?.to_str()?.strip_suffix(".v").map(|_| Self { directory, stem, ending })
    }

    /// `None`: it is another file's name, or another architecture's.
    fn version<'n>(&self, name: &'n str) -> Option<Version<'n>> {
        let mut text = name.strip_prefix(self.stem)?.strip_prefix('_')?.strip_suffix(self.ending)?;
        let mut tries = None;
        if let Some((before, counters)) = text.rsplit_once('+') {
            let (left, done) = counters.split_once('-').unwrap_or((counters, "0"));
            if let (Ok(left), Ok(done)) = (left.parse(), done.parse()) {
                (text, tries) = (before, Some((left, done)));
            }
        }
        let architecture = text.rsplit_once('_').filter(|(_, word)| ARCHITECTURES.contains(word));
        let native = match architecture {
            Some((before, word)) if word == NATIVE => {
                text = before;
                true
            }
            Some(_) => return None,
            None => false,
        };
        (!text.is_empty()).then_some(Version { text, native, tries })
    }

    /// The greater one is the better one: not used up, newer, ours by name, with more tries left.
    fn order(&self, a: &str, b: &str) -> Ordering {
        let (Some(x), Some(y)) = (self.version(a), self.version(b)) else { return Ordering::Equal };
        let alive = |v: &Version<'_>| v.tries.is_none_or(|(left, _)| left > 0);
        let counted = |v: &Version<'_>| v.tries.map_or((u64::MAX, Reverse(0)), |(left, done)| (left, Reverse(done)));
        let rest = || x.native.cmp(&y.native).then_with(|| counted(&x).cmp(&counted(&y))).then_with(|| a.cmp(b));
        alive(&x).cmp(&alive(&y)).then_with(|| version::compare(x.text, y.text)).then_with(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let of = |path: &'static str, wanted| Pattern::of(Path::new(path), wanted).map(|p| (p.directory.to_str().unwrap(), p.stem, p.ending));
        assert_eq!(of("/m/os.v", Wanted::Tree), Some(("/m/os.v", "os", "")));
        assert_eq!(of("/m/os.raw.v", Wanted::Image), Some(("/m/os.raw.v", "os", ".raw")));
        assert_eq!(of("/m/os.v/", Wanted::Image), Some(("/m/os.v/", "os", ".raw")));
        assert_eq!(of("/m/x.v/os___.img", Wanted::Image), Some(("/m/x.v", "os", ".img")));
        for no in ["/m/os", "/m/.v", "/", "/m/x/os___.raw", "/m/x.v/os_.raw", "/m/x.v/___.raw"] {
            assert_eq!(of(no, Wanted::Tree), None, "{no}");
        }
        let pattern = Pattern { directory: Path::new("/"), stem: "os", ending: ".raw" };
        let version = |name| pattern.version(name).map(|v| (v.text, v.tries));
        assert_eq!(version("os_7.6.raw"), Some(("7.6", None)));
        assert_eq!(version("os_7.6_beta+3-1.raw"), Some(("7.6_beta", Some((3, 1)))));
        assert_eq!(version("os_7+0.raw"), Some(("7", Some((0, 0)))));
        assert_eq!(version("os_7+x.raw"), Some(("7+x", None)));
        for no in ["os_.raw", "os.raw", "other_1.raw", "os_1.img", "os_1_s390x.raw"] {
            assert_eq!(version(no), None, "{no}");
        }
    }

    #[test]
    fn the_newest_that_fits() {
        let top = std::env::temp_dir().join(format!("hostel-versions-{}", std::process::id()));
        let dir = top.join("os.v");
        std::fs::create_dir_all(&dir).unwrap();
        let newest = || pick(&dir, Wanted::Tree).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        assert!(newest().unwrap_err().to_string().contains("no version"));
        // Each is better than all before it.
        for name in ["os_99+0-3", "os_9", "os_10~rc1", "os_10+1-2", "os_10+2-1", "os_10"] {
            std::fs::create_dir(dir.join(name)).unwrap();
            assert_eq!(newest().unwrap(), name);
        }
        // Neither files nor what is another's count.
        std::fs::write(dir.join("os_11"), "").unwrap();
        for name in ["os_12_s390x", "other_13", "os_10.raw"] {
            std::fs::create_dir(dir.join(name)).unwrap();
        }
        assert_eq!(newest().unwrap(), "os_10.raw");
        std::fs::create_dir(dir.join(format!("os_20_{NATIVE}"))).unwrap();
        assert_eq!(newest().unwrap(), format!("os_20_{NATIVE}"));
        assert_eq!(pick(&top, Wanted::Tree).unwrap(), top);
        assert!(pick(&dir, Wanted::Image).is_err(), "a directory is no image");
        std::fs::write(dir.join("os_3.raw"), "").unwrap();
        assert_eq!(pick(&dir, Wanted::Image).unwrap(), dir.join("os_3.raw"));
        std::fs::remove_dir_all(top).unwrap();
    }
}
