use super::*;
use crate::walk::testing::{FileSystem, Scratch, arguments, describe, exchange, in_child, is_root, names, sample, sh, while_swapping};

fn copy(from: &Path, to: &Path) -> Result<Copied> {
    let tree = crate::open::directory(from)?;
    copy_tree(tree.as_fd(), from, to, &Options { durable: Durable::No, ..Options::default() })
}

#[test]
fn a_copy_is_the_same_on_every_file_system() {
    for kind in ["tmpfs", "ext4", "xfs", "btrfs"] {
        let Some(fs) = FileSystem::new(kind, 400) else { continue };
        let (from, to) = (fs.at.join("from"), fs.at.join("to"));
        sample(&from);
        let before = describe(&from);
        let copied = copy(&from, &to).unwrap();
        let want = if matches!(kind, "xfs" | "btrfs") { Method::Reflink } else { Method::Bytes };
        assert_eq!(copied.method, want, "{kind}");
        similar(&before, &describe(&to), kind);
        assert_eq!(before, describe(&from));
        let of = |path: &str| rustix::fs::lstat(to.join(path)).unwrap();
        assert_eq!(of("usr/bin/tool").st_ino, of("usr/lib/deep/hard").st_ino);
        assert_eq!(of("dangling").st_ino, of("usr/hardlinked-symlink").st_ino);
        assert_ne!(of("usr/bin/tool").st_ino, rustix::fs::lstat(from.join("usr/bin/tool")).unwrap().st_ino);
        assert!(of("sparse").st_blocks * 512 < 4 << 20, "{kind}: {}", of("sparse").st_blocks);
        let mut left = names(&fs.at);
        left.retain(|n| n != "lost+found");
        assert_eq!(left, ["from", "to"]);
    }
}

fn similar(a: &str, b: &str, what: &str) {
    for (a, b) in a.lines().zip(b.lines()) {
        assert_eq!(a, b, "{what}");
    }
    assert_eq!(a.lines().count(), b.lines().count(), "{what}");
}

#[test]
fn across_file_systems_and_thread_counts() {
    let (Some(ext4), Some(tmpfs)) = (FileSystem::new("ext4", 300), FileSystem::new("tmpfs", 300)) else { return };
    let from = ext4.at.join("from");
    sample(&from);
    let before = describe(&from);
    for threads in [1, 2, 8] {
        let to = tmpfs.at.join(format!("to{threads}"));
        let tree = crate::open::directory(&from).unwrap();
        let seen = AtomicU64::new(0);
        let tell = |progress: Progress| {
            seen.fetch_max(progress.bytes, Ordering::Relaxed);
        };
        let options = Options { durable: Durable::Yes, progress: Some(&tell), threads };
        let copied = copy_tree(tree.as_fd(), &from, &to, &options).unwrap();
        similar(&before, &describe(&to), &format!("{threads} threads"));
        assert!(copied.progress.bytes >= 3_000_000 && copied.progress.files > 30, "{:?}", copied.progress);
        assert!(seen.into_inner() > 0);
    }
    // On a file system that cannot hold its capabilities a copy is refused, not made weaker or stronger.
}

#[test]
fn snapshots_hold_the_subvolumes_below() {
    let Some(fs) = FileSystem::new("btrfs", 400) else { return };
    let from = fs.at.join("from");
    sh(
        r#"cd "$1"; btrfs -q subvolume create from; mkdir -p from/var/lib; btrfs -q subvolume create from/var/lib/machines
           btrfs -q subvolume create from/var/lib/machines/inner; echo deep > from/var/lib/machines/inner/f; echo top > from/top
           btrfs -q subvolume create from/.#hostel-partial-x; chown 5:6 from; btrfs property set -ts from/var/lib/machines/inner ro true"#,
        &[&fs.at],
    );
    for to in [fs.at.join("to"), from.join("within")] {
        let copied = copy(&from, &to).unwrap();
        assert_eq!(copied.method, Method::Snapshot);
        assert_eq!(std::fs::read_to_string(to.join("var/lib/machines/inner/f")).unwrap(), "deep\n");
        assert_eq!(rustix::fs::stat(to.join("var/lib/machines/inner")).unwrap().st_ino, 256);
        assert_eq!(rustix::fs::stat(&to).unwrap().st_uid, 5);
        crate::remove::remove_tree(&to).unwrap();
        assert!(!to.exists());
    }
    // The one with our name was swept when a copy was made beside it.
    assert_eq!(sh(r#"btrfs subvolume list "$1" | wc -l"#, &[&fs.at]), "3\n");
}

#[test]
fn mounts_are_not_entered_and_a_copy_not_into_itself() {
    let Some(fs) = FileSystem::new("ext4", 100) else { return };
    let from = fs.at.join("from");
    sh(
        r#"mkdir -p "$1"/mnt "$1"/deep "$1"/.#hostel-trash-x; echo in > "$1"/file; echo real > "$1"/over
           mount -t tmpfs none "$1"/mnt; echo secret > "$1"/mnt/secret; mount --bind "$1"/mnt/secret "$1"/over"#,
        &[&from],
    );
    let to = from.join("deep/copy");
    copy(&from, &to).unwrap();
    assert_eq!(names(&to), ["deep", "file", "mnt", "over"]);
    assert!(names(&to.join("mnt")).is_empty() && names(&to.join("deep")).is_empty());
    assert_eq!(std::fs::read(to.join("over")).unwrap(), b"");
}

#[test]
fn what_exists_is_left() {
    let scratch = Scratch::new("exists");
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    for make in ["mkdir", "touch", "ln -s /nowhere"] {
        sh(&format!(r#"{make} "$1""#), &[&to]);
        let error = copy(&from, &to).unwrap_err();
        assert_eq!(error.to_string(), format!("create tree {}: File exists", to.display()));
        sh(r#"rm -r "$1""#, &[&to]);
    }
    assert_eq!(names(scratch.path()), ["from"]);
    let error = copy(&from, &scratch.path().join("no/where")).unwrap_err();
    assert_eq!(error.cause, Cause::Os(Errno::NOENT));
}

#[test]
fn templates() {
    let scratch = Scratch::new("template");
    let (template, target) = (scratch.path().join("template"), scratch.path().join("target"));
    std::fs::create_dir(&template).unwrap();
    std::fs::write(template.join("f"), "1").unwrap();
    assert!(from_template(&template, &target, &Options::default()).unwrap().is_some());
    std::fs::write(target.join("f"), "2").unwrap();
    assert!(from_template(&template, &target, &Options::default()).unwrap().is_none());
    assert!(from_template(Path::new("/no/such"), &target, &Options::default()).unwrap().is_none());
    assert_eq!(std::fs::read(target.join("f")).unwrap(), b"2");
    let error = from_template(Path::new("/no/such"), &scratch.path().join("x"), &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "open tree /no/such: No such file or directory");
    // Eight at once: one makes it, none fails.
    let target = scratch.path().join("race");
    let made = std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..8).map(|_| scope.spawn(|| from_template(&template, &target, &Options::default()).unwrap().is_some())).collect();
        tasks.into_iter().filter(|_| true).map(|t| t.join().unwrap()).filter(|made| *made).count()
    });
    assert_eq!(made, 1);
    assert_eq!(names(scratch.path()), ["race", "target", "template"]);
}

#[test]
fn a_full_file_system_is_told_and_left_clean() {
    let scratch = Scratch::new("enospc");
    let from = scratch.path().join("from");
    sh(r#"mkdir "$1"; for i in {1..40}; do mkdir "$1"/d$i; head -c 500000 /dev/zero | tr '\0' x > "$1"/d$i/f; done"#, &[&from]);
    for megabytes in [1, 2, 3, 5, 8, 13, 19] {
        let Some(fs) = FileSystem::new("tmpfs", megabytes) else { return };
        let error = copy(&from, &fs.at.join("to")).unwrap_err();
        assert!(matches!(error.cause, Cause::NoSpace { .. }), "{error}");
        assert!(
            error.to_string().starts_with(&format!(
                "create tree {}: no space left on the file system of {}",
                fs.at.join("to").display(),
                fs.at.display()
            )),
            "{error}"
        );
        assert!(names(&fs.at).is_empty());
        assert_eq!(rustix::fs::statvfs(&fs.at).unwrap().f_bavail, rustix::fs::statvfs(&fs.at).unwrap().f_blocks);
    }
    // Out of inodes, not of bytes.
    let Some(fs) = FileSystem::new("tmpfs", 100) else { return };
    sh(r#"mount -o remount,nr_inodes=30 "$1""#, &[&fs.at]);
    assert!(matches!(copy(&from, &fs.at.join("to")).unwrap_err().cause, Cause::NoSpace { .. }));
    assert!(names(&fs.at).is_empty());
    for (kind, size) in [("ext4", 12), ("xfs", 300), ("btrfs", 114)] {
        let Some(fs) = FileSystem::new(kind, size) else { continue };
        sh(r#"head -c 1G /dev/zero > "$1"/ballast 2>/dev/null || true; truncate -s -3M "$1"/ballast; sync -f "$1""#, &[&fs.at]);
        let error = copy(&from, &fs.at.join("to")).unwrap_err();
        assert!(matches!(error.cause, Cause::NoSpace { .. }), "{kind}: {error}");
        let mut left = names(&fs.at);
        left.retain(|n| n != "lost+found");
        assert_eq!(left, ["ballast"], "{kind}");
    }
}

#[test]
#[ignore = "run by the test below, which kills it"]
fn child_that_copies() {
    let Some(arguments) = arguments() else { return };
    copy(&arguments[0], &arguments[1]).unwrap();
}

#[test]
fn killed_at_any_moment_leaves_only_what_is_swept() {
    let scratch = Scratch::new("kill");
    let (from, place) = (scratch.path().join("from"), scratch.path().join("place"));
    std::fs::create_dir(&place).unwrap();
    sh(r#"mkdir "$1"; for i in {1..60}; do mkdir "$1"/d$i; for j in {1..40}; do echo $j > "$1"/d$i/$j; done; done"#, &[&from]);
    let want = describe(&from);
    let to = place.join("to");
    let (mut partial, mut whole) = (0, 0);
    for round in 0..40u64 {
        let mut child = in_child("copy::tests::child_that_copies", &[&from, &to]);
        // Every few rounds kill as soon as something is seen, else after a varying time.
        let start = std::time::Instant::now();
        while start.elapsed().as_micros() < u128::from(round * 1500) || (round % 4 == 0 && names(&place).is_empty() && start.elapsed().as_secs() < 5)
        {
            std::thread::yield_now();
        }
        // While it lives, the sweeper leaves it alone.
        if round % 8 == 0 {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
            // Its threads stop a moment later.
            std::thread::sleep(std::time::Duration::from_millis(20));
            // But for the moment between making and locking it, when it is empty and the copier would make another.
            let worked_on: Vec<String> = names(&place).into_iter().filter(|name| !names(&place.join(name)).is_empty()).collect();
            crate::sweep(&place).unwrap();
            assert!(worked_on.iter().all(|name| place.join(name).exists()), "{worked_on:?}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let left = names(&place);
        partial += left.iter().filter(|n| n.starts_with(".#hostel-partial-")).count();
        if to.exists() {
            whole += 1;
            assert_eq!(describe(&to), want);
            crate::remove::remove_tree(&to).unwrap();
        }
        assert!(left.iter().all(|n| n == "to" || n.starts_with(".#hostel-partial-")), "{left:?}");
        // Every other time the next copy has to sweep.
        if round % 2 == 0 {
            crate::sweep(&place).unwrap();
            assert!(names(&place).is_empty());
        }
    }
    copy(&from, &to).unwrap();
    assert_eq!(names(&place), ["to"]);
    assert_eq!(describe(&to), want);
    eprintln!("killed: {partial} half copies, {whole} whole");
    assert!(partial > 0);
}

/// While a tree is copied, a directory and a file in it are exchanged for links to the outside, again and again.
#[test]
fn a_swapper_gets_nothing_copied_from_outside() {
    let scratch = Scratch::new("copyrace");
    let from = scratch.path().join("from");
    sh(
        r#"mkdir -p "$1"/outside "$2"/dir; echo SECRET > "$1"/outside/secret; echo fine > "$2"/dir/fine; echo fine > "$2"/file
           ln -s "$1"/outside "$2"/dir.link; ln -s "$1"/outside/secret "$2"/file.link; mkfifo "$2"/fifo.link; echo x > "$2"/fifo"#,
        &[scratch.path(), &from],
    );
    let dir = crate::open::directory(&from).unwrap();
    while_swapping(
        || [("dir", "dir.link"), ("file", "file.link"), ("fifo", "fifo.link")].iter().for_each(|(a, b)| exchange(&dir, a, b)),
        || {
            let (mut copied, mut refused) = (0, 0);
            for i in 0..400 {
                let to = scratch.path().join(format!("to{i}"));
                if copy(&from, &to).is_err() {
                    refused += 1;
                    continue;
                }
                copied += 1;
                assert!(!sh(r#"grep -rs SECRET --devices=skip "$1" || true"#, &[&to]).contains("SECRET"));
                crate::remove::remove_tree(&to).unwrap();
            }
            eprintln!("{copied} copied, {refused} refused");
        },
    );
    assert_eq!(std::fs::read(scratch.path().join("outside/secret")).unwrap(), b"SECRET\n");
    assert!(names(scratch.path()).iter().all(|n| !n.starts_with(".#")));
}

/// Directories `levels` deep, `width` in each level of which one goes on.
fn deep(tree: &Path, levels: usize, width: usize) {
    std::fs::create_dir(tree).unwrap();
    let mut dir = crate::open::directory(tree).unwrap();
    for _ in 0..levels {
        for i in 0..width {
            rustix::fs::mkdirat(&dir, format!("d{i}"), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        }
        dir = rustix::fs::openat(&dir, "d0", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    }
}

#[test]
fn bottomless_trees() {
    let scratch = Scratch::new("deep");
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    for width in [1, 3] {
        deep(&from, 1200, width);
        copy(&from, &to).unwrap();
        assert_eq!(sh(r#"find "$1" | wc -l"#, &[&to]), format!("{}\n", 1200 * width + 1));
        crate::remove::remove_tree(&to).unwrap();
        crate::remove::remove_tree(&from).unwrap();
        assert!(names(scratch.path()).is_empty());
    }
}

#[test]
#[ignore = "bench: copying the Debian tree"]
fn bench_debian() {
    let debian = Path::new("/var/tmp/hostel-trees/debian");
    if !is_root() || !debian.is_dir() {
        return;
    }
    for kind in ["tmpfs", "ext4", "xfs", "btrfs"] {
        let Some(fs) = FileSystem::new(kind, 3000) else { continue };
        copy(debian, &fs.at.join("source")).unwrap();
        sh(r#"sync -f "$1""#, &[&fs.at]);
        for round in 0..4 {
            for threads in [1, 2] {
                let tree = crate::open::directory(&fs.at.join("source")).unwrap();
                let start = std::time::Instant::now();
                let options = Options { durable: Durable::No, threads, progress: None };
                let copied = copy_tree(tree.as_fd(), Path::new("source"), &fs.at.join(format!("c{round}{threads}")), &options).unwrap();
                println!("{kind} {threads} threads: {:?} {:?} {:?}", start.elapsed(), copied.method, copied.progress);
            }
            let start = std::time::Instant::now();
            sh(r#"cp -a "$1"/source "$1"/cp"$(date +%N)""#, &[&fs.at]);
            println!("{kind} cp -a: {:?}", start.elapsed());
        }
        let start = std::time::Instant::now();
        crate::remove::remove_tree(&fs.at.join("c01")).unwrap();
        println!("{kind} remove: {:?}", start.elapsed());
        let start = std::time::Instant::now();
        sh(r#"rm -rf "$1"/c02"#, &[&fs.at]);
        println!("{kind} rm -rf: {:?}", start.elapsed());
    }
}
