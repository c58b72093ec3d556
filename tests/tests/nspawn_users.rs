//! User namespaces: `-U`, `--private-users=`, id-mapped trees and binds, and a recursive chown where that is asked for.

use std::os::unix::fs::MetadataExt;

use hostel_tests::{Bed, View};

fn map(view: &View) -> (i64, i64, i64) {
    let row = |n: usize| view["uid_map"][0][n].as_i64().unwrap_or(-1);
    assert_eq!(view["uid_map"], view["gid_map"]);
    (row(0), row(1), row(2))
}

#[test]
fn pick_takes_a_range_of_its_own() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for option in ["-U", "--private-users=pick"] {
        let view = bed.nspawn(&tree, [option, "/probe", "json"]).run().exits(0).view();
        let (inside, outside, count) = map(&view);
        assert_eq!((inside, count), (0, 65536), "{option}");
        assert!((0x0008_0000..=0x6fff_0000).contains(&outside) && outside & 0xffff == 0, "{option}: base {outside:#x}");
        assert_eq!(view.number("/uid/0"), 0);
        for path in ["/", "/usr", "/etc", "/root", "/tmp", "/run", "/dev"] {
            assert_eq!(view["top"][path]["uid"], 0, "{option}: owner of {path}: {}", view["top"][path]);
        }
        assert!(!view.caps("bnd").contains("net_bind_service"), "a user namespace on the host's network has no say about its ports");
        assert!(view.caps("eff").contains("sys_admin"));
    }
    // with an id-mapped mount nothing on disk changed
    assert_eq!(std::fs::metadata(tree.at("/usr/bin/busybox")).expect("stat").uid(), 0);
}

#[test]
fn files_made_inside_belong_to_the_tree_not_to_the_range() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    bed.nspawn(
        &tree,
        [
            "-U",
            "sh",
            "-c",
            "touch /etc/by-root; touch /home/alice/by-alice; chown alice:alice /home/alice/by-alice; stat -c %u:%g /home/alice/by-alice",
        ],
    )
    .run()
    .exits(0)
    .prints("1000:1000");
    let owner = |path: &str| std::fs::metadata(tree.at(path)).map(|m| (m.uid(), m.gid())).expect("stat");
    assert_eq!(owner("/etc/by-root"), (0, 0));
    assert_eq!(owner("/home/alice/by-alice"), (1000, 1000));
}

#[test]
fn a_given_base_and_identity_and_no() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let view = bed.nspawn(&tree, ["--private-users=655360:65536", "--private-users-ownership=map", "/probe", "json"]).run().exits(0).view();
    assert_eq!(map(&view), (0, 655_360, 65536));
    let view = bed.nspawn(&tree, ["--private-users=identity", "/probe", "json"]).run().exits(0).view();
    assert_eq!(map(&view), (0, 0, 65536));
    let view = bed.nspawn(&tree, ["--private-users=no", "/probe", "json"]).run().exits(0).view();
    assert_eq!(map(&view), (0, 0, 4_294_967_295));
    for bad in [
        "--private-users=bogus",
        "--private-users=-1",
        "--private-users=0x10000",
        "--private-users=655360:0",
        "--private-users=4294967295:65536",
        "--private-users=",
    ] {
        bed.nspawn(&tree, [bad, "true"]).run().exits(1).fails();
    }
}

#[test]
fn chown_moves_the_tree_and_back() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    bed.nspawn(&tree, ["--private-users=655360", "--private-users-ownership=chown", "sh", "-c", "stat -c %u / /home/alice"])
        .run()
        .exits(0)
        .prints("0\n1000");
    let owner = |path: &str| std::fs::symlink_metadata(tree.at(path)).map(|m| (m.uid(), m.gid())).expect("stat");
    assert_eq!(owner("/"), (655_360, 655_360));
    assert_eq!(owner("/home/alice"), (656_360, 656_360));
    assert_eq!(owner("/bin"), (655_360, 655_360), "links too");
    // the base is found again from the owner of the root
    let view = bed.nspawn(&tree, ["--private-users=yes", "/probe", "json"]).run().exits(0).view();
    assert_eq!(map(&view), (0, 655_360, 65536));
    bed.nspawn(&tree, ["--private-users=0", "--private-users-ownership=chown", "true"]).run().exits(0);
    assert_eq!(owner("/home/alice"), (1000, 1000));
}

#[test]
fn chown_keeps_setuid_bits_and_does_not_follow_links() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let trap = hostel_tests::Trap::set(bed.dir().join("trap"));
    std::os::unix::fs::symlink(trap.path(), tree.at("/etc/link-out")).expect("link");
    std::os::unix::fs::symlink(trap.path().join("file"), tree.at("/etc/file-out")).expect("link");
    tree.write("/usr/bin/suid", "x");
    std::fs::set_permissions(tree.at("/usr/bin/suid"), std::os::unix::fs::PermissionsExt::from_mode(0o4755)).expect("chmod");
    bed.nspawn(&tree, ["--private-users=655360", "--private-users-ownership=chown", "true"]).run().exits(0);
    assert_eq!(std::fs::metadata(tree.at("/usr/bin/suid")).expect("stat").mode() & 0o7777, 0o4755);
    trap.assert_untouched("recursive chown");
}

#[test]
fn two_machines_at_once_have_two_ranges() {
    let Some(bed) = Bed::start() else { return };
    let (one, two) = (bed.busybox(), bed.busybox());
    let first = bed.nspawn(&one, ["-U", "/probe", "json", "then", "sleep"]).start();
    first.expect("}\r\n");
    let a: hostel_tests::Value = first.stdout().lines().next().expect("a line").parse().expect("JSON");
    let b = bed.nspawn(&two, ["-U", "/probe", "json"]).run().exits(0).view();
    assert_ne!(a["uid_map"][0][1], b["uid_map"][0][1]);
}

#[test]
fn root_inside_is_nobody_outside() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let shared = bed.fresh("shared");
    std::fs::write(shared.join("roots"), "secret").expect("write");
    std::fs::set_permissions(shared.join("roots"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("chmod");
    let bind = format!("--bind={}:/mnt", shared.display());
    bed.nspawn(&tree, ["-U", &bind, "sh", "-c", "cat /mnt/roots; touch /mnt/new; stat -c %u /mnt/roots"])
        .run()
        .prints_without("secret")
        .prints_with("65534");
    assert!(!shared.join("new").exists());
}

#[test]
fn id_mapped_binds() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let shared = bed.fresh("shared");
    std::fs::write(shared.join("of-1000"), "x").expect("write");
    std::os::unix::fs::chown(shared.join("of-1000"), Some(1000), Some(1000)).expect("chown");
    let run =
        |mapping: &str, script: &str| bed.nspawn(&tree, ["-U", &format!("--bind={}:/mnt:{mapping}", shared.display()), "sh", "-c", script]).run();
    run("idmap", "stat -c %u /mnt /mnt/of-1000; touch /mnt/by-root").exits(0).prints("0\n1000");
    assert_eq!(std::fs::metadata(shared.join("by-root")).expect("stat").uid(), 0);
    run("rootidmap", "stat -c %u /mnt /mnt/of-1000").exits(0).prints("0\n65534");
    std::os::unix::fs::chown(&shared, Some(1000), Some(1000)).expect("chown");
    run("owneridmap", "stat -c %u /mnt /mnt/of-1000; touch /mnt/by-owner").exits(0).prints("0\n0");
    assert_eq!(std::fs::metadata(shared.join("by-owner")).expect("stat").uid(), 1000);
    run("noidmap", "stat -c %u /mnt").exits(0).prints("65534");
    run("sideways", "true").exits(1).fails();
}

#[test]
fn everything_else_works_in_a_user_namespace_too() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let low = bed.fresh("low");
    let args =
        ["-U", "--private-network", "--tmpfs=/srv", "--bind=:/mnt", "--inaccessible=/etc/hostname", "--read-only", "--chdir=/srv", "-u", "alice"];
    let view = bed.nspawn(&tree, args).args(["/probe", "json"]).run().exits(0).view();
    assert_eq!((view.number("/uid/0"), view.text("/cwd")), (1000, "/srv"));
    assert!(view.mount_type("/proc") == "proc" && view.mount_type("/srv") == "tmpfs" && view.links() == ["lo"]);
    for masked in ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/power/state"] {
        assert_ne!(view.writing(masked), "ok", "{masked}");
    }
    for (mode, expected) in [("yes", "usr"), ("state", "usr"), ("overlay", "usr")] {
        bed.nspawn(&tree, ["-U", &format!("--volatile={mode}"), "sh", "-c", "[ -e /usr/bin/busybox ] && echo usr; touch /var/x"])
            .run()
            .exits(0)
            .prints(expected);
    }
    bed.nspawn(&tree, ["-U", "-x", "sh", "-c", "touch /etc/x && echo wrote"]).run().exits(0).prints("wrote");
    let overlay = format!("--overlay={}::/mnt", low.display());
    bed.nspawn(&tree, ["-U", &overlay, "sh", "-c", "touch /mnt/x; true"]).run().exits(0);
    bed.nspawn(&tree, ["-U", "-a", "/probe", "orphan"]).run().exits(0).prints("orphan reaped");
}

#[test]
fn a_tree_that_cannot_be_mapped_falls_back_to_chown() {
    let Some(bed) = Bed::start() else { return };
    // an overlay cannot be id-mapped on this kernel
    let Some(tree) = bed.tree("busybox") else { return };
    let view = bed.nspawn(&tree, ["-U", "/probe", "json"]).run().exits(0).view();
    let (_, outside, count) = map(&view);
    assert!(outside >= 0x0008_0000 && count == 65536);
    assert_eq!(view["top"]["/usr"]["uid"], 0);
}
