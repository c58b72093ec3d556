//! Archives that lie: whatever is in them, nothing outside changes, nothing hangs, nothing half-made has a name.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hostel_spec::MachineName;

use crate::images::Places;
use crate::import::{self, Options};
use crate::walk::testing::{Scratch, describe, is_root, names, sh};
use crate::watch::Watch;

/// Bytes of an archive, entry by entry.
pub(crate) struct Builder(pub(crate) Vec<u8>);

pub(crate) fn block(name: &[u8], flag: u8, size: u64, link: &[u8]) -> [u8; 512] {
    let mut b = [0u8; 512];
    b[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    let mut put = |at: usize, text: &str| b[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(257, "ustar\x0000");
    b[156] = flag;
    b[157..157 + link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
    b
}

pub(crate) fn sum(b: &mut [u8; 512]) {
    b[148..156].fill(b' ');
    let sum: u32 = b.iter().map(|b| u32::from(*b)).sum();
    b[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..).find(|n| *n == rest + n.to_string().len()).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

impl Builder {
    pub(crate) fn new() -> Self {
        Builder(Vec::new())
    }
    /// Any header, changed before its sum is taken, and contents.
    fn with(mut self, name: &[u8], flag: u8, data: &[u8], link: &[u8], change: impl FnOnce(&mut [u8; 512])) -> Self {
        let mut b = block(name, flag, data.len() as u64, link);
        change(&mut b);
        sum(&mut b);
        self.0.extend_from_slice(&b);
        self.raw(data)
    }
    fn raw(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.with(name.as_bytes(), b'0', data, b"", |_| ())
    }
    fn dir(self, name: &str, mode: &str) -> Self {
        self.with(name.as_bytes(), b'5', b"", b"", |b| b[100..107].copy_from_slice(mode.as_bytes()))
    }
    fn link(self, name: &str, flag: u8, target: &Path) -> Self {
        self.with(name.as_bytes(), flag, b"", target.as_os_str().as_encoded_bytes(), |_| ())
    }
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let data: Vec<u8> = records.iter().flat_map(|(k, v)| record(k, v)).collect();
        self.with(b"PaxHeaders/x", b'x', &data, b"", |_| ())
    }
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Refused,
    Made,
}
use Fate::{Made, Refused};

/// One story: what it tries, the archive, what becomes of it.
type Story = (&'static str, Vec<u8>, Fate);

fn new() -> Builder {
    Builder::new()
}

fn size_field(b: &mut [u8; 512], bytes: [u8; 12]) {
    b[124..136].copy_from_slice(&bytes);
}

fn names_and_links(t: &Path) -> Vec<Story> {
    let f = |name: &str| t.join(name);
    let s = |path: PathBuf| path.to_str().unwrap().to_owned();
    let up = Path::new("../../outside");
    vec![
        ("absolute name", new().file(&s(f("file")), b"x").end(), Made),
        ("absolute name of something new", new().file(&s(f("new")), b"x").end(), Made),
        ("..", new().file("../outside/new", b"x").end(), Refused),
        (".. in the middle", new().dir("a", "0000755").file("a/../../outside/new", b"x").end(), Refused),
        (".. alone", new().dir("..", "0000777").end(), Refused),
        ("write through a link", new().link("l", b'2', t).file("l/new", b"x").end(), Refused),
        ("write through a relative link", new().link("l", b'2', up).file("l/new", b"x").end(), Refused),
        ("write through a chain", new().link("b", b'2', t).link("a", b'2', Path::new("b")).file("a/new", b"x").end(), Refused),
        ("write through a link made of a directory", new().dir("l", "0000755").link("l", b'2', t).file("l/new", b"x").end(), Refused),
        ("a directory in a link's place", new().link("l", b'2', t).dir("l/", "0000777").file("l/new", b"x").end(), Made),
        ("a file in a link's place", new().link("l", b'2', &f("file")).file("l", b"x").end(), Made),
        ("a file over a link that was linked", new().link("l", b'2', &f("file")).link("h", b'1', Path::new("l")).file("h", b"x").end(), Made),
        ("hard link to an absolute path", new().link("h", b'1', &f("file")).end(), Refused),
        ("hard link upwards", new().link("h", b'1', &up.join("file")).end(), Refused),
        ("hard link through a link", new().link("l", b'2', t).link("h", b'1', Path::new("l/file")).end(), Refused),
        ("hard link to a link, then written", new().link("l", b'2', &f("file")).link("h", b'1', Path::new("l")).file("h", b"x").end(), Made),
        ("hard link, then written", new().file("a", b"1").link("h", b'1', Path::new("a")).file("h", b"2").end(), Made),
        ("hard link to itself", new().file("a", b"1").link("a", b'1', Path::new("a")).end(), Made),
        ("hard link to itself by another spelling", new().file("a", b"1").link("./a", b'1', Path::new(".//a")).end(), Made),
        ("hard link to nothing", new().link("h", b'1', Path::new("none")).end(), Refused),
        ("hard link to a directory", new().dir("d", "0000755").link("h", b'1', Path::new("d")).end(), Refused),
        ("hard link to the top", new().link("h", b'1', Path::new(".")).end(), Refused),
        ("link to nothing", new().link("l", b'2', Path::new("")).end(), Refused),
        ("the top is a link", new().link(".", b'2', t).file("new", b"x").end(), Refused),
        ("the top is a link with a slash", new().link("./", b'2', t).file("new", b"x").end(), Refused),
        ("the top is a file", new().file(".", b"x").end(), Refused),
        ("the top is a device", new().link("/", b'3', Path::new("")).end(), Refused),
        ("no name at all", new().file("", b"x").end(), Refused),
        ("mode through a link", new().link("l", b'2', t).dir("l", "0000777").end(), Made),
        ("mode of a directory that became a link", new().dir("d", "0007777").link("d", b'2', t).end(), Made),
        ("a link in place of a full directory", new().dir("d", "0000755").file("d/f", b"x").link("d", b'2', t).end(), Refused),
        ("below a file", new().file("f", b"x").file("f/new", b"x").end(), Refused),
        ("below a FIFO", new().link("p", b'6', Path::new("")).file("p/new", b"x").end(), Refused),
        ("below a device", new().link("dev", b'3', Path::new("")).file("dev/new", b"x").end(), Refused),
        ("a file in place of a FIFO", new().link("p", b'6', Path::new("")).file("p", b"x").end(), Made),
        ("a file in place of a device", new().link("d", b'4', Path::new("")).file("d", b"x").end(), Made),
        ("a directory in place of a file", new().file("f", b"x").dir("f", "0000755").file("f/g", b"y").end(), Made),
        ("the same file twice", new().file("f", b"1").file("f", b"2").end(), Made),
        ("the same directory twice", new().dir("d", "0000755").file("d/f", b"1").dir("d", "0000700").end(), Made),
        ("a name too long for a component", new().pax(&[("path", "n".repeat(300).as_bytes())]).file("x", b"").end(), Refused),
        ("a path too long for the kernel", new().pax(&[("path", "n/".repeat(5000).as_bytes())]).file("x", b"").end(), Refused),
        ("a very deep path", new().pax(&[("path", "n/".repeat(2000).as_bytes())]).with(b"x", b'5', b"", b"", |_| ()).end(), Made),
        ("a name like ours", new().file(".#hostel-partial-x/f", b"x").end(), Made),
    ]
}

fn records(t: &Path) -> Vec<Story> {
    let long = |flag: u8, data: &[u8]| new().with(b"././@LongLink", flag, data, b"", |_| ());
    let new_file = t.join("new");
    let inside = new_file.as_os_str().as_encoded_bytes();
    let hidden = new().file("hidden", b"x").end();
    vec![
        ("pax: absolute path", new().pax(&[("path", inside)]).file("x", b"x").end(), Made),
        ("pax: ..", new().pax(&[("path", b"a/../../outside/new")]).file("x", b"x").end(), Refused),
        ("pax: NUL in a path", new().pax(&[("path", b"a\0b")]).file("x", b"x").end(), Refused),
        ("pax: empty path", new().pax(&[("path", b"")]).file("x", b"x").end(), Refused),
        (
            "pax: link out, then through it",
            new().pax(&[("linkpath", t.as_os_str().as_encoded_bytes())]).link("l", b'2', Path::new("a")).file("l/new", b"x").end(),
            Refused,
        ),
        ("pax: a size the header does not have", new().pax(&[("size", b"1024")]).file("x", b"").raw(&hidden[..1024]).end(), Refused),
        ("pax: a smaller size", new().pax(&[("size", b"1")]).file("x", &hidden).end(), Refused),
        ("pax: the same size", new().pax(&[("size", b"4")]).file("x", b"four").end(), Made),
        ("pax: a size that is none", new().pax(&[("size", b"-1")]).file("x", b"x").end(), Refused),
        ("pax: a size beyond everything", new().pax(&[("size", b"18446744073709551615")]).file("x", b"").end(), Refused),
        ("pax: a length that is wrong", new().with(b"p", b'x', b"99 path=a\n", b"", |_| ()).file("x", b"x").end(), Refused),
        ("pax: a length beyond everything", new().with(b"p", b'x', b"18446744073709551616 path=a\n", b"", |_| ()).file("x", b"x").end(), Refused),
        ("pax: a length of nothing", new().with(b"p", b'x', b"0 path=a\n", b"", |_| ()).file("x", b"x").end(), Refused),
        ("pax: no key", new().with(b"p", b'x', b"5 =a\n", b"", |_| ()).file("x", b"x").end(), Refused),
        ("pax: no end of line", new().with(b"p", b'x', b"9 path=ab", b"", |_| ()).file("x", b"x").end(), Refused),
        ("pax: two megabytes", new().with(b"p", b'x', &vec![b'a'; 2 << 20], b"", |_| ()).file("x", b"x").end(), Refused),
        ("pax: twice for one entry", new().pax(&[("path", b"a")]).pax(&[("path", b"b")]).file("x", b"x").end(), Refused),
        ("pax: for no entry", new().file("f", b"").pax(&[("path", b"a")]).end(), Refused),
        ("pax: for all entries", new().with(b"g", b'g', &record("path", b"../../outside/new"), b"", |_| ()).file("x", b"x").end(), Refused),
        ("pax: a comment for all entries", new().with(b"g", b'g', &record("comment", b"a2f0"), b"", |_| ()).file("x", b"x").end(), Made),
        ("pax: an owner that cannot be", new().pax(&[("uid", b"4294967295")]).file("x", b"x").end(), Refused),
        ("pax: a time before all", new().pax(&[("mtime", b"-9223372036854775807.5")]).file("x", b"x").end(), Made),
        ("pax: an attribute of overlays", new().pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")]).dir("d", "0000755").end(), Made),
        ("pax: a label", new().pax(&[("SCHILY.xattr.security.selinux", b"x"), ("SCHILY.xattr.security.ima", b"x")]).file("x", b"x").end(), Made),
        ("pax: capabilities that are none", new().pax(&[("SCHILY.xattr.security.capability", b"x")]).file("x", b"x").end(), Refused),
        ("pax: a list that is none", new().pax(&[("SCHILY.acl.access", b"all:rwx")]).file("x", b"x").end(), Refused),
        ("long name upwards", long(b'L', b"../../outside/new\0").file("x", b"x").end(), Refused),
        ("long name without an end", long(b'L', b"a").file("x", b"x").end(), Made),
        ("long name of two", long(b'L', b"a\0b\0").file("x", b"x").end(), Refused),
        ("long name of no entry", long(b'L', b"a\0").end(), Refused),
        ("long name twice", long(b'L', b"a\0").with(b"l", b'L', b"b\0", b"", |_| ()).file("x", b"x").end(), Refused),
        (
            "long link out, then through it",
            long(b'K', &[t.as_os_str().as_encoded_bytes(), b"\0"].concat()).link("l", b'2', Path::new("a")).file("l/new", b"x").end(),
            Refused,
        ),
    ]
}

fn sizes() -> Vec<Story> {
    let sparse = |map: &[u8], real: &[u8], data: &[u8]| {
        let numbers: [(&str, &[u8]); 4] =
            [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.name", b"s"), ("GNU.sparse.realsize", real)];
        let mut contents = map.to_vec();
        contents.resize(512, 0);
        new().pax(&numbers).file("x", &[&contents, data].concat()).end()
    };
    let old_sparse = |change: fn(&mut [u8; 512])| {
        new().with(b"s", b'S', &[7; 512], b"", |b| {
            b[257..265].copy_from_slice(b"ustar  \0");
            b[386..410].copy_from_slice(b"0000002000\0\x000000001000\0\0");
            b[483..495].copy_from_slice(b"00000004000\0");
            change(b);
        })
    };
    let large = |bytes: [u8; 12]| new().with(b"x", b'0', b"", b"", |b| size_field(b, bytes)).end();
    let whole = new().file("a", &[7; 5000]).file("b", &[8; 5000]).end();
    let cut = |n: usize| whole[..n].to_vec();
    vec![
        ("a size of 4 EiB", large([0x80, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0]), Refused),
        ("a size beyond 64 bits", large([0xbf; 12]), Refused),
        ("a negative size", large([0xff; 12]), Refused),
        ("a size that is no number", large(*b"xxxxxxxxxxx\0"), Refused),
        ("a size of 8 GiB that is not there", large(*b"77777777777\0"), Refused),
        ("contents of a link", new().with(b"l", b'2', b"data", b"a", |_| ()).end(), Refused),
        ("contents of a hard link", new().file("a", b"x").with(b"l", b'1', b"data", b"a", |_| ()).end(), Refused),
        ("contents of a directory", new().with(b"d", b'5', b"data", b"", |_| ()).end(), Refused),
        ("an unknown type", new().with(b"x", b'Z', b"", b"", |_| ()).end(), Refused),
        ("a second volume", new().with(b"x", b'M', b"", b"", |_| ()).end(), Refused),
        ("a label", new().with(b"x", b'V', b"", b"", |_| ()).file("f", b"").end(), Made),
        ("cut in a header", cut(5632 + 200), Refused),
        ("cut in contents", cut(3000), Refused),
        ("cut between entries", cut(512 + 5120), Refused),
        ("without its end mark", cut(2 * (512 + 5120)), Refused),
        ("with half of its end mark", cut(2 * (512 + 5120) + 512), Made),
        ("nothing in it", vec![0; 10240], Refused),
        ("no bytes", vec![], Refused),
        ("no archive", b"hello, world\n".repeat(1000), Refused),
        (
            "a wrong sum",
            {
                let mut a = new().file("a", b"x").end();
                a[3] ^= 1;
                a
            },
            Refused,
        ),
        (
            "padded without end",
            {
                let mut a = new().file("a", b"x").end();
                a.resize(65 << 20, 0);
                a
            },
            Refused,
        ),
        ("sparse", sparse(b"1\n1024\n4\n", b"1048576", b"data"), Made),
        ("sparse: beyond its end", sparse(b"1\n1048574\n4\n", b"1048576", b"data"), Refused),
        ("sparse: pieces that overlap", sparse(b"2\n0\n2\n1\n2\n", b"1048576", b"data"), Refused),
        ("sparse: pieces beyond 64 bits", sparse(b"1\n18446744073709551615\n4\n", b"1048576", b"data"), Refused),
        ("sparse: less than is there", sparse(b"1\n0\n2\n", b"1048576", b"data"), Refused),
        ("sparse: more than is there", sparse(b"1\n0\n4000\n", b"1048576", b"data"), Refused),
        ("sparse: a million pieces", sparse(b"1048577\n", b"1048576", b"data"), Refused),
        ("sparse: no numbers", sparse(b"x\n", b"1048576", b"data"), Refused),
        ("sparse: no map", sparse(b"", b"1048576", b""), Refused),
        ("sparse: 8 EiB", sparse(b"0\n", b"9223372036854775808", b""), Refused),
        ("sparse: version 7", new().pax(&[("GNU.sparse.major", b"7"), ("GNU.sparse.realsize", b"9")]).file("x", b"").end(), Refused),
        ("sparse: a directory", new().pax(&[("GNU.sparse.realsize", b"9")]).dir("d", "0000755").end(), Refused),
        ("sparse: version 0.1", new().pax(&[("GNU.sparse.map", b"1024,4"), ("GNU.sparse.size", b"5000")]).file("x", b"data").end(), Made),
        (
            "sparse: version 0.1, half a pair",
            new().pax(&[("GNU.sparse.map", b"1024"), ("GNU.sparse.size", b"5000")]).file("x", b"data").end(),
            Refused,
        ),
        (
            "sparse: name upwards",
            new().pax(&[("GNU.sparse.name", b"../../outside/new"), ("GNU.sparse.map", b"0,4"), ("GNU.sparse.size", b"4")]).file("x", b"data").end(),
            Refused,
        ),
        ("old sparse", old_sparse(|_| ()).end(), Made),
        ("old sparse: smaller than its pieces", old_sparse(|b| b[483..495].copy_from_slice(b"00000000001\0")).end(), Refused),
        ("old sparse: more pieces in what is no such block", old_sparse(|b| b[482] = 1).end(), Refused),
    ]
}

#[test]
fn hostile_archives() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("hostile");
    let at = |name: &str| scratch.path().join(name);
    let (home, outside, locks) = (at("home"), at("outside"), at("locks"));
    sh(
        r#"mkdir "$1" "$2" "$3" "$2"/sub; echo precious > "$2"/file; echo x > "$2"/sub/f; chmod 640 "$2"/file; chmod 750 "$2""#,
        &[&home, &outside, &locks],
    );
    let before = describe(&outside);
    let stop = AtomicBool::new(false);
    let search: [&Path; 1] = [&home];
    let options = Options {
        places: Places { search: &search, home: &home, settings: &[], autostart: None, locks: &locks },
        force: false,
        read_only: false,
        watch: Watch { progress: &|_| (), stop: &stop },
    };
    let stories = [names_and_links(&outside), records(&outside), sizes()].concat();
    assert!(stories.len() > 100, "{}", stories.len());
    let name = MachineName::new("image").unwrap();
    for (story, archive, fate) in stories {
        let begun = Instant::now();
        let done = import::tar(&archive[..], Path::new("archive"), &name, &options);
        assert!(begun.elapsed() < Duration::from_secs(20), "{story}: took {:?}", begun.elapsed());
        assert_eq!(done.is_ok(), fate == Made, "{story}: {done:?}");
        assert_eq!(describe(&outside), before, "{story}");
        assert_eq!(names(scratch.path()), ["home", "locks", "outside"], "{story}");
        match done {
            Ok(_) => {
                assert_eq!(names(&home), ["image"], "{story}");
                crate::remove::remove_tree(&home.join("image")).unwrap();
            }
            Err(error) => {
                assert!(names(&home).is_empty(), "{story}: {:?}", names(&home));
                assert!(!error.to_string().contains('\n'), "{story}: {error}");
            }
        }
    }
}

#[test]
fn later_entries_win_and_attributes_are_kept() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("later");
    let top = scratch.path().join("top");
    std::fs::create_dir(&top).unwrap();
    let archive = new()
        .file("f", b"1")
        .link("h", b'1', Path::new("f"))
        .file("f", b"2")
        .dir("d", "0000700")
        .file("d/x", b"x")
        .dir("./d/", "0002751")
        .with(b"suid", b'0', b"s", b"", |b| {
            b[100..107].copy_from_slice(b"0004711");
            b[108..115].copy_from_slice(b"0001750");
        })
        .pax(&[("mtime", b"1234567890.987654321"), ("uid", b"70000"), ("SCHILY.xattr.user.k", b"v=\n\0v")])
        .file("p", b"")
        .end();
    let dir = crate::open::directory(&top).unwrap();
    use std::os::fd::AsFd;
    let dir = crate::walk::readable(dir.as_fd()).unwrap();
    let report = super::unpack(&mut super::Archive::new(&archive[..]), Path::new("a"), dir.as_fd()).unwrap();
    assert_eq!((report.entries, report.dropped), (8, 0));
    assert_eq!((std::fs::read(top.join("f")).unwrap(), std::fs::read(top.join("h")).unwrap()), (b"2".to_vec(), b"1".to_vec()));
    let stat = |name: &str| rustix::fs::lstat(top.join(name)).unwrap();
    assert_eq!((stat("d").st_mode & 0o7777, stat("suid").st_mode & 0o7777, stat("suid").st_uid), (0o2751, 0o4711, 1000));
    assert_eq!((stat("p").st_mtime, stat("p").st_mtime_nsec, stat("p").st_uid), (1_234_567_890, 987_654_321, 70000));
    let mut value = Vec::new();
    hostel_sys::tree::xattr::get(dir.as_fd(), c"p", c"user.k", &mut value).unwrap();
    assert_eq!(value, b"v=\n\0v");
}

#[test]
fn twenty_thousand_directories() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("many");
    let dir = crate::open::directory(scratch.path()).unwrap();
    use std::os::fd::AsFd;
    let dir = crate::walk::readable(dir.as_fd()).unwrap();
    let mut archive = new();
    for n in 0..20_000 {
        let mut b = block(format!("d{}/e{}/f{n}", n % 7, n % 1000).as_bytes(), b'5', 0, b"");
        sum(&mut b);
        archive.0.extend_from_slice(&b);
    }
    let begun = Instant::now();
    let archive = archive.end();
    let report = super::unpack(&mut super::Archive::new(&archive[..]), Path::new("a"), dir.as_fd()).unwrap();
    assert_eq!(report.entries, 20_000);
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
}
