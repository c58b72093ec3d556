use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::receive::is_cut;
use super::*;
use crate::open;

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("hostel-stream-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn tree(top: &Path) {
    std::fs::create_dir_all(top.join("a/b/c")).unwrap();
    std::fs::write(top.join("a/file"), "text").unwrap();
    std::fs::set_permissions(top.join("a/file"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    std::fs::write(top.join("a/b/big"), vec![7u8; 300_000]).unwrap();
    std::fs::File::create(top.join("a/b/holes")).unwrap().set_len(5 << 20).unwrap();
    symlink("/etc/shadow", top.join("a/b/link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, top.join("a/fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
    drop(std::os::unix::net::UnixListener::bind(top.join("a/socket")).unwrap());
    std::fs::set_permissions(top.join("a/b"), std::fs::Permissions::from_mode(0o1750)).unwrap();
}

fn sent(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    send(&Source::open(path, false).unwrap(), path, &mut out).unwrap();
    out
}

fn got(mut bytes: &[u8], dir: &Path, name: &str, replace: bool, tame: bool) -> crate::Result<Received> {
    let fd = open::directory(dir).unwrap();
    let name = (!name.is_empty()).then(|| CString::new(name).unwrap());
    receive(&mut bytes, &Target { dir: fd.as_fd(), name, replace, tame }, dir)
}

#[test]
fn a_tree_arrives_as_it_is() {
    let top = scratch("whole");
    tree(&top);
    let bytes = sent(&top.join("a"));
    let done = got(&bytes, &top, "copy", false, true).unwrap();
    assert_eq!((done.files, done.left_out, done.tamed, done.bytes), (5, 1, 1, 300_004));
    let copy = top.join("copy");
    assert_eq!(std::fs::read(copy.join("file")).unwrap(), b"text");
    assert_eq!(std::fs::metadata(copy.join("file")).unwrap().mode() & 0o7777, 0o755, "set-user-id is gone");
    assert_eq!(std::fs::read(copy.join("b/big")).unwrap(), vec![7u8; 300_000]);
    let holes = std::fs::metadata(copy.join("b/holes")).unwrap();
    assert!(holes.len() == 5 << 20 && holes.blocks() < 100, "{holes:?}");
    assert_eq!(std::fs::read_link(copy.join("b/link")).unwrap(), Path::new("/etc/shadow"));
    assert_eq!(std::fs::metadata(copy.join("b")).unwrap().mode() & 0o7777, 0o1750);
    assert_eq!(std::fs::metadata(copy.join("file")).unwrap().mtime(), std::fs::metadata(top.join("a/file")).unwrap().mtime());
    assert!(!copy.join("socket").exists() && copy.join("fifo").exists());
    // Not tamed: the bits stay.
    got(&bytes, &top, "other", false, false).unwrap();
    assert_eq!(std::fs::metadata(top.join("other/file")).unwrap().mode() & 0o7777, 0o4755);
    std::fs::remove_dir_all(top).unwrap();
}

#[test]
fn what_is_there_stays_unless_told() {
    let top = scratch("merge");
    tree(&top);
    let (whole, file) = (sent(&top.join("a")), sent(&top.join("a/file")));
    std::fs::create_dir_all(top.join("there/b")).unwrap();
    std::fs::write(top.join("there/own"), "own").unwrap();
    got(&whole, &top, "there", false, false).unwrap();
    assert!(top.join("there/own").exists() && top.join("there/b/big").exists(), "merged");
    let again = got(&whole, &top, "there", false, false).unwrap_err();
    assert_eq!(again.cause, Cause::Os(Errno::EXIST), "{again}");
    got(&whole, &top, "there", true, false).unwrap();
    // A file for a file; never for a directory; a link is replaced and not followed.
    std::fs::write(top.join("f"), "old").unwrap();
    assert!(got(&file, &top, "f", false, false).is_err());
    assert_eq!(std::fs::read(top.join("f")).unwrap(), b"old");
    got(&file, &top, "f", true, false).unwrap();
    assert_eq!(std::fs::read(top.join("f")).unwrap(), b"text");
    assert!(got(&file, &top, "there", true, false).is_err());
    symlink("f", top.join("l")).unwrap();
    got(&file, &top, "l", true, false).unwrap();
    assert!(!top.join("l").is_symlink());
    // Into a directory itself goes a directory only.
    std::fs::create_dir(top.join("into")).unwrap();
    got(&whole, &top.join("into"), "", false, false).unwrap();
    assert!(top.join("into/b/big").exists() && got(&file, &top.join("into"), "", false, false).is_err());
    let left: Vec<_> = std::fs::read_dir(&top).unwrap().flatten().filter(|e| e.file_name().to_string_lossy().starts_with(".#")).collect();
    assert!(left.is_empty(), "{left:?}");
    std::fs::remove_dir_all(top).unwrap();
}

#[test]
fn links_in_the_way_are_not_followed() {
    let top = scratch("links");
    tree(&top);
    std::fs::create_dir_all(top.join("trap")).unwrap();
    std::fs::create_dir_all(top.join("there")).unwrap();
    symlink("../trap", top.join("there/b")).unwrap();
    let error = got(&sent(&top.join("a")), &top, "there", true, false).unwrap_err();
    assert!(error.to_string().contains("no directory"), "{error}");
    assert_eq!(std::fs::read_dir(top.join("trap")).unwrap().count(), 0);
    symlink("trap", top.join("first")).unwrap();
    assert!(got(&sent(&top.join("a")), &top, "first", true, false).is_err());
    // A link that is sent is sent itself, unless asked for.
    let root = open::directory(&top).unwrap();
    symlink("/a/file", top.join("to-file")).unwrap();
    symlink("/a/b", top.join("to-dir")).unwrap();
    let kind = |path: &str, follow| {
        let mut out = Vec::new();
        send(&Source::find(root.as_fd(), Path::new(path), follow).unwrap(), Path::new(path), &mut out).unwrap();
        out[0]
    };
    assert_eq!([kind("/to-file", false), kind("/to-file", true), kind("/to-dir", true), kind("/", false)], [LINK, FILE, DIRECTORY, DIRECTORY]);
    assert!(Source::find(root.as_fd(), Path::new("/no"), true).is_err());
    std::fs::remove_dir_all(top).unwrap();
}

/// Any beginning of a stream is an error that leaves nothing; any damage is an error, never a panic, and stays inside.
#[test]
fn cut_and_damaged_streams() {
    let top = scratch("cut");
    tree(&top);
    std::fs::remove_file(top.join("a/b/big")).unwrap();
    std::fs::remove_file(top.join("a/b/holes")).unwrap();
    let bytes = sent(&top.join("a"));
    let into = top.join("into");
    std::fs::create_dir(&into).unwrap();
    for length in 0..bytes.len() {
        let error = got(&bytes[..length], &into, "x", false, false).unwrap_err();
        assert!(is_cut(&error), "{length}: {error}");
        // Only the note of how much was left out may be missing when everything is there.
        let there = std::fs::read_dir(&into).unwrap().count();
        assert!(there == 0 || length + 9 >= bytes.len(), "{length}");
        let _ = std::fs::remove_dir_all(into.join("x"));
    }
    let mut seed = 7u32;
    for _ in 0..500 {
        let mut damaged = bytes.clone();
        for _ in 0..3 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (seed >> 8) as usize % damaged.len();
            damaged[at] ^= (seed >> 3) as u8;
        }
        let _ = got(&damaged, &into, "x", true, true);
        let _ = std::fs::remove_dir_all(into.join("x"));
        let _ = std::fs::remove_file(into.join("x"));
    }
    for evil in ["..", ".", "/etc/x", "a/b", ""] {
        let mut stream = vec![DIRECTORY, 0, 0, 0, 0];
        let meta = [&0o755u32.to_le_bytes()[..], &[0; 20]].concat();
        stream.extend_from_slice(&meta);
        stream.extend_from_slice(&[0; 4]);
        stream.push(LINK);
        stream.extend_from_slice(&(evil.len() as u32).to_le_bytes());
        stream.extend_from_slice(evil.as_bytes());
        stream.extend_from_slice(&meta);
        stream.extend_from_slice(&[1, 0, 0, 0, b'x', UP, END, 0, 0, 0, 0, 0, 0, 0, 0]);
        let error = got(&stream, &into, "x", true, true).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{evil:?}: {error}");
    }
    assert_eq!(std::fs::read_dir(&top).unwrap().count(), 2);
    std::fs::remove_dir_all(top).unwrap();
}

#[test]
fn files_that_lie_about_their_size_arrive_whole() {
    let top = scratch("lies");
    std::fs::write(top.join("empty"), "").unwrap();
    // Without a size; a page by its word, and less in it; really empty.
    let honest = top.join("empty");
    let mut paths = vec![Path::new("/proc/version"), Path::new("/proc/self/limits"), &honest];
    paths.extend([Path::new("/sys/kernel/mm/transparent_hugepage/enabled"), Path::new("/sys/power/state")].into_iter().filter(|p| p.exists()));
    for (n, path) in paths.into_iter().enumerate() {
        got(&sent(path), &top, &format!("copy{n}"), false, true).unwrap();
        assert_eq!(std::fs::read(top.join(format!("copy{n}"))).unwrap(), std::fs::read(path).unwrap(), "{}", path.display());
    }
    assert!(!std::fs::read(top.join("copy1")).unwrap().is_empty());
    // Without a size and without an end.
    let endless = Path::new("/proc/self/pagemap");
    let error = send(&Source::open(endless, false).unwrap(), endless, &mut std::io::sink()).unwrap_err();
    assert!(error.to_string().ends_with("it does not say how large it is, and has no end"), "{error}");
    // The receiver believes no end that is beyond what the size allows.
    let text = top.join("text");
    std::fs::write(&text, "1234").unwrap();
    let bytes = sent(&text);
    let end = bytes.len() - 9 - 8;
    assert_eq!(bytes[end..end + 8], 4u64.to_le_bytes());
    for (told, fine) in [(2u64, true), (4, true), (5, false), (u64::MAX, false)] {
        let mut forged = bytes.clone();
        forged[end..end + 8].copy_from_slice(&told.to_le_bytes());
        let done = got(&forged, &top, "forged", true, true);
        assert_eq!(done.is_ok(), fine, "{told}: {done:?}");
    }
    std::fs::remove_dir_all(top).unwrap();
}

#[test]
fn what_takes_the_place_of_a_new_link_keeps_its_owner() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let top = scratch("linkswap");
    let dir = open::directory(&top).unwrap();
    let meta = Meta { mode: 0o777, uid: 65534, gid: 65534, seconds: 1, nanoseconds: 0 };
    let finish = |name: &CStr| receive::finish_link(dir.as_fd(), name, c"target", &meta);
    symlink("target", top.join("own")).unwrap();
    finish(c"own").unwrap();
    let own = std::fs::symlink_metadata(top.join("own")).unwrap();
    assert_eq!((own.uid(), own.gid(), own.mtime()), (65534, 65534, 1));
    // A file, a directory, another link, a link that has another name, too.
    std::fs::write(top.join("file"), "x").unwrap();
    std::fs::create_dir(top.join("dir")).unwrap();
    symlink("elsewhere", top.join("other")).unwrap();
    symlink("target", top.join("first")).unwrap();
    std::fs::hard_link(top.join("first"), top.join("second")).unwrap();
    for name in [c"file", c"dir", c"other", c"second"] {
        assert!(finish(name).is_err(), "{name:?}");
        let stat = std::fs::symlink_metadata(top.join(name.to_str().unwrap())).unwrap();
        assert!(stat.uid() == 0 && stat.mtime() > 1, "{name:?}");
    }
    assert!(finish(c"none").is_err());
    std::fs::remove_dir_all(top).unwrap();
}
