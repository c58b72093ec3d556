use super::*;
use crate::walk::testing::{FileSystem, Scratch, sh};

#[test]
fn checks() {
    let scratch = Scratch::new("open");
    sh(
        r#"cd "$1"; mkdir -p full/usr/lib full/etc linked/sub/usr bad/etc dir/etc/os-release dir/usr/lib/os-release esc/etc fifo/etc
           touch full/usr/lib/os-release bad/usr file; ln -s ../usr/lib/os-release full/etc/os-release
           ln -s sub/usr linked/usr; ln -s loop bad/etc/loop; ln -s loop bad/etc/os-release; ln -s /etc/os-release esc/etc/os-release
           ln -s ../../usr esc/usr; mkfifo fifo/etc/os-release; mkdir usr; touch usr/x"#,
        &[scratch.path()],
    );
    for (tree, usr, os) in
        [("full", true, true), ("linked", true, false), ("bad", false, false), ("dir", true, false), ("esc", false, false), ("fifo", false, false)]
    {
        let path = scratch.path().join(tree);
        let fd = directory(&path).unwrap();
        assert_eq!(require_usr(fd.as_fd(), &path).is_ok(), usr, "{tree}");
        assert_eq!(require_os_release(fd.as_fd(), &path).is_ok(), os, "{tree}");
        refuse_host_root(fd.as_fd(), &path).unwrap();
    }
    let root = directory(Path::new("/")).unwrap();
    assert_eq!(refuse_host_root(root.as_fd(), Path::new("/")).unwrap_err().to_string(), "open tree /: it is the root directory of the host");
    assert_eq!(directory(Path::new("/no/such")).unwrap_err().to_string(), "open tree /no/such: No such file or directory");
    assert_eq!(directory(&scratch.path().join("file")).unwrap_err().cause, Cause::Os(Errno::NOTDIR));
}

#[test]
fn trees_by_name() {
    let scratch = Scratch::new("find");
    sh(
        r#"cd "$1"; mkdir -p a b/one b/two k/kept/upper k/kept/work k/half/upper; touch a/disk.raw a/plain a/two.raw b/disk
           ln -s "$1"/b/one a/link; ln -s loop a/loop"#,
        &[scratch.path()],
    );
    let dirs = ["none", "a", "b"].map(|d| scratch.path().join(d));
    let dirs: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();
    let find = |name: &str| find_in(&MachineName::new(name).unwrap(), &dirs, &scratch.path().join("k"));
    for (name, kind, path) in [
        ("one", Kind::Directory, "b/one"),
        ("two", Kind::DiskImage, "a/two.raw"),
        ("disk", Kind::DiskImage, "a/disk.raw"),
        ("link", Kind::Directory, "a/link"),
        ("kept", Kind::KeptOverlay, "k/kept"),
    ] {
        assert_eq!(find(name).unwrap(), Found { kind, path: scratch.path().join(path) }, "{name}");
    }
    for name in ["plain", "loop", "absent", "half"] {
        assert!(find(name).is_err(), "{name}");
    }
    assert_eq!(find("absent").unwrap_err().to_string(), "find tree absent: there is no tree of this name in /var/lib/machines and its like");
}

#[test]
fn subvolumes_by_name() {
    let Some(fs) = FileSystem::new("btrfs", 320) else { return };
    sh(r#"btrfs -q subvolume create "$1"/sub; mkdir "$1"/dir"#, &[&fs.at]);
    let find = |name: &str| find_in(&MachineName::new(name).unwrap(), &[&fs.at], Path::new("/none")).unwrap().kind;
    assert_eq!(find("sub"), Kind::Subvolume);
    assert_eq!(find("dir"), Kind::Directory);
}
