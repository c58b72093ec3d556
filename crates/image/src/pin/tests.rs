use hostel_sys::tree::btrfs::subvolume;

use super::*;
use crate::walk::testing::{FileSystem, names, sh};

#[test]
fn a_guest_cannot_make_the_host_read_only() {
    for kind in ["ext4", "xfs", "btrfs", "tmpfs"] {
        let Some(fs) = FileSystem::new(kind, 320) else { continue };
        let tree = fs.at.join("tree");
        std::fs::create_dir(&tree).unwrap();
        let fd = crate::open::directory(&tree).unwrap();
        let remount = r#"mount -o remount,ro "$1" 2>/dev/null && { mount -o remount,rw "$1"; echo flipped; } || true"#;
        let held = pin(fd.as_fd()).unwrap().unwrap();
        assert_eq!(sh(remount, &[&fs.at]), "", "{kind}");
        assert!(names(&tree).is_empty());
        drop(held);
        // The same with the fall-back, and through a read-only mount of the writable file system.
        let held = open_unlinked(fd.as_fd()).unwrap();
        assert_eq!(sh(remount, &[&fs.at]), "", "{kind}");
        drop(held);
        let bound = fs.at.join("bound");
        std::fs::create_dir(&bound).unwrap();
        sh(r#"mount --bind "$1" "$2"; mount -o remount,bind,ro "$2""#, &[&tree, &bound]);
        let read_only = crate::open::directory(&bound).unwrap();
        let held = pin(read_only.as_fd()).unwrap();
        let outcome = sh(remount, &[&fs.at]);
        sh(r#"umount -l "$1""#, &[&bound]);
        assert!(held.is_some() && outcome.is_empty(), "{kind}");
        drop((held, read_only));
        // What is marked read-only: the directory, a mount of it, a subvolume.
        if sh(r#"chattr +i "$1" 2>/dev/null && echo marked || true"#, &[&tree]) == "marked\n" {
            let marked = crate::open::directory(&tree).unwrap();
            let held = pin(marked.as_fd()).unwrap();
            assert!(held.is_some() && sh(remount, &[&fs.at]).is_empty(), "{kind}");
            assert!(names(&tree).is_empty() && names(&fs.at).len() <= 3, "{kind}: {:?}", names(&fs.at));
            sh(r#"chattr -i "$1""#, &[&tree]);
        }
        if kind == "btrfs" {
            let top = rustix::fs::open(&fs.at, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
            subvolume::create(top.as_fd(), c"sub").unwrap();
            let sub = rustix::fs::openat(&top, c"sub", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
            subvolume::set_read_only(sub.as_fd(), true).unwrap();
            let held = pin(sub.as_fd()).unwrap();
            drop((top, sub));
            assert!(held.is_some() && sh(remount, &[&fs.at]).is_empty());
        }
        // The test itself can fail: without a pin the remount works.
        assert_eq!(sh(remount, &[&fs.at]), "flipped\n", "{kind}");
        sh(r#"mount -o remount,ro "$1""#, &[&fs.at]);
        assert!(pin(fd.as_fd()).unwrap().is_none());
    }
}
