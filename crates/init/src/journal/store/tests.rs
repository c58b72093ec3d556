use super::*;
use crate::journal::reader::Reader;
use crate::root::Root;

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("hostel-journal-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn header() -> Header {
    Header { machine: [1; 16], series: [2; 16], host: "box".into() }
}

fn messages(directory: &Path) -> Vec<String> {
    let root = Root::open(directory).unwrap();
    let mut reader = Reader::open(&root, &["/".to_owned()]).unwrap();
    let mut found = Vec::new();
    reader
        .forward(&mut |entry| {
            found.push(String::from_utf8_lossy(entry.get("MESSAGE").unwrap_or_default()).into_owned());
            true
        })
        .unwrap();
    found
}

#[test]
fn entries_are_kept_over_lives_of_the_writer() {
    let directory = scratch("lives");
    for life in 0..3 {
        let mut store = Store::open(&directory, header(), [3; 16]).unwrap();
        store.append(&[("MESSAGE", format!("life {life}").as_bytes())]);
        store.flush();
    }
    assert_eq!(messages(&directory), ["life 0", "life 1", "life 2"]);
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Wherever a file is cut off, what stands before that is read, and nothing else.
#[test]
fn torn_records_are_left_out() {
    let directory = scratch("torn");
    let mut store = Store::open(&directory, header(), [3; 16]).unwrap();
    let mut ends = vec![HEADER as u64];
    for n in 0..4 {
        store.append(&[("MESSAGE", format!("entry {n}").as_bytes())]);
        store.flush();
        ends.push(store.files[0].1);
    }
    let path = store.path(1);
    let whole = std::fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let expected = ends.iter().skip(1).filter(|end| **end <= length as u64).count();
        assert_eq!(messages(&directory).len(), expected, "{length}");
    }
    // garbage behind whole records
    std::fs::write(&path, [&whole[..], &[0xff; 100]].concat()).unwrap();
    assert_eq!(messages(&directory).len(), 4);
    // the next writer begins a file of its own
    let mut store = Store::open(&directory, header(), [3; 16]).unwrap();
    store.append(&[("MESSAGE", b"after")]);
    store.flush();
    assert_eq!(messages(&directory).last().unwrap(), "after");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn the_oldest_files_go() {
    let directory = scratch("rotate");
    let mut store = Store::open(&directory, header(), [3; 16]).unwrap();
    (store.total_max, store.file_max) = (40 << 10, 8 << 10);
    for n in 0..2000 {
        store.append(&[("MESSAGE", format!("entry {n} of many that do not all fit").as_bytes())]);
        store.flush();
    }
    let all = messages(&directory);
    assert!(all.len() > 100 && all.len() < 2000);
    assert_eq!(all.last().unwrap(), "entry 1999 of many that do not all fit");
    // without a gap
    assert_eq!(all.first().unwrap(), &format!("entry {} of many that do not all fit", 2000 - all.len()));
    let used: u64 = std::fs::read_dir(&directory).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!(used <= 40 << 10, "{used}");
    std::fs::remove_dir_all(&directory).unwrap();
}

/// On a file system that is full entries are counted, and when there is room again they are kept again.
#[test]
fn a_full_disk_drops_and_counts() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = scratch("full");
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&directory).status();
    if !mounted.is_ok_and(|s| s.success()) {
        eprintln!("no tmpfs can be mounted here: not tested");
        return;
    }
    let filled = directory.join("others");
    let mut store = Store::open(&directory.join("log"), header(), [3; 16]).unwrap();
    store.append(&[("MESSAGE", b"before")]);
    store.flush();
    // somebody else takes all there is
    let _ = std::fs::write(&filled, vec![0u8; 1 << 20]);
    let line = vec![b'x'; 9000];
    for _ in 0..20 {
        store.append(&[("MESSAGE", &line)]);
        store.flush();
    }
    let dropped = store.dropped;
    std::fs::remove_file(&filled).unwrap();
    store.append(&[("MESSAGE", b"after")]);
    store.flush();
    let (found, still) = (messages(&directory.join("log")), store.dropped);
    drop(store);
    let _ = std::process::Command::new("umount").arg(&directory).status();
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(dropped >= 18, "{dropped}");
    assert_eq!(still, dropped);
    assert_eq!(found.first().map(String::as_str), Some("before"));
    assert_eq!(found.last().map(String::as_str), Some("after"));
}
