use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::copy::{Method, Progress};
use crate::error::Cause;
use crate::walk::testing::{FileSystem, Scratch, describe, is_root, names, sample, sh};

/// Directories of one test's own.
struct Own {
    scratch: Scratch,
    paths: [PathBuf; 4],
}

impl Own {
    fn new(tag: &str) -> Self {
        let scratch = Scratch::new(tag);
        let at = |name: &str| scratch.path().join(name);
        let own = Own { paths: [at("home"), at("vendor"), at("etc"), at("locks")], scratch };
        own.paths.iter().for_each(|p| std::fs::create_dir(p).unwrap());
        own
    }
    fn with<T>(&self, home: &Path, run: impl FnOnce(&Places<'_>) -> T) -> T {
        let [_, vendor, etc, locks] = &self.paths;
        run(&Places { search: &[home, vendor], home, settings: &[etc], autostart: Some(&etc.join("autostart")), locks })
    }
    fn run<T>(&self, run: impl FnOnce(&Places<'_>) -> T) -> T {
        self.with(&self.paths[0].clone(), run)
    }
}

fn name(text: &str) -> MachineName {
    MachineName::new(text).unwrap()
}

fn listed(home: &Path, hidden: bool) -> Vec<String> {
    list(&[home], hidden).unwrap().into_iter().map(|i| format!("{}:{}", i.name, i.type_word())).collect()
}

#[test]
fn lists_what_is_an_image() {
    let own = Own::new("list");
    let [home, vendor, ..] = &own.paths;
    sh(
        r#"cd "$1"; mkdir tree .hidden .#hostel-import-0; truncate -s 5M disk.raw; touch notes.txt plain .#tree.lck; ln -s nowhere dangling
           mkdir 'bad name' -- -dash; ln -s tree link; truncate -s 1M .raw-cache.raw; mkfifo pipe.raw; mkdir "$2"/tree "$2"/only"#,
        &[home, vendor],
    );
    let shown = |hidden| list(&[home, vendor, Path::new("/no/such")], hidden).unwrap();
    let words = |images: Vec<Image>| images.into_iter().map(|i| format!("{} {}", i.name, i.type_word())).collect::<Vec<_>>();
    assert_eq!(words(shown(false)), ["disk raw", "link directory", "only directory", "tree directory"]);
    assert_eq!(
        words(shown(true)),
        [".#hostel-import-0 directory", ".hidden directory", ".raw-cache raw", "disk raw", "link directory", "only directory", "tree directory"]
    );
    let disk = find(&name("disk"), &[home]).unwrap();
    assert_eq!((disk.limit, disk.usage, disk.read_only), (Some(5 << 20), Some(0), false));
    assert!(disk.modified.is_some() && disk.path == home.join("disk.raw"));
    assert_eq!(find(&name("tree"), &[home, vendor]).unwrap().path, home.join("tree"));
    let error = find(&name("none"), &[home]).unwrap_err().to_string();
    assert_eq!(error, format!("find image none: there is none in {} and its like", home.display()));
    std::fs::write(home.join("tree/f"), vec![1u8; 100_000]).unwrap();
    std::fs::hard_link(home.join("tree/f"), home.join("tree/g")).unwrap();
    let usage = of_tree(&home.join("tree")).unwrap();
    assert!((100_000..130_000).contains(&usage), "{usage}");
}

#[test]
fn clones_have_contents_and_settings() {
    if !is_root() {
        return;
    }
    let own = Own::new("clone");
    let [home, _, etc, _] = &own.paths;
    sample(&home.join("a"));
    sh(
        r#"echo s > "$2"/a.nspawn; echo t > "$1"/a.nspawn; head -c 3M /dev/urandom > "$1"/d.raw; echo h > "$1"/d.roothash; echo mine > "$2"/e.nspawn
           echo theirs > "$2"/d.nspawn; chmod 444 "$1"/d.raw"#,
        &[home, etc],
    );
    let before = describe(&home.join("a"));
    own.run(|places| {
        let told = AtomicU64::new(0);
        let tell = |p: Progress| {
            told.fetch_max(p.bytes, Ordering::Relaxed);
        };
        clone(places, &name("a"), &name("b"), Some(&tell)).unwrap();
        assert_eq!(before, describe(&home.join("b")));
        assert!(told.into_inner() > 0);
        assert_eq!(clone(places, &name("d"), &name("e"), None).unwrap(), Method::Bytes);
        for (old, new, what) in [("a", "b", "there is one already"), ("none", "c", "there is none"), ("a", "e", "there is one already")] {
            let error = clone(places, &name(old), &name(new), None).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    });
    let read = |path: PathBuf| std::fs::read(path).unwrap();
    assert_eq!(read(home.join("d.raw")), read(home.join("e.raw")));
    assert_eq!(
        (read(etc.join("b.nspawn")), read(home.join("b.nspawn")), read(home.join("e.roothash"))),
        (b"s\n".into(), b"t\n".into(), b"h\n".into())
    );
    assert_eq!(read(etc.join("e.nspawn")), b"mine\n", "what somebody wrote for a name stays");
    assert_eq!(names(home), ["a", "a.nspawn", "b", "b.nspawn", "d.raw", "d.roothash", "e.raw", "e.roothash"]);
}

#[test]
fn renames_with_everything_that_goes_along() {
    let own = Own::new("rename");
    let [home, vendor, etc, locks] = &own.paths;
    sh(
        r#"cd "$1"; mkdir a; truncate -s 1M d.raw; for s in roothash roothash.p7s verity nspawn; do echo $s > d.$s; done; echo x > a.nspawn
           echo y > "$2"/a.nspawn; mkdir "$3"/taken; echo z > "$2"/blocked.nspawn"#,
        &[home, etc, vendor],
    );
    own.run(|places| {
        let refused = |old: &str, new: &str| rename(places, &name(old), &name(new)).unwrap_err();
        assert!(refused("a", "taken").to_string().contains("there is one already"));
        assert!(refused("a", "d").to_string().contains("there is one already"));
        assert_eq!(refused("a", "blocked").cause, Cause::Os(Errno::EXIST));
        assert!(refused("none", "c").to_string().contains("there is none"));
        let tree = open::directory(&home.join("a")).unwrap();
        let held = crate::locks::take(locks, tree.as_fd(), &home.join("a"), crate::locks::Lock::Shared, &name("runs")).unwrap();
        assert!(matches!(refused("a", "b").cause, Cause::Busy { .. }));
        assert!(matches!(remove(places, &name("a")).unwrap_err().cause, Cause::Busy { .. }));
        drop(held);
        assert_eq!(names(home), ["a", "a.nspawn", "d.nspawn", "d.raw", "d.roothash", "d.roothash.p7s", "d.verity"]);
        // A killed rename left second names.
        std::fs::hard_link(home.join("a.nspawn"), home.join("b.nspawn")).unwrap();
        rename(places, &name("a"), &name("b")).unwrap();
        rename(places, &name("d"), &name("e")).unwrap();
    });
    assert_eq!(names(home), ["b", "b.nspawn", "e.nspawn", "e.raw", "e.roothash", "e.roothash.p7s", "e.verity"]);
    assert_eq!(names(etc), ["b.nspawn", "blocked.nspawn"]);
    own.run(|places| {
        remove(places, &name("b")).unwrap();
        remove(places, &name("e")).unwrap();
        assert!(remove(places, &name("b")).is_err());
        // A link's target is somewhere else.
        sh(r#"mkdir "$1"/precious; touch "$1"/precious/f; ln -s "$1"/precious "$2"/l"#, &[own.scratch.path(), home]);
        remove(places, &name("l")).unwrap();
    });
    assert!(own.scratch.path().join("precious/f").exists() && names(home).is_empty());
    assert_eq!(names(etc), ["blocked.nspawn"]);
}

#[test]
fn dropins_and_the_list_of_those_to_start_follow_their_image() {
    if !is_root() {
        return;
    }
    let own = Own::new("dropins");
    let [home, vendor, etc, _] = &own.paths;
    sh(
        r#"mkdir "$1"/a "$3"/v; cd "$2"; mkdir a.nspawn.d a.nspawn.d/sub autostart; echo x > a.nspawn.d/1.conf; chmod 600 a.nspawn.d/1.conf
           ln -s /dev/null a.nspawn.d/2.conf; mkfifo a.nspawn.d/pipe; echo theirs > a.nspawn.d/3.conf; chown 65534:65533 a.nspawn.d/3.conf
           touch autostart/a; echo v > "$3"/v.nspawn"#,
        &[home, etc, vendor],
    );
    let files = |name: &str| names(&etc.join(format!("{name}.nspawn.d")));
    own.run(|places| {
        clone(places, &name("a"), &name("b"), None).unwrap();
        assert_eq!(files("b"), ["1.conf", "2.conf", "3.conf"]);
        let of = |file: &str| std::fs::symlink_metadata(etc.join("b.nspawn.d").join(file)).unwrap();
        assert_eq!((of("1.conf").mode() & 0o7777, of("1.conf").uid()), (0o600, 0));
        assert!(of("2.conf").is_symlink());
        assert_eq!((of("3.conf").uid(), of("3.conf").gid()), (65534, 65533), "what was not trusted is not now");
        assert_eq!(names(&etc.join("autostart")), ["a"], "a clone starts when it is told to");
        // Not beside the original, where nobody looks for it.
        clone(places, &name("v"), &name("w"), None).unwrap();
        assert_eq!((std::fs::read(home.join("w.nspawn")).unwrap(), names(vendor)), (b"v\n".into(), vec!["v".into(), "v.nspawn".into()]));
        remove(places, &name("w")).unwrap();
        // What is in the way is not merged with.
        std::fs::create_dir(etc.join("c.nspawn.d")).unwrap();
        std::fs::write(etc.join("c.nspawn.d/1.conf"), "own").unwrap();
        assert_eq!(rename(places, &name("a"), &name("c")).unwrap_err().cause, Cause::Os(Errno::EXIST));
        assert_eq!((files("a").len(), files("c"), home.join("a").exists()), (5, vec!["1.conf".into()], true));
        // A killed rename left second names; one killed earlier, half of them.
        sh(r#"cd "$1"; mkdir d.nspawn.d .#hostel-import-d.nspawn.d; ln a.nspawn.d/* d.nspawn.d 2>/dev/null || :; touch .#hostel-import-d.nspawn.d/x"#, &[etc]);
        rename(places, &name("a"), &name("d")).unwrap();
        assert_eq!((files("d"), names(&etc.join("autostart"))), (vec!["1.conf".into(), "2.conf".into(), "3.conf".into(), "pipe".into()], vec!["d".into()]));
        // A directory is no drop-in: it is somebody's own.
        assert_eq!(files("a"), ["sub"]);
        // The new name is on the list already.
        std::fs::write(etc.join("autostart/e"), "").unwrap();
        rename(places, &name("d"), &name("e")).unwrap();
        assert_eq!((names(&etc.join("autostart")), files("e").len()), (vec!["e".into()], 4));
        remove(places, &name("e")).unwrap();
        remove(places, &name("b")).unwrap();
        sh(r#"cd "$1"; touch autostart/x x.nspawn"#, &[etc]);
        forget(places, &name("x"), false);
        assert!(names(&etc.join("autostart")).is_empty() && etc.join("x.nspawn").exists());
        forget(places, &name("x"), true);
    });
    assert_eq!((names(&etc.join("autostart")), names(home)), (vec![], vec![]));
    assert_eq!(names(etc), ["a.nspawn.d", "autostart", "c.nspawn.d"]);
}

#[test]
fn read_only_and_back_on_every_kind() {
    for kind in ["ext4", "btrfs"] {
        let Some(fs) = FileSystem::new(kind, 200) else { continue };
        let own = Own::new("ro");
        let home = fs.at.join("home");
        sh(r#"mkdir "$1" "$1"/a; truncate -s 1M "$1"/d.raw"#, &[&home]);
        if kind == "btrfs" {
            sh(r#"btrfs -q subvolume create "$1"/s"#, &[&home]);
        }
        own.with(&home, |places| {
            let images: &[&str] = if kind == "btrfs" { &["a", "d", "s"] } else { &["a", "d"] };
            for image in images {
                let get = || find(&name(image), places.search).unwrap();
                for yes in [true, true, false, false, true] {
                    set_read_only(&get(), yes).unwrap();
                    assert_eq!(get().read_only, yes, "{kind} {image}");
                }
                // Its name is free to change, and it stays what it was.
                rename(places, &name(image), &name("moved")).unwrap();
                let moved = find(&name("moved"), places.search).unwrap();
                assert!(moved.read_only, "{kind} {image}");
                clone(places, &name("moved"), &name("copy"), None).unwrap();
                assert!(!find(&name("copy"), places.search).unwrap().read_only, "{kind} {image}: a clone is there to be changed");
                remove(places, &name("moved")).unwrap();
                remove(places, &name("copy")).unwrap();
            }
        });
        assert!(names(&home).is_empty(), "{:?}", names(&home));
    }
}

#[test]
fn quotas_of_subvolumes() {
    let Some(fs) = FileSystem::new("btrfs", 200) else { return };
    let own = Own::new("quota");
    sh(r#"btrfs -q subvolume create "$1"/s; mkdir "$1"/d"#, &[&fs.at]);
    own.with(&fs.at.clone(), |places| {
        let error = set_limit(places, &name("s"), Some(10 << 20)).unwrap_err().to_string();
        assert!(error.contains("quotas are off"), "{error}");
        assert!(set_limit(places, &name("d"), Some(1)).unwrap_err().to_string().contains("only a subvolume"));
        sh(r#"btrfs quota enable "$1"; head -c 1000000 /dev/urandom > "$1"/s/f; sync -f "$1"; btrfs quota rescan -w "$1" >/dev/null"#, &[&fs.at]);
        set_limit(places, &name("s"), Some(10 << 20)).unwrap();
        let image = find(&name("s"), places.search).unwrap();
        assert_eq!((image.limit, image.limit_exclusive), (Some(10 << 20), None));
        assert!(image.usage.is_some_and(|n| (1_000_000..1_200_000).contains(&n)), "{image:?}");
        set_limit(places, &name("s"), None).unwrap();
        assert_eq!(find(&name("s"), places.search).unwrap().limit, None);
    });
}

#[test]
fn cleaning() {
    let own = Own::new("clean");
    let home = &own.paths[0];
    sh(
        r#"cd "$1"; mkdir -p keep .old/x .#hostel-import-1/a .#hostel-trash-2; truncate -s 1M .#hostel-import-3 .raw-c.raw d.raw; touch .#keep.lck"#,
        &[home],
    );
    let (parent, _) = crate::remove::open_parent(&home.join("x")).unwrap();
    let (held, _dir) = crate::partial::make(parent.as_fd(), "import").unwrap();
    let (held_file, _file) = crate::partial::make_file(parent.as_fd(), "import").unwrap();
    own.run(|places| {
        let mut done = clean(places, false).unwrap();
        done.removed.sort();
        assert_eq!(done.removed, [".#hostel-import-1", ".#hostel-import-3", ".#hostel-trash-2", ".old", ".raw-c.raw"]);
        assert!(done.failed.is_empty(), "{:?}", done.failed);
        assert_eq!(listed(home, false), ["d:raw", "keep:directory"]);
        let done = clean(places, true).unwrap();
        assert_eq!(done.removed.len(), 2, "{done:?}");
    });
    let mut left = vec![".#keep.lck".to_owned(), held.into_string().unwrap(), held_file.into_string().unwrap()];
    left.sort();
    assert_eq!(names(home), left);
}
