use super::*;
use crate::walk::testing::{Scratch, exchange, sh, while_swapping};

/// `tree` with traps: links that lead to `outside` when followed by string.
fn trapped(tag: &str) -> (Scratch, OwnedFd) {
    let scratch = Scratch::new(tag);
    sh(
        r#"mkdir -p "$1"/outside "$1"/tree/etc "$1"/tree/real/sub; cd "$1"/tree
           ln -s "$1"/outside abs; ln -s ../outside rel; ln -s ../../../../../../.. up; ln -s loop loop; ln -s /real good
           ln -s /not/there dangling; ln -s ../later/x dangling2; mkfifo fifo; echo text > file; ln -s /file link
           ln -s /proc/self/root magic; mknod null c 1 3 || true; mkdir real/nested; ln -s ../.. real/nested/top"#,
        &[scratch.path()],
    );
    let root = rustix::fs::open(scratch.path().join("tree"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    (scratch, root)
}

const DIR_MODE: Mode = Mode::from_raw_mode(0o755);

#[test]
fn directories_are_made_inside_only() {
    let (scratch, root) = trapped("mkdir");
    let tree = scratch.path().join("tree");
    let outside = scratch.path().join("outside");
    for (path, made) in [
        ("a/b/c", "a/b/c"),
        ("/abs2//x/", "abs2/x"),
        ("good/deep/er", "real/deep/er"),
        ("dangling/z", "not/there/z"),
        ("dangling2/z", "later/x/z"),
        ("up/inside", "inside"),
        ("real/nested/top/t", "t"),
        ("new/../other", "other"),
        ("./dot/./x", "dot/x"),
        ("/", ""),
        ("", ""),
        ("../../../climb", "climb"),
    ] {
        let dir = make_directories(root.as_fd(), Path::new(path), DIR_MODE).unwrap_or_else(|e| panic!("{path}: {e}"));
        let want = rustix::fs::stat(tree.join(made)).unwrap();
        assert_eq!(rustix::fs::fstat(&dir).unwrap().st_ino, want.st_ino, "{path}");
    }
    // Absolute links name a path inside: the scratch directory's own path appears in the tree.
    make_directories(root.as_fd(), Path::new("abs/x"), DIR_MODE).unwrap();
    make_directories(root.as_fd(), Path::new("rel/y"), DIR_MODE).unwrap();
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert!(tree.join(outside.strip_prefix("/").unwrap()).join("x").is_dir());
    assert!(tree.join("outside/y").is_dir());
    for bad in ["loop/x", "file/x", "fifo/x", "link/x", "a\0b", &"x".repeat(256)] {
        assert!(make_directories(root.as_fd(), Path::new(bad), DIR_MODE).is_err(), "{bad:?}");
    }
    assert!(!Path::new("/x").exists());
}

#[test]
fn files_are_made_and_left() {
    let (scratch, root) = trapped("mkfile");
    let tree = scratch.path().join("tree");
    for (path, made) in [("n/e/w", "n/e/w"), ("good/f", "real/f"), ("link", "file"), ("fifo", "fifo"), ("real", "real")] {
        let file = make_file(root.as_fd(), Path::new(path), Mode::from_raw_mode(0o644)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(rustix::fs::fstat(&file).unwrap().st_ino, rustix::fs::stat(tree.join(made)).unwrap().st_ino, "{path}");
    }
    assert_eq!(std::fs::read(tree.join("file")).unwrap(), b"text\n");
    for bad in ["dangling", "loop", "/", "..", "a/..", "file/x"] {
        let result = make_file(root.as_fd(), Path::new(bad), Mode::from_raw_mode(0o644));
        assert!(result.is_err() || matches!(bad, "/" | ".." | "a/.."), "{bad}");
    }
}

#[test]
fn reading_neither_waits_nor_swallows() {
    let (scratch, root) = trapped("read");
    let tree = scratch.path().join("tree");
    std::fs::File::create(tree.join("huge")).unwrap().set_len(1 << 40).unwrap();
    std::fs::write(tree.join("limit"), vec![b'x'; READ_LIMIT]).unwrap();
    std::fs::write(tree.join("over"), vec![b'x'; READ_LIMIT + 1]).unwrap();
    std::fs::write(tree.join("empty"), b"").unwrap();
    let read = |path: &str| read(root.as_fd(), Path::new(path));
    assert_eq!(read("file").unwrap(), b"text\n");
    assert_eq!(read("/link").unwrap(), b"text\n");
    assert_eq!(read("empty").unwrap(), b"");
    assert_eq!(read("limit").unwrap().len(), READ_LIMIT);
    for (path, cause) in [
        ("fifo", Cause::NotRegular),
        ("real", Cause::NotRegular),
        ("over", Cause::TooLarge),
        ("huge", Cause::TooLarge),
        ("loop", Cause::Os(Errno::LOOP)),
        ("dangling", Cause::Os(Errno::NOENT)),
        ("abs/none", Cause::Os(Errno::NOENT)),
    ] {
        assert_eq!(read(path).unwrap_err(), cause, "{path}");
    }
    if tree.join("null").exists() {
        assert_eq!(read("null").unwrap_err(), Cause::NotRegular);
    }
    // /proc of the tree is no /proc, but a real one mounted there must not lead out either.
    let host = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    assert_eq!(super::read(host.as_fd(), Path::new("proc/self/root/etc/passwd")).unwrap_err(), Cause::Os(Errno::LOOP));
}

#[test]
fn replacing_is_whole_and_inside() {
    let (scratch, root) = trapped("replace");
    let tree = scratch.path().join("tree");
    let mode = Mode::from_raw_mode(0o640);
    for path in ["file", "link", "dangling", "fifo", "new", "good/in", "etc/x"] {
        for durable in [Durable::No, Durable::Yes] {
            replace(root.as_fd(), Path::new(path), path.as_bytes(), mode, durable).unwrap_or_else(|e| panic!("{path}: {e}"));
        }
        let real = tree.join(path.replace("good", "real"));
        assert_eq!(std::fs::read(&real).unwrap(), path.as_bytes());
        assert_eq!(rustix::fs::lstat(&real).unwrap().st_mode, 0o100640, "{path}");
    }
    assert_eq!(read_link(root.as_fd(), Path::new("file")).unwrap(), None);
    replace_with_symlink(root.as_fd(), Path::new("file"), Path::new("../a")).unwrap();
    replace_with_symlink(root.as_fd(), Path::new("file"), Path::new("../b")).unwrap();
    assert_eq!(read_link(root.as_fd(), Path::new("file")).unwrap().unwrap().as_bytes(), b"../b");
    for _ in 0..2 {
        unlink(root.as_fd(), Path::new("file")).unwrap();
        unlink(root.as_fd(), Path::new("none/file")).unwrap();
    }
    // A directory in the way: refused, and no temporary file is left.
    assert!(replace(root.as_fd(), Path::new("real"), b"", mode, Durable::No).is_err());
    assert!(unlink(root.as_fd(), Path::new("real")).is_err());
    assert!(crate::walk::testing::names(&tree).iter().all(|n| !n.starts_with(".#")));
    assert_eq!(std::fs::read_dir(scratch.path().join("outside")).unwrap().count(), 0);
}

#[test]
fn strict_opening_refuses_links() {
    let (_scratch, root) = trapped("strict");
    let open = |path: &str| open_beneath_no_symlinks(root.as_fd(), Path::new(path), OFlags::PATH);
    for good in ["real/sub", "/real", "file", "", "/", "real/.."] {
        assert!(open(good).is_ok(), "{good}");
    }
    for (bad, errno) in [("good", Errno::LOOP), ("good/sub", Errno::LOOP), ("abs", Errno::LOOP), ("..", Errno::XDEV), ("real/../..", Errno::XDEV)] {
        assert_eq!(open(bad).unwrap_err(), Cause::Os(errno), "{bad}");
    }
}

/// A swapper exchanges a directory and a link to the outside as fast as it can while directories are made below.
#[test]
fn a_swapper_gets_nothing_made_outside() {
    let (scratch, root) = trapped("race");
    let tree = scratch.path().join("tree");
    std::fs::create_dir(tree.join("swap")).unwrap();
    std::os::unix::fs::symlink(scratch.path().join("outside"), tree.join("swap.link")).unwrap();
    let mut made = 0;
    let dir = crate::open::directory(&tree).unwrap();
    while_swapping(
        || exchange(&dir, "swap", "swap.link"),
        || {
            for i in 0..4000 {
                made += u32::from(make_directories(root.as_fd(), Path::new(&format!("swap/d{i}/e")), DIR_MODE).is_ok());
                let _ = make_file(root.as_fd(), Path::new(&format!("swap/d{i}/f")), DIR_MODE);
                let _ = replace(root.as_fd(), Path::new(&format!("swap/r{i}")), b"x", DIR_MODE, Durable::No);
            }
        },
    );
    assert!(made > 0);
    assert_eq!(std::fs::read_dir(scratch.path().join("outside")).unwrap().count(), 0);
}
