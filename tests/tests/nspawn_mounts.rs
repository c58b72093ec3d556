//! Mounts asked for on the command line, and trees that are read-only, volatile, ephemeral or copied.

use std::os::unix::fs::PermissionsExt;

use hostel_tests::{Bed, Trap, Tree};

#[test]
fn bind_shows_the_host_directory_both_ways() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let shared = bed.fresh("shared");
    std::fs::write(shared.join("from-host"), "hello").expect("write");
    let bind = format!("--bind={}:/made/on/the/way", shared.display());
    bed.nspawn(&tree, [bind.as_str(), "sh", "-c", "cat /made/on/the/way/from-host; echo back >/made/on/the/way/from-inside"])
        .run()
        .exits(0)
        .prints("hello");
    assert_eq!(std::fs::read_to_string(shared.join("from-inside")).expect("read"), "back\n");
    let same = format!("--bind={}", shared.display());
    bed.nspawn(&tree, [same.as_str(), "cat", &format!("{}/from-host", shared.display())]).run().exits(0).prints("hello");
}

#[test]
fn bind_ro_is_not_made_writable_by_root_of_a_user_namespace() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let shared = bed.fresh("shared");
    for option in ["", ":idmap", ":rootidmap"] {
        let bind = format!("--bind-ro={}:/mnt{option}", shared.display());
        let script = "mount -o remount,bind,rw /mnt; touch /mnt/written; umount /mnt; echo done";
        bed.nspawn(&tree, ["-U", &bind, "sh", "-c", script]).run().exits(0).prints_with("done");
        assert!(!shared.join("written").exists(), "{option}");
    }
}

/// Root of a machine with users of its own is root over its mounts, too, but for those that its options made.
#[test]
fn what_options_mount_cannot_be_undone_by_root_of_a_user_namespace() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let shared = bed.fresh("shared");
    std::fs::create_dir(shared.join("sub")).expect("mkdir");
    std::fs::create_dir_all(tree.at("/hidden")).expect("mkdir");
    std::fs::write(tree.at("/hidden/secret"), "secret\n").expect("write");
    let (below, over) = (format!("--bind={}:/mnt:idmap", shared.display()), format!("--bind-ro={}/sub:/mnt/sub:idmap", shared.display()));
    for (options, script) in [
        (vec!["--read-only"], "mount -o remount,bind,rw /; mount -o remount,rw /; echo x >/written"),
        (vec!["--volatile=state"], "mount -o remount,bind,rw /; echo x >/written"),
        (vec!["--volatile=yes"], "mount -o remount,bind,rw /usr; echo x >/usr/written"),
        (vec!["--inaccessible=/hidden"], "umount /hidden; umount -l /hidden; cat /hidden/secret"),
        (vec!["--tmpfs=/hidden"], "umount /hidden; umount -l /hidden; cat /hidden/secret"),
        (vec![below.as_str(), over.as_str()], "umount /mnt/sub; umount -l /mnt/sub; echo x >/mnt/sub/written"),
        (vec![], "umount /proc/kallsyms && echo unmounted"),
        (vec![], "umount /sys/firmware && echo unmounted"),
        (vec![], "mount -o remount,bind,rw /proc/sys && echo remounted"),
        (vec![], "umount -l /proc/sys && echo unmounted"),
        (vec![], "mount -o remount,bind,rw /run/host && echo remounted"),
        (vec![], "mount -o remount,bind,suid,dev,exec /proc && echo remounted"),
    ] {
        let shown = format!("{options:?}: {script}");
        let script = format!("({script}) 2>/dev/null; echo end");
        let outcome = bed.nspawn(&tree, ["-U"].into_iter().chain(options).chain(["sh", "-c", script.as_str()])).run().exits(0);
        assert_eq!(outcome.text().trim(), "end", "{shown}: {}", outcome.describe());
        for written in [tree.at("/written"), tree.at("/usr/written"), shared.join("sub/written")] {
            assert!(!written.exists(), "{shown}: {}", written.display());
        }
    }
    // What root mounts itself it may unmount.
    let own = "mount -t tmpfs x /mnt && umount /mnt && mount -o remount,bind,ro / && mount -o remount,bind,rw / && echo own";
    bed.nspawn(&tree, ["-U", "sh", "-c", own]).run().exits(0).prints("own");
}

#[test]
fn bind_ro_cannot_be_written_nor_what_is_mounted_below() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let shared = bed.fresh("shared");
    let bind = format!("--bind-ro={}:/mnt", shared.display());
    bed.nspawn(&tree, [bind.as_str(), "sh", "-c", "echo x >/mnt/file || echo refused"]).run().exits(0).prints_with("refused");
    let view = bed.nspawn(&tree, [bind.as_str(), "/probe", "json"]).run().exits(0).view();
    assert!(view.mount_has("/mnt", "ro"), "{:?}", view.mount("/mnt"));
    assert!(!shared.join("file").exists());
}

#[test]
fn bind_of_a_file_makes_a_file() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let file = bed.dir().join("one-file");
    std::fs::write(&file, "content\n").expect("write");
    bed.nspawn(&tree, [&format!("--bind-ro={}:/etc/deep/new-file", file.display()), "cat", "/etc/deep/new-file"]).run().exits(0).prints("content");
    bed.nspawn(&tree, [&format!("--bind-ro={}:/etc/hostname", file.display()), "cat", "/etc/hostname"]).run().exits(0).prints("content");
    assert_eq!(std::fs::read_to_string(tree.at("/etc/hostname")).expect("read"), "box\n");
}

#[test]
fn bind_with_escaped_colon_plus_and_empty_source() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let odd = bed.dir().join("with:colon");
    std::fs::create_dir(&odd).expect("mkdir");
    std::fs::write(odd.join("f"), "odd\n").expect("write");
    let escaped = odd.to_string_lossy().replace(':', "\\:");
    bed.nspawn(&tree, [&format!("--bind={escaped}:/mnt"), "cat", "/mnt/f"]).run().exits(0).prints("odd");
    tree.write("/srv/inside/f", "tree\n");
    bed.nspawn(&tree, ["--bind=+/srv/inside:/mnt", "cat", "/mnt/f"]).run().exits(0).prints("tree");
    bed.nspawn(&tree, ["--bind=:/mnt", "sh", "-c", "echo temporary >/mnt/f; cat /mnt/f"]).run().exits(0).prints("temporary");
}

#[test]
fn norbind_leaves_submounts_out() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let base = bed.own_file_system(8);
    std::fs::create_dir(base.join("sub")).expect("mkdir");
    let run = |options: &str, script: &str| {
        // a submount that only lives in a mount namespace of this one command
        let bind = format!("--bind={}:/mnt:{options}", base.display());
        bed.nspawn(&tree, [bind.as_str(), "sh", "-c", script])
            .through_shell(&format!(
                "exec unshare -m --propagation private sh -c 'mount -t tmpfs none {0}/sub && touch {0}/sub/below && exec \"$@\"' sh \"$@\"",
                base.display()
            ))
            .run()
    };
    run("rbind", "ls /mnt/sub").exits(0).prints("below");
    run("norbind", "ls /mnt/sub").exits(0).prints("");
}

#[test]
fn tmpfs_mounted_as_asked() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    for (options, wanted, unwanted) in [
        ("", "rw,nodev", "relatime"),
        ("noatime,noexec", "rw,nodev,noexec,noatime", "nosuid"),
        ("relatime,nosuid", "rw,nosuid,nodev,relatime", "noatime"),
        ("nodiratime,relatime,dev", "rw,nodiratime,relatime", "nodev"),
        ("ro,nodiratime", "ro,nodev,nodiratime", "relatime"),
    ] {
        let line = bed.nspawn(&tree, [&format!("--tmpfs=/srv:{options}"), "grep", " /srv ", "/proc/self/mountinfo"]).run().exits(0).text();
        let seen = line.split(' ').nth(5).unwrap_or_default();
        assert!(seen == wanted && !seen.contains(unwanted), "{options}: {line}");
    }
    bed.nspawn(&tree, ["--tmpfs=/srv:noauto", "true"]).run().exits(1).says("noauto");
}

#[test]
fn tmpfs_with_options() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.write("/srv/covered", "x");
    let view = bed.nspawn(&tree, ["--tmpfs=/srv", "--tmpfs=/opt:size=1M,mode=0700", "/probe", "json"]).run().exits(0).view();
    assert_eq!((view.mount_type("/srv"), view.mount_type("/opt")), ("tmpfs", "tmpfs"));
    assert!(view.mount_has("/srv", "nodev"));
    assert!(view.mount_has("/opt", "size=1024k"), "{:?}", view.mount("/opt"));
    assert_eq!((&view["top"]["/srv"]["mode"], &view["top"]["/opt"]["mode"]), (&"40755".into(), &"40700".into()));
    bed.nspawn(&tree, ["--tmpfs=/srv", "ls", "/srv"]).run().exits(0).prints("");
    assert!(tree.at("/srv/covered").exists());
}

#[test]
fn overlays() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let (low, middle, up) = (bed.fresh("low"), bed.fresh("middle"), bed.fresh("up"));
    std::fs::write(low.join("a"), "low\n").expect("write");
    std::fs::write(low.join("b"), "low\n").expect("write");
    std::fs::write(middle.join("b"), "middle\n").expect("write");
    let three = format!("--overlay={}:{}:{}:/mnt", low.display(), middle.display(), up.display());
    bed.nspawn(&tree, [three.as_str(), "sh", "-c", "cat /mnt/a /mnt/b; echo new >/mnt/c; rm /mnt/a"]).run().exits(0).prints("low\nmiddle");
    assert_eq!(std::fs::read_to_string(up.join("c")).expect("read"), "new\n");
    assert_eq!(std::fs::read_to_string(low.join("a")).expect("read"), "low\n");
    let read_only = format!("--overlay-ro={}:{}:/mnt", low.display(), middle.display());
    bed.nspawn(&tree, [read_only.as_str(), "sh", "-c", "cat /mnt/b; echo x >/mnt/y || echo refused"])
        .run()
        .exits(0)
        .prints_with("middle")
        .prints_with("refused");
    let temporary = format!("--overlay={}::/mnt", low.display());
    bed.nspawn(&tree, [temporary.as_str(), "sh", "-c", "echo changed >/mnt/a; cat /mnt/a"]).run().exits(0).prints("changed");
    assert_eq!(std::fs::read_to_string(low.join("a")).expect("read"), "low\n");
    let of_tree = format!("--overlay=+/etc:{}:/etc", up.display());
    bed.nspawn(&tree, [of_tree.as_str(), "sh", "-c", "echo renamed >/etc/hostname; cat /etc/hostname"]).run().exits(0).prints("renamed");
    assert_eq!(std::fs::read_to_string(tree.at("/etc/hostname")).expect("read"), "box\n");
}

#[test]
fn inaccessible_paths() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.write("/srv/secret", "hidden\n").write("/srv/dir/secret", "hidden\n");
    // alice, because root's CAP_DAC_OVERRIDE passes mode 000
    let args = ["--inaccessible=/srv/secret", "--inaccessible=/srv/dir", "-u", "alice", "sh", "-c", "cat /srv/secret; ls /srv/dir; ls /srv"];
    let outcome = bed.nspawn(&tree, args).run();
    assert!(!outcome.text().contains("hidden") && outcome.text().contains("secret"), "{}", outcome.describe());
    bed.nspawn(&tree, ["--inaccessible=/srv/secret", "cat", "/srv/secret"]).run().prints_without("hidden");
    bed.nspawn(&tree, ["--inaccessible=/no/such/path", "true"]).run().exits(1).fails();
}

#[test]
fn mounts_are_made_in_the_order_of_depth_not_of_typing() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let shared = bed.fresh("shared");
    std::fs::write(shared.join("f"), "below\n").expect("write");
    bed.nspawn(&tree, [&format!("--bind={}:/srv/deep", shared.display()), "--tmpfs=/srv", "cat", "/srv/deep/f"]).run().exits(0).prints("below");
}

#[test]
fn a_read_only_tree() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let outcome = bed
        .nspawn(
            &tree,
            [
                "--read-only",
                "sh",
                "-c",
                "for d in / /etc /usr /var /home; do touch $d/x 2>/dev/null && echo wrote $d; done; touch /tmp/x /run/x && echo fine",
            ],
        )
        .run();
    outcome.exits(0).prints("fine");
    assert!(!tree.at("/x").exists());
}

/// An immutable directory, as machinectl makes it; writable again at the end, or it could not be removed.
struct Marked<'a>(&'a Tree);

impl Marked<'_> {
    fn new(tree: &Tree) -> Option<Marked<'_>> {
        chattr("+i", tree).then_some(Marked(tree))
    }
}

impl Drop for Marked<'_> {
    fn drop(&mut self) {
        chattr("-i", self.0);
    }
}

fn chattr(how: &str, tree: &Tree) -> bool {
    std::process::Command::new("chattr").arg(how).arg(tree.path()).status().is_ok_and(|s| s.success())
}

#[test]
fn a_tree_that_is_marked_read_only() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.write("/deep/down/file", "old").write("/etc/resolv.conf", "nameserver 192.0.2.9\n");
    let _ = std::fs::remove_dir_all(tree.at("/var/log/journal"));
    let Some(_marked) = Marked::new(&tree) else { return println!("skipped: no immutable flag here") };
    let before = std::fs::read_dir(tree.path()).expect("list").count();
    let script = "for f in /new /deep/new /deep/down/file /etc/new /usr/new /var/new; do echo new 2>/dev/null >$f && echo wrote $f; done; \
        touch /tmp/x /run/x && cat /deep/down/file; exit 7";
    for options in
        [&[][..], &["-U"], &["-U", "--network-veth"], &["--read-only"], &["--link-journal=try-guest"], &["--volatile=state", "--tmpfs=/var/x"]]
    {
        let outcome = bed.nspawn(&tree, options.iter().copied().chain(["sh", "-c", script])).run().exits(7);
        let wrote = if options.contains(&"--volatile=state") { "wrote /var/new\nold" } else { "old" };
        outcome.prints(wrote);
    }
    // A mount point that is not there is not made, at no depth.
    bed.nspawn(&tree, ["--tmpfs=/deep/down/new", "true"]).run().exits(1).says("Read-only file system");
    bed.nspawn(&tree, ["--overlay=+/deep:+/deep/down:/mnt", "true"]).run().exits(1).says("marked read-only");
    // What is thrown away may be written.
    for option in ["-x", "--volatile=overlay"] {
        bed.nspawn(&tree, [option, "sh", "-c", "echo new >/new && echo new >/deep/down/file && cat /new /deep/down/file"])
            .run()
            .exits(0)
            .prints("new\nnew");
    }
    assert_eq!(std::fs::read_to_string(tree.at("/deep/down/file")).expect("read"), "old");
    assert_eq!(std::fs::read_dir(tree.at("/deep")).expect("list").count(), 1);
    assert_eq!(std::fs::read_dir(tree.path()).expect("list").count(), before);
    // A guest that shuts down does not make the file system of the host read-only.
    bed.nspawn(&tree, ["sh", "-c", "mount -o remount,ro /"]).run().prints_with("busy");
    tree.write("/deep/still", "writable");
}

#[test]
fn a_read_only_tree_lacking_mount_points() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    // a read-only tree must have its mount points; nothing is made in it behind the user's back... unless it can be
    bed.nspawn(&tree, ["--read-only", "--tmpfs=/srv", "true"]).run().exits(0);
}

#[test]
fn volatile_yes_state_and_overlay() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    tree.write("/var/lib/kept", "x").write("/etc/kept", "x");
    let script = "[ -e /etc/kept ] && echo etc; [ -e /var/lib/kept ] && echo var; [ -e /usr/bin/busybox ] && echo usr; \
        touch /etc/new 2>/dev/null && echo etc-rw; touch /var/new 2>/dev/null && echo var-rw; touch /usr/new 2>/dev/null && echo usr-rw; true";
    for (mode, expected) in [
        ("yes", "usr\netc-rw\nvar-rw"),
        ("state", "etc\nusr\nvar-rw"),
        ("overlay", "etc\nvar\nusr\netc-rw\nvar-rw\nusr-rw"),
        ("no", "etc\nvar\nusr\netc-rw\nvar-rw\nusr-rw"),
    ] {
        bed.nspawn(&tree, [&format!("--volatile={mode}"), "/bin/sh", "-c", script]).run().exits(0).prints(expected);
        assert_eq!(tree.at("/etc/new").exists(), mode == "no", "--volatile={mode} wrote into the tree");
        tree.remove("/etc/new").remove("/var/new").remove("/usr/new");
    }
    bed.nspawn(&tree, ["--volatile", "/bin/sh", "-c", script]).run().exits(0).prints("usr\netc-rw\nvar-rw");
    assert!(!tree.at("/etc/new").exists());
}

#[test]
fn an_ephemeral_tree_is_thrown_away() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let watched = Trap::watch(tree.at("/etc"));
    let outcome = bed.nspawn(&tree, ["-x", "sh", "-c", "echo changed >/etc/hostname; touch /etc/new; cat /etc/hostname; hostname"]).run().exits(0);
    let text = outcome.text();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("changed"));
    let name = lines.next().unwrap_or("");
    assert!(name.starts_with(&tree.name()) && name.len() > tree.name().len(), "the name has no random suffix: {name}");
    watched.assert_untouched("an ephemeral machine");
    let beside: Vec<_> = std::fs::read_dir(bed.dir())
        .expect("list")
        .flatten()
        .map(|e| e.file_name())
        .filter(|n| n.to_string_lossy().starts_with(".#"))
        .filter(|n| !n.to_string_lossy().ends_with(".lck"))
        .collect();
    assert!(beside.is_empty(), "left beside the tree: {beside:?}");
    let name = bed.name();
    bed.nspawn(&tree, ["-x", "-M", &name, "hostname"]).run().exits(0).prints(&name);
}

#[test]
fn two_ephemeral_machines_of_one_tree_at_once() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let first = bed.nspawn(&tree, ["-x", "sh", "-c", "touch /one; echo up; sleep 2; ls / | grep -c two"]).start();
    first.expect("up");
    bed.nspawn(&tree, ["-x", "sh", "-c", "touch /two; ls / | grep -c one"]).run().prints("0");
    first.finish(std::time::Duration::from_secs(10)).prints("up\n0");
}

#[test]
fn template_copies_once_and_keeps() {
    let Some(bed) = Bed::start() else { return };
    let template = bed.busybox();
    template.write("/etc/of-template", "x");
    let target = bed.dir().join(bed.name());
    let run = |script: &str| {
        bed.hostel(["nspawn", "-q", "--register=no", "--keep-unit", "-D"])
            .arg(&target)
            .arg(format!("--template={}", template.path().display()))
            .args(["sh", "-c", script])
            .run()
    };
    run("ls /etc/of-template; touch /etc/kept").exits(0).prints("/etc/of-template");
    assert!(target.join("etc/kept").exists() && !template.at("/etc/kept").exists());
    template.write("/etc/later", "x");
    run("ls /etc/kept /etc/later").prints_with("/etc/kept").prints_without("/etc/later\n");
    let meta = std::fs::metadata(target.join("usr/bin/busybox")).expect("busybox");
    assert_eq!(meta.permissions().mode() & 0o7777, 0o755);
}

#[test]
fn a_tree_is_busy_while_a_machine_runs_on_it() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let (one, two) = (bed.name(), bed.name());
    let first = bed.nspawn(&tree, ["-M", &one, "/probe", "say", "up", "then", "sleep"]).start();
    first.expect("up");
    let refused = bed.nspawn(&tree, ["-M", &two, "true"]).run().exits(1).fails();
    assert!(refused.errors().contains(&one) || refused.errors().contains("busy"), "{}", refused.describe());
    first.signal(hostel_tests::Signal::TERM);
    first.finish(std::time::Duration::from_secs(5)).exits(1);
    bed.nspawn(&tree, ["-M", &two, "true"]).run().exits(0);
    // readers may share
    let first = bed.nspawn(&tree, ["--read-only", "-M", &one, "/probe", "say", "up", "then", "sleep"]).start();
    first.expect("up");
    bed.nspawn(&tree, ["--read-only", "-M", &two, "true"]).run().exits(0);
}

#[test]
fn resolv_conf_and_timezone() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.busybox();
    let host = std::fs::read_to_string("/etc/resolv.conf").expect("read");
    let mine = "nameserver 192.0.2.77\n";
    let reset = || {
        tree.remove("/etc/resolv.conf").write("/etc/resolv.conf", mine);
    };
    reset();
    bed.nspawn(&tree, ["--resolv-conf=off", "cat", "/etc/resolv.conf"]).run().exits(0).prints(mine);
    for mode in ["copy-host", "bind-host", "replace-host"] {
        reset();
        bed.nspawn(&tree, [&format!("--resolv-conf={mode}"), "cat", "/etc/resolv.conf"]).run().exits(0).prints(&host);
    }
    reset();
    bed.nspawn(&tree, ["--resolv-conf=delete", "sh", "-c", "ls /etc/resolv.conf || echo gone"]).run().exits(0).prints_with("gone");
    reset();
    bed.nspawn(&tree, ["--resolv-conf=auto", "--private-network", "cat", "/etc/resolv.conf"]).run().exits(0).prints(mine);
    tree.remove("/etc/localtime");
    bed.nspawn(&tree, ["--timezone=off", "ls", "/etc/localtime"]).run().exits(1);
    bed.nspawn(&tree, ["--timezone=copy", "sh", "-c", "[ -f /etc/localtime ] && [ ! -L /etc/localtime ] && echo copied"])
        .run()
        .exits(0)
        .prints("copied");
    bed.nspawn(&tree, ["--timezone=delete", "sh", "-c", "ls /etc/localtime || echo gone"]).run().exits(0).prints_with("gone");
}
