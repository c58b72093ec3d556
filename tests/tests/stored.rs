//! Images through the program: listed, changed, imported, exported, downloaded; what a kill or a full disk leaves is in no list.
//!
//! Each test has a /var/lib/machines of its own, mounted over the host's in a mount namespace of each command.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_tests::{Bed, Invocation, Signal, eventually};

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

/// A server for one test, on a port of its own of the loopback interface.
mod server {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// How a file is served.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Manner {
        /// As it should be, parts too.
        Well,
        /// The connection ends after so many bytes, each time.
        Cut(usize),
        /// The same, and whoever comes again gets all from the start.
        CutWithoutParts(usize),
        /// The same, and it is another file then.
        CutAndChange(usize),
        /// In chunks, without a length.
        Chunks,
        /// A piece each 20 ms.
        Slow,
        /// Nothing after the head.
        Silent,
        /// Sends elsewhere.
        Redirect(&'static str),
        /// The connection ends at once.
        Nothing,
        /// A head that does not end.
        EndlessHead,
        /// No HTTP.
        Garbage,
    }

    type Files = Arc<Mutex<BTreeMap<String, (Vec<u8>, Manner)>>>;

    pub(crate) struct Server {
        pub(crate) address: String,
        files: Files,
        seen: Arc<Mutex<Vec<String>>>,
    }

    impl Server {
        pub(crate) fn start() -> Server {
            let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
            let address = format!("http://{}", listener.local_addr().expect("address"));
            let (files, seen): (Files, Arc<Mutex<Vec<String>>>) = Default::default();
            let (served, log) = (files.clone(), seen.clone());
            // Ends with the process.
            std::thread::spawn(move || {
                for socket in listener.incoming().flatten() {
                    let (files, log) = (served.clone(), log.clone());
                    std::thread::spawn(move || serve(socket, &files, &log));
                }
            });
            Server { address, files, seen }
        }
        pub(crate) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>, manner: Manner) {
            self.files.lock().expect("files").insert(path.into(), (bytes.into(), manner));
        }
        /// Requests so far: the first line, and what part was asked for.
        pub(crate) fn seen(&self) -> Vec<String> {
            std::mem::take(&mut self.seen.lock().expect("log"))
        }
    }

    fn serve(socket: TcpStream, files: &Files, log: &Mutex<Vec<String>>) {
        let mut reader = BufReader::new(socket.try_clone().expect("clone"));
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let path = head.first().and_then(|l| l.split(' ').nth(1)).unwrap_or("").to_owned();
        let range = head.iter().find_map(|l| l.strip_prefix("Range: bytes=")).and_then(|r| r.trim_end_matches('-').parse::<usize>().ok());
        let if_range = head.iter().any(|l| l.starts_with("If-Range: \"tag\""));
        log.lock().expect("log").push(format!("{path} {range:?} {if_range}"));
        let (bytes, manner) = match files.lock().expect("files").get(&path) {
            Some(found) => found.clone(),
            None => return drop((&socket).write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")),
        };
        let _ = answer(&socket, &bytes, manner, range);
    }

    fn answer(mut socket: &TcpStream, bytes: &[u8], manner: Manner, range: Option<usize>) -> std::io::Result<()> {
        let parts = !matches!(manner, Manner::CutWithoutParts(_) | Manner::CutAndChange(_));
        let from = range.filter(|_| parts).unwrap_or(0);
        let tag = if matches!(manner, Manner::CutAndChange(_)) && range.is_some() { "other" } else { "tag" };
        let head = |more: &str| {
            let status = if range.is_some() && parts { "206 Partial Content" } else { "200 OK" };
            let part =
                if range.is_some() && parts { format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len()) } else { String::new() };
            format!("HTTP/1.1 {status}\r\nETag: \"{tag}\"\r\n{part}{more}\r\n")
        };
        let whole = head(&format!("Content-Length: {}\r\n", bytes.len() - from));
        let rest = &bytes[from..];
        match manner {
            Manner::Well => socket.write_all(&[whole.as_bytes(), rest].concat()),
            Manner::Cut(n) | Manner::CutWithoutParts(n) | Manner::CutAndChange(n) => {
                // Without parts it has to come further each time.
                let n = if parts { n } else { n + range.unwrap_or(0) };
                socket.write_all(&[whole.as_bytes(), &rest[..n.min(rest.len())]].concat())
            }
            Manner::Chunks => {
                socket.write_all(head("Transfer-Encoding: chunked\r\n").as_bytes())?;
                for piece in rest.chunks(40_000) {
                    socket.write_all(format!("{:x};x=y\r\n", piece.len()).as_bytes())?;
                    socket.write_all(piece)?;
                    socket.write_all(b"\r\n")?;
                }
                socket.write_all(b"0\r\nX: trailer\r\n\r\n")
            }
            Manner::Slow => {
                socket.write_all(whole.as_bytes())?;
                for piece in rest.chunks(16384) {
                    std::thread::sleep(Duration::from_millis(20));
                    socket.write_all(piece)?;
                }
                Ok(())
            }
            Manner::Silent => {
                socket.write_all(&[whole.as_bytes(), &rest[..1000]].concat())?;
                std::thread::sleep(Duration::from_secs(30));
                Ok(())
            }
            Manner::Redirect(to) => socket.write_all(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").as_bytes()),
            Manner::Nothing => Ok(()),
            Manner::EndlessHead => {
                socket.write_all(b"HTTP/1.1 200 OK\r\n")?;
                (0..100_000).try_for_each(|n| socket.write_all(format!("X-{n}: yyyyyyyyyyyyyyyy\r\n").as_bytes()))
            }
            Manner::Garbage => socket.write_all(b"SSH-2.0-OpenSSH\r\n\r\n"),
        }
    }
}
use server::{Manner, Server};

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
