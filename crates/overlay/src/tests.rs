//! Random work in an overlay over a scratch tree: the diff is the difference, commit makes the tree the machine's view, undo
//! makes it what it was, and so it is after a stop at any step.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use hostel_sys::mount::{self, Attributes, FsOption};
use rustix::fs::{FileType, Mode};

use crate::commit::{State, Store, conflicts, half_done};
use crate::entry::fuse;
use crate::{Change, Layer, What, diff};

/// xorshift64*: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }
}

/// A scratch place with a lower tree, an upper layer and where both are seen together.
struct Bench {
    top: PathBuf,
}

impl Bench {
    fn new(tag: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: not root");
            return None;
        }
        let top = Path::new("/var/tmp").join(format!("hostel-overlay-{tag}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&top);
        std::fs::create_dir(&top).unwrap();
        // Mounts are this thread's alone. In memory: thousands of files are written to the disk otherwise.
        hostel_sys::tree::unshare_mounts().unwrap();
        let memory = mount::filesystem(c"tmpfs", &[], Attributes::NONE).unwrap();
        mount::attach(memory.as_fd(), rustix::fs::CWD, &CString::new(top.as_os_str().as_bytes()).unwrap()).unwrap();
        for dir in ["lower", "upper", "work", "seen"] {
            std::fs::create_dir(top.join(dir)).unwrap();
        }
        Some(Self { top })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    /// Runs `work` in the overlay.
    fn inside(&self, work: impl FnOnce(&Path)) {
        let text = |name: &str| CString::new(self.at(name).as_os_str().as_bytes()).unwrap();
        let (lower, upper, dir) = (text("lower"), text("upper"), text("work"));
        let options = [
            FsOption::Text(c"source", c"hostel"),
            FsOption::Text(c"lowerdir", &lower),
            FsOption::Text(c"upperdir", &upper),
            FsOption::Text(c"workdir", &dir),
            FsOption::Text(c"index", c"off"),
            FsOption::Text(c"redirect_dir", c"off"),
            FsOption::Text(c"metacopy", c"off"),
        ];
        let mounted = mount::filesystem(c"overlay", &options, Attributes::NONE).unwrap();
        mount::attach(mounted.as_fd(), rustix::fs::CWD, &text("seen")).unwrap();
        drop(mounted);
        work(&self.at("seen"));
        mount::detach(&text("seen")).unwrap();
    }

    fn layers(&self) -> Vec<Layer> {
        vec![Layer::open(Path::new("/"), &self.at("upper"), &self.at("lower")).unwrap()]
    }

    fn store(&self) -> Store {
        Store::open(&self.at("undo")).unwrap()
    }

    fn commit(&self) -> hostel_image::Result<crate::commit::Record> {
        let layers = self.layers();
        self.store().commit("test", &self.at("lower"), &layers, &diff(&layers).unwrap())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = mount::detach(&CString::new(self.top.as_os_str().as_bytes()).unwrap());
        let _ = std::fs::remove_dir(&self.top);
    }
}

/// How many random scenes: `OVERLAY_SEEDS` for more.
fn seeds(usual: u64) -> u64 {
    std::env::var("OVERLAY_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// What is seen of an entry: kind, mode, owner, contents, attributes; and its time unless it is a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    is: String,
    content: Vec<u8>,
    directory: bool,
    time: (i64, i64),
    inode: u64,
}

type View = BTreeMap<PathBuf, Seen>;

fn view(top: &Path) -> View {
    let mut out = View::new();
    let mut todo = vec![top.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let content = match meta.file_type() {
                t if t.is_file() => std::fs::read(&path).unwrap(),
                t if t.is_symlink() => std::fs::read_link(&path).unwrap().into_os_string().into_vec(),
                _ => Vec::new(),
            };
            let mut room = [0u8; 64];
            let attribute = rustix::fs::lgetxattr(&path, "user.test", &mut room).map(|n| room[..n].to_vec()).ok();
            let is = format!("{:o} {}:{} {attribute:?}", meta.mode(), meta.uid(), meta.gid());
            let seen = Seen { is, content, directory: meta.is_dir(), time: (meta.mtime(), meta.mtime_nsec()), inode: meta.ino() };
            out.insert(path.strip_prefix(top).unwrap().to_owned(), seen);
            if meta.is_dir() {
                todo.push(path);
            }
        }
    }
    out
}

/// Everything that a commit makes equal; times only of what is a change.
fn without_times(view: &View) -> BTreeMap<PathBuf, (String, Vec<u8>)> {
    view.iter().map(|(p, s)| (p.clone(), (s.is.clone(), s.content.clone()))).collect()
}

fn with_times(view: &View) -> BTreeMap<PathBuf, (String, Vec<u8>, (i64, i64))> {
    view.iter().map(|(p, s)| (p.clone(), (s.is.clone(), s.content.clone(), s.time))).collect()
}

/// Sets of names of one file.
fn groups(view: &View) -> BTreeSet<Vec<PathBuf>> {
    let mut by: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    for (path, seen) in view.iter().filter(|(_, s)| !s.directory) {
        by.entry(seen.inode).or_default().push(path.clone());
    }
    by.into_values().filter(|names| names.len() > 1).collect()
}

/// Names of one file in the machine are that below, too. Those that were one file before, and of which one was only touched, still are:
/// in the overlay such a one has become a file of its own, and an equal one.
fn same_groups(before: &View, seen: &View, after: &View, seed: u64) {
    let (before, seen, after) = (groups(before), groups(seen), groups(after));
    let within = |all: &BTreeSet<Vec<PathBuf>>, group: &[PathBuf]| all.iter().any(|g| group.iter().all(|p| g.contains(p)));
    for group in &seen {
        assert!(within(&after, group), "seed {seed}: {group:?} are not one file: {after:?}");
    }
    for group in after.difference(&seen) {
        assert!(within(&before, group), "seed {seed}: {group:?} became one file");
    }
}

fn path(random: &mut Random, top: &Path) -> PathBuf {
    const NAMES: [&[u8]; 5] = [b"a", b"b b", b"new\nline", b"\xff\xfe", b"-d"];
    let mut path = top.to_owned();
    for _ in 0..=random.next(3) {
        path.push(OsStr::from_bytes(NAMES[random.next(NAMES.len())]));
    }
    path
}

/// One random operation; that it fails is as good.
fn work(random: &mut Random, top: &Path) {
    let (one, other) = (path(random, top), path(random, top));
    let contents = vec![b'a' + random.next(3) as u8; random.next(5) * 3000];
    let _ = match random.next(14) {
        0 | 1 => std::fs::write(&one, contents),
        2 => std::fs::create_dir_all(&one),
        3 => std::fs::remove_file(&one),
        4 => std::fs::remove_dir_all(&one),
        5 => std::fs::rename(&one, &other),
        6 => std::fs::hard_link(&one, &other),
        // Never out of the directory: it would lead from the view into the tree.
        7 => symlink(other.file_name().unwrap(), &one),
        8 => std::fs::set_permissions(&one, PermissionsExt::from_mode([0o600, 0o644, 0o4755, 0o1777][random.next(4)])),
        9 => std::os::unix::fs::lchown(&one, Some(random.next(3) as u32), Some(random.next(3) as u32)),
        10 => rustix::fs::mknodat(rustix::fs::CWD, &one, FileType::Socket, Mode::from_raw_mode(0o640), 0).map_err(Into::into),
        11 => std::fs::symlink_metadata(&one).and_then(|m| {
            let plain = m.is_file() || m.is_dir();
            if plain { Ok(rustix::fs::setxattr(&one, "user.test", b"v", rustix::fs::XattrFlags::empty())?) } else { Ok(()) }
        }),
        // Touched and equal.
        12 => {
            std::fs::symlink_metadata(&one).and_then(|m| if m.is_file() { std::fs::read(&one).and_then(|b| std::fs::write(&one, b)) } else { Ok(()) })
        }
        // Removed and made again: opaque.
        _ => std::fs::remove_dir_all(&one).and_then(|()| std::fs::create_dir(&one)),
    };
}

/// A lower tree and what was done over it, both random: what was there before, and what is seen then.
fn scene(bench: &Bench, seed: u64) -> (View, View) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for dir in ["lower", "upper", "work", "undo"] {
        let _ = std::fs::remove_dir_all(bench.at(dir));
        std::fs::create_dir(bench.at(dir)).unwrap();
    }
    for _ in 0..60 {
        work(&mut random, &bench.at("lower"));
    }
    let before = view(&bench.at("lower"));
    let mut seen = View::new();
    bench.inside(|top| {
        for _ in 0..random.next(60) {
            work(&mut random, top);
        }
        seen = view(top);
    });
    assert_eq!(view(&bench.at("lower")).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "the overlay leaves the tree alone");
    (before, seen)
}

/// The difference of two views, as a diff has to say it.
fn difference(before: &View, after: &View) -> BTreeMap<PathBuf, What> {
    let mut out = BTreeMap::new();
    for (path, new) in after {
        match before.get(path) {
            None => drop(out.insert(path.clone(), What::Added)),
            Some(old) if old.content != new.content || old.is[..old.is.find(' ').unwrap() - 4] != new.is[..new.is.find(' ').unwrap() - 4] => {
                out.insert(path.clone(), What::Changed);
            }
            Some(old) if old.is != new.is => drop(out.insert(path.clone(), What::Metadata)),
            Some(_) => {}
        }
    }
    for path in before.keys().filter(|p| !after.contains_key(*p)) {
        let parent = path.parent().unwrap();
        if parent.as_os_str().is_empty() || after.get(parent).is_some_and(|s| s.directory) {
            out.insert(path.clone(), What::Deleted);
        }
    }
    out
}

fn said(changes: &[Change]) -> BTreeMap<PathBuf, What> {
    changes.iter().map(|c| (c.inside.clone(), c.what)).collect()
}

#[test]
fn diff_is_the_difference_and_commit_makes_it_and_undo_takes_it_back() {
    let Some(bench) = Bench::new("random") else { return };
    for seed in 0..seeds(200) {
        let (before, seen) = scene(&bench, seed);
        let layers = bench.layers();
        let changes = diff(&layers).unwrap();
        // Other names of the same file are more than a look at single paths tells.
        let plain: Vec<Change> = changes.iter().filter(|c| !(c.differs.links && c.what == What::Metadata)).cloned().collect();
        let mut expected = difference(&before, &seen);
        expected.retain(|path, _| !changes.iter().any(|c| c.inside == *path && c.differs.links && c.what == What::Metadata));
        assert_eq!(said(&plain), expected, "seed {seed}");

        let store = bench.store();
        let mut record = store.commit("test", &bench.at("lower"), &layers, &changes).unwrap();
        let after = view(&bench.at("lower"));
        assert_eq!(without_times(&after), without_times(&seen), "seed {seed}: committed");
        same_groups(&before, &seen, &after, seed);
        for change in changes.iter().filter(|c| c.what != What::Deleted) {
            assert_eq!(after[&change.inside].time, seen[&change.inside].time, "seed {seed}: time of {:?}", change.path);
        }
        assert_eq!(said(&diff(&layers).unwrap()), BTreeMap::new(), "seed {seed}: nothing is left to commit");
        assert_eq!(store.changed_since(&record, &layers).unwrap(), []);
        store.take_back(&mut record, &layers).unwrap();
        assert_eq!(with_times(&view(&bench.at("lower"))), with_times(&before), "seed {seed}: undone");
        assert!(store.records().unwrap().is_empty());
    }
}

#[test]
fn a_script_does_what_a_commit_does() {
    if std::process::Command::new("setfattr").arg("--version").output().is_err() {
        eprintln!("skipped: no setfattr (package attr)");
        return;
    }
    let Some(bench) = Bench::new("script") else { return };
    for seed in 0..seeds(12) {
        let (_, seen) = scene(&bench, 3000 + seed);
        let layers = bench.layers();
        let mut text = Vec::new();
        crate::script::script("of a test\nwith two lines", &layers, &diff(&layers).unwrap(), &mut text).unwrap();
        std::fs::write(bench.at("script"), &text).unwrap();
        let copy = bench.at("copy");
        let _ = std::fs::remove_dir_all(&copy);
        let run = |program: &str, args: &[&OsStr]| {
            let done = std::process::Command::new(program).args(args).output().unwrap();
            assert!(done.status.success(), "seed {seed}: {}", String::from_utf8_lossy(&done.stderr));
        };
        run("cp", &["-a".as_ref(), bench.at("lower").as_ref(), copy.as_ref()]);
        run("sh", &[bench.at("script").as_ref(), copy.as_ref()]);
        let no_sockets = |view: &View| {
            let mut view = without_times(view);
            view.retain(|_, (is, _)| !is.starts_with("14"));
            view
        };
        assert_eq!(no_sockets(&view(&copy)), no_sockets(&seen), "seed {seed}");
    }
}

#[test]
fn a_commit_that_is_stopped_anywhere_is_finished_or_taken_back() {
    let Some(bench) = Bench::new("stopped") else { return };
    let mut stopped = 0;
    for seed in 0..seeds(8) {
        for step in (0..).step_by(1 + seed as usize % 3) {
            let (before, seen) = scene(&bench, 1000 + seed);
            fuse::set(Some(step));
            let outcome = bench.commit();
            fuse::set(None);
            if outcome.is_ok() {
                break;
            }
            stopped += 1;
            let now = view(&bench.at("lower"));
            for (path, old) in before.iter().filter(|(_, s)| s.is.starts_with("100")) {
                if let Some(new) = seen.get(path).filter(|s| s.is.starts_with("100")) {
                    let content = now.get(path).map(|s| &s.content);
                    assert!(
                        content == Some(&old.content) || content == Some(&new.content),
                        "seed {seed}, step {step}: {path:?} is neither old nor new"
                    );
                }
            }
            let (store, layers) = (bench.store(), bench.layers());
            match store.unfinished().unwrap() {
                None => assert_eq!(with_times(&now), with_times(&before), "seed {seed}, step {step}: nothing was begun"),
                Some(mut record) if step % 2 == 0 && record.state == State::Applying => {
                    store.resume(&mut record, &layers).unwrap();
                    let after = view(&bench.at("lower"));
                    assert_eq!(without_times(&after), without_times(&seen), "seed {seed}, step {step}: finished");
                    same_groups(&before, &seen, &after, seed);
                }
                Some(mut record) => {
                    // Taking back can be stopped as well.
                    fuse::set(Some(step % 17));
                    let first = store.take_back(&mut record, &layers);
                    fuse::set(None);
                    if first.is_err() {
                        let mut record = store.unfinished().unwrap().unwrap();
                        store.take_back(&mut record, &layers).unwrap();
                    }
                    assert_eq!(with_times(&view(&bench.at("lower"))), with_times(&before), "seed {seed}, step {step}: taken back");
                }
            }
        }
    }
    assert!(stopped > 40, "{stopped}");
}

#[test]
fn what_the_host_changed_meanwhile_is_found() {
    let Some(bench) = Bench::new("conflict") else { return };
    let lower = bench.at("lower");
    for name in ["same", "both", "gone", "dir/in", "dir/late", "deleted", "quiet/from"] {
        std::fs::create_dir_all(lower.join(name).parent().unwrap()).unwrap();
        std::fs::write(lower.join(name), name).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(bench.at("base"), "").unwrap();
    let base = std::fs::metadata(bench.at("base")).unwrap();
    let base = (base.mtime(), base.mtime_nsec());
    bench.inside(|top| {
        for name in ["same", "both", "gone", "added"] {
            std::fs::write(top.join(name), "machine").unwrap();
        }
        std::fs::remove_dir_all(top.join("dir")).unwrap();
        std::fs::remove_file(top.join("deleted")).unwrap();
        std::fs::rename(top.join("quiet/from"), top.join("quiet/to")).unwrap();
    });
    let layers = bench.layers();
    let changes = diff(&layers).unwrap();
    assert_eq!(conflicts(&layers, &changes, base).unwrap(), []);
    std::fs::write(lower.join("both"), "host").unwrap();
    std::fs::write(lower.join("added"), "host").unwrap();
    std::fs::write(lower.join("dir/late"), "host").unwrap();
    std::fs::remove_file(lower.join("gone")).unwrap();
    std::fs::remove_file(lower.join("deleted")).unwrap();
    let changes = diff(&layers).unwrap();
    let found = conflicts(&layers, &changes, base).unwrap();
    let found: Vec<_> = found.iter().map(|c| (c.path.to_string_lossy().into_owned(), c.why)).collect();
    let words = [("/added", "changed since"), ("/both", "changed since"), ("/dir/late", "changed since"), ("/gone", "removed since")];
    // A directory that would go had an entry written in it, which leaves its own time; all else is named.
    for (path, why) in words {
        assert!(found.iter().any(|(p, w)| (p.as_str(), *w) == (path, why)), "{path}: {found:?}");
    }
    assert!(!found.iter().any(|(p, _)| p == "/same" || p == "/dir/in" || p == "/deleted" || p == "/quiet/to"), "{found:?}");

    // And after a commit.
    let store = bench.store();
    let record = store.commit("test", &lower, &layers, &changes).unwrap();
    assert_eq!(store.changed_since(&record, &layers).unwrap(), []);
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(lower.join("both"), "later").unwrap();
    std::fs::remove_file(lower.join("added")).unwrap();
    std::fs::write(lower.join("deleted"), "again").unwrap();
    let found = store.changed_since(&record, &layers).unwrap();
    let found: BTreeSet<_> = found.iter().map(|c| c.path.to_string_lossy().into_owned()).collect();
    assert!(found.contains("/both") && found.contains("/added") && !found.contains("/same"), "{found:?}");
}

#[test]
fn a_full_disk_changes_nothing() {
    let Some(bench) = Bench::new("full") else { return };
    std::fs::write(bench.at("lower/big"), vec![1u8; 600 << 10]).unwrap();
    std::fs::write(bench.at("lower/a"), "old").unwrap();
    bench.inside(|top| {
        std::fs::write(top.join("a"), "new").unwrap();
        std::fs::write(top.join("big"), "small").unwrap();
    });
    let before = view(&bench.at("lower"));
    std::fs::create_dir(bench.at("undo")).unwrap();
    let small = mount::filesystem(c"tmpfs", &[FsOption::Text(c"size", c"256k")], Attributes::NONE).unwrap();
    let place = CString::new(bench.at("undo").as_os_str().as_bytes()).unwrap();
    mount::attach(small.as_fd(), rustix::fs::CWD, &place).unwrap();
    let error = bench.commit().unwrap_err().to_string();
    assert!(error.contains("archive /big") && error.contains("No space"), "{error}");
    assert!(bench.store().records().unwrap().is_empty());
    drop(small);
    mount::detach(&place).unwrap();
    assert_eq!(with_times(&view(&bench.at("lower"))), with_times(&before));
}

#[test]
fn whiteouts_by_attribute_are_understood() {
    let Some(bench) = Bench::new("attribute") else { return };
    for name in ["kept", "gone"] {
        std::fs::create_dir_all(bench.at("lower/d")).unwrap();
        std::fs::write(bench.at("lower/d").join(name), "x").unwrap();
    }
    std::fs::create_dir(bench.at("upper/d")).unwrap();
    std::fs::write(bench.at("upper/d/gone"), "").unwrap();
    let set = |path: &str, name: &str, value: &[u8]| rustix::fs::setxattr(bench.at(path), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    set("upper/d", "trusted.overlay.opaque", b"x");
    set("upper/d/gone", "trusted.overlay.whiteout", b"y");
    assert_eq!(said(&diff(&bench.layers()).unwrap()), BTreeMap::from([("d/gone".into(), What::Deleted)]));
    // What nobody of us makes is refused.
    set("upper/d", "trusted.overlay.redirect", b"/other");
    assert!(diff(&bench.layers()).unwrap_err().to_string().contains("redirect_dir=on"));
}

#[test]
fn what_was_only_touched_shows_what_is_below_again() {
    let Some(bench) = Bench::new("tidy") else { return };
    for (name, text) in [("touched", "x"), ("read", "x"), ("changed", "x"), ("mode", "x"), ("one", "x"), ("hidden/in", "x"), ("through/in", "x")] {
        std::fs::create_dir_all(bench.at("lower").join(name).parent().unwrap()).unwrap();
        std::fs::write(bench.at("lower").join(name), text).unwrap();
    }
    std::fs::create_dir_all(bench.at("lower/etc")).unwrap();
    std::fs::write(bench.at("lower/big"), vec![1; 17 << 20]).unwrap();
    bench.inside(|top| {
        let touch =
            |name: &str| std::fs::File::options().write(true).open(top.join(name)).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        ["touched", "changed", "mode", "one", "through/in", "big"].into_iter().for_each(touch);
        drop(std::fs::File::options().append(true).open(top.join("read")).unwrap());
        std::fs::write(top.join("changed"), "y").unwrap();
        std::fs::set_permissions(top.join("mode"), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::hard_link(top.join("one"), top.join("two")).unwrap();
        std::fs::remove_dir_all(top.join("hidden")).unwrap();
        std::fs::create_dir(top.join("hidden")).unwrap();
        std::fs::write(top.join("hidden/in"), "x").unwrap();
        std::fs::write(top.join("etc/resolv.conf"), hostel_image::stamped::stamp(b"nameserver 10.0.0.1\n")).unwrap();
    });
    let before = said(&diff(&bench.layers()).unwrap());
    assert!(!before.contains_key(Path::new("etc/resolv.conf")) && before.contains_key(Path::new("changed")), "{before:?}");
    assert_eq!(crate::tidy(&bench.layers()).unwrap(), 3);
    assert_eq!(said(&diff(&bench.layers()).unwrap()), before);
    let there = |name: &str| bench.at("upper").join(name).exists();
    let stays = ["changed", "mode", "one", "two", "hidden/in", "big", "etc/resolv.conf"];
    assert!(stays.into_iter().all(there) && !["touched", "read", "through/in"].into_iter().any(there));
    std::fs::write(bench.at("lower/touched"), "later").unwrap();
    bench.inside(|top| assert_eq!(std::fs::read(top.join("touched")).unwrap(), b"later"));
    bench.inside(|top| std::fs::write(top.join("etc/resolv.conf"), "nameserver 10.9.9.9\n").unwrap());
    assert!(said(&diff(&bench.layers()).unwrap()).contains_key(Path::new("etc/resolv.conf")), "an edit is a change");
}

#[test]
fn a_number_is_one_commit_s_for_ever_and_half_done_ones_are_found() {
    let Some(bench) = Bench::new("numbers") else { return };
    let step = |text: &str| {
        bench.inside(|top| std::fs::write(top.join("a"), text).unwrap());
        bench.commit()
    };
    std::fs::write(bench.at("lower/a"), "0").unwrap();
    assert_eq!(half_done(&bench.at("undo"), "test").unwrap(), None, "there is no store yet");
    let first = step("1").unwrap();
    assert_eq!(first.id, "1");
    bench.store().forget(&first).unwrap();
    let mut second = step("2").unwrap();
    assert_eq!(second.id, "2");
    bench.store().take_back(&mut second, &bench.layers()).unwrap();
    let third = step("3").unwrap();
    assert_eq!((third.id.as_str(), half_done(&bench.at("undo"), "test").unwrap()), ("3", None));
    std::fs::write(bench.at("undo/3/state"), "applying\n").unwrap();
    assert_eq!(half_done(&bench.at("undo"), "test").unwrap(), Some(3));
    assert_eq!(half_done(&bench.at("undo"), "other").unwrap(), None);
}
