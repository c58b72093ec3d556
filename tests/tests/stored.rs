//! Images through the program: listed, changed, imported, exported, downloaded; what a kill or a full disk leaves is in no list.
//!
//! Each test has a /var/lib/machines of its own, mounted over the host's in a mount namespace of each command.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_tests::server::{Manner, Server};
use hostel_tests::{Bed, Invocation, Signal, eventually};
use serde_json::json;

const SOON: Duration = Duration::from_secs(60);

/// A place for images that only this test sees.
struct Images<'a> {
    bed: &'a Bed,
    home: PathBuf,
}

impl<'a> Images<'a> {
    fn new(bed: &'a Bed) -> Self {
        Images { bed, home: bed.fresh("images") }
    }
    /// `hostel ARGS…` with these images.
    fn hostel<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, args: I) -> Invocation {
        self.with(args, "")
    }
    /// The same below a tool, such as strace.
    fn with<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, args: I, tool: &str) -> Invocation {
        let script = format!(r#"mount --bind "$HOME_OF_IMAGES" /var/lib/machines && exec {tool} "$@""#);
        let script = format!("mkdir -p /var/lib/machines; exec unshare -m sh -c '{script}' sh \"$@\"");
        self.bed.hostel(args).env("HOME_OF_IMAGES", &self.home).through_shell(&script).limit(SOON)
    }
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(&self.home).expect("list").flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
    fn listed(&self) -> String {
        self.hostel(["images", "-q"]).run().exits(0).text().trim().replace('\n', " ")
    }
    fn tree(&self, name: &str) -> PathBuf {
        let tree = self.home.join(name);
        for dir in ["usr/lib", "etc", "data"] {
            std::fs::create_dir_all(tree.join(dir)).expect("make");
        }
        std::fs::write(tree.join("usr/lib/os-release"), "ID=test\nPRETTY_NAME=\"Test System 7\"\n").expect("write");
        tree
    }
}

fn sh(script: &str, args: &[&Path]) -> String {
    Invocation::new("bash").args(["-ec", script, "sh"]).args(args).limit(SOON).run().exits(0).text()
}

#[test]
fn looking() {
    let Some(bed) = Bed::start() else { return };
    let images = Images::new(&bed);
    images.hostel(["images"]).run().exits(0).prints("");
    images.tree("web");
    sh(r#"truncate -s 5M "$1"/disk.raw; mkdir "$1"/.hidden"#, &[&images.home]);
    let outcome = images.hostel(["images"]).run().exits(0);
    let rows: Vec<Vec<String>> = outcome.text().lines().map(|l| l.split_whitespace().map(str::to_owned).collect()).collect();
    assert_eq!(rows[0], ["NAME", "TYPE", "RO", "USAGE", "CREATED", "MODIFIED"]);
    assert_eq!((rows[1][..4].join(" "), rows[2][..4].join(" ")), ("disk raw no 0B".to_owned(), "web directory no -".to_owned()));
    assert_eq!(images.hostel(["images", "-aq"]).run().exits(0).text(), ".hidden\ndisk\nweb\n");
    let json = images.hostel(["images", "--json"]).run().exits(0).json();
    assert_eq!((&json[0]["limit_bytes"], &json[1]["path"]), (&(5 << 20).into(), &"/var/lib/machines/web".into()));
    let text = images.hostel(["image-status", "web"]).run().exits(0).text();
    for line in ["      image: web\n", "     system: Test System 7\n", "     access: writable\n", "      usage: "] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    let show = |args: &[&str]| images.hostel(["show-image"]).args(args).run().exits(0).text();
    let all = show(&["disk"]);
    assert!(all.starts_with("Name=disk\nPath=/var/lib/machines/disk.raw\nType=raw\nReadOnly=no\nCreationTimestamp="), "{all}");
    assert!(all.contains("\nUsage=0\nLimit=5242880\nUsageExclusive=0\nLimitExclusive=5242880\n"), "{all}");
    assert_eq!(show(&["web", "disk", "-p", "Name,Type", "--value"]), "web\ndirectory\n\ndisk\nraw\n");
    assert!(show(&[]).starts_with("PoolPath=/var/lib/machines\nPoolUsage="));
    let pool = images.hostel(["image-status"]).run().exits(0).text();
    assert!(pool.starts_with("       path: /var/lib/machines\n      usage: ") && pool.contains("\n      limit: "), "{pool}");
    images.hostel(["image-status", "none"]).run().exits(1).says("hint: `hostel images` lists them");
    images.hostel(["show-image", "../x"]).run().exits(2);
}

#[test]
fn changing() {
    let Some(bed) = Bed::start() else { return };
    let images = Images::new(&bed);
    let tree = images.tree("a");
    std::fs::write(images.home.join("a.nspawn"), "[Exec]\n").expect("write");
    images.hostel(["clone", "a", "b"]).run().exits(0).says_nothing();
    images.hostel(["clone", "a", "b"]).run().exits(1).says("there is one already");
    images.hostel(["rename", "b", "c"]).run().exits(0);
    assert_eq!(images.names(), ["a", "a.nspawn", "c", "c.nspawn"]);
    images.hostel(["read-only", "c"]).run().exits(0);
    assert_eq!(images.hostel(["show-image", "c", "-p", "ReadOnly", "--value"]).run().exits(0).text(), "yes\n");
    images.hostel(["read-only", "c", "off"]).run().exits(0);
    images.hostel(["set-limit", "c", "1G"]).run().exits(1).says("only a subvolume of a btrfs has a quota");
    images.hostel(["set-limit", "1G"]).run().exits(1).says("there is no pool");
    // While it runs.
    sh(r#"cp -a "$1"/. "$2""#, &[bed.little().path(), &tree]);
    let name = bed.name();
    let running = bed
        .hostel(["nspawn", "-q", "--register=no", "--keep-unit", "-M", &name, "-D"])
        .arg(&tree)
        .args(["/probe", "say", "up", "then", "sleep"])
        .start();
    running.expect("up");
    images.hostel(["remove", "a"]).run().exits(3).says("it is in use by machine");
    images.hostel(["rename", "a", "d"]).run().exits(3);
    images.hostel(["read-only", "a"]).run().exits(3);
    running.signal(Signal::KILL);
    running.finish(SOON);
    bed.clean();
    images.hostel(["remove", "a", "none", "c"]).run().exits(1).says("find image none");
    assert!(images.names().is_empty(), "{:?}", images.names());
    sh(r#"mkdir -p "$1"/.#hostel-import-0/x "$1"/keep"#, &[&images.home]);
    images.hostel(["clean-images"]).run().exits(0).prints("removed .#hostel-import-0");
    images.hostel(["clean-images"]).run().exits(0).prints("nothing to remove");
    images.hostel(["clean-images", "--all"]).run().exits(0).prints("removed keep");
}

#[test]
fn what_starts_with_the_host_follows_its_image() {
    let Some(bed) = Bed::start() else { return };
    let images = Images::new(&bed);
    images.tree("a");
    let etc = bed.fresh("etc");
    let hostel = |words: &[&str]| images.hostel(words).env("HOSTEL_CONFIG_DIR", &etc).run().exits(0);
    let enabled = || sh("ls \"$1\"", &[&etc.join("autostart")]).trim().to_owned();
    hostel(&["enable", "a"]);
    hostel(&["clone", "a", "b"]);
    assert_eq!(enabled(), "a");
    hostel(&["rename", "a", "c"]);
    assert_eq!(enabled(), "c");
    hostel(&["remove", "c"]);
    assert_eq!(enabled(), "");
    hostel(&["enable", "b"]);
    hostel(&["rm", "b", "--tree", "--yes"]);
    assert_eq!(enabled(), "");
}

#[test]
fn archives_in_and_out() {
    let Some(bed) = Bed::start() else { return };
    let images = Images::new(&bed);
    let work = bed.fresh("work");
    let tree = images.tree("a");
    sh(
        r#"cd "$1"; ln -s usr/bin bin2; echo x > etc/f; ln etc/f etc/g; chown 5:6 etc/f; chmod 4755 etc/f; truncate -s 4M hole; mkfifo pipe; mknod null c 1 3"#,
        &[&tree],
    );
    let listing = |tree: &Path| sh(r#"cd "$1"; find . -printf '%P %y %m %U %G %s %T@ %n %l\n' | sort"#, &[tree]);
    let before = listing(&tree);
    for suffix in ["tar", "tar.gz", "tar.xz", "tar.zst", "tar.bz2"] {
        let file = work.join(format!("b.{suffix}"));
        images.hostel(["export-tar", "a"]).arg(&file).run().exits(0);
        sh(r#"mkdir "$2"; tar -xf "$1" -C "$2" --numeric-owner"#, &[&file, &work.join(suffix)]);
        assert_eq!(listing(&work.join(suffix)), before, "{suffix}");
        images.hostel(["import-tar", "--force"]).arg(&file).run().exits(0).says("Made image b.");
        assert_eq!(listing(&images.home.join("b")), before, "{suffix}");
    }
    images.hostel(["export-tar", "a"]).arg(work.join("b.tar")).run().exits(1).says("File exists");
    // Pipes.
    let line = format!(r#"mount --bind "{}" /var/lib/machines; "$@" export-tar a - | "$@" import-tar -q - c"#, images.home.display());
    let piped = Invocation::new("unshare").args(["-m", "bash", "-ec", &line, "sh"]).args([bed.hostel(["x"]).program()]);
    piped.env("HOSTEL_RUNTIME_DIR", bed.runtime_dir()).run().exits(0).says_nothing();
    assert_eq!(listing(&images.home.join("c")), before);
    images.hostel(["import-tar", "-"]).input("x").run().exits(2).says("a name for the image is needed");
    images.hostel(["import-tar", "-", "d"]).input("hello").run().exits(1).says("read archive -");
    images.hostel(["import-tar", "/etc"]).run().exits(1).says("import-fs");
    images.hostel(["import-fs"]).arg(&tree).arg("e").run().exits(0);
    assert_eq!(listing(&images.home.join("e")), before);
    sh(r#"head -c 3M /dev/urandom > "$1"/d.img; truncate -s 40M "$1"/d.img; zstd -q "$1"/d.img"#, &[&work]);
    images.hostel(["import-raw", "--read-only"]).arg(work.join("d.img.zst")).run().exits(0);
    images.hostel(["export-raw", "d"]).arg(work.join("out")).run().exits(0);
    sh(r#"cmp "$1"/d.img "$1"/out"#, &[&work]);
    images.hostel(["export-tar", "d"]).arg(work.join("no")).run().exits(1).says("hostel export-raw d");
    images.hostel(["export-raw", "a"]).arg(work.join("no")).run().exits(1).says("hostel export-tar a");
    assert!(!work.join("no").exists());
    assert_eq!(images.listed(), "a b c d e");
    assert!(std::fs::read_dir(bed.runtime_dir().join("transfers")).expect("list").next().is_none(), "no transfer is left");
}

/// Kills an import at its Nth call of one system call, for many N: never a half image under its name, and the next one sweeps.
#[track_caller]
fn killed_at_every(call: &str, verb: &str, step: usize) {
    let Some(bed) = Bed::start() else { return };
    if Invocation::new("strace").arg("-V").run().code != Some(0) {
        return println!("skipped: no strace");
    }
    let images = Images::new(&bed);
    let work = bed.fresh("work");
    sh(
        r#"cd "$1"; mkdir -p t/usr t/etc/deep; for i in 1 2 3 4 5; do echo $i > t/etc/$i; done; ln -s x t/l; mkfifo t/p; tar -C t -czf t.tar.gz .; head -c 300k /dev/urandom > t.raw; gzip -k t.raw"#,
        &[&work],
    );
    let file = work.join(match verb {
        "import-tar" => "t.tar.gz",
        "import-raw" => "t.raw.gz",
        _ => "t",
    });
    let (mut shots, mut ended) = (0, false);
    for n in (1..2000).step_by(step) {
        let tool = format!("strace -f -qq -o /dev/null -e trace={call} -e inject={call}:signal=KILL:when={n}");
        let outcome = images.with([verb, "-q"], &tool).arg(&file).arg("image").run();
        assert!(!outcome.timed_out, "{call} #{n}: hung: {}", outcome.describe());
        if outcome.code == Some(0) {
            ended = true;
            break;
        }
        shots += 1;
        let listed = images.listed();
        if listed == "image" {
            // The kill came after it had its name: it is whole.
            sh(
                if verb == "import-raw" { r#"cmp "$1"/t.raw "$2"/image.raw"# } else { r#"diff -r --no-dereference -x p "$1"/t "$2"/image"# },
                &[&work, &images.home],
            );
            images.hostel(["remove", "image"]).run().exits(0);
        } else {
            assert_eq!(listed, "", "{call} #{n}");
        }
        if shots % 5 == 0 {
            images.hostel([verb, "-q"]).arg(&file).arg("image").run().exits(0);
            assert_eq!(images.names().into_iter().filter(|n| n.starts_with(".#")).count(), 0, "{call} #{n}: swept");
            images.hostel(["remove", "image"]).run().exits(0);
        }
    }
    println!("{call} {verb}: {shots} shots");
    assert!(shots > 0 && ended, "{call} {verb}: {shots} shots did not cover a whole import");
    images.hostel(["list-transfers"]).run().exits(0).prints("");
}

#[test]
fn import_killed_at_every_open() {
    killed_at_every("openat,openat2,open", "import-tar", 3);
}
#[test]
fn import_killed_at_every_write() {
    killed_at_every("write,pwrite64", "import-tar", 1);
}
#[test]
fn import_killed_at_every_name() {
    killed_at_every("mkdirat,mkdir,renameat2,renameat,symlinkat,mknodat,linkat", "import-tar", 1);
}
#[test]
fn import_killed_at_every_attribute() {
    killed_at_every("fchown,fchmod,utimensat,flock,syncfs", "import-tar", 1);
}
#[test]
fn raw_import_killed_at_every_write() {
    killed_at_every("pwrite64,ftruncate,fsync,renameat2,flock", "import-raw", 3);
}
#[test]
fn copy_killed_at_every_name() {
    killed_at_every("mkdirat,mkdir,renameat2,renameat,symlinkat,mknodat,flock,syncfs", "import-fs", 1);
}

#[test]
fn a_full_disk_leaves_nothing() {
    let Some(bed) = Bed::start() else { return };
    let images = Images::new(&bed);
    let work = bed.fresh("work");
    sh(
        r#"cd "$1"; mkdir t; for i in {1..30}; do head -c 300k /dev/urandom > t/$i; done; tar -C t -cf t.tar .; cat t/* > t.raw; mount -t tmpfs -o size=4m none "$2""#,
        &[&work, &images.home],
    );
    struct Mounted(PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg(&self.0).status();
        }
    }
    let _mounted = Mounted(images.home.clone());
    for (verb, file) in [("import-tar", "t.tar"), ("import-raw", "t.raw"), ("import-fs", "t")] {
        images.hostel([verb]).arg(work.join(file)).arg("x").run().exits(1).says("no space left on the file system of /var/lib/machines");
        assert!(images.names().is_empty(), "{verb}: {:?}", images.names());
    }
    images.tree("small");
    images.hostel(["clone", "small", "y"]).run().exits(0);
    assert_eq!(images.listed(), "small y");
}

#[test]
fn a_transfer_is_listed_and_cancelled() {
    let Some(bed) = Bed::start() else { return };
    let images = Images::new(&bed);
    let work = bed.fresh("work");
    sh(r#"cd "$1"; mkdir t; head -c 3M /dev/urandom > t/f; tar -cf t.tar t"#, &[&work]);
    let bytes = std::fs::read(work.join("t.tar")).expect("read");
    let fifo = work.join("fifo");
    sh(r#"mkfifo "$1""#, &[&fifo]);
    for how in ["cancel", "TERM", "INT"] {
        let running = images.hostel(["import-tar"]).arg(&fifo).arg("slow").start();
        let mut writer = std::fs::OpenOptions::new().write(true).open(&fifo).expect("open");
        std::io::Write::write_all(&mut writer, &bytes[..1 << 20]).expect("write");
        let list = || images.hostel(["list-transfers", "--json"]).run().exits(0).json();
        assert!(eventually(Duration::from_secs(10), || list()[0]["bytes"].as_u64() > Some(0)), "{}", list());
        let found = list();
        assert_eq!((&found[0]["type"], &found[0]["local"], found.as_array().map(Vec::len)), (&"import-tar".into(), &"slow".into(), Some(1)));
        assert_eq!(images.listed(), "", "it is in no list before it is whole");
        let pid = found[0]["pid"].as_i64().expect("a process") as i32;
        // It stops at the next piece that comes.
        let feeder = std::thread::spawn(move || {
            for piece in bytes_of(1 << 20).chunks(4096) {
                std::thread::sleep(Duration::from_millis(20));
                if std::io::Write::write_all(&mut writer, piece).is_err() {
                    break;
                }
            }
        });
        match how {
            "cancel" => drop(images.hostel(["cancel-transfer", &found[0]["id"].to_string()]).run().exits(0)),
            "TERM" => hostel_tests::kill(pid, Signal::TERM),
            _ => hostel_tests::kill(pid, Signal::INT),
        }
        running.finish(SOON).fails().says("canceled");
        let _ = feeder.join();
        assert!(images.names().is_empty(), "{how}: {:?}", images.names());
        images.hostel(["list-transfers"]).run().exits(0).prints("");
    }
    images.hostel(["cancel-transfer", "1"]).run().exits(1).says("there is none");
}

fn bytes_of(n: usize) -> Vec<u8> {
    vec![0; n]
}

/// A compressed archive of a megabyte and the line of its sum.
fn archive(work: &Path) -> (Vec<u8>, String) {
    sh(
        r#"cd "$1"; mkdir -p t/usr/lib; echo ID=x > t/usr/lib/os-release; head -c 1M /dev/urandom > t/f; tar -C t -czf sys.tar.gz .; sha256sum sys.tar.gz > sums"#,
        &[work],
    );
    (std::fs::read(work.join("sys.tar.gz")).expect("read"), std::fs::read_to_string(work.join("sums")).expect("read"))
}

#[test]
fn downloads() {
    let Some(bed) = Bed::start() else { return };
    let images = Images::new(&bed);
    let work = bed.fresh("work");
    let (bytes, sums) = archive(&work);
    let server = Server::start();
    server.put("/d/SHA256SUMS", sums.clone(), Manner::Well);
    let pull = |manner: Manner, args: &[&str]| {
        server.put("/d/sys.tar.gz", bytes.clone(), manner);
        server.seen();
        images.hostel(["pull-tar"]).args(args).arg(format!("{}/d/sys.tar.gz", server.address)).env("HOSTEL_PULL_IDLE_MS", "800").run()
    };
    let whole = |manner: Manner| {
        pull(manner, &["--verify=checksum"]).exits(0).says("Made image sys.");
        sh(r#"diff -r "$1"/t "$2"/sys"#, &[&work, &images.home]);
        images.hostel(["remove", "sys"]).run().exits(0);
        assert!(images.names().is_empty(), "{manner:?}: {:?}", images.names());
    };
    whole(Manner::Well);
    assert_eq!(server.seen(), ["/d/SHA256SUMS None false", "/d/sys.tar.gz None false"]);
    // Cut again and again: each time on from where it was, if it is still the same.
    whole(Manner::Cut(300_000));
    assert_eq!(server.seen()[2..4], ["/d/sys.tar.gz Some(300000) true", "/d/sys.tar.gz Some(600000) true"]);
    whole(Manner::CutWithoutParts(400_000));
    whole(Manner::Chunks);
    whole(Manner::Slow);
    server.put("/real.tar.gz", bytes.clone(), Manner::Well);
    whole(Manner::Redirect("/real.tar.gz"));
    // What goes wrong leaves nothing, and says what it was.
    for (manner, why) in [
        (Manner::CutAndChange(400_000), "changed on the server"),
        (Manner::Cut(0), "cut too often"),
        (Manner::Redirect("/d/sys.tar.gz"), "in circles"),
        (Manner::Redirect("ftp://127.0.0.1/x"), "no http:// or https:// address"),
        (Manner::Redirect("/none"), "404 (Not Found)"),
        (Manner::Nothing, "without an answer"),
        (Manner::EndlessHead, "no end of its head"),
        (Manner::Garbage, "not HTTP"),
        (Manner::Silent, "cut too often"),
    ] {
        pull(manner, &["--verify=checksum"]).exits(1).says(why);
        assert!(images.names().is_empty(), "{manner:?}: {:?}", images.names());
    }
    images.hostel(["pull-tar", "http://127.0.0.1:1/x.tar"]).run().exits(1).says("Connection refused");
    images.hostel(["pull-tar", "ftp://127.0.0.1/x.tar"]).run().exits(2);
    // A name that is taken is known before anything is asked.
    images.tree("sys");
    server.seen();
    pull(Manner::Well, &[]).exits(1).says("there is one already");
    assert!(server.seen().is_empty());
    pull(Manner::Well, &["--verify=no", "--force", "--read-only", "-q"]).exits(0).says_nothing();
    assert_eq!(images.hostel(["show-image", "sys", "-p", "ReadOnly", "--value"]).run().exits(0).text(), "yes\n");
    images.hostel(["read-only", "sys", "no"]).run().exits(0);
}

#[test]
fn downloads_are_verified() {
    let Some(bed) = Bed::start() else { return };
    let images = Images::new(&bed);
    let work = bed.fresh("work");
    let (bytes, sums) = archive(&work);
    let server = Server::start();
    server.put("/sys.tar.gz", bytes.clone(), Manner::Well);
    let pull = |args: &[&str]| images.hostel(["pull-tar"]).args(args).arg(format!("{}/sys.tar.gz", server.address)).run();
    pull(&["--verify=checksum"]).exits(1).says("no sum is published").says("hint: --verify=no");
    server.put("/sys.tar.gz.sha256", sums.clone(), Manner::Well);
    pull(&["--verify=checksum"]).exits(0);
    images.hostel(["remove", "sys"]).run().exits(0);
    server.put("/SHA256SUMS", sums.replace("sys", "other"), Manner::Well);
    pull(&["--verify=checksum"]).exits(1).says("does not list sys.tar.gz");
    server.put("/SHA256SUMS", format!("{}  sys.tar.gz\n", "00".repeat(32)), Manner::Well);
    pull(&["--verify=checksum"]).exits(1).says("is not the one that was published");
    // Bytes behind the archive's end count too.
    server.put("/SHA256SUMS", sums.clone(), Manner::Well);
    server.put("/sys.tar.gz", [&bytes[..], b"\0more"].concat(), Manner::Well);
    pull(&["--verify=checksum"]).exits(1);
    server.put("/SHA256SUMS", vec![b'x'; 2 << 20], Manner::Well);
    pull(&["--verify=checksum"]).exits(1);
    assert!(images.names().is_empty(), "{:?}", images.names());

    server.put("/sys.tar.gz", bytes, Manner::Well);
    server.put("/SHA256SUMS", sums.clone(), Manner::Well);
    let keyring = |name: &str| format!("--keyring={}", work.join(name).display());
    pull(&[&keyring("none")]).exits(1).says("its sums are not signed").says("hint: --verify=checksum");
    let made = Invocation::new("bash")
        .args([
            "-ec",
            r#"cd "$1"; export GNUPGHOME=$PWD/gpg; mkdir -m 700 gpg
        gpg --batch -q --passphrase '' --quick-generate-key a@example.org default sign never
        gpg --batch -q --passphrase '' --quick-generate-key b@example.org default sign never
        gpg --batch -q --export a@example.org > a.gpg; gpg --batch -q --export b@example.org > b.gpg
        gpg --batch -q -u a@example.org --detach-sign -o sums.gpg sums; gpgconf --kill all"#,
            "sh",
        ])
        .arg(&work)
        .limit(SOON)
        .run();
    if made.code != Some(0) {
        return println!("skipped the rest: no gpg: {}", made.describe());
    }
    server.put("/SHA256SUMS.gpg", std::fs::read(work.join("sums.gpg")).expect("read"), Manner::Well);
    pull(&[&keyring("none")]).exits(1).says("there are no keys");
    pull(&[&keyring("b.gpg")]).exits(1).says("the signature of its sums is not good");
    server.put("/SHA256SUMS", sums.replace("  ", " *"), Manner::Well);
    pull(&[&keyring("a.gpg")]).exits(1).says("the signature of its sums is not good");
    server.put("/SHA256SUMS", sums, Manner::Well);
    assert!(images.names().is_empty(), "{:?}", images.names());
    pull(&[&keyring("a.gpg")]).exits(0).says("Made image sys.");
    let without = images.with(["pull-tar", &keyring("a.gpg"), &format!("{}/sys.tar.gz", server.address), "two"], "env PATH=/nonexistent");
    without.run().exits(1).says("gpgv is not installed").says("hint: --verify=checksum");
}

#[test]
fn downloads_by_tls() {
    let Some(bed) = Bed::start() else { return };
    let images = Images::new(&bed);
    let work = bed.fresh("work");
    let (_, sums) = archive(&work);
    std::fs::write(work.join("SHA256SUMS"), sums).expect("write");
    let made = Invocation::new("bash").args(["-ec", r#"cd "$1"; for n in good other; do openssl req -x509 -newkey rsa:2048 -nodes -keyout $n.key -out $n.pem -days 2 -subj /CN=$n -addext "subjectAltName=IP:127.0.0.1" -addext "basicConstraints=critical,CA:FALSE" 2>/dev/null; done"#, "sh"]).arg(&work).limit(SOON).run();
    if made.code != Some(0) {
        return println!("skipped: no openssl: {}", made.describe());
    }
    // A port that is free a moment later too, most likely.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("port").port().to_string();
    let server = Invocation::new("openssl")
        .args(["s_server", "-quiet", "-WWW", "-cert", "good.pem", "-key", "good.key", "-accept"])
        .arg(format!("127.0.0.1:{port}"))
        .dir(&work)
        .limit(SOON)
        .start();
    assert!(eventually(Duration::from_secs(10), || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()));
    let pull = |host: &str, certificates: &str| {
        let url = format!("https://{host}:{port}/sys.tar.gz");
        images.hostel(["pull-tar", "--verify=checksum", &url]).env("SSL_CERT_FILE", work.join(certificates)).run()
    };
    pull("127.0.0.1", "other.pem").exits(1).says("certificate");
    pull("localhost", "good.pem").exits(1).says("certificate");
    pull("127.0.0.1", "sums").exits(1).says("there is no certificate in");
    assert!(images.names().is_empty(), "{:?}", images.names());
    pull("127.0.0.1", "good.pem").exits(0).says("Made image sys.");
    sh(r#"diff -r "$1"/t "$2"/sys"#, &[&work, &images.home]);
    server.signal(Signal::TERM);
    server.finish(SOON);
}

#[test]
fn a_download_is_listed_and_cancelled() {
    let Some(bed) = Bed::start() else { return };
    let images = Images::new(&bed);
    let work = bed.fresh("work");
    let (bytes, _) = archive(&work);
    let server = Server::start();
    server.put("/sys.raw.gz", bytes, Manner::Silent);
    let running = images.hostel(["pull-raw", "--verify=no"]).arg(format!("{}/sys.raw.gz", server.address)).start();
    let list = || images.hostel(["list-transfers", "--json"]).run().exits(0).json();
    assert!(eventually(Duration::from_secs(10), || list()[0]["total_bytes"].as_u64() > Some(0)), "{}", list());
    assert!(images.hostel(["list-transfers"]).run().exits(0).text().contains("pull-raw  sys"));
    images.hostel(["cancel-transfer", "1"]).run().exits(0).within(Duration::from_secs(5));
    running.finish(SOON).exits(1).says("canceled");
    assert!(images.names().is_empty(), "{:?}", images.names());
}

/// What a registry has of an image: its layers, a configuration, a manifest, and an index of manifests.
struct Registry {
    server: Server,
    work: PathBuf,
}

impl Registry {
    fn put(&self, kind: &str, file: &str, manner: Manner) -> (String, usize) {
        let path = self.work.join(file);
        let sum = sh(r#"sha256sum "$1" | cut -c1-64"#, &[&path]);
        let bytes = std::fs::read(&path).expect("read");
        let digest = format!("sha256:{}", sum.trim());
        self.server.put(&format!("/v2/org/app/{kind}/{digest}"), bytes.clone(), manner);
        (digest, bytes.len())
    }
    /// The image `tag` of layers and a configuration; all for who has a token.
    fn image(&self, tag: &str, layers: &[(&str, Manner)], config: &serde_json::Value) {
        let write = |file: &str, value: serde_json::Value| std::fs::write(self.work.join(file), value.to_string()).expect("write");
        write("config", json!({"os": "linux", "config": config}));
        let config = self.put("blobs", "config", Manner::Token);
        let layers = layers.iter().map(|(file, manner)| self.put("blobs", file, *manner)).map(|(d, size)| json!({"digest": d, "size": size}));
        write("manifest", json!({"schemaVersion": 2, "config": {"digest": config.0}, "layers": layers.collect::<Vec<_>>()}));
        let manifest = self.put("manifests", "manifest", Manner::Token);
        let other = json!({"digest": format!("sha256:{}", "0".repeat(64)), "platform": {"os": "linux", "architecture": "s390x"}});
        let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let ours = json!({"digest": manifest.0, "platform": {"os": "linux", "architecture": architecture}});
        let index = if tag == "foreign" { json!({"manifests": [other]}) } else { json!({"manifests": [other, ours]}) };
        self.server.put(&format!("/v2/org/app/manifests/{tag}"), index.to_string(), Manner::Token);
    }
}

#[test]
fn images_of_registries() {
    let Some(bed) = Bed::start() else { return };
    let images = Images::new(&bed);
    let registry = Registry { server: Server::start(), work: bed.fresh("work") };
    sh(
        r#"cd "$2"; mkdir one two three bad; cp -a "$1"/. one; cd one
        mkdir -p gone/deep kept/old swap/full here; touch gone/deep/f kept/old/f kept/lower swap/full/f here/a here/b .wh.nothing; ln -s here way; chmod 750 here
        cd ../two; mkdir kept way; touch .wh.gone kept/new kept/.wh..wh..opq way/.wh.a way/c; echo file > swap; setfattr -n user.x -v y swap
        cd ../three; mkdir -p gone new; echo again > gone/f; touch .wh.no-such; chown 7:8 new
        cd ../bad; mkdir -p a; touch 'a/.wh...'
        cd ..; tar -C one -czf 1 .; tar -C two --xattrs -cf 2 kept/new kept/.wh..wh..opq .wh.gone way/.wh.a way/c swap; tar -C three -cJf 3 .; tar -C bad -cf 4 ."#,
        &[bed.busybox().path(), &registry.work],
    );
    let config = json!({"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo \"it's $A\"; pwd; id -u"], "Env": ["PATH=/bin:/usr/bin", "A=b  c"], "WorkingDir": "/here", "User": "1000"});
    let layers = [("1", Manner::CutAndAsk(300_000)), ("2", Manner::Token), ("3", Manner::Well)];
    registry.image("v1", &layers, &config);
    registry.server.put("/token?service=a%20b&scope=repository:org/app:pull", r#"{"token": "hello"}"#, Manner::Well);
    let host = registry.server.address.trim_start_matches("http://").to_owned();
    let pull = |tag: &str, more: &[&str]| images.hostel(["machinectl", "pull-oci", &format!("{host}/org/app:{tag}")]).args(more).run();
    pull("v1", &[]).exits(0).says("Made image app.");
    assert_eq!(images.names(), ["app", "app.nspawn"]);
    let app = images.home.join("app");
    let seen = sh(
        r#"cd "$1"; find gone kept swap here new -printf '%p %m %U:%G\n' | LC_ALL=C sort; cat swap gone/f; find . -name '.wh*'; readlink way; getfattr --only-values -n user.x swap"#,
        &[&app],
    );
    assert_eq!(
        seen,
        "gone 755 0:0\ngone/f 644 0:0\nhere 750 0:0\nhere/b 644 0:0\nhere/c 644 0:0\nkept 755 0:0\nkept/new 644 0:0\nnew 755 7:8\nswap 644 0:0\nfile\nagain\nhere\ny"
    );
    // Where there is no directory for others, nothing of it is to be seen; here there is.
    sh(r#"chmod 755 "$1" "$1"/here"#, &[&app]);
    images.hostel(["nspawn", "-q", "--register=no", "--console=pipe", "-M", "app"]).run().exits(0).prints("it's b  c\n/here\n1000");
    // Not twice, not over settings, and what goes wrong leaves nothing.
    pull("v1", &[]).exits(1).says("there is one already");
    images.hostel(["remove", "app"]).run().exits(0);
    assert!(images.names().is_empty(), "{:?}", images.names());
    std::fs::write(images.home.join("app.nspawn"), "").expect("write");
    pull("v1", &[]).exits(1).says("there is one already");
    std::fs::remove_file(images.home.join("app.nspawn")).expect("remove");
    registry.image("bad", &[("1", Manner::Well), ("4", Manner::Well)], &config);
    registry.image("foreign", &layers, &config);
    for (tag, why) in [("bad", "it takes nothing away that has a name"), ("foreign", "there is none for linux on"), ("none", "404 (Not Found)")] {
        pull(tag, &[]).exits(1).says(why);
        assert!(images.names().is_empty(), "{tag}: {:?}", images.names());
    }
    // Another layer under the sum of one; one that is longer than it says; no token for us.
    registry.image("v1", &layers, &config);
    let sum = sh(r#"sha256sum "$1" | cut -c1-64"#, &[&registry.work.join("3")]);
    let (one, three) = (std::fs::read(registry.work.join("1")).expect("read"), std::fs::read(registry.work.join("3")).expect("read"));
    let path = format!("/v2/org/app/blobs/sha256:{}", sum.trim());
    registry.server.put(&path, one, Manner::Chunks);
    pull("v1", &[]).exits(1).says("not the size that it is said to have");
    let mut other = three.clone();
    if let Some(byte) = other.last_mut() {
        *byte ^= 1;
    }
    registry.server.put(&path, other, Manner::Well);
    assert_ne!(pull("v1", &[]).code, Some(0));
    registry.server.put(&path, three, Manner::Well);
    registry.server.put("/token?service=a%20b&scope=repository:org/app:pull", r#"{"token": "he\r\nX: y"}"#, Manner::Well);
    pull("v1", &[]).exits(1);
    assert!(images.names().is_empty(), "{:?}", images.names());
    images.hostel(["pull-oci", "Not/Small"]).run().exits(2);
}
