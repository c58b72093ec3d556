//! Kept machines: a directory with an upper layer (`upper`, `work`) and a note (`machine.json`) of what it lies over. File
//! systems below the root (a disk image's /home) have layers of their own, `parts/NAME/{upper,work}`.
//!
//! The directory appears whole, under its name, or not at all: a crash leaves at most one that [`crate::sweep`] removes.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use hostel_spec::{Arrange as _, MachineName};
use hostel_sys::tree::read_regular;
use rustix::fs::{AtFlags, FileType, Gid, IFlags, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use crate::error::On;
use crate::inroot::Durable;
use crate::walk::{self, OpenDirectories, Queue};
use crate::{Cause, Result, inroot, partial, remove};

/// The note's name.
pub const NOTE: &str = "machine.json";
/// Where layers of file systems below the root are.
const PARTS: &str = "parts";
/// Layers of a machine that changed nothing, for the next one.
const SPARE: &CStr = c".#hostel-spare";
const LAYER_MODE: Mode = Mode::from_raw_mode(0o755);
/// A note is a path and a little around it.
const NOTE_LIMIT: usize = 64 << 10;

/// The directory of the layer `name` (`upper` and `work` in it) of the kept machine at `dir`.
pub fn part_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(PARTS).join(name)
}

/// Opens the layer `name` (O_PATH) of the kept machine `dir`; `path`, its path, is for messages.
pub fn open_part(dir: BorrowedFd<'_>, path: &Path, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    inroot::open_beneath_no_symlinks(dir, &part_path(Path::new(""), name), flags).on("open layer", &part_path(path, name))
}

/// Makes the layer `name` of the kept machine `dir` (its path is for messages) when it is missing: empty, its top like the
/// directory `like`, which it will lie over.
pub fn make_part(dir: BorrowedFd<'_>, path: &Path, name: &str, like: BorrowedFd<'_>) -> Result<()> {
    let path = part_path(path, name);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let make = || -> std::result::Result<(), Errno> {
        let mut at = rustix::fs::openat(dir, c".", flags, Mode::empty())?;
        for part in [PARTS, name] {
            // Only root looks in.
            exists_now(rustix::fs::mkdirat(&at, part, Mode::from_raw_mode(0o700)))?;
            at = rustix::fs::openat(&at, part, flags, Mode::empty())?;
        }
        if rustix::fs::statat(&at, c"upper", AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(());
        }
        // The upper layer gets its name last: where there is one it is as it should be.
        let top = rustix::fs::fstat(like)?;
        exists_now(rustix::fs::mkdirat(&at, c"work", Mode::from_raw_mode(0o755)))?;
        exists_now(rustix::fs::mkdirat(&at, c"new", Mode::from_raw_mode(0o700)))?;
        rustix::fs::chownat(&at, c"new", Some(Uid::from_raw(top.st_uid)), Some(Gid::from_raw(top.st_gid)), AtFlags::SYMLINK_NOFOLLOW)?;
        // Changing the owner clears setuid and setgid.
        rustix::fs::chmodat(&at, c"new", Mode::from_raw_mode(top.st_mode & 0o7777), AtFlags::empty())?;
        rustix::fs::renameat(&at, c"new", &at, c"upper")
    };
    make().on("make layer", &path)
}

fn exists_now(made: std::result::Result<(), Errno>) -> std::result::Result<(), Errno> {
    if made == Err(Errno::EXIST) { Ok(()) } else { made }
}

/// What the upper layers of the kept machine at `dir` hold, all together.
pub fn all_contents(dir: &Path) -> Result<Contents> {
    let root = contents(&dir.join("upper"))?;
    let parts = dir.join(PARTS);
    if std::fs::symlink_metadata(&parts).is_err() {
        return Ok(root);
    }
    let parts = contents(&parts)?;
    Ok(Contents { bytes: root.bytes + parts.bytes, files: root.files + parts.files })
}

/// Makes the kept machine `name` in the directory `kept` (made when missing), with an empty upper layer and this note. Returns
/// its directory (O_PATH), by which [`is_same`] knows it again; `None`: there is one of that name, or something else. Where it need
/// not survive a power cut yet, [`sync`] sees to it later.
pub fn create(kept: &Path, name: &MachineName, note: &[u8], durable: Durable) -> Result<Option<OwnedFd>> {
    let path = kept.join(name.as_str());
    std::fs::create_dir_all(kept).map_err(Cause::from).on("make directory", kept)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(kept, flags, Mode::empty()).on("open", kept)?;
    // Only root looks in: what an upper layer holds may be set-user-id, and is nothing for the host's users to run.
    let spare = take_spare(parent.as_fd());
    let blank = spare.is_some();
    let (temporary, dir) = spare.map_or_else(|| partial::make(parent.as_fd(), partial::PARTIAL), Ok).on("make machine", &path)?;
    let made = fill(dir.as_fd(), blank, note, durable).and_then(|()| {
        // Not `dir` itself, which holds a lock.
        let kept = rustix::fs::openat(&dir, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        match rustix::fs::renameat_with(&parent, &*temporary, &parent, name.as_str(), RenameFlags::NOREPLACE) {
            Ok(()) => Ok(Some(kept)),
            Err(Errno::EXIST) => Ok(None),
            Err(e) => Err(e.into()),
        }
    });
    match made {
        Ok(Some(made)) => {
            if durable == Durable::Yes {
                rustix::fs::fsync(&parent).on("write", kept)?;
            }
            Ok(Some(made))
        }
        other => {
            // What cannot be removed now is swept later.
            let _ = remove::delete(parent.as_fd(), &temporary, dir);
            other.on("make machine", &path)
        }
    }
}

/// Whether the directory `path` is the one that `made` holds, and not another that has its name now.
pub fn is_same(path: &Path, made: BorrowedFd<'_>) -> bool {
    let id = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    matches!((rustix::fs::lstat(path), rustix::fs::fstat(made)), (Ok(there), Ok(made)) if id(there) == id(made))
}

/// Everything is on the disk before the directory gets its name.
/// `blank`: the layers are there, and a note.
fn fill(dir: BorrowedFd<'_>, blank: bool, note: &[u8], durable: Durable) -> std::result::Result<(), Cause> {
    let new = if blank { OFlags::empty() } else { OFlags::CREATE | OFlags::EXCL };
    for layer in [c"upper", c"work"].into_iter().filter(|_| !blank) {
        rustix::fs::mkdirat(dir, layer, LAYER_MODE)?;
        // The machine's / has this mode, whatever the caller's umask.
        rustix::fs::chmodat(dir, layer, LAYER_MODE, AtFlags::empty())?;
    }
    let flags = new | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = std::fs::File::from(rustix::fs::openat(dir, NOTE, flags, Mode::from_raw_mode(0o644))?);
    file.write_all(note)?;
    if blank {
        // Not emptied before: ext4 writes out what is then closed.
        file.set_len(note.len() as u64)?;
    }
    if durable == Durable::Yes {
        file.sync_all()?;
        rustix::fs::fsync(dir)?;
    }
    Ok(())
}

/// Removes the kept machine at `path`, as [`remove::remove_tree`]. Where it changed nothing, its layers are the next one's, which then looks the
/// same to [`is_same`]: a file system may take long to make what it has just deleted (ext4 passes over each inode that was, for a minute or more).
pub fn remove(path: &Path) -> Result<()> {
    remove::remove_tree_unless(path, |parent, name, dir| set_aside(parent, name, dir).unwrap_or(false))
}

fn set_aside(parent: BorrowedFd<'_>, name: &CStr, dir: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
    Ok(is_untouched(dir)? && rustix::fs::renameat_with(parent, name, parent, SPARE, RenameFlags::NOREPLACE).is_ok())
}

/// The layers that were set aside, held, under a name of what is being made.
fn take_spare(parent: BorrowedFd<'_>) -> Option<(CString, OwnedFd)> {
    let name = partial::fresh_name(partial::PARTIAL).ok()?;
    rustix::fs::renameat_with(parent, SPARE, parent, &*name, RenameFlags::NOREPLACE).ok()?;
    let dir = partial::take(parent, &name).ok()??;
    if is_untouched(dir.as_fd()) == Ok(true) {
        return Some((name, dir));
    }
    // What cannot be removed now is swept later.
    let _ = remove::delete(parent, &name, dir);
    None
}

/// Whether a directory holds a note, and layers as they were made: empty, the working directory but for the kernel's own.
fn is_untouched(dir: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
    let names = |dir: BorrowedFd<'_>| {
        let mut names = Vec::new();
        let list = |name: &CStr, _| -> std::result::Result<(), Errno> {
            names.push(name.to_bytes().to_owned());
            Ok(())
        };
        walk::entries(dir, list).map(|()| names)
    };
    let note = rustix::fs::statat(dir, NOTE, AtFlags::SYMLINK_NOFOLLOW)?;
    if names(walk::readable(dir)?.as_fd())?.len() != 3 || FileType::from_raw_mode(note.st_mode) != FileType::RegularFile || note.st_nlink != 1 {
        return Ok(false);
    }
    let (upper, work) = (walk::subdirectory(dir, c"upper")?, walk::subdirectory(dir, c"work")?);
    let top = rustix::fs::fstat(&upper)?;
    let as_made = rustix::fs::fstat(&work)?;
    let same = (top.st_uid, top.st_gid, Mode::from_raw_mode(top.st_mode)) == (as_made.st_uid, as_made.st_gid, LAYER_MODE);
    // Some file systems have no flags.
    let flags = |dir: &OwnedFd| rustix::fs::ioctl_getflags(dir).unwrap_or(IFlags::empty());
    let mut buffer = [0u8; 64];
    let attributes = rustix::fs::flistxattr(&upper, &mut buffer[..])?;
    // By which the kernel knows the file system again that it made of the layers.
    let marked = buffer[..attributes].split_inclusive(|b| *b == 0).all(|name| name.ends_with(b".overlay.uuid\0"));
    Ok(same && flags(&upper) == flags(&work) && marked && names(upper.as_fd())?.is_empty() && names(work.as_fd())?.iter().all(|name| name == b"work"))
}

/// All of the kept machine `name`, and that it is there, is on the disk when this returns.
pub fn sync(kept: &Path, name: &MachineName) -> Result<()> {
    let path = kept.join(name.as_str());
    let dir = crate::open::directory(&path)?;
    rustix::fs::syncfs(crate::walk::readable(dir.as_fd()).on("open", &path)?).on("write", &path)
}

/// The note of the kept machine `name`; `None`: there is none of that name.
pub fn note(kept: &Path, name: &MachineName) -> Result<Option<Vec<u8>>> {
    let path = kept.join(name.as_str());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(&path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.on("open machine", &path)?,
    };
    read_regular(dir.as_fd(), Path::new(NOTE), NOTE_LIMIT).map(Some).on("read", &path.join(NOTE))
}

/// Names in the directory `kept` that are kept machines; none when it is missing.
pub fn list(kept: &Path) -> Result<Vec<MachineName>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(kept, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        other => other.on("list", kept)?,
    };
    let mut names = Vec::new();
    walk::entries(dir.as_fd(), |name, kind| -> std::result::Result<(), Errno> {
        let named = name.to_str().ok().and_then(|n| MachineName::new(n).ok());
        names.extend(named.filter(|_| kind == FileType::Directory));
        Ok(())
    })
    .on("list", kept)?;
    names.arrange();
    Ok(names)
}

/// What is in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// Bytes on disk, a file of several names counted once.
    pub bytes: u64,
    /// Entries that are no directories; what was deleted of the layer below is one, too.
    pub files: u64,
}

#[derive(Default)]
struct Sum {
    contents: Contents,
    seen: HashSet<(u64, u64)>,
}

struct Job {
    above: Arc<OwnedFd>,
    name: CString,
}

/// Adds up the directory `layer`, by descriptor: whoever ran in the machine chose the names in it.
pub fn contents(layer: &Path) -> Result<Contents> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = Arc::new(rustix::fs::open(layer, flags, Mode::empty()).on("look at", layer)?);
    let sum = Mutex::new(Sum::default());
    let open = OpenDirectories::default();
    let work = |job: Option<Job>, queue: &Queue<Option<Job>, Errno>| {
        let dir = match job {
            None => top.clone(),
            Some(Job { above, name }) => match walk::subdirectory(above.as_fd(), &name) {
                // Something is mounted there; or it went away.
                Err(Errno::XDEV | Errno::NOENT) => return Ok(()),
                other => Arc::new(other?),
            },
        };
        let _open = open.count();
        walk::entries(dir.as_fd(), |name, kind| {
            add(&sum, dir.as_fd(), name)?;
            if kind == FileType::Directory {
                queue.push(Some(Job { above: dir.clone(), name: name.to_owned() }));
            }
            Ok(())
        })
    };
    walk::run(1, &open, None, work).on("look at", layer)?;
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(sum.contents)
}

fn add(sum: &Mutex<Sum>, dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<(), Errno> {
    let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    sum.contents.files += u64::from(!directory);
    if directory || stat.st_nlink < 2 || sum.seen.insert((stat.st_dev, stat.st_ino)) {
        sum.contents.bytes += (stat.st_blocks.max(0) as u64) * 512;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temp(tag: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("hostel-kept-{tag}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn whole_or_not_at_all() {
        let kept = temp("make").join("below");
        let name = MachineName::new("a").unwrap();
        assert_eq!(list(&kept).unwrap(), []);
        assert_eq!(note(&kept, &name).unwrap(), None);
        let made = create(&kept, &name, b"{}", Durable::Yes).unwrap().expect("none before");
        assert!(kept.join("a/upper").is_dir() && kept.join("a/work").is_dir());
        std::fs::write(kept.join("a/upper/x"), "x").unwrap();
        // A second one leaves the first as it is, and nothing beside it.
        assert!(create(&kept, &name, b"other", Durable::Yes).unwrap().is_none());
        assert!(is_same(&kept.join("a"), made.as_fd()) && !is_same(&kept.join("b"), made.as_fd()));
        assert_eq!(note(&kept, &name).unwrap().as_deref(), Some(&b"{}"[..]));
        assert!(kept.join("a/upper/x").exists());
        assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1);
        // Neither files nor dot names are machines; a link is not followed.
        std::fs::write(kept.join("file"), "").unwrap();
        std::os::unix::fs::symlink("a", kept.join("link")).unwrap();
        std::fs::create_dir(kept.join(".#hostel-partial-1")).unwrap();
        assert_eq!(list(&kept).unwrap(), std::slice::from_ref(&name));
        assert!(note(&kept, &MachineName::new("link").unwrap()).is_err());
        // A note is no link and no directory.
        std::fs::remove_file(kept.join("a/machine.json")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", kept.join("a/machine.json")).unwrap();
        assert!(note(&kept, &name).is_err());
        assert!(create(&kept, &MachineName::new("file").unwrap(), b"{}", Durable::Yes).unwrap().is_none());
        // Another one of the same name is another one.
        std::fs::remove_dir_all(kept.join("a")).unwrap();
        let second = create(&kept, &name, b"{}", Durable::Yes).unwrap().expect("none left");
        assert!(!is_same(&kept.join("a"), made.as_fd()) && is_same(&kept.join("a"), second.as_fd()));
        std::fs::remove_dir_all(kept.parent().unwrap()).unwrap();
    }

    #[test]
    fn untouched_layers_are_the_next_ones() {
        use std::os::unix::fs::MetadataExt;
        let kept = temp("spare");
        let name = MachineName::new("a").unwrap();
        let (path, upper) = (kept.join("a"), kept.join("a/upper"));
        let make = || {
            create(&kept, &name, b"{}", Durable::No).unwrap().expect("there is none");
            std::fs::metadata(&upper).unwrap().ino()
        };
        let first = make();
        std::fs::create_dir(kept.join("a/work/work")).unwrap();
        remove(&path).unwrap();
        std::fs::write(kept.join(".#hostel-spare/machine.json"), "a longer note").unwrap();
        assert_eq!((make(), note(&kept, &name).unwrap().as_deref()), (first, Some(&b"{}"[..])));
        let spoil: [&dyn Fn(); 5] = [
            &|| std::fs::write(upper.join("x"), "").unwrap(),
            &|| std::fs::set_permissions(&upper, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap(),
            &|| _ = rustix::fs::setxattr(&upper, "user.x", b"1", rustix::fs::XattrFlags::empty()),
            &|| std::fs::create_dir(kept.join("a/parts")).unwrap(),
            &|| std::fs::create_dir(kept.join("a/work/incompat")).unwrap(),
        ];
        for (number, spoil) in spoil.into_iter().enumerate() {
            if number == 2 && rustix::fs::setxattr(&upper, "user.x", b"1", rustix::fs::XattrFlags::empty()).is_err() {
                continue;
            }
            spoil();
            remove(&path).unwrap();
            assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0, "{number}");
            make();
        }
        // One that was spoiled afterwards is no one's; a second one is not kept.
        remove(&path).unwrap();
        std::fs::write(kept.join(".#hostel-spare/upper/x"), "").unwrap();
        let second = make();
        assert!(std::fs::read_dir(&upper).unwrap().next().is_none());
        create(&kept, &MachineName::new("b").unwrap(), b"{}", Durable::No).unwrap().expect("there is none");
        remove(&path).unwrap();
        remove(&kept.join("b")).unwrap();
        assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1);
        assert_eq!(make(), second);
        std::fs::remove_dir_all(&kept).unwrap();
    }

    #[test]
    fn added_up() {
        let dir = temp("sum");
        std::fs::create_dir_all(dir.join("a/b")).unwrap();
        std::fs::write(dir.join("a/one"), vec![1u8; 100_000]).unwrap();
        std::fs::hard_link(dir.join("a/one"), dir.join("a/b/two")).unwrap();
        std::os::unix::fs::symlink("/", dir.join("a/root")).unwrap();
        let sum = contents(&dir).unwrap();
        assert_eq!(sum.files, 3);
        assert!((100_000..200_000).contains(&sum.bytes), "{sum:?}");
        assert!(contents(&dir.join("a/root")).is_err() && contents(&dir.join("none")).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
