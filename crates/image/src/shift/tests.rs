use super::*;
use crate::walk::testing::{FileSystem, Scratch, arguments, describe, exchange, in_child, is_root, names, sample, sh, while_swapping};
use std::os::unix::fs::MetadataExt;

const BASE: u32 = 0x0012_0000;

fn shift_to(tree: &Path, base: u32) -> Result<Shifted> {
    shift(crate::open::directory(tree)?.as_fd(), tree, base, 0)
}

fn owners(tree: &Path) -> Vec<(PathBuf, u32, u32)> {
    let mut all = Vec::new();
    let mut todo = vec![tree.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        all.push((path.clone(), meta.uid(), meta.gid()));
        if meta.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
    }
    all
}

#[test]
fn there_and_back_changes_nothing_else() {
    for kind in ["tmpfs", "ext4", "xfs", "btrfs"] {
        let Some(fs) = FileSystem::new(kind, 400) else { continue };
        let tree = fs.at.join("tree");
        sample(&tree);
        sh(r#"mkdir "$1"/../outside; ln -s ../outside "$1"/out; mkdir "$1"/mnt; mount -t tmpfs none "$1"/mnt; touch "$1"/mnt/in"#, &[&tree]);
        sh(r#"umount "$1"/mnt"#, &[&tree]);
        let before = describe(&tree);
        let old: std::collections::HashMap<PathBuf, (u32, u32)> = owners(&tree).into_iter().map(|(p, u, g)| (p, (u, g))).collect();
        assert!(matches!(shift_to(&tree, BASE), Ok(Shifted::Changed(n)) if n >= 40), "{kind}");
        for (path, uid, gid) in owners(&tree) {
            let (u, g) = old[&path];
            assert_eq!((uid, gid), (BASE | u & 0xffff, BASE | g & 0xffff), "{kind} {path:?}");
        }
        let shifted = describe(&tree);
        let line = |name: &str| shifted.lines().find(|l| l.starts_with(&format!("{name:?} "))).unwrap().to_owned();
        // The root id of the capability, little-endian, and version 3; user 1234 of the ACL; the mode with its bits.
        assert!(
            line("usr/bin/caps").contains("security.capability\"=[01, 00, 00, 03") && line("usr/bin/caps").contains("00, 00, 12, 00]"),
            "{}",
            line("usr/bin/caps")
        );
        assert!(line("etc/passwd").contains("d2, 04, 12, 00"), "{}", line("etc/passwd"));
        assert!(line("setgid").contains("posix_acl_default") && line("setgid").contains("4d, 00, 12, 00"));
        assert!(line("usr/bin/suid").contains(" 104755 ") && line("usr/lib/suid2").contains(" 104755 ") && line("usr/bin/tool").contains(" 106711 "));
        assert!(!shifted.contains("hostel.shift"));
        assert_eq!(shift_to(&tree, BASE).unwrap(), Shifted::Already);
        shift_to(&tree, BASE + 0x1_0000).unwrap();
        shift_to(&tree, 0).unwrap();
        for (a, b) in before.lines().zip(describe(&tree).lines()) {
            assert_eq!(a, b, "{kind}");
        }
        assert_eq!(std::fs::symlink_metadata(fs.at.join("outside")).unwrap().uid(), 0);
    }
}

#[test]
fn mounts_are_left_alone() {
    let Some(fs) = FileSystem::new("tmpfs", 10) else { return };
    let tree = fs.at.join("tree");
    sh(r#"mkdir -p "$1"/mnt "$2"; touch "$2"/file; mount --bind "$2" "$1"/mnt"#, &[&tree, &fs.at.join("other")]);
    shift_to(&tree, BASE).unwrap();
    assert_eq!(std::fs::metadata(fs.at.join("other/file")).unwrap().uid(), 0);
    assert_eq!(std::fs::metadata(fs.at.join("other")).unwrap().uid(), 0);
    assert_eq!(std::fs::metadata(&tree).unwrap().uid(), BASE);
}

#[test]
fn bad_ranges_and_places_are_refused() {
    if !is_root() {
        return;
    }
    let Some(fs) = FileSystem::new("tmpfs", 10) else { return };
    let tree = fs.at.join("tree");
    sh(r#"mkdir -p "$1"/up "$1"/work "$1"/low "$2""#, &[&fs.at, &tree]);
    for base in [1, 0x0012_0001, 0xfffe_0000, 0xffff_0000] {
        assert!(matches!(shift_to(&tree, base).unwrap_err().cause, Cause::Why(_)), "{base:x}");
    }
    sh(r#"cd "$1"; mount -t overlay -o lowerdir=low,upperdir=up,workdir=work o tree"#, &[&fs.at]);
    assert!(matches!(shift_to(&tree, BASE), Ok(Shifted::Changed(_))), "an overlay is shifted by copying up");
    sh(r#"umount "$1"/tree; mount -o remount,ro "$1""#, &[&fs.at]);
    assert_eq!(shift_to(&tree, BASE).unwrap_err().cause, Cause::Os(Errno::ROFS));
}

/// A killed walk leaves the top marked; a file whose bits were off in that moment has a note.
#[test]
fn an_interrupted_walk_is_finished() {
    let Some(fs) = FileSystem::new("ext4", 400) else { return };
    let tree = fs.at.join("tree");
    sample(&tree);
    let want = {
        shift_to(&tree, BASE).unwrap();
        let want = describe(&tree);
        shift_to(&tree, 0).unwrap();
        want
    };
    let marked = Some(Uid::from_raw(BUSY));
    rustix::fs::chown(&tree, marked, Some(Gid::from_raw(BUSY))).unwrap();
    let keep_note = |file: &str| {
        let fd = rustix::fs::open(tree.join(file), OFlags::RDONLY, Mode::empty()).unwrap();
        let stat = rustix::fs::fstat(&fd).unwrap();
        Attributes::list(fd.as_fd(), c"").unwrap().keep(fd.as_fd(), stat.st_mode, BASE).unwrap().write_note(fd.as_fd()).unwrap();
        let ids = (Uid::from_raw(BASE | stat.st_uid), Gid::from_raw(BASE | stat.st_gid));
        // What chown(2) does, and then we are killed.
        rustix::fs::fchown(&fd, Some(ids.0), Some(ids.1)).unwrap();
        assert!(rustix::fs::fstat(&fd).unwrap().st_mode & 0o6000 == 0);
    };
    keep_note("usr/bin/suid");
    keep_note("usr/bin/caps");
    assert!(!describe(&tree).contains("security.capability"));
    assert!(matches!(shift_to(&tree, BASE).unwrap(), Shifted::Changed(_)));
    for (a, b) in want.lines().zip(describe(&tree).lines()) {
        assert_eq!(a, b);
    }
}

#[test]
#[ignore = "run by the test below, which kills it"]
fn child_that_shifts() {
    let Some(arguments) = arguments() else { return };
    shift_to(&arguments[0], BASE).unwrap();
}

#[test]
fn killed_at_any_moment_it_can_be_done_again() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("shiftkill");
    let tree = scratch.path().join("tree");
    sh(
        r#"mkdir "$1"; for i in {1..40}; do mkdir "$1"/d$i; for j in {1..40}; do echo $j > "$1"/d$i/$j; chmod $((j%2*2000+2755)) "$1"/d$i/$j; done; done"#,
        &[&tree],
    );
    let before = describe(&tree);
    let mut halves = 0;
    for round in 0..30u64 {
        let mut child = in_child("shift::tests::child_that_shifts", &[&tree]);
        let start = std::time::Instant::now();
        let top = || std::fs::metadata(&tree).unwrap().uid();
        while top() == 0 && start.elapsed().as_secs() < 10 {}
        std::thread::sleep(std::time::Duration::from_micros(round * 400));
        child.kill().unwrap();
        child.wait().unwrap();
        halves += u32::from(top() == BUSY);
        assert!([BUSY, BASE].contains(&top()));
        shift_to(&tree, BASE).unwrap();
        assert!(owners(&tree).iter().all(|(_, uid, gid)| (*uid, *gid) == (BASE, BASE)));
        shift_to(&tree, 0).unwrap();
        assert!(describe(&tree) == before, "round {round}");
    }
    eprintln!("killed in the middle {halves} times of 30");
    assert!(halves > 0);
}

#[test]
fn a_swapper_gets_nothing_outside_shifted() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("shiftrace");
    let (tree, outside) = (scratch.path().join("tree"), scratch.path().join("outside"));
    sh(
        r#"mkdir -p "$1"/dir/sub "$2"/sub; touch "$1"/dir/{1,2,3} "$1"/file "$2"/{1,2,3} "$2"/suid; chmod 4755 "$2"/suid "$1"/file
           ln -s "$2" "$1"/dir.link; ln -s "$2"/suid "$1"/file.link"#,
        &[&tree, &outside],
    );
    let before = describe(&outside);
    let dir = crate::open::directory(&tree).unwrap();
    while_swapping(
        || [("dir", "dir.link"), ("file", "file.link")].iter().for_each(|(a, b)| exchange(&dir, a, b)),
        || {
            for i in 0..3000u32 {
                // Losing a race may fail the walk; it never reaches the outside.
                let _ = shift_to(&tree, BASE + (i % 7) * 0x1_0000);
            }
        },
    );
    assert_eq!(describe(&outside), before);
    assert_eq!(names(scratch.path()), ["outside", "tree"]);
}

/// The owners that systemd-nspawn gives are the ones we give.
#[test]
fn the_same_as_systemd_nspawn() {
    let busybox = Path::new("/var/tmp/hostel-trees/busybox");
    if !is_root() || !busybox.is_dir() || !Path::new("/usr/bin/systemd-nspawn").exists() {
        eprintln!("skipped: needs root, systemd-nspawn and the busybox tree");
        return;
    }
    let Some(fs) = FileSystem::new("tmpfs", 400) else { return };
    let (theirs, ours) = (fs.at.join("theirs"), fs.at.join("ours"));
    sh(r#"cp -a "$1" "$2"; touch "$2"/usr/s; chown 1000:65534 "$2"/usr/s; chmod 4755 "$2"/usr/s; cp -a "$2" "$3""#, &[busybox, &theirs, &ours]);
    let mut nspawn = crate::walk::testing::nspawn("himg-shift");
    nspawn.arg("-D").arg(&theirs).args(["--private-users=1179648", "--private-users-ownership=chown", "/bin/busybox", "true"]);
    assert!(nspawn.status().unwrap().success());
    shift_to(&ours, BASE).unwrap();
    let strip = |tree: &Path| -> Vec<(PathBuf, u32, u32)> {
        let mut all: Vec<_> = owners(tree).into_iter().map(|(p, u, g)| (p.strip_prefix(tree).unwrap().to_owned(), u, g)).collect();
        // What the start itself writes into the tree.
        all.retain(|(p, ..)| ours.join(p).symlink_metadata().is_ok());
        all.sort();
        all
    };
    assert_eq!(strip(&theirs), strip(&ours));
    assert_eq!(std::fs::metadata(ours.join("usr/s")).unwrap().mode(), std::fs::metadata(theirs.join("usr/s")).unwrap().mode());
}

#[test]
#[ignore = "bench: shifting the Debian tree"]
fn bench_debian() {
    let debian = Path::new("/var/tmp/hostel-trees/debian");
    if !is_root() || !debian.is_dir() {
        return;
    }
    let scratch = Scratch::new("shiftbench");
    let tree = scratch.path().join("debian");
    sh(r#"cp -a "$1" "$2""#, &[debian, &tree]);
    // The bare walk: one chown per entry, nothing looked at. Least of many, because other work goes on beside.
    let bare = |threads: usize, base: u32| {
        let ids = (Some(Uid::from_raw(base)), Some(Gid::from_raw(base)));
        let top = Arc::new(walk::readable(crate::open::directory(&tree).unwrap().as_fd()).unwrap());
        walk::run(threads, &OpenDirectories::default(), (top, None), |(above, name): (Arc<OwnedFd>, Option<CString>), queue: &Queue<_, Errno>| {
            let dir = match name {
                Some(name) => Arc::new(walk::subdirectory(above.as_fd(), &name)?),
                None => above,
            };
            rustix::fs::fchown(&dir, ids.0, ids.1)?;
            walk::entries(dir.as_fd(), |name, kind| {
                if kind == FileType::Directory {
                    queue.push((dir.clone(), Some(name.to_owned())));
                    return Ok(());
                }
                rustix::fs::chownat(&dir, name, ids.0, ids.1, AtFlags::SYMLINK_NOFOLLOW)
            })
        })
        .unwrap();
    };
    let mut least = [[std::time::Duration::MAX; 2]; 3];
    for round in 0..20u32 {
        for threads in [1, 2] {
            let base = (round * 4 + threads as u32 * 2 + 1) << 20;
            let mut measure = |row: usize, what: &mut dyn FnMut()| {
                let start = std::time::Instant::now();
                what();
                least[row][threads - 1] = least[row][threads - 1].min(start.elapsed());
            };
            measure(0, &mut || bare(threads, base));
            let mut changed = Shifted::Already;
            measure(1, &mut || changed = shift(crate::open::directory(&tree).unwrap().as_fd(), &tree, base + (1 << 20), threads).unwrap());
            assert_ne!(changed, Shifted::Already);
            measure(2, &mut || {
                let _ = shift(crate::open::directory(&tree).unwrap().as_fd(), &tree, base + (1 << 20), threads).unwrap();
            });
        }
    }
    println!("bare chown walk, shift, shift again (least of 20): 1 thread, 2 threads\n{least:#?}");
}
