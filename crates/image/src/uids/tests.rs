//! Bases were printed by systemd-nspawn 252 (`-U --private-users-ownership=chown`, owner of the tree afterwards).
use super::*;

#[test]
fn a_name_leads_to_the_base_nspawn_picks() {
    let x64 = "x".repeat(64);
    for (name, want) in [
        ("a", 90_374_144),
        ("mymachine", 1_740_505_088),
        ("web-1", 763_887_616),
        ("lockt", 809_566_208),
        ("debian.12-x", 537_001_984),
        ("zz", 360_382_464),
        ("abcdefghijklm", 1_179_123_712),
        (&x64, 123_011_072),
    ] {
        assert_eq!(from_name(name), want, "{name}");
        assert!(is_pickable(want));
    }
}

#[test]
fn candidates_in_order() {
    let mut n = 0;
    let list: Vec<u32> = candidates(0x0009_0000 + 7, "a", || {
        n += 1;
        n << 20
    })
    .collect();
    assert_eq!(list.len(), 100);
    assert_eq!(list[..3], [0x0009_0000, from_name("a"), fold(1 << 20)]);
    assert!(list.iter().all(|b| is_pickable(*b)));
    // An owner outside of the range is no candidate: 0, a low one, a busy mark.
    for owner in [0, 1000, 0x0007_0000, 0x7000_0000, 0xfffe_0000, u32::MAX] {
        assert_eq!(candidates(owner, "a", || 0).next(), Some(from_name("a")), "{owner:x}");
    }
    for n in [0, 1, MAX, MIN, u32::MAX, MAX - MIN, MAX - MIN - 1] {
        assert!(is_pickable(fold(n)), "{n:x}");
    }
}

#[test]
fn owner_to_range() {
    assert_eq!(of_owner(0x0010_0000, 0x0010_0000).unwrap().base, 0x0010_0000);
    assert_eq!(of_owner(0x0010_0001, 0x0010_0000).unwrap().base, 0x0010_0000);
    assert_eq!(of_owner(0, 0).unwrap().base, 0);
    assert!(of_owner(0x0010_0000, 0).is_err());
    assert!(of_owner(u32::MAX, u32::MAX).is_err());
}

fn places(tag: &str) -> (Places, crate::walk::testing::Scratch) {
    let dir = crate::walk::testing::Scratch::new(tag);
    std::fs::create_dir(dir.path().join("etc")).unwrap();
    (Places { locks: dir.path().join("locks/uid"), etc: dir.path().join("etc") }, dir)
}

#[test]
fn a_claim_is_exclusive_and_leaves_nothing() {
    let (places, _dir) = places("uids-claim");
    let name = MachineName::new("web-1").unwrap();
    let first = pick(&places, 0, &name).unwrap();
    assert_eq!(first.range.base, 763_887_616);
    let second = pick(&places, 0, &name).unwrap();
    assert_ne!(second.range.base, first.range.base);
    assert!(claim(&places, first.range.base).unwrap().is_none());
    let base = first.range.base;
    drop(first);
    assert!(!places.locks.join(base.to_string()).exists());
    assert!(claim(&places, base).unwrap().is_some());
}

#[test]
fn ids_of_the_host_are_left_alone() {
    let (places, _dir) = places("uids-host");
    let name = MachineName::new("web-1").unwrap();
    let base = from_name("web-1");
    for (file, text) in [
        ("passwd", format!("root:x:0:0::/:/bin/sh\njunk\nx:x:{}:0::/:/bin/sh\n", base + 0xfffe)),
        ("group", format!("x:x:{}:\n", base)),
        ("subuid", format!("u:{}:1\n", base + 5)),
        ("subgid", format!("u:{}:65536\n", base - 1)),
    ] {
        std::fs::write(places.etc.join(file), text).unwrap();
        assert_ne!(pick(&places, 0, &name).unwrap().range.base, base, "{file}");
        // A tree that is of the range already stays there when the range is only delegated.
        assert_eq!(pick(&places, base, &name).unwrap().range.base == base, file.starts_with("sub"), "{file}");
        std::fs::remove_file(places.etc.join(file)).unwrap();
    }
    assert_eq!(pick(&places, 0, &name).unwrap().range.base, base);
}

#[test]
fn a_planted_link_is_no_lock() {
    let (places, dir) = places("uids-link");
    std::fs::create_dir_all(&places.locks).unwrap();
    let trap = dir.path().join("trap");
    std::os::unix::fs::symlink(&trap, places.locks.join(from_name("web-1").to_string())).unwrap();
    assert!(pick(&places, 0, &MachineName::new("web-1").unwrap()).is_err());
    assert!(!trap.exists());
}

#[test]
#[ignore = "bench: pick must take less than 50 µs"]
fn picking_is_fast() {
    let (mut places, _dir) = places("uids-bench");
    places.etc = "/etc".into();
    let name = MachineName::new("web-1").unwrap();
    drop(pick(&places, 0, &name).unwrap());
    let mut times: Vec<_> = (0..2000)
        .map(|_| {
            let start = std::time::Instant::now();
            let claim = pick(&places, 0, &name).unwrap();
            let picked = start.elapsed();
            drop(claim);
            (picked, start.elapsed())
        })
        .collect();
    times.sort();
    println!("pick, pick and release: least {:?}, median {:?}", times[0], times[1000]);
}
