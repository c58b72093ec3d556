//! Disk images as trees: file systems, partition tables, what is thrown away, who may write, and what is refused.

use std::path::Path;
use std::time::{Duration, Instant};

use hostel_tests::{Bed, Part, Signal, eventually, has};

const ROOT: &str = "type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
const USR: &str = "type=8484680c-9521-48c6-9c11-b0720656f69e";
const HOME: &str = "type=933ac7e1-2eb4-4f13-b844-0e14e2aef915";
const SRV: &str = "type=3b8f8425-20e0-4f3b-907f-1a25a76f98e8";
const VAR: &str = "type=4d21b016-b534-45c2-a9fb-5c16e091fd2d";
const TMP: &str = "type=7ec6f557-3bc5-4aca-b293-16ef5df639d1";
const ESP: &str = "type=c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
const LINUX: &str = "type=0fc63daf-8483-4772-8e79-3d69d8477de4";

fn x86_64() -> bool {
    let yes = cfg!(target_arch = "x86_64") && has("sfdisk");
    if !yes {
        println!("skipped: the disks of this test are for x86-64, and made by sfdisk");
    }
    yes
}

fn bytes_of(path: &Path) -> u64 {
    // FNV-1a: enough to see a change.
    std::fs::read(path).expect("image").iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn every_file_system() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    for (kind, mib, writable) in [("ext4", 32, true), ("btrfs", 128, true), ("xfs", 300, true), ("erofs", 0, false), ("squashfs", 0, false)] {
        let Some(image) = bed.file_system(kind, tree.path(), mib) else { continue };
        let view = bed.nspawn_image(&image, ["/probe", "json"]).run().exits(0).view();
        assert_eq!(view.env("container_uuid").as_deref(), Some("01234567-89ab-cdef-0123-456789abcdef"), "{kind}");
        assert_eq!(view.mount_type("/"), kind);
        assert!(view.mount_has("/", "nodev"), "{kind}");
        let write = bed.nspawn_image(&image, ["sh", "-c", "touch /kept"]).run();
        assert_eq!(write.code, Some(if writable { 0 } else { 1 }), "{kind}: {}", write.describe());
        let seen = bed.nspawn_image(&image, ["sh", "-c", "ls /kept"]).run();
        assert_eq!(seen.code == Some(0), writable, "{kind}");
        // Owners are root's inside, whatever the ids outside.
        let mapped =
            bed.nspawn_image(&image, ["-U", "sh", "-c", "stat -c %u:%g /etc/passwd; read a b c < /proc/self/uid_map; echo $b"]).run().exits(0);
        let text = mapped.text();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("0:0"), "{kind}");
        assert_ne!(lines.next().map(str::trim), Some("0"), "{kind}: no user namespace");
    }
    bed.assert_clean();
}

#[test]
fn what_is_thrown_away_and_what_stays() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    let Some(image) = bed.file_system("ext4", tree.path(), 32) else { return };
    let before = bytes_of(&image);
    for (options, writable) in [
        (&["--read-only"][..], false),
        (&["--volatile=overlay"], true),
        (&["--volatile=state"], false),
        (&["--volatile=yes"], true),
        (&["--ephemeral"], true),
        (&["-U", "--volatile=overlay"], true),
        (&["-U", "--ephemeral"], true),
        (&["-U", "--read-only"], false),
    ] {
        let script = "touch /etc/new && echo written; ls /usr/bin/busybox";
        let out = bed.nspawn_image(&image, options.iter().copied().chain(["sh", "-c", script])).run().exits(0);
        assert_eq!(out.text().contains("written"), writable, "{options:?}: {}", out.describe());
        assert_eq!(bytes_of(&image), before, "{options:?} changed the image");
    }
    let state = bed.nspawn_image(&image, ["--volatile=state", "/probe", "json"]).run().exits(0).view();
    assert_eq!(state.mount_type("/var"), "tmpfs");
    let yes = bed.nspawn_image(&image, ["--volatile=yes", "/probe", "json"]).run();
    // The probe is not in /usr.
    assert_ne!(yes.code, Some(0));
    bed.assert_clean();
}

#[test]
fn an_ephemeral_machine_has_a_name_of_its_own_and_leaves_no_file() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    let Some(image) = bed.file_system("ext4", tree.path(), 32) else { return };
    let stem = image.file_stem().expect("name").to_string_lossy().into_owned();
    let count = || std::fs::read_dir(bed.dir()).expect("scratch").count();
    let before = count();
    let out = bed.nspawn_image(&image, ["-x", "sh", "-c", "cat /proc/sys/kernel/hostname"]).run().exits(0);
    let name = out.text().trim().to_owned();
    assert!(name.starts_with(&stem) && name.len() == stem.len() + 17, "{name}");
    assert_eq!(count(), before);
    let plain = bed.nspawn_image(&image, ["cat", "/proc/sys/kernel/hostname"]).run().exits(0);
    assert_eq!(plain.text().trim(), stem);
}

#[test]
fn a_disk_with_everything() {
    let Some(bed) = Bed::start() else { return };
    if !x86_64() {
        return;
    }
    let tree = bed.system();
    let usr = tree.at("/usr");
    let part = |name: &str| {
        let dir = bed.fresh(name);
        std::fs::write(dir.join(format!("this-is-{name}")), "").expect("mark");
        bed.file_system("ext4", &dir, 8).expect("mkfs.ext4")
    };
    let usr_fs = bed.file_system("ext4", &usr, 16).expect("mkfs.ext4");
    let root = bed.system();
    root.remove("/usr").remove("/srv");
    std::fs::create_dir_all(root.at("/efi")).expect("efi");
    let root_fs = bed.file_system("ext4", root.path(), 16).expect("mkfs.ext4");
    let (home, srv, var, tmp) = (part("home"), part("srv"), part("var"), part("tmp"));
    let esp = bed.file_system("vfat", Path::new("/"), 4).unwrap_or_else(|| bed.zeros("esp", 1 << 20));
    let read_only = format!("{HOME}, attrs=\"GUID:60\"");
    let disk = bed.disk(
        "gpt",
        &[
            Part { script: &read_only, content: &home },
            Part { script: USR, content: &usr_fs },
            Part { script: ESP, content: &esp },
            Part { script: ROOT, content: &root_fs },
            Part { script: SRV, content: &srv },
            Part { script: VAR, content: &var },
            Part { script: TMP, content: &tmp },
        ],
    );
    let marks = "for f in /home/this-is-home /srv/this-is-srv /var/this-is-var /var/tmp/this-is-tmp /usr/bin/busybox; do ls $f; done";
    for options in [&[][..], &["-U"], &["--volatile=overlay"], &["-U", "--volatile=overlay"], &["--ephemeral"]] {
        let out = bed.nspawn_image(&disk, options.iter().copied().chain(["sh", "-c", marks])).run().exits(0);
        assert_eq!(out.text().lines().count(), 5, "{options:?}: {}", out.describe());
    }
    let view = bed.nspawn_image(&disk, ["/probe", "json"]).run().exits(0).view();
    for place in ["/", "/usr", "/home", "/srv", "/var", "/var/tmp"] {
        assert_eq!(view.mount_type(place), "ext4", "{place}");
        assert!(view.mount_has(place, "nodev"), "{place}");
    }
    assert!(view.mount_has("/home", "ro") && !view.mount_has("/srv", "ro"));
    let ro = bed.nspawn_image(&disk, ["--read-only", "/probe", "json"]).run().exits(0).view();
    for place in ["/", "/usr", "/home", "/srv", "/var"] {
        assert!(ro.mount_has(place, "ro"), "{place}");
    }
    let over = bed.nspawn_image(&disk, ["--volatile=overlay", "sh", "-c", "touch /new /home/new /srv/new /var/new && echo all"]).run().exits(0);
    assert!(over.text().contains("all"));
    bed.nspawn_image(&disk, ["sh", "-c", "ls /srv/new"]).run().exits(1);
    // A policy that wants less of it.
    let less = bed.nspawn_image(&disk, ["--image-policy=root=unprotected:usr=unprotected", "/probe", "json"]).run().exits(0).view();
    assert_ne!(less.mount_type("/srv"), "ext4");
    bed.nspawn_image(&disk, ["--image-policy=root=encrypted", "true"]).run().fails().says("does not allow partition 4 (root) unprotected");
    bed.assert_clean();
}

#[test]
fn a_kept_machine_keeps_every_partition() {
    let Some(bed) = Bed::start() else { return };
    if !x86_64() {
        return;
    }
    let home = bed.fresh("home");
    std::fs::write(home.join("old"), "").expect("mark");
    let root_fs = bed.file_system("ext4", bed.system().path(), 16).expect("mkfs.ext4");
    let home_fs = bed.file_system("ext4", &home, 8).expect("mkfs.ext4");
    // mkfs takes over no owner and mode of the top.
    for field in ["gid 100", "mode 042775"] {
        let out = std::process::Command::new("debugfs").args(["-w", "-R", &format!("set_inode_field <2> {field}")]).arg(&home_fs).output();
        assert!(out.expect("debugfs").status.success());
    }
    let disk = bed.disk("gpt", &[Part { script: ROOT, content: &root_fs }, Part { script: HOME, content: &home_fs }]);
    let before = bytes_of(&disk);
    let name = bed.name();
    let run = |script: &str| bed.hostel(["run", "--keep", &name, "--tree"]).arg(&disk).args(["--", "sh", "-c", script]).run();
    run("echo one >/etc/new; echo two >/home/new; rm /home/old; stat -c %u:%g:%a /home").exits(0).prints("0:100:2775");
    run("cat /etc/new /home/new; ls /home/old 2>/dev/null; ls /home/new").exits(0).prints("one\ntwo\n/home/new");
    assert_eq!(bytes_of(&disk), before, "the image was written to");
    let inspected = bed.hostel(["inspect", &name]).run().exits(0).json();
    assert!(inspected["upper"]["files"].as_u64().is_some_and(|n| n >= 3), "{inspected}");
    bed.hostel(["rm", &name]).run().exits(0);
    assert!(!Path::new("/var/lib/hostel/machines").join(&name).exists());
    bed.assert_clean();
}

#[test]
fn usr_alone_gets_an_empty_root() {
    let Some(bed) = Bed::start() else { return };
    if !x86_64() {
        return;
    }
    let tree = bed.system();
    std::fs::copy(tree.at("/probe"), tree.at("/usr/bin/probe")).expect("probe");
    let Some(usr) = bed.file_system("squashfs", &tree.at("/usr"), 0) else { return };
    let disk = bed.disk("gpt", &[Part { script: USR, content: &usr }]);
    for options in [&[][..], &["-U"], &["--volatile=yes"]] {
        let view = bed.nspawn_image(&disk, options.iter().copied().chain(["/usr/bin/probe", "json"])).run().exits(0).view();
        assert_eq!((view.mount_type("/"), view.mount_type("/usr")), ("tmpfs", "squashfs"), "{options:?}");
    }
}

#[test]
fn one_linux_partition_and_an_mbr() {
    let Some(bed) = Bed::start() else { return };
    if !has("sfdisk") {
        return println!("skipped: no sfdisk");
    }
    let tree = bed.system();
    let Some(root) = bed.file_system("ext4", tree.path(), 16) else { return };
    let gpt = bed.disk("gpt", &[Part { script: LINUX, content: &root }]);
    bed.nspawn_image(&gpt, ["ls", "/probe"]).run().exits(0);
    let other = bed.zeros("other", 1 << 20);
    let mbr = bed.disk("dos", &[Part { script: "type=83", content: &other }, Part { script: "type=83, bootable", content: &root }]);
    bed.nspawn_image(&mbr, ["ls", "/probe"]).run().exits(0);
    let two = bed.disk("gpt", &[Part { script: LINUX, content: &root }, Part { script: LINUX, content: &root }]);
    bed.nspawn_image(&two, ["ls", "/probe"]).run().fails().says("2 Linux data partitions");
    // The copy of a damaged table.
    let mut bytes = std::fs::read(&gpt).expect("disk");
    bytes[512 + 40] ^= 1;
    std::fs::write(&gpt, bytes).expect("disk");
    let out = bed.hostel(["nspawn", "--register=no", "-i"]).arg(&gpt).args(["ls", "/probe"]).run().exits(0);
    assert!(out.errors().contains("the copy of the partition table is used"), "{}", out.describe());
}

#[test]
fn a_file_system_grows_into_its_partition() {
    let Some(bed) = Bed::start() else { return };
    if !x86_64() {
        return;
    }
    let tree = bed.system();
    for (kind, mib) in [("ext4", 16), ("btrfs", 128), ("xfs", 300)] {
        let Some(small) = bed.file_system(kind, tree.path(), mib) else { continue };
        let length = std::fs::metadata(&small).expect("image").len();
        // The partition is made larger than what is in it.
        std::fs::OpenOptions::new().write(true).open(&small).and_then(|f| f.set_len(length * 2)).expect("lengthen");
        let script = format!("{ROOT}, attrs=\"GUID:59\"");
        let disk = bed.disk("gpt", &[Part { script: &script, content: &small }]);
        let out = bed.hostel(["nspawn", "--register=no", "-i"]).arg(&disk).args(["sh", "-c", "stat -f -c '%b %S' /"]).run().exits(0);
        let text = out.text();
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|w| w.parse().ok()).collect();
        if out.errors().contains("grow root") && out.errors().contains("Operation not permitted") {
            println!("skipped: growing {kind} takes CAP_SYS_RESOURCE, which this process does not have");
            continue;
        }
        assert!(numbers[0] * numbers[1] > length * 3 / 2, "{kind}: {}", out.describe());
        let plain = bed.disk("gpt", &[Part { script: ROOT, content: &small }]);
        let out = bed.nspawn_image(&plain, ["sh", "-c", "stat -f -c '%b %S' /"]).run().exits(0);
        let numbers: Vec<u64> = out.text().split_whitespace().filter_map(|w| w.parse().ok()).collect();
        assert!(numbers[0] * numbers[1] <= length, "{kind} grew unasked");
    }
}

#[test]
fn one_writer_or_many_readers() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    let Some(image) = bed.file_system("ext4", tree.path(), 16) else { return };
    let name = |n: &str| format!("--machine={}{n}", bed.id());
    let writer = bed.nspawn_image(&image, [&name("w"), "/probe", "say", "up", "then", "sleep"]).start();
    writer.expect("up");
    bed.nspawn_image(&image, [&name("x"), "true"]).run().fails().says("it is in use by machine");
    bed.nspawn_image(&image, [&name("x"), "--read-only", "true"]).run().fails().says("it is in use");
    writer.signal(Signal::TERM);
    writer.finish(Duration::from_secs(5));
    let reader = bed.nspawn_image(&image, [&name("r"), "--read-only", "/probe", "say", "up", "then", "sleep"]).start();
    reader.expect("up");
    bed.nspawn_image(&image, [&name("s"), "--read-only", "true"]).run().exits(0);
    bed.nspawn_image(&image, [&name("s"), "--volatile=overlay", "true"]).run().exits(0);
    bed.nspawn_image(&image, [&name("s"), "--ephemeral", "true"]).run().exits(0);
    bed.nspawn_image(&image, [&name("s"), "true"]).run().fails().says("it is in use");
    reader.signal(Signal::TERM);
    reader.finish(Duration::from_secs(5));
    bed.nspawn_image(&image, [&name("s"), "true"]).run().exits(0);
    let locks = std::fs::read_dir(bed.dir()).expect("scratch").flatten().filter(|e| e.file_name().to_string_lossy().ends_with(".lck")).count();
    assert_eq!(locks, 0);
}

#[test]
fn a_killed_supervisor_leaves_no_device_and_the_image_starts_again() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    let Some(image) = bed.file_system("ext4", tree.path(), 16) else { return };
    for round in 0..3 {
        let machine = bed.nspawn_image(&image, ["sh", "-c", "echo up; touch /round$0; sleep 60"]).start();
        machine.expect("up");
        assert!(bed.loop_devices() > 0);
        machine.signal(Signal::KILL);
        machine.finish(Duration::from_secs(5));
        assert!(eventually(Duration::from_secs(3), || bed.loop_devices() == 0), "round {round}: {:?}", bed.leftovers());
    }
    bed.nspawn_image(&image, ["true"]).run().exits(0);
    bed.clean();
}

#[test]
fn a_machine_on_an_image_reboots() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    let script = "if [ -e /second ]; then echo again; exit 7; fi; touch /second; /usr/bin/busybox reboot -f";
    for kind in ["ext4", "btrfs"] {
        let Some(image) = bed.file_system(kind, tree.path(), 128) else { continue };
        for options in [&[][..], &["-U"], &["-x"]] {
            let out = bed.nspawn_image(&image, options.iter().copied().chain(["sh", "-c", script])).run().exits(7);
            assert!(out.text().contains("again"), "{kind} {options:?}: {}", out.describe());
            bed.nspawn_image(&image, ["sh", "-c", "rm -f /second"]).run().exits(0);
        }
    }
}

#[test]
fn native_verbs_take_images() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    tree.init_is_probe("say booted then exit 0");
    let Some(image) = bed.file_system("ext4", tree.path(), 32) else { return };
    let before = bytes_of(&image);
    let run = bed.hostel(["run", "--tree"]).arg(&image).args(["--", "sh", "-c", "touch /etc/x && stat -c %u /etc/passwd"]).run().exits(0);
    assert_eq!(run.text().trim(), "0");
    assert_eq!(bytes_of(&image), before, "`run` leaves the tree as it is");
    bed.hostel(["boot"]).arg(&image).run().prints_with("booted");
    // By its bare name, in the directory it is in.
    let name = image.file_name().expect("name");
    bed.hostel(["boot"]).arg(name).run().prints_with("booted");
    bed.hostel(["plan", "boot"]).arg(name).run().exits(0).prints_with("the whole disk, ext4");
    bed.hostel(["boot", "-i"]).arg(&image).run().prints_with("booted");
}

#[test]
fn several_of_one_image_at_once() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    for (kind, mib) in [("ext4", 32), ("btrfs", 128), ("xfs", 300), ("erofs", 0)] {
        let Some(image) = bed.file_system(kind, tree.path(), mib) else { continue };
        for option in ["-x", "--read-only"] {
            let machine = |n: u32| format!("--machine={}{n}", bed.id());
            let first = bed.nspawn_image(&image, [&*machine(1), option, "/probe", "say", "up", "then", "sleep"]).start();
            first.expect("up");
            bed.nspawn_image(&image, [&*machine(2), option, "ls", "/probe"]).run().exits(0);
            first.signal(Signal::TERM);
            first.finish(Duration::from_secs(5));
        }
    }
}

#[test]
fn an_error_in_an_image_never_panics_the_host() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    let Some(image) = bed.file_system("ext4", tree.path(), 32) else { return };
    let out = std::process::Command::new("tune2fs").args(["-e", "panic"]).arg(&image).output().expect("tune2fs");
    assert!(out.status.success());
    for options in [&[][..], &["--read-only"], &["-x"]] {
        let view = bed.nspawn_image(&image, options.iter().copied().chain(["/probe", "json"])).run().exits(0).view();
        assert!(view.mount_has("/", "errors=remount-ro") || !view.mount_has("/", "errors=panic"), "{options:?}: {:?}", view.mount("/"));
    }
}

#[test]
fn an_image_is_found_by_its_name() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    let Some(image) = bed.file_system("ext4", tree.path(), 16) else { return };
    let name = bed.name();
    let place = Path::new("/var/lib/machines").join(format!("{name}.raw"));
    std::fs::create_dir_all("/var/lib/machines").expect("make /var/lib/machines");
    std::fs::copy(&image, &place).expect("install image");
    let by_name = bed.hostel(["nspawn", "-q", "--register=no", "-M", &name, "cat", "/proc/sys/kernel/hostname"]).run();
    let native = bed.hostel(["run", "--tree", &name, "--", "ls", "/probe"]).run();
    let _ = std::fs::remove_file(&place);
    assert_eq!(by_name.exits(0).text().trim(), name);
    native.exits(0);
}

#[test]
fn the_newest_of_a_versioned_directory_and_a_directory_of_it_as_root() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    std::fs::create_dir_all(tree.at("/deploy/sysroot")).expect("mkdir");
    tree.write("/marker", "old").write("/deploy/marker", "new");
    for name in ["usr", "etc", "bin", "sbin", "lib", "probe"] {
        if tree.at(name).symlink_metadata().is_ok() {
            let copied = std::process::Command::new("cp").arg("-a").arg(tree.at(name)).arg(tree.at("/deploy")).status();
            assert!(copied.is_ok_and(|s| s.success()), "copy {name}");
        }
    }
    let Some(image) = bed.file_system("ext4", tree.path(), 32) else { return };
    let versions = bed.fresh("versions").join("os.raw.v");
    std::fs::create_dir_all(&versions).expect("mkdir");
    bed.nspawn_image(&versions, ["true"]).run().exits(1).says("no version");
    std::fs::write(versions.join("os_9.raw"), "no disk").expect("write");
    std::os::unix::fs::symlink(&image, versions.join("os_10.raw")).expect("link");
    let pivot = "--pivot-root=/deploy:/sysroot";
    let script = "hostname; cat /marker /sysroot/marker; echo; touch /here /sysroot/here && echo written";
    for users in ["--private-users=no", "-U"] {
        for options in [&[users, pivot, "--volatile=overlay"][..], &[users, pivot, "--ephemeral", "-M", "os_10"], &[users, pivot]] {
            let words = options.iter().copied().chain(["sh", "-c", script]);
            bed.nspawn_image(&versions, words).run().exits(0).prints("os_10\nnewold\nwritten");
        }
    }
    bed.nspawn_image(&versions, ["sh", "-c", "ls /here /deploy/here"]).run().exits(0);
    bed.nspawn_image(&versions, ["--pivot-root=/none", "true"]).run().exits(1).says("/none");
    bed.assert_clean();
}

#[test]
fn a_block_device() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    let Some(image) = bed.file_system("ext4", tree.path(), 16) else { return };
    let out = std::process::Command::new("losetup").args(["--find", "--show"]).arg(&image).output().expect("losetup");
    let device = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let ends = |options: &[&str]| bed.nspawn_image(Path::new(&device), options.iter().copied().chain(["-M", bed.id(), "ls", "/probe"])).run();
    let (plain, read_only, ephemeral) = (ends(&[]), ends(&["--read-only"]), ends(&["-x"]));
    let _ = std::process::Command::new("losetup").args(["-d", &device]).status();
    for out in [plain, read_only, ephemeral] {
        out.exits(0);
    }
}

/// Disks that lie; none is used, none hangs, none leaves a device.
#[test]
fn hostile_images_are_refused_at_once() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    let Some(root) = bed.file_system("ext4", tree.path(), 16) else { return };
    if !has("sfdisk") {
        return println!("skipped: no sfdisk");
    }
    let disk = bed.disk("gpt", &[Part { script: LINUX, content: &root }]);
    let good = std::fs::read(&disk).expect("disk");
    let save = |name: &str, bytes: &[u8]| {
        let path = bed.dir().join(name);
        std::fs::write(&path, bytes).expect("write image");
        path
    };
    let changed = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        save(name, &bytes)
    };
    let last = good.len() - 512;
    let headers = |bytes: &mut Vec<u8>, change: &dyn Fn(&mut [u8])| {
        for at in [512, last] {
            change(&mut bytes[at..at + 92]);
            bytes[at + 16..at + 20].fill(0);
            let crc = crc32(&bytes[at..at + 92]);
            bytes[at + 16..at + 20].copy_from_slice(&crc.to_le_bytes());
        }
    };
    let entries = |bytes: &mut Vec<u8>, change: &dyn Fn(&mut [u8])| {
        for at in [1024, good.len() - 33 * 512] {
            change(&mut bytes[at..at + 16384]);
        }
        let crc = crc32(&bytes[1024..1024 + 16384]);
        headers(bytes, &|h| h[88..92].copy_from_slice(&crc.to_le_bytes()));
    };
    let noise: Vec<u8> = (0..1u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let huge = bed.zeros("huge", 1 << 42);
    let fifo = bed.dir().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("mkfifo");
    let mut damaged = std::fs::read(&root).expect("image");
    damaged[2048..65536].fill(0xff);
    let mut truncated = std::fs::read(&root).expect("image");
    truncated.truncate(1 << 20);
    let cases = [
        save("zero", &vec![0; 1 << 20]),
        save("random", &noise),
        save("short", &[0; 100]),
        save("empty", &[]),
        huge,
        fifo,
        changed("bad-crc", &|b| (b[512 + 60] ^= 1, b[last + 60] ^= 1).0),
        changed("bad-entries-crc", &|b| (b[1024 + 60] ^= 1, b[last - 32 * 512 + 60] ^= 1).0),
        changed("many-entries", &|b| headers(b, &|h| h[80..84].fill(0xff))),
        changed("huge-entries", &|b| headers(b, &|h| h[84..88].copy_from_slice(&0x8000_0000u32.to_le_bytes()))),
        changed("entries-beyond", &|b| headers(b, &|h| h[72..80].fill(0xff))),
        changed("partition-beyond", &|b| entries(b, &|e| e[40..48].copy_from_slice(&(1u64 << 40).to_le_bytes()))),
        changed("overlapping", &|b| {
            entries(b, &|e| {
                let first = e[..128].to_vec();
                e[128..256].copy_from_slice(&first);
            })
        }),
        changed("nothing-in-it", &|b| b[1 << 20..(1 << 20) + 4096].fill(0)),
        save("ext4-damaged", &damaged),
        save("ext4-truncated", &truncated),
        save("qcow2", &[b"QFI\xfb".as_slice(), &[0; 8192]].concat()),
    ];
    for image in &cases {
        for options in [&[][..], &["--read-only"]] {
            let start = Instant::now();
            let out = bed.nspawn_image(image, options.iter().copied().chain(["-M", bed.id(), "true"])).limit(Duration::from_secs(10)).run();
            let took = start.elapsed();
            assert_eq!(out.code, Some(1), "{} {options:?}: {}", image.display(), out.describe());
            let said = out.errors();
            assert!(said.contains("systemd-nspawn: ") && said.lines().count() <= 2, "{}: {said}", image.display());
            assert!(took < Duration::from_secs(1) || std::env::var_os("HOSTEL_SLOW").is_some(), "{}: {took:?}", image.display());
        }
    }
    assert!(eventually(Duration::from_secs(3), || bed.loop_devices() == 0), "{:?}", bed.leftovers());
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, b| (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 }))
}

#[test]
fn what_cannot_be_verified_is_not_started() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.system();
    let Some(image) = bed.file_system("erofs", tree.path(), 0) else { return };
    let hash = "ab".repeat(32);
    let option = format!("--root-hash={hash}");
    bed.nspawn_image(&image, [&option, "true"]).run().fails().says("no hash tree");
    let stem = image.with_extension("");
    std::fs::write(stem.with_extension("verity"), [0u8; 4096]).expect("write");
    let refused = bed.nspawn_image(&image, [&option, "true"]).run().fails();
    let without_mapper = !Path::new("/dev/mapper/control").exists();
    if without_mapper {
        assert!(refused.errors().contains("no device-mapper"), "{}", refused.describe());
    }
    // The same from a file beside it, and from an attribute.
    std::fs::write(stem.with_extension("roothash"), &hash).expect("write");
    bed.nspawn_image(&image, ["true"]).run().fails().says("verify root");
    std::fs::remove_file(stem.with_extension("roothash")).expect("remove");
    bed.nspawn_image(&image, ["true"]).run().exits(0);
    bed.nspawn_image(&image, ["--image-policy=root=verity", "true"]).run().fails().says("does not allow the disk unprotected");
    bed.nspawn(&tree, [&option, "true"]).run().fails().says("only a disk image can be verified");
    bed.nspawn_image(&image, ["--root-hash=12", "true"]).run().fails().says("parse --root-hash=");
    // LUKS, with nobody to type its passphrase.
    let luks = bed.dir().join("luks");
    std::fs::write(&luks, [b"LUKS\xba\xbe\0\x02".as_slice(), &[0; 1 << 16]].concat()).expect("write");
    bed.nspawn_image(&luks, ["true"]).run().fails().says("decrypt root of the image");
    bed.nspawn_image(&luks, ["--no-ask-password", "true"]).run().fails().says("decrypt root of the image: its passphrase has to be asked for");
    assert_eq!(bed.loop_devices(), 0);
}
