//! The difference between a machine's view and what it lies over: exactly that, files touched but equal left out.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use hostel_image::{Cause, Result, stamped};
use hostel_spec::Arrange as _;
use rustix::fs::{AtFlags, FileType, Stat};

use crate::change::{Change, Differs, Kind, What};
use crate::layer::{Layer, below, changed, directory, is_dir, kind_of, look, names, parent};
use crate::mark::{self, Shining};
use crate::same::{self, Place};

/// Written at the start of machines.
const RESOLVER: &str = "etc/resolv.conf";
/// Covered by the host's where the tree has no such zone; what is covered is made, and empty.
const LOCALTIME: &str = "etc/localtime";

/// An upper directory to look at; `hidden`: nothing of a lower one of this path is seen.
struct Job {
    inside: PathBuf,
    hidden: bool,
}

/// One name of an upper file that has several.
struct Name {
    /// Where its change is in the list, if it is one.
    at: Option<usize>,
    inside: PathBuf,
    lower: Option<(u64, u64)>,
    stat: Stat,
}

/// All differences of `layers`, by path.
pub fn diff(layers: &[Layer]) -> Result<Vec<Change>> {
    let mut all = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let mut walk = Walk::new(layer, index, u64::MAX);
        walk.top()?;
        walk.all()?;
        walk.links();
        all.extend(walk.found);
    }
    all.arrange_by(|a, b| a.path.cmp(&b.path));
    Ok(all)
}

/// Largest file that [`tidy`] reads to find out that it is what it was.
const TIDY_LIMIT: u64 = 16 << 20;

/// Takes copies that differ from the files below in nothing but their times out of the upper layers of a machine that does not run: they
/// would hide what becomes of those files. Files of one name only; a larger one stays. How many went.
pub fn tidy(layers: &[Layer]) -> Result<usize> {
    let mut gone = 0;
    for layer in layers {
        let mut walk = Walk::new(layer, 0, TIDY_LIMIT);
        walk.all()?;
        for (inside, seen) in &walk.equal {
            gone += usize::from(drop_equal(layer, inside, seen).map_err(|e| e.on("remove", &layer.shown(inside)))?);
        }
    }
    Ok(gone)
}

fn drop_equal(layer: &Layer, inside: &Path, seen: &Stat) -> std::result::Result<bool, Cause> {
    let Some((dir, name)) = parent(layer.upper(), inside)? else { return Ok(false) };
    let same = |now: Stat| (now.st_ino, now.st_dev, changed(&now)) == (seen.st_ino, seen.st_dev, changed(seen));
    let same = look(dir.as_fd(), &name)?.is_some_and(same);
    if same {
        rustix::fs::unlinkat(&dir, &*name, AtFlags::empty())?;
    }
    Ok(same)
}

struct Walk<'a> {
    layer: &'a Layer,
    index: usize,
    found: Vec<Change>,
    jobs: Vec<Job>,
    shared: HashMap<(u64, u64), Vec<Name>>,
    /// Larger files are not looked at.
    limit: u64,
    /// Files that are as they are below, and would be seen there.
    equal: Vec<(PathBuf, Stat)>,
}

type At = (Cause, Option<PathBuf>);

impl<'a> Walk<'a> {
    fn new(layer: &'a Layer, index: usize, limit: u64) -> Self {
        Walk { layer, index, found: Vec::new(), jobs: Vec::new(), shared: HashMap::new(), limit, equal: Vec::new() }
    }

    /// Everything below the top.
    fn all(&mut self) -> Result<()> {
        self.jobs.push(Job { inside: PathBuf::new(), hidden: false });
        while let Some(job) = self.jobs.pop() {
            let shown = self.layer.shown(&job.inside);
            self.directory(&job).map_err(|(e, path)| e.on("compare", &path.map_or(shown, |p| self.layer.shown(&p))))?;
        }
        Ok(())
    }

    fn push(&mut self, inside: &Path, what: What, stat: &Stat) -> &mut Change {
        let file = kind_of(stat) == FileType::RegularFile && what != What::Deleted;
        self.found.push(Change {
            path: self.layer.shown(inside).into_os_string().into(),
            what,
            kind: Kind::of(kind_of(stat)),
            was: None,
            differs: Differs::default(),
            bytes: if file { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
            layer: self.index,
            inside: inside.to_owned(),
            inode: None,
        });
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    /// The top itself: it is there in both. One as [`hostel_image::kept::create`] makes it was not changed by the machine.
    fn top(&mut self) -> Result<()> {
        let look = || -> std::result::Result<(Differs, Stat), Cause> {
            let (new, old) = (rustix::fs::fstat(self.layer.upper())?, rustix::fs::fstat(self.layer.lower())?);
            let new_place = Place { dir: self.layer.upper(), name: c"", stat: &new, upper: true };
            Ok((same::differs(new_place, Place { dir: self.layer.lower(), name: c"", stat: &old, upper: false })?, new))
        };
        let (differs, stat) = look().map_err(|e| e.on("compare", &self.layer.at))?;
        let as_made = !differs.attributes && (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (0, 0, 0o755);
        if differs.any() && !as_made {
            self.push(Path::new(""), What::Metadata, &stat).differs = differs;
        }
        Ok(())
    }

    fn directory(&mut self, job: &Job) -> std::result::Result<(), At> {
        let whole = |e: Cause| (e, None);
        // Removed while we look, by a machine that runs.
        let Some(upper) = directory(self.layer.upper(), &job.inside).map_err(whole)? else { return Ok(()) };
        let shining = mark::shining(upper.as_fd()).map_err(whole)?;
        let hidden = job.hidden || shining == Shining::Opaque;
        let lower = directory(self.layer.lower(), &job.inside).map_err(whole)?;
        let mut there = names(upper.as_fd()).map_err(whole)?;
        for name in there.clone() {
            let inside = below(&job.inside, &name);
            let seen = self.entry(upper.as_fd(), shining, lower.as_ref().map(AsFd::as_fd), &name, &inside, hidden);
            if !seen.map_err(|e| (e, Some(inside)))? {
                there.remove(&name);
            }
        }
        if hidden && let Some(lower) = lower {
            self.covered(lower.as_fd(), &job.inside, &there).map_err(whole)?;
        }
        Ok(())
    }

    /// What an opaque directory hides, and has nothing in the place of.
    fn covered(&mut self, lower: BorrowedFd<'_>, inside: &Path, there: &std::collections::BTreeSet<CString>) -> std::result::Result<(), Cause> {
        for name in names(lower)? {
            if !there.contains(&name)
                && let Some(stat) = look(lower, &name)?
            {
                self.push(&below(inside, &name), What::Deleted, &stat);
            }
        }
        Ok(())
    }

    /// One upper entry; `false`: it says that nothing is there.
    fn entry(
        &mut self,
        upper: BorrowedFd<'_>,
        shining: Shining,
        lower: Option<BorrowedFd<'_>>,
        name: &CStr,
        inside: &Path,
        hidden: bool,
    ) -> std::result::Result<bool, Cause> {
        let Some(stat) = look(upper, name)? else { return Ok(true) };
        let old = match lower {
            Some(dir) => look(dir, name)?,
            None => None,
        };
        if mark::is_whiteout(upper, shining, name, &stat)? {
            if let Some(old) = old.filter(|_| !hidden) {
                self.push(inside, What::Deleted, &old);
            }
            return Ok(false);
        }
        let file = kind_of(&stat) == FileType::RegularFile;
        if file {
            mark::refuse_metacopy(upper, name)?;
            // What we wrote for the network it had, and nobody has changed, is no change of the machine's.
            let resolver = || inside == Path::new(RESOLVER) && !stamped::is_own(self.layer.upper(), inside);
            let localtime = || inside == Path::new(LOCALTIME) && stat.st_size == 0 && old.is_none();
            if stat.st_size as u64 > self.limit || self.layer.at == Path::new("/") && (resolver() || localtime()) {
                return Ok(true);
            }
        }
        if is_dir(&stat) {
            self.jobs.push(Job { inside: inside.to_owned(), hidden: hidden || !old.as_ref().is_some_and(is_dir) });
        }
        let at = self.found.len();
        match (&old, lower) {
            (Some(old), _) if kind_of(old) != kind_of(&stat) => {
                let change = self.push(inside, What::Changed, &stat);
                change.was = Some(Kind::of(kind_of(old)));
                change.differs.content = true;
            }
            (Some(old), Some(dir)) => {
                let new_place = Place { dir: upper, name, stat: &stat, upper: true };
                let differs = same::differs(new_place, Place { dir, name, stat: old, upper: false })?;
                if differs.any() {
                    self.push(inside, if differs.content { What::Changed } else { What::Metadata }, &stat).differs = differs;
                } else if file && !hidden && stat.st_nlink == 1 && stat.st_size > 0 {
                    // an empty file may be there for nothing but its time: a stamp
                    self.equal.push((inside.to_owned(), stat));
                }
            }
            _ => drop(self.push(inside, What::Added, &stat)),
        }
        if !is_dir(&stat) && stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            let at = (self.found.len() > at).then_some(at);
            if let Some(at) = at {
                self.found[at].inode = Some(inode);
            }
            let lower = old.map(|o| (o.st_dev, o.st_ino));
            self.shared.entry(inode).or_default().push(Name { at, inside: inside.to_owned(), lower, stat });
        }
        Ok(true)
    }

    /// Names of one upper file that are names of different files below, or of none: all of them are changes.
    fn links(&mut self) {
        for (inode, names) in std::mem::take(&mut self.shared) {
            let first = names.first().and_then(|n| n.lower);
            if names.len() < 2 || names.iter().all(|n| n.lower.is_some() && n.lower == first) && names.iter().all(|n| n.at.is_none()) {
                continue;
            }
            for (nth, name) in names.into_iter().enumerate() {
                let change = match name.at {
                    Some(at) => &mut self.found[at],
                    None => self.push(&name.inside, What::Metadata, &name.stat),
                };
                change.inode = Some(inode);
                change.differs.links = change.what != What::Added;
                if nth > 0 {
                    change.bytes = 0;
                }
            }
        }
    }
}

/// The contents of a changed regular file before and now, each at most `limit` bytes; `None`: it is no such file, or longer.
pub fn read_both(layer: &Layer, inside: &Path, limit: usize) -> Result<(Option<Vec<u8>>, Option<Vec<u8>>)> {
    let read = |top: BorrowedFd<'_>| -> std::result::Result<Option<Vec<u8>>, Cause> {
        let Some((dir, name)) = parent(top, inside)? else { return Ok(None) };
        let Some(stat) = look(dir.as_fd(), &name)?.filter(|s| kind_of(s) == FileType::RegularFile) else { return Ok(None) };
        let file = same::regular(Place { dir: dir.as_fd(), name: &name, stat: &stat, upper: false })?;
        let mut room = vec![0; limit + 1];
        let n = same::fill(file.as_fd(), &mut room, 0)?;
        room.truncate(n);
        Ok((n <= limit).then_some(room))
    };
    let shown = layer.shown(inside);
    let fail = |e: Cause| e.on("read", &shown);
    Ok((read(layer.lower()).map_err(fail)?, read(layer.upper()).map_err(fail)?))
}
