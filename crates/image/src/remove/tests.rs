use super::*;
use crate::walk::testing::{FileSystem, Scratch, describe, exchange, is_root, names, sample, sh, while_swapping};

#[test]
fn everything_goes_on_every_file_system() {
    for kind in ["tmpfs", "ext4", "xfs", "btrfs"] {
        let Some(fs) = FileSystem::new(kind, 400) else { continue };
        let tree = fs.at.join("tree");
        sample(&tree);
        if kind != "tmpfs" {
            sh(r#"chattr +i "$1"/usr/bin/tool; chattr +a "$1"/random; chattr +i "$1"/usr/lib; chattr +i "$1"/empty"#, &[&tree]);
        }
        remove_tree(&tree).unwrap();
        let mut left = names(&fs.at);
        left.retain(|n| n != "lost+found");
        assert!(left.is_empty(), "{kind}: {left:?}");
    }
}

#[test]
fn what_is_no_tree_is_refused() {
    let scratch = Scratch::new("refuse");
    let outside = scratch.path().join("outside");
    sh(r#"mkdir "$1"; touch "$1"/f; ln -s "$1" "$2"/link; touch "$2"/file"#, &[&outside, scratch.path()]);
    for (path, why) in [
        ("link", "it is a symbolic link"),
        ("file", "Not a directory"),
        ("none", "No such file or directory"),
        ("outside/..", "its last component is no name"),
        ("none/none", "No such file or directory"),
        ("link/f", "Not a directory"),
    ] {
        let path = scratch.path().join(path);
        assert_eq!(remove_tree(&path).unwrap_err().to_string(), format!("remove tree {}: {why}", path.display()));
    }
    assert_eq!(remove_tree(Path::new("/")).unwrap_err().cause, Cause::Why("its last component is no name"));
    assert_eq!(names(scratch.path()), ["file", "link", "outside"]);
    assert_eq!(names(&outside), ["f"]);
}

#[test]
fn mounts_are_never_entered() {
    let Some(fs) = FileSystem::new("tmpfs", 10) else { return };
    let tree = fs.at.join("tree");
    let other = fs.at.join("precious with space");
    sh(r#"mkdir -p "$1"/a/mnt "$2" "$3"/treeb; touch "$1"/a/f "$2"/keep; mount --bind "$2" "$1"/a/mnt"#, &[&tree, &other, &fs.at]);
    let before = describe(&tree);
    assert_eq!(remove_tree(&tree).unwrap_err().cause, Cause::Why("something is mounted in it"));
    assert_eq!(remove_tree(&tree.join("a/mnt")).unwrap_err().cause, Cause::Why("it is a mount point"));
    assert_eq!(describe(&tree), before);
    assert_eq!(names(&fs.at), ["precious with space", "tree", "treeb"]);
    // The walk itself stops there too, when the mount comes after the look at the mount table.
    let parent = rustix::fs::open(&fs.at, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let dir = walk::subdirectory(parent.as_fd(), c"tree").unwrap();
    assert_eq!(delete(parent.as_fd(), c"tree", dir).unwrap_err(), Cause::Why("something is mounted in it"));
    assert_eq!(names(&other), ["keep"]);
    sh(r#"umount "$1"/a/mnt"#, &[&tree]);
    remove_tree(&fs.at.join("treeb")).unwrap();
    remove_tree(&tree).unwrap();
    assert_eq!(names(&fs.at), ["precious with space"]);
}

#[test]
fn a_swapper_gets_nothing_outside_removed() {
    let scratch = Scratch::new("rmrace");
    let outside = scratch.path().join("outside");
    sh(r#"mkdir -p "$1"/sub; touch "$1"/keep "$1"/sub/keep"#, &[&outside]);
    let tree = scratch.path().join("tree");
    for _ in 0..150 {
        sh(r#"mkdir -p "$1"/{a,b,c,d}/x; touch "$1"/{a,b,c,d}/{1,2,3,4}; for i in a b c d; do ln -s "$2" "$1"/$i.link; done"#, &[&tree, &outside]);
        let dir = crate::open::directory(&tree).unwrap();
        while_swapping(|| ["a", "b", "c", "d"].iter().for_each(|name| exchange(&dir, name, &format!("{name}.link"))), || remove_tree(&tree).unwrap());
    }
    assert_eq!(names(&outside), ["keep", "sub"]);
    assert_eq!(names(&outside.join("sub")), ["keep"]);
    assert_eq!(names(scratch.path()), ["outside"]);
}

#[test]
fn a_sweeper_and_a_remover_do_not_mind_each_other() {
    let scratch = Scratch::new("sweeprace");
    for _ in 0..30 {
        let tree = scratch.path().join("tree");
        sh(r#"mkdir -p "$1"/{a,b,c}/{d,e,f}/{g,h}; touch "$1"/{a,b,c}/{d,e,f}/{g,h}/{1,2,3}"#, &[&tree]);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        crate::sweep(scratch.path()).unwrap();
                    }
                });
            }
            remove_tree(&tree).unwrap();
        });
        assert!(names(scratch.path()).is_empty());
    }
    // Left-overs that are none of ours stay.
    if is_root() {
        sh(
            r#"cd "$1"; mkdir .#hostel-other .#hostel-partialx .#snapshot.x12 .#hostel-trash-1 .#hostel-partial-2 .#hostel-ephemeral-web-3; ln -s / .#hostel-trash-l; touch .#hostel-trash-f"#,
            &[scratch.path()],
        );
        // Of files only half an imported disk image is one of ours.
        assert_eq!(crate::sweep(scratch.path()).unwrap(), 3);
        assert_eq!(names(scratch.path()), [".#hostel-other", ".#hostel-partialx", ".#hostel-trash-f", ".#hostel-trash-l", ".#snapshot.x12"]);
    }
}
