//! Against GNU tar in both directions, and what is left when an import does not come to its end.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::compress::Format;
use crate::export::{self, Output};
use crate::images::find;
use crate::walk::testing::{FileSystem, Scratch, describe, is_root, names, sample, sh};

fn with<T>(home: &Path, force: bool, run: impl FnOnce(&Options<'_>) -> T) -> T {
    let stop = AtomicBool::new(false);
    let locks = home.with_file_name("locks");
    let search: [&Path; 1] = [home];
    let places = Places { search: &search, home, settings: &[], autostart: None, locks: &locks };
    run(&Options { places, force, read_only: false, watch: Watch { progress: &|_| (), stop: &stop } })
}

fn name(text: &str) -> MachineName {
    MachineName::new(text).unwrap()
}

/// The tree all directions carry: no sockets, no labels, no attributes an import does not take.
fn portable(tree: &Path) {
    sample(tree);
    let dir = open::directory(tree).unwrap();
    for (file, attribute) in [(c"usr", c"trusted.overlay.opaque"), (c"abs", c"trusted.link"), (c"fifo", c"trusted.fifo")] {
        hostel_sys::tree::xattr::remove(dir.as_fd(), file, attribute).unwrap();
    }
    std::fs::remove_file(tree.join("socket")).unwrap();
    let long = tree.join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&long).unwrap();
    std::fs::write(long.join("f".repeat(200)), "long").unwrap();
    sh(
        r#"cd "$1"; ln -s "$(printf 'x%.0s' {1..300})" longlink; ln "$(printf 'd%.0s' {1..120})/$(printf 'e%.0s' {1..120})/$(printf 'f%.0s' {1..200})" longhard"#,
        &[tree],
    );
    sh(
        r#"cd "$1"; chown 3000000:4000000 zero; touch -d '1950-02-03 04:05:06.5' zero; truncate -s 30M huge; printf end | dd of=huge bs=1 seek=20000000 conv=notrunc status=none; touch -d @0 "$1""#,
        &[tree],
    );
}

fn same(a: &str, b: &str, what: &str) {
    for (a, b) in a.lines().zip(b.lines()) {
        assert_eq!(a, b, "{what}");
    }
    assert_eq!(a.lines().count(), b.lines().count(), "{what}");
}

#[test]
fn what_gnu_tar_writes_is_read() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("fromgnu");
    let (tree, home) = (scratch.path().join("tree"), scratch.path().join("home"));
    portable(&tree);
    let before = describe(&tree);
    for (form, options) in [
        ("posix", "--format=posix --xattrs --acls --sparse"),
        ("posix", "--format=posix --xattrs --acls --sparse --sparse-version=0.0"),
        ("posix", "--format=posix --xattrs --acls --sparse --sparse-version=0.1 --gzip"),
        ("posix", "--format=posix --xattrs --xattrs-include=* --sparse --zstd"),
        ("gnu", "--format=gnu --sparse --xz"),
    ] {
        let archive = scratch.path().join("archive");
        sh(&format!(r#"cd "$1"; tar --numeric-owner {options} -cf "$2" ."#), &[&tree, &archive]);
        with(&home, true, |options| tar(File::open(&archive).unwrap(), &archive, &name("image"), options)).unwrap();
        let image = home.join("image");
        if form == "posix" {
            same(&before, &describe(&image), options);
        } else {
            // No times below a second, no attributes in it; names and contents all the same.
            sh(
                r#"diff <(cd "$1"; find . -printf '%P %y %m %U %G %s %Ts %n %l\n' | sort) <(cd "$2"; find . -printf '%P %y %m %U %G %s %Ts %n %l\n' | sort)"#,
                &[&tree, &image],
            );
        }
        assert!(rustix::fs::stat(image.join("huge")).unwrap().st_blocks < 1000);
        assert_eq!(names(&home), ["image"]);
    }
}

#[test]
fn what_we_write_gnu_tar_reads_and_so_do_we() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("togn");
    let home = scratch.path().join("home");
    std::fs::create_dir(&home).unwrap();
    portable(&home.join("image"));
    let before = describe(&home.join("image"));
    let stop = AtomicBool::new(false);
    let watch = Watch { progress: &|_| (), stop: &stop };
    for (format, flag) in [(Format::Plain, ""), (Format::Gzip, "-z"), (Format::Xz, "-J"), (Format::Zstd, "--zstd"), (Format::Bzip2, "-j")] {
        let (archive, out) = (scratch.path().join("archive"), scratch.path().join("out"));
        let image = find(&name("image"), &[&home]).unwrap();
        export::tar(&image, &Output::File(&archive, true), format, watch).unwrap();
        sh(
            &format!(r#"rm -rf "$2"; mkdir "$2"; tar --numeric-owner --xattrs --xattrs-include='*' --same-owner -p {flag} -xf "$1" -C "$2""#),
            &[&archive, &out],
        );
        same(&before, &describe(&out), flag);
        with(&home, true, |options| tar(File::open(&archive).unwrap(), &archive, &name("again"), options)).unwrap();
        same(&before, &describe(&home.join("again")), flag);
        let mut left = names(scratch.path());
        left.retain(|n| n != "locks");
        assert_eq!(left, ["archive", "home", "out"]);
    }
    // A file that is there is not touched unless that was said.
    let image = find(&name("image"), &[&home]).unwrap();
    let error = export::tar(&image, &Output::File(&scratch.path().join("archive"), false), Format::Plain, watch).unwrap_err();
    assert_eq!(error.cause, Cause::Os(Errno::EXIST));
}

#[test]
fn more_than_eight_gibibytes() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("huge");
    let (tree, home, archive) = (scratch.path().join("tree"), scratch.path().join("home"), scratch.path().join("a.tar"));
    sh(r#"mkdir "$1"; cd "$1"; truncate -s 20G huge; printf end | dd of=huge bs=1 seek=19000000000 conv=notrunc status=none"#, &[&tree]);
    let check = |path: PathBuf| {
        let stat = rustix::fs::stat(&path).unwrap();
        assert!(stat.st_size == 20 << 30 && stat.st_blocks < 1000, "{stat:?}");
        let mut end = [0u8; 3];
        rustix::io::pread(File::open(path).unwrap(), &mut end, 19_000_000_000).unwrap();
        assert_eq!(&end, b"end");
    };
    for options in ["--format=posix", "--format=gnu", "--format=posix --sparse-version=0.0"] {
        sh(&format!(r#"tar -C "$1" --sparse {options} -cf "$2" ."#), &[&tree, &archive]);
        with(&home, true, |options| tar(File::open(&archive).unwrap(), &archive, &name("image"), options)).unwrap();
        check(home.join("image/huge"));
    }
    let stop = AtomicBool::new(false);
    let image = find(&name("image"), &[&home]).unwrap();
    export::tar(&image, &Output::File(&archive, true), Format::Plain, Watch { progress: &|_| (), stop: &stop }).unwrap();
    sh(r#"mkdir "$1"/out; tar -C "$1"/out -xf "$2""#, &[scratch.path(), &archive]);
    check(scratch.path().join("out/huge"));
}

#[test]
fn a_system_in_one_directory_becomes_the_top() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("hoist");
    let (tree, home) = (scratch.path().join("tree"), scratch.path().join("home"));
    sh(
        r#"mkdir -p "$1"/sys/usr/lib "$1"/sys/sys "$1"/plain/data; echo ID=x > "$1"/sys/usr/lib/os-release; echo x > "$1"/sys/sys/f; chmod 751 "$1"/sys; chown 7:8 "$1"/sys
           cd "$1"; tar -cf ../sys.tar sys; tar -cf ../plain.tar plain; cd sys; tar -cf ../../top.tar ."#,
        &[&tree],
    );
    for (archive, want) in [("sys", vec!["sys", "usr"]), ("top", vec!["sys", "usr"]), ("plain", vec!["plain"])] {
        let file = scratch.path().join(format!("{archive}.tar"));
        with(&home, false, |options| tar(File::open(&file).unwrap(), &file, &name(archive), options)).unwrap();
        assert_eq!(names(&home.join(archive)), want, "{archive}");
    }
    let stat = rustix::fs::stat(home.join("sys")).unwrap();
    assert_eq!((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid), (0o751, 7, 8));
    assert!(home.join("sys/sys/f").exists());
}

#[test]
fn disk_images_keep_their_holes() {
    for kind in ["ext4", "btrfs"] {
        let Some(fs) = FileSystem::new(kind, 200) else { continue };
        let (home, disk) = (fs.at.join("home"), fs.at.join("disk"));
        sh(
            r#"truncate -s 60M "$1"; printf middle | dd of="$1" bs=1 seek=30000000 conv=notrunc status=none; cp --sparse=never "$1" "$1".full; gzip -k "$1".full; xz -0 -k "$1".full"#,
            &[&disk],
        );
        for from in ["disk", "disk.full.gz", "disk.full.xz"] {
            let from = fs.at.join(from);
            let size = with(&home, true, |options| raw(File::open(&from).unwrap(), &from, &name("d"), options)).unwrap();
            assert_eq!(size, 60 << 20);
            sh(r#"cmp "$1" "$2""#, &[&disk, &home.join("d.raw")]);
            assert!(rustix::fs::stat(home.join("d.raw")).unwrap().st_blocks * 512 < 1 << 20, "{kind} {}", from.display());
            assert_eq!(names(&home), ["d.raw"]);
        }
        let stop = AtomicBool::new(false);
        let watch = Watch { progress: &|_| (), stop: &stop };
        let image = find(&name("d"), &[&home]).unwrap();
        for format in [Format::Plain, Format::Zstd] {
            let out = fs.at.join("out");
            assert_eq!(export::raw(&image, &Output::File(&out, true), format, watch).unwrap(), 60 << 20);
            sh(if format == Format::Plain { r#"cmp "$1" "$2""# } else { r#"zstd -dqc "$2" | cmp "$1" -"# }, &[&disk, &out]);
        }
    }
    let scratch = Scratch::new("formats");
    for (bytes, what) in [(&b"QFI\xfbxxxxxxxx"[..], "qcow2"), (b"KDMVxxxxxxx", "VMDK"), (b"", "there is nothing in it")] {
        let file = scratch.path().join("x");
        std::fs::write(&file, bytes).unwrap();
        let home = scratch.path().join("home");
        let error = with(&home, false, |options| raw(File::open(&file).unwrap(), &file, &name("x"), options)).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert!(names(&home).is_empty());
    }
}

#[test]
fn what_is_there_stays_until_there_is_something_in_its_place() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("force");
    let (home, dir) = (scratch.path().join("home"), scratch.path().join("dir"));
    sh(
        r#"mkdir -p "$1"/old "$2" "${1%/*}"/locks; echo old > "$1"/old/f; echo new > "$2"/f; cd "$2"; tar -cf ../good.tar .; head -c 700 ../good.tar > ../bad.tar"#,
        &[&home, &dir],
    );
    let import = |file: &str, force: bool| {
        let file = scratch.path().join(file);
        with(&home, force, |options| tar(File::open(&file).unwrap(), &file, &name("old"), options))
    };
    let content = || std::fs::read_to_string(home.join("old/f")).unwrap();
    assert!(import("good.tar", false).unwrap_err().to_string().contains("there is one already"));
    assert!(import("bad.tar", true).is_err());
    assert_eq!(content(), "old\n");
    // Not while it runs.
    let tree = open::directory(&home.join("old")).unwrap();
    let locks = scratch.path().join("locks");
    let held = crate::locks::take(&locks, tree.as_fd(), &home, crate::locks::Lock::Shared, &name("m")).unwrap();
    assert!(matches!(import("good.tar", true).unwrap_err().cause, Cause::Busy { .. }));
    drop(held);
    import("good.tar", true).unwrap();
    assert_eq!(content(), "new\n");
    std::fs::write(dir.join("f"), "newer\n").unwrap();
    with(&home, true, |options| directory(&dir, &name("old"), options)).unwrap();
    assert_eq!(content(), "newer\n");
    with(&home, false, |options| directory(&dir, &name("second"), options)).unwrap();
    assert_eq!(names(&home), ["old", "second"]);
}

#[test]
fn what_is_only_hidden_by_the_new_one_stays() {
    let scratch = Scratch::new("vendor");
    let at = |name: &str| scratch.path().join(name);
    let (first, home, vendor, dir) = (at("first"), at("home"), at("vendor"), at("dir"));
    sh(
        r#"mkdir -p "$1" "$2" "$3"/os "$4" "${1%/*}"/locks; echo vendor > "$3"/os/f; truncate -s 1M "$3"/disk.raw; echo new > "$4"/f; truncate -s 2M "$4".raw"#,
        &[&first, &home, &vendor, &dir],
    );
    let (search, locks, stop) = ([first.as_path(), &home, &vendor], at("locks"), AtomicBool::new(false));
    let places = Places { search: &search, home: &home, settings: &[], autostart: None, locks: &locks };
    let options = Options { places, force: true, read_only: false, watch: Watch { progress: &|_| (), stop: &stop } };
    directory(&dir, &name("os"), &options).unwrap();
    raw(File::open(at("dir.raw")).unwrap(), &dir, &name("disk"), &options).unwrap();
    assert_eq!(std::fs::read_to_string(vendor.join("os/f")).unwrap(), "vendor\n");
    assert!(vendor.join("disk.raw").exists());
    assert_eq!((std::fs::read_to_string(home.join("os/f")).unwrap(), names(&home)), ("new\n".into(), vec!["disk.raw".into(), "os".into()]));
    // One that would hide the new one goes.
    sh(r#"mkdir "$1"/os"#, &[&first]);
    sh(r#"rm -r "$1"/os"#, &[&home]);
    directory(&dir, &name("os"), &options).unwrap();
    assert!(names(&first).is_empty() && home.join("os/f").exists());
}

#[test]
fn full_disks_and_stops_leave_nothing() {
    let scratch = Scratch::new("fullimport");
    let archive = scratch.path().join("a.tar");
    sh(
        r#"mkdir "$1"; for i in {1..60}; do mkdir "$1"/d$i; head -c 200000 /dev/urandom > "$1"/d$i/f; done; tar -C "$1" -cf "$2" .; truncate -s 50M "$2".raw; head -c 9M /dev/urandom >> "$2".raw; gzip "$2".raw"#,
        &[&scratch.path().join("t"), &archive],
    );
    for megabytes in [1, 2, 4, 7] {
        let Some(fs) = FileSystem::new("tmpfs", megabytes) else { return };
        let home = fs.at.join("home");
        for is_raw in [false, true] {
            let file = if is_raw { scratch.path().join("a.tar.raw.gz") } else { archive.clone() };
            let input = File::open(&file).unwrap();
            let error =
                with(&home, false, |o| if is_raw { raw(input, &file, &name("x"), o).map(drop) } else { tar(input, &file, &name("x"), o).map(drop) });
            let error = error.unwrap_err();
            assert!(matches!(error.cause, Cause::NoSpace { .. }), "{error}");
            assert!(names(&home).is_empty(), "{:?}", names(&home));
        }
    }
    let Some(fs) = FileSystem::new("tmpfs", 100) else { return };
    let home = fs.at.join("home");
    let stop = AtomicBool::new(false);
    let search: [&Path; 1] = [&home];
    let places = Places { search: &search, home: &home, settings: &[], autostart: None, locks: &fs.at };
    let progress = |done: u64| stop.store(done > 3_000_000, std::sync::atomic::Ordering::Relaxed);
    let options = Options { places, force: false, read_only: false, watch: Watch { progress: &progress, stop: &stop } };
    let error = tar(File::open(&archive).unwrap(), &archive, &name("x"), &options).unwrap_err();
    assert_eq!(error.cause, Cause::Os(Errno::CANCELED), "{error}");
    assert!(names(&home).is_empty());
}

#[test]
fn names_from_files() {
    for (from, want) in [
        ("/tmp/debian.tar.xz", Some("debian")),
        ("debian-12.raw.zst", Some("debian-12")),
        ("https://example.org/a/b/Fedora-41.x86_64.raw.xz?x=y", Some("Fedora-41.x86_64")),
        ("x.tgz", Some("x")),
        ("/", None),
        (".tar", None),
        ("a b.tar", None),
    ] {
        assert_eq!(name_from(from).map(|n| n.as_str().to_owned()).as_deref(), want, "{from}");
    }
}
